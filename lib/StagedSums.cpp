//===- StagedSums.cpp - sums of all taps on their way to the output -*- C++
//-*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "StagedSums.h"
#include "OuterPieces.h"
#include "TransposedMove.h"
#include "VectorPieces.h"
#include "Views.h"

#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace convjit;
using namespace convjit::conv;

StagedSums::StagedSums(PhasesOp op, OpBuilder &b, int64_t taps, int64_t rows,
                       int64_t lanes)
    : b(b), loc(op.getLoc()), math{b, loc},
      element(cast<MemRefType>(op.getOutput().getType()).getElementType()),
      tapCount(taps) {
  // The last block of lanes may be read beyond those there are.
  staged = entryBuffer(
      op->getParentOfType<func::FuncOp>(),
      MemRefType::get(
          {taps * rows * lanes + TransposedMove::blockLanes(element)}, element),
      "sums of all taps");
}

void StagedSums::store(const Place &to, Value first, Value residual,
                       int64_t rows, int64_t lanes, int64_t valid) {
  math.branch(
      first, [&] { move(to, residual, rows, lanes, valid); },
      [&] { move(to, to.tensor, rows, lanes, valid); });
}

void StagedSums::move(const Place &to, Value addend, int64_t rows,
                      int64_t lanes, int64_t valid) {
  Place flat = to;
  flat.tensor = flatBuffer(b, loc, to.tensor);
  if (addend)
    addend = flatBuffer(b, loc, addend);
  // Rows that follow each other make one run.
  if (getConstantIntValue(to.row) == tapCount)
    return run(math.constant(0), flat, addend, rows * tapCount, lanes, valid);
  math.loop(math.constant(0), math.constant(rows), 1, [&](Value row) {
    Place here = flat;
    here.at = math.add(flat.at, math.mul(row, flat.row));
    run(math.mul(row, tapCount * lanes), here, addend, tapCount, lanes, valid);
  });
}

void StagedSums::run(Value from, const Place &to, Value addend, int64_t places,
                     int64_t lanes, int64_t valid) {
  int64_t block = TransposedMove::blockLanes(element);
  int64_t line = lineElements(element.getIntOrFloatBitWidth());
  auto vectorOf = [&](int64_t size) {
    return VectorType::get({size}, element);
  };
  // A buffer of few lanes has shorter rows than a block.
  int64_t loaded = std::min<int64_t>(block, llvm::bit_floor<uint64_t>(lanes));
  auto moveBlock = [&](Value place, int64_t count, Value lane, int64_t some) {
    Value read = math.add(from, math.add(math.mul(place, lanes), lane));
    Value write = math.add(math.add(to.at, place), math.mul(lane, to.lane));
    TransposedMove(b, loc, element)
        .scatter(
            count, some,
            [&](int64_t i) -> Value {
              Value sums = vector::LoadOp::create(
                  b, loc, vectorOf(loaded), staged, math.add(read, i * lanes));
              if (loaded == block)
                return sums;
              Value zeros = arith::ConstantOp::create(
                  b, loc, b.getZeroAttr(vectorOf(block)));
              return insertPiece(b, loc, sums, zeros, 0);
            },
            [&](int64_t i, int64_t ahead, Value sums) {
              Value at = math.add(math.add(write, math.mul(to.lane, i)), ahead);
              if (addend) {
                Value old = vector::LoadOp::create(
                    b, loc, cast<VectorType>(sums.getType()), addend, at);
                sums = arith::AddFOp::create(b, loc, old, sums);
              }
              vector::StoreOp::create(b, loc, sums, to.tensor, at);
            });
  };
  auto moveLanes = [&](Value place, int64_t count) {
    int64_t whole = valid / loaded * loaded;
    math.loop(math.constant(0), math.constant(whole), loaded,
              [&](Value lane) { moveBlock(place, count, lane, loaded); });
    if (whole < valid)
      moveBlock(place, count, math.constant(whole), valid - whole);
  };
  int64_t whole = places / line * line;
  math.loop(math.constant(0), math.constant(whole), line,
            [&](Value place) { moveLanes(place, line); });
  if (whole < places)
    moveLanes(math.constant(whole), places - whole);
}
