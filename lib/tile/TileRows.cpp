//===- TileRows.cpp - a row of output cut into register tiles -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "tile/Tiler.h"

using namespace mlir;
using namespace convjit;
using namespace convjit::conv;

void Tiler::unrolledRow() {
  int64_t pixels = op.getPlanAttr().getPixels();
  Value zero = math.constant(0);
  auto inChunk = [&](int64_t which, llvm::function_ref<void()> body) {
    math.branch(
        math.compare(arith::CmpIPredicate::eq, chunk, math.constant(which)),
        body);
  };
  for (int64_t r = 0; r < space.phases(rank - 1); ++r) {
    Value index = math.constant(r);
    Phase here = phase(row, index, rank - 1);
    RowCut cut = cutRow(row, r, pixels);
    auto fixed = [&](RowTile at) {
      int partial = at.first == 0 && row.getShift() < 0 ? First : Whole;
      if (at.first + at.pixels == phaseLength(row, r) && lastIsPartial(row))
        partial |= Last;
      tile(math.constant(at.first), at.pixels, index, here,
           ArrayRef<int64_t>(tapPixels(row, r, at)), {}, {}, partial);
    };
    auto interior = [&](Value q) {
      tile(q, pixels, index, here, std::nullopt, zero, here.taps);
    };
    if (!cut.left.empty())
      inChunk(0, [&] { llvm::for_each(cut.left, fixed); });
    int64_t share = llvm::divideCeil(cut.midCount, space.chunks);
    Value lo = math.mul(chunk, share);
    Value hi = math.min(math.add(lo, share), math.constant(cut.midCount));
    math.loop(lo, hi, 1, [&](Value i) {
      interior(math.add(math.mul(i, pixels), cut.midFirst));
    });
    if (!cut.right.empty())
      inChunk(space.chunks - 1, [&] { llvm::for_each(cut.right, fixed); });
  }
}

void Tiler::rangedRow() {
  int64_t pixels = op.getPlanAttr().getPixels(), step = row.getInputStep();
  Value zero = math.constant(0), one = math.constant(1);
  Value phases = math.constant(space.phases(rank - 1));
  math.loop(zero, phases, 1, [&](Value r) {
    Phase here = phase(row, r, rank - 1);
    Value length = math.ceilDiv(
        math.sub(math.constant(row.getOutput() - row.getShift()), r),
        row.getStep());
    // Pixels [first, last) have all their taps.
    Value reach = math.add(
        here.base, math.mul(math.sub(here.taps, one), row.getInputTapStep()));
    Value first =
        math.clamp(math.ceilDiv(math.sub(zero, here.base), step), zero, length);
    Value last = math.clamp(
        math.add(math.floorDiv(
                     math.sub(math.constant(row.getInput() - 1), reach), step),
                 1),
        first, length);
    // Pixels with lanes outside the output are not in the interior.
    if (row.getShift() < 0)
      first = math.min(math.max(first, one), length);
    if (lastIsPartial(row))
      last = math.max(first, math.min(last, math.sub(length, one)));
    auto single = [&](Value q) {
      Value lo, hi;
      Value at = math.add(math.mul(q, step), here.base);
      clipTaps(row, here, at, std::nullopt, lo, hi);
      int partial = (row.getShift() < 0 ? First : Whole) |
                    (lastIsPartial(row) ? Last : Whole);
      tile(q, 1, r, here, std::nullopt, lo, hi, partial);
    };
    auto isChunk = [&](int64_t which) {
      return math.compare(arith::CmpIPredicate::eq, chunk,
                          math.constant(which));
    };
    math.branch(isChunk(0), [&] { math.loop(zero, first, 1, single); });
    // Interior: full tiles, shared among chunks, then 4 pixels at a time.
    Value tiles = math.floorDiv(math.sub(last, first), pixels);
    Value share = math.ceilDiv(tiles, space.chunks);
    Value lo = b.createOrFold<arith::MulIOp>(op.getLoc(), chunk, share);
    Value hi = math.min(math.add(lo, share), tiles);
    math.loop(lo, hi, 1, [&](Value i) {
      tile(math.add(math.mul(i, pixels), first), pixels, r, here, std::nullopt,
           zero, here.taps);
    });
    math.branch(isChunk(space.chunks - 1), [&] {
      Value at = math.add(math.mul(tiles, pixels), first);
      constexpr int64_t quad = 4;
      if (pixels > quad) {
        Value quads = math.floorDiv(math.sub(last, at), quad);
        math.loop(zero, quads, 1, [&](Value i) {
          tile(math.add(math.mul(i, quad), at), quad, r, here, std::nullopt,
               zero, here.taps);
        });
        at = math.add(math.mul(quads, quad), at);
      }
      math.loop(at, length, 1, single);
    });
  });
}

void Tiler::imagesRow() {
  Value zero = math.constant(0);
  math.loop(zero, math.constant(space.phases(rank - 1)), 1, [&](Value r) {
    Phase here = phase(row, r, rank - 1);
    Value length = math.ceilDiv(math.sub(math.constant(row.getOutput()), r),
                                row.getStep());
    math.loop(zero, length, 1, [&](Value q) {
      Value lo, hi;
      Value at = math.add(math.mul(q, row.getInputStep()), here.base);
      clipTaps(row, here, at, std::nullopt, lo, hi);
      tile(q, images, r, here, std::nullopt, lo, hi);
    });
  });
}

/// The rows of the live table for the block and phases at hand.
void Tiler::liveRange(Value phaseIndex) {
  Value index = block;
  for (int64_t dim = 0; dim < rank; ++dim)
    index = math.add(math.mul(index, space.phases(dim)),
                     dim + 1 < rank ? phaseIndices[dim] : phaseIndex);
  Value zero = math.constant(0);
  liveFirst = memref::LoadOp::create(b, op.getLoc(), liveStarts,
                                     ValueRange{index, zero});
  liveLast = memref::LoadOp::create(b, op.getLoc(), liveStarts,
                                    ValueRange{math.add(index, 1), zero});
}

void Tiler::tile(Value q, int64_t pixels, Value phaseIndex, const Phase &phase,
                 std::optional<ArrayRef<int64_t>> tapPixels, Value lo, Value hi,
                 int partial) {
  inputAt[numbers.getInputSpatial().back()] =
      math.add(math.mul(q, row.getInputStep()), phase.base);
  outputAt[numbers.getOutputSpatial().back()] = math.add(
      math.mul(q, row.getStep()), math.add(phaseIndex, row.getShift()));
  filterAt[rank] = phase.firstTap;
  fetchInput(pixels, phaseIndex);
  fetchOutput(pixels);
  SmallVector<Value> ranges = outerRanges;
  if (!tapPixels)
    ranges.append({lo, hi});
  SmallVector<int64_t> inputSteps, filterSteps;
  for (PhaseSplitAttr split : space.splits) {
    inputSteps.push_back(split.getInputTapStep());
    filterSteps.push_back(split.getTapStep());
  }
  if (live)
    liveRange(phaseIndex);
  DenseI64ArrayAttr merged;
  DenseBoolArrayAttr clipped;
  if (space.channels.phases > 1) {
    SmallVector<int64_t> phases;
    SmallVector<bool> clips;
    for (PhaseSplitAttr split : space.splits) {
      phases.push_back(split.getLanePhases());
      clips.push_back(split.getShift() < 0 || lastIsPartial(split));
    }
    clips.back() = partial & First;
    clips.push_back(partial & Last);
    merged = b.getDenseI64ArrayAttr(phases);
    clipped = b.getDenseBoolArrayAttr(clips);
  }
  bool acrossGroups = space.channels.lanes == Lanes::Groups;
  bool ofImages = op.getPlanAttr().getRow() == RowForm::Images;
  TileOp::create(
      b, op.getLoc(), op.getInput(), inputAt, op.getFilter(), filterAt, bias,
      op.getResidual(), op.getOutput(), outputAt, ranges, liveRows,
      live ? liveFirst : Value(), live ? liveLast : Value(),
      merged ? firstLane : Value(), numbers, space.channels.lanes, pixels,
      width, valid, op.getPlanAttr().getUnroll(),
      ofImages ? 1 : row.getInputStep(), ofImages ? 1 : row.getStep(),
      b.getDenseI64ArrayAttr(inputSteps), b.getDenseI64ArrayAttr(filterSteps),
      tapPixels ? b.getDenseI64ArrayAttr(*tapPixels) : DenseI64ArrayAttr(),
      merged,
      merged || acrossGroups ? b.getI64IntegerAttr(space.channels.perGroup)
                             : nullptr,
      clipped, active,
      space.channels.lanes == Lanes::Reduction
          ? b.getI64IntegerAttr(channelsPerGroup())
          : nullptr,
      ofImages, streamFrom(), inputAhead(pixels), filterAhead(),
      op.getEpilogueAttr());
}
