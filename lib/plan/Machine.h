//===- Machine.h - what the cost model knows of a CPU -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef CONVJIT_LIB_PLAN_MACHINE_H
#define CONVJIT_LIB_PLAN_MACHINE_H

#include <cstdint>

namespace convjit {

/// What the cost model knows of a machine. Rates are bytes a cycle of one core
/// while the others are idle.
struct Machine {
  int64_t vectorBits = 512;
  int64_t registers = 32;
  /// Bits of FMA results a cycle: 1024 are two 512-bit units.
  int64_t fmaBits = 1024;
  int64_t l2Bytes = int64_t(1) << 20;
  /// Cycles of the vector units for a scalar in all lanes; none where a load
  /// does it.
  double broadcastCycles = 0;
  /// Bytes that the first level gets from the second at a time: those of a
  /// line, or of two where the next comes along.
  int64_t fetchBytes = 64;
  /// Loads from the third-level cache.
  double l3Rate = 20;
  /// Of the time that weights take from there, what FMAs hide.
  double l3Overlap = 1;
  /// Loads from memory.
  double memoryRate = 8;
  /// Stores past the caches, and stores that read the line first.
  double streamRate = 8;
  double storeRate = 4;

  /// Whether the third level is a mesh's, far away: a Xeon since Skylake.
  bool hasMesh() const { return l3Overlap < 1; }
};

} // namespace convjit

#endif // CONVJIT_LIB_PLAN_MACHINE_H
