//===- ToLinalg.cpp - register tiles to loops over taps around linalg -*- C++
//-*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Passes.h"
#include "geometry/Geometry.h"
#include "pack/LowerPackFilter.h"
#include "support/IndexMath.h"
#include "support/Views.h"
#include "tile/Epilogue.h"
#include "tile/TileContraction.h"

namespace convjit {
#define GEN_PASS_DEF_CONVTOLINALG
#include "Passes.h.inc"
} // namespace convjit

using namespace mlir;
using namespace convjit;
using namespace convjit::conv;

namespace {

/// Taps of a row up to which they share one body.
constexpr int64_t maxUnrolledTaps = 16;

/// Expands one conv.tile.
class TileExpander : TileContraction {
public:
  using TileContraction::TileContraction;

  void run() {
    auto func = op->getParentOfType<func::FuncOp>();
    {
      OpBuilder::InsertionGuard guard(b);
      b.setInsertionPointToStart(&func.getBody().front());
      auto valid = static_cast<int64_t>(op.getValid());
      SmallVector<int64_t> shape = {pixels, width};
      if (lanesOfPixels)
        shape = {valid, lanePixels};
      if (lanesOfReduction)
        shape.push_back(op.getUnroll());
      accumulators = memref::AllocaOp::create(
          b, loc, MemRefType::get(shape, filter.getElementType()));
    }
    // A line: one vector of the widest, two of the next.
    constexpr int64_t pieceBits = 512;
    bool shuffles = acrossGroups && (reduction > 1 || *op.getChannels() > 1);
    if ((op.getActive() && !lanesOfReduction) || lanesOfPixels || shuffles)
      accumulators.getDefiningOp()->setAttr(
          "conv.piece",
          b.getI64IntegerAttr(pieceBits / filter.getElementTypeBitWidth()));
    Value zero = arith::ConstantOp::create(
        b, loc, b.getZeroAttr(filter.getElementType()));
    linalg::FillOp::create(b, loc, zero, accumulators);
    SmallVector<Value> taps;
    if (op.getLive())
      liveTaps();
    else
      denseTaps(taps);
    if (!lanesOfReduction)
      return storeTile(op, accumulators, lanesOfPixels, b);
    bool transposed = width == 1 && !op.getMerged() && pixelsAreNeighbours();
    storeTile(op, addLanes(transposed), transposed, b);
  }

private:
  /// Loops over the ranged dimensions, then over the innermost one's taps with
  /// their pixels.
  void denseTaps(SmallVector<Value> &taps) {
    size_t dim = taps.size();
    if (static_cast<int64_t>(dim) == rank - 1)
      if (std::optional<SmallVector<int64_t>> spans = rowTapsAtOnce())
        return rowTaps(taps, *spans);
    if (static_cast<int64_t>(dim) == rank - 1 && foldsRowTaps())
      return foldedTaps(taps, 0,
                        *getConstantIntValue(op.getTapRanges().back()));
    if (2 * dim < op.getTapRanges().size()) {
      auto tap = [&](Value j) {
        taps.push_back(j);
        denseTaps(taps);
        taps.pop_back();
      };
      // Where phases differ in their taps, each tap has its own lanes.
      if (int64_t count = distinctTaps(dim)) {
        for (int64_t j = 0; j < count; ++j) {
          Value here = math.constant(j);
          using Predicate = arith::CmpIPredicate;
          Value above =
              math.compare(Predicate::sge, here, op.getTapRanges()[2 * dim]);
          Value below = math.compare(Predicate::slt, here,
                                     op.getTapRanges()[2 * dim + 1]);
          math.branch(math.both(above, below), [&] { tap(here); });
        }
        return;
      }
      Value lo = op.getTapRanges()[2 * dim],
            hi = op.getTapRanges()[2 * dim + 1];
      std::optional<int64_t> last = getConstantIntValue(hi);
      // Few channels leave a loop over taps with little else in it.
      if (lanesOfPixels && static_cast<int64_t>(dim) == rank - 1 &&
          getConstantIntValue(lo) == 0 && last && *last <= maxUnrolledTaps &&
          reduction <= maxUnrolledChannels)
        for (int64_t j = 0; j < *last; ++j)
          tap(math.constant(j));
      else
        math.loop(lo, hi, 1, tap);
      return;
    }
    Value begin = math.constant(0), end = math.constant(reduction);
    if (static_cast<int64_t>(dim) == rank)
      return takesRowTaps() ? rowTaps(taps, {0, pixels})
                            : oneTap(taps, 0, pixels, begin, end);
    ArrayRef<int64_t> spans = *op.getTapPixels();
    size_t count = spans.size() / 2, next = 0;
    for (size_t j = 0; j < count; j = next) {
      next = j + 1;
      if (spans[2 * j] == spans[2 * j + 1])
        continue;
      // Taps that all pixels have are a loop as in other tiles. One by one,
      // elements that two of them read would be kept in registers, in place of
      // sums: 1 to 56 channels, k 9 s 3, 30 pixels 76 % of the peak.
      while (!takesRowTaps() && !distinctTaps(rank - 1) && isWhole(spans, j) &&
             next < count && isWhole(spans, next))
        ++next;
      if (next - j > 1) {
        wholeTaps(taps, j, next);
        continue;
      }
      taps.push_back(math.constant(j));
      if (takesRowTaps())
        rowTaps(taps, spans.slice(2 * j, 2));
      else
        oneTap(taps, spans[2 * j], spans[2 * j + 1], begin, end);
      taps.pop_back();
    }
  }

  /// Whether all pixels of the tile have tap j.
  bool isWhole(ArrayRef<int64_t> spans, size_t j) {
    return spans[2 * j] == 0 && spans[2 * j + 1] == pixels;
  }

  /// The row's taps [from, to), which all pixels have.
  void wholeTaps(SmallVector<Value> &taps, int64_t from, int64_t to) {
    if (rowTapsFollow())
      return foldedTaps(taps, from, to);
    math.loop(math.constant(from), math.constant(to), 1, [&](Value j) {
      taps.push_back(j);
      oneTap(taps, 0, pixels, math.constant(0), math.constant(reduction));
      taps.pop_back();
    });
  }

  /// The same as one reduction.
  void foldedTaps(SmallVector<Value> &taps, int64_t from, int64_t to) {
    folded = to - from;
    taps.push_back(math.constant(from));
    oneTap(taps, 0, pixels, math.constant(0),
           math.constant(reduction * folded));
    taps.pop_back();
    folded = 1;
  }

  /// Whether taps of the row and channels are one reduction: all pixels have
  /// all taps, and in the input and the filter they follow each other. With few
  /// channels there is little else in a loop over taps: 1 channel and 7 taps
  /// reach half of the peak instead of a fifth.
  bool foldsRowTaps() {
    if (op.getTapPixels() || !rowTapsFollow())
      return false;
    std::optional<int64_t> taps = getConstantIntValue(op.getTapRanges().back());
    return getConstantIntValue(op.getTapRanges()[2 * (rank - 1)]) == 0 &&
           taps && *taps > 1;
  }

  bool rowTapsFollow() {
    if (op.getLanes() != Lanes::Channels || op.getImages() ||
        distinctTaps(rank - 1))
      return false;
    int64_t feature = numbers.getInputFeature();
    int64_t row = numbers.getInputSpatial().back();
    auto input = cast<MemRefType>(op.getInput().getType());
    SmallVector<int64_t> strides = stridesOf(input);
    return feature == rank + 1 && row == rank &&
           input.getDimSize(feature) == reduction && strides[feature] == 1 &&
           strides[row] == reduction && op.getInputTapSteps()[rank - 1] == 1 &&
           op.getFilterTapSteps()[rank - 1] == 1;
  }

  /// Whether a vector of input serves several taps of the row.
  bool takesRowTaps() {
    return acrossGroups || lanesOfReduction ||
           (lanesOfPixels && op.getInputStep() > 1 && !op.getMerged());
  }

  /// The pixels of each tap of the row, where one contraction takes all taps.
  std::optional<SmallVector<int64_t>> rowTapsAtOnce() {
    if (!takesRowTaps())
      return std::nullopt;
    // FMAs of a tap.
    int64_t each = lanesOfReduction ? pixels * width
                   : lanesOfPixels
                       ? width * llvm::divideCeil(pixels, 16)
                       : pixels * llvm::divideCeil(width, 16) * reduction;
    int64_t most = std::clamp<int64_t>(
        (lanesOfReduction ? maxRowFMAs : maxGroupRowFMAs) / each, 1,
        maxUnrolledTaps);
    if (op.getTapPixels() &&
        static_cast<int64_t>(op.getTapPixels()->size() / 2) <= most)
      return llvm::to_vector(*op.getTapPixels());
    if (op.getTapPixels())
      return std::nullopt;
    std::optional<int64_t> lo =
        getConstantIntValue(op.getTapRanges()[2 * (rank - 1)]);
    std::optional<int64_t> hi =
        getConstantIntValue(op.getTapRanges()[2 * (rank - 1) + 1]);
    if (!lo || !hi || *lo != 0 || *hi > most)
      return std::nullopt;
    SmallVector<int64_t> spans;
    for (int64_t tap = 0; tap < *hi; ++tap)
      spans.append({0, pixels});
    return spans;
  }

  /// The taps of the row that begin with the last of `taps`, or with 0 where
  /// that has none, as one contraction.
  void rowTaps(SmallVector<Value> taps, ArrayRef<int64_t> spans) {
    if (spans.empty())
      return;
    taps.resize(rank, math.constant(0));
    if (lanesOfReduction)
      reductionTaps(taps, spans);
    else if (lanesOfPixels)
      math.loop(math.constant(0), math.constant(reduction), 1, [&](Value at) {
        if (op.getInputAhead()) {
          auto elements = pixelSpan(static_cast<int64_t>(spans.size() / 2));
          fetchPixels(inputRow(taps, 0, elements, /*step=*/1), at, 1, elements);
        }
        pixelTapsContraction(taps, spans, at);
      });
    else
      groupContraction(taps, spans);
  }

  /// The reduction over input channels in the lanes.
  void reductionTaps(ArrayRef<Value> taps, ArrayRef<int64_t> spans) {
    int64_t lanes = op.getUnroll(), whole = reduction / lanes * lanes;
    math.loop(math.constant(0), math.constant(whole), lanes,
              [&](Value at) { reductionContraction(taps, spans, at, lanes); });
    if (whole != reduction)
      reductionContraction(taps, spans, math.constant(whole),
                           reduction - whole);
  }

  /// A loop over rows of the live table; rows outside the tap ranges are
  /// skipped.
  void liveTaps() {
    math.loop(op.getLiveFirst(), op.getLiveLast(), 1, [&](Value entry) {
      SmallVector<Value> fields;
      for (int64_t column = 0; column < rank + 2; ++column)
        fields.push_back(memref::LoadOp::create(
            b, loc, op.getLive(), ValueRange{entry, math.constant(column)}));
      Value inside;
      for (int64_t dim = 0; dim < rank; ++dim)
        for (bool upper : {false, true}) {
          inside = math.both(inside,
                             math.compare(upper ? arith::CmpIPredicate::slt
                                                : arith::CmpIPredicate::sge,
                                          fields[dim],
                                          op.getTapRanges()[2 * dim + upper]));
        }
      math.branch(inside, [&] {
        oneTap(ArrayRef(fields).take_front(rank), 0, pixels, fields[rank],
               fields[rank + 1]);
      });
    });
  }

  /// The reduction over channels [begin, end) for tap `taps` and the pixels
  /// [first, last) of the tile.
  void oneTap(ArrayRef<Value> taps, int64_t first, int64_t last, Value begin,
              Value end) {
    if (acrossGroups)
      return rowTaps(llvm::to_vector(taps), {first, last});
    int64_t count = last - first;
    SmallVector<bool> active = activeLanes(taps);
    if (!active.empty() &&
        llvm::none_of(active, [](bool lane) { return lane; }))
      return;
    Value input = lanesOfPixels
                      ? inputRow(taps, 0, pixelSpan(), 1)
                      : inputRow(taps, first, count, op.getInputStep());
    Value weights = filterRow(taps);
    Value sums = accumulators;
    if (!lanesOfPixels && count != pixels)
      sums = matrixView(b, loc, accumulators, b.getIndexAttr(first),
                        b.getIndexAttr(0), count, width);
    auto contract = [&](Value at, int64_t channels) {
      if (lanesOfPixels) {
        auto generic = pixelContraction(input, weights, at, channels);
        if (count != pixels)
          generic->setAttr("conv.lane_span",
                           b.getDenseI64ArrayAttr({first, last}));
        else if (lanePixels != pixels)
          generic->setAttr("conv.lanes", b.getI64IntegerAttr(pixels));
        if (!active.empty())
          generic->setAttr("conv.active_rows", b.getDenseBoolArrayAttr(active));
        return;
      }
      auto generic = contraction(input, weights, sums, at, count, channels);
      if (!active.empty())
        generic->setAttr("conv.active", b.getDenseBoolArrayAttr(active));
    };
    auto fetch = [&](Value at, int64_t channels) {
      fetchWeights(weights, at, channels);
      fetchPixels(input, at, channels, lanesOfPixels ? pixelSpan() : count);
    };
    std::optional<int64_t> lo = getConstantIntValue(begin);
    std::optional<int64_t> hi = getConstantIntValue(end);
    int64_t unroll = op.getUnroll();
    if (lo && hi) {
      // Of taps that are spelled out, LLVM would keep the elements that several
      // pixels read in registers, and spill them; in loops it does not see
      // them. 4 channels to 4, k 3 in 3-D, fold = 4: 12.5 ms as one body.
      int64_t elementBits = filter.getElementTypeBitWidth();
      bool overlap =
          distinctTaps(rank - 1) > static_cast<int64_t>(op.getInputStep());
      // Neither where so many elements serve several vectors that they fill
      // half of the registers: the scheduler loads them first. 4 channels to
      // 32, k 4 s 2, 6 pixels, at 24 x 24 x 24: 2.43 ms as one body.
      constexpr int64_t manyElements = 16;
      bool many = !lanesOfPixels && width > lineElements(elementBits) &&
                  count * (*hi - *lo) > manyElements;
      int64_t most =
          overlap || many ? unroll : std::max(maxUnrolledChannels, unroll);
      if (*hi - *lo <= most) {
        if (*hi > *lo)
          contract(begin, *hi - *lo);
        return;
      }
      int64_t whole = (*hi - *lo) / unroll * unroll;
      math.loop(begin, math.constant(*lo + whole), unroll, [&](Value at) {
        fetch(at, unroll);
        contract(at, unroll);
      });
      if (*hi - *lo > whole)
        contract(math.constant(*lo + whole), *hi - *lo - whole);
      return;
    }
    Value whole = math.add(
        begin, math.mul(math.floorDiv(math.sub(end, begin), unroll), unroll));
    math.loop(begin, whole, unroll, [&](Value at) {
      fetch(at, unroll);
      contract(at, unroll);
    });
    if (unroll > 1)
      math.loop(whole, end, 1, [&](Value at) { contract(at, 1); });
  }
};

struct ConvToLinalgPass : convjit::impl::ConvToLinalgBase<ConvToLinalgPass> {
  void runOnOperation() override {
    SmallVector<Operation *> ops;
    getOperation().walk([&](Operation *op) {
      if (isa<TileOp, PackFilterOp>(op))
        ops.push_back(op);
    });
    for (Operation *op : ops) {
      OpBuilder builder(op);
      if (auto tile = dyn_cast<TileOp>(op))
        TileExpander(tile, builder).run();
      else if (failed(packParts(cast<PackFilterOp>(op), builder)))
        return signalPassFailure();
      op->erase();
    }
  }

  /// The function gets two arguments: which part it packs, of how many.
  static LogicalResult packParts(PackFilterOp op, OpBuilder &b) {
    auto func = op->getParentOfType<func::FuncOp>();
    SmallVector<Value> range;
    for (int i = 0; i < 2; ++i) {
      unsigned at = func.getNumArguments();
      if (failed(func.insertArgument(at, b.getIndexType(), {}, op.getLoc())))
        return failure();
      range.push_back(func.getArgument(at));
    }
    return lowerPackFilter(op, b, range[0], range[1]);
  }
};

} // namespace
