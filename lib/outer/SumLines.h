//===- SumLines.h - lines of sums on their way to memory -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The sums of a piece of pixels, line by line, after a transposed move. Those
// of the first piece are added to zeros or to the residual, the others to what
// the pieces before left: one move serves both. A second one that does not add
// is more code than the zeros: 2264 pixels of 256 to 128 channels, k 16 s 8, 27
// KB and 300 ms with it, 20 KB and 185 ms without.
//
//===----------------------------------------------------------------------===//

#ifndef CONVJIT_LIB_OUTER_SUMLINES_H
#define CONVJIT_LIB_OUTER_SUMLINES_H

#include "support/IndexMath.h"

namespace convjit {

class SumLines {
  using Value = mlir::Value;

public:
  /// Lines go to `target`. `first`: they are the first piece's and start from
  /// `residual`, which may be null, at the same place; else they are added.
  SumLines(mlir::OpBuilder &b, mlir::Location loc, Value target, Value first,
           Value residual);

  /// Before all lines: where `first` is only known in a call and there is no
  /// residual, `clear` makes zeros of what they will be added to.
  void start(llvm::function_ref<void()> clear);
  /// `count` zeros from element `at` on.
  void zero(Value at, int64_t count);
  /// A vector of sums from element `at` on.
  void put(Value line, Value at);

private:
  mlir::OpBuilder &b;
  mlir::Location loc;
  IndexMath math;
  mlir::Type element;
  Value target, first;
  /// What is added, or null.
  Value addend;
  bool clears = false;
};

} // namespace convjit

#endif // CONVJIT_LIB_OUTER_SUMLINES_H
