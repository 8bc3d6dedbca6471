//===- Interleave.h - vectors of phases and of their outputs -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef CONVJIT_LIB_VECTOR_INTERLEAVE_H
#define CONVJIT_LIB_VECTOR_INTERLEAVE_H

#include "mlir/IR/Builders.h"
#include "mlir/IR/Value.h"

namespace convjit {

/// Phases up to which their vectors are interleaved: each output vector takes
/// as many shuffles, less one.
constexpr int64_t maxInterleaved = 8;

/// P vectors of the same length, element i of vector r being output i * P + r,
/// as P vectors of outputs that follow each other.
llvm::SmallVector<mlir::Value>
interleaveVectors(mlir::OpBuilder &b, mlir::Location loc,
                  llvm::ArrayRef<mlir::Value> phases);

/// The reverse.
llvm::SmallVector<mlir::Value>
deinterleaveVectors(mlir::OpBuilder &b, mlir::Location loc,
                    llvm::ArrayRef<mlir::Value> outputs);

} // namespace convjit

#endif // CONVJIT_LIB_VECTOR_INTERLEAVE_H
