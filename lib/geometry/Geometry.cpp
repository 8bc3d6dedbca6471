//===- Geometry.cpp - phases, channel blocks and row tiles as plain numbers -*-
// C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "geometry/Geometry.h"

#include "llvm/ADT/DenseMap.h"
#include "llvm/ADT/bit.h"
#include "llvm/Support/MathExtras.h"

#include <numeric>

using namespace convjit;
using namespace convjit::conv;
using namespace mlir;
using llvm::divideCeilSigned;
using llvm::divideFloorSigned;

PhaseSplitAttr convjit::splitDimension(WindowAttr window, int64_t dim,
                                       int64_t input, int64_t kernel) {
  int64_t ws = window.getStrides()[dim], lo = window.getPadLow()[dim];
  int64_t ld = window.getLhsDilation()[dim], rd = window.getRhsDilation()[dim];
  int64_t step = ld / std::gcd(ld, ws);
  int64_t common = std::gcd(ld, rd);
  int64_t tapStep = ld / common;
  SmallVector<int64_t> firstTap(step, 0), taps(step, 0), base(step, 0);
  // The first of tapStep consecutive taps that falls on an input element, by
  // the residue of r*ws that it needs. Phases whose residue no tap has, when
  // gcd(ld, rd) does not divide lo - r*ws, have no taps.
  llvm::DenseMap<int64_t, int64_t> tapOf;
  for (int64_t t = 0; t < std::min(tapStep, kernel); ++t)
    tapOf.try_emplace(((lo - t * rd) % ld + ld) % ld, t);
  for (int64_t r = 0; r < step; ++r) {
    auto found = tapOf.find(r * ws % ld);
    if (found == tapOf.end())
      continue;
    int64_t t = found->second;
    firstTap[r] = t;
    taps[r] = (kernel - 1 - t) / tapStep + 1;
    base[r] = (r * ws + t * rd - lo) / ld;
  }
  return PhaseSplitAttr::get(
      window.getContext(), input, window.outputSize(dim, input, kernel), step,
      ws / std::gcd(ld, ws), tapStep, rd / common, firstTap, taps, base);
}

PhaseSplitAttr convjit::foldPixels(PhaseSplitAttr split, int64_t fold) {
  int64_t step = split.getStep();
  SmallVector<int64_t> firstTap, taps, base;
  for (int64_t pixel = 0; pixel < fold; ++pixel) {
    llvm::append_range(firstTap, split.getFirstTap());
    llvm::append_range(taps, split.getTaps());
    for (int64_t phase = 0; phase < step; ++phase)
      base.push_back(split.getBase()[phase] + pixel * split.getInputStep());
  }
  return PhaseSplitAttr::get(split.getContext(), split.getInput(),
                             split.getOutput(), step * fold,
                             split.getInputStep() * fold, split.getTapStep(),
                             split.getInputTapStep(), firstTap, taps, base);
}

/// Merges with phases from `turn` on one row earlier, so that these come first
/// in the lanes; nothing when their taps do not meet the same inputs.
static std::optional<PhaseSplitAttr> mergeFrom(PhaseSplitAttr split,
                                               int64_t turn) {
  int64_t step = split.getStep(), tapStep = split.getInputTapStep();
  auto baseOf = [&](int64_t r) {
    return split.getBase()[r] - (r >= turn ? split.getInputStep() : 0);
  };
  std::optional<int64_t> first, last;
  for (int64_t r = 0; r < step; ++r) {
    int64_t taps = split.getTaps()[r];
    if (taps == 0)
      continue;
    int64_t end = baseOf(r) + (taps - 1) * tapStep;
    first = first ? std::min(*first, baseOf(r)) : baseOf(r);
    last = last ? std::max(*last, end) : end;
  }
  if (!first)
    return std::nullopt;
  SmallVector<int64_t> laneFirst, laneTaps;
  for (int64_t lane = 0; lane < step; ++lane) {
    int64_t r = (turn + lane) % step;
    laneTaps.push_back(split.getTaps()[r]);
    if (split.getTaps()[r] == 0) {
      laneFirst.push_back(0);
      continue;
    }
    int64_t ahead = baseOf(r) - *first;
    if (ahead % tapStep)
      return std::nullopt;
    laneFirst.push_back(split.getFirstTap()[r] -
                        ahead / tapStep * split.getTapStep());
  }
  int64_t taps = (*last - *first) / tapStep + 1;
  // Further apart than this, lanes share no input: a stride of 2^30, folded.
  constexpr int64_t maxTaps = 1 << 16;
  if (taps > maxTaps)
    return std::nullopt;
  return PhaseSplitAttr::get(split.getContext(), split.getInput(),
                             split.getOutput(), step, split.getInputStep(),
                             /*tapStep=*/1, tapStep, /*firstTap=*/{0}, {taps},
                             {*first}, /*shift=*/turn % step ? turn - step : 0,
                             split.getTapStep(), laneFirst, laneTaps);
}

std::optional<PhaseSplitAttr> convjit::mergePhases(PhaseSplitAttr split) {
  // More phases than lanes of any block: nothing to gain, much to list.
  constexpr int64_t maxMerged = 1024;
  if (split.getStep() < 2 || split.getStep() > maxMerged)
    return std::nullopt;
  std::optional<PhaseSplitAttr> best;
  for (int64_t turn = split.getStep(); turn > 0; --turn)
    if (auto merged = mergeFrom(split, turn))
      if (!best || merged->getTaps()[0] < best->getTaps()[0])
        best = merged;
  return best;
}

std::optional<SmallVector<PhaseSplitAttr>>
convjit::splitConvolution(ConvolutionOp op, int64_t merged, int64_t fold) {
  auto input = cast<RankedTensorType>(op.getInput().getType());
  auto filter = cast<RankedTensorType>(op.getFilter().getType());
  DimensionNumbersAttr numbers = op.getDimensionNumbers();
  int64_t rank = numbers.getRank();
  SmallVector<PhaseSplitAttr> splits;
  for (int64_t dim = 0; dim < rank; ++dim) {
    splits.push_back(splitDimension(
        op.getWindow(), dim, input.getDimSize(numbers.getInputSpatial()[dim]),
        filter.getDimSize(numbers.getKernelSpatial()[dim])));
    if (dim == rank - 1 && fold > 1)
      splits.back() = foldPixels(splits.back(), fold);
    if (dim < rank - merged || splits.back().getStep() == 1)
      continue;
    auto together = mergePhases(splits.back());
    if (!together)
      return std::nullopt;
    splits.back() = *together;
  }
  return splits;
}

bool convjit::hasUniformLanes(PhaseSplitAttr split) {
  return !split.isMerged() ||
         (llvm::all_equal(split.getLaneTaps()) &&
          split.getLaneTaps().front() == split.getTaps().front());
}

bool convjit::mergedLanesAreContiguous(ArrayRef<int64_t> output,
                                       DimensionNumbersAttr numbers,
                                       int64_t perGroup) {
  int64_t rank = numbers.getRank(), feature = numbers.getOutputFeature();
  int64_t row = numbers.getOutputSpatial().back();
  int64_t channels = output[feature];
  if (channels == 1)
    return row == rank + 1 || (row == rank && feature == rank + 1);
  return channels == perGroup && feature == rank + 1 && row == rank;
}

bool convjit::storesWholeLines(const ChannelBlocks &channels,
                               DimensionNumbersAttr numbers,
                               int64_t elementBytes) {
  auto lines = [&](int64_t elements) {
    return elements * elementBytes % lineBytes == 0;
  };
  if (numbers.getOutputFeature() != numbers.getRank() + 1 ||
      !lines(channels.width))
    return false;
  if (channels.lanes == Lanes::Groups)
    return lines(channels.lanesInRun());
  return channels.lanes == Lanes::Channels && lines(channels.perGroup);
}

SmallVector<int64_t> convjit::stridesOf(MemRefType buffer) {
  return buffer.getStridesAndOffset().first;
}

SmallVector<int64_t> convjit::inputStrides(ConvolutionOp op) {
  if (std::optional<ArrayRef<int64_t>> strides = op.getInputStrides())
    return llvm::to_vector(*strides);
  auto type = cast<RankedTensorType>(op.getInput().getType());
  return stridesOf(MemRefType::get(type.getShape(), type.getElementType()));
}

bool convjit::isInnermostOfInput(ConvolutionOp op, int64_t axis) {
  return axis == op.getDimensionNumbers().getRank() + 1 &&
         inputStrides(op)[axis] == 1;
}

int64_t convjit::imageBytes(ShapedType type) {
  int64_t bytes = type.getElementTypeBitWidth() / 8;
  for (int64_t size : type.getShape())
    bytes *= ShapedType::isDynamic(size) ? 1 : size;
  return bytes;
}

/// Whole lines, and a power of two.
static int64_t paddedTo(int64_t count, int64_t line) {
  int64_t rest = count % line;
  return count - rest +
         (rest ? static_cast<int64_t>(llvm::bit_ceil<uint64_t>(rest)) : 0);
}

int64_t convjit::paddedPixels(int64_t pixels, int64_t elementBits) {
  return paddedTo(pixels, lineElements(elementBits));
}

//===----------------------------------------------------------------------===//
// Channels
//===----------------------------------------------------------------------===//

int64_t ChannelBlocks::blocksPerGroup() const {
  return llvm::divideCeil(lanesInRun(), width);
}

int64_t ChannelBlocks::blocks() const {
  return blocksPerGroup() * (lanes == Lanes::Groups ? 1 : groups);
}

int64_t ChannelBlocks::tail() const { return lanesInRun() % width; }

bool ChannelBlocks::hasFullBlock() const { return lanesInRun() >= width; }

int64_t ChannelBlocks::vectorWidth(int64_t valid) const {
  if (lanes == Lanes::Reduction)
    return valid;
  return std::min(paddedTo(valid, 16), width);
}

SmallVector<LanePiece> convjit::lanePieces(int64_t width, int64_t most) {
  SmallVector<LanePiece> pieces;
  for (int64_t at = 0; at < width;) {
    int64_t size =
        std::min<int64_t>(most, llvm::bit_floor<uint64_t>(width - at));
    pieces.push_back({at, size});
    at += size;
  }
  return pieces;
}

int64_t ChannelBlocks::channel(int64_t block, int64_t lane) const {
  int64_t outer = block / blocksPerGroup();
  int64_t inner = block % blocksPerGroup() * width + lane;
  if (inner >= (lanes == Lanes::Groups ? groups * perGroup : perGroup))
    return -1;
  return outer * perGroup + inner;
}

//===----------------------------------------------------------------------===//
// Rows
//===----------------------------------------------------------------------===//

int64_t convjit::phaseLength(PhaseSplitAttr split, int64_t phase) {
  int64_t first = phase + split.getShift();
  return std::max<int64_t>(
      0, divideCeilSigned(split.getOutput() - first, split.getStep()));
}

bool convjit::lastIsPartial(PhaseSplitAttr split) {
  return split.isMerged() &&
         (split.getOutput() - split.getShift()) % split.getStep() != 0;
}

RowCut convjit::cutRow(PhaseSplitAttr split, int64_t phase, int64_t pixels) {
  RowCut cut;
  int64_t length = phaseLength(split, phase), lo = 0, hi = length;
  if (int64_t taps = split.getTaps()[phase]) {
    int64_t base = split.getBase()[phase], stride = split.getInputStep();
    int64_t reach = base + (taps - 1) * split.getInputTapStep();
    lo = std::clamp<int64_t>(divideCeilSigned(-base, stride), 0, length);
    hi = std::clamp<int64_t>(
        divideFloorSigned(split.getInput() - 1 - reach, stride) + 1, lo,
        length);
  }
  // Pixels with lanes outside the output are at the border too.
  if (split.getShift() < 0)
    lo = std::max<int64_t>(lo, std::min<int64_t>(1, length));
  if (lastIsPartial(split))
    hi = std::min(hi, length - 1);
  hi = std::max(lo, hi);
  constexpr int64_t maxBorderTiles = 1024;
  if (lo / pixels + (length - hi) / pixels > maxBorderTiles) {
    cut.oversized = true;
    cut.midCount = length / pixels;
    return cut;
  }
  int64_t at = 0;
  while (at < lo) {
    int64_t size = std::min(pixels, length - at);
    cut.left.push_back({at, size});
    at += size;
  }
  cut.midFirst = at;
  cut.midCount = std::max<int64_t>(0, (hi - at) / pixels);
  at += cut.midCount * pixels;
  // Equal shares rather than a full tile and a small rest: a tile of few pixels
  // does not fill the FMA pipeline.
  for (int64_t left = length - at; left > 0;) {
    int64_t tiles = llvm::divideCeil(left, pixels);
    int64_t size = llvm::divideCeil(left, tiles);
    cut.right.push_back({at, size});
    at += size;
    left -= size;
  }
  return cut;
}

int64_t convjit::unrolledFMAs(PhaseSplitAttr split, int64_t pixels,
                              int64_t vectors, int64_t reduction,
                              int64_t unroll, bool spellsTaps,
                              int64_t epilogueOps) {
  // A tile's loops, addresses and stores cost as much as this many FMAs.
  constexpr int64_t tileOverhead = 40;
  constexpr int64_t enough = int64_t(1) << 40;
  int64_t pixelTaps = 0, tiles = 0, stored = 0;
  int64_t phases =
      split.isMerged() ? 1 : std::min(split.getStep(), split.getOutput());
  for (int64_t phase = 0; phase < phases; ++phase) {
    RowCut cut = cutRow(split, phase, pixels);
    int64_t taps = split.getTaps()[phase];
    if (cut.oversized || tiles > 10000 || taps > (1 << 20))
      return enough;
    for (RowTile tile : llvm::concat<RowTile>(cut.left, cut.right)) {
      pixelTaps += tile.pixels * taps;
      stored += tile.pixels;
    }
    if (cut.midCount) {
      pixelTaps += spellsTaps ? pixels * taps : pixels;
      stored += pixels;
    }
    tiles += cut.left.size() + cut.right.size() + (cut.midCount > 0);
  }
  int64_t steps = reduction;
  if (reduction > std::max(maxUnrolledChannels, unroll))
    steps = unroll + reduction % unroll;
  return tiles * tileOverhead +
         vectors * (pixelTaps * steps + stored * epilogueOps);
}

SmallVector<int64_t> convjit::tapPixels(PhaseSplitAttr split, int64_t phase,
                                        RowTile tile) {
  SmallVector<int64_t> result;
  int64_t stride = split.getInputStep();
  for (int64_t tap = 0; tap < split.getTaps()[phase]; ++tap) {
    int64_t at = tile.first * stride + split.getBase()[phase] +
                 tap * split.getInputTapStep();
    int64_t lo =
        std::clamp<int64_t>(divideCeilSigned(-at, stride), 0, tile.pixels);
    int64_t hi = std::clamp<int64_t>(
        divideFloorSigned(split.getInput() - 1 - at, stride) + 1, lo,
        tile.pixels);
    result.append({lo, hi});
  }
  return result;
}

//===----------------------------------------------------------------------===//
// Tasks
//===----------------------------------------------------------------------===//

int64_t TaskSpace::phases(int64_t dim) const {
  return std::min(splits[dim].isMerged() ? 1 : splits[dim].getStep(),
                  splits[dim].getOutput());
}

int64_t TaskSpace::rows(int64_t dim) const {
  return phaseLength(splits[dim], 0);
}

int64_t TaskSpace::tasksPerImage() const {
  int64_t tasks = splits.back().getOutput() ? channels.blocks() * chunks : 0;
  for (size_t dim = 0; dim + 1 < splits.size(); ++dim)
    tasks *= phases(dim) * rows(dim);
  return tasks;
}

TaskSpace convjit::taskSpace(PhasesOp op) {
  TaskSpace space;
  DimensionNumbersAttr numbers = op.getDimensionNumbers();
  auto output = cast<MemRefType>(op.getOutput().getType());
  int64_t groups = op.getFeatureGroupCount() * op.getBatchGroupCount();
  PlanAttr plan = op.getPlanAttr();
  space.channels = {plan.getLanes(), groups,
                    output.getDimSize(numbers.getOutputFeature()) / groups,
                    plan.getWidth()};
  llvm::append_range(space.splits, op.getSplits().getAsRange<PhaseSplitAttr>());
  for (PhaseSplitAttr split : space.splits)
    space.channels.phases *= split.getLanePhases();
  space.chunks = plan.getChunks();
  return space;
}
