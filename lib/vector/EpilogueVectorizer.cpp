//===- EpilogueVectorizer.cpp - epilogues on vectors -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "vector/EpilogueVectorizer.h"
#include "Passes.h"
#include "support/IndexMath.h"
#include "support/Views.h"
#include "vector/TransposedMove.h"
#include "vector/VectorPieces.h"

#include "mlir/Dialect/Math/IR/Math.h"
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
  std::optional<unsigned> laneAxis;  ///< none for the bias of pixels

  TileOperand(Value buffer, AffineMap map) : buffer(buffer) {
    MLIRContext *context = map.getContext();
    pixelAxis = map.getResultPosition(getAffineDimExpr(0, context));
    laneAxis = map.getResultPosition(getAffineDimExpr(1, context));
  }

  bool lanesAreContiguous() const {
    auto type = cast<MemRefType>(buffer.getType());
    auto [strides, offset] = type.getStridesAndOffset();
    return !laneAxis ||
           (*laneAxis + 1 == strides.size() && strides[*laneAxis] == 1);
  }

  bool pixelsAreContiguous() const {
    auto type = cast<MemRefType>(buffer.getType());
    auto [strides, offset] = type.getStridesAndOffset();
    return pixelAxis && *pixelAxis + 1 == strides.size() &&
           strides[*pixelAxis] == 1;
  }

  SmallVector<Value> at(Value pixel, Value lane) const {
    SmallVector<Value> indices(pixelAxis && laneAxis ? 2 : 1);
    if (pixelAxis)
      indices[*pixelAxis] = pixel;
    if (laneAxis)
      indices[*laneAxis] = lane;
    return indices;
  }
};

/// Lanes from `first` on as a vector: one load, or elements one by one.
Value loadLanes(const TileOperand &operand, Value pixel, int64_t first,
                VectorType type, OpBuilder &b, Location loc) {
  IndexMath math{b, loc};
  if (!operand.laneAxis) {
    Value one = memref::LoadOp::create(b, loc, operand.buffer,
                                       operand.at(pixel, Value()));
    return vector::BroadcastOp::create(b, loc, type, one);
  }
  if (operand.lanesAreContiguous())
    return vector::LoadOp::create(b, loc, type, operand.buffer,
                                  operand.at(pixel, math.constant(first)));
  SmallVector<Value> elements;
  for (int64_t lane = 0; lane < type.getNumElements(); ++lane)
    elements.push_back(
        memref::LoadOp::create(b, loc, operand.buffer,
                               operand.at(pixel, math.constant(first + lane))));
  return vector::FromElementsOp::create(b, loc, type, elements);
}

void storeLanes(Value value, const TileOperand &operand, Value pixel,
                int64_t first, bool streaming, OpBuilder &b, Location loc) {
  IndexMath math{b, loc};
  if (operand.lanesAreContiguous()) {
    auto store = vector::StoreOp::create(
        b, loc, value, operand.buffer, operand.at(pixel, math.constant(first)));
    if (streaming) {
      store.setNontemporal(true);
      store.setAlignment(lineBytes);
    }
    return;
  }
  int64_t lanes = cast<VectorType>(value.getType()).getNumElements();
  for (int64_t lane = 0; lane < lanes; ++lane)
    memref::StoreOp::create(
        b, loc, vector::ExtractOp::create(b, loc, value, lane), operand.buffer,
        operand.at(pixel, math.constant(first + lane)));
}

/// Whether a body makes tens of instructions of each vector.
bool isLong(Block &body) {
  return llvm::any_of(body, [](Operation &op) {
    return isa_and_nonnull<math::MathDialect>(op.getDialect());
  });
}

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

/// Whether the call's output has so many bytes, and begins a line.
Value EpilogueVectorizer::streams(Value view, int64_t from) {
  if (streaming)
    return streaming;
  Value output = view.getDefiningOp<memref::ReinterpretCastOp>().getSource();
  OpBuilder b = OpBuilder::atBlockBegin(&func.getBody().front());
  Location loc = func.getLoc();
  IndexMath math{b, loc};
  Value address =
      memref::ExtractAlignedPointerAsIndexOp::create(b, loc, output);
  Value offset =
      b.createOrFold<arith::RemUIOp>(loc, address, math.constant(lineBytes));
  using Predicate = arith::CmpIPredicate;
  Value aligned = math.compare(Predicate::eq, offset, math.constant(0));
  Value large = math.compare(Predicate::sge, bytesOf(b, loc, output),
                             math.constant(from));
  streaming = arith::AndIOp::create(b, loc, aligned, large);
  func->setAttr(streamingAttr, b.getUnitAttr());
  return streaming;
}

void EpilogueVectorizer::vectorize(linalg::GenericOp op, ArrayRef<Value> rows,
                                   ArrayRef<LanePiece> pieces, OpBuilder &b) {
  Location loc = op.getLoc();
  IndexMath math{b, loc};
  SmallVector<int64_t, 4> sizes = op.getStaticLoopRanges();
  int64_t pixels = sizes[0], lanes = sizes[1];
  Type element = cast<VectorType>(rows.front().getType()).getElementType();
  // Blocks of lanes are moved whole.
  int64_t block = TransposedMove::blockLanes(element);
  int64_t padded = (lanes + block - 1) / block * block;
  auto tile =
      MemRefType::get({pixels, lanes > fewLanes ? padded : lanes}, element);
  SmallVector<AffineMap> maps = op.getIndexingMapsArray();
  Value zero = math.constant(0);

  // Between a buffer of the tile and a place where lanes are apart.
  TransposedMove blocks(b, loc, element);
  auto move = [&](const TileOperand &far, Value staging, bool store) {
    if (!far.pixelsAreContiguous()) {
      math.loop(zero, math.constant(lanes), 1, [&](Value lane) {
        for (int64_t p = 0; p < pixels; ++p) {
          Value pixel = math.constant(p);
          SmallVector<Value> there = far.at(pixel, lane), here = {pixel, lane};
          Value value = memref::LoadOp::create(
              b, loc, store ? staging : far.buffer, store ? here : there);
          memref::StoreOp::create(b, loc, value, store ? far.buffer : staging,
                                  store ? there : here);
        }
      });
      return;
    }
    auto blockAt = [&](Value first, int64_t count) {
      auto here = [&](int64_t pixel) -> SmallVector<Value> {
        return {math.constant(pixel), first};
      };
      auto there = [&](int64_t lane, int64_t pixel) {
        return far.at(math.constant(pixel), math.add(first, lane));
      };
      auto type = VectorType::get({block}, element);
      if (store)
        blocks.scatter(
            pixels, count,
            [&](int64_t pixel) {
              return vector::LoadOp::create(b, loc, type, staging, here(pixel));
            },
            [&](int64_t lane, int64_t pixel, Value line) {
              vector::StoreOp::create(b, loc, line, far.buffer,
                                      there(lane, pixel));
            });
      else
        blocks.gather(
            pixels, count,
            [&](int64_t lane, int64_t pixel, VectorType type) {
              return vector::LoadOp::create(b, loc, type, far.buffer,
                                            there(lane, pixel));
            },
            [&](int64_t pixel, Value row) {
              vector::StoreOp::create(b, loc, row, staging, here(pixel));
            });
    };
    int64_t whole = lanes / block * block;
    math.loop(zero, math.constant(whole), block,
              [&](Value first) { blockAt(first, block); });
    if (whole != lanes)
      blockAt(math.constant(whole), lanes - whole);
  };
  // Residuals whose lanes are apart are staged up front.
  SmallVector<TileOperand> inputs;
  for (size_t i = 0; i < op.getInputs().size(); ++i) {
    inputs.emplace_back(op.getInputs()[i], maps[i]);
    TileOperand &input = inputs.back();
    if (i == 0 || !input.pixelAxis || input.lanesAreContiguous() ||
        lanes <= fewLanes)
      continue;
    Value staging = entryBuffer(func, tile, "residual");
    move(input, staging, /*store=*/false);
    input = TileOperand(staging,
                        AffineMap::getMultiDimIdentityMap(2, op.getContext()));
  }
  TileOperand output(op.getDpsInits().front(), maps.back());
  bool staged = !output.lanesAreContiguous() && lanes > fewLanes;
  TileOperand target = output;
  if (staged)
    target = TileOperand(entryBuffer(func, tile, "output"),
                         AffineMap::getMultiDimIdentityMap(2, op.getContext()));

  // What each pixel's vectors add or multiply, loaded once.
  auto typeOf = [&](LanePiece piece) {
    return VectorType::get(
        {std::clamp<int64_t>(lanes - piece.first, 0, piece.size)}, element);
  };
  SmallVector<LanePiece> used;
  for (LanePiece piece : pieces)
    if (piece.first < lanes)
      used.push_back(piece);
  SmallVector<SmallVector<Value>> once;
  for (LanePiece piece : used) {
    once.emplace_back(inputs.size());
    for (size_t i = 1; i < inputs.size(); ++i)
      if (!inputs[i].pixelAxis)
        once.back()[i] =
            loadLanes(inputs[i], zero, piece.first, typeOf(piece), b, loc);
  }
  struct Result {
    Value value, pixel;
    int64_t lane;
  };
  SmallVector<Result> results;
  auto compute = [&](Value sum, Value pixel, size_t which) {
    LanePiece piece = used[which];
    VectorType type = typeOf(piece);
    IRMapping mapping;
    Block *body = op.getBody();
    mapping.map(body->getArgument(0), sum);
    for (size_t i = 1; i < inputs.size(); ++i) {
      Value value = once[which][i];
      if (!value)
        value = loadLanes(inputs[i], pixel, piece.first, type, b, loc);
      mapping.map(body->getArgument(i), value);
    }
    for (Operation &inner : body->without_terminator())
      cloneAsVector(inner, type.getNumElements(), b, mapping);
    Value result = mapping.lookup(body->getTerminator()->getOperand(0));
    results.push_back({result, pixel, piece.first});
  };
  auto store = [&] {
    auto all = [&](bool streaming) {
      for (const Result &result : results)
        storeLanes(result.value, target, result.pixel, result.lane, streaming,
                   b, loc);
    };
    if (auto from = op->getAttrOfType<IntegerAttr>(streamingAttr))
      math.branch(
          streams(output.buffer, from.getInt()), [&] { all(true); },
          [&] { all(false); });
    else
      all(false);
    results.clear();
  };
  auto sumOf = [&](int64_t pixel, size_t which) {
    return extractPiece(b, loc, rows[pixel * pieces.size() + which],
                        {0, typeOf(used[which]).getNumElements()});
  };
  constexpr int64_t fewVectors = 4;
  auto each = static_cast<int64_t>(used.size());
  if (isLong(*op.getBody()) && pixels * each > fewVectors) {
    Value sums = entryBuffer(func, tile, "sums");
    for (int64_t p = 0; p < pixels; ++p)
      for (int64_t which = 0; which < each; ++which)
        vector::StoreOp::create(
            b, loc, sumOf(p, which), sums,
            ValueRange{math.constant(p), math.constant(used[which].first)});
    math.loop(zero, math.constant(pixels), 1, [&](Value pixel) {
      for (int64_t which = 0; which < each; ++which)
        compute(vector::LoadOp::create(
                    b, loc, typeOf(used[which]), sums,
                    ValueRange{pixel, math.constant(used[which].first)}),
                pixel, which);
      store();
    });
  } else {
    for (int64_t which = 0; which < each; ++which)
      for (int64_t p = 0; p < pixels; ++p)
        compute(sumOf(p, which), math.constant(p), which);
    store();
  }
  if (staged)
    move(output, target.buffer, /*store=*/true);
}
