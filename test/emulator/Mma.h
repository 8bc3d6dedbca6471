//===- Mma.h - matrix multiply-accumulate of a warp -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef CONVJIT_TEST_EMULATOR_MMA_H
#define CONVJIT_TEST_EMULATOR_MMA_H

#include <cstdint>
#include <optional>
#include <string_view>

namespace convjit::emulator {

enum class MmaType : uint8_t { F16, BF16, TF32, F32, F64, S8, U8, S32 };

/// Bits of an element as it lies in a register.
constexpr int bitsOf(MmaType type) {
  switch (type) {
  case MmaType::S8:
  case MmaType::U8:
    return 8;
  case MmaType::F16:
  case MmaType::BF16:
    return 16;
  case MmaType::F64:
    return 64;
  case MmaType::TF32:
  case MmaType::F32:
  case MmaType::S32:
    return 32;
  }
  return 0;
}

/// mma.sync.aligned.m<m>n<n>k<k>.row.col.<d>.<a>.<b>.<c>
struct MmaShape {
  uint8_t m = 0, n = 0, k = 0;
  MmaType a = MmaType::F32, b = MmaType::F32, c = MmaType::F32,
          d = MmaType::F32;
  bool saturate = false;
};

enum class MmaOperand : uint8_t { A, B, C, D };

/// The shape that an intrinsic's name says, such as
/// `llvm.nvvm.mma.m16n8k16.row.col.f32.f32`; nothing if it is not modelled.
std::optional<MmaShape> parseMma(std::string_view intrinsic);

/// The shape of inline assembly's
/// `mma.sync.aligned.m16n8k8.row.col.f32.tf32...`.
std::optional<MmaShape> parseMmaInstruction(std::string_view opcode);

/// How many elements of an operand each lane holds.
int elementsPerLane(const MmaShape &shape, MmaOperand operand);

struct MatrixPlace {
  int row, column;
};
/// Where element `i` of `lane` stands in the operand's matrix (A is m x k, B is
/// k x n, C and D are m x n), by the formulas of the PTX ISA's "Matrix
/// fragments for mma". Elements count from the low bits of the first register.
MatrixPlace placeOf(const MmaShape &shape, MmaOperand operand, int lane, int i);

/// D = A * B + C for a warp. `operands[lane]` points to the lane's registers of
/// A, B and C one after the other, and `results[lane]` to those of D.
///
/// Products are exact. Floating-point sums are taken in order of k with one
/// rounding to the accumulator's type for each product, starting from C (f16
/// accumulators: in f32, rounded once at the end). Hardware adds several
/// products at once, aligned to the largest and truncated, so that it differs
/// in the last bits unless all sums are exact. A tf32 input's low 13 bits are
/// ignored.
void multiply(const MmaShape &shape, const void *const operands[32],
              void *const results[32]);

} // namespace convjit::emulator

#endif // CONVJIT_TEST_EMULATOR_MMA_H
