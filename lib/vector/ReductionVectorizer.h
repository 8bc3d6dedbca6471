//===- ReductionVectorizer.h - partial sums in vectors -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef CONVJIT_LIB_VECTOR_REDUCTIONVECTORIZER_H
#define CONVJIT_LIB_VECTOR_REDUCTIONVECTORIZER_H

#include "vector/LaneMasks.h"

#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"

namespace convjit {

/// sums(m, n, l) += input(m * step + j * tap_step, l) * weights(j, n, l), of
/// the pixels that `conv.tap_pixels` gives to tap j and the outputs n that
/// `conv.active` does. `sums` has a vector for each (m, n).
void vectorizeReductionTaps(mlir::linalg::GenericOp op,
                            llvm::MutableArrayRef<mlir::Value> sums,
                            LaneMasks &masks, mlir::OpBuilder &b);

/// The sum of the lanes of each of `rows`, equal vectors, in their order.
class LaneSums {
public:
  LaneSums(llvm::ArrayRef<mlir::Value> rows, mlir::OpBuilder &b,
           mlir::Location loc);

  /// Sums [first, first + count) as a vector; `count` is a power of two.
  mlir::Value slice(int64_t first, int64_t count);

private:
  mlir::Value addGroup(llvm::ArrayRef<mlir::Value> rows);

  mlir::OpBuilder &b;
  mlir::Location loc;
  int64_t lanes;
  llvm::SmallVector<mlir::Value> groups; ///< `lanes` sums each
};

} // namespace convjit

#endif // CONVJIT_LIB_VECTOR_REDUCTIONVECTORIZER_H
