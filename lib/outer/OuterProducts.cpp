//===- OuterProducts.cpp - long filters as sums of outer products -*- C++
//-*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "outer/OuterProducts.h"
#include "outer/OuterPieces.h"

#include "llvm/Support/MathExtras.h"

using namespace convjit;
using namespace convjit::conv;
using namespace mlir;

OuterDim::OuterDim(PhaseSplitAttr split, int64_t kernel, bool reversed)
    : inputStep(split.getInputTapStep()), filterStep(split.getTapStep()) {
  for (int64_t t = 0; t < split.getOutput(); ++t) {
    int64_t phase = t % split.getStep();
    int64_t x =
        t / split.getStep() * split.getInputStep() + split.getBase()[phase];
    int64_t w = split.getFirstTap()[phase], taps = split.getTaps()[phase];
    int64_t begin =
        std::clamp<int64_t>(llvm::divideCeilSigned(-x, inputStep), 0, taps);
    int64_t end = std::clamp<int64_t>(
        llvm::divideFloorSigned(split.getInput() - 1 - x, inputStep) + 1, begin,
        taps);
    // Outputs count j alike, so that those with one j read the same elements of
    // one operand.
    int64_t shift = 0;
    if (inputStep == 1)
      shift = x;
    else if (filterStep == 1)
      shift = w;
    if (begin == end) {
      lo.push_back(0), hi.push_back(0), input.push_back(0), filter.push_back(0);
      continue;
    }
    lo.push_back(begin + shift);
    hi.push_back(end + shift);
    input.push_back(x - inputStep * shift);
    filter.push_back(w - filterStep * shift);
  }
  if (!reversed)
    return;
  filterStep = -filterStep;
  for (int64_t &w : filter)
    w = kernel - 1 - w;
}

int64_t OuterDim::first() const {
  int64_t least = INT64_MAX;
  for (auto [begin, end] : llvm::zip(lo, hi))
    if (begin < end)
      least = std::min(least, begin);
  return least == INT64_MAX ? 0 : least;
}

int64_t OuterDim::last() const {
  int64_t most = first() + 1;
  for (auto [begin, end] : llvm::zip(lo, hi))
    if (begin < end)
      most = std::max(most, end);
  return most;
}

OuterBlock convjit::outerBlock(ArrayRef<int64_t> extents, int64_t most) {
  int64_t inner = 1;
  for (int64_t dim = extents.size() - 1; dim >= 0; --dim) {
    if (inner * extents[dim] > most && extents[dim] > 1) {
      // Equal pieces.
      int64_t size = std::clamp<int64_t>(most / inner, 1, extents[dim]);
      int64_t pieces = llvm::divideCeil(extents[dim], size);
      return {dim,
              static_cast<int64_t>(llvm::divideCeil(extents[dim], pieces))};
    }
    inner *= extents[dim];
  }
  return {0, extents.front()};
}

OuterLanes convjit::outerLanes(DimensionNumbersAttr numbers, PlanAttr plan) {
  if (plan && plan.getLanes() == Lanes::Images)
    return OuterLanes::Images;
  int64_t last = numbers.getRank() + 1;
  bool images = numbers.getInputBatch() == last,
       channels = numbers.getKernelOutputFeature() == last;
  if (images && channels)
    return numbers.getOutputBatch() == last ? OuterLanes::Images
                                            : OuterLanes::Channels;
  if (images)
    return OuterLanes::Images;
  return channels ? OuterLanes::Channels : OuterLanes::Packed;
}

bool convjit::allowsOuterProducts(ConvolutionOp op) {
  // Images that are last are loaded as vectors.
  DimensionNumbersAttr numbers = op.getDimensionNumbers();
  if (numbers.getInputBatch() == numbers.getRank() + 1 &&
      !isInnermostOfInput(op, numbers.getInputBatch()))
    return false;
  return !op.getLive() && !op.getMask() && !op.getBias() &&
         op.getFeatureGroupCount() == 1 &&
         (!op.getEpilogueAttr() ||
          op.getEpilogueAttr().getActivation() == Activation::None);
}

bool convjit::allowsPackedImages(ConvolutionOp op) {
  auto input = cast<RankedTensorType>(op.getInput().getType());
  auto filter = cast<RankedTensorType>(op.getFilter().getType());
  DimensionNumbersAttr numbers = op.getDimensionNumbers();
  if (!allowsOuterProducts(op) || llvm::is_contained(input.getShape(), 0) ||
      filter.getDimSize(numbers.getKernelInputFeature()) == 0 ||
      !isInnermostOfInput(op, numbers.getInputSpatial().back()))
    return false;
  return llvm::all_of(*splitConvolution(op, 0), [](PhaseSplitAttr split) {
    return split.getInputTapStep() == 1;
  });
}

int64_t convjit::packedImageElements(ConvolutionOp op, int64_t chunks) {
  auto filter = cast<RankedTensorType>(op.getFilter().getType());
  DimensionNumbersAttr numbers = op.getDimensionNumbers();
  SmallVector<std::pair<int64_t, int64_t>> box = {
      {0, filter.getDimSize(numbers.getKernelInputFeature())}};
  for (auto [split, axis] :
       llvm::zip(*splitConvolution(op, 0), numbers.getKernelSpatial())) {
    OuterDim dim(split, filter.getDimSize(axis), /*reversed=*/false);
    box.push_back({dim.first(), dim.last()});
  }
  int64_t elements = 1;
  for (int64_t extent : pieceExtents(box, chunks))
    elements *= extent;
  return elements;
}

SmallVector<int64_t> convjit::imageTiles(int64_t images, int64_t most) {
  SmallVector<int64_t> sizes;
  if (images >= most)
    sizes.push_back(most);
  if (images % most)
    sizes.push_back(images % most);
  return sizes;
}

int64_t convjit::lanesOfImages(int64_t count) {
  // Not cut to a plan's width.
  return ChannelBlocks{Lanes::Channels, 1, count,
                       static_cast<int64_t>(llvm::alignTo(count, 16))}
      .vectorWidth(count);
}

bool convjit::leavesLanes(DimensionNumbersAttr numbers, int64_t images) {
  constexpr int64_t few = 8;
  return images < few &&
         numbers.getKernelOutputFeature() == numbers.getRank() + 1;
}

int64_t convjit::outputTaps(ArrayRef<OuterDim> dims) {
  int64_t taps = 1;
  for (const OuterDim &dim : dims)
    taps *= dim.outputs();
  return taps;
}

bool convjit::stagesSums(ShapedType output, DimensionNumbersAttr numbers,
                         PlanAttr plan) {
  if (plan.getLanes() == Lanes::Groups)
    return false;
  int64_t rank = numbers.getRank(), taps = 1;
  for (auto [i, axis] : llvm::enumerate(numbers.getOutputSpatial())) {
    if (axis != static_cast<int64_t>(i) + 2)
      return false;
    taps *= output.getDimSize(axis);
  }
  // Of one tap the last axis is as good as the one before.
  constexpr int64_t mostBytes = 32 << 10;
  return rank > 0 && taps > 1 &&
         taps * plan.getPixels() * plan.getWidth() *
                 output.getElementTypeBitWidth() / 8 <=
             mostBytes;
}

bool convjit::allowsOuterGroups(ConvolutionOp op) {
  auto filter = cast<RankedTensorType>(op.getFilter().getType());
  DimensionNumbersAttr numbers = op.getDimensionNumbers();
  int64_t last = numbers.getRank() + 1;
  int64_t channels = filter.getDimSize(numbers.getKernelOutputFeature());
  auto groups = static_cast<int64_t>(op.getBatchGroupCount());
  return groups > 1 && channels / groups <= maxChannelsOfOuterGroups &&
         numbers.getInputBatch() == last &&
         numbers.getKernelOutputFeature() == last;
}

SmallVector<int64_t> convjit::imagesAcrossGroups(int64_t channels) {
  SmallVector<int64_t> counts = {channels};
  for (int64_t count : {int64_t(1), channels / 2, 2 * channels})
    if (count >= 1 && count <= maxChannelsOfOuterGroups &&
        !llvm::is_contained(counts, count))
      counts.push_back(count);
  return counts;
}
