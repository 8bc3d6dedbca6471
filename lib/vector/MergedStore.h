//===- MergedStore.h - storing lanes of several phases -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef CONVJIT_LIB_VECTOR_MERGEDSTORE_H
#define CONVJIT_LIB_VECTOR_MERGEDSTORE_H

#include "ConvDialect.h"
#include "support/IndexMath.h"

namespace convjit {

/// The lanes of a tile with merged phases, and where they are in the output.
class MergedLanes {
public:
  MergedLanes(conv::TileOp op, mlir::OpBuilder &b);

  /// Some neighbouring pixels; `whole` if the lanes of each follow each other
  /// in the output and all exist.
  struct Run {
    int64_t first, count;
    bool whole;
  };
  llvm::SmallVector<Run> runs(int64_t pixels);
  /// A buffer of the tile: (pixels, lanes), or (lanes, pixels) where the tile's
  /// vectors are pixels of one phase and channel.
  mlir::MemRefType bufferType();
  /// Moves the elements of pixels [first, first + count) that exist between
  /// `tensor`, of the output's shape, and `lanes`, a buffer of the tile: to the
  /// tensor with `store`.
  void copy(mlir::Value tensor, mlir::Value lanes, int64_t first, int64_t count,
            bool store);
  /// The axis along which lanes follow each other, when they do.
  int64_t laneAxis() const {
    return rowIsLast() ? numbers.getOutputSpatial().back()
                       : numbers.getOutputFeature();
  }

private:
  bool isPartial(int64_t pixel);
  /// Of the copy at hand, the pixels [first, last) whose outputs all exist.
  std::pair<int64_t, int64_t> wholePixels();
  bool rowIsLast() const {
    return numbers.getOutputSpatial().back() > numbers.getOutputFeature();
  }
  /// Outputs of a piece of the lanes where vectors are pixels.
  void copyPixels(mlir::Value tensor, mlir::Value lanes,
                  llvm::ArrayRef<mlir::Value> at, int64_t piece, bool store);
  void interleaveRun(mlir::Value tensor, mlir::Value lanes,
                     llvm::ArrayRef<mlir::Value> at, mlir::Value lane,
                     int64_t first, int64_t count, bool store);
  void transposeBlock(mlir::Value tensor, mlir::Value lanes,
                      llvm::SmallVector<mlir::Value> at, mlir::Value column,
                      std::pair<int64_t, int64_t> pixels, int64_t channels,
                      bool store);
  void copyPiece(mlir::Value tensor, mlir::Value lanes,
                 llvm::ArrayRef<mlir::Value> at, int64_t piece, bool store);
  void ifInside(mlir::Value at, int64_t axis, llvm::function_ref<void()> body);
  void move(mlir::Value tensor, mlir::ValueRange tensorAt, mlir::Value lanes,
            mlir::ValueRange lanesAt, int64_t count, bool store);

  conv::TileOp op;
  mlir::OpBuilder &b;
  IndexMath math;
  conv::DimensionNumbersAttr numbers;
  llvm::ArrayRef<int64_t> phases;
  llvm::ArrayRef<bool> clipped;
  int64_t perGroup;
  int64_t firstPixel = 0, lastPixel = 0; ///< of the copy at hand
  bool contiguous; ///< (phase of the row, channel) in the output
  bool wholeRow;   ///< nothing but that is in the lanes
  bool ofPixels;   ///< vectors are pixels
};

} // namespace convjit

#endif // CONVJIT_LIB_VECTOR_MERGEDSTORE_H
