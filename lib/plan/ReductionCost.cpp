//===- ReductionCost.cpp - tiles of partial sums and their times -*- C++
//-*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

// Lanes that hold input channels: an accumulator is the partial sums of one
// output. No lane idles however few outputs there are, nor do phases without a
// tap cost anything; the price is the sum over lanes at the end.

#include "plan/PlanShape.h"

#include "llvm/ADT/bit.h"

using namespace mlir;
using namespace convjit;
using namespace convjit::conv;

namespace {

constexpr double latency = 4;
constexpr double tapStart = 3, chunkStart = 0.5;
/// Three instructions an output, two of them shuffles, partly beside the next
/// tile's FMAs.
constexpr double laneSum = 0.75;
constexpr double l1Bytes = 32 << 10;
/// Of tiles that are bound by FMAs, the one with fewer loads. 80 to 8 channels,
/// k 4 s 2, at 13 x 6 x 13: one output by 7 pixels 83 GFLOP/s, two 110.
constexpr double loadWeight = 0.05;

/// The share of phases in the lanes of a dimension that have tap `tap`, or the
/// mean over taps if that is negative.
double shareOf(PhaseSplitAttr split, int64_t tap) {
  if (!split.isMerged())
    return 1;
  double has = 0, all = split.getLanePhases();
  for (int64_t lane = 0; lane < split.getLanePhases(); ++lane) {
    auto [lo, hi] = split.laneTapRange(lane);
    if (tap < 0)
      has += static_cast<double>(hi - lo) /
             std::max<int64_t>(1, split.getTaps().front());
    else
      has += lo <= tap && tap < hi;
  }
  return has / all;
}

} // namespace

int64_t PlanShape::reductionLanes() const {
  return std::min<int64_t>(
      lanes, std::max<uint64_t>(2, llvm::bit_ceil<uint64_t>(reduction)));
}

int64_t PlanShape::reductionRegisters(int64_t pixels, int64_t width) const {
  PhaseSplitAttr row = splits.back();
  int64_t taps = rowTaps(), weights = 0;
  for (int64_t tap = 0; tap < taps; ++tap)
    weights += static_cast<int64_t>(width * shareOf(row, tap));
  int64_t elements = (pixels - 1) * row.getInputStep() +
                     (taps - 1) * row.getInputTapStep() + 1;
  if (taps * pixels * width > maxRowFMAs) {
    weights = width;
    elements = pixels;
  }
  return pixels * width + std::min(weights, elements) + 1;
}

double PlanShape::reductionTileCycles(int64_t pixels, int64_t width,
                                      ArrayRef<int64_t> spans,
                                      double weightRate) const {
  PhaseSplitAttr row = splits.back();
  double vectors = llvm::divideCeil(reduction, reductionLanes());
  double each = fmaCycles(reductionLanes());
  double outerTaps = meanOuterTaps(), share = 1;
  for (PhaseSplitAttr split : ArrayRef(splits).drop_back())
    share *= shareOf(split, -1);
  auto taps = static_cast<int64_t>(spans.size() / 2);
  double fmas = 0, weights = 0, elements = 0;
  for (int64_t tap = 0; tap < taps; ++tap) {
    double count = spans[2 * tap + 1] - spans[2 * tap];
    double outputs = share * shareOf(row, tap) * width;
    fmas += count * outputs;
    weights += count > 0 ? outputs : 0;
    elements += count;
  }
  bool atOnce = taps * pixels * width <= maxRowFMAs;
  if (atOnce)
    elements =
        std::min<double>(elements, (pixels - 1) * row.getInputStep() +
                                       (taps - 1) * row.getInputTapStep() + 1);
  double loads = (elements + weights) * each;
  double body =
      std::max({fmas * each, loads, taps * latency}) + loadWeight * loads;
  // Weights that outgrow the first-level cache, which FMAs do not hide. 240 to
  // 3 channels, k 4 s 2: 6 outputs by 4 pixels, 46 KB of weights, 46 ms, 2 by
  // 11, 15 KB, 28.
  if (weights * this->outerTaps() * reduction * elementBytes > l1Bytes)
    body += weights * reductionLanes() * elementBytes / weightRate;
  // Multiplications of two operands copy one of them: 64 to 64 channels, k 3 in
  // 3-D, with SSE: 4 outputs by 2 pixels 42 ms, 16 channels by 2 pixels 29.
  if (!fusesProducts())
    body *= 1.25;
  double bodies = outerTaps * (atOnce ? 1 : taps);
  // With 16 registers starts and sums overlap with FMAs less. 64 to 3 channels,
  // k 4 s 2, at 16 x 16 x 16, haswell: 6 outputs by 2 pixels 73 GFLOP/s, 24
  // channels of all phases 97.
  double alone = machine.registers <= 16 ? 2 : 1;
  // Rows that outgrow the first-level cache come from the second again for each
  // further block or phase of outputs, half of which shows. 128 to 3 channels,
  // k 4 s 2, at 128 x 128: 2 of a row's 6 outputs by 11 pixels 63 % of the
  // peak, all 6 by 3 78 %.
  double uses = llvm::divideCeil(channels.lanesInRun(), width);
  for (PhaseSplitAttr split : splits)
    uses *= split.isMerged() ? 1 : std::min(split.getStep(), split.getOutput());
  double pixelRow = outerTaps * reduction * elementBytes;
  double rowBytes = reduction * row.getInput() * elementBytes;
  if (this->outerTaps() * rowBytes > l1Bytes)
    body += (1 - 1 / uses) * pixels * row.getInputStep() * pixelRow /
            (2 * nearRate * outerTaps * vectors);
  return outerTaps * vectors * body +
         alone * (bodies * (tapStart + vectors * chunkStart) +
                  laneSum * pixels * width);
}
