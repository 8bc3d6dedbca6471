//===- CacheEntry.h - a compiled kernel as bytes -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// An entry of the cache on disk, little-endian:
//
//     8 bytes   "convjitK"
//     4         version, 3
//     4         0
//     8         bytes of the body
//     32        digest of the body
//     body      texts and bytes after their length (8 bytes each), numbers as
//               8 bytes: key, plan, object, packedWeightBytes, scratchBytes,
//               tasksPerImage, pieces, codeBytes, milliseconds (a double),
//               created
//
// The key is the whole text that the file is named after, so that a file under
// another's name is noticed as well as one with a bit turned.
//
//===----------------------------------------------------------------------===//

#ifndef CONVJIT_CACHE_CACHEENTRY_H
#define CONVJIT_CACHE_CACHEENTRY_H

#include "convjit/Error.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace convjit {

using Digest = std::array<uint8_t, 32>;
/// SHA-256; given by the user of these files, since LLVM has one.
using DigestFn = Digest (*)(std::string_view bytes);

/// What is needed to have a kernel again.
struct StoredKernel {
  std::string key;    ///< convolution, target, compiler and options, as text
  std::string plan;   ///< that was compiled
  std::string object; ///< a relocatable object file
  uint64_t packedWeightBytes = 0;
  uint64_t scratchBytes = 0; ///< for each thread
  int64_t tasksPerImage = 0;
  int64_t pieces = 1; ///< as in Kernel
  uint64_t codeBytes = 0;
  double compileMilliseconds = 0;
  int64_t created = 0; ///< seconds since 1970

  bool operator==(const StoredKernel &) const = default;
};

std::string encodeEntry(const StoredKernel &kernel, DigestFn digest);

/// Errors say what is wrong with the bytes. Nothing in them is believed before
/// the digest has been checked, and then still bounded.
Expected<StoredKernel> decodeEntry(std::string_view bytes, DigestFn digest);

/// Lower-case hexadecimal digits.
std::string hexOf(const Digest &digest);

} // namespace convjit

#endif // CONVJIT_CACHE_CACHEENTRY_H
