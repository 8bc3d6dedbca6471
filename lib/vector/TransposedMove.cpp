//===- TransposedMove.cpp - tiles whose lanes are apart in memory -*- C++
//-*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "vector/TransposedMove.h"
#include "vector/VectorPieces.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "llvm/ADT/bit.h"

using namespace mlir;
using namespace convjit;

/// Shuffles that stay within 16 bytes are one instruction, on vectors of any
/// length.
constexpr int64_t blockBits = 128;

int64_t TransposedMove::blockLanes(Type element) {
  return blockBits / element.getIntOrFloatBitWidth();
}

VectorType TransposedMove::vectorOf(int64_t size) {
  return VectorType::get({size}, element);
}

Value TransposedMove::zero(int64_t size) {
  return arith::ConstantOp::create(b, loc, b.getZeroAttr(vectorOf(size)));
}

/// Element l of block q of row i becomes element i of block q of row l.
SmallVector<Value> TransposedMove::transpose(ArrayRef<Value> rows) {
  auto block = static_cast<int64_t>(rows.size());
  int64_t size = cast<VectorType>(rows.front().getType()).getNumElements();
  // Runs of `run` elements of two rows alternate, from the lower or upper half
  // of each block.
  auto interleave = [&](Value x, Value y, int64_t run, bool upper) -> Value {
    SmallVector<int64_t> order;
    for (int64_t q = 0; q < size; q += block)
      for (int64_t i = 0; i < block; ++i) {
        int64_t which = i / run % 2, pair = i / (2 * run);
        order.push_back(which * size + q + upper * block / 2 + pair * run +
                        i % run);
      }
    return vector::ShuffleOp::create(b, loc, x, y, order);
  };
  if (block == 2)
    return {interleave(rows[0], rows[1], 1, false),
            interleave(rows[0], rows[1], 1, true)};
  SmallVector<Value> columns;
  for (bool upper : {false, true}) {
    Value first = interleave(rows[0], rows[1], 1, upper);
    Value second = interleave(rows[2], rows[3], 1, upper);
    columns.push_back(interleave(first, second, 2, false));
    columns.push_back(interleave(first, second, 2, true));
  }
  return columns;
}

void TransposedMove::forRuns(int64_t count,
                             function_ref<void(int64_t, int64_t)> body) {
  int64_t most = lineElements(element.getIntOrFloatBitWidth());
  for (int64_t first = 0; first < count; first += most)
    body(first, std::min(most, count - first));
}

void TransposedMove::scatter(int64_t count, int64_t lanes,
                             function_ref<Value(int64_t)> row,
                             function_ref<void(int64_t, int64_t, Value)> line) {
  int64_t block = blockLanes(element);
  forRuns(count, [&](int64_t first, int64_t places) {
    auto size = std::max<int64_t>(block, llvm::bit_ceil<uint64_t>(places));
    SmallVector<Value> rows(block, zero(size));
    for (int64_t place = 0; place < places; ++place) {
      Value &whole = rows[place % block];
      whole =
          insertPiece(b, loc, row(first + place), whole, place / block * block);
    }
    SmallVector<Value> columns = transpose(rows);
    for (int64_t lane = 0; lane < lanes; ++lane)
      storePieces(b, loc, columns[lane], places,
                  [&](LanePiece piece, Value part) {
                    line(lane, first + piece.first, part);
                  });
  });
}

void TransposedMove::gather(
    int64_t count, int64_t lanes,
    function_ref<Value(int64_t, int64_t, VectorType)> line,
    function_ref<void(int64_t, Value)> row) {
  int64_t block = blockLanes(element);
  forRuns(count, [&](int64_t first, int64_t places) {
    auto size = std::max<int64_t>(block, llvm::bit_ceil<uint64_t>(places));
    SmallVector<Value> columns(block, zero(size));
    for (int64_t lane = 0; lane < lanes; ++lane)
      columns[lane] =
          loadPieces(b, loc, vectorOf(size), places, [&](LanePiece piece) {
            return line(lane, first + piece.first, vectorOf(piece.size));
          });
    SmallVector<Value> rows = transpose(columns);
    for (int64_t place = 0; place < places; ++place)
      row(first + place, extractPiece(b, loc, rows[place % block],
                                      {place / block * block, block}));
  });
}
