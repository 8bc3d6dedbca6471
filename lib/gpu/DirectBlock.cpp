//===- DirectBlock.cpp - outputs summed straight from global memory -*- C++
//-*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "BlockBuilder.h"
#include "support/CarriedLoop.h"

#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"

using namespace mlir;
using namespace convjit;
using namespace convjit::conv;

// For groups of few channels, where a matrix product would have few columns. A
// thread computes some pixels of a row by one channel, or by neighbouring ones
// that are groups of their own; neighbouring threads have neighbouring
// channels, so that with channels last a warp reads and writes whole lines. The
// first-level cache serves the taps that threads share.

void convjit::expandDirect(BlockBuilder &block) {
  BlockOp op = block.op;
  OpBuilder &b = block.b;
  Location loc = block.loc;
  IndexMath &math = block.math, &num = block.num;
  GPUPlanAttr plan = block.plan;
  int64_t rank = block.rank, pixels = plan.getThreadPixels();
  int64_t own = plan.getThreadChannels(), lanes = plan.getChannels() / own;
  const ChannelBlocks &channels = block.channels;

  // The thread's channels and pixels.
  Value rest = block.thread;
  Value lane = num.mul(num.takeDigit(rest, lanes), own);
  Value channel =
      num.add(num.mul(num.cast(op.getChannels()), plan.getChannels()), lane);
  Value group = channel;
  num.takeDigit(group, channels.perGroup);
  // Those past the last have nothing to do: vectors divide their number.
  Value existing;
  if (channels.tail())
    existing = num.compare(arith::CmpIPredicate::slt, channel,
                           num.constant(channels.lanesInRun()));
  Value first = num.mul(rest, pixels);
  SmallVector<BlockPixel> pixel;
  SmallVector<Value> rows;
  SmallVector<SmallVector<Value>> inputAt;
  Value image, inputChannel;
  if (op.getBatchGroupCount() > 1)
    image = math.mul(math.cast(group), block.images);
  else if (channels.groups > 1)
    inputChannel = math.mul(math.cast(group), block.reduction);
  Value input = op.getInput();
  for (int64_t i = 0; i < pixels; ++i) {
    pixel.push_back(block.pixel(num.add(first, i)));
    BlockPixel read = pixel.back();
    read.exists = block.num.both(read.exists, existing);
    Value base = block.inputBase(read);
    if (image)
      base = math.add(
          base,
          math.mul(image,
                   block.stride(input, block.numbers.getInputBatch(), math)));
    if (inputChannel)
      base = math.add(
          base,
          math.mul(inputChannel,
                   block.stride(input, block.numbers.getInputFeature(), math)));
    rows.push_back(block.row(input, base));
    // Of an interior block only the channel may be missing.
    inputAt.push_back(block.inputAt(read));
  }

  // Sums over taps and channels.
  SmallVector<Value> sums(pixels, block.zero(own));
  Value filterRow = block.row(
      op.getFilter(),
      math.add(
          math.mul(op.getChannels(),
                   block.filterType.getNumElements() /
                       std::max<int64_t>(block.filterType.getDimSize(0), 1)),
          math.cast(lane)));
  int64_t vector = plan.getVector();
  SmallVector<Value> tap(rank);
  Value featureStride =
      block.stride(input, block.numbers.getInputFeature(), num);
  int64_t padded = block.filterType.getDimSize(1 + rank);
  auto loop = [&](Value lo, Value hi, function_ref<void(Value)> body) {
    carriedLoop(b, loc, lo, hi, num.constant(1), sums, body);
  };
  std::function<void(int64_t)> nest = [&](int64_t dim) {
    if (dim < rank) {
      auto [lo, hi] = block.tapRange(dim);
      return loop(lo, hi, [&](Value j) {
        tap[dim] = j;
        nest(dim + 1);
      });
    }
    Value offset = block.tapOffset(tap);
    Value filterAt = num.mul(block.filterTap(tap), padded * plan.getChannels());
    SmallVector<Value> inside;
    for (int64_t i = 0; i < pixels; ++i) {
      Value condition = block.isInside(inputAt[i], tap);
      inside.push_back(
          block.num.both(condition, block.interior ? existing : Value()));
    }
    loop(num.constant(0), num.constant(block.reduction), [&](Value ic) {
      Value weight = block.load(
          filterRow, num.add(filterAt, num.mul(ic, plan.getChannels())), own);
      Value at = num.add(offset, num.mul(ic, featureStride));
      for (int64_t i = 0; i < pixels; ++i) {
        Value x = block.loadIf(inside[i], rows[i], at, vector);
        if (own > 1 && vector == 1)
          x = vector::BroadcastOp::create(b, loc, block.typeOf(own), x);
        Value product =
            own > 1
                ? Value(vector::FMAOp::create(b, loc, x, weight, sums[i]))
                : Value(mlir::math::FmaOp::create(b, loc, x, weight, sums[i]));
        sums[i] = product;
      }
    });
  };
  if (block.reduction > 0)
    nest(0);

  math.branch(existing, [&] {
    for (int64_t i = 0; i < pixels; ++i)
      block.finish(sums[i], pixel[i], block.outputBase(pixel[i]), channel,
                   Value());
  });
}
