//===- PackedImages.cpp - a piece of the input, images in the lanes -*- C++
//-*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "outer/PackedImages.h"
#include "support/Views.h"
#include "vector/TransposedMove.h"
#include "vector/VectorPieces.h"

#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace convjit;
using namespace convjit::conv;

PackedImages::PackedImages(PhasesOp op, OpBuilder &b, TensorStrides &input,
                           ArrayRef<std::pair<int64_t, int64_t>> box,
                           int64_t lanes)
    : b(b), loc(op.getLoc()), math{b, loc},
      element(cast<MemRefType>(op.getInput().getType()).getElementType()),
      source(flatBuffer(b, loc, op.getInput())), lanes(lanes) {
  DimensionNumbersAttr numbers = op.getDimensionNumbers();
  auto type = cast<MemRefType>(op.getInput().getType());
  image = input.of(numbers.getInputBatch());
  SmallVector<int64_t> sizes = {type.getDimSize(numbers.getInputFeature())};
  inputSteps.push_back(input.of(numbers.getInputFeature()));
  for (int64_t axis : numbers.getInputSpatial()) {
    sizes.push_back(type.getDimSize(axis));
    inputSteps.push_back(input.of(axis));
  }
  SmallVector<int64_t> extents =
      pieceExtents(box, op.getPlanAttr().getChunks());
  auto rank = static_cast<int64_t>(box.size());
  packedSteps.assign(rank, lanes);
  for (int64_t dim = rank - 1; dim > 0; --dim)
    packedSteps[dim - 1] = packedSteps[dim] * extents[dim];
  // Whole dimensions, one after the other in memory, make runs longer.
  runDim = rank - 1;
  while (runDim > 0 && extents[runDim] == sizes[runDim] &&
         getConstantIntValue(inputSteps[runDim - 1]) ==
             runInner * sizes[runDim]) {
    runInner *= sizes[runDim];
    --runDim;
  }
  auto packedType = MemRefType::get({packedSteps[0] * extents[0]}, element);
  packed = entryBuffer(op->getParentOfType<func::FuncOp>(), packedType,
                       "images of a piece");
}

Value PackedImages::origin(const OuterPiece &piece) {
  Value at = math.constant(0);
  for (auto [range, step] : llvm::zip(piece.ranges, packedSteps))
    at = math.sub(at, math.mul(range.first, step));
  return at;
}

void PackedImages::pack(const OuterPiece &piece, Value first, Value count) {
  std::function<void(int64_t, Value, Value)> nest = [&](int64_t dim, Value from,
                                                        Value to) {
    auto [lo, hi] = piece.ranges[dim];
    if (dim == runDim) {
      from = math.add(from, math.mul(lo, inputSteps[dim]));
      return run(from, to, math.mul(math.sub(hi, lo), runInner), count);
    }
    math.loop(lo, hi, 1, [&](Value j) {
      nest(dim + 1, math.add(from, math.mul(j, inputSteps[dim])),
           math.add(to, math.mul(math.sub(j, lo), packedSteps[dim])));
    });
  };
  // Dimensions of the run begin at their first element.
  nest(0, first, math.constant(0));
}

void PackedImages::run(Value from, Value to, Value length, Value count) {
  int64_t line = lineElements(element.getIntOrFloatBitWidth());
  auto pixels = [&](Value at, int64_t size) {
    transposed(math.add(from, at), math.add(to, math.mul(at, lanes)), size,
               count);
  };
  Value whole = math.mul(math.floorDiv(length, line), line);
  math.loop(math.constant(0), whole, line, [&](Value at) { pixels(at, line); });
  math.powersOfTwo(whole, length, line / 2, pixels);
}

void PackedImages::transposed(Value from, Value to, int64_t pixels,
                              Value count) {
  int64_t block = TransposedMove::blockLanes(element);
  auto lane = [&](Value at, Value lane) {
    return math.add(at, math.mul(lane, image));
  };
  Value whole = math.mul(math.floorDiv(count, block), block);
  math.loop(math.constant(0), whole, block, [&](Value first) {
    TransposedMove(b, loc, element)
        .gather(
            pixels, block,
            [&](int64_t i, int64_t pixel, VectorType type) -> Value {
              Value at = lane(math.add(from, pixel), math.add(first, i));
              return vector::LoadOp::create(b, loc, type, source, at);
            },
            [&](int64_t pixel, Value value) {
              vector::StoreOp::create(
                  b, loc, value, packed,
                  math.add(math.add(to, first), pixel * lanes));
            });
  });
  math.loop(whole, count, 1, [&](Value image) {
    math.loop(math.constant(0), math.constant(pixels), 1, [&](Value pixel) {
      Value value = memref::LoadOp::create(b, loc, source,
                                           lane(math.add(from, pixel), image));
      memref::StoreOp::create(
          b, loc, value, packed,
          math.add(math.add(to, image), math.mul(pixel, lanes)));
    });
  });
}
