//===- FuzzCacheEntry.cpp - cache entries from any bytes -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// With a checksum that is always zero, so that the fuzzer gets past it.
//
//===----------------------------------------------------------------------===//

#include "CacheEntry.h"
#include "GPUEntry.h"

#include <cstdlib>

using namespace convjit;

static Digest noDigest(std::string_view) { return {}; }

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  std::string_view bytes(reinterpret_cast<const char *>(data), size);
  Expected<StoredKernel> kernel = decodeEntry(bytes, noDigest);
  if (!kernel) {
    if (kernel.error().kind != ErrorKind::Environment ||
        kernel.error().message.find('\n') != std::string::npos)
      std::abort();
    return 0;
  }
  // There is one way to write an entry, and a GPU's kernel in it.
  if (encodeEntry(*kernel, noDigest) != bytes)
    std::abort();
  if (Expected<GPUKernel> inside = decodeGPUKernel(kernel->object))
    if (encodeGPUKernel(*inside) != kernel->object)
      std::abort();
  return 0;
}
