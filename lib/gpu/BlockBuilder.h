//===- BlockBuilder.h - what the schedules of a thread block share -*- C++
//-*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef CONVJIT_LIB_GPU_BLOCKBUILDER_H
#define CONVJIT_LIB_GPU_BLOCKBUILDER_H

#include "geometry/BlockSpace.h"
#include "support/IndexMath.h"

#include "mlir/Dialect/Vector/IR/VectorOps.h"

namespace convjit {

/// One pixel of the block's box.
struct BlockPixel {
  mlir::Value image;                 ///< of the output; an index
  llvm::SmallVector<mlir::Value> at; ///< of each dimension of the phase
  mlir::Value exists;                ///< null where it always does
};

/// Builds what a block computes before its conv.block. Positions inside an
/// image are numbers of `num.type`: 32 bits, where all of them fit.
class BlockBuilder {
public:
  BlockBuilder(conv::BlockOp op, mlir::OpBuilder &b);

  /// The pixel with this number in the box, below the box's pixels.
  BlockPixel pixel(mlir::Value number);

  /// The input element that tap 0 of `pixel` reads of the group's first
  /// channel; its position need not exist.
  mlir::Value inputBase(const BlockPixel &pixel);
  /// The position that tap 0 of the pixel reads in each dimension where some
  /// tap of a border block may lie outside; null elsewhere. Of pixels that do
  /// not exist, one that no tap brings inside.
  llvm::SmallVector<mlir::Value> inputAt(const BlockPixel &pixel);
  /// Elements between what tap 0 and taps `tap` read.
  mlir::Value tapOffset(llvm::ArrayRef<mlir::Value> tap);
  /// Whether taps `tap` of a pixel read the input; null where they always do.
  mlir::Value isInside(llvm::ArrayRef<mlir::Value> inputAt,
                       llvm::ArrayRef<mlir::Value> tap);
  /// The taps [first, last) of each dimension that some pixel of the box has.
  std::pair<mlir::Value, mlir::Value> tapRange(int64_t dim);
  /// Row of the packed filter, in taps, that holds taps `tap`.
  mlir::Value filterTap(llvm::ArrayRef<mlir::Value> tap);

  /// The pixel's output element of the first channel of the layer.
  mlir::Value outputBase(const BlockPixel &pixel);

  /// Elements between neighbours on this axis, in the type of `math`. `axis` is
  /// not before the batch unless positions are 64 bits wide.
  mlir::Value stride(mlir::Value buffer, int64_t axis, IndexMath &math);
  /// The buffer from element `first` on, as one row.
  mlir::Value row(mlir::Value buffer, mlir::Value first);
  /// `size` elements of a row, aligned to all of them; of `element`, whatever
  /// they are stored as.
  mlir::Value load(mlir::Value row, mlir::Value at, int64_t size);
  void store(mlir::Value value, mlir::Value row, mlir::Value at);
  mlir::Value zero(int64_t size);
  /// value of `load` where `condition` holds, else zero; null always holds.
  mlir::Value loadIf(mlir::Value condition, mlir::Value row, mlir::Value at,
                     int64_t size);

  /// Sums with bias and residual through the activation to the output. `sums`
  /// are those of `size` neighbouring channels from `channel` on, of the layer;
  /// `valid` says how many of them exist (null for all).
  void finish(mlir::Value sums, const BlockPixel &pixel, mlir::Value outputBase,
              mlir::Value channel, mlir::Value existing);

  /// vector<size x element>, or the element itself for one.
  mlir::Type typeOf(int64_t size);

  conv::BlockOp op;
  mlir::OpBuilder &b;
  mlir::Location loc;
  /// Of index, and of positions inside an image.
  IndexMath math, num;
  conv::GPUPlanAttr plan;
  conv::DimensionNumbersAttr numbers;
  ChannelBlocks channels;
  int64_t rank, reduction;
  /// What buffers have, and what is computed with: f32 for types of 16 bits.
  mlir::Type stored, element;
  int64_t storedBytes, elementBytes;
  mlir::Value thread; ///< in num.type
  mlir::Value images; ///< of the output; an index
  bool interior, inputChannelsLast, outputChannelsLast;
  /// Of the block's phase, in each dimension.
  llvm::SmallVector<mlir::Value> base, taps, firstTap, length;
  mlir::MemRefType inputType, outputType, filterType;

private:
  bool needsWide();
};

/// Rewrites op before itself; the caller erases it.
void expandDirect(BlockBuilder &block);
void expandSimt(BlockBuilder &block);
void expandMma(BlockBuilder &block);

} // namespace convjit

#endif // CONVJIT_LIB_GPU_BLOCKBUILDER_H
