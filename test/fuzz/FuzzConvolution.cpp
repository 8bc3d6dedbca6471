//===- FuzzConvolution.cpp - texts of general convolutions from any bytes -*-
// C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "ConvolutionText.h"

#include <cctype>
#include <cstdlib>

using namespace convjit;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  std::string_view text(reinterpret_cast<const char *>(data), size);
  // A mask has as many elements as the kernel; keep that small: no number with
  // two digits.
  if (text.find("mask") != std::string_view::npos)
    for (size_t i = 0; i + 1 < size; ++i)
      if (std::isdigit(data[i]) && std::isdigit(data[i + 1]))
        return 0;
  Expected<NamedConvolution> named = parseConvolution(text);
  if (!named) {
    const std::string &message = named.error().message;
    if (named.error().kind != ErrorKind::BadInput ||
        message.find("valid:") == std::string::npos ||
        message.find('\n') != std::string::npos)
      std::abort();
    return 0;
  }
  Expected<NamedConvolution> again = parseConvolution(describe(*named));
  if (!again || !(again->conv == named->conv) || again->mask != named->mask ||
      describe(*again) != describe(*named))
    std::abort();
  return 0;
}
