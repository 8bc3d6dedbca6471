//===- VectorPieces.h - vectors put together from parts -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

// Memory has as many elements as a tile does; registers hold a power of two.
// Such vectors are loaded and stored in pieces (`lanePieces`). One-dimensional
// vectors only.
//
//===----------------------------------------------------------------------===//

#ifndef CONVJIT_LIB_VECTOR_VECTORPIECES_H
#define CONVJIT_LIB_VECTOR_VECTORPIECES_H

#include "geometry/Geometry.h"

#include "mlir/IR/Builders.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Value.h"

namespace convjit {

/// Result `result` of `map` where its dimensions are `dims`; an affine function
/// without symbols.
int64_t evaluate(mlir::AffineMap map, unsigned result,
                 llvm::ArrayRef<int64_t> dims);

/// `whole` with `part` in its lanes from `first` on; `part` where that is all.
mlir::Value insertPiece(mlir::OpBuilder &b, mlir::Location loc,
                        mlir::Value part, mlir::Value whole, int64_t first);

/// The lanes of `whole` that `piece` names; `whole` where those are all.
mlir::Value extractPiece(mlir::OpBuilder &b, mlir::Location loc,
                         mlir::Value whole, LanePiece piece);

/// A vector of `type` whose first `count` lanes are what `load` makes for each
/// piece of them, and the others zero.
mlir::Value loadPieces(mlir::OpBuilder &b, mlir::Location loc,
                       mlir::VectorType type, int64_t count,
                       llvm::function_ref<mlir::Value(LanePiece)> load);

/// The first `count` lanes of `whole`, a piece at a time.
void storePieces(mlir::OpBuilder &b, mlir::Location loc, mlir::Value whole,
                 int64_t count,
                 llvm::function_ref<void(LanePiece, mlir::Value)> store);

} // namespace convjit

#endif // CONVJIT_LIB_VECTOR_VECTORPIECES_H
