//===- Reduction.h - steps of a matrix product over taps and channels -*- C++
//-*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef CONVJIT_LIB_GPU_REDUCTION_H
#define CONVJIT_LIB_GPU_REDUCTION_H

#include "BlockBuilder.h"

namespace convjit {

/// A position in the reduction of a block: taps of each dimension, then the
/// channel, the fastest. Values of num.type.
struct ReductionPosition {
  llvm::SmallVector<mlir::Value> digits;

  llvm::ArrayRef<mlir::Value> taps() const {
    return llvm::ArrayRef(digits).drop_back();
  }
  mlir::Value channel() const { return digits.back(); }
};

/// The order in which a block goes through taps and channels. Positions are
/// numbers in a mixed radix whose digits start at `lowest`; a step adds to
/// them, so that no division is left in the main loop.
class Reduction {
public:
  explicit Reduction(BlockBuilder &block);

  /// Steps of the main loop: those of the block's part.
  mlir::Value steps() const { return count; }
  /// The position `ahead` products after the first.
  ReductionPosition start(mlir::Value ahead);
  /// The position one step on.
  ReductionPosition next(const ReductionPosition &position);
  /// Positions as lists of values that a loop can carry: those `ahead` of the
  /// first, one step on, and each by itself.
  llvm::SmallVector<mlir::Value> starts(llvm::ArrayRef<mlir::Value> ahead);
  llvm::SmallVector<mlir::Value> nexts(mlir::ValueRange positions);
  llvm::SmallVector<ReductionPosition> split(mlir::ValueRange positions) const;
  /// Whether the position exists, where the last step has some that do not;
  /// else null.
  mlir::Value exists(const ReductionPosition &position);
  /// Where the input's elements of a product of a step are, from a pixel's
  /// first one, and whether they exist: null where they always do. It is
  /// `number` after the step's first, whose position is `at`, or, where steps
  /// hold several taps, has that position itself.
  std::pair<mlir::Value, mlir::Value> product(const ReductionPosition &at,
                                              mlir::Value number);

private:
  mlir::Value takePart();

  BlockBuilder &block;
  IndexMath &num;
  /// Smallest and one past the largest digit, radix, and what a step adds.
  llvm::SmallVector<mlir::Value> lowest, end, radix, step;
  mlir::Value count;
  mlir::Value before; ///< products of the parts before; null without parts
  bool ragged;
};

} // namespace convjit

#endif // CONVJIT_LIB_GPU_REDUCTION_H
