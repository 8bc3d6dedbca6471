//===- OuterSums.h - the sums of a tile, in registers and memory -*- C++
//-*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef CONVJIT_LIB_OUTER_OUTERSUMS_H
#define CONVJIT_LIB_OUTER_OUTERSUMS_H

#include "ConvDialect.h"
#include "support/IndexMath.h"
#include "vector/LaneMasks.h"
#include "vector/VectorPieces.h"

namespace convjit {

/// The sums of one conv.outer_tile: a vector for each pixel, row and piece of
/// the lanes, in this order.
class OuterSums {
protected:
  using Value = mlir::Value;
  using Sums = llvm::SmallVector<Value>;

  OuterSums(conv::OuterTileOp op, mlir::OpBuilder &b, LaneMasks &masks);

  mlir::VectorType typeOf(LanePiece piece) const {
    return mlir::VectorType::get({piece.size}, element);
  }
  Value zeroOf(mlir::Type type);
  /// Lanes of a piece that exist.
  int64_t validOf(LanePiece piece);
  /// The elements of a tensor from `at` on.
  Value view(Value tensor, Value at);

  /// What the sums start from.
  Sums initial();
  /// Stores `sums`, added to what the pieces before gave.
  void finish(const Sums &sums);
  /// Has the lines of the output on their way while the tile sums.
  void prefetch();

  conv::OuterTileOp op;
  mlir::OpBuilder &b;
  mlir::Location loc;
  IndexMath math;
  LaneMasks &masks;
  mlir::Type element;
  llvm::SmallVector<LanePiece> pieces;
  int64_t pixels, rows;

private:
  Value outputPlace(int64_t pixel, int64_t row);
  bool lanesAreNeighbours();
  /// Whether the sums of a lane follow each other in the output, and are enough
  /// for a transposed move.
  bool rowsAreNeighbours();
  Sums total(const Sums &sums);
  void store(llvm::ArrayRef<Value> sums);
  void storeRows(llvm::ArrayRef<Value> sums);
  /// Where lanes are that do not follow each other in the output.
  Value laneBuffer();
  /// body(place in the output, row of the buffer, lane), for each sum.
  void eachSum(llvm::function_ref<void(Value, Value, Value)> body);
  Sums load(Value tensor);
  /// What holds in the first piece, or in the others.
  Sums choose(llvm::function_ref<Sums()> first,
              llvm::function_ref<Sums()> other);
};

} // namespace convjit

#endif // CONVJIT_LIB_OUTER_OUTERSUMS_H
