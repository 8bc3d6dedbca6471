//===- OuterSums.cpp - the sums of a tile, in registers and memory -*- C++
//-*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "outer/OuterSums.h"
#include "outer/SumLines.h"
#include "support/Views.h"
#include "vector/TransposedMove.h"

#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace convjit;
using namespace convjit::conv;

OuterSums::OuterSums(OuterTileOp op, OpBuilder &b, LaneMasks &masks)
    : op(op), b(b), loc(op.getLoc()), math{b, loc}, masks(masks),
      element(cast<MemRefType>(op.getInput().getType()).getElementType()),
      pieces(lanePieces(op.getLanes())), pixels(op.getPixels()),
      rows(op.getRows()) {}

Value OuterSums::zeroOf(Type type) {
  return arith::ConstantOp::create(b, loc, b.getZeroAttr(type));
}

int64_t OuterSums::validOf(LanePiece piece) {
  return std::clamp<int64_t>(static_cast<int64_t>(op.getValid()) - piece.first,
                             0, piece.size);
}

Value OuterSums::view(Value tensor, Value at) {
  auto layout =
      StridedLayoutAttr::get(b.getContext(), ShapedType::kDynamic, {1});
  auto type = MemRefType::get({ShapedType::kDynamic}, element, layout);
  OpFoldResult size = math.constant(1), one = b.getIndexAttr(1);
  return memref::ReinterpretCastOp::create(b, loc, type, tensor,
                                           OpFoldResult(at), size, one);
}

Value OuterSums::outputPlace(int64_t pixel, int64_t row) {
  return math.add(op.getOutputAt(),
                  math.add(math.mul(op.getOutputPixel(), pixel),
                           math.mul(op.getOutputRow(), row)));
}

bool OuterSums::lanesAreNeighbours() {
  return getConstantIntValue(op.getOutputLane()) == 1;
}

Value OuterSums::laneBuffer() {
  auto type = MemRefType::get(
      {pixels * rows, static_cast<int64_t>(op.getLanes())}, element);
  return entryBuffer(op->getParentOfType<func::FuncOp>(), type,
                     "sums on their way");
}

void OuterSums::eachSum(llvm::function_ref<void(Value, Value, Value)> body) {
  Value zero = math.constant(0);
  math.loop(zero, math.constant(pixels), 1, [&](Value pixel) {
    math.loop(zero, math.constant(rows), 1, [&](Value row) {
      math.loop(zero, math.constant(op.getValid()), 1, [&](Value lane) {
        Value at =
            math.add(op.getOutputAt(),
                     math.add(math.mul(op.getOutputPixel(), pixel),
                              math.add(math.mul(op.getOutputRow(), row),
                                       math.mul(op.getOutputLane(), lane))));
        body(at, math.add(math.mul(pixel, rows), row), lane);
      });
    });
  });
}

OuterSums::Sums OuterSums::load(Value tensor) {
  Sums sums;
  bool direct = lanesAreNeighbours();
  Value buffer = direct ? Value() : laneBuffer();
  if (!direct)
    eachSum([&](Value at, Value row, Value lane) {
      Value sum = memref::LoadOp::create(b, loc, view(tensor, at),
                                         ValueRange{math.constant(0)});
      memref::StoreOp::create(b, loc, sum, buffer, ValueRange{row, lane});
    });
  for (int64_t pixel = 0; pixel < pixels; ++pixel)
    for (int64_t row = 0; row < rows; ++row) {
      Value from = direct ? view(tensor, outputPlace(pixel, row)) : buffer;
      for (LanePiece piece : pieces) {
        SmallVector<Value> at = {math.constant(piece.first)};
        if (!direct)
          at.insert(at.begin(), math.constant(pixel * rows + row));
        sums.push_back(masks.loadFirst(b, loc, typeOf(piece), from, at, 1,
                                       validOf(piece)));
      }
    }
  return sums;
}

void OuterSums::store(ArrayRef<Value> sums) {
  bool direct = lanesAreNeighbours();
  Value buffer = direct ? Value() : laneBuffer();
  size_t next = 0;
  for (int64_t pixel = 0; pixel < pixels; ++pixel)
    for (int64_t row = 0; row < rows; ++row) {
      Value to =
          direct ? view(op.getOutput(), outputPlace(pixel, row)) : buffer;
      for (LanePiece piece : pieces)
        storePieces(
            b, loc, sums[next++], validOf(piece),
            [&](LanePiece part, Value value) {
              SmallVector<Value> at = {math.constant(piece.first + part.first)};
              if (!direct)
                at.insert(at.begin(), math.constant(pixel * rows + row));
              vector::StoreOp::create(b, loc, value, to, at);
            });
    }
  if (!direct)
    eachSum([&](Value at, Value row, Value lane) {
      Value sum = memref::LoadOp::create(b, loc, buffer, ValueRange{row, lane});
      memref::StoreOp::create(b, loc, sum, view(op.getOutput(), at),
                              ValueRange{math.constant(0)});
    });
}

bool OuterSums::rowsAreNeighbours() {
  return !lanesAreNeighbours() && getConstantIntValue(op.getOutputRow()) == 1 &&
         rows >= TransposedMove::blockLanes(element);
}

/// Blocks of lanes by all rows, as vectors of rows. One element at a time, 64
/// to 32 channels, k 4 s 2, take 1.9 times as long.
void OuterSums::storeRows(ArrayRef<Value> sums) {
  int64_t block = TransposedMove::blockLanes(element);
  auto blockType = VectorType::get({block}, element);
  auto lanesOf = [&](Value sum, LanePiece piece, int64_t lane) -> Value {
    if (piece.size < block)
      return insertPiece(b, loc, sum, zeroOf(blockType), 0);
    return extractPiece(b, loc, sum, {lane, block});
  };
  // The sums themselves start from the residual.
  SumLines lines(b, loc, op.getOutput(), op.getFirst(), /*residual=*/Value());
  auto place = [&](int64_t pixel, Value lane) {
    return math.add(outputPlace(pixel, 0), math.mul(lane, op.getOutputLane()));
  };
  lines.start([&] {
    for (int64_t pixel = 0; pixel < pixels; ++pixel)
      math.loop(math.constant(0), math.constant(op.getValid()), 1,
                [&](Value lane) { lines.zero(place(pixel, lane), rows); });
  });
  for (int64_t pixel = 0; pixel < pixels; ++pixel)
    for (auto [i, piece] : llvm::enumerate(pieces))
      for (int64_t lane = 0; lane < validOf(piece); lane += block)
        TransposedMove(b, loc, element)
            .scatter(
                rows, std::min(block, validOf(piece) - lane),
                [&](int64_t row) {
                  return lanesOf(sums[(pixel * rows + row) * pieces.size() + i],
                                 piece, lane);
                },
                [&](int64_t within, int64_t row, Value line) {
                  Value to =
                      place(pixel, math.constant(piece.first + lane + within));
                  lines.put(line, math.add(to, row));
                });
}

void OuterSums::finish(const Sums &sums) {
  if (rowsAreNeighbours())
    return storeRows(sums);
  store(total(sums));
}

OuterSums::Sums OuterSums::initial() {
  Sums zeros;
  for (int64_t row = 0; row < pixels * rows; ++row)
    for (LanePiece piece : pieces)
      zeros.push_back(zeroOf(typeOf(piece)));
  if (!op.getResidual())
    return zeros;
  return choose([&] { return load(op.getResidual()); }, [&] { return zeros; });
}

OuterSums::Sums OuterSums::total(const Sums &sums) {
  return choose([&] { return sums; },
                [&] {
                  Sums all = load(op.getOutput());
                  for (auto [sum, here] : llvm::zip(all, sums))
                    sum = arith::AddFOp::create(b, loc, sum, here);
                  return all;
                });
}

OuterSums::Sums OuterSums::choose(llvm::function_ref<Sums()> first,
                                  llvm::function_ref<Sums()> other) {
  if (getConstantIntValue(op.getFirst()))
    return first();
  SmallVector<Type> types;
  for (int64_t row = 0; row < pixels * rows; ++row)
    for (LanePiece piece : pieces)
      types.push_back(typeOf(piece));
  auto branch = scf::IfOp::create(b, loc, types, op.getFirst(),
                                  /*addThenBlock=*/true,
                                  /*addElseBlock=*/true);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(branch.thenBlock());
  scf::YieldOp::create(b, loc, first());
  b.setInsertionPointToStart(branch.elseBlock());
  scf::YieldOp::create(b, loc, other());
  return Sums(branch.getResults());
}

void OuterSums::prefetch() {
  if (!lanesAreNeighbours())
    return;
  for (int64_t pixel = 0; pixel < pixels; ++pixel)
    for (int64_t row = 0; row < rows; ++row) {
      Value to = view(op.getOutput(), outputPlace(pixel, row));
      int64_t line = lineElements(element.getIntOrFloatBitWidth());
      for (int64_t lane = 0, end = op.getValid(); lane < end; lane += line)
        memref::PrefetchOp::create(b, loc, to, math.constant(lane),
                                   /*isWrite=*/true, /*localityHint=*/3,
                                   /*isDataCache=*/true);
    }
}
