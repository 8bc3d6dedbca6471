//===- FuzzNpz.cpp - .npz archives from any bytes -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "convjit/nn/Npz.h"

#include <cstdlib>

using namespace convjit;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  std::string_view bytes(reinterpret_cast<const char *>(data), size);
  constexpr size_t most = 1 << 20;
  Expected<nn::NamedArrays> arrays = nn::parseNpz(bytes, "fuzz", most);
  if (!arrays) {
    const std::string &message = arrays.error().message;
    if (arrays.error().kind == ErrorKind::Internal ||
        !message.starts_with("fuzz: ") ||
        message.find('\n') != std::string::npos)
      std::abort();
    return 0;
  }
  if (arrays->empty())
    std::abort();
  for (const auto &[name, array] : *arrays)
    if (array.data.size() > most ||
        array.data.size() !=
            static_cast<size_t>(array.elements() * sizeOf(array.dtype)))
      std::abort();
  return 0;
}
