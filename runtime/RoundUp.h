//===- RoundUp.h - sizes that are multiples of an alignment -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef CONVJIT_RUNTIME_ROUNDUP_H
#define CONVJIT_RUNTIME_ROUNDUP_H

#include <cstddef>

namespace convjit {

/// What parts of a buffer start at a multiple of: a cache line.
constexpr size_t partAlignment = 64;

/// The first multiple of `alignment` from `bytes` on.
constexpr size_t roundUp(size_t bytes, size_t alignment = partAlignment) {
  return (bytes + alignment - 1) / alignment * alignment;
}

} // namespace convjit

#endif // CONVJIT_RUNTIME_ROUNDUP_H
