//===- LaneMasks.h - part of the lanes of a vector -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef CONVJIT_LIB_VECTOR_LANEMASKS_H
#define CONVJIT_LIB_VECTOR_LANEMASKS_H

#include "mlir/Dialect/Func/IR/FuncOps.h"

#include <map>
#include <vector>

namespace convjit {

/// Loads and choices of some lanes in one function, by masks that are known at
/// compile time.
class LaneMasks {
public:
  explicit LaneMasks(mlir::func::FuncOp func) : func(func) {}

  /// Every `step`th element from `at` on as a vector, of which only the lanes
  /// of `mask` are read, if there is one.
  mlir::Value load(mlir::OpBuilder &b, mlir::Location loc,
                   mlir::VectorType type, mlir::Value buffer,
                   mlir::ValueRange at, int64_t step,
                   llvm::ArrayRef<bool> mask);

  /// Every `step`th element from `at` on in the first `count` lanes, zero in
  /// the others, which are not read.
  mlir::Value loadFirst(mlir::OpBuilder &b, mlir::Location loc,
                        mlir::VectorType type, mlir::Value buffer,
                        llvm::ArrayRef<mlir::Value> at, int64_t step,
                        int64_t count);

  /// `next` in the lanes of `mask`, `sum` in the others, which do not see a
  /// product of zero and infinity. `readsMasked`: loads by the same mask are
  /// part of `next`.
  mlir::Value select(mlir::OpBuilder &b, mlir::Location loc,
                     llvm::ArrayRef<bool> mask, mlir::Value next,
                     mlir::Value sum, bool readsMasked);

private:
  mlir::Value mask(llvm::ArrayRef<bool> lanes);

  mlir::func::FuncOp func;
  std::map<std::vector<bool>, mlir::Value> masks;
};

} // namespace convjit

#endif // CONVJIT_LIB_VECTOR_LANEMASKS_H
