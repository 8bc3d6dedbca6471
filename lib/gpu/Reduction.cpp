//===- Reduction.cpp - steps of a matrix product over taps and channels -*- C++
//-*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Reduction.h"

using namespace mlir;
using namespace convjit;
using namespace convjit::conv;
using Predicate = arith::CmpIPredicate;

Reduction::Reduction(BlockBuilder &block) : block(block), num(block.num) {
  GPUPlanAttr plan = block.plan;
  int64_t depth = plan.getDepth(), channels = block.reduction;
  int64_t padded = paddedReduction(plan, channels);
  // Where channels are padded, a step is some channels of one tap.
  ragged = plan.getMixed();
  Value one = num.constant(1), taps = one;
  for (int64_t dim = 0; dim < block.rank; ++dim) {
    auto [lo, hi] = block.tapRange(dim);
    lowest.push_back(lo);
    end.push_back(hi);
    Value size = num.sub(hi, lo);
    taps = num.mul(taps, size);
    // Never divided by 0: without taps there are no steps.
    radix.push_back(num.max(size, one));
  }
  lowest.push_back(num.constant(0));
  end.push_back(num.constant(padded));
  radix.push_back(num.constant(std::max<int64_t>(padded, 1)));
  count = num.ceilDiv(num.mul(taps, padded), depth);
  Value first = takePart();

  step.resize(block.rank + 1);
  if (!ragged) {
    for (Value &digit : step)
      digit = num.constant(0);
    step.back() = num.constant(depth);
    before = first;
    return;
  }
  step = start(num.constant(depth)).digits;
  for (auto [digit, lo] : llvm::zip(step, lowest))
    digit = num.sub(digit, lo);
  before = first;
}

/// Leaves of `count` the steps of the block's part, and returns the products
/// before them.
Value Reduction::takePart() {
  Value part = block.op.getPart();
  if (!part)
    return Value();
  Value size = num.ceilDiv(count, block.plan.getSplit());
  Value first = num.min(num.mul(num.cast(part), size), count);
  count = num.min(num.sub(count, first), size);
  return num.mul(first, block.plan.getDepth());
}

ReductionPosition Reduction::start(Value ahead) {
  ReductionPosition position;
  position.digits.resize(radix.size());
  if (before)
    ahead = num.add(ahead, before);
  for (int64_t i = static_cast<int64_t>(radix.size()) - 1; i >= 0; --i) {
    Value digit = ahead;
    // The first digit takes all that is left.
    if (i > 0) {
      digit = block.b.createOrFold<arith::RemUIOp>(block.loc, ahead, radix[i]);
      ahead = block.b.createOrFold<arith::DivUIOp>(block.loc, ahead, radix[i]);
    }
    position.digits[i] = num.add(lowest[i], digit);
  }
  return position;
}

ReductionPosition Reduction::next(const ReductionPosition &position) {
  ReductionPosition result = position;
  Value carry;
  for (int64_t i = static_cast<int64_t>(radix.size()) - 1; i >= 0; --i) {
    Value digit = num.add(position.digits[i], step[i]);
    if (carry)
      digit = num.add(digit, block.b.createOrFold<arith::ExtUIOp>(
                                 block.loc, num.type, carry));
    if (i > 0) {
      carry = num.compare(Predicate::sge, digit, end[i]);
      digit = num.select(carry, num.sub(digit, radix[i]), digit);
    }
    result.digits[i] = digit;
  }
  return result;
}

SmallVector<Value> Reduction::starts(ArrayRef<Value> ahead) {
  SmallVector<Value> list;
  for (Value products : ahead)
    llvm::append_range(list, start(products).digits);
  return list;
}

SmallVector<Value> Reduction::nexts(ValueRange positions) {
  SmallVector<Value> list;
  for (const ReductionPosition &from : split(positions))
    llvm::append_range(list, next(from).digits);
  return list;
}

SmallVector<ReductionPosition> Reduction::split(ValueRange positions) const {
  size_t digits = block.rank + 1;
  SmallVector<ReductionPosition> list;
  for (; !positions.empty(); positions = positions.drop_front(digits))
    list.push_back({SmallVector<Value>(positions.take_front(digits))});
  return list;
}

Value Reduction::exists(const ReductionPosition &position) {
  if (!ragged)
    return Value();
  return num.compare(Predicate::slt, position.digits.front(), end.front());
}

std::pair<Value, Value> Reduction::product(const ReductionPosition &at,
                                           Value number) {
  Value channel = at.channel(), there = exists(at);
  if (!ragged) {
    channel = num.add(channel, number);
    if (block.reduction % static_cast<int64_t>(block.plan.getDepth()))
      there =
          num.compare(Predicate::slt, channel, num.constant(block.reduction));
  }
  Value stride =
      block.stride(block.op.getInput(), block.numbers.getInputFeature(), num);
  return {num.add(block.tapOffset(at.taps()), num.mul(channel, stride)), there};
}
