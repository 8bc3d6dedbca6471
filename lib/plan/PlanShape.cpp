//===- PlanShape.cpp - what a candidate plan is judged by -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "plan/PlanShape.h"

#include <cmath>
#include <numeric>

using namespace mlir;
using namespace convjit;
using namespace convjit::conv;

/// Whether an epilogue runs in a loop over a tile's vectors.
static bool isLong(EpilogueAttr epilogue) {
  return epilogue && epilogue.getActivation() != Activation::None &&
         epilogue.getActivation() != Activation::Relu &&
         epilogue.getActivation() != Activation::LeakyRelu;
}

PlanShape::PlanShape(ConvolutionOp op, const Machine &machine, int64_t merged,
                     ArrayRef<PhaseSplitAttr> splits, Lanes lanesHold,
                     bool blockByBlock)
    : machine(machine), numbers(op.getDimensionNumbers()), merged(merged),
      splits(splits), blockByBlock(blockByBlock) {
  auto input = cast<RankedTensorType>(op.getInput().getType());
  auto filter = cast<RankedTensorType>(op.getFilter().getType());
  elementBytes = input.getElementTypeBitWidth() / 8;
  lanes = std::max<int64_t>(1, machine.vectorBits / 8 / elementBytes);
  int64_t featureGroups = op.getFeatureGroupCount();
  reduction = filterInputFeatures(filter.getShape(), numbers, featureGroups,
                                  op.getSwappedFilter());
  channels.groups = featureGroups * op.getBatchGroupCount();
  channels.perGroup =
      filterOutputFeatures(filter.getShape(), numbers, featureGroups,
                           op.getSwappedFilter()) /
      channels.groups;
  channels.lanes = lanesHold;
  for (PhaseSplitAttr split : splits)
    channels.phases *= split.getLanePhases();
  contiguous =
      mergedLanesAreContiguous(cast<RankedTensorType>(op.getType()).getShape(),
                               numbers, channels.perGroup);
  int64_t row = numbers.getInputSpatial().back();
  pixelBytes = elementBytes * splits.back().getInputStep();
  for (int64_t axis = row + 1; axis < input.getRank(); ++axis)
    if (!input.isDynamicDim(axis))
      pixelBytes *= input.getDimSize(axis);
  inputBytes = imageBytes(input);
  outputBytes = imageBytes(cast<RankedTensorType>(op.getType()));
  longEpilogue = isLong(op.getEpilogueAttr());
  hasBias = static_cast<bool>(op.getBias());
  hasResidual = static_cast<bool>(op.getResidual());
  epilogueOps = longEpilogue ? 2 : 3;
  auto output = cast<RankedTensorType>(op.getType());
  int64_t apart = 1;
  for (int64_t axis = numbers.getOutputSpatial().back() + 1;
       axis < output.getRank(); ++axis)
    apart *= output.isDynamicDim(axis) ? 2 : output.getDimSize(axis);
  outputPixelsAreNeighbours = apart == 1;
  inputChannelsLast = numbers.getInputFeature() + 1 == input.getRank();
  allowsInputPrefetch = convjit::allowsInputPrefetch(op);
}

int64_t PlanShape::vectors(int64_t width) const {
  int64_t count = 0;
  for (LanePiece piece : lanePieces(width))
    count += llvm::divideCeil(piece.size, lanes);
  return count;
}

double PlanShape::fmaCycles(int64_t width) const {
  double cycles = 0;
  for (LanePiece piece : lanePieces(width)) {
    double bits = std::min(piece.size, lanes) * elementBytes * 8;
    cycles += std::max(0.5, bits / machine.fmaBits) *
              llvm::divideCeil(piece.size, lanes);
  }
  return cycles;
}

double PlanShape::activeShare(int64_t width) const {
  if (llvm::all_of(splits, hasUniformLanes))
    return 1;
  // As if phases of each dimension were apart in the lanes, which the outer
  // ones are.
  double share = 1;
  int64_t inner = channels.perGroup;
  for (PhaseSplitAttr split : llvm::reverse(splits)) {
    // Half a vector takes as long as a whole one. 24 to 8 channels, k 4 x 1 x 4
    // s 2 x 1 x 2 d 2, at 15 x 10 x 15, two phases in the lanes, of which one
    // has no tap, 0.224 ms, apart 0.139.
    if (split.isMerged() && (channels.lanes == Lanes::Pixels ||
                             inner * elementBytes * 8 >= machine.vectorBits)) {
      double has = 0, all = 0;
      for (int64_t taps : split.getLaneTaps()) {
        has += taps;
        all += split.getTaps().front();
      }
      share *= has / all;
    }
    inner *= split.getLanePhases();
  }
  return share;
}

bool PlanShape::choosesSums() const {
  if (hasMasks() || channels.lanes != Lanes::Channels)
    return false;
  int64_t inner = channels.perGroup;
  for (PhaseSplitAttr split : llvm::reverse(splits)) {
    if (!hasUniformLanes(split) && inner % lanes != 0)
      return true;
    inner *= split.getLanePhases();
  }
  return false;
}

double convjit::tapsInside(PhaseSplitAttr split, int64_t taps) {
  int64_t apart = std::max<int64_t>(1, std::abs(split.getInputTapStep()));
  return std::clamp<int64_t>(
      taps, 1, std::max<int64_t>(1, llvm::divideCeil(split.getInput(), apart)));
}

/// The most taps of one output.
static double tapsOfOutput(PhaseSplitAttr split) {
  return tapsInside(split, *llvm::max_element(split.getTaps()));
}

double PlanShape::outerTaps() const {
  double taps = 1;
  for (PhaseSplitAttr split : ArrayRef(splits).drop_back())
    taps *= tapsOfOutput(split);
  return taps;
}

double PlanShape::meanOuterTaps() const {
  double taps = 1;
  for (PhaseSplitAttr split : ArrayRef(splits).drop_back()) {
    double all = 0;
    for (int64_t phase : split.getTaps())
      all += phase ? tapsInside(split, phase) : 0;
    taps *= all / std::max<double>(1, split.getTaps().size());
  }
  return taps;
}

double PlanShape::nearBytes() const {
  // 768 to 256 channels, k 3, at 8 x 8 x 8, on a Xeon with 2 MB: 16 channels,
  // whose weights are 0.63 of it, row after row 38 ms, taking turns 56.
  return (machine.hasMesh() ? 0.7 : 0.6) * machine.l2Bytes;
}

int64_t PlanShape::strip() const {
  // Elsewhere FMAs hide the third level. Depthwise, k 5 x 1 x 1, 24 channels at
  // 16 x 112 x 112, 5.0 ms and 3.6; 32 to 1 channels, k 3 s 2, 80 and 85.
  if (splits.size() != 3 || channels.lanes != Lanes::Groups || inputBytes == 0)
    return 0;
  auto most = [](PhaseSplitAttr split) {
    return std::max<int64_t>(1, *llvm::max_element(split.getTaps()));
  };
  double planes = most(splits[0]), rows = most(splits[1]);
  double rowBytes = inputBytes / (static_cast<double>(splits[0].getInput()) *
                                  splits[1].getInput());
  double all = splits[1].getInput();
  // Planes that an output reads and that do not stay until the next one's turn.
  if (planes < 2 || planes * all * rowBytes < nearBytes())
    return 0;
  // Beside weights and outputs. Rows at the edge of a strip are read twice, and
  // without strips each plane by all outputs that it is in. Depthwise, in
  // planes and strips: k 3 s 1 x 2 x 2, 64 channels at 16 x 112 x 112 6.6 ms
  // and (1) 5.2, k 5 x 3 x 3 s 1 x 2 x 2, 184 at 50 x 22 x 22 2.95 and
  // (1) 2.40; k 3 s 2, 72 at 24 x 60 x 60 1.51 and (2) 1.60.
  double room = 0.35 * machine.l2Bytes / (planes * rowBytes);
  double step = splits[1].getInputStep();
  auto strip = static_cast<int64_t>((room - rows + step) / step);
  constexpr double worthIt = 1.2;
  double again = (strip * step + std::max(0.0, rows - step)) / (strip * step);
  return strip >= 1 && worthIt * again < planes / splits[0].getInputStep()
             ? strip
             : 0;
}

double PlanShape::tileWeights(int64_t width) const {
  return outerTaps() * tapsOfOutput(splits.back()) * reduction * width *
         elementBytes;
}

double PlanShape::allWeights(int64_t width) const {
  ChannelBlocks blocks = channels;
  blocks.width = width;
  double taps = 1;
  for (PhaseSplitAttr split : splits)
    taps *= std::accumulate(split.getTaps().begin(), split.getTaps().end(),
                            int64_t(0));
  return taps * reduction * elementBytes * width * blocks.blocks();
}

int64_t PlanShape::inputPlaneBytes() const {
  int64_t bytes = elementBytes;
  for (PhaseSplitAttr split : splits)
    bytes *= split.getInput();
  return bytes;
}

double PlanShape::planeBytesAgain(int64_t pixels) const {
  if (!inputRowsLast())
    return 0;
  double bytes = pixels * pixelBytes,
         lines = std::ceil(bytes / lineBytes) + 0.5;
  // Planes a multiple of 4 KB apart have their lines in the same sets, others
  // in as many times more as there are distances.
  int64_t sets = l1Period / lineBytes;
  double apart = std::gcd(inputPlaneBytes(), l1Period);
  double used = std::min<double>(sets, lines * l1Period / apart);
  return reduction * lines > l1Ways * used ? lines * lineBytes : 0;
}

PlanShape::StepLoads PlanShape::farPlanes(int64_t pixels) const {
  // The third level is soon enough: 40 to 96 channels, k 1, at 16 x 32 x 32.
  if (inputBytes < sharedCache || !inputRowsLast())
    return {0, 0};
  int64_t distinct = l2Period / std::gcd(inputPlaneBytes(), l2Period);
  if (reduction <= l2Ways * distinct)
    return {0, 0};
  int64_t bytes = pixels * pixelBytes;
  int64_t rowBytes = splits.back().getInput() * elementBytes;
  int64_t aligned = std::gcd(std::gcd(bytes, rowBytes), lineBytes);
  double lines = static_cast<double>(bytes + lineBytes - aligned) / lineBytes;
  // 256 to 8 channels, k 2 s 2, at 32 x 32 x 16 (64 KB apart, Zen 4): beside 8,
  // 12 and 16 FMAs a step takes 19, 20 and 23 cycles; 192 at 24 x 48 x 16 (72
  // KB): beside 2, 4, 8 and 16 10.6, 10.7, 9.6 and 18.4.
  constexpr int64_t veryFew = 2;
  constexpr double waiting = 8, together = 10;
  if (distinct <= veryFew)
    return {0, waiting * lines};
  return {together * lines, 0};
}

double PlanShape::outputLinesHeld() const {
  if (numbers.getOutputSpatial().back() !=
      static_cast<int64_t>(splits.size()) + 1)
    return std::numeric_limits<double>::infinity();
  int64_t planeBytes = elementBytes;
  for (PhaseSplitAttr split : splits)
    planeBytes *= split.getOutput();
  return l1Ways * (l1Period / std::gcd(planeBytes, l1Period));
}

Prefetch PlanShape::prefetch(int64_t pixels, int64_t width) const {
  bool ofPixels = channels.lanes == Lanes::Pixels;
  // What fits the third level comes from there in time, or is seen coming, and
  // asking again takes slots from loads. Emerald Rapids: 256 to 64 channels, k
  // 1, at 56 x 56 97 % of the peak without, 84 with; 3 to 64, k 7 s 2, at 224 x
  // 224 97 and 78. Zen 4: depthwise, k 3, 40 channels at 8 x 28 x 28 0.105 ms
  // and 0.120. From memory, where batches of more than 4 MB an image are, too,
  // it is too late: 108 channels at 16 x 28 x 28 0.82 ms without and 0.87, 16
  // images 31.4 and 24.5; 240 to 3, k 4 s 2, at 8 x 64 x 64 52 % and 61.
  // Of smaller images a kernel asks where a call has many of them.
  constexpr double smallImage = 256 << 10;
  bool input = allowsInputPrefetch &&
               inputBytes > (inputChannelsLast ? smallImage : streamingBytes);
  // Of planes, a tile's lines that do not stay from one tap to the next. Those
  // of all channels that share a set would push each other out before their
  // turn: 256 to 16, k 3, at 64 x 64 81 % of the peak, 74 with. Not where one
  // load of a line serves all taps: 256 to 4, k 3 s 2, at 128 x 128 1.76 ms,
  // 0.85 with; or where one tile alone reads it: 384 to 4 in two groups, k 2 s
  // 2, at 24 x 48 x 16, all phases in a tile, 2.6 and 2.2.
  if (!inputChannelsLast) {
    double line = lineBytes, lines = std::ceil(pixels * pixelBytes / line);
    bool once = ofPixels && splits.back().getInputStep() > 1;
    bool alone = ofPixels && width >= channels.lanesInRun() &&
                 llvm::all_of(splits, [](PhaseSplitAttr split) {
                   return (split.isMerged() || split.getStep() == 1) &&
                          *llvm::max_element(split.getTaps()) <= 1;
                 });
    input &= alone || (reduction * (lines + 0.5) * line > nearestCache &&
                       (once || inputPlaneBytes() % l1Period != 0));
  }
  // From the second level, weights need no help: 87 % of the peak either way.
  // From the third they do where FMAs do not hide it, for each tile or for the
  // few tiles of a small image. 1024 to 512 channels, k 4 s 2, at 2 x 2, 4 x 4,
  // 8 x 8 and 16 x 16: 1.24, 1.65, 1.10 and 1.05 times as fast.
  double tiles = 1, near = nearBytes();
  for (PhaseSplitAttr split : splits)
    tiles *= llvm::divideCeil(phaseLength(split, 0),
                              split == splits.back() ? pixels : 1);
  constexpr double fewTiles = 64;
  bool far = tileWeights(width) >= near ||
             (allWeights(width) >= near && tiles <= fewTiles);
  bool filter = machine.hasMesh() && channels.lanes == Lanes::Channels && far;
  if (input)
    return filter ? Prefetch::Both : Prefetch::Input;
  return filter ? Prefetch::Filter : Prefetch::None;
}
