//===- MmaBlock.cpp - a matrix product by tensor cores -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "AsyncTiles.h"

#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/Dialect/NVGPU/IR/NVGPUDialect.h"

using namespace mlir;
using namespace convjit;
using namespace convjit::conv;

// Rows are the box's pixels, columns a block of output channels. While one
// step's tiles are multiplied, those of the next stages - 1 are on their way to
// shared memory (AsyncTiles); one barrier a step. What a warp multiplies and
// how is all that is here: another kind of tensor core has the same tiles.
//
// In words of 4 bytes the fragments of mma.sync are the same for tf32 (m16n8k8)
// and for 16-bit types (m16n8k16): a product has two chunks of 16 bytes of 16
// rows of input and of 8 rows of the filter. ldmatrix reads them, tf32 ones
// too: it moves rows of 16 bytes and gives each thread 4 of them. Where rows of
// the tiles are products, which is so in 16 bits alone, it gives each thread
// two elements of a column instead.

namespace {

class MmaBlock {
public:
  explicit MmaBlock(BlockBuilder &block)
      : block(block), b(block.b), loc(block.loc), math(block.math),
        num(block.num), plan(block.plan), tiles(AsyncTiles::create(block)),
        words(4 / block.storedBytes), down(plan.getThreadPixels() / 2),
        across(plan.getThreadChannels() / 2) {}

  void run() {
    placeWarp();
    mainLoop();
    finish();
  }

private:
  void placeWarp();
  void mainLoop();
  void finish();
  void multiply(Value stage, MutableArrayRef<Value> sums);
  void product(Value row, Value column, MutableArrayRef<Value> sums);
  void bf16Product(Value row, Value column, MutableArrayRef<Value> sums);
  Value half(Value both, int64_t i);
  /// Where a lane reads its part of the fragments of a tile.
  struct Lane {
    Value row, chunk;
  };
  /// Four matrices of 8 rows of 16 bytes, or two, as registers of the fragment
  /// of two chunks from 2 * k on, and of pixels or channels from `first` of the
  /// warp on.
  Value fragment(Value tile, int64_t rows, Lane at, Value stage, int64_t k,
                 int64_t first, int64_t matrices);

  BlockBuilder &block;
  OpBuilder &b;
  Location loc;
  IndexMath &math, &num;
  GPUPlanAttr plan;
  std::unique_ptr<AsyncTiles> tiles;
  int64_t words;        ///< elements of 4 bytes
  int64_t down, across; ///< products of 16 by 8 that a warp's tile has

  Value firstPixel, firstChannel, lane; ///< of the warp's tile in the block's
  Lane inputLane, filterLane;
  SmallVector<Value> sums; ///< four of each product, down by across
};

} // namespace

void MmaBlock::placeWarp() {
  Value warp = block.thread;
  lane = num.takeDigit(warp, 32);
  Value warpDown = num.takeDigit(warp, plan.getPixels() / (16 * down));
  firstPixel = num.mul(warpDown, 16 * down);
  firstChannel = num.mul(warp, 8 * across);
  // Matrices of the input's fragment: rows 0 and 8 of the first chunk, then of
  // the second. Of two fragments of the filter: both chunks of each.
  Value eight = lane, inEight = num.takeDigit(eight, 8);
  Value high = eight, low = num.takeDigit(high, 2);
  Value second = across > 1 ? high : num.constant(0);
  auto swizzled = [&](Value chunk, Value swizzle) {
    return b.createOrFold<arith::XOrIOp>(loc, chunk, swizzle);
  };
  Value inputSwizzle = tiles->inputSwizzle(inEight);
  Value filterSwizzle = tiles->filterSwizzle(inEight);
  if (tiles->haveProductRows()) {
    // What is a chunk there is eight rows here, and eight rows a chunk.
    Value pixelChunk = num.mul(warpDown, 2 * down);
    Value channelChunk = num.mul(warp, across);
    inputLane = {num.add(inEight, num.mul(high, 8)),
                 swizzled(num.add(pixelChunk, low), inputSwizzle)};
    filterLane = {num.add(inEight, num.mul(low, 8)),
                  swizzled(num.add(channelChunk, second), filterSwizzle)};
    return;
  }
  inputLane = {num.add(firstPixel, num.add(inEight, num.mul(low, 8))),
               swizzled(high, inputSwizzle)};
  filterLane = {num.add(num.add(firstChannel, inEight), num.mul(second, 8)),
                swizzled(low, filterSwizzle)};
}

Value MmaBlock::fragment(Value tile, int64_t rows, Lane at, Value stage,
                         int64_t k, int64_t first, int64_t matrices) {
  int64_t row = first, chunk = 2 * k;
  bool transposed = tiles->haveProductRows();
  if (transposed) {
    rows = plan.getDepth();
    row = 16 * k;
    chunk = first / 8;
  }
  // The warp's first chunk is a multiple of all that it has.
  Value column =
      num.mul(b.createOrFold<arith::XOrIOp>(loc, at.chunk, num.constant(chunk)),
              tiles->chunkElements());
  Value from = num.add(num.add(num.mul(num.cast(stage), rows), at.row), row);
  auto type = VectorType::get({matrices, words}, block.stored);
  return nvgpu::LdMatrixOp::create(
      b, loc, type, tile, ValueRange{math.cast(from), math.cast(column)},
      transposed, static_cast<uint32_t>(matrices));
}

/// One of the two fragments of a filter that were read together.
Value MmaBlock::half(Value both, int64_t i) {
  auto type = VectorType::get({2, words}, block.stored);
  Value result = arith::ConstantOp::create(b, loc, b.getZeroAttr(type));
  for (int64_t row = 0; row < 2; ++row)
    result = vector::InsertOp::create(
        b, loc, vector::ExtractOp::create(b, loc, both, 2 * i + row), result,
        row);
  return result;
}

void MmaBlock::product(Value row, Value column, MutableArrayRef<Value> sums) {
  if (block.stored.isBF16())
    return bf16Product(row, column, sums);
  auto type = VectorType::get({2, 2}, b.getF32Type());
  Value before = vector::FromElementsOp::create(b, loc, type, ValueRange(sums));
  Value after = nvgpu::MmaSyncOp::create(b, loc, row, column, before,
                                         ArrayRef<int64_t>{16, 8, 8 * words},
                                         /*tf32Enabled=*/block.stored.isF32());
  for (int64_t i = 0; i < 4; ++i)
    sums[i] = vector::ExtractOp::create(b, loc, after,
                                        ArrayRef<int64_t>{i / 2, i % 2});
}

/// The nvgpu dialect does not have it.
void MmaBlock::bf16Product(Value row, Value column,
                           MutableArrayRef<Value> sums) {
  auto registers = [&](Value fragment, int64_t count) {
    SmallVector<Value> list;
    for (int64_t i = 0; i < count; ++i) {
      Value pair = vector::ExtractOp::create(b, loc, fragment, i);
      Value word = vector::BitCastOp::create(
          b, loc, VectorType::get({1}, b.getI32Type()), pair);
      list.push_back(vector::ExtractOp::create(b, loc, word, 0));
    }
    return list;
  };
  auto type = LLVM::LLVMStructType::getLiteral(
      b.getContext(), SmallVector<Type>(4, b.getF32Type()));
  Value after = NVVM::MmaOp::create(
      b, loc, type, registers(row, 4), registers(column, 2), sums,
      /*shape=*/ArrayRef<int64_t>{16, 8, 16}, /*b1Op=*/std::nullopt,
      /*intOverflow=*/std::nullopt,
      std::array{NVVM::MMATypes::bf16, NVVM::MMATypes::bf16},
      std::array{NVVM::MMALayout::row, NVVM::MMALayout::col});
  for (int64_t i = 0; i < 4; ++i)
    sums[i] = LLVM::ExtractValueOp::create(b, loc, after, i);
}

void MmaBlock::multiply(Value stage, MutableArrayRef<Value> sums) {
  int64_t twoChunks = 2 * tiles->chunkElements();
  for (int64_t k = 0; k < plan.getDepth() / twoChunks; ++k) {
    SmallVector<Value> rows, columns;
    for (int64_t m = 0; m < down; ++m)
      rows.push_back(fragment(tiles->inputTile(), plan.getPixels(), inputLane,
                              stage, k, 16 * m, 4));
    int64_t pair = std::min<int64_t>(across, 2);
    for (int64_t n = 0; n < across; n += pair) {
      Value both = fragment(tiles->filterTile(), plan.getChannels(), filterLane,
                            stage, k, 8 * n, 2 * pair);
      for (int64_t i = 0; i < pair; ++i)
        columns.push_back(pair == 1 ? both : half(both, i));
    }
    size_t sum = 0;
    for (Value row : rows)
      for (Value columnOf : columns) {
        product(row, columnOf, sums.slice(sum, 4));
        sum += 4;
      }
  }
}

void MmaBlock::mainLoop() {
  int64_t stages = plan.getStages(), ahead = stages - 1;
  size_t tile = 4 * down * across;
  using Predicate = arith::CmpIPredicate;
  Value steps = tiles->steps();
  SmallVector<Value> position = tiles->start();
  size_t digits = position.size();
  for (int64_t i = 0; i < ahead; ++i) {
    Value exists = num.compare(Predicate::slt, num.constant(i), steps);
    math.branch(exists, [&] { tiles->copy(position, math.constant(i)); });
    tiles->commit();
    tiles->store(tiles->loadIf(exists, position), math.constant(i));
    position = tiles->next(position);
  }
  Value zero = arith::ConstantOp::create(b, loc, b.getF32FloatAttr(0));
  SmallVector<Value> start(tile, zero);
  llvm::append_range(start, position);
  // The stages that are multiplied and copied to.
  start.append({math.constant(0), math.constant(ahead)});
  auto loop = scf::ForOp::create(b, loc, num.constant(0), steps,
                                 num.constant(1), start);
  {
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(loop.getBody());
    ValueRange carried = loop.getRegionIterArgs();
    SmallVector<Value> yields(carried.take_front(tile));
    ValueRange at = carried.slice(tile, digits);
    Value read = carried[tile + digits], write = carried.back();
    // The step to multiply has arrived, and nobody reads any longer what the
    // next copies overwrite: the step before.
    tiles->wait(ahead - 1);
    gpu::BarrierOp::create(b, loc);
    Value last = num.add(loop.getInductionVar(), ahead);
    Value exists = num.compare(Predicate::slt, last, steps);
    math.branch(exists, [&] { tiles->copy(at, write); });
    tiles->commit();
    // On their way while this step is multiplied.
    SmallVector<Value> loaded = tiles->loadIf(exists, at);
    multiply(read, yields);
    tiles->store(loaded, write);
    llvm::append_range(yields, tiles->next(at));
    for (Value stage : {read, write}) {
      Value next = math.add(stage, 1);
      yields.push_back(
          math.select(math.compare(Predicate::eq, next, math.constant(stages)),
                      math.constant(0), next));
    }
    scf::YieldOp::create(b, loc, yields);
  }
  sums.assign(loop.getResults().begin(), loop.getResults().begin() + tile);
}

void MmaBlock::finish() {
  // A thread has channels 2 t and 2 t + 1 of pixels g and g + 8 of a product.
  Value quad = lane, inQuad = num.takeDigit(quad, 4);
  Value group = num.cast(block.op.getChannels());
  Value inGroup = num.mul(num.takeDigit(group, block.channels.blocksPerGroup()),
                          plan.getChannels());
  Value inLayer = num.add(num.mul(group, block.channels.perGroup), inGroup);
  SmallVector<Value> channel, existing;
  for (int64_t n = 0; n < across; ++n) {
    Value inBlock = num.add(num.add(firstChannel, 8 * n), num.mul(inQuad, 2));
    channel.push_back(num.add(inLayer, inBlock));
    existing.push_back(block.channels.tail()
                           ? num.sub(num.constant(block.channels.perGroup),
                                     num.add(inGroup, inBlock))
                           : Value());
  }
  auto pair = VectorType::get({2}, b.getF32Type());
  for (int64_t half = 0; half < 2 * down; ++half) {
    BlockPixel pixel =
        block.pixel(num.add(num.add(firstPixel, 8 * half), quad));
    Value base = block.outputBase(pixel);
    for (int64_t n = 0; n < across; ++n) {
      size_t first = 4 * (half / 2 * across + n) + 2 * (half % 2);
      Value value = vector::FromElementsOp::create(
          b, loc, pair, ValueRange{sums[first], sums[first + 1]});
      block.finish(value, pixel, base, channel[n], existing[n]);
    }
  }
}

void convjit::expandMma(BlockBuilder &block) { MmaBlock(block).run(); }
