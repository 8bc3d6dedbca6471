//===- StagedSums.cpp - sums of all taps on their way to the output -*- C++
//-*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "outer/StagedSums.h"
#include "support/Views.h"
#include "vector/TransposedMove.h"
#include "vector/VectorPieces.h"

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
  SumLines lines(b, loc, to.tensor, first, residual);
  // Rows that follow each other make one run.
  int64_t runs = rows, places = tapCount;
  if (getConstantIntValue(to.row) == tapCount)
    runs = 1, places = rows * tapCount;
  auto forRuns = [&](llvm::function_ref<void(Value, const Place &)> body) {
    math.loop(math.constant(0), math.constant(runs), 1, [&](Value row) {
      Place here = to;
      here.at = math.add(to.at, math.mul(row, to.row));
      body(math.mul(row, tapCount * lanes), here);
    });
  };
  lines.start([&] {
    forRuns([&](Value, const Place &here) {
      math.loop(math.constant(0), math.constant(valid), 1, [&](Value lane) {
        lines.zero(math.add(here.at, math.mul(lane, here.lane)), places);
      });
    });
  });
  forRuns([&](Value from, const Place &here) {
    run(from, here, lines, places, lanes, valid);
  });
}

void StagedSums::run(Value from, const Place &to, SumLines &lines,
                     int64_t places, int64_t lanes, int64_t valid) {
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
              lines.put(sums,
                        math.add(math.add(write, math.mul(to.lane, i)), ahead));
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
