//===- TransposedMove.h - tiles whose lanes are apart in memory -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef CONVJIT_LIB_VECTOR_TRANSPOSEDMOVE_H
#define CONVJIT_LIB_VECTOR_TRANSPOSEDMOVE_H

#include "mlir/IR/Builders.h"
#include "mlir/IR/Value.h"

namespace convjit {

/// Moves between a buffer whose rows are places of the output, with lanes that
/// follow each other, and memory where the places follow each other and the
/// lanes are apart: channels first. A block of lanes, as many as 16 bytes hold,
/// is transposed in registers: for 16 places of four f32 lanes four vectors are
/// put together from 16 loads of four lanes, eight shuffles transpose within
/// them, and each of the results is a line of one lane. Lanes moved one at a
/// time take 64 loads and 64 stores.
class TransposedMove {
public:
  TransposedMove(mlir::OpBuilder &b, mlir::Location loc, mlir::Type element)
      : b(b), loc(loc), element(element) {}

  /// Lanes that are transposed together.
  static int64_t blockLanes(mlir::Type element);

  /// `count` places of a block of lanes. `row(place)` loads the block's lanes,
  /// a vector of blockLanes(); `line(lane, first, vector)` stores places from
  /// `first` on of one of the first `lanes` lanes.
  void scatter(int64_t count, int64_t lanes,
               llvm::function_ref<mlir::Value(int64_t)> row,
               llvm::function_ref<void(int64_t, int64_t, mlir::Value)> line);

  /// The reverse: `line(lane, first, type)` loads, `row(place, vector)` stores
  /// a vector of blockLanes(), whose lanes from `lanes` on are zero.
  void gather(
      int64_t count, int64_t lanes,
      llvm::function_ref<mlir::Value(int64_t, int64_t, mlir::VectorType)> line,
      llvm::function_ref<void(int64_t, mlir::Value)> row);

private:
  llvm::SmallVector<mlir::Value> transpose(llvm::ArrayRef<mlir::Value> rows);
  mlir::VectorType vectorOf(int64_t size);
  mlir::Value zero(int64_t size);
  /// for each run of places that share vectors: body(first, count)
  void forRuns(int64_t count, llvm::function_ref<void(int64_t, int64_t)> body);

  mlir::OpBuilder &b;
  mlir::Location loc;
  mlir::Type element;
};

} // namespace convjit

#endif // CONVJIT_LIB_VECTOR_TRANSPOSEDMOVE_H
