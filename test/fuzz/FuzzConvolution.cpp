//===- FuzzConvolution.cpp - texts of general convolutions from any bytes -*-
//C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "ConvolutionText.h"

#include <cstdlib>

using namespace convjit;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  std::string_view text(reinterpret_cast<const char *>(data), size);
  // A mask has as many elements as the kernel; keep that small.
  if (text.find("mask") != std::string_view::npos)
    return 0;
  Expected<NamedConvolution> named = parseConvolution(text);
  if (!named)
    return 0;
  Expected<NamedConvolution> again = parseConvolution(describe(*named));
  if (!again || describe(*again) != describe(*named))
    std::abort();
  return 0;
}
