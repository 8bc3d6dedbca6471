//===- EpilogueVectorizer.h - epilogues on vectors -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef CONVJIT_LIB_VECTOR_EPILOGUEVECTORIZER_H
#define CONVJIT_LIB_VECTOR_EPILOGUEVECTORIZER_H

#include "geometry/Geometry.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"

namespace convjit {

/// Rewrites the epilogues of one function, a pixel's vector at a time. Where
/// lanes are not neighbours in memory (channels first), a tile goes through a
/// small buffer on the stack: vectors in, and out of it blocks of lanes that
/// are transposed in registers (TransposedMove.h), or elements one at a time
/// where pixels are apart too, in a loop over the lanes. Activations of tens of
/// instructions a vector run in a loop over the tile's vectors, which are
/// stored and loaded again for it: a depthwise 3-D layer with silu compiles in
/// 40 ms instead of 220.
class EpilogueVectorizer {
public:
  explicit EpilogueVectorizer(mlir::func::FuncOp func) : func(func) {}

  /// `op` is an elementwise generic over (pixels, lanes) whose first input is
  /// the accumulator; `rows` are its vectors, `pieces` of them a pixel.
  void vectorize(mlir::linalg::GenericOp op, llvm::ArrayRef<mlir::Value> rows,
                 llvm::ArrayRef<LanePiece> pieces, mlir::OpBuilder &b);

private:
  mlir::Value streams(mlir::Value view, int64_t from);

  mlir::func::FuncOp func;
  mlir::Value streaming;
};

} // namespace convjit

#endif // CONVJIT_LIB_VECTOR_EPILOGUEVECTORIZER_H
