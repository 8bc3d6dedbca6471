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

#include <memory>

namespace convjit {

/// The tiles of input and filter of the steps that are being multiplied or on
/// their way, in shared memory. Their rows are in chunks of 16 bytes; where a
/// chunk lies in its row depends on the row, so that the chunks at one place of
/// eight rows in turn, which tensor cores' fragments are made of, are in
/// different banks. What a row is depends on what is side by side in memory.
class AsyncTiles {
public:
  /// Those of the block's plan.
  static std::unique_ptr<AsyncTiles> create(BlockBuilder &block);
  virtual ~AsyncTiles();

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

  /// What of the step at `position` goes through this thread's registers, as no
  /// copy can move it; zeros where `condition` does not hold. And puts it to
  /// place `stage`.
  virtual llvm::SmallVector<mlir::Value> loadIf(mlir::Value condition,
                                                mlir::ValueRange position) {
    return {};
  }
  virtual void store(llvm::ArrayRef<mlir::Value> values, mlir::Value stage) {}

  /// The tiles of all stages: memref<(stages * rows) x elements of a row>. Rows
  /// are products of a step, with the block's pixels or channels side by side;
  /// else pixels and channels, with the step's products side by side.
  mlir::Value inputTile() const { return input.view; }
  mlir::Value filterTile() const { return filter.view; }
  bool haveProductRows() const { return productRows; }
  /// What chunk numbers of rows that are `row` apart from a multiple of 8 are
  /// combined with by exclusive or.
  mlir::Value inputSwizzle(mlir::Value row) { return swizzle(input, row); }
  mlir::Value filterSwizzle(mlir::Value row) { return swizzle(filter, row); }
  int64_t chunkElements() const { return chunk; }

protected:
  /// One tile, and what this thread moves of it: rows by units of `vector`
  /// neighbours.
  struct Tile {
    int64_t rows = 0, length = 0, vector = 0;
    mlir::Value view = {};
    llvm::SmallVector<mlir::Value> row = {}, unit = {}; ///< in num.type
    llvm::SmallVector<mlir::Value> to = {}; ///< columns, an index; by row, unit
    /// Null where every thread has something to move.
    mlir::Value active = {};
    /// The first position of its own, where each row or unit has one.
    size_t firstPosition = 0;
  };

  AsyncTiles(BlockBuilder &block, bool productRows);

  Tile place(int64_t rows, int64_t length, int64_t vector, bool alongRows);
  mlir::Value swizzle(const Tile &tile, mlir::Value row);
  void openShared();
  /// The row in the view, and the column, of what this thread moves.
  llvm::SmallVector<mlir::Value, 2> placeOf(const Tile &tile, size_t row,
                                            size_t unit, mlir::Value stage);
  void issue(Tile &tile, size_t row, size_t unit, mlir::Value stage,
             mlir::Value from, mlir::Value at, mlir::Value condition);

  /// The products of a step, from its first, whose positions are carried; all
  /// have the first one's unless steps hold several taps.
  virtual llvm::SmallVector<mlir::Value> ownProducts() = 0;
  virtual void copyInput(llvm::ArrayRef<ReductionPosition> positions,
                         mlir::Value stage) = 0;
  virtual void copyFilter(llvm::ArrayRef<ReductionPosition> positions,
                          mlir::Value stage) = 0;

  BlockBuilder &block;
  mlir::OpBuilder &b;
  mlir::Location loc;
  IndexMath &math, &num;
  conv::GPUPlanAttr plan;
  Reduction reduction;
  int64_t depth, chunk;
  bool mixed, productRows;
  Tile input, filter;
  mlir::Value filterRow;

private:
  mlir::Value lastGroup;
};

/// A row for each pixel and each output channel: `depth` neighbours of the
/// reduction.
std::unique_ptr<AsyncTiles> pixelRows(BlockBuilder &block);
/// A row for each product of a step: the block's pixels, or its channels. Of
/// types of 16 bits, whose fragments can be read across rows.
std::unique_ptr<AsyncTiles> productRows(BlockBuilder &block);

} // namespace convjit

#endif // CONVJIT_LIB_GPU_ASYNCTILES_H
