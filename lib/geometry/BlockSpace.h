//===- BlockSpace.h - the thread blocks of a convolution as numbers -*- C++
//-*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef CONVJIT_LIB_GEOMETRY_BLOCKSPACE_H
#define CONVJIT_LIB_GEOMETRY_BLOCKSPACE_H

#include "geometry/Geometry.h"

namespace convjit {

/// The thread blocks that a planned convolution is cut into, numbered from the
/// fastest digit on: block of channels, part of the reduction, phase of each
/// dimension, box of each dimension, box of images.
struct BlockSpace {
  conv::GPUPlanAttr plan;
  ChannelBlocks channels;
  llvm::SmallVector<conv::PhaseSplitAttr> splits;
  /// Input channels that one output reads.
  int64_t reduction;

  /// Phases of `dim` that any output belongs to; boxes of the longest.
  int64_t phases(int64_t dim) const;
  int64_t boxes(int64_t dim) const;
  /// Blocks for each of the plan's boxes of images.
  int64_t blocksPerImages() const;
  int64_t imagesPerBlock() const { return plan.getBox()[0]; }
};

/// The axes of the input as blocks read it: those of the packed one, where the
/// plan has it packed.
conv::DimensionNumbersAttr readNumbers(conv::GPUPlanAttr plan,
                                       conv::DimensionNumbersAttr numbers);

/// schedule = mma: whether rows of its tiles in shared memory are products of a
/// step, with pixels and channels side by side, which fragments of 16-bit types
/// can be read from: where an access to the input has no two products. Else
/// rows are pixels and channels.
bool hasProductRows(conv::GPUPlanAttr plan, mlir::Type element,
                    conv::DimensionNumbersAttr numbers);

/// What the images of the output have to be a multiple of.
int64_t imageMultiple(conv::GPUPlanAttr plan, mlir::Type element,
                      conv::DimensionNumbersAttr numbers);

/// How a plan's blocks divide the output channels of `groups` groups.
ChannelBlocks channelBlocks(conv::GPUPlanAttr plan, mlir::Type element,
                            conv::DimensionNumbersAttr numbers, int64_t groups,
                            int64_t perGroup);

BlockSpace blockSpace(conv::PhasesOp op);
BlockSpace blockSpace(conv::ConvolutionOp op, conv::GPUPlanAttr plan);

/// Channels that a tap has in the packed filter: whole steps of the reduction
/// where no step holds several taps.
int64_t paddedReduction(conv::GPUPlanAttr plan, int64_t reduction);

/// schedule = simt: elements by which rows of input in shared memory are longer
/// than the block's pixels.
int64_t sharedPadding(int64_t elementBytes, bool channelsLast);

/// Bytes of shared memory of a block.
int64_t sharedBytes(conv::GPUPlanAttr plan, int64_t elementBytes,
                    bool channelsLast);

} // namespace convjit

#endif // CONVJIT_LIB_GEOMETRY_BLOCKSPACE_H
