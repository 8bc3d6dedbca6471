//===- StagedSums.h - sums of all taps on their way to the output -*- C++
//-*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Where the taps of a weight come last in memory (OIHW), neither lanes nor rows
// of a tile's sums follow each other there, but all taps of a row do. One task
// then has all taps, its tiles leave their sums on the stack as
// [row][tap][lane], and blocks of lanes by runs of (row, tap) are transposed in
// registers on their way to the output. One by one they took a quarter of the
// whole time: 64 to 64 channels, k 3, at 56 x 56: 2.60 ms, with channels last
// in the weight 1.94.
//
//===----------------------------------------------------------------------===//

#ifndef CONVJIT_LIB_OUTER_STAGEDSUMS_H
#define CONVJIT_LIB_OUTER_STAGEDSUMS_H

#include "ConvDialect.h"
#include "outer/SumLines.h"
#include "support/IndexMath.h"

namespace convjit {

class StagedSums {
  using Value = mlir::Value;

public:
  /// For `taps` outputs of up to `rows` by `lanes` sums.
  StagedSums(conv::PhasesOp op, mlir::OpBuilder &b, int64_t taps, int64_t rows,
             int64_t lanes);

  Value buffer() const { return staged; }
  int64_t taps() const { return tapCount; }

  /// A tile's place in the output: elements from one row and lane to the next.
  struct Place {
    Value tensor, at, row, lane;
  };
  /// Moves the sums of `rows` by the first `valid` of `lanes`, as SumLines says
  /// for a `first` piece and a `residual`.
  void store(const Place &to, Value first, Value residual, int64_t rows,
             int64_t lanes, int64_t valid);

private:
  void run(Value from, const Place &to, SumLines &lines, int64_t places,
           int64_t lanes, int64_t valid);

  mlir::OpBuilder &b;
  mlir::Location loc;
  IndexMath math;
  mlir::Type element;
  Value staged;
  int64_t tapCount;
};

} // namespace convjit

#endif // CONVJIT_LIB_OUTER_STAGEDSUMS_H
