//===- AsyncTiles.h - tiles on their way to shared memory -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef CONVJIT_LIB_GPU_ASYNCTILES_H
#define CONVJIT_LIB_GPU_ASYNCTILES_H

#include "Reduction.h"

namespace convjit {

/// The tiles of input (a row for each pixel) and filter (a row for each output
/// channel) of the steps that are being multiplied or on their way, in shared
/// memory. A row is `depth` neighbours of the reduction, in chunks of 16 bytes;
/// where a chunk lies in its row depends on the row, so that the chunks at one
/// place of eight rows in turn, which tensor cores' fragments are made of, are
/// in different banks.
class AsyncTiles {
public:
  explicit AsyncTiles(BlockBuilder &block);

  /// Steps of the main loop, and where in the reduction the first one is. A
  /// position is a list of values that a loop can carry.
  mlir::Value steps() const { return reduction.steps(); }
  llvm::SmallVector<mlir::Value> start();
  llvm::SmallVector<mlir::Value> next(mlir::ValueRange position);

  /// Issues the copies of the step at `position` to place `stage` (an index).
  void copy(mlir::ValueRange position, mlir::Value stage);
  /// Ends the group of copies that have been issued since the last one.
  void commit();
  /// Waits until all but the last `pending` groups have arrived. This thread's
  /// copies, that is: others' need a barrier.
  void wait(int64_t pending);

  /// The tiles of all stages: memref<(stages * rows) x depth>.
  mlir::Value inputTile() const { return input.view; }
  mlir::Value filterTile() const { return filter.view; }
  /// What chunk numbers of rows that are `row` apart from a multiple of 8 are
  /// combined with by exclusive or.
  mlir::Value swizzle(mlir::Value row);
  int64_t chunkElements() const { return chunk; }

private:
  /// One tile, and what this thread copies of it: rows by units of `vector`
  /// neighbours.
  struct Tile {
    int64_t rows, vector;
    mlir::Value view;
    llvm::SmallVector<mlir::Value> row, unit; ///< numbers, in num.type
    llvm::SmallVector<mlir::Value> to; ///< columns, an index; by row, unit
    mlir::Value active;       ///< null where every thread has something to copy
    size_t firstPosition = 0; ///< the first unit's, where each has its own
  };

  Tile place(int64_t rows, int64_t vector, bool alongRows);
  void openShared();
  void copyInput(llvm::ArrayRef<ReductionPosition> positions,
                 mlir::Value stage);
  void copyFilter(llvm::ArrayRef<ReductionPosition> positions,
                  mlir::Value stage);
  void issue(Tile &tile, size_t row, size_t unit, mlir::Value stage,
             mlir::Value from, mlir::Value at, mlir::Value condition);

  BlockBuilder &block;
  mlir::OpBuilder &b;
  mlir::Location loc;
  IndexMath &math, &num;
  conv::GPUPlanAttr plan;
  Reduction reduction;
  int64_t depth, chunk;
  bool mixed;
  Tile input, filter;
  llvm::SmallVector<mlir::Value> pixelRow;
  llvm::SmallVector<llvm::SmallVector<mlir::Value>> pixelInputAt;
  mlir::Value filterRow, lastGroup;
};

} // namespace convjit

#endif // CONVJIT_LIB_GPU_ASYNCTILES_H
