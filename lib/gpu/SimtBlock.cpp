//===- SimtBlock.cpp - a matrix product by fused multiply-adds -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "RegisterTiles.h"

#include "mlir/Dialect/GPU/IR/GPUDialect.h"

using namespace mlir;
using namespace convjit;
using namespace convjit::conv;

// Rows are the box's pixels, columns a block of output channels, the reduction
// goes over taps and input channels. While threads multiply one step's tiles
// of input and filter from shared memory, they have the next step's elements on
// their way into registers, and put them into the other half of shared memory
// at the end; one barrier a step.

namespace {

class SimtBlock {
public:
  explicit SimtBlock(BlockBuilder &block)
      : block(block), b(block.b), loc(block.loc), math(block.math),
        num(block.num), plan(block.plan), tiles(block),
        pixels(plan.getPixels()), depth(plan.getDepth()),
        columns(plan.getChannels()), access(16 / block.elementBytes) {}

  void run() {
    placeThread();
    mainLoop();
    finish();
  }

private:
  void placeThread();
  void mainLoop();
  void finish();

  SmallVector<Value> multiply(Value stage, ArrayRef<Value> sums);
  Value sharedLoad(Value buffer, ArrayRef<Value> at, int64_t size);

  BlockBuilder &block;
  OpBuilder &b;
  Location loc;
  IndexMath &math, &num;
  GPUPlanAttr plan;
  RegisterTiles tiles;
  int64_t pixels, depth, columns;
  int64_t access; ///< elements of 16 bytes

  // The thread's register tile: `runs` of `run` neighbours each.
  int64_t pixelRun, pixelRuns, channelRun, channelRuns;
  SmallVector<Value> pixelAt, channelAt; ///< where runs start, an index

  SmallVector<Value> sums;
};

} // namespace

/// Warps are cut so that the accesses of their threads to shared memory touch
/// few words of each tile and each bank once.
void SimtBlock::placeThread() {
  int64_t ownPixels = plan.getThreadPixels(), own = plan.getThreadChannels();
  int64_t down = pixels / ownPixels, across = columns / own;
  int64_t laneAcross = std::min<int64_t>(8, across);
  int64_t laneDown = std::min<int64_t>(32 / laneAcross, down);
  laneAcross = 32 / laneDown;
  Value rest = block.thread;
  Value x = num.takeDigit(rest, laneAcross), y = num.takeDigit(rest, laneDown);
  Value warpDown = num.takeDigit(rest, down / laneDown), warpAcross = rest;
  pixelRun = std::min(access, ownPixels);
  pixelRuns = ownPixels / pixelRun;
  channelRun = std::min(access, own);
  channelRuns = own / channelRun;
  auto place = [&](SmallVector<Value> &at, Value warp, Value lane,
                   int64_t lanes, int64_t run, int64_t runs) {
    Value first =
        num.add(num.mul(warp, lanes * run * runs), num.mul(lane, run));
    for (int64_t i = 0; i < runs; ++i)
      at.push_back(math.cast(num.add(first, i * lanes * run)));
  };
  place(pixelAt, warpDown, y, laneDown, pixelRun, pixelRuns);
  place(channelAt, warpAcross, x, laneAcross, channelRun, channelRuns);
}

Value SimtBlock::sharedLoad(Value buffer, ArrayRef<Value> at, int64_t size) {
  auto type = VectorType::get({size}, block.element);
  return vector::LoadOp::create(b, loc, type, buffer, at, /*nontemporal=*/false,
                                llvm::MaybeAlign(size * block.elementBytes));
}

SmallVector<Value> SimtBlock::multiply(Value stage, ArrayRef<Value> before) {
  SmallVector<Value> sums(before);
  auto type = VectorType::get({channelRun}, block.element);
  for (int64_t k = 0; k < depth; ++k) {
    Value product = math.constant(k);
    SmallVector<Value> weights;
    for (Value at : channelAt)
      weights.push_back(
          sharedLoad(tiles.filterTile(), {stage, product, at}, channelRun));
    size_t sum = 0;
    for (Value at : pixelAt) {
      Value inputs =
          sharedLoad(tiles.inputTile(), {stage, product, at}, pixelRun);
      for (int64_t i = 0; i < pixelRun; ++i) {
        Value one = vector::ExtractOp::create(b, loc, inputs, i);
        Value x = vector::BroadcastOp::create(b, loc, type, one);
        for (Value weight : weights) {
          sums[sum] = vector::FMAOp::create(b, loc, x, weight, sums[sum]);
          ++sum;
        }
      }
    }
  }
  return sums;
}

void SimtBlock::mainLoop() {
  auto zero = cast<TypedAttr>(
      b.getZeroAttr(VectorType::get({channelRun}, block.element)));
  SmallVector<Value> start(pixelRun * pixelRuns * channelRuns,
                           arith::ConstantOp::create(b, loc, zero));
  size_t tile = start.size();
  SmallVector<Value> first = tiles.start();
  Value steps = tiles.steps(), none = num.constant(0);
  tiles.store(
      tiles.loadIf(num.compare(arith::CmpIPredicate::sgt, steps, none), first),
      math.constant(0));
  gpu::BarrierOp::create(b, loc);

  llvm::append_range(start, first);
  auto loop = scf::ForOp::create(b, loc, none, steps, num.constant(1), start);
  {
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(loop.getBody());
    Value i = loop.getInductionVar();
    ValueRange carried = loop.getRegionIterArgs();
    SmallVector<Value> position = tiles.next(carried.drop_front(tile));
    Value hasNext =
        num.compare(arith::CmpIPredicate::slt, num.add(i, 1), steps);
    SmallVector<Value> values = tiles.loadIf(hasNext, position);
    Value stage =
        math.cast(b.createOrFold<arith::AndIOp>(loc, i, num.constant(1)));
    SmallVector<Value> yields =
        multiply(stage, SmallVector<Value>(carried.take_front(tile)));
    math.branch(hasNext, [&] {
      tiles.store(values, math.sub(math.constant(1), stage));
    });
    gpu::BarrierOp::create(b, loc);
    llvm::append_range(yields, position);
    scf::YieldOp::create(b, loc, yields);
  }
  sums.assign(loop.getResults().begin(), loop.getResults().begin() + tile);
}

void SimtBlock::finish() {
  // The block's first channel in its group, and of the group in the layer.
  Value group = num.cast(block.op.getChannels());
  Value inGroup =
      num.mul(num.takeDigit(group, block.channels.blocksPerGroup()), columns);
  Value inLayer = num.add(num.mul(group, block.channels.perGroup), inGroup);
  SmallVector<Value> channel, existing;
  for (Value at : channelAt) {
    Value inBlock = num.cast(at);
    channel.push_back(num.add(inLayer, inBlock));
    existing.push_back(block.channels.tail()
                           ? num.sub(num.constant(block.channels.perGroup),
                                     num.add(inGroup, inBlock))
                           : Value());
  }
  size_t sum = 0;
  for (Value at : pixelAt)
    for (int64_t i = 0; i < pixelRun; ++i) {
      BlockPixel pixel = block.pixel(num.add(num.cast(at), i));
      Value base = block.outputBase(pixel);
      for (auto [first, left] : llvm::zip(channel, existing)) {
        Value value = sums[sum++];
        if (channelRun == 1)
          value = vector::ExtractOp::create(b, loc, value, 0);
        block.finish(value, pixel, base, first, left);
      }
    }
}

void convjit::expandSimt(BlockBuilder &block) { SimtBlock(block).run(); }
