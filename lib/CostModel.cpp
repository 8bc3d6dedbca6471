//===- CostModel.cpp - candidate plans and their predicted times -*- C++
//-*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

// Predicts the cycles of one image. A step of the reduction in a tile of m
// pixels by v vectors issues m*v FMAs, m+v loads on two ports, and takes at
// least the FMA's latency, since each accumulator is updated once a step. To
// these come loop starts, stores, and what has to come from further than the
// second-level cache in the order of tasks: weights again for every row that
// they do not survive, the input again for every block and phase.
//
//===----------------------------------------------------------------------===//

#include "PlanShape.h"

#include <cmath>
#include <numeric>

using namespace mlir;
using namespace convjit;
using namespace convjit::conv;

namespace {

constexpr int64_t maxPhasesLookedAt = 32;
/// The latency of an FMA is 4 cycles; one more, so that tiles which just fill
/// it lose a tie.
constexpr double latency = 5;
constexpr double tileStart = 20, tapStart = 6;
/// Bytes that a tile stores while the next one computes: the store queue holds
/// them. One input channel to 32, k 4 s 2: 12 vectors a tile and 16 are at 74 %
/// of the peak, 24 at 56 %; k 2 s 2 with 64 channels: 12 at 90 %, 28 at 87 %.
constexpr double hiddenStores = 768, exposedStores = 1536;
/// What is so far apart is in one set of the first-level cache; its ways.
constexpr int64_t l1Period = 64 * lineBytes, l1Ways = 8;
/// Of the first-level cache, what a tile's input may fill.
constexpr double nearestCache = 24 << 10;

/// Whether an epilogue runs in a loop over a tile's vectors.
bool isLong(EpilogueAttr epilogue) {
  return epilogue && epilogue.getActivation() != Activation::None &&
         epilogue.getActivation() != Activation::Relu &&
         epilogue.getActivation() != Activation::LeakyRelu;
}

} // namespace

PlanShape::PlanShape(ConvolutionOp op, const Machine &machine, int64_t merged,
                     ArrayRef<PhaseSplitAttr> splits, Lanes lanesHold)
    : machine(machine), numbers(op.getDimensionNumbers()), merged(merged),
      splits(splits) {
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

double PlanShape::stepCycles(int64_t pixels, int64_t width, double share,
                             double weightRate) const {
  if (channels.lanes == Lanes::Pixels) {
    double vectors = fmaCycles(pixels);
    // A load; or all elements of a row loaded and shuffled apart once, and a
    // shuffle for each tap.
    double step = splits.back().getInputStep();
    double loads = step == 1 ? vectors : vectors * (1 + 2 * step / rowTaps());
    double rows = width * share;
    return std::max({rows * vectors, loads + 0.5 * rows, latency});
  }
  bool loadsVectors = channels.lanes == Lanes::Groups;
  double each = fmaCycles(width) * share;
  double loads = 0.5 * pixels + each;
  if (loadsVectors) {
    // One load serves all the taps of the row that read it, where their code is
    // not too long; a shuffle puts each lane's channel into its place.
    double rows = pixels;
    if (pixels * vectors(width) * reduction * rowTaps() <= maxGroupRowFMAs)
      rows = 1 + (pixels - 1) / rowTaps();
    loads = (shufflesGroups() ? 1.4 : 1) * each * rows + each;
    // The lines of a tile's pixels, of which a vector across two takes both. A
    // tile that outgrows the first-level cache loads them from the second. 54
    // channels, k 3 in 3-D: 16 by 28 pixels 64 % of the peak at 16 x 28 x 28
    // and 33 % at 16 x 56 x 56, 64 by 4 71 and 45 %.
    double bytes = width * elementBytes, lines = bytes / lineBytes;
    if (pixelBytes % lineBytes)
      lines += 1;
    double span = pixels * splits.back().getInputStep() + rowTaps() - 1;
    if (lines * lineBytes * span * outerTaps() > nearestCache)
      loads = std::max(loads, lines * lineBytes / nearRate * rows + each);
    // Lines that come along for nothing where other blocks' channels are in
    // them, and are gone before their turn. Depthwise k 3, Emerald Rapids, 16
    // and 32 channels a tile, us: 96 channels 148 and 88, 32 at 112 x 112 177
    // and 138, 192 at 28 x 28 27 and 19.
    double rowBytes = static_cast<double>(pixelBytes) *
                      splits.back().getInput() / splits.back().getInputStep();
    if (machine.fetchBytes > lineBytes && !shufflesGroups() &&
        rowBytes * outerTaps() > nearestCache) {
      int64_t fetch = machine.fetchBytes;
      int64_t aligned =
          std::gcd(std::gcd(pixelBytes, static_cast<int64_t>(bytes)), fetch);
      double fetched = bytes + fetch - aligned;
      loads = std::max(loads, fetched / nearRate * rows + each);
    }
  }
  // Pixels whose lines fall into one set of the first-level cache push each
  // other out, and every element comes from the second level. As many as the
  // set has ways stay, though weights pass through it too: 2048 to 1000
  // channels, k 1, 8 images of one pixel, 0.28 ms, in tiles of 6 images 0.36.
  if (inputChannelsLast && pixelBytes % lineBytes == 0) {
    int64_t distinct = l1Period / std::gcd<int64_t>(pixelBytes, l1Period);
    if (llvm::divideCeil(pixels, distinct) > l1Ways)
      loads = std::max(loads, 4.0 * pixels);
  }
  double fetch = width * elementBytes * share / weightRate;
  // Fetched ahead, half of the time shows. 1024 to 512 channels, k 12 s 6, all
  // weights for each 12 pixels: 49 % of the peak, 60 ahead, 83 from the second
  // level.
  double shown = 0;
  if (weightRate < nearRate)
    shown = 0.5 * (1 - machine.l3Overlap) * fetch;
  loads = std::max(loads, fetch);
  // Of tiles that are bound by FMAs, the one with fewer loads.
  constexpr double loadWeight = 0.05;
  double sums = pixels * each;
  if (channels.lanes == Lanes::Channels)
    sums += pixels * machine.broadcastCycles;
  return std::max({sums, loads, latency}) + loadWeight * loads + shown;
}

double PlanShape::activeShare(int64_t width) const {
  if (llvm::all_of(splits, hasUniformLanes))
    return 1;
  // As if phases of each dimension were apart in the lanes, which the outer
  // ones are.
  double share = 1;
  int64_t inner = channels.perGroup;
  for (PhaseSplitAttr split : llvm::reverse(splits)) {
    if (split.isMerged() && (channels.lanes == Lanes::Pixels ||
                             inner * elementBytes * 16 >= machine.fmaBits)) {
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

double PlanShape::storeCycles(int64_t pixels, int64_t width) const {
  if (channels.lanes == Lanes::Pixels) {
    double stores = width * vectors(pixels);
    // Through a buffer, and interleaved there.
    if (channels.phases > 1)
      return stores * (2 + 0.5 * splits.back().getLanePhases());
    bool direct = splits.back().getStep() == 1 &&
                  numbers.getOutputSpatial().back() ==
                      static_cast<int64_t>(splits.size()) + 1;
    return direct ? stores : stores + 2.0 * pixels * width;
  }
  double stores = pixels * vectors(width);
  bool last = numbers.getOutputFeature() ==
              static_cast<int64_t>(numbers.getOutputSpatial().size()) + 1;
  // Elements one at a time, or transposed in blocks of four.
  double one = 2.0, transposed = 0.4;
  bool pixelsFollow =
      outputPixelsAreNeighbours &&
      (splits.back().isMerged() || splits.back().getStep() == 1);
  double each = pixelsFollow && channels.perGroup >= 4 ? transposed : one;
  if (channels.phases > 1) {
    if (contiguous && onlyRowsMerge())
      return stores;
    if (contiguous)
      return 2 * stores +
             2.0 * pixels * channels.phases / splits.back().getLanePhases();
    return 2 * stores + each * pixels * width;
  }
  if (channels.lanes == Lanes::Reduction && width == 1 &&
      splits.back().getStep() == 1 && outputPixelsAreNeighbours)
    return vectors(pixels);
  return last ? stores : stores + each * pixels * width;
}

double PlanShape::besideStores(int64_t pixels, int64_t width,
                               double cycles) const {
  if (outputBytes < streamingBytes)
    return cycles;
  bool featureLast =
      numbers.getOutputFeature() ==
      static_cast<int64_t>(numbers.getOutputSpatial().size()) + 1;
  auto lines = [&](int64_t elements) {
    return elements * elementBytes % lineBytes == 0;
  };
  bool wholeLines =
      featureLast && lines(width) &&
      (channels.lanes == Lanes::Groups
           ? lines(channels.lanesInRun())
           : channels.lanes == Lanes::Channels && lines(channels.perGroup));
  double bytes = pixels * width * elementBytes;
  // Phases apart leave lines in parts, which come back from the second level.
  // 20 channels to 20, k 2 s 2: 40 lanes of both phases 1.35 times as fast.
  double again = 0;
  if (featureLast && splits.back().getStep() > 1 && !splits.back().isMerged() &&
      !lines(width))
    again = pixels * lineBytes / 2.0;
  double stores =
      (bytes + again) / (wholeLines ? machine.streamRate : machine.storeRate);
  // Between the vectors of a long epilogue there is time enough. (Tried where a
  // long tile could hide 3 KB of stores on a Xeon: 31 layers, 0.98 times as
  // fast.)
  double exposed =
      longEpilogue
          ? 0
          : std::clamp((bytes - hiddenStores) / (exposedStores - hiddenStores),
                       0.0, 1.0);
  return std::max(cycles, stores) + exposed * std::min(cycles, stores);
}

double PlanShape::outerTaps() const {
  double taps = 1;
  for (PhaseSplitAttr split : ArrayRef(splits).drop_back())
    taps *= std::max<int64_t>(1, *llvm::max_element(split.getTaps()));
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
  // Beside weights and outputs. Rows at the edge of a strip are read twice.
  double room = 0.35 * machine.l2Bytes / (planes * rowBytes);
  double strip = (room - rows + 1) / splits[1].getInputStep();
  constexpr double fewRows = 3;
  return strip < fewRows ? 0 : static_cast<int64_t>(strip);
}

double PlanShape::tileWeights(int64_t width) const {
  return outerTaps() * rowTaps() * reduction * width * elementBytes;
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

Prefetch PlanShape::prefetch(int64_t pixels, int64_t width) const {
  // Images that stay in the second-level cache come from further only once.
  constexpr double fewBytes = 256 << 10;
  bool input = allowsInputPrefetch && inputBytes > fewBytes &&
               channels.lanes != Lanes::Pixels;
  // Of planes, a tile's lines that do not stay from one tap to the next. Those
  // of all channels that share a set would push each other out before their
  // turn: 256 to 16, k 3, at 64 x 64 81 % of the peak, 74 with.
  if (!inputChannelsLast) {
    double line = lineBytes, lines = std::ceil(pixels * pixelBytes / line);
    int64_t planeBytes = elementBytes;
    for (PhaseSplitAttr split : splits)
      planeBytes *= split.getInput();
    input &= reduction * (lines + 0.5) * line > nearestCache &&
             planeBytes % l1Period != 0;
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

double PlanShape::rowCycles(int64_t pixels, int64_t width) const {
  ChannelBlocks blocks = channels;
  blocks.width = width;
  double outerTaps = this->outerTaps();
  PhaseSplitAttr row = splits.back();
  double share = activeShare(width);
  // Every tile of a row reads the weights of its phase again.
  double weightRate =
      tileWeights(width) < nearBytes() ? nearRate : machine.l3Rate;
  int64_t full = blocks.lanesInRun() / width, tail = blocks.tail();
  int64_t narrow = tail ? blocks.vectorWidth(tail) : 0;
  // `spans`: the pixels of each tap.
  auto tileCycles = [&](int64_t m, ArrayRef<int64_t> spans) {
    double cycles = 0;
    for (auto [count, w] :
         {std::pair(full, width),
          std::pair(static_cast<int64_t>(tail != 0), narrow)}) {
      if (count == 0)
        continue;
      double one = storeCycles(m, w);
      if (channels.lanes == Lanes::Reduction)
        one += reductionTileCycles(m, w, spans, weightRate);
      else
        for (size_t i = 0; i < spans.size(); i += 2)
          if (int64_t pixels = spans[i + 1] - spans[i])
            one +=
                outerTaps * (tapStart + reduction * stepCycles(pixels, w, share,
                                                               weightRate));
      cycles += count * (tileStart + besideStores(m, w, one));
    }
    return cycles / blocks.blocksPerGroup();
  };
  double total = 0;
  int64_t phases =
      row.isMerged() ? 1 : std::min(row.getStep(), row.getOutput());
  int64_t looked = std::min(phases, maxPhasesLookedAt);
  for (int64_t phase = 0; phase < looked; ++phase) {
    RowCut cut = cutRow(row, phase, pixels);
    for (RowTile tile : llvm::concat<RowTile>(cut.left, cut.right))
      total += tileCycles(tile.pixels, tapPixels(row, phase, tile));
    if (cut.midCount)
      total +=
          cut.midCount *
          tileCycles(pixels, tapPixels(row, phase, {cut.midFirst, pixels}));
  }
  return looked ? total * phases / looked : 0;
}

double PlanShape::imagesCycles(int64_t images, int64_t width) const {
  ChannelBlocks blocks = channels;
  blocks.width = width;
  double pixels = blocks.blocks(), taps = 1;
  for (PhaseSplitAttr split : splits) {
    pixels *= split.getOutput();
    // Of more taps than inputs, the others lie outside.
    taps *= std::clamp<int64_t>(*llvm::max_element(split.getTaps()), 1,
                                std::max<int64_t>(1, split.getInput()));
  }
  // A weight is used once for all images of the tile.
  double tile =
      tileStart + tapStart * splits.size() +
      taps * (1 + reduction * stepCycles(images, width, 1, machine.l3Rate)) +
      storeCycles(images, width);
  return pixels * tile / images;
}
