//===- TileContraction.cpp - the contractions of one conv.tile -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "tile/TileContraction.h"
#include "support/Views.h"

using namespace mlir;
using namespace convjit;
using namespace convjit::conv;

TileContraction::TileContraction(TileOp op, OpBuilder &b)
    : op(op), b(b), loc(op.getLoc()), math{b, loc},
      numbers(op.getDimensionNumbers()), rank(numbers.getRank()),
      pixels(op.getPixels()), width(op.getWidth()),
      acrossGroups(op.getLanes() == Lanes::Groups),
      lanesOfPixels(op.getLanes() == Lanes::Pixels),
      lanesOfReduction(op.getLanes() == Lanes::Reduction),
      filter(cast<MemRefType>(op.getFilter().getType())),
      reduction(lanesOfReduction ? static_cast<int64_t>(*op.getReduction())
                                 : filter.getDimSize(rank + 1)) {
  // Rows end in one vector that is masked, or read in parts, not in powers of
  // two. 64 to 16 channels, k 1, rows of 7 pixels 23 GFLOP/s and 79, 64 to 12
  // at 14 62 and 97, 64 to 6 at 31 64 and 86.
  lanePixels = lanesOfPixels
                   ? paddedPixels(pixels, filter.getElementTypeBitWidth())
                   : pixels;
}

static void multiplyAdd(OpBuilder &b, Location loc, ValueRange args) {
  Value product = arith::MulFOp::create(b, loc, args[0], args[1]);
  Value sum = arith::AddFOp::create(b, loc, args[2], product);
  linalg::YieldOp::create(b, loc, sum);
}

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

bool TileContraction::channelsAfterPixels() {
  return numbers.getInputFeature() > pixelAxis();
}

Value TileContraction::inputRow(ArrayRef<Value> taps, int64_t first,
                                int64_t count, int64_t step) {
  int64_t channels = reduction * folded;
  if (acrossGroups)
    channels *= llvm::divideCeil(op.getValid(), *op.getChannels());
  SmallVector<Value> at(op.getInputAt());
  for (int64_t dim = 0; dim < rank; ++dim) {
    Value &here = at[numbers.getInputSpatial()[dim]];
    here = math.add(here, math.mul(taps[dim], op.getInputTapSteps()[dim]));
  }
  int64_t row = pixelAxis();
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

linalg::GenericOp TileContraction::contraction(Value input, Value weights,
                                               Value sums, Value at,
                                               int64_t count,
                                               int64_t channels) {
  AffineExpr m, n, k;
  bindDims(b.getContext(), m, n, k);
  bool pixelsFirst = channelsAfterPixels();
  SmallVector<AffineExpr> inputExprs = {m, k};
  if (!pixelsFirst)
    std::swap(inputExprs[0], inputExprs[1]);
  if (channels != reduction * folded) {
    OpFoldResult zero = b.getIndexAttr(0);
    input = pixelsFirst ? matrixView(b, loc, input, zero, at, count, channels)
                        : matrixView(b, loc, input, at, zero, channels, count);
    weights = matrixView(b, loc, weights, at, zero, channels, width);
  }
  return contract(input, weights, sums, inputExprs, {k, n});
}

void TileContraction::groupContraction(ArrayRef<Value> taps,
                                       ArrayRef<int64_t> spans) {
  MLIRContext *context = b.getContext();
  auto count = static_cast<int64_t>(spans.size() / 2);
  int64_t step = op.getInputStep(), valid = op.getValid();
  int64_t tapStep = op.getInputTapSteps()[rank - 1];
  Value input =
      inputRow(taps, 0, (pixels - 1) * step + (count - 1) * tapStep + 1,
               /*step=*/1);
  // Lanes that do not exist are not read.
  Value weights = tensorView(b, loc, op.getFilter(), filterAt(taps),
                             {{rank, count, op.getFilterTapSteps()[rank - 1]},
                              {rank + 1, reduction, 1},
                              {rank + 2, valid, 1}});
  Value sums = accumulators;
  if (valid != width)
    sums = matrixView(b, loc, sums, b.getIndexAttr(0), b.getIndexAttr(0),
                      pixels, valid);
  AffineExpr m, n, j, i;
  bindDims(context, m, n, j, i);
  AffineExpr source =
      n.floorDiv(static_cast<int64_t>(*op.getChannels())) * reduction + i;
  using utils::IteratorType;
  auto generic = linalg::GenericOp::create(
      b, loc, TypeRange(), ValueRange{input, weights}, ValueRange{sums},
      ArrayRef{AffineMap::get(4, 0, {m * step + j * tapStep, source}, context),
               AffineMap::get(4, 0, {j, i, n}, context),
               AffineMap::get(4, 0, {m, n}, context)},
      ArrayRef{IteratorType::parallel, IteratorType::parallel,
               IteratorType::reduction, IteratorType::reduction},
      multiplyAdd);
  generic->setAttr("conv.tap_pixels", b.getDenseI64ArrayAttr(spans));
}

void TileContraction::pixelTapsContraction(ArrayRef<Value> taps,
                                           ArrayRef<int64_t> spans, Value at) {
  MLIRContext *context = b.getContext();
  auto count = static_cast<int64_t>(spans.size() / 2);
  int64_t step = op.getInputStep();
  int64_t tapStep = op.getInputTapSteps()[rank - 1];
  OpFoldResult zero = b.getIndexAttr(0);
  int64_t length = (lanePixels - 1) * step + (count - 1) * tapStep + 1;
  Value input = matrixView(b, loc, inputRow(taps, 0, length, /*step=*/1), at,
                           zero, 1, length);
  SmallVector<Value> from = filterAt(taps);
  from[rank + 1] = math.add(from[rank + 1], at);
  Value weights =
      tensorView(b, loc, op.getFilter(), from,
                 {{rank, count, op.getFilterTapSteps()[rank - 1]},
                  {rank + 1, 1, 1},
                  {rank + 2, static_cast<int64_t>(op.getValid()), 1}});
  AffineExpr c, m, j, k;
  bindDims(context, c, m, j, k);
  using utils::IteratorType;
  auto generic = linalg::GenericOp::create(
      b, loc, TypeRange(), ValueRange{input, weights}, ValueRange{accumulators},
      ArrayRef{AffineMap::get(4, 0, {k, m * step + j * tapStep}, context),
               AffineMap::get(4, 0, {j, k, c}, context),
               AffineMap::get(4, 0, {c, m}, context)},
      ArrayRef{IteratorType::parallel, IteratorType::parallel,
               IteratorType::reduction, IteratorType::reduction},
      multiplyAdd);
  generic->setAttr("conv.tap_pixels", b.getDenseI64ArrayAttr(spans));
  generic->setAttr("conv.lanes", b.getI64IntegerAttr(pixels));
}

int64_t TileContraction::pixelSpan(int64_t taps) {
  return (lanePixels - 1) * static_cast<int64_t>(op.getInputStep()) +
         (taps - 1) * op.getInputTapSteps()[rank - 1] + 1;
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

void TileContraction::fetchAhead(Value rows, Value from, int64_t channels,
                                 ArrayRef<int64_t> elements) {
  constexpr int nearest = 3; // as llvm.prefetch counts
  for (int64_t channel = 0; channel < channels; ++channel)
    for (int64_t element : elements)
      memref::PrefetchOp::create(
          b, loc, rows,
          ValueRange{math.add(from, channel), math.constant(element)},
          /*isWrite=*/false, nearest, /*isDataCache=*/true);
}

void TileContraction::fetchWeights(Value weights, Value at, int64_t channels) {
  if (!op.getFilterAhead())
    return;
  SmallVector<int64_t> lanes;
  for (int64_t lane = 0; lane < width;
       lane += lineElements(filter.getElementTypeBitWidth()))
    lanes.push_back(lane);
  fetchAhead(weights, math.add(at, static_cast<int64_t>(*op.getFilterAhead())),
             channels, lanes);
}

void TileContraction::fetchPixels(Value input, Value at, int64_t channels,
                                  int64_t count) {
  if (!op.getInputAhead())
    return;
  int64_t line = lineElements(filter.getElementTypeBitWidth());
  int64_t step =
      lanesOfPixels ? line : llvm::divideCeil(line, op.getInputStep());
  SmallVector<int64_t> pixels;
  for (int64_t pixel = 0; pixel < count; pixel += step)
    pixels.push_back(pixel);
  // What begins within a line may end within one more.
  if (count > 1)
    pixels.push_back(count - 1);
  fetchAhead(input, math.add(at, static_cast<int64_t>(*op.getInputAhead())),
             channels, pixels);
}

//===----------------------------------------------------------------------===//
// Lanes of input channels
//===----------------------------------------------------------------------===//

void TileContraction::reductionContraction(ArrayRef<Value> taps,
                                           ArrayRef<int64_t> spans, Value at,
                                           int64_t channels) {
  MLIRContext *context = b.getContext();
  auto count = static_cast<int64_t>(spans.size() / 2);
  int64_t lanes = op.getUnroll(), step = op.getInputStep();
  int64_t tapStep = op.getInputTapSteps()[rank - 1];
  // Which outputs have which tap.
  SmallVector<bool> active;
  bool all = true;
  SmallVector<Value> here(taps);
  for (int64_t j = 0; j < count; ++j) {
    here.back() = math.add(taps.back(), j);
    SmallVector<bool> outputs = activeLanes(here);
    all &= outputs.empty();
    outputs.resize(width, true);
    active.append(outputs);
  }
  if (llvm::none_of(active, [](bool has) { return has; }))
    return;
  OpFoldResult zero = b.getIndexAttr(0), one = b.getIndexAttr(1);
  int64_t rows = (pixels - 1) * step + (count - 1) * tapStep + 1;
  Value input = inputRow(taps, 0, rows, /*step=*/1);
  if (channels != reduction)
    input = matrixView(b, loc, input, zero, at, rows, channels);
  SmallVector<Value> start = filterAt(taps);
  start[rank + 2] = at;
  Value weights = tensorView(b, loc, op.getFilter(), start,
                             {{rank, count, op.getFilterTapSteps()[rank - 1]},
                              {rank + 1, width, 1},
                              {rank + 2, channels, 1}});
  Value sums = accumulators;
  if (channels != lanes)
    sums = memref::SubViewOp::create(
        b, loc, sums, ArrayRef<OpFoldResult>{zero, zero, zero},
        ArrayRef<OpFoldResult>{b.getIndexAttr(pixels), b.getIndexAttr(width),
                               b.getIndexAttr(channels)},
        ArrayRef<OpFoldResult>{one, one, one});
  AffineExpr m, n, l, j;
  bindDims(context, m, n, l, j);
  using utils::IteratorType;
  auto generic = linalg::GenericOp::create(
      b, loc, TypeRange(), ValueRange{input, weights}, ValueRange{sums},
      ArrayRef{AffineMap::get(4, 0, {m * step + j * tapStep, l}, context),
               AffineMap::get(4, 0, {j, n, l}, context),
               AffineMap::get(4, 0, {m, n, l}, context)},
      ArrayRef{IteratorType::parallel, IteratorType::parallel,
               IteratorType::parallel, IteratorType::reduction},
      multiplyAdd);
  generic->setAttr("conv.tap_pixels", b.getDenseI64ArrayAttr(spans));
  if (!all)
    generic->setAttr("conv.active", b.getDenseBoolArrayAttr(active));
}

bool TileContraction::pixelsAreNeighbours() {
  auto output = cast<MemRefType>(op.getOutput().getType());
  int64_t apart = op.getOutputStep();
  for (int64_t axis = numbers.getOutputSpatial().back() + 1;
       axis < output.getRank(); ++axis)
    apart *= output.isDynamicDim(axis) ? 2 : output.getDimSize(axis);
  return apart == 1;
}

Value TileContraction::addLanes(bool transposed) {
  MLIRContext *context = b.getContext();
  auto func = op->getParentOfType<func::FuncOp>();
  Value outputs;
  {
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(&func.getBody().front());
    SmallVector<int64_t> shape = {pixels, width};
    if (transposed)
      std::swap(shape[0], shape[1]);
    outputs = memref::AllocaOp::create(
        b, loc, MemRefType::get(shape, filter.getElementType()));
  }
  Value zero =
      arith::ConstantOp::create(b, loc, b.getZeroAttr(filter.getElementType()));
  linalg::FillOp::create(b, loc, zero, outputs);
  AffineExpr m, n, l;
  bindDims(context, m, n, l);
  SmallVector<AffineExpr> at = {m, n};
  if (transposed)
    std::swap(at[0], at[1]);
  using utils::IteratorType;
  linalg::GenericOp::create(
      b, loc, TypeRange(), accumulators, outputs,
      ArrayRef{AffineMap::get(3, 0, {m, n, l}, context),
               AffineMap::get(3, 0, at, context)},
      ArrayRef{IteratorType::parallel, IteratorType::parallel,
               IteratorType::reduction},
      [](OpBuilder &b, Location loc, ValueRange args) {
        Value sum = arith::AddFOp::create(b, loc, args[1], args[0]);
        linalg::YieldOp::create(b, loc, sum);
      });
  return outputs;
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
      multiplyAdd);
}
