//===- Epilogue.cpp - storing a tile through its epilogue -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Epilogue.h"
#include "MergedStore.h"
#include "Passes.h"
#include "Views.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"

#include <numbers>

using namespace mlir;
using namespace convjit;
using namespace convjit::conv;

/// The activation of `x`, a scalar; docs/semantics.md has the formulas.
static Value activate(OpBuilder &b, Location loc, EpilogueAttr epilogue,
                      Value x) {
  Type type = x.getType();
  auto constant = [&](double value) -> Value {
    return arith::ConstantOp::create(b, loc, b.getFloatAttr(type, value));
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
  auto sigmoid = [&](Value y) -> Value {
    Value e = math::ExpOp::create(b, loc, arith::NegFOp::create(b, loc, y));
    return arith::DivFOp::create(b, loc, constant(1), add(constant(1), e));
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
    return sigmoid(x);
  case Activation::Tanh:
    return math::TanhOp::create(b, loc, x);
  case Activation::Silu:
    return mul(x, sigmoid(x));
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

void convjit::storeTile(TileOp op, Value accumulators, OpBuilder &b) {
  Location loc = op.getLoc();
  MLIRContext *context = b.getContext();
  DimensionNumbersAttr numbers = op.getDimensionNumbers();
  int64_t pixels = op.getPixels(), valid = op.getValid();
  int64_t feature = numbers.getOutputFeature();
  int64_t row = numbers.getOutputSpatial().back();

  AffineExpr m, n;
  bindDims(context, m, n);
  AffineMap tileMap = AffineMap::get(2, 0, {m, n}, context);
  AffineMap laneMap = AffineMap::get(2, 0, {n}, context);
  AffineMap outputMap = tileMap;
  SmallVector<Value> at(op.getOutputAt());
  SmallVector<ViewAxis> axes = {
      {row, pixels, static_cast<int64_t>(op.getOutputStep())},
      {feature, valid, static_cast<int64_t>(op.getChannelStep())}};
  std::optional<MergedLanes> lanes;
  if (op.getMerged())
    lanes.emplace(op, b);
  bool staged = lanes && !lanes->isOnePiece();
  if (lanes && !staged) {
    axes[1].axis = lanes->laneAxis();
    at[lanes->laneAxis()] =
        IndexMath{b, loc}.add(at[lanes->laneAxis()], op.getFirstLane());
  } else if (feature < row) {
    outputMap = AffineMap::get(2, 0, {n, m}, context);
    std::swap(axes[0], axes[1]);
  }
  auto func = op->getParentOfType<func::FuncOp>();
  auto outputView = [&](Value tensor) {
    return tensorView(b, loc, tensor, at, axes);
  };
  if (staged)
    outputMap = tileMap;

  SmallVector<Value> inputs = {accumulators};
  SmallVector<AffineMap> maps = {tileMap};
  if (valid != static_cast<int64_t>(op.getWidth()))
    inputs[0] = matrixView(b, loc, accumulators, b.getIndexAttr(0),
                           b.getIndexAttr(0), pixels, valid);
  if (Value bias = op.getBias()) {
    inputs.push_back(
        lanes
            ? laneView(b, loc, bias, valid)
            : tensorView(b, loc, bias, at[feature],
                         ViewAxis{0, valid,
                                  static_cast<int64_t>(op.getChannelStep())}));
    maps.push_back(laneMap);
  }
  if (Value residual = op.getResidual()) {
    if (staged) {
      Value buffer = entryBuffer(func, lanes->bufferType(), "residual");
      lanes->copy(residual, buffer, /*store=*/false);
      inputs.push_back(buffer);
    } else {
      inputs.push_back(outputView(residual));
    }
    maps.push_back(outputMap);
  }
  Value target = staged ? entryBuffer(func, lanes->bufferType(), "output")
                        : outputView(op.getOutput());
  maps.push_back(outputMap);
  using utils::IteratorType;
  auto generic = linalg::GenericOp::create(
      b, loc, TypeRange(), inputs, ValueRange{target}, maps,
      ArrayRef{IteratorType::parallel, IteratorType::parallel},
      [&](OpBuilder &b, Location loc, ValueRange args) {
        Value value = args[0];
        for (Value term : args.slice(1, inputs.size() - 1))
          value = arith::AddFOp::create(b, loc, value, term);
        if (EpilogueAttr epilogue = op.getEpilogueAttr())
          value = activate(b, loc, epilogue, value);
        linalg::YieldOp::create(b, loc, value);
      });
  if (!staged && op.getWholeLines())
    generic->setAttr(streamingAttr, b.getUnitAttr());
  if (staged)
    lanes->copy(op.getOutput(), target, /*store=*/true);
}
