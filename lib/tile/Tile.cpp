//===- Tile.cpp - phases to tasks and register tiles -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Passes.h"
#include "outer/OuterProducts.h"
#include "outer/TileOuter.h"
#include "support/Views.h"
#include "tile/Tiler.h"

namespace convjit {
#define GEN_PASS_DEF_CONVTILE
#include "Passes.h.inc"
} // namespace convjit

using namespace mlir;
using namespace convjit;
using namespace convjit::conv;

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
    auto rowDigits = [&] {
      chunk = math.takeDigit(rest, space.chunks);
      if (op.getPlanAttr().getStrip() && rank == 3)
        return takeStrips(rest, q);
      for (int64_t dim = rank - 2; dim >= 0; --dim)
        q[dim] = math.takeDigit(rest, space.rows(dim));
    };
    auto phases = [&] {
      for (int64_t dim = rank - 2; dim >= 0; --dim)
        r[dim] = math.takeDigit(rest, space.phases(dim));
    };
    auto blocks = [&] { block = math.takeDigit(rest, channels.blocks()); };
    auto imageDigit = [&](bool outermost) {
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
    switch (op.getPlanAttr().getOrder()) {
    case Order::Filter:
      rowDigits(), imageDigit(false), phases(), blocks();
      break;
    case Order::Batch:
      imageDigit(false), rowDigits(), phases(), blocks();
      break;
    case Order::Block:
      phases(), rowDigits(), blocks(), imageDigit(true);
      break;
    case Order::Input:
      phases(), blocks(), rowDigits(), imageDigit(true);
      break;
    }
    Value outer = block;
    blockOfGroup = math.takeDigit(outer, channels.blocksPerGroup());

    filterAt[0] = block;
    filterAt[rank + 1] = filterAt[rank + 2] = zero;
    outputAt[numbers.getOutputBatch()] = image;
    Value inBatch = image, inFeature = zero, first;
    if (channels.lanes == Lanes::Groups) {
      // Lane l is output channel blockOfGroup*width + l, and lane 0 the first
      // of its group.
      inFeature = math.mul(blockOfGroup, channels.width / channels.perGroup *
                                             channelsPerGroup());
      first = math.mul(blockOfGroup, channels.width);
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
        inFeature = math.mul(outer, channelsPerGroup());
      }
    }
    inputAt[numbers.getInputBatch()] = inBatch;
    inputAt[numbers.getInputFeature()] = inFeature;
    outputAt[numbers.getOutputFeature()] = first;
    bias = op.getBias();
    if (bias && channels.phases > 1)
      bias = laneBias(outer);

    if (op.getPlanAttr().getRow() == RowForm::Images)
      imageTiles(image, [&] { rows(q, r); });
    else
      rows(q, r);
  });
}

/// Rows in strips that reach through all planes, the last perhaps narrower.
void Tiler::takeStrips(Value &rest, MutableArrayRef<Value> q) {
  Location loc = op.getLoc();
  int64_t planes = space.rows(0), rows = space.rows(1);
  int64_t strip = std::min<int64_t>(op.getPlanAttr().getStrip(), rows);
  // What is left of it is the number of the strip.
  Value at = math.takeDigit(rest, planes * rows);
  Value within = math.takeDigit(at, strip * planes);
  Value first = math.mul(at, strip);
  Value height =
      math.min(math.constant(strip), math.sub(math.constant(rows), first));
  q[0] = b.createOrFold<arith::DivUIOp>(loc, within, height);
  q[1] = math.add(first, b.createOrFold<arith::RemUIOp>(loc, within, height));
}

/// The tiles of the rows `q` of phases `r`.
void Tiler::rows(ArrayRef<Value> q, ArrayRef<Value> r) {
  outerRanges.clear();
  phaseIndices.clear();
  std::function<void(int64_t)> nest = [&](int64_t dim) {
    if (dim < rank - 1)
      return outerDimension(dim, r[dim], q[dim], [&] { nest(dim + 1); });
    channelVariants([&] {
      switch (op.getPlanAttr().getRow()) {
      case RowForm::Unrolled:
        return unrolledRow();
      case RowForm::Ranged:
        return rangedRow();
      case RowForm::Images:
        return imagesRow();
      case RowForm::Outer:
        llvm_unreachable("has a nest of its own");
      }
    });
  };
  nest(0);
}

/// Of the tasks of as many images as a tile takes, the first does the work of
/// all, so that the tasks of one image remain what they are.
void Tiler::imageTiles(Value image, llvm::function_ref<void()> body) {
  int64_t most = op.getPlanAttr().getPixels();
  using Predicate = arith::CmpIPredicate;
  Location loc = op.getLoc();
  Value count =
      memref::DimOp::create(b, loc, outputBuffer, numbers.getOutputBatch());
  auto from = [&](Value first, int64_t size) {
    inputAt[numbers.getInputBatch()] = first;
    outputAt[numbers.getOutputBatch()] = first;
    images = size;
    body();
  };
  Value place = b.createOrFold<arith::RemUIOp>(loc, image, math.constant(most));
  math.branch(math.compare(Predicate::eq, place, math.constant(0)), [&] {
    math.branch(
        math.compare(Predicate::sge, math.sub(count, image),
                     math.constant(most)),
        [&] { from(image, most); },
        [&] {
          // The last few: four at a time, two, and one.
          Value at = image;
          for (int64_t size : {4, 2}) {
            if (most <= size)
              continue;
            Value times = math.floorDiv(math.sub(count, at), size);
            Value end = math.add(at, math.mul(times, size));
            math.loop(at, end, size, [&](Value first) { from(first, size); });
            at = end;
          }
          math.loop(at, count, 1, [&](Value single) { from(single, 1); });
        });
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

int64_t Tiler::channelsPerGroup() {
  auto input = cast<MemRefType>(op.getInput().getType());
  return input.getDimSize(numbers.getInputFeature()) /
         static_cast<int64_t>(op.getFeatureGroupCount());
}

bool Tiler::storesWholeLines() {
  auto output = cast<MemRefType>(outputBuffer.getType());
  // Less than this stays in the second-level cache in any batch worth a
  // thought, unless the plan says so.
  int64_t fewBytes =
      std::min<int64_t>(int64_t(512) << 10, op.getPlanAttr().getStreamFrom());
  return imageBytes(output) >= fewBytes &&
         convjit::storesWholeLines(space.channels, numbers,
                                   output.getElementTypeBitWidth() / 8);
}

IntegerAttr Tiler::streamFrom() {
  return storesWholeLines()
             ? b.getI64IntegerAttr(op.getPlanAttr().getStreamFrom())
             : nullptr;
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

namespace {

struct ConvTilePass : convjit::impl::ConvTileBase<ConvTilePass> {
  void runOnOperation() override {
    SmallVector<PhasesOp> ops;
    getOperation().walk([&](PhasesOp op) { ops.push_back(op); });
    for (PhasesOp op : ops) {
      bool outer =
          op.getPlanAttr() && op.getPlanAttr().getRow() == RowForm::Outer;
      bool asStored =
          outer && outerLanes(op.getDimensionNumbers(), op.getPlanAttr()) !=
                       OuterLanes::Packed;
      if (op.getPacked() == asStored || !op.getFirstTask()) {
        op.emitOpError("valid: a range of tasks and a packed filter, with row "
                       "= outer and lanes of their own one that is not");
        return signalPassFailure();
      }
      auto func = op->getParentOfType<func::FuncOp>();
      OpBuilder builder(op);
      int64_t tasks = outer ? tileOuterProducts(op, builder)
                            : taskSpace(op).tasksPerImage();
      func->setAttr("conv.tasks_per_image", builder.getI64IntegerAttr(tasks));
      if (!outer)
        Tiler(op, builder).run();
      op.erase();
    }
  }
};

} // namespace
