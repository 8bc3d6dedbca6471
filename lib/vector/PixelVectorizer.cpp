//===- PixelVectorizer.cpp - taps of a row with pixels in the lanes -*- C++
//-*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "vector/PixelVectorizer.h"
#include "vector/VectorPieces.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

#include <map>

using namespace mlir;
using namespace convjit;

namespace {

/// Elements [begin, end) of one row of the input; others are never read.
class PixelRow {
public:
  PixelRow(Value input, int64_t channel, int64_t begin, int64_t end,
           int64_t step, LaneMasks &masks, OpBuilder &b, Location loc)
      : b(b), loc(loc), masks(masks), input(input), channel(channel),
        begin(begin), end(end), step(step),
        element(cast<MemRefType>(input.getType()).getElementType()),
        line(lineElements(element.getIntOrFloatBitWidth())) {}

  /// Elements from, from + step, ... of which [first, last) are wanted.
  Value every(int64_t from, int64_t lanes, int64_t first, int64_t last) {
    int64_t residue = from % step, at = from / step;
    return window(at, lanes, first, last,
                  [&](int64_t which) { return apart(residue, which); });
  }

private:
  /// `lanes` elements from `at` on of a sequence of lines.
  Value window(int64_t at, int64_t lanes, int64_t first, int64_t last,
               function_ref<Value(int64_t)> lineAt) {
    int64_t which = at / line, shift = at % line;
    // Lines that hold nothing wanted are as good as any other.
    Value low = shift + first < line ? lineAt(which) : Value();
    Value high = shift + last > line ? lineAt(which + 1) : Value();
    if (!low)
      low = high;
    if (!high)
      high = low;
    if (shift == 0 && lanes == line)
      return low;
    SmallVector<int64_t> order;
    for (int64_t lane = 0; lane < lanes; ++lane)
      order.push_back(shift + lane);
    // (By valignd, of two sources, 10 of these beside 10 FMAs would take 13.5
    // cycles on Zen 4; by vpermt2ps, of three, which LLVM 22 prefers for
    // floats and for integers, 18.2.)
    return vector::ShuffleOp::create(b, loc, low, high, order);
  }

  /// Line `which` of the elements residue, residue + step, ...
  Value apart(int64_t residue, int64_t which) {
    if (step == 1)
      return loaded(which);
    Value &known = apartLines[{residue, which}];
    if (known)
      return known;
    Value result;
    for (int64_t part = 0; part < step; ++part) {
      Value source = loaded(which * step + part);
      // Lanes [part, part + 1) * line / step come from this one.
      SmallVector<int64_t> order;
      for (int64_t lane = 0; lane < line; ++lane) {
        int64_t from = lane * step + residue - part * line;
        bool here = from >= 0 && from < line;
        order.push_back(here ? from : result ? line + lane : 0);
      }
      result = vector::ShuffleOp::create(b, loc, source,
                                         result ? result : source, order);
    }
    return known = result;
  }

  Value loaded(int64_t which) {
    Value &known = loadedLines[which];
    if (known)
      return known;
    auto type = VectorType::get({line}, element);
    int64_t at = which * line;
    SmallVector<bool> inside;
    for (int64_t lane = 0; lane < line; ++lane)
      inside.push_back(at + lane >= begin && at + lane < end);
    if (!llvm::is_contained(inside, true))
      return known = arith::ConstantOp::create(b, loc, b.getZeroAttr(type));
    return known = masks.load(b, loc, type, input, {index(channel), index(at)},
                              1, inside);
  }

  Value index(int64_t value) {
    return arith::ConstantIndexOp::create(b, loc, value);
  }

  OpBuilder &b;
  Location loc;
  LaneMasks &masks;
  Value input;
  int64_t channel, begin, end, step;
  Type element;
  int64_t line;
  std::map<int64_t, Value> loadedLines;
  std::map<std::pair<int64_t, int64_t>, Value> apartLines;
};

} // namespace

void convjit::vectorizePixelTaps(linalg::GenericOp op,
                                 MutableArrayRef<Value> sums,
                                 ArrayRef<LanePiece> pieces, LaneMasks &masks,
                                 OpBuilder &b) {
  Location loc = op.getLoc();
  Value weights = op.getInputs()[1];
  auto spans =
      op->getAttrOfType<DenseI64ArrayAttr>("conv.tap_pixels").asArrayRef();
  int64_t existing = op->getAttrOfType<IntegerAttr>("conv.lanes").getInt();
  auto filter = cast<MemRefType>(weights.getType());
  int64_t taps = filter.getDimSize(0), channels = filter.getDimSize(1),
          outputs = filter.getDimSize(2);
  // Loops are (c, m, j, k).
  AffineMap map = op.getIndexingMapsArray()[0];
  auto place = [&](int64_t m, int64_t j) {
    return evaluate(map, 1, {0, m, j, 0});
  };
  int64_t step = place(1, 0), tapStep = place(0, 1);
  // A row is contiguous: what lies between elements of taps exists too.
  int64_t begin = std::numeric_limits<int64_t>::max(), end = 0;
  for (int64_t tap = 0; tap < taps; ++tap)
    if (spans[2 * tap] < spans[2 * tap + 1]) {
      begin = std::min(begin, place(spans[2 * tap], tap));
      end = std::max(end, place(spans[2 * tap + 1] - 1, tap) + 1);
    }
  auto index = [&](int64_t value) -> Value {
    return arith::ConstantIndexOp::create(b, loc, value);
  };
  // One or two accumulators wait for each FMA: the taps of a row have sums of
  // their own, so that only one addition a row waits for the one before.
  // Depthwise k 5, s 2 with 28 pixels a row: 34 % of the peak, 36 %; with four
  // accumulators and three taps it was 46 %, 42 %.
  constexpr size_t fewSums = 2;
  bool apart = sums.size() <= fewSums && taps > 3;
  SmallVector<Value> totals(sums);
  if (apart)
    for (Value &sum : sums)
      sum = arith::ConstantOp::create(b, loc, b.getZeroAttr(sum.getType()));
  for (int64_t channel = 0; channel < channels; ++channel) {
    PixelRow row(op.getInputs()[0], channel, begin, end, step, masks, b, loc);
    for (int64_t tap = 0; tap < taps; ++tap) {
      int64_t first = spans[2 * tap], last = spans[2 * tap + 1];
      SmallVector<Value> x(pieces.size());
      for (auto [which, piece] : llvm::enumerate(pieces)) {
        int64_t lo = std::clamp<int64_t>(first - piece.first, 0, piece.size);
        int64_t hi = std::clamp<int64_t>(last - piece.first, 0, piece.size);
        if (lo < hi)
          x[which] =
              row.every(piece.first * step + tap * tapStep, piece.size, lo, hi);
      }
      for (int64_t c = 0; c < outputs; ++c) {
        Value weight;
        for (auto [which, piece] : llvm::enumerate(pieces)) {
          if (!x[which])
            continue;
          if (!weight)
            weight = memref::LoadOp::create(
                b, loc, weights,
                ValueRange{index(tap), index(channel), index(c)});
          auto type = cast<VectorType>(x[which].getType());
          Value factor = vector::BroadcastOp::create(b, loc, type, weight);
          Value &sum = sums[c * pieces.size() + which];
          Value next = vector::FMAOp::create(b, loc, x[which], factor, sum);
          // Pixels that exist and lack the tap keep their sums.
          SmallVector<bool> has;
          for (int64_t lane = 0; lane < piece.size; ++lane) {
            int64_t pixel = piece.first + lane;
            has.push_back(pixel >= existing ||
                          (pixel >= first && pixel < last));
          }
          sum = masks.select(b, loc, has, next, sum);
        }
      }
    }
  }
  if (apart)
    for (auto [sum, total] : llvm::zip_equal(sums, totals))
      sum = arith::AddFOp::create(b, loc, total, sum);
}
