//===- GroupVectorizer.cpp - neighbouring groups in a vector -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "vector/GroupVectorizer.h"
#include "vector/VectorPieces.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace convjit;

Value convjit::accumulateLanes(OpBuilder &b, Location loc, Value x,
                               Value weight, Value sum) {
  if (x.getType() == sum.getType())
    return vector::FMAOp::create(b, loc, x, weight, sum);
  int64_t lanes = cast<VectorType>(x.getType()).getNumElements();
  Value part = extractPiece(b, loc, sum, {0, lanes});
  part = vector::FMAOp::create(b, loc, x, weight, part);
  return insertPiece(b, loc, part, sum, 0);
}

namespace {

/// The input of one contraction.
class GroupInput {
public:
  GroupInput(linalg::GenericOp op, LaneMasks &masks, OpBuilder &b)
      : b(b), loc(op.getLoc()), masks(masks), input(op.getInputs()[0]),
        map(op.getIndexingMapsArray()[0]),
        element(cast<MemRefType>(input.getType()).getElementType()) {}

  /// Where pixel m reads for tap j.
  int64_t row(int64_t m, int64_t j) { return evaluate(map, 0, {m, 0, j, 0}); }
  /// The input channel that lane n reads as its i-th.
  int64_t source(int64_t n, int64_t i) {
    return evaluate(map, 1, {0, n, 0, i});
  }

  /// The i-th input channel of each of `lanes` lanes from `first` on.
  Value vector(int64_t row, int64_t first, int64_t lanes, int64_t i,
               int64_t channels) {
    auto type = VectorType::get({lanes}, element);
    int64_t begin = source(first, 0);
    int64_t end = source(first + lanes - 1, channels - 1) + 1;
    SmallVector<int64_t> from;
    bool straight = true;
    for (int64_t n = 0; n < lanes; ++n) {
      from.push_back(source(first + n, i));
      straight &= from[n] == from[0] + n;
    }
    if (straight)
      return vector::LoadOp::create(b, loc, type, input,
                                    ValueRange{index(row), index(from[0])});
    // All lanes' channels a vector at a time; each takes its own from its
    // place.
    int64_t size = llvm::bit_ceil<uint64_t>(std::min(lanes, end - begin));
    Value result;
    for (int64_t chunk = begin; chunk < end; chunk += size) {
      SmallVector<int64_t> picked, blend;
      bool any = false;
      for (int64_t n = 0; n < lanes; ++n) {
        bool here = from[n] >= chunk && from[n] < chunk + size;
        any |= here;
        picked.push_back(here ? from[n] - chunk : 0);
        blend.push_back(here ? n : lanes + n);
      }
      if (!any)
        continue;
      SmallVector<bool> existing(size, true);
      for (int64_t k = end - chunk; k < size; ++k)
        existing[k] = false;
      Value part = masks.load(b, loc, VectorType::get({size}, element), input,
                              {index(row), index(chunk)}, 1, existing);
      part = vector::ShuffleOp::create(b, loc, part, part, picked);
      result =
          result ? Value(vector::ShuffleOp::create(b, loc, part, result, blend))
                 : part;
    }
    return result;
  }

private:
  Value index(int64_t value) {
    return arith::ConstantIndexOp::create(b, loc, value);
  }

  OpBuilder &b;
  Location loc;
  LaneMasks &masks;
  Value input;
  AffineMap map;
  Type element;
};

} // namespace

void convjit::vectorizeGroupTaps(linalg::GenericOp op,
                                 MutableArrayRef<Value> sums,
                                 ArrayRef<LanePiece> pieces, LaneMasks &masks,
                                 OpBuilder &b) {
  Location loc = op.getLoc();
  Value weights = op.getInputs()[1];
  auto spans =
      op->getAttrOfType<DenseI64ArrayAttr>("conv.tap_pixels").asArrayRef();
  auto filter = cast<MemRefType>(weights.getType());
  int64_t taps = filter.getDimSize(0), channels = filter.getDimSize(1),
          lanes = filter.getDimSize(2);
  GroupInput input(op, masks, b);
  int64_t step = input.row(1, 0), tapStep = input.row(0, 1);
  int64_t length = cast<MemRefType>(op.getInputs()[0].getType()).getDimSize(0);
  auto index = [&](int64_t value) -> Value {
    return arith::ConstantIndexOp::create(b, loc, value);
  };
  for (auto [which, piece] : llvm::enumerate(pieces)) {
    int64_t used = std::clamp<int64_t>(lanes - piece.first, 0, piece.size);
    if (!used)
      continue;
    auto type = VectorType::get({used}, filter.getElementType());
    for (int64_t i = 0; i < channels; ++i) {
      SmallVector<Value> weight(taps);
      for (int64_t row = 0; row < length; ++row) {
        Value x;
        for (int64_t tap = 0; tap < taps; ++tap) {
          int64_t ahead = row - tap * tapStep, pixel = ahead / step;
          if (ahead < 0 || ahead % step || pixel < spans[2 * tap] ||
              pixel >= spans[2 * tap + 1])
            continue;
          if (!weight[tap])
            weight[tap] = vector::LoadOp::create(
                b, loc, type, weights,
                ValueRange{index(tap), index(i), index(piece.first)});
          if (!x)
            x = input.vector(row, piece.first, used, i, channels);
          Value &sum = sums[pixel * pieces.size() + which];
          sum = accumulateLanes(b, loc, x, weight[tap], sum);
        }
      }
    }
  }
}
