//===- Tiler.h - the loop nest of one conv.phases -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef CONVJIT_LIB_TILE_TILER_H
#define CONVJIT_LIB_TILE_TILER_H

#include "geometry/Geometry.h"
#include "support/IndexMath.h"
#include "support/LiveTable.h"

namespace convjit {

/// What one phase of one dimension is at run time.
struct Phase {
  mlir::Value taps, firstTap, base;
};

/// Builds the loop nest of one conv.phases.
class Tiler {
public:
  Tiler(conv::PhasesOp op, mlir::OpBuilder &builder)
      : op(op), b(builder), math{builder, op.getLoc()},
        numbers(op.getDimensionNumbers()), space(taskSpace(op)),
        rank(op.getRank()), row(space.splits.back()),
        live(op.getLive() ? LiveTable(op, space) : LiveTable()),
        outputBuffer(op.getOutput()), inputAt(rank + 2), filterAt(rank + 3),
        outputAt(rank + 2) {}

  void run();

private:
  mlir::Value table(llvm::ArrayRef<int64_t> values, mlir::Value index,
                    llvm::StringRef name) {
    return lookUp(op, b, values, index, name);
  }
  Phase phase(conv::PhaseSplitAttr split, mlir::Value index, int64_t dim);
  void clipTaps(conv::PhaseSplitAttr split, const Phase &phase, mlir::Value at,
                std::optional<std::pair<int64_t, int64_t>> span,
                mlir::Value &lo, mlir::Value &hi);
  void takeStrips(mlir::Value &rest, llvm::MutableArrayRef<mlir::Value> q);
  void outerDimension(int64_t dim, mlir::Value phaseIndex, mlir::Value q,
                      llvm::function_ref<void()> body);
  void channelVariants(llvm::function_ref<void()> body);
  void unrolledRow();
  void rangedRow();
  void imagesRow();
  /// Several images from `image` on at a time, where it begins such a tile.
  void imageTiles(mlir::Value image, llvm::function_ref<void()> body);
  void rows(llvm::ArrayRef<mlir::Value> q, llvm::ArrayRef<mlir::Value> r);
  /// Pixels of a row whose lanes may lie outside the output.
  enum Partial { Whole = 0, First = 1, Last = 2 };
  void tile(mlir::Value q, int64_t pixels, mlir::Value phaseIndex,
            const Phase &phase,
            std::optional<llvm::ArrayRef<int64_t>> tapPixels, mlir::Value lo,
            mlir::Value hi, int partial = Whole);
  mlir::Value laneBias(mlir::Value group);
  /// Input channels that an output channel reads.
  int64_t channelsPerGroup();
  bool storesWholeLines();
  mlir::IntegerAttr streamFrom();
  /// What `prefetch` of the plan means for a tile.
  mlir::IntegerAttr filterAhead();
  mlir::IntegerAttr inputAhead(int64_t pixels);
  bool fetchesInput();
  mlir::Value inputIsFar();
  void fetchInput(int64_t pixels, mlir::Value phaseIndex);
  void fetchOutput(int64_t pixels);
  bool staysNear(int64_t dim);
  void fetchRow(llvm::ArrayRef<mlir::Value> outerTaps, int64_t pixels);
  void liveRange(mlir::Value phaseIndex);

  conv::PhasesOp op;
  mlir::OpBuilder &b;
  IndexMath math;
  conv::DimensionNumbersAttr numbers;
  TaskSpace space;
  int64_t rank;
  conv::PhaseSplitAttr row;
  LiveTable live;
  mlir::Value outputBuffer;

  // The state of the nest at the point of insertion.
  mlir::DenseI64ArrayAttr active;
  llvm::SmallVector<mlir::Value> inputAt, filterAt, outputAt, outerRanges,
      phaseIndices;
  mlir::Value farInput;
  mlir::Value block, blockOfGroup, chunk, firstLane, bias;
  mlir::Value liveRows, liveStarts, liveFirst, liveLast;
  int64_t width = 1, valid = 1;
  int64_t images = 1; ///< of a tile
};

} // namespace convjit

#endif // CONVJIT_LIB_TILE_TILER_H
