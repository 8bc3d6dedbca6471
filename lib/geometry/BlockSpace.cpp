//===- BlockSpace.cpp - the thread blocks of a convolution as numbers -*- C++
//-*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "geometry/BlockSpace.h"

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
  int64_t blocks = channels.blocks() * plan.getSplit();
  for (size_t dim = 0; dim < splits.size(); ++dim)
    blocks *= phases(dim) * boxes(dim);
  return blocks;
}

DimensionNumbersAttr convjit::readNumbers(GPUPlanAttr plan,
                                          DimensionNumbersAttr numbers) {
  if (!plan.getPackInput())
    return numbers;
  int64_t rank = numbers.getRank();
  SmallVector<int64_t> spatial;
  for (int64_t dim = 0; dim < rank; ++dim)
    spatial.push_back(1 + dim);
  return DimensionNumbersAttr::get(
      numbers.getContext(), /*inputBatch=*/0, /*inputFeature=*/rank + 1,
      spatial, numbers.getKernelInputFeature(),
      numbers.getKernelOutputFeature(), numbers.getKernelSpatial(),
      numbers.getOutputBatch(), numbers.getOutputFeature(),
      numbers.getOutputSpatial());
}

static bool hasImagesLast(DimensionNumbersAttr numbers) {
  return numbers.getInputBatch() == numbers.getRank() + 1;
}

bool convjit::hasProductRows(GPUPlanAttr plan, Type element,
                             DimensionNumbersAttr numbers) {
  numbers = readNumbers(plan, numbers);
  bool channelsLast = numbers.getInputFeature() == numbers.getRank() + 1;
  return plan.getSchedule() == GPUSchedule::Mma &&
         element.getIntOrFloatBitWidth() == 16 &&
         (!channelsLast || plan.getVector() == 1);
}

int64_t convjit::imageMultiple(GPUPlanAttr plan, Type element,
                               DimensionNumbersAttr numbers) {
  // Accesses are to neighbouring images.
  return hasProductRows(plan, element, numbers) &&
                 hasImagesLast(readNumbers(plan, numbers))
             ? plan.getVector()
             : 1;
}

ChannelBlocks convjit::channelBlocks(GPUPlanAttr plan, Type element,
                                     DimensionNumbersAttr numbers,
                                     int64_t groups, int64_t perGroup) {
  auto lanes = [&] {
    switch (plan.getSchedule()) {
    case GPUSchedule::Direct:
      return Lanes::Groups;
    case GPUSchedule::Simt:
      return Lanes::Channels;
    case GPUSchedule::Mma:
      // As fragments are read.
      return hasProductRows(plan, element, numbers) ? Lanes::Channels
                                                    : Lanes::Reduction;
    }
    llvm_unreachable("all schedules are listed");
  };
  return {lanes(), groups, perGroup, plan.getChannels()};
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
      channelBlocks(space.plan, input.getElementType(), numbers, groups,
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
          channelBlocks(plan, input.getElementType(), numbers, groups,
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
  int64_t row = plan.getPixels() + plan.getChannels();
  if (plan.getSchedule() == GPUSchedule::Simt) {
    // Multiply-adds are those of f32, or of f64.
    elementBytes = std::max<int64_t>(elementBytes, 4);
    row += sharedPadding(elementBytes, channelsLast);
  }
  return plan.getStages() * plan.getDepth() * row * elementBytes;
}
