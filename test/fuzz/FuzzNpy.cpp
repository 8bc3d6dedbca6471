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
  Expected<Array> array = parseNpy(bytes, "fuzz");
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
