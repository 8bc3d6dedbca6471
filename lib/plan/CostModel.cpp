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

#include "plan/PlanShape.h"

#include <cmath>
#include <numeric>

using namespace mlir;
using namespace convjit;
using namespace convjit::conv;

namespace {

constexpr int64_t maxPhasesLookedAt = 32;
constexpr double tileStart = 20, tapStart = 6;
/// Bytes that a tile stores while the next one computes: the store queue holds
/// them. One input channel to 32, k 4 s 2: 12 vectors a tile and 16 are at 74 %
/// of the peak, 24 at 56 %; k 2 s 2 with 64 channels: 12 at 90 %, 28 at 87 %.
constexpr double hiddenStores = 768, exposedStores = 1536;

} // namespace

double PlanShape::storeCycles(int64_t pixels, int64_t width) const {
  if (channels.lanes == Lanes::Pixels) {
    double stores = width * vectors(pixels);
    // Through a buffer, and interleaved there.
    if (channels.phases > 1)
      return stores * (2 + 0.5 * splits.back().getLanePhases());
    bool direct = splits.back().getStep() == 1 &&
                  numbers.getOutputSpatial().back() ==
                      static_cast<int64_t>(splits.size()) + 1;
    if (direct)
      return stores;
    // Planes of the output whose lines share sets push each other out between
    // the phases of a row. 16 to 192 channels, k 2 x 1 x 4 s 2 x 1 x 2, at 16 x
    // 16 x 16 (64 KB apart), 12, 8 and 6 channels: 10.2, 5.4 and 6.4 ms.
    double held = outputLinesHeld(), each = 2;
    double used = width * std::ceil(pixels * splits.back().getStep() *
                                    elementBytes / double(lineBytes));
    if (used > held)
      each += used > 2 * held ? 7 : 2;
    return stores + each * pixels * width;
  }
  double stores = pixels * vectors(width);
  bool last = numbers.getOutputFeature() ==
              static_cast<int64_t>(numbers.getOutputSpatial().size()) + 1;
  // Elements one at a time, to a plane each, or transposed in blocks of four.
  // 12 to 160 channels, k 8 s 2, tanh, at 33542, beside FMAs and tanh: 3.1
  // cycles an element; pixels in the lanes, to a row of one plane, 1.6. FMAs
  // hide some, where there are enough: 64 to 64, k 4 s 2 d 2, at 32 x 32, 0.09
  // ms of 1.25; not the 16 of an output of 8 to 384, k 2 x 1 x 4 s 2 x 1 x 2.
  // Of merged phases that are apart: 256 to 72 channels in 2 groups, k 1 x 3 x
  // 3 s 2, 72 lanes of two phases by 4 pixels 1.84 ms, 36 by 8 1.53.
  constexpr double hidesStores = 128;
  bool hidden =
      !longEpilogue && reduction * outerTaps() * rowTaps() >= hidesStores;
  double one = channels.phases > 1 ? 3 : hidden ? 1.5 : 2.5, transposed = 0.4;
  // Where planes share sets, lines of many channels push each other out between
  // two pixels. 32 to 128 channels, k 2 s 2, at 8 x 16 x 32, 16, 32, 48 and 64
  // channels: 4.1, 5.3, 6.5 and 8.3 ms.
  if (channels.phases == 1 && width > outputLinesHeld())
    one = std::max(one, 0.085 * width);
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

bool PlanShape::storesWholeLines(int64_t width) const {
  ChannelBlocks blocks = channels;
  blocks.width = width;
  return convjit::storesWholeLines(blocks, numbers, elementBytes);
}

int64_t PlanShape::streamFrom(int64_t width) const {
  if (machine.hasMesh() || outputBytes == 0 || !storesWholeLines(width))
    return streamingBytes;
  // Lines go to memory no faster than that, and FMAs that take longer hide it;
  // the third level is faster while it holds both tensors. MB of both, and ms
  // past the caches and by plain stores: depthwise, transposed, k 4 s 2, 64
  // channels at 16384 (12) 0.300 and 0.220, 128 at 64 x 64 (10) 0.331 and
  // 0.308; k 1, 4 to 32 channels at 256 x 256 (9) 0.293 and 0.166. With as many
  // products as hide it: 64 to 64, k 2 s 2, at 64 x 96 1.72 and 1.73. Larger:
  // depthwise, transposed, k 4 s 2, 64 at 8 x 16 x 16, 4 images (38), 0.825
  // and 1.20.
  constexpr double held = 13 << 20;
  double row = std::accumulate(splits.back().getTaps().begin(),
                               splits.back().getTaps().end(), 0.0) /
               std::max<double>(1, splits.back().getTaps().size());
  double products = reduction * meanOuterTaps() * row;
  if (products * 8 / machine.fmaBits >= 1 / machine.streamRate)
    return streamingBytes;
  double share = outputBytes / (inputBytes + outputBytes);
  auto from = llvm::alignTo(static_cast<uint64_t>(held * share), 1 << 20);
  return std::max<int64_t>(streamingBytes, from);
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
  double bytes = pixels * width * elementBytes;
  // Phases apart leave lines in parts, which come back from the second level.
  // 20 channels to 20, k 2 s 2: 40 lanes of both phases 1.35 times as fast.
  double again = 0;
  if (featureLast && splits.back().getStep() > 1 && !splits.back().isMerged() &&
      !lines(width))
    again = pixels * lineBytes / 2.0;
  // Past the caches, few lines go out slower than many neighbours do.
  // Depthwise, k 4 s 2, 128 channels at 64 x 64: 16 channels by 11 pixels 0.51
  // ms, 32 by 6 0.30; k 5 x 3 x 1, 192 at 12 x 36 x 24, 32, 48 and 64
  // channels 11.8, 10.4 and 9.9.
  double single = 1;
  double linesOfPixel = static_cast<double>(width * elementBytes) / lineBytes;
  bool shows = channels.lanes == Lanes::Groups || linesOfPixel <= 1;
  if (featureLast && channels.lanesInRun() > width && shows)
    single = std::min(1.0, 0.45 + 0.15 * linesOfPixel);
  // What stays in the third level does not wait for memory. Depthwise, k 3, 108
  // channels at 16 x 28 x 28 (11 MB together), 32 channels by 6 and 10 pixels:
  // 0.886 and 0.835 ms.
  bool stays = !machine.hasMesh() && inputBytes + outputBytes < 2 * sharedCache;
  bool past = storesWholeLines(width) && outputBytes >= streamFrom(width);
  double stores =
      (bytes + again) /
      (past ? single * machine.streamRate
            : std::max(machine.storeRate, stays ? machine.l3Rate / 2 : 0));
  // Between the vectors of a long epilogue there is time enough. (Tried where a
  // long tile could hide 3 KB of stores on a Xeon: 31 layers, 0.98 times as
  // fast.)
  double exposed =
      longEpilogue
          ? 0
          : std::clamp((bytes - hiddenStores) / (exposedStores - hiddenStores),
                       0.0, 1.0);
  cycles = std::max(cycles, stores) + exposed * std::min(cycles, stores);
  // A residual from memory is not asked for ahead, and the few FMAs of groups
  // do not hide it, least of all single lines. Depthwise, k 4, 96 channels at
  // 128 x 128, 16, 32 and 48 of them a tile: 0.640, 0.590 and 0.581 ms, without
  // 0.476, 0.495 and 0.479.
  if (hasResidual && channels.lanes == Lanes::Groups)
    cycles += bytes * (single < 0.7 ? 0.13 : 0.06);
  // Lines of which each block writes a part come back for the next one, where a
  // row does not stay in the first level. A Xeon commits stores in order and
  // waits for the second level: 48 to 108 channels, k 1, at 16 x 28 x 28,
  // blocks of 16, 32, 48 and 64 channels: 1.05, 0.93, 0.91 and 0.83 ms, 12
  // cycles for each line that two of them write.
  // Zen 4 does so across groups, whose few FMAs hide nothing of it: depthwise,
  // k 3, 54 channels at 16 x 56 x 56, blocks of 16, 32 and 64: 2.9, 2.5 and 2.1
  // ms; of 64 channels, whole lines, 1.85, 1.79 and 1.69.
  constexpr double comesBack = 12;
  int64_t run = channels.lanesInRun();
  bool acrossGroups = channels.lanes == Lanes::Groups;
  bool hasGroups = channels.groups > 1 && !acrossGroups;
  bool waits = machine.hasMesh() || (acrossGroups && !lines(run));
  if (waits && featureLast && channels.phases == 1 &&
      channels.lanes != Lanes::Pixels && (run > width || hasGroups)) {
    double together = std::gcd(lineBytes, std::gcd(run, width) * elementBytes);
    double row = phaseLength(splits.back(), 0) * elementBytes * run;
    // Rows of the input pass through the first level, too.
    if (acrossGroups)
      row *= 1 + outerTaps();
    if (row * (hasGroups ? channels.groups : 1) > nearestCache)
      cycles += comesBack * pixels * (1 - together / lineBytes);
  }
  return cycles;
}

double PlanShape::rowCycles(int64_t pixels, int64_t width) const {
  ChannelBlocks blocks = channels;
  blocks.width = width;
  double outerTaps = meanOuterTaps();
  PhaseSplitAttr row = splits.back();
  double share = activeShare(width);
  // Every tile of a row reads the weights of its phase again.
  double weightRate =
      tileWeights(width) < nearBytes() ? nearRate : machine.l3Rate;
  int64_t full = blocks.lanesInRun() / width, tail = blocks.tail();
  int64_t narrow = tail ? blocks.vectorWidth(tail) : 0;
  // Across groups the taps of a row are one piece of code.
  double starts =
      channels.lanes == Lanes::Groups ? tapStart / rowTaps() : tapStart;
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
                outerTaps *
                (starts + reduction * stepCycles(pixels, w, share, weightRate));
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
  // Lanes of several phases gather their biases for each row. 40 to 320
  // channels, k 2 s 2, at 7 x 7 x 7, 48 of the 640 lanes by 7 pixels 0.77 ms,
  // 48 of 320 0.65.
  double gathered = 0;
  if (hasBias && channels.phases > 1 && channels.perGroup % width != 0)
    gathered = 2.5 * width;
  return looked ? total * phases / looked + gathered : 0;
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
