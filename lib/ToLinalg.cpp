//===- ToLinalg.cpp - register tiles to loops over taps around linalg -*- C++
//-*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Epilogue.h"
#include "Geometry.h"
#include "IndexMath.h"
#include "LowerPackFilter.h"
#include "Passes.h"
#include "Views.h"

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
class TileExpander {
public:
  TileExpander(TileOp op, OpBuilder &b)
      : op(op), b(b), loc(op.getLoc()), math{b, loc},
        numbers(op.getDimensionNumbers()), rank(numbers.getRank()),
        pixels(op.getPixels()), width(op.getWidth()),
        acrossGroups(op.getLanes() == Lanes::Groups),
        lanesOfPixels(op.getLanes() == Lanes::Pixels),
        filter(cast<MemRefType>(op.getFilter().getType())),
        reduction(filter.getDimSize(rank + 1)) {}

  void run() {
    auto func = op->getParentOfType<func::FuncOp>();
    {
      OpBuilder::InsertionGuard guard(b);
      b.setInsertionPointToStart(&func.getBody().front());
      auto valid = static_cast<int64_t>(op.getValid());
      SmallVector<int64_t> shape = {pixels, width};
      if (lanesOfPixels)
        shape = {valid, pixels};
      accumulators = memref::AllocaOp::create(
          b, loc, MemRefType::get(shape, filter.getElementType()));
    }
    // A line: one vector of the widest, two of the next.
    constexpr int64_t pieceBits = 512;
    if (op.getActive() || lanesOfPixels)
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
    storeTile(op, accumulators, b);
  }

private:
  /// Loops over the ranged dimensions, then over the innermost one's taps with
  /// their pixels.
  void denseTaps(SmallVector<Value> &taps) {
    size_t dim = taps.size();
    if (static_cast<int64_t>(dim) == rank - 1)
      if (std::optional<SmallVector<int64_t>> spans = rowTapsAtOnce())
        return rowTaps(taps, *spans);
    if (static_cast<int64_t>(dim) == rank - 1 && foldsRowTaps()) {
      folded = *getConstantIntValue(op.getTapRanges().back());
      taps.push_back(math.constant(0));
      oneTap(taps, 0, pixels, math.constant(0),
             math.constant(reduction * folded));
      taps.pop_back();
      folded = 1;
      return;
    }
    if (2 * dim < op.getTapRanges().size()) {
      // Where phases differ in their taps, each tap has its own lanes.
      if (int64_t count = distinctTaps(dim)) {
        for (int64_t j = 0; j < count; ++j) {
          Value tap = math.constant(j);
          using Predicate = arith::CmpIPredicate;
          Value above =
              math.compare(Predicate::sge, tap, op.getTapRanges()[2 * dim]);
          Value below =
              math.compare(Predicate::slt, tap, op.getTapRanges()[2 * dim + 1]);
          math.branch(b.createOrFold<arith::AndIOp>(loc, above, below), [&] {
            taps.push_back(tap);
            denseTaps(taps);
            taps.pop_back();
          });
        }
        return;
      }
      auto tap = [&](Value j) {
        taps.push_back(j);
        denseTaps(taps);
        taps.pop_back();
      };
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
      return oneTap(taps, 0, pixels, begin, end);
    ArrayRef<int64_t> spans = *op.getTapPixels();
    for (size_t j = 0; 2 * j < spans.size(); ++j) {
      if (spans[2 * j] == spans[2 * j + 1])
        continue;
      taps.push_back(math.constant(j));
      oneTap(taps, spans[2 * j], spans[2 * j + 1], begin, end);
      taps.pop_back();
    }
  }

  /// Whether taps of the row and channels are one reduction: all pixels have
  /// all taps, and in the input and the filter they follow each other. With few
  /// channels there is little else in a loop over taps: 1 channel and 7 taps
  /// reach half of the peak instead of a fifth.
  bool foldsRowTaps() {
    if (op.getTapPixels() || acrossGroups || lanesOfPixels ||
        distinctTaps(rank - 1))
      return false;
    std::optional<int64_t> taps = getConstantIntValue(op.getTapRanges().back());
    int64_t feature = numbers.getInputFeature();
    int64_t row = numbers.getInputSpatial().back();
    return getConstantIntValue(op.getTapRanges()[2 * (rank - 1)]) == 0 &&
           taps && *taps > 1 && feature == rank + 1 && row == rank &&
           cast<MemRefType>(op.getInput().getType()).getDimSize(feature) ==
               reduction &&
           op.getInputTapSteps()[rank - 1] == 1 &&
           op.getFilterTapSteps()[rank - 1] == 1;
  }

  /// The pixels of each tap of the row, where one contraction takes all taps:
  /// lanes are groups, so that each input vector serves several of them.
  std::optional<SmallVector<int64_t>> rowTapsAtOnce() {
    if (!acrossGroups)
      return std::nullopt;
    if (op.getTapPixels())
      return llvm::to_vector(*op.getTapPixels());
    std::optional<int64_t> lo =
        getConstantIntValue(op.getTapRanges()[2 * (rank - 1)]);
    std::optional<int64_t> hi =
        getConstantIntValue(op.getTapRanges()[2 * (rank - 1) + 1]);
    if (!lo || !hi || *lo != 0 || *hi > maxUnrolledTaps)
      return std::nullopt;
    SmallVector<int64_t> spans;
    for (int64_t tap = 0; tap < *hi; ++tap)
      spans.append({0, pixels});
    return spans;
  }

  /// sums(m, n) += input(m * step + j * tap_step, n) * weights(j, n) for all
  /// taps j of the row and the pixels m that have them.
  void rowTaps(SmallVector<Value> &taps, ArrayRef<int64_t> spans) {
    auto count = static_cast<int64_t>(spans.size() / 2);
    if (count == 0)
      return;
    int64_t step = op.getInputStep();
    int64_t tapStep = op.getInputTapSteps()[rank - 1];
    taps.push_back(math.constant(0));
    Value input =
        inputRow(taps, 0, (pixels - 1) * step + (count - 1) * tapStep + 1,
                 /*step=*/1);
    SmallVector<Value> at = filterAt(taps);
    taps.pop_back();
    Value weights = tensorView(b, loc, op.getFilter(), at,
                               {{rank, count, op.getFilterTapSteps()[rank - 1]},
                                {rank + 2, width, 1}});
    auto [lanes, sums] = existingLanes(weights, count, accumulators, pixels);
    AffineExpr m, n, j;
    bindDims(b.getContext(), m, n, j);
    auto generic =
        contract(input, lanes, sums, {m * step + j * tapStep, n}, {j, n});
    generic->setAttr("conv.tap_pixels", b.getDenseI64ArrayAttr(spans));
  }

  /// The number of taps of a dimension whose phases differ in theirs, else 0.
  int64_t distinctTaps(int64_t dim) {
    if (!op.getActive())
      return 0;
    ArrayRef<int64_t> ranges = activeRanges(dim);
    bool differ = false;
    for (size_t i = 2; i < ranges.size(); i += 2)
      differ |= ranges[i] != ranges[0] || ranges[i + 1] != ranges[1];
    return differ ? filter.getDimSize(1 + dim) : 0;
  }

  /// [lo, hi) for each phase of a dimension.
  ArrayRef<int64_t> activeRanges(int64_t dim) {
    ArrayRef<int64_t> phases = *op.getMerged();
    int64_t before = 0;
    for (int64_t d = 0; d < dim; ++d)
      before += phases[d];
    return op.getActive()->slice(2 * before, 2 * phases[dim]);
  }

  /// Which lanes have tap `taps`; none listed if all.
  SmallVector<bool> activeLanes(ArrayRef<Value> taps) {
    if (!op.getActive())
      return {};
    ArrayRef<int64_t> phases = *op.getMerged();
    SmallVector<bool> active(width, true);
    int64_t channels = *op.getChannels();
    for (int64_t lane = 0; lane < width; ++lane) {
      int64_t rest = lane / channels;
      for (int64_t dim = rank - 1; dim >= 0; --dim) {
        int64_t phase = rest % phases[dim];
        rest /= phases[dim];
        std::optional<int64_t> tap = getConstantIntValue(taps[dim]);
        if (!distinctTaps(dim) || !tap)
          continue;
        ArrayRef<int64_t> range = activeRanges(dim).slice(2 * phase, 2);
        active[lane] &= range[0] <= *tap && *tap < range[1];
      }
    }
    if (llvm::all_of(active, [](bool lane) { return lane; }))
      return {};
    return active;
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
          Value test = math.compare(
              upper ? arith::CmpIPredicate::slt : arith::CmpIPredicate::sge,
              fields[dim], op.getTapRanges()[2 * dim + upper]);
          inside =
              inside ? b.createOrFold<arith::AndIOp>(loc, inside, test) : test;
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
        return;
      }
      auto generic = contraction(input, weights, sums, at, count, channels);
      if (!active.empty())
        generic->setAttr("conv.active", b.getDenseBoolArrayAttr(active));
    };
    std::optional<int64_t> lo = getConstantIntValue(begin);
    std::optional<int64_t> hi = getConstantIntValue(end);
    int64_t unroll = op.getUnroll();
    if (lo && hi) {
      if (*hi - *lo <= std::max(maxUnrolledChannels, unroll)) {
        if (*hi > *lo)
          contract(begin, *hi - *lo);
        return;
      }
      int64_t whole = (*hi - *lo) / unroll * unroll;
      math.loop(begin, math.constant(*lo + whole), unroll,
                [&](Value at) { contract(at, unroll); });
      if (*hi - *lo > whole)
        contract(math.constant(*lo + whole), *hi - *lo - whole);
      return;
    }
    Value whole = math.add(
        begin, math.mul(math.floorDiv(math.sub(end, begin), unroll), unroll));
    math.loop(begin, whole, unroll, [&](Value at) { contract(at, unroll); });
    if (unroll > 1)
      math.loop(whole, end, 1, [&](Value at) { contract(at, 1); });
  }

  bool channelsAfterPixels() const {
    return numbers.getInputFeature() > numbers.getInputSpatial().back();
  }

  /// The input elements of one tap: (pixels, channels), or the reverse where
  /// the channels' axis comes first. With lanes across groups, channels are the
  /// lanes.
  Value inputRow(ArrayRef<Value> taps, int64_t first, int64_t count,
                 int64_t step) {
    int64_t channels =
        acrossGroups ? static_cast<int64_t>(op.getValid()) : reduction * folded;
    SmallVector<Value> at(op.getInputAt());
    for (int64_t dim = 0; dim < rank; ++dim) {
      Value &here = at[numbers.getInputSpatial()[dim]];
      here = math.add(here, math.mul(taps[dim], op.getInputTapSteps()[dim]));
    }
    int64_t row = numbers.getInputSpatial().back();
    at[row] =
        math.add(at[row], first * static_cast<int64_t>(op.getInputStep()));
    SmallVector<ViewAxis> axes = {{row, count, step},
                                  {numbers.getInputFeature(), channels, 1}};
    if (!channelsAfterPixels())
      std::swap(axes[0], axes[1]);
    return tensorView(b, loc, op.getInput(), at, axes);
  }

  /// Where the weights of one tap start.
  SmallVector<Value> filterAt(ArrayRef<Value> taps) {
    SmallVector<Value> at(op.getFilterAt());
    for (int64_t dim = 0; dim < rank; ++dim)
      at[1 + dim] = math.add(at[1 + dim],
                             math.mul(taps[dim], op.getFilterTapSteps()[dim]));
    return at;
  }

  /// The weights of one tap: (channels, lanes).
  Value filterRow(ArrayRef<Value> taps) {
    return tensorView(
        b, loc, op.getFilter(), filterAt(taps),
        {{rank + 1, reduction * folded, 1}, {rank + 2, width, 1}});
  }

  /// Weights and sums without the lanes that do not exist, which are not read.
  std::pair<Value, Value> existingLanes(Value weights, int64_t rows, Value sums,
                                        int64_t count) {
    int64_t valid = op.getValid();
    if (valid == width)
      return {weights, sums};
    OpFoldResult zero = b.getIndexAttr(0);
    return {matrixView(b, loc, weights, zero, zero, rows, valid),
            matrixView(b, loc, sums, zero, zero, count, valid)};
  }

  /// sums(m, n) += input(m, k) * weights(k, n) for k in [at, at + channels);
  /// across groups sums(m, n) += input(m, n) * weights(0, n).
  linalg::GenericOp contraction(Value input, Value weights, Value sums,
                                Value at, int64_t count, int64_t channels) {
    AffineExpr m, n, k;
    bindDims(b.getContext(), m, n, k);
    bool pixelsFirst = channelsAfterPixels();
    SmallVector<AffineExpr> inputExprs = {m, acrossGroups ? n : k};
    if (!pixelsFirst)
      std::swap(inputExprs[0], inputExprs[1]);
    if (acrossGroups) {
      std::tie(weights, sums) = existingLanes(weights, 1, sums, count);
    } else if (channels != reduction * folded) {
      OpFoldResult zero = b.getIndexAttr(0);
      input = pixelsFirst
                  ? matrixView(b, loc, input, zero, at, count, channels)
                  : matrixView(b, loc, input, at, zero, channels, count);
      weights = matrixView(b, loc, weights, at, zero, channels, width);
    }
    return contract(input, weights, sums, inputExprs, {k, n});
  }

  /// Elements of the row from the first pixel's to the last one's.
  int64_t pixelSpan() {
    return (pixels - 1) * static_cast<int64_t>(op.getInputStep()) + 1;
  }

  /// sums(c, m) += weights(k, c) * input(k, m * step) for k in [at, at +
  /// channels).
  linalg::GenericOp pixelContraction(Value input, Value weights, Value at,
                                     int64_t channels) {
    OpFoldResult zero = b.getIndexAttr(0);
    if (channels != reduction)
      input = matrixView(b, loc, input, at, zero, channels, pixelSpan());
    weights = matrixView(b, loc, weights, at, zero, channels, op.getValid());
    AffineExpr c, m, k;
    bindDims(b.getContext(), c, m, k);
    auto step = static_cast<int64_t>(op.getInputStep());
    return contract(weights, input, accumulators, {k, c}, {k, m * step});
  }

  /// sums(d0, d1) += input * weights over loops (d0, d1, reduction d2).
  linalg::GenericOp contract(Value input, Value weights, Value sums,
                             ArrayRef<AffineExpr> inputExprs,
                             ArrayRef<AffineExpr> weightExprs) {
    MLIRContext *context = b.getContext();
    AffineExpr m, n;
    bindDims(context, m, n);
    auto map = [&](ArrayRef<AffineExpr> exprs) {
      return AffineMap::get(3, 0, exprs, context);
    };
    using utils::IteratorType;
    return linalg::GenericOp::create(
        b, loc, TypeRange(), ValueRange{input, weights}, ValueRange{sums},
        ArrayRef{map(inputExprs), map(weightExprs), map({m, n})},
        ArrayRef{IteratorType::parallel, IteratorType::parallel,
                 IteratorType::reduction},
        [](OpBuilder &b, Location loc, ValueRange args) {
          Value product = arith::MulFOp::create(b, loc, args[0], args[1]);
          Value sum = arith::AddFOp::create(b, loc, args[2], product);
          linalg::YieldOp::create(b, loc, sum);
        });
  }

  TileOp op;
  OpBuilder &b;
  Location loc;
  IndexMath math;
  DimensionNumbersAttr numbers;
  int64_t rank, pixels, width;
  bool acrossGroups, lanesOfPixels;
  MemRefType filter;
  int64_t reduction;
  int64_t folded = 1; ///< taps of the row that the reduction takes in
  Value accumulators;
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
      else if (failed(lowerPackFilter(cast<PackFilterOp>(op), builder)))
        return signalPassFailure();
      op->erase();
    }
  }
};

} // namespace
