//===- FuzzNpy.cpp - .npy files from any bytes -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "convjit/Npy.h"

#include <cstdlib>

using namespace convjit;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  std::string_view bytes(reinterpret_cast<const char *>(data), size);
  static const Convolution conv =
      *lower(*parseProblem("conv1d:in=8x2,oc=3,k=1"));
  if (Expected<std::vector<double>> mask = parseMask(bytes, "fuzz", conv);
      mask ? mask->size() != 6 : mask.error().kind != ErrorKind::BadInput)
    std::abort();
  Expected<Array> array = parseNpy(bytes, "fuzz", NpyTypes::All);
  if (!array) {
    const std::string &message = array.error().message;
    if (array.error().kind != ErrorKind::BadInput ||
        !message.starts_with("fuzz: ") ||
        message.find('\n') != std::string::npos)
      std::abort();
    return 0;
  }
  auto wanted = static_cast<size_t>(array->elements() * sizeOf(array->dtype));
  if (array->data.size() != wanted || wanted > size)
    std::abort();
  return 0;
}
