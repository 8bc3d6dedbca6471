//===- CarriedLoop.h - a loop that carries sums -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef CONVJIT_LIB_SUPPORT_CARRIEDLOOP_H
#define CONVJIT_LIB_SUPPORT_CARRIEDLOOP_H

#include "mlir/Dialect/SCF/IR/SCF.h"

namespace convjit {

/// for j in [lo, hi) step `step`: body(j), which finds `sums` as the iteration
/// before left them; after the loop they are its results. The bounds have one
/// integer type, or index.
inline void carriedLoop(mlir::OpBuilder &b, mlir::Location loc, mlir::Value lo,
                        mlir::Value hi, mlir::Value step,
                        llvm::SmallVectorImpl<mlir::Value> &sums,
                        llvm::function_ref<void(mlir::Value)> body) {
  auto loop = mlir::scf::ForOp::create(b, loc, lo, hi, step, sums);
  mlir::OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(loop.getBody());
  sums.assign(loop.getRegionIterArgs().begin(), loop.getRegionIterArgs().end());
  body(loop.getInductionVar());
  mlir::scf::YieldOp::create(b, loc, sums);
  sums.assign(loop.getResults().begin(), loop.getResults().end());
}

} // namespace convjit

#endif // CONVJIT_LIB_SUPPORT_CARRIEDLOOP_H
