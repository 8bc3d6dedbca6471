//===- RegisterTile.cpp - pixels by lanes in registers -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "plan/RegisterTile.h"

using namespace mlir;
using namespace convjit;
using namespace convjit::conv;

namespace {

/// Code that an unrolled row may grow to. An FMA costs about 0.02 ms of compile
/// time and 8 bytes.
constexpr int64_t maxUnrolledFMAs = 1600;
/// Of plans within a few per cent, the one that compiles faster.
constexpr double codeWeight = 2e-5;
/// Beyond this, rows are not unrolled, and what they were counts no more.
constexpr int64_t maxWeighedCode = 8000;
/// Cycles of FMAs that make the innermost loop's own instructions disappear.
constexpr double fullIteration = 12;

} // namespace

RegisterTiles::RegisterTiles(const PlanShape &shape, int64_t width)
    : shape(shape), width(width), vectors(shape.vectors(width)),
      registers(shape.machine.registers),
      ofPixels(shape.channels.lanes == Lanes::Pixels),
      ofReduction(shape.channels.lanes == Lanes::Reduction) {
  // Sums of a vector of pixels for each channel, or one for each output of each
  // pixel.
  if (ofPixels || ofReduction)
    vectors = width;
  // A product that is added by another instruction takes a register, a
  // scalar that it must not overwrite one more. 8 x 16 x 16 x 64 to 32, k 4
  // s 2, with SSE, GFLOP/s: 4 pixels by 12 channels 30, 6 by 8 36, 2 by 16
  // 39. Across groups LLVM does without: depthwise k 7, 3 pixels by 12
  // channels 38, 4 by 8 29. A sum that is not yet chosen takes one, too.
  if (!shape.fusesProducts() && shape.channels.lanes != Lanes::Groups)
    registers -= shape.channels.lanes == Lanes::Channels ? 2 : 1;
  else if (shape.choosesSums())
    --registers;
}

int64_t RegisterTiles::longest() const {
  return std::max<int64_t>(1, phaseLength(shape.splits.back(), 0));
}

int64_t RegisterTiles::mostPixels() const {
  // Sums, a vector of pixels each, and a weight.
  if (ofPixels)
    return (registers - 1) / (width + 1) * shape.lanes;
  if (ofReduction) {
    // Sums that live in memory: 64 to 64 channels, k 3 in 3-D, with SSE's 16
    // registers: 22 outputs 49 ms, 16 channels by 2 pixels 29.
    int64_t most = 0;
    while (most < longest() &&
           shape.reductionRegisters(most + 1, width) <= registers)
      ++most;
    return most;
  }
  // Sums, a row of weights and one input element. Across groups, the weights of
  // all taps of a row stay, where half of the registers holds them. Depthwise,
  // k 7, 60 channels, 11 pixels by two vectors spill, 0.253 ms; 7 0.230.
  int64_t weightRows = 1;
  if (shape.channels.lanes == Lanes::Groups)
    weightRows = std::clamp<int64_t>(
        shape.machine.registers / 2 / vectors, 1,
        std::min<int64_t>(8, shape.rowTaps() * shape.reduction));
  return std::max<int64_t>(1, (registers - 1 - vectors * weightRows) / vectors);
}

int64_t RegisterTiles::unroll(int64_t pixels) const {
  if (ofReduction)
    return shape.reductionLanes();
  double cycles = ofPixels ? width * shape.fmaCycles(pixels)
                           : pixels * shape.fmaCycles(width);
  // Narrow vectors bring more instructions a cycle: 8 groups of 8, channels
  // first, 16 pixels: 72 % of the peak by two, 79 % by four.
  bool narrow = !ofPixels && shape.fmaCycles(width) < 1;
  double full = narrow ? 1.5 * fullIteration : fullIteration;
  // Folded, the channels are a loop: ConvToLinalg says why.
  int64_t channels = shape.fold > 1 ? shape.reduction / 2 : shape.reduction;
  // The weights of all channels are loaded first. With 16 registers, 16
  // channels by 6 pixels, k 4 s 2, 8 x 16 x 16 x 64 to 32, by two 87 % of the
  // peak, by one 92; 8 by 14, 28 x 28 x 128 to 128, k 3 s 2, by four 77, by one
  // 86.
  constexpr int64_t fewRegisters = 16;
  bool few = shape.machine.registers <= fewRegisters;
  bool wholeVectors = shape.channels.lanesInRun() % shape.lanes == 0 &&
                      width % shape.lanes == 0;
  bool weightsFirst = !ofPixels && (few || (vectors > 1 && wholeVectors)) &&
                      shape.fusesProducts() &&
                      llvm::all_of(shape.splits, hasUniformLanes);
  auto fits = [&](int64_t times) {
    return !weightsFirst ||
           (vectors > 1 && (pixels + times) * vectors < registers);
  };
  int64_t unroll = 1;
  while (unroll < 4 && unroll * 2 <= channels && cycles * unroll < full &&
         fits(2 * unroll))
    unroll *= 2;
  return unroll;
}

int64_t RegisterTiles::code(int64_t pixels, int64_t epilogueOps) const {
  // Vectors of input channels, and what remains, have a body each.
  int64_t bodies = shape.reduction, times = unroll(pixels);
  if (ofReduction) {
    bodies = (shape.reduction >= shape.reductionLanes()) +
             (shape.reduction % shape.reductionLanes() != 0);
    times = 1;
  }
  bool acrossGroups = shape.channels.lanes == Lanes::Groups;
  if (acrossGroups)
    times = shape.reduction;
  bool spellsTaps = acrossGroups || ofReduction || shape.fold > 1;
  int64_t ops = unrolledFMAs(shape.splits.back(), pixels, vectors, bodies,
                             times, spellsTaps, epilogueOps);
  if (ofPixels)
    return ops / shape.lanes;
  // Distinct taps are spelled out one by one.
  for (PhaseSplitAttr split : ArrayRef(shape.splits).drop_back())
    if (!hasUniformLanes(split))
      ops *= split.getTaps().front();
  return ops;
}

std::optional<RegisterTiles::Tile> RegisterTiles::best() const {
  int64_t most = std::min({mostPixels(), longest(), int64_t(64)});
  if (most < 1)
    return std::nullopt;
  // A narrower last block has code of its own.
  ChannelBlocks channels = shape.channels;
  channels.width = width;
  int64_t variants = channels.tail() && channels.hasFullBlock() ? 2 : 1;
  // Of tiles of partial sums, the smallest that is nearly as good: FMAs hide
  // everything else soon, and few pixels keep to few streams of lines. One
  // output, k 3, 64 channels at 256 x 256: 6 pixels 91 % of the FMA peak, 24
  // pixels 51 %.
  // Groups of 8: 7 pixels 91 %, 21 pixels 82 %. Where groups are shuffled into
  // their lanes, code is long and spills: 8 to 12 channels in 4 groups, k 7 s
  // 2, at 140 x 93 24 pixels 0.49 ms and 156 ms to compile, 12 0.43 and 71.
  double slack = shape.shufflesGroups()          ? 1.04
                 : ofReduction || shape.fold > 1 ? 1.02
                                                 : 1;
  double least = std::numeric_limits<double>::infinity();
  int64_t pixels = 1;
  for (int64_t m = most; m >= 1; --m) {
    if (ofPixels && m % shape.lanes && m != longest())
      continue;
    double cycles =
        shape.rowCycles(m, width) *
        (1 + codeWeight * variants *
                 std::min(code(m, shape.epilogueOps), maxWeighedCode));
    // Of equal cuts, the most even one.
    if (cycles <= slack * least) {
      least = std::min(least, cycles);
      pixels = m;
    }
  }
  return Tile{pixels, unroll(pixels), least,
              code(pixels, 0) <= maxUnrolledFMAs};
}
