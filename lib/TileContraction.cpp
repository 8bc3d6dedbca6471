//===- TileContraction.cpp - the contractions of one conv.tile -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "TileContraction.h"
#include "Views.h"

using namespace mlir;
using namespace convjit;
using namespace convjit::conv;

TileContraction::TileContraction(TileOp op, OpBuilder &b)
    : op(op), b(b), loc(op.getLoc()), math{b, loc},
      numbers(op.getDimensionNumbers()), rank(numbers.getRank()),
      pixels(op.getPixels()), width(op.getWidth()),
      acrossGroups(op.getLanes() == Lanes::Groups),
      lanesOfPixels(op.getLanes() == Lanes::Pixels),
      filter(cast<MemRefType>(op.getFilter().getType())),
      reduction(filter.getDimSize(rank + 1)) {}

int64_t TileContraction::distinctTaps(int64_t dim) {
  if (!op.getActive())
    return 0;
  ArrayRef<int64_t> ranges = activeRanges(dim);
  bool differ = false;
  for (size_t i = 2; i < ranges.size(); i += 2)
    differ |= ranges[i] != ranges[0] || ranges[i + 1] != ranges[1];
  return differ ? filter.getDimSize(1 + dim) : 0;
}

ArrayRef<int64_t> TileContraction::activeRanges(int64_t dim) {
  ArrayRef<int64_t> phases = *op.getMerged();
  int64_t before = 0;
  for (int64_t d = 0; d < dim; ++d)
    before += phases[d];
  return op.getActive()->slice(2 * before, 2 * phases[dim]);
}

SmallVector<bool> TileContraction::activeLanes(ArrayRef<Value> taps) {
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

bool TileContraction::channelsAfterPixels() const {
  return numbers.getInputFeature() > numbers.getInputSpatial().back();
}

Value TileContraction::inputRow(ArrayRef<Value> taps, int64_t first,
                                int64_t count, int64_t step) {
  int64_t channels =
      acrossGroups ? static_cast<int64_t>(op.getValid()) : reduction * folded;
  SmallVector<Value> at(op.getInputAt());
  for (int64_t dim = 0; dim < rank; ++dim) {
    Value &here = at[numbers.getInputSpatial()[dim]];
    here = math.add(here, math.mul(taps[dim], op.getInputTapSteps()[dim]));
  }
  int64_t row = numbers.getInputSpatial().back();
  at[row] = math.add(at[row], first * static_cast<int64_t>(op.getInputStep()));
  SmallVector<ViewAxis> axes = {{row, count, step},
                                {numbers.getInputFeature(), channels, 1}};
  if (!channelsAfterPixels())
    std::swap(axes[0], axes[1]);
  return tensorView(b, loc, op.getInput(), at, axes);
}

SmallVector<Value> TileContraction::filterAt(ArrayRef<Value> taps) {
  SmallVector<Value> at(op.getFilterAt());
  for (int64_t dim = 0; dim < rank; ++dim)
    at[1 + dim] =
        math.add(at[1 + dim], math.mul(taps[dim], op.getFilterTapSteps()[dim]));
  return at;
}

Value TileContraction::filterRow(ArrayRef<Value> taps) {
  return tensorView(b, loc, op.getFilter(), filterAt(taps),
                    {{rank + 1, reduction * folded, 1}, {rank + 2, width, 1}});
}

std::pair<Value, Value> TileContraction::existingLanes(Value weights,
                                                       int64_t rows, Value sums,
                                                       int64_t count) {
  int64_t valid = op.getValid();
  if (valid == width)
    return {weights, sums};
  OpFoldResult zero = b.getIndexAttr(0);
  return {matrixView(b, loc, weights, zero, zero, rows, valid),
          matrixView(b, loc, sums, zero, zero, count, valid)};
}

linalg::GenericOp TileContraction::contraction(Value input, Value weights,
                                               Value sums, Value at,
                                               int64_t count,
                                               int64_t channels) {
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
    input = pixelsFirst ? matrixView(b, loc, input, zero, at, count, channels)
                        : matrixView(b, loc, input, at, zero, channels, count);
    weights = matrixView(b, loc, weights, at, zero, channels, width);
  }
  return contract(input, weights, sums, inputExprs, {k, n});
}

int64_t TileContraction::pixelSpan() {
  return (pixels - 1) * static_cast<int64_t>(op.getInputStep()) + 1;
}

linalg::GenericOp TileContraction::pixelContraction(Value input, Value weights,
                                                    Value at,
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

linalg::GenericOp TileContraction::contract(Value input, Value weights,
                                            Value sums,
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
