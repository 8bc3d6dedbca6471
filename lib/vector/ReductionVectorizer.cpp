//===- ReductionVectorizer.cpp - partial sums in vectors -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "vector/ReductionVectorizer.h"
#include "vector/VectorPieces.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace convjit;

void convjit::vectorizeReductionTaps(linalg::GenericOp op,
                                     MutableArrayRef<Value> sums,
                                     LaneMasks &masks, OpBuilder &b) {
  Location loc = op.getLoc();
  Value input = op.getInputs()[0], weights = op.getInputs()[1];
  auto spans =
      op->getAttrOfType<DenseI64ArrayAttr>("conv.tap_pixels").asArrayRef();
  auto active = op->getAttrOfType<DenseBoolArrayAttr>("conv.active");
  ArrayRef<int64_t> shape = cast<MemRefType>(weights.getType()).getShape();
  int64_t taps = shape[0], outputs = shape[1], channels = shape[2];
  auto type = cast<VectorType>(sums.front().getType());
  AffineMap map = op.getIndexingMapsArray()[0];
  auto at = [&](int64_t pixel, int64_t tap) {
    return evaluate(map, 0, {pixel, 0, 0, tap});
  };
  auto index = [&](int64_t value) -> Value {
    return arith::ConstantIndexOp::create(b, loc, value);
  };
  // Lanes past the last channel are not read and count as zero, as the packed
  // filter has them.
  SmallVector<bool> existing;
  if (channels < type.getNumElements()) {
    existing.assign(type.getNumElements(), false);
    std::fill_n(existing.begin(), channels, true);
  }
  int64_t length = cast<MemRefType>(input.getType()).getDimSize(0);
  SmallVector<Value> elements(length);
  auto element = [&](int64_t which) {
    Value &x = elements[which];
    if (!x)
      x = masks.load(b, loc, type, input, {index(which), index(0)}, 1,
                     existing);
    return x;
  };
  auto weight = [&](int64_t tap, int64_t output) {
    return vector::LoadOp::create(
        b, loc, type, weights, ValueRange{index(tap), index(output), index(0)});
  };
  auto accumulate = [&](int64_t pixel, int64_t output, int64_t tap, Value w) {
    Value &sum = sums[pixel * outputs + output];
    sum = vector::FMAOp::create(b, loc, element(at(pixel, tap)), w, sum);
  };
  auto isActive = [&](int64_t tap, int64_t output) {
    return !active || active[tap * outputs + output];
  };
  int64_t step = at(1, 0), tapStep = at(0, 1), weightCount = 0;
  for (int64_t tap = 0; tap < taps; ++tap)
    for (int64_t output = 0; output < outputs; ++output)
      weightCount += isActive(tap, output);
  // What takes fewer registers stays in them while the other goes past: the
  // weights of a row of taps, or the input of a tile.
  if (weightCount < length) {
    SmallVector<Value> held(taps * outputs);
    for (int64_t which = 0; which < length; ++which)
      for (int64_t tap = 0; tap < taps; ++tap) {
        int64_t ahead = which - tap * tapStep, pixel = ahead / step;
        if (ahead < 0 || ahead % step || pixel < spans[2 * tap] ||
            pixel >= spans[2 * tap + 1])
          continue;
        for (int64_t output = 0; output < outputs; ++output) {
          if (!isActive(tap, output))
            continue;
          Value &w = held[tap * outputs + output];
          if (!w)
            w = weight(tap, output);
          accumulate(pixel, output, tap, w);
        }
      }
    return;
  }
  for (int64_t tap = 0; tap < taps; ++tap)
    for (int64_t output = 0; output < outputs; ++output) {
      if (!isActive(tap, output) || spans[2 * tap] == spans[2 * tap + 1])
        continue;
      Value w = weight(tap, output);
      for (int64_t pixel = spans[2 * tap]; pixel < spans[2 * tap + 1]; ++pixel)
        accumulate(pixel, output, tap, w);
    }
}

LaneSums::LaneSums(ArrayRef<Value> rows, OpBuilder &b, Location loc)
    : b(b), loc(loc),
      lanes(cast<VectorType>(rows.front().getType()).getNumElements()) {
  for (size_t at = 0; at < rows.size(); at += lanes)
    groups.push_back(
        addGroup(rows.slice(at, std::min<size_t>(lanes, rows.size() - at))));
}

/// A tree that adds the halves of two vectors at a time: one instruction swaps
/// halves, and the others stay where they are, so that a blend takes them, for
/// which CPUs have more ports. For 16 sums of 16 lanes 15 of each and 15
/// additions; 30 shuffles, where both sides move, take half as long again.
Value LaneSums::addGroup(ArrayRef<Value> rows) {
  struct Step {
    SmallVector<int64_t> lower, upper; ///< what stays, and what is swapped
  };
  SmallVector<Step> steps;
  for (int64_t half = lanes / 2; half >= 1; half /= 2) {
    Step step;
    for (int64_t lane = 0; lane < lanes; ++lane) {
      bool ofSecond = lane & half;
      step.lower.push_back(ofSecond ? lanes + lane : lane);
      step.upper.push_back(ofSecond ? lanes + lane - half : lane + half);
    }
    steps.push_back(std::move(step));
  }
  // In which lane the sum of the row in each place comes out: follow the rows'
  // numbers through the tree.
  SmallVector<SmallVector<int64_t>> labels;
  for (int64_t place = 0; place < lanes; ++place)
    labels.emplace_back(lanes, place);
  for (const Step &step : steps) {
    size_t half = labels.size() / 2;
    for (size_t i = 0; i < half; ++i) {
      SmallVector<int64_t> next;
      for (int64_t from : step.lower)
        next.push_back(from < lanes ? labels[i][from]
                                    : labels[i + half][from - lanes]);
      labels[i] = next;
    }
    labels.resize(half);
  }
  SmallVector<Value> values(lanes);
  for (auto [lane, place] : llvm::enumerate(labels.front()))
    if (lane < rows.size())
      values[place] = rows[lane];
  for (const Step &step : steps) {
    size_t half = values.size() / 2;
    for (size_t i = 0; i < half; ++i) {
      Value x = values[i], y = values[i + half];
      if (!x && !y)
        continue;
      // Sums that nobody asks for may be anything.
      Value low =
          vector::ShuffleOp::create(b, loc, x ? x : y, y ? y : x, step.lower);
      Value high =
          vector::ShuffleOp::create(b, loc, x ? x : y, y ? y : x, step.upper);
      values[i] = arith::AddFOp::create(b, loc, low, high);
    }
    values.resize(half);
  }
  return values.front();
}

Value LaneSums::slice(int64_t first, int64_t count) {
  if (count > lanes) {
    Value low = slice(first, count / 2);
    Value high = slice(first + count / 2, count / 2);
    return vector::ShuffleOp::create(
        b, loc, low, high, llvm::to_vector(llvm::seq<int64_t>(count)));
  }
  int64_t group = first / lanes, at = first % lanes;
  if (at == 0 && count == lanes)
    return groups[group];
  Value next = at + count > lanes ? groups[group + 1] : groups[group];
  return vector::ShuffleOp::create(
      b, loc, groups[group], next,
      llvm::to_vector(llvm::seq<int64_t>(at, at + count)));
}
