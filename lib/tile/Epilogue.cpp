//===- Epilogue.cpp - storing a tile through its epilogue -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "tile/Epilogue.h"
#include "Passes.h"
#include "support/IndexMath.h"
#include "support/Views.h"
#include "vector/MergedStore.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"

#include <numbers>

using namespace mlir;
using namespace convjit;
using namespace convjit::conv;

/// docs/semantics.md has the formulas.
Value convjit::activate(OpBuilder &b, Location loc, EpilogueAttr epilogue,
                        Value x) {
  Type type = x.getType();
  auto constant = [&](double value) -> Value {
    TypedAttr one = b.getFloatAttr(getElementTypeOrSelf(type), value);
    if (auto vector = dyn_cast<VectorType>(type))
      one = DenseElementsAttr::get(vector, one);
    return arith::ConstantOp::create(b, loc, one);
  };
  auto mul = [&](Value p, Value q) -> Value {
    return arith::MulFOp::create(b, loc, p, q);
  };
  auto add = [&](Value p, Value q) -> Value {
    return arith::AddFOp::create(b, loc, p, q);
  };
  // x < 0 is false for NaN, so that NaN passes through.
  auto whereNegative = [&](Value value) -> Value {
    Value negative = arith::CmpFOp::create(b, loc, arith::CmpFPredicate::OLT, x,
                                           constant(0));
    return arith::SelectOp::create(b, loc, negative, value, x);
  };
  auto timesSigmoid = [&](Value factor) -> Value {
    Value e = math::ExpOp::create(b, loc, arith::NegFOp::create(b, loc, x));
    return arith::DivFOp::create(b, loc, factor, add(constant(1), e));
  };
  switch (epilogue.getActivation()) {
  case Activation::None:
    return x;
  case Activation::Relu:
    return whereNegative(constant(0));
  case Activation::LeakyRelu:
    return whereNegative(
        mul(x, constant(epilogue.getSlope().convertToDouble())));
  case Activation::Sigmoid:
    return timesSigmoid(constant(1));
  case Activation::Tanh:
    return math::TanhOp::create(b, loc, x);
  case Activation::Silu:
    return timesSigmoid(x);
  case Activation::Gelu: {
    Value erf =
        math::ErfOp::create(b, loc, mul(x, constant(1 / std::numbers::sqrt2)));
    return mul(mul(x, constant(0.5)), add(constant(1), erf));
  }
  case Activation::GeluTanh: {
    constexpr double scale =
        std::numbers::sqrt2 * std::numbers::inv_sqrtpi; // sqrt(2/pi)
    Value cube = mul(mul(x, x), x);
    Value inner = mul(constant(scale), add(x, mul(constant(0.044715), cube)));
    Value tanh = math::TanhOp::create(b, loc, inner);
    return mul(mul(x, constant(0.5)), add(constant(1), tanh));
  }
  }
  llvm_unreachable("unknown activation");
}

/// The first `count` elements of a vector of biases.
static Value laneView(OpBuilder &b, Location loc, Value lanes, int64_t count) {
  auto one = b.getIndexAttr(1);
  if (cast<MemRefType>(lanes.getType()).getDimSize(0) == count)
    return lanes;
  return memref::SubViewOp::create(
      b, loc, lanes, ArrayRef<OpFoldResult>{b.getIndexAttr(0)},
      ArrayRef<OpFoldResult>{b.getIndexAttr(count)},
      ArrayRef<OpFoldResult>{one});
}

namespace {

/// Stores some pixels of a tile.
class TileStore {
public:
  TileStore(TileOp op, Value accumulators, bool ofPixels, OpBuilder &b)
      : op(op), accumulators(accumulators), ofPixels(ofPixels), b(b),
        loc(op.getLoc()), numbers(op.getDimensionNumbers()),
        feature(numbers.getOutputFeature()),
        row(op.getImages() ? numbers.getOutputBatch()
                           : numbers.getOutputSpatial().back()),
        valid(op.getValid()) {
    if (op.getMerged())
      lanes.emplace(op, b);
  }

  void run() {
    int64_t pixels = op.getPixels();
    if (ofPixels)
      return store(0, lanes ? pixels : valid, static_cast<bool>(lanes));
    if (!lanes)
      return store(0, pixels, false);
    // Of lanes that follow each other in the output, only pixels that lack some
    // pass through a buffer.
    for (auto [first, count, whole] : lanes->runs(pixels))
      store(first, count, !whole);
  }

private:
  void store(int64_t first, int64_t count, bool staged);
  Value biasView(Value channel);

  TileOp op;
  Value accumulators;
  bool ofPixels;
  OpBuilder &b;
  Location loc;
  DimensionNumbersAttr numbers;
  int64_t feature, row, valid;
  std::optional<MergedLanes> lanes;
};

} // namespace

Value TileStore::biasView(Value channel) {
  if (lanes)
    return laneView(b, loc, op.getBias(), valid);
  return tensorView(b, loc, op.getBias(), channel, ViewAxis{0, valid, 1});
}

void TileStore::store(int64_t first, int64_t count, bool staged) {
  MLIRContext *context = b.getContext();
  IndexMath math{b, loc};
  auto func = op->getParentOfType<func::FuncOp>();
  AffineExpr m, n;
  bindDims(context, m, n);
  AffineMap tileMap = AffineMap::get(2, 0, {m, n}, context);
  AffineMap laneMap = AffineMap::get(2, 0, {n}, context);
  AffineMap outputMap = tileMap;
  SmallVector<Value> at(op.getOutputAt());
  auto step = static_cast<int64_t>(op.getOutputStep());
  SmallVector<ViewAxis> axes = {{row, count, step}, {feature, valid, 1}};
  at[row] = math.add(at[row], first * step);
  if (ofPixels) {
    // The tile is (channel, pixel).
    laneMap = AffineMap::get(2, 0, {m}, context);
    axes = {{feature, valid, 1},
            {row, static_cast<int64_t>(op.getPixels()), step}};
    // One channel: its axis may come first, which it does in memory.
    if (!staged && row < feature && valid > 1) {
      outputMap = AffineMap::get(2, 0, {n, m}, context);
      std::swap(axes[0], axes[1]);
    }
  } else if (lanes && !staged) {
    axes[1].axis = lanes->laneAxis();
    at[axes[1].axis] = math.add(at[axes[1].axis], op.getFirstLane());
  } else if (!lanes && feature < row) {
    outputMap = AffineMap::get(2, 0, {n, m}, context);
    std::swap(axes[0], axes[1]);
  }
  auto tileRows = [&](Value tile, int64_t width) {
    return matrixView(b, loc, tile, b.getIndexAttr(first), b.getIndexAttr(0),
                      count, width);
  };
  int64_t lanePixels = cast<MemRefType>(accumulators.getType()).getDimSize(1);
  // The tile's pixels of the output's shape, in the output or in a buffer.
  auto target = [&](Value tensor, StringRef name) -> std::pair<Value, Value> {
    if (!staged)
      return {Value(), tensorView(b, loc, tensor, at, axes)};
    Value buffer = entryBuffer(func, lanes->bufferType(), name);
    if (!ofPixels)
      return {buffer, tileRows(buffer, valid)};
    return {buffer, matrixView(b, loc, buffer, b.getIndexAttr(0),
                               b.getIndexAttr(0), valid, lanePixels)};
  };

  bool whole = ofPixels || (count == static_cast<int64_t>(op.getPixels()) &&
                            valid == static_cast<int64_t>(op.getWidth()));
  SmallVector<Value> inputs = {whole ? accumulators
                                     : tileRows(accumulators, valid)};
  if (ofPixels && !staged && lanePixels != static_cast<int64_t>(op.getPixels()))
    inputs.front() = matrixView(b, loc, accumulators, b.getIndexAttr(0),
                                b.getIndexAttr(0), valid, op.getPixels());
  SmallVector<AffineMap> maps = {tileMap};
  if (op.getBias()) {
    inputs.push_back(biasView(at[feature]));
    maps.push_back(laneMap);
  }
  if (Value residual = op.getResidual()) {
    auto [buffer, view] = target(residual, "residual");
    if (staged)
      lanes->copy(residual, buffer, first, count, /*store=*/false);
    inputs.push_back(view);
    maps.push_back(outputMap);
  }
  auto [buffer, view] = target(op.getOutput(), "output");
  maps.push_back(outputMap);
  using utils::IteratorType;
  auto generic = linalg::GenericOp::create(
      b, loc, TypeRange(), inputs, ValueRange{view}, maps,
      ArrayRef{IteratorType::parallel, IteratorType::parallel},
      [&](OpBuilder &b, Location loc, ValueRange args) {
        Value value = args[0];
        for (Value term : args.slice(1, inputs.size() - 1))
          value = arith::AddFOp::create(b, loc, value, term);
        if (EpilogueAttr epilogue = op.getEpilogueAttr())
          value = activate(b, loc, epilogue, value);
        linalg::YieldOp::create(b, loc, value);
      });
  if (staged)
    lanes->copy(op.getOutput(), buffer, first, count, /*store=*/true);
  else if (IntegerAttr from = op.getStreamFromAttr())
    generic->setAttr(streamingAttr, from);
}

void convjit::storeTile(TileOp op, Value accumulators, bool lanesOfPixels,
                        OpBuilder &b) {
  TileStore(op, accumulators, lanesOfPixels, b).run();
}
