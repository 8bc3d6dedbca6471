//===- EpilogueVectorizer.cpp - epilogues on vectors -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "EpilogueVectorizer.h"
#include "IndexMath.h"

#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/IRMapping.h"

using namespace mlir;
using namespace convjit;

namespace {

/// Lanes up to which elements are moved one by one without a buffer.
constexpr int64_t fewLanes = 2;

/// One operand of an epilogue: which of its axes are pixels and lanes.
struct TileOperand {
  Value buffer;
  std::optional<unsigned> pixelAxis; ///< none for the bias
  unsigned laneAxis;

  TileOperand(Value buffer, AffineMap map) : buffer(buffer) {
    MLIRContext *context = map.getContext();
    pixelAxis = map.getResultPosition(getAffineDimExpr(0, context));
    laneAxis = *map.getResultPosition(getAffineDimExpr(1, context));
  }

  bool lanesAreContiguous() const {
    auto type = cast<MemRefType>(buffer.getType());
    auto [strides, offset] = type.getStridesAndOffset();
    return laneAxis + 1 == strides.size() && strides[laneAxis] == 1;
  }

  SmallVector<Value> at(Value pixel, Value lane) const {
    SmallVector<Value> indices(pixelAxis ? 2 : 1);
    if (pixelAxis)
      indices[*pixelAxis] = pixel;
    indices[laneAxis] = lane;
    return indices;
  }
};

/// `inner` with vectors for scalars.
void cloneAsVector(Operation &inner, int64_t lanes, OpBuilder &b,
                   IRMapping &mapping) {
  auto type = VectorType::get({lanes}, inner.getResult(0).getType());
  if (auto constant = dyn_cast<arith::ConstantOp>(inner)) {
    mapping.map(inner.getResult(0),
                arith::ConstantOp::create(
                    b, inner.getLoc(),
                    DenseElementsAttr::get(type, constant.getValue())));
    return;
  }
  Operation *clone = b.clone(inner, mapping);
  clone->getResult(0).setType(type);
  mapping.map(inner.getResult(0), clone->getResult(0));
}

} // namespace

Value EpilogueVectorizer::stagingBuffer(MemRefType type, int64_t which) {
  Value &buffer = buffers[{type, which}];
  if (!buffer) {
    OpBuilder entry = OpBuilder::atBlockBegin(&func.getBody().front());
    buffer = memref::AllocaOp::create(entry, func.getLoc(), type);
  }
  return buffer;
}

void EpilogueVectorizer::vectorize(linalg::GenericOp op, ArrayRef<Value> rows,
                                   OpBuilder &b) {
  Location loc = op.getLoc();
  IndexMath math{b, loc};
  SmallVector<int64_t, 4> sizes = op.getStaticLoopRanges();
  int64_t pixels = sizes[0], lanes = sizes[1];
  auto accumulator = cast<VectorType>(rows.front().getType());
  Type element = accumulator.getElementType();
  auto type = VectorType::get({lanes}, element);
  auto tile = MemRefType::get({pixels, lanes}, element);
  SmallVector<AffineMap> maps = op.getIndexingMapsArray();
  Value zero = math.constant(0);

  /// for each lane and pixel: body(pixel, lane), lanes in a loop.
  auto forElements = [&](llvm::function_ref<void(Value, Value)> body) {
    math.loop(zero, math.constant(lanes), 1, [&](Value lane) {
      for (int64_t pixel = 0; pixel < pixels; ++pixel)
        body(math.constant(pixel), lane);
    });
  };
  // Elements one at a time into a vector; for few lanes, or once a tile.
  auto gather = [&](const TileOperand &operand, Value pixel) -> Value {
    SmallVector<Value> elements;
    for (int64_t lane = 0; lane < lanes; ++lane)
      elements.push_back(memref::LoadOp::create(
          b, loc, operand.buffer, operand.at(pixel, math.constant(lane))));
    return vector::FromElementsOp::create(b, loc, type, elements);
  };

  // The bias, and residuals whose lanes are apart, are loaded up front.
  SmallVector<TileOperand> inputs;
  SmallVector<Value> once(op.getInputs().size());
  for (size_t i = 0; i < op.getInputs().size(); ++i) {
    inputs.emplace_back(op.getInputs()[i], maps[i]);
    TileOperand &input = inputs.back();
    if (i == 0)
      continue;
    bool contiguous = input.lanesAreContiguous();
    if (!input.pixelAxis) {
      once[i] =
          contiguous
              ? Value(vector::LoadOp::create(b, loc, type, input.buffer, zero))
              : gather(input, zero);
    } else if (!contiguous && lanes > fewLanes) {
      Value staging = stagingBuffer(tile, static_cast<int64_t>(i));
      forElements([&](Value pixel, Value lane) {
        Value value =
            memref::LoadOp::create(b, loc, input.buffer, input.at(pixel, lane));
        memref::StoreOp::create(b, loc, value, staging,
                                ValueRange{pixel, lane});
      });
      input = TileOperand(
          staging, AffineMap::getMultiDimIdentityMap(2, op.getContext()));
    }
  }

  TileOperand output(op.getDpsInits().front(), maps.back());
  bool direct = output.lanesAreContiguous();
  bool staged = !direct && lanes > fewLanes;
  Value staging = staged ? stagingBuffer(tile, 0) : Value();
  for (int64_t p = 0; p < pixels; ++p) {
    Value pixel = math.constant(p);
    IRMapping mapping;
    Block *body = op.getBody();
    for (size_t i = 0; i < inputs.size(); ++i) {
      Value value = once[i];
      if (i == 0) {
        value = rows[p];
        if (accumulator != type)
          value = vector::ExtractStridedSliceOp::create(
              b, loc, value, ArrayRef<int64_t>{0}, ArrayRef<int64_t>{lanes},
              ArrayRef<int64_t>{1});
      } else if (!value) {
        value =
            inputs[i].lanesAreContiguous()
                ? Value(vector::LoadOp::create(b, loc, type, inputs[i].buffer,
                                               inputs[i].at(pixel, zero)))
                : gather(inputs[i], pixel);
      }
      mapping.map(body->getArgument(i), value);
    }
    for (Operation &inner : body->without_terminator())
      cloneAsVector(inner, lanes, b, mapping);
    Value result = mapping.lookup(body->getTerminator()->getOperand(0));
    if (direct) {
      vector::StoreOp::create(b, loc, result, output.buffer,
                              output.at(pixel, zero));
    } else if (staged) {
      vector::StoreOp::create(b, loc, result, staging, ValueRange{pixel, zero});
    } else {
      for (int64_t lane = 0; lane < lanes; ++lane)
        memref::StoreOp::create(
            b, loc, vector::ExtractOp::create(b, loc, result, lane),
            output.buffer, output.at(pixel, math.constant(lane)));
    }
  }
  if (staged)
    forElements([&](Value pixel, Value lane) {
      Value value =
          memref::LoadOp::create(b, loc, staging, ValueRange{pixel, lane});
      memref::StoreOp::create(b, loc, value, output.buffer,
                              output.at(pixel, lane));
    });
}
