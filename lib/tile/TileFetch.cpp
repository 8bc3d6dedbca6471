//===- TileFetch.cpp - what is asked for ahead of a tile -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "support/Views.h"
#include "tile/Tiler.h"

using namespace mlir;
using namespace convjit;
using namespace convjit::conv;

/// Weights for some 200 cycles of multiply-adds. From the third-level cache of
/// a Xeon with a mesh, 16 to 64 channels are equally good: 1024 to 512, k 12
/// s 6, all weights for each tile: 49 % of the peak without, 60 with.
IntegerAttr Tiler::filterAhead() {
  constexpr int64_t channels = 16;
  Prefetch prefetch = op.getPlanAttr().getPrefetch();
  bool wanted = prefetch == Prefetch::Filter || prefetch == Prefetch::Both;
  return wanted ? b.getI64IntegerAttr(channels) : nullptr;
}

bool Tiler::fetchesInput() {
  Prefetch prefetch = op.getPlanAttr().getPrefetch();
  return prefetch == Prefetch::Input || prefetch == Prefetch::Both;
}

/// Where channels are planes, a tile reads a line or two of each: too many
/// streams for the CPU to follow. It asks for those of a channel some 200
/// cycles of multiply-adds away. 192 to 16 channels, k 4 x 2, at 83 x 83: 73 %
/// of the peak without, 86 with. Pixels in the lanes wait for memory: what
/// 27 GB/s bring in 110 ns. 384 to 2 channels, k 2 s 2, at 16 x 32 x 64 5.3 ms
/// without, 4 channels (1 KB) ahead 4.5, 12 4.3; 256 to 4, k 3 s 2, at 128 x
/// 128 1.76, 4 (2 KB) 1.09, 8 0.85, 16 0.95.
IntegerAttr Tiler::inputAhead(int64_t pixels) {
  if (!fetchesInput() || numbers.getInputSpatial().back() != rank + 1)
    return nullptr;
  constexpr int64_t cycles = 200, least = 4, most = 64, bytes = 3 << 10;
  int64_t bits =
      cast<MemRefType>(op.getInput().getType()).getElementTypeBitWidth();
  int64_t lanes = lineElements(bits);
  if (op.getPlanAttr().getLanes() == Lanes::Pixels) {
    int64_t row = pixels * space.splits.back().getInputStep() * bits / 8;
    return b.getI64IntegerAttr(std::clamp<int64_t>(bytes / row, least, most));
  }
  int64_t each = pixels * llvm::divideCeil(width, lanes);
  return b.getI64IntegerAttr(std::clamp<int64_t>(cycles / each, least, most));
}

/// Of the phases of `dim`, the one that is first to read a row of the input.
static int64_t furthestPhase(PhaseSplitAttr split, int64_t phases) {
  auto last = [&](int64_t phase) {
    return split.getBase()[phase] +
           (split.getTaps()[phase] - 1) * split.getInputTapStep();
  };
  int64_t furthest = 0;
  for (int64_t phase = 1; phase < phases; ++phase)
    if (last(phase) > last(furthest))
      furthest = phase;
  return furthest;
}

/// Whether what an output reads of outer dimension `dim` stays in the
/// second-level cache until the next output's turn: then only what is new is
/// asked for.
bool Tiler::staysNear(int64_t dim) {
  if (rank == 3 && op.getPlanAttr().getStrip())
    return true;
  constexpr double most = 512 << 10;
  auto input = cast<MemRefType>(op.getInput().getType());
  double bytes = imageBytes(input);
  for (int64_t outer = 0; outer <= dim; ++outer)
    bytes /= std::max<int64_t>(1, space.splits[outer].getInput());
  return bytes * *llvm::max_element(space.splits[dim].getTaps()) <= most;
}

/// Whether a call's input comes from memory, which a batch of images does that
/// would stay in the cache one by one; null where one alone does. 32 to 8
/// channels, k 4 s 3, at 128 x 128, 2 MB: one image 0.130 ms and 0.131 if asked
/// for ahead, 16 images 4.0 and 2.75.
Value Tiler::inputIsFar() {
  auto input = cast<MemRefType>(op.getInput().getType());
  if (imageBytes(input) > streamingBytes ||
      !input.isDynamicDim(numbers.getInputBatch()))
    return nullptr;
  if (!farInput) {
    auto func = op->getParentOfType<func::FuncOp>();
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(&func.getBody().front());
    farInput = math.compare(arith::CmpIPredicate::sgt,
                            bytesOf(b, op.getLoc(), op.getInput()),
                            math.constant(sharedCache));
  }
  return farInput;
}

/// Half a page ahead, or further, in the rows of input that no row of output
/// has read. Heads from memory gain most, since the CPU itself stops at the end
/// of a page: 32 channels to 1, k 3 s 2, at 97 x 128 x 256 104 ms without, 73
/// with; 64 to 1 at 64 x 64 x 32 8.1 and 4.7.
void Tiler::fetchInput(int64_t pixels, Value phaseIndex) {
  if (!fetchesInput() || numbers.getInputSpatial().back() != rank)
    return;
  // Phases of a row follow each other, and with some orders those of all
  // dimensions and blocks of channels: the first asks for all.
  Value first = inputIsFar();
  auto only = [&](Value index, int64_t which, int64_t count) {
    if (count == 1)
      return;
    first = math.both(first, math.compare(arith::CmpIPredicate::eq, index,
                                          math.constant(which)));
  };
  only(phaseIndex, 0, space.phases(rank - 1));
  Order order = op.getPlanAttr().getOrder();
  if (order == Order::Block || order == Order::Input)
    for (int64_t dim = 0; dim + 1 < rank; ++dim)
      only(phaseIndices[dim],
           furthestPhase(space.splits[dim], space.phases(dim)),
           space.phases(dim));
  // Across groups each block reads channels of its own.
  if (order == Order::Input && space.channels.lanes != Lanes::Groups)
    only(blockOfGroup, 0, space.channels.blocksPerGroup());

  SmallVector<Value> taps;
  std::function<void()> nest = [&] {
    auto dim = static_cast<int64_t>(taps.size());
    if (dim + 1 == rank)
      return fetchRow(taps, pixels);
    Value lo = outerRanges[2 * dim], hi = outerRanges[2 * dim + 1];
    if (dim + 2 == rank || staysNear(dim))
      lo = math.max(
          lo, math.sub(hi, math.constant(space.splits[dim].getInputStep())));
    math.loop(lo, hi, 1, [&](Value tap) {
      taps.push_back(tap);
      nest();
      taps.pop_back();
    });
  };
  math.branch(first, nest);
}

/// The lines of a tile's pixels.
void Tiler::fetchRow(ArrayRef<Value> outerTaps, int64_t pixels) {
  constexpr int64_t bytesAhead = 2048, fewFetches = 12;
  constexpr int secondLevel = 2; // as llvm.prefetch counts
  auto input = cast<MemRefType>(op.getInput().getType());
  int64_t feature = numbers.getInputFeature();
  // From one pixel to the next: its channels, and what lies between them.
  int64_t all = std::max<int64_t>(
      1, std::abs(stridesOf(input)[numbers.getInputSpatial().back()]));
  int64_t bits = input.getElementTypeBitWidth();
  int64_t channels = channelsPerGroup();
  if (space.channels.lanes == Lanes::Groups)
    channels *= llvm::divideCeil(valid, space.channels.perGroup);
  SmallVector<Value> at(inputAt);
  for (auto [dim, tap] : llvm::enumerate(outerTaps)) {
    Value &here = at[numbers.getInputSpatial()[dim]];
    here = math.add(here, math.mul(tap, space.splits[dim].getInputTapStep()));
  }
  int64_t row = numbers.getInputSpatial().back();
  int64_t pixelsAhead = llvm::divideCeil(8 * bytesAhead, all * bits);
  // Parts of pixels are strided, which the CPU does not follow: all of them are
  // asked for, as far ahead as the next row of output reads (a tile ahead where
  // that is too much to keep, or there is one row). Depthwise, k 3, from
  // memory, a tile ahead and a row: 88 channels at 200 x 200 1.92 and 1.38 ms,
  // 64 at 400 x 400 4.9 and 4.0, 72 at 24 x 60 x 60, s 2, 1.85 and 1.55.
  constexpr int64_t mostRowBytes = 512 << 10;
  if (channels != all) {
    int64_t ahead = pixels * this->row.getInputStep(), nextRow = 0;
    if (rank > 1 && !input.isDynamicDim(row))
      nextRow = input.getDimSize(row) *
                std::abs(space.splits[rank - 2].getInputStep());
    if (nextRow * all * bits <= 8 * mostRowBytes)
      ahead = std::max(ahead, nextRow);
    pixelsAhead = std::max(pixelsAhead, ahead);
  }
  at[row] = math.add(at[row], pixelsAhead);
  // Whole pixels follow each other in memory; parts of them have lines of their
  // own.
  int64_t line = lineElements(bits), runs = pixels * this->row.getInputStep(),
          length = channels;
  if (channels == all)
    length *= std::exchange(runs, 1);
  Value view = tensorView(b, op.getLoc(), op.getInput(), at,
                          {{row, runs, 1}, {feature, length, 1}});
  auto each = [&](int64_t most, int64_t step,
                  llvm::function_ref<void(Value)> body) {
    if (static_cast<int64_t>(llvm::divideCeil(most, step)) > fewFetches)
      return math.loop(math.constant(0), math.constant(most), step, body);
    for (int64_t i = 0; i < most; i += step)
      body(math.constant(i));
  };
  auto fetch = [&](Value run, Value element) {
    memref::PrefetchOp::create(b, op.getLoc(), view, ValueRange{run, element},
                               /*isWrite=*/false, secondLevel,
                               /*isDataCache=*/true);
  };
  each(runs, 1, [&](Value run) {
    each(length, line, [&](Value element) { fetch(run, element); });
    // What begins within a line ends within one more.
    if (runs > 1 && all % line)
      fetch(run, math.constant(length - 1));
  });
}

/// The lines that a tile writes parts of, where they come from memory: they are
/// read first, one after another, unless they have been asked for. Depthwise,
/// k 3, 54 channels at 16 x 56 x 56 2.6 ms, 2.3 with; 3 to 24 channels, k 1 x 3
/// x 3 s 2, at 16 x 224 x 224 3.2 and 3.0.
void Tiler::fetchOutput(int64_t pixels) {
  if (!fetchesInput() || space.channels.phases > 1 || storesWholeLines() ||
      numbers.getOutputFeature() != rank + 1 ||
      numbers.getOutputSpatial().back() != rank ||
      imageBytes(cast<MemRefType>(outputBuffer.getType())) < streamingBytes)
    return;
  constexpr int nearest = 3; // as llvm.prefetch counts
  Value view = tensorView(b, op.getLoc(), outputBuffer, outputAt,
                          {{rank, pixels, static_cast<int64_t>(row.getStep())},
                           {rank + 1, valid, 1}});
  for (int64_t pixel = 0; pixel < pixels; ++pixel)
    memref::PrefetchOp::create(
        b, op.getLoc(), view,
        ValueRange{math.constant(pixel), math.constant(0)},
        /*isWrite=*/true, nearest, /*isDataCache=*/true);
}
