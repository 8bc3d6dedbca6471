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
  /// product of zero and infinity.
  mlir::Value select(mlir::OpBuilder &b, mlir::Location loc,
                     llvm::ArrayRef<bool> mask, mlir::Value next,
                     mlir::Value sum);

private:
  using Masks = std::map<std::vector<bool>, mlir::Value>;
  mlir::Value mask(llvm::ArrayRef<bool> lanes, Masks &masks,
                   llvm::StringRef name);

  mlir::func::FuncOp func;
  /// Of loads, and of choices: LLVM 22 turns a masked load under a choice by
  /// the same mask into a load of the whole vector, which may fault.
  Masks read, chosen;
};

} // namespace convjit

#endif // CONVJIT_LIB_VECTOR_LANEMASKS_H
