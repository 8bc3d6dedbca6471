//===- BlockSpace.cpp - the thread blocks of a convolution as numbers -*- C++
//-*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "BlockSpace.h"

#include "llvm/Support/MathExtras.h"

using namespace convjit;
using namespace convjit::conv;
using namespace mlir;

int64_t BlockSpace::phases(int64_t dim) const {
  return std::min(splits[dim].getStep(), splits[dim].getOutput());
}

int64_t BlockSpace::boxes(int64_t dim) const {
  return llvm::divideCeil(phaseLength(splits[dim], 0), plan.getBox()[1 + dim]);
}

int64_t BlockSpace::blocksPerImages() const {
  int64_t blocks = channels.blocks();
  for (size_t dim = 0; dim < splits.size(); ++dim)
    blocks *= phases(dim) * boxes(dim);
  return blocks;
}

static ChannelBlocks channelBlocks(GPUPlanAttr plan, int64_t groups,
                                   int64_t perGroup) {
  bool direct = plan.getSchedule() == GPUSchedule::Direct;
  return {direct ? Lanes::Groups : Lanes::Channels, groups, perGroup,
          plan.getChannels()};
}

BlockSpace convjit::blockSpace(PhasesOp op) {
  DimensionNumbersAttr numbers = op.getDimensionNumbers();
  auto input = cast<MemRefType>(op.getInput().getType());
  auto output = cast<MemRefType>(op.getOutput().getType());
  auto featureGroups = static_cast<int64_t>(op.getFeatureGroupCount());
  int64_t groups = featureGroups * op.getBatchGroupCount();
  BlockSpace space;
  space.plan = op.getGpuPlanAttr();
  space.channels =
      channelBlocks(space.plan, groups,
                    output.getDimSize(numbers.getOutputFeature()) / groups);
  llvm::append_range(space.splits, op.getSplits().getAsRange<PhaseSplitAttr>());
  space.reduction = input.getDimSize(numbers.getInputFeature()) / featureGroups;
  return space;
}

BlockSpace convjit::blockSpace(ConvolutionOp op, GPUPlanAttr plan) {
  DimensionNumbersAttr numbers = op.getDimensionNumbers();
  auto input = cast<RankedTensorType>(op.getInput().getType());
  auto output = cast<RankedTensorType>(op.getType());
  auto featureGroups = static_cast<int64_t>(op.getFeatureGroupCount());
  int64_t groups = featureGroups * op.getBatchGroupCount();
  return {plan,
          channelBlocks(plan, groups,
                        output.getDimSize(numbers.getOutputFeature()) / groups),
          *splitConvolution(op, 0),
          input.getDimSize(numbers.getInputFeature()) / featureGroups};
}

int64_t convjit::paddedReduction(GPUPlanAttr plan, int64_t reduction) {
  return plan.getMixed() ? reduction
                         : llvm::alignTo(reduction, plan.getDepth());
}

int64_t convjit::sharedPadding(int64_t elementBytes, bool channelsLast) {
  // Channels of a pixel are neighbours in the input and rows apart in shared
  // memory; 16 bytes keep threads that store them in different banks.
  return channelsLast ? 16 / elementBytes : 0;
}

int64_t convjit::sharedBytes(GPUPlanAttr plan, int64_t elementBytes,
                             bool channelsLast) {
  if (plan.getSchedule() == GPUSchedule::Direct)
    return 0;
  int64_t row = plan.getPixels() + sharedPadding(elementBytes, channelsLast) +
                plan.getChannels();
  return plan.getStages() * plan.getDepth() * row * elementBytes;
}

std::string convjit::whyPlanIsImpossible(ConvolutionOp op, GPUPlanAttr plan) {
  DimensionNumbersAttr numbers = op.getDimensionNumbers();
  auto input = cast<RankedTensorType>(op.getInput().getType());
  int64_t bytes = input.getElementTypeBitWidth() / 8;
  if (static_cast<int64_t>(plan.getBox().size()) != numbers.getRank() + 1)
    return "box has " + std::to_string(plan.getBox().size()) +
           " entries; valid: " + std::to_string(numbers.getRank() + 1) +
           ", images and each spatial dimension";
  if (op.getLive())
    return "valid for a GPU: a mask, not the list of what it leaves";
  BlockSpace space = blockSpace(op, plan);
  if (space.blocksPerImages() > std::numeric_limits<int32_t>::max())
    return "makes " + std::to_string(space.blocksPerImages()) +
           " blocks; valid: less than 2^31";
  bool channelsLast = numbers.getInputFeature() == input.getRank() - 1;
  int64_t vector = plan.getVector();
  if (vector > 1) {
    if (!llvm::isPowerOf2_64(vector) || vector * bytes > 16)
      return "vector = " + std::to_string(vector) +
             "; valid: a power of two of at most 16 bytes";
    if (!channelsLast)
      return "vector = " + std::to_string(vector) +
             "; valid where channels are not last in the input: 1";
  }
  if (plan.getSchedule() == GPUSchedule::Direct) {
    int64_t last = plan.getBox().back();
    if (last % plan.getThreadPixels())
      return "thread_pixels = " + std::to_string(plan.getThreadPixels()) +
             "; valid with schedule = direct: a divisor of the box's last, " +
             std::to_string(last);
    int64_t own = plan.getThreadChannels();
    // Batch groups are in images of their own, not side by side.
    bool depthwise = space.reduction == 1 && space.channels.perGroup == 1 &&
                     op.getBatchGroupCount() == 1;
    if (own > 1 && !depthwise && space.channels.perGroup % own)
      return "thread_channels = " + std::to_string(own) +
             "; valid with schedule = direct: a divisor of the group's " +
             std::to_string(space.channels.perGroup);
    if (vector > 1 &&
        (!depthwise || vector != own || space.channels.groups % own))
      return "vector = " + std::to_string(vector) +
             "; valid with schedule = direct: 1, or thread_channels where each "
             "channel is a group and they divide their number";
    if (own > 1 && depthwise && vector != own)
      return "thread_channels = " + std::to_string(own) +
             "; valid where each channel is a group: the vector";
    return "";
  }
  for (int64_t size : {plan.getPixels(), plan.getChannels(), plan.getDepth(),
                       plan.getThreadPixels(), plan.getThreadChannels()})
    if (!llvm::isPowerOf2_64(size))
      return "schedule = simt; valid: powers of two, not " +
             std::to_string(size);
  if (plan.getThreads() < 32)
    return "makes " + std::to_string(plan.getThreads()) +
           " threads; valid: at least a warp, 32";
  if (plan.getStages() != 2)
    return "stages = " + std::to_string(plan.getStages()) +
           "; valid with schedule = simt: 2";
  if (plan.getDepth() % vector || space.reduction % vector)
    return "vector = " + std::to_string(vector) +
           "; valid: a divisor of the depth and of the " +
           std::to_string(space.reduction) + " channels that an output reads";
  if (plan.getChannels() * bytes < 16)
    return "channels = " + std::to_string(plan.getChannels()) +
           "; valid: at least 16 bytes";
  constexpr int64_t mostShared = 48 << 10;
  if (int64_t need = sharedBytes(plan, bytes, channelsLast); need > mostShared)
    return "needs " + std::to_string(need) +
           " bytes of shared memory; valid: at most " +
           std::to_string(mostShared);
  return "";
}
