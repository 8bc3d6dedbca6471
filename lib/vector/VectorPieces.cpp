//===- VectorPieces.cpp - vectors put together from parts -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "vector/VectorPieces.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace convjit;

int64_t convjit::evaluate(AffineMap map, unsigned result,
                          ArrayRef<int64_t> dims) {
  auto values = llvm::map_to_vector(dims, [&](int64_t value) {
    return getAffineConstantExpr(value, map.getContext());
  });
  return cast<AffineConstantExpr>(map.getResult(result).replaceDims(values))
      .getValue();
}

Value convjit::insertPiece(OpBuilder &b, Location loc, Value part, Value whole,
                           int64_t first) {
  if (part.getType() == whole.getType())
    return part;
  return vector::InsertStridedSliceOp::create(
      b, loc, part, whole, ArrayRef<int64_t>{first}, ArrayRef<int64_t>{1});
}

Value convjit::extractPiece(OpBuilder &b, Location loc, Value whole,
                            LanePiece piece) {
  if (piece.size == cast<VectorType>(whole.getType()).getNumElements())
    return whole;
  return vector::ExtractStridedSliceOp::create(
      b, loc, whole, ArrayRef<int64_t>{piece.first},
      ArrayRef<int64_t>{piece.size}, ArrayRef<int64_t>{1});
}

Value convjit::loadPieces(OpBuilder &b, Location loc, VectorType type,
                          int64_t count, function_ref<Value(LanePiece)> load) {
  Value whole = arith::ConstantOp::create(b, loc, b.getZeroAttr(type));
  for (LanePiece piece : lanePieces(count))
    whole = insertPiece(b, loc, load(piece), whole, piece.first);
  return whole;
}

void convjit::storePieces(OpBuilder &b, Location loc, Value whole,
                          int64_t count,
                          function_ref<void(LanePiece, Value)> store) {
  for (LanePiece piece : lanePieces(count))
    store(piece, extractPiece(b, loc, whole, piece));
}
