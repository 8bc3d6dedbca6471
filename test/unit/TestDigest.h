//===- TestDigest.h - a checksum for tests -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef CONVJIT_TEST_TESTDIGEST_H
#define CONVJIT_TEST_TESTDIGEST_H

#include "CacheEntry.h"

/// Stands in for SHA-256, which comes from LLVM: four FNV-1a sums.
inline convjit::Digest testDigest(std::string_view bytes) {
  convjit::Digest digest;
  for (size_t part = 0; part < 4; ++part) {
    uint64_t sum = 14695981039346656037u + part;
    for (char c : bytes)
      sum = (sum ^ static_cast<unsigned char>(c)) * 1099511628211u;
    for (size_t i = 0; i < 8; ++i)
      digest[part * 8 + i] = static_cast<uint8_t>(sum >> (8 * i));
  }
  return digest;
}

#endif // CONVJIT_TEST_TESTDIGEST_H
