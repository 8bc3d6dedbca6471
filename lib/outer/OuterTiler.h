//===- OuterTiler.h - the loop nest of sums of outer products -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef CONVJIT_LIB_OUTER_OUTERTILER_H
#define CONVJIT_LIB_OUTER_OUTERTILER_H

#include "outer/OuterPieces.h"
#include "outer/OuterProducts.h"
#include "outer/PackedImages.h"
#include "outer/StagedSums.h"
#include "support/IndexMath.h"

namespace convjit {

/// Builds the loop nest of one conv.phases whose plan says `row = outer`.
class OuterTiler {
  using Value = mlir::Value;

public:
  OuterTiler(conv::PhasesOp op, mlir::OpBuilder &b);

  /// Returns the tasks for one image.
  int64_t run();

private:
  //===--------------------------------------------------------------------===//
  // Tasks: TileOuter.cpp
  //===--------------------------------------------------------------------===//

  void task(Value task, int64_t blocks);
  /// Packs the images of a tile, where this task is the first to read them.
  void packOnce(Value task, int64_t blocks);
  /// The tiles of a task: `rows` by the first `valid` of `lanes`.
  void taskTiles(int64_t rows, int64_t lanes, int64_t valid);
  /// Dimensions whose taps tell tasks apart: all but the row's, those that a
  /// tile has together, or none where a task has all.
  int64_t taskDims() const;
  /// Tasks of one image and block.
  int64_t tapTasks();
  /// Takes `rest` apart into image, taps, block and group.
  void takeDigits(Value rest, int64_t blocks);
  /// Groups of a few channels. With some numbers of images one task has a tile
  /// of all of them; else groups go one by one.
  void acrossGroups(int64_t blocks);
  /// Enters the rows of taps that a task has beyond one.
  void forTapsOfTask(llvm::function_ref<void()> body);
  /// Whole vectors: a group does not end in the middle of one.
  int64_t lanesAcrossGroups();
  /// The groups of one block, for one image.
  void groupByGroup(int64_t valid);
  /// Whole blocks of channels, and the last.
  void blockVariants(int64_t blocks, int64_t size,
                     llvm::function_ref<void(int64_t, int64_t)> body);
  /// A full tile of images, or the last ones: as many as there are known to be,
  /// or, where that is not known, in powers of two, and all of a group.
  void imageVariants(int64_t most,
                     llvm::function_ref<void(Value, int64_t)> body);

  //===--------------------------------------------------------------------===//
  // Tiles of one task: OuterTaskTiles.cpp
  //===--------------------------------------------------------------------===//

  /// Of a packed filter, blocks of channels are outermost and their lanes
  /// innermost.
  int64_t filterAxis(int64_t dim) {
    return op.getPacked() ? 1 + dim : numbers.getKernelSpatial()[dim];
  }
  int64_t filterChannelAxis() {
    return op.getPacked() ? rank + 1 : numbers.getKernelInputFeature();
  }
  /// Sums of `rows` by `lanes`, in lines of cache: registers, or a few each.
  int64_t vectorsOf(int64_t rows, int64_t lanes);
  /// How many tiles of `rows` by `lanes` have the registers of the plan's.
  int64_t room(int64_t rows, int64_t lanes);
  /// Whether neighbouring pixels of a row read in part the same.
  bool rowsShareLoads() const;
  /// Pixels of a row that fit into one tile: the smaller, the more.
  int64_t pixelsTogether(int64_t rows, int64_t lanes);
  void tiles(int64_t rows, int64_t lanes, int64_t valid);
  /// Whether a tile across groups, of so many images, has the taps of the last
  /// two dimensions together.
  bool joinsPlanes(int64_t rows, int64_t lanes);
  /// Where the task's row of outputs has its operands, and its bounds of j.
  void enterRow() { enterRow(rank - 1); }
  /// Of the first `outer` dimensions alone.
  void enterRow(int64_t outer);
  /// Adds what the output taps[dim] of one dimension means.
  void enterPixel(int64_t dim, Value &inputAt, Value &filterAt,
                  Value &outputAt);
  /// Elements from what a tile reads of the input and of the filter to what the
  /// same one reads of the next piece; null where the plan does not ask for it.
  std::pair<Value, Value> ahead();
  /// One tile of `pixels` outputs from `tap` on; of one, that is taps.back().
  /// With `planes`, those of all outputs of the last two dimensions, of which
  /// there are two or more.
  void tile(int64_t rows, int64_t lanes, int64_t valid, int64_t pixels,
            int64_t tap, bool planes = false);
  /// Elements from one tap of a dimension to the next, where sums go.
  Value tapStep(int64_t dim);

  conv::PhasesOp op;
  mlir::OpBuilder &b;
  mlir::Location loc;
  IndexMath math;
  conv::DimensionNumbersAttr numbers;
  conv::PlanAttr plan;
  int64_t rank;
  bool ofGroups;
  /// Whether tasks have the taps of the last two dimensions.
  bool ofPlanes = false;
  OuterLanes lanesHold;
  TensorStrides input, filter, output;
  int64_t groups, perGroup, channelsOfGroup, channels;
  /// Images that are known, or 0.
  int64_t expected = 0;
  std::vector<OuterDim> dims;
  /// The j of the channels summed over, and of each spatial dimension.
  llvm::SmallVector<std::pair<int64_t, int64_t>> box;
  /// Elements of the input from one j to the next, one image, one pixel of a
  /// row; of the packed one, where there is one.
  llvm::SmallVector<Value> inputSteps;
  Value inputImage, inputPixel;
  llvm::SmallVector<int64_t> filterSteps;
  Value images;
  std::optional<PackedImages> packedImages;
  std::optional<StagedSums> staged;

  // The state of the nest at the point of insertion.
  OuterPiece piece;
  llvm::SmallVector<Value> taps;
  /// `which` block of its group; `image` is the task's, `firstImage` the
  /// tile's.
  Value group, which, block, channel, image, firstImage;
  Value inputRow, filterRow, outputRow;
  /// Within a tile that no expected number of images has: right, and short.
  bool unexpected = false;
  /// Lanes of the sums that are staged.
  int64_t stagedLanes = 0;
  llvm::SmallVector<Value> bounds;
};

} // namespace convjit

#endif // CONVJIT_LIB_OUTER_OUTERTILER_H
