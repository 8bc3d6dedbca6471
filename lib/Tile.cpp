//===- Tile.cpp - phases to tasks and register tiles -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Geometry.h"
#include "IndexMath.h"
#include "LiveTable.h"
#include "Passes.h"
#include "Views.h"

namespace convjit {
#define GEN_PASS_DEF_CONVTILE
#include "Passes.h.inc"
} // namespace convjit

using namespace mlir;
using namespace convjit;
using namespace convjit::conv;

namespace {

/// What one phase of one dimension is at run time.
struct Phase {
  Value taps, firstTap, base;
};

/// Builds the loop nest of one conv.phases.
class Tiler {
public:
  Tiler(PhasesOp op, OpBuilder &builder)
      : op(op), b(builder), math{builder, op.getLoc()},
        numbers(op.getDimensionNumbers()), space(taskSpace(op)),
        rank(op.getRank()), row(space.splits.back()),
        live(op.getLive() ? LiveTable(op, space) : LiveTable()),
        outputBuffer(op.getOutput()), inputAt(rank + 2), filterAt(rank + 3),
        outputAt(rank + 2) {}

  void run();

private:
  Value table(ArrayRef<int64_t> values, Value index, StringRef name) {
    return lookUp(op, b, values, index, name);
  }
  Phase phase(PhaseSplitAttr split, Value index, int64_t dim);
  void clipTaps(PhaseSplitAttr split, const Phase &phase, Value at,
                std::optional<std::pair<int64_t, int64_t>> span, Value &lo,
                Value &hi);
  void outerDimension(int64_t dim, Value phaseIndex, Value q,
                      llvm::function_ref<void()> body);
  void channelVariants(llvm::function_ref<void()> body);
  void unrolledRow();
  void rangedRow();
  /// Pixels of a row whose lanes may lie outside the output.
  enum Partial { Whole = 0, First = 1, Last = 2 };
  void tile(Value q, int64_t pixels, Value phaseIndex, const Phase &phase,
            std::optional<ArrayRef<int64_t>> tapPixels, Value lo, Value hi,
            int partial = Whole);
  Value laneBias(Value group);
  bool storesWholeLines() const;
  void liveRange(Value phaseIndex);

  PhasesOp op;
  OpBuilder &b;
  IndexMath math;
  DimensionNumbersAttr numbers;
  TaskSpace space;
  int64_t rank;
  PhaseSplitAttr row;
  LiveTable live;
  Value outputBuffer;

  // The state of the nest at the point of insertion.
  DenseI64ArrayAttr active;
  SmallVector<Value> inputAt, filterAt, outputAt, outerRanges, phaseIndices;
  Value block, blockOfGroup, chunk, firstLane, bias;
  Value liveRows, liveStarts, liveFirst, liveLast;
  int64_t width = 1, valid = 1;
};

Phase Tiler::phase(PhaseSplitAttr split, Value index, int64_t dim) {
  std::string suffix = "_" + std::to_string(dim);
  int64_t used = space.phases(dim);
  return {table(split.getTaps().take_front(used), index, "taps" + suffix),
          table(split.getFirstTap().take_front(used), index, "first" + suffix),
          table(split.getBase().take_front(used), index, "base" + suffix)};
}

/// The taps [lo, hi) that read inside the input from `at`, which lies in
/// `span` when that is known.
void Tiler::clipTaps(PhaseSplitAttr split, const Phase &phase, Value at,
                     std::optional<std::pair<int64_t, int64_t>> span, Value &lo,
                     Value &hi) {
  int64_t step = split.getInputTapStep();
  int64_t most = *llvm::max_element(split.getTaps());
  if (span && span->first >= 0)
    lo = math.constant(0);
  else
    lo = math.max(math.constant(0),
                  math.ceilDiv(math.sub(math.constant(0), at), step));
  if (span && span->second + (most - 1) * step < split.getInput()) {
    hi = phase.taps;
    return;
  }
  Value room = math.sub(math.constant(split.getInput() - 1), at);
  hi = math.min(phase.taps, math.add(math.floorDiv(room, step), 1));
}

/// Positions for row `q` of a phase of an outer dimension.
void Tiler::outerDimension(int64_t dim, Value phaseIndex, Value q,
                           llvm::function_ref<void()> body) {
  PhaseSplitAttr split = space.splits[dim];
  Phase here = phase(split, phaseIndex, dim);
  Value at = math.add(math.mul(q, split.getInputStep()), here.base);
  Value out = math.add(math.mul(q, split.getStep()),
                       math.add(phaseIndex, split.getShift()));
  ArrayRef<int64_t> bases = split.getBase().take_front(space.phases(dim));
  std::pair<int64_t, int64_t> span = {
      *llvm::min_element(bases),
      *llvm::max_element(bases) + (space.rows(dim) - 1) * split.getInputStep()};
  Value lo, hi;
  clipTaps(split, here, at, span, lo, hi);
  outerRanges.append({lo, hi});
  phaseIndices.push_back(phaseIndex);
  inputAt[numbers.getInputSpatial()[dim]] = at;
  outputAt[numbers.getOutputSpatial()[dim]] = out;
  filterAt[1 + dim] = here.firstTap;
  // The last row of some phases may not exist.
  if (split.isMerged() || split.getOutput() % split.getStep() == 0 ||
      split.getOutput() < split.getStep())
    return body();
  math.branch(math.compare(arith::CmpIPredicate::slt, out,
                           math.constant(split.getOutput())),
              body);
}

void Tiler::run() {
  if (space.tasksPerImage() == 0)
    return;
  if (!llvm::all_of(space.splits, hasUniformLanes)) {
    SmallVector<int64_t> ranges;
    for (PhaseSplitAttr split : space.splits)
      for (int64_t phase = 0; phase < split.getLanePhases(); ++phase) {
        auto [lo, hi] = split.isMerged()
                            ? split.laneTapRange(phase)
                            : std::pair<int64_t, int64_t>(0, INT64_MAX);
        ranges.append({lo, hi});
      }
    active = b.getDenseI64ArrayAttr(ranges);
  }
  if (live) {
    liveRows = live.rows(op, b);
    liveStarts = live.starts(op, b);
  }
  Value zero = math.constant(0);
  math.loop(op.getFirstTask(), op.getLastTask(), 1, [&](Value task) {
    Value rest = task;
    const ChannelBlocks &channels = space.channels;
    SmallVector<Value> q(rank - 1), r(rank - 1);
    Value image;
    auto rows = [&] {
      chunk = math.takeDigit(rest, space.chunks);
      for (int64_t dim = rank - 2; dim >= 0; --dim)
        q[dim] = math.takeDigit(rest, space.rows(dim));
    };
    auto phases = [&] {
      for (int64_t dim = rank - 2; dim >= 0; --dim)
        r[dim] = math.takeDigit(rest, space.phases(dim));
    };
    auto blocks = [&] { block = math.takeDigit(rest, channels.blocks()); };
    auto images = [&](bool outermost) {
      if (outermost) {
        image = rest;
        return;
      }
      Value count = memref::DimOp::create(b, op.getLoc(), outputBuffer,
                                          numbers.getOutputBatch());
      image = b.createOrFold<arith::RemUIOp>(op.getLoc(), rest, count);
      rest = b.createOrFold<arith::DivUIOp>(op.getLoc(), rest, count);
    };
    // Innermost first.
    switch (op.getPlan().getOrder()) {
    case Order::Filter:
      rows(), images(false), phases(), blocks();
      break;
    case Order::Batch:
      images(false), rows(), phases(), blocks();
      break;
    case Order::Block:
      phases(), rows(), blocks(), images(true);
      break;
    case Order::Input:
      phases(), blocks(), rows(), images(true);
      break;
    }
    Value outer = block;
    blockOfGroup = math.takeDigit(outer, channels.blocksPerGroup());

    filterAt[0] = block;
    filterAt[rank + 1] = filterAt[rank + 2] = zero;
    outputAt[numbers.getOutputBatch()] = image;
    Value inBatch = image, inFeature = zero, first;
    if (channels.lanes == Lanes::Groups) {
      // Lane l is group blockOfGroup*width + l; `outer` the channel in each.
      inFeature = math.mul(blockOfGroup, channels.width);
      first = math.add(math.mul(inFeature, channels.perGroup), outer);
    } else {
      first = math.mul(outer, channels.perGroup);
      firstLane = math.mul(blockOfGroup, channels.width);
      if (channels.phases == 1)
        first = math.add(first, firstLane);
      if (op.getBatchGroupCount() > 1) {
        Value images = memref::DimOp::create(b, op.getLoc(), op.getOutput(),
                                             numbers.getOutputBatch());
        inBatch = math.add(
            b.createOrFold<arith::MulIOp>(op.getLoc(), outer, images), image);
      } else {
        auto filter = cast<MemRefType>(op.getFilter().getType());
        inFeature = math.mul(outer, filter.getDimSize(rank + 1));
      }
    }
    inputAt[numbers.getInputBatch()] = inBatch;
    inputAt[numbers.getInputFeature()] = inFeature;
    outputAt[numbers.getOutputFeature()] = first;
    bias = op.getBias();
    if (bias && channels.phases > 1)
      bias = laneBias(outer);

    outerRanges.clear();
    phaseIndices.clear();
    std::function<void(int64_t)> nest = [&](int64_t dim) {
      if (dim < rank - 1)
        return outerDimension(dim, r[dim], q[dim], [&] { nest(dim + 1); });
      channelVariants([&] {
        if (op.getPlan().getRow() == RowForm::Unrolled)
          unrolledRow();
        else
          rangedRow();
      });
    };
    nest(0);
  });
}

/// The bias of each lane of the block, of merged phases.
Value Tiler::laneBias(Value group) {
  const ChannelBlocks &channels = space.channels;
  Location loc = op.getLoc();
  Value first = math.mul(group, channels.perGroup);
  Value count = math.constant(channels.perGroup);
  if (channels.perGroup % channels.width == 0) {
    // A block lies within one phase.
    Value channel = b.createOrFold<arith::RemUIOp>(loc, firstLane, count);
    return tensorView(b, loc, op.getBias(), math.add(first, channel),
                      ViewAxis{0, channels.width, 1});
  }
  auto type = MemRefType::get(
      {channels.width},
      cast<MemRefType>(op.getBias().getType()).getElementType());
  Value lanes =
      entryBuffer(op->getParentOfType<func::FuncOp>(), type, "bias of lanes");
  math.loop(math.constant(0), math.constant(channels.width), 1, [&](Value n) {
    Value channel =
        b.createOrFold<arith::RemUIOp>(loc, math.add(n, firstLane), count);
    Value value =
        memref::LoadOp::create(b, loc, op.getBias(), math.add(first, channel));
    memref::StoreOp::create(b, loc, value, lanes, n);
  });
  return lanes;
}

bool Tiler::storesWholeLines() const {
  auto output = cast<MemRefType>(outputBuffer.getType());
  int64_t bytes = output.getElementTypeBitWidth() / 8, image = bytes;
  for (int64_t size : output.getShape())
    image *= ShapedType::isDynamic(size) ? 1 : size;
  auto lines = [&](int64_t elements) {
    return elements * bytes % lineBytes == 0;
  };
  // Less than this stays in the second-level cache in any batch worth a
  // thought.
  constexpr int64_t fewBytes = int64_t(512) << 10;
  const ChannelBlocks &channels = space.channels;
  return image >= fewBytes && channels.lanes == Lanes::Channels &&
         numbers.getOutputFeature() == rank + 1 &&
         lines(channels.groups * channels.perGroup) &&
         lines(channels.perGroup) && lines(channels.width) && lines(valid);
}

/// One body for full blocks and one for the last, where both exist.
void Tiler::channelVariants(llvm::function_ref<void()> body) {
  const ChannelBlocks &channels = space.channels;
  auto full = [&] {
    width = valid = channels.width;
    body();
  };
  auto partial = [&] {
    valid = channels.tail();
    width = channels.vectorWidth(valid);
    body();
  };
  if (channels.tail() == 0)
    return full();
  if (!channels.hasFullBlock())
    return partial();
  math.branch(math.compare(arith::CmpIPredicate::ne, blockOfGroup,
                           math.constant(channels.blocksPerGroup() - 1)),
              full, partial);
}

void Tiler::unrolledRow() {
  int64_t pixels = op.getPlan().getPixels();
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
  int64_t pixels = op.getPlan().getPixels(), step = row.getInputStep();
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
  TileOp::create(
      b, op.getLoc(), op.getInput(), inputAt, op.getFilter(), filterAt, bias,
      op.getResidual(), op.getOutput(), outputAt, ranges, liveRows,
      live ? liveFirst : Value(), live ? liveLast : Value(),
      merged ? firstLane : Value(), numbers, space.channels.lanes, pixels,
      width, valid, op.getPlan().getUnroll(), row.getInputStep(), row.getStep(),
      acrossGroups ? space.channels.perGroup : 1,
      b.getDenseI64ArrayAttr(inputSteps), b.getDenseI64ArrayAttr(filterSteps),
      tapPixels ? b.getDenseI64ArrayAttr(*tapPixels) : DenseI64ArrayAttr(),
      merged, merged ? b.getI64IntegerAttr(space.channels.perGroup) : nullptr,
      clipped, active, storesWholeLines(), op.getEpilogueAttr());
}

struct ConvTilePass : convjit::impl::ConvTileBase<ConvTilePass> {
  void runOnOperation() override {
    SmallVector<PhasesOp> ops;
    getOperation().walk([&](PhasesOp op) { ops.push_back(op); });
    for (PhasesOp op : ops) {
      if (!op.getPacked() || !op.getFirstTask()) {
        op.emitOpError("valid: a packed filter and a range of tasks");
        return signalPassFailure();
      }
      auto func = op->getParentOfType<func::FuncOp>();
      func->setAttr("conv.tasks_per_image",
                    IntegerAttr::get(IntegerType::get(op.getContext(), 64),
                                     taskSpace(op).tasksPerImage()));
      OpBuilder builder(op);
      Tiler(op, builder).run();
      op.erase();
    }
  }
};

} // namespace
