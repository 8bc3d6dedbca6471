//===- StepCost.cpp - cycles of one step of a tile -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

// A step of the reduction: one input channel of one tap, for all pixels and
// lanes of a tile. It takes as long as its FMAs or its loads, whichever is
// longer.

#include "plan/PlanShape.h"

#include <cmath>
#include <numeric>

using namespace mlir;
using namespace convjit;
using namespace convjit::conv;

namespace {

/// The latency of an FMA is 4 cycles; one more, so that tiles which just fill
/// it lose a tie.
constexpr double latency = 5;
/// Of tiles that are bound by FMAs, the one with fewer loads.
constexpr double loadWeight = 0.05;
/// Across groups each load serves few of them. Depthwise, k 3, 108 channels at
/// 16 x 28 x 28, 32 channels by 6, 7 and 10 pixels: 0.886, 0.868 and 0.835 ms.
constexpr double loadWeightOfGroups = 0.2;

} // namespace

double PlanShape::stepCycles(int64_t pixels, int64_t width, double share,
                             double weightRate) const {
  if (channels.lanes == Lanes::Pixels)
    return pixelStepCycles(pixels, width, share);
  bool acrossGroups = channels.lanes == Lanes::Groups;
  double each = fmaCycles(width) * share;
  StepLoads read = {0.5 * pixels + each, 0};
  if (acrossGroups)
    read = groupLoads(pixels, width, each);
  auto [loads, shown] = read;
  // Scalars in all lanes are instructions of their own with AVX2, and two loads
  // a cycle are not quite reached. 96 to 96 channels, k 1, at 28 x 84, 8
  // channels by 7, 12 and 14 pixels: 75, 76 and 77 % of the peak, 16 by 6 97.
  if (machine.registers <= 16 && fusesProducts() && !acrossGroups)
    loads *= 1.17;
  // Nor by half vectors: 32 to 8, k 4 s 3, at 128 x 128, 8 channels by 25
  // pixels 86 % of the peak, 8 outputs by 2 of partial sums 97.
  else if (hasMasks() && width < lanes && !acrossGroups)
    loads *= 1.05;
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
  if (weightRate < nearRate)
    shown += 0.5 * (1 - machine.l3Overlap) * fetch;
  loads = std::max(loads, fetch);
  double sums = pixels * each;
  if (channels.lanes == Lanes::Channels) {
    // A copy and a choice, or a choice alone where the product is apart. 32 to
    // 2 channels, k 3 s 2, at 48 x 48 x 48: phases by two channels haswell 16.8
    // ms, SSE 28, input channels in the lanes 6.2 and 13.
    if (choosesSums())
      sums *= fusesProducts() ? 1.75 : 1.33;
    sums += pixels * machine.broadcastCycles;
    StepLoads far = farPlanes(pixels);
    loads = std::max(loads, far.hidden);
    shown += far.shown;
  }
  double weight = acrossGroups ? loadWeightOfGroups : loadWeight;
  return std::max({sums, loads, latency}) + weight * loads + shown;
}

double PlanShape::pixelStepCycles(int64_t pixels, int64_t width,
                                  double share) const {
  // Lanes without a pixel, or whose pixel lacks the tap, are masked; without
  // masks their sums are chosen by an instruction more. 128 to 128 channels,
  // k 3, at 7 x 7 x 7 with SSE: 7 of 8 pixels 13.1 ms, 12 channels 6.5.
  int64_t padded = paddedPixels(pixels, 8 * elementBytes);
  bool chooses = padded != pixels && !hasMasks();
  double vectors = fmaCycles(padded) * (chooses ? 2 : 1);
  double step = splits.back().getInputStep(), taps = rowTaps();
  double rows = width * share;
  // Loads of pixels cross lines. All elements of a row are loaded and
  // shuffled apart once, which takes as long as FMAs, and moved for each
  // further tap, which hides better. 1 to 16 channels, k 5 s 2, at 32 x 64 x
  // 64: 32 pixels by 8 channels 77 % of the peak, 16 channels by 18 pixels 88
  // %.
  double loads = (step == 1 ? 2 : 1 + 2 * step / taps) * vectors + 0.5 * rows;
  double shuffles = 0;
  if (step > 1)
    shuffles = vectors * (step + 0.35 * std::max(0.0, taps - step)) / taps;
  // Each tap loads its lines anew. 32 channels to 3, k 4 s 2, tiles of 64
  // pixels, Emerald Rapids: 10.3 cycles a step at 64 x 64, whose lines are in
  // few sets, where FMAs take 6; at 63 x 64 8.0.
  StepLoads far = farPlanes(pixels);
  double again = std::max(planeBytesAgain(padded) / nearRate, far.hidden);
  double shown = far.shown;
  if (step > 1) {
    again /= taps;
    shown /= taps;
  }
  return std::max({rows * vectors + shuffles, loads, again, latency}) +
         loadWeight * loads + shown;
}

PlanShape::StepLoads PlanShape::groupLoads(int64_t pixels, int64_t width,
                                           double each) const {
  // One load serves all the taps of the row that read it, where their code is
  // not too long; with strides, taps share fewer pixels. A shuffle puts each
  // lane's channel into its place.
  double step = splits.back().getInputStep();
  double columns =
      std::min<double>(pixels, 1 + (pixels - 1) * step / rowTaps());
  bool sharesLoads =
      pixels * vectors(width) * reduction * rowTaps() <= maxGroupRowFMAs;
  double rows = sharesLoads ? columns : pixels;
  // Of two lines a load takes longer: 39 bytes a cycle of 60 on Zen 4.
  double oneLoad =
      pixelBytes % std::min<int64_t>(lineBytes, width * elementBytes) ? 1.6 : 1;
  if (shufflesGroups())
    oneLoad *= 1.4;
  double loads = oneLoad * each * rows + each;
  // A vector of each group's i-th channel comes out of so many, one shuffle for
  // each further one, which FMAs do not hide. 16 groups of 2, 4, 8, 12 and 16
  // channels to one, k 3, at 28 x 28: 5.1, 18.5, 66, 113 and 188 us; input
  // channels in the lanes 37, 37, 42, 39 and 38.
  double further = std::ceil(double(reduction) / channels.perGroup) - 1;
  double shuffles = 0.9 * further * each * rows;
  // The lines of a tile's pixels, of which a vector across two takes both. A
  // tile that outgrows the first-level cache loads them from the second. 54
  // channels, k 3 in 3-D: 16 by 28 pixels 64 % of the peak at 16 x 28 x 28
  // and 33 % at 16 x 56 x 56, 64 by 4 71 and 45 %.
  double bytes = width * elementBytes, lines = bytes / lineBytes;
  if (pixelBytes % lineBytes)
    lines += 1;
  double span = pixels * step + rowTaps() - 1;
  if (lines * lineBytes * span * outerTaps() > nearestCache)
    loads = std::max(loads, lines * lineBytes / nearRate * rows);
  // Lines that come along for nothing where other blocks' channels are in
  // them, and are gone before their turn. Depthwise k 3, Emerald Rapids, 16
  // and 32 channels a tile, us: 96 channels 148 and 88, 32 at 112 x 112 177
  // and 138, 192 at 28 x 28 27 and 19.
  // Block by block, only its own lines are in the way, where none comes along:
  // 576 channels at 14 x 14 0.0198 and 0.0165 ms.
  double inTheWay = pixelBytes / step;
  if (blockByBlock && width * elementBytes >= machine.fetchBytes)
    inTheWay = std::min(std::ceil(lines) * lineBytes, inTheWay);
  double rowBytes = inTheWay * splits.back().getInput();
  if (!shufflesGroups() && rowBytes * outerTaps() > nearestCache) {
    int64_t fetch = machine.fetchBytes;
    int64_t aligned =
        std::gcd(std::gcd(pixelBytes, static_cast<int64_t>(bytes)), fetch);
    // One block of all channels leaves nothing of them.
    int64_t run = channels.lanesInRun();
    double fetched = run <= width ? static_cast<double>(run * elementBytes)
                                  : bytes + fetch - aligned;
    // 54 channels, k 3 s 1 x 2 x 2, at 16 x 112 x 112: 32 by 12 pixels 8.9
    // ms, 64 by 4 6.3. What the tile before has read is in the first level.
    double once = pixels * std::min(1.0, step / rowTaps());
    loads = std::max(loads, fetched / nearRate * once);
  }
  // A row's lines that fall into one set push each other out at once. 1024
  // channels at 14 x 14, k 7, 16 by 7 pixels, 32 by 8 and 48 by 5 0.42, 0.30
  // and 0.25 ms, of FMAs 0.19.
  if (int64_t ways = l1Ways * (l1Period / std::gcd(pixelBytes, l1Period));
      pixelBytes % lineBytes == 0 && span > ways / 2)
    return {loads, 3.5 * columns + shuffles};
  return {loads, shuffles};
}
