//===- Site.h - a static instruction that the emulator sees -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef CONVJIT_TEST_EMULATOR_SITE_H
#define CONVJIT_TEST_EMULATOR_SITE_H

#include "Mma.h"

#include <cstdint>
#include <string>

namespace convjit::emulator {

struct Region;

/// What an instruction does, as far as the emulator has to tell apart.
enum class Operation : uint8_t {
  Load,
  Store,
  Atomic,
  CopyAsync,
  CommitGroup,
  WaitGroup,
  Barrier,
  BarrierArrive,
  // What the lanes of a warp do together:
  Mma,
  LdMatrix,
  StMatrix,
  Shuffle,
  Vote,
  Match,
  Reduce,
  WarpSync,
};

enum class ShuffleMode : uint8_t { Up, Down, Bfly, Idx };
enum class VoteMode : uint8_t { All, Any, Uniform, Ballot };
enum class ReduceMode : uint8_t { Add, And, Or, Xor, Min, Max, UMin, UMax };
enum class BarrierReduction : uint8_t { None, Popc, And, Or };

/// Special registers by number, as convjit_emulator_register takes them.
enum class Register : uint32_t {
  TidX,
  TidY,
  TidZ,
  NtidX,
  NtidY,
  NtidZ,
  CtaidX,
  CtaidY,
  CtaidZ,
  NctaidX,
  NctaidY,
  NctaidZ,
  LaneId,
  WarpId,
  NwarpId,
  WarpSize,
  LaneMaskEq,
  LaneMaskLe,
  LaneMaskLt,
  LaneMaskGe,
  LaneMaskGt,
  SmId,
  NsmId,
  GridId,
  Clock,
  DynamicSmemSize,
  TotalSmemSize,
};

struct Site {
  Operation operation = Operation::Load;
  /// The mode, of one of the enumerations above.
  uint8_t mode = 0;
  /// All 32 lanes, and at this very instruction.
  bool aligned = false;
  /// A volatile or atomic access, or one that orders.
  bool atomic = false;
  /// The transposed ldmatrix, and a barrier with a count.
  bool flag = false;
  /// Bytes that one thread accesses, the alignment it promises, and how many
  /// bytes an instruction moves if that is less than all.
  uint32_t bytes = 0, align = 1, piece = 0;
  /// The kernel's parameter, or the shared variable, that the address is
  /// computed from, where that can be seen; otherwise -1.
  int32_t argument = -1, variable = -1;
  MmaShape mma;

  /// For messages and profiles.
  std::string kind, function, instruction, place;
  uint32_t loopDepth = 0;

  /// Where the last access went.
  Region *lastRegion = nullptr;
};

} // namespace convjit::emulator

#endif // CONVJIT_TEST_EMULATOR_SITE_H
