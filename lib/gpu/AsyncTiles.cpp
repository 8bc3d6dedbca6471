//===- AsyncTiles.cpp - tiles on their way to shared memory -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "AsyncTiles.h"

#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/NVGPU/IR/NVGPUDialect.h"

using namespace mlir;
using namespace convjit;
using namespace convjit::conv;

std::unique_ptr<AsyncTiles> AsyncTiles::create(BlockBuilder &block) {
  return hasProductRows(block.plan, block.stored, block.numbers)
             ? convjit::productRows(block)
             : pixelRows(block);
}

AsyncTiles::AsyncTiles(BlockBuilder &block, bool productRows)
    : block(block), b(block.b), loc(block.loc), math(block.math),
      num(block.num), plan(block.plan), reduction(block),
      depth(plan.getDepth()), chunk(16 / block.storedBytes),
      mixed(plan.getMixed()), productRows(productRows) {
  int64_t blockElements = block.filterType.getNumElements() /
                          std::max<int64_t>(block.filterType.getDimSize(0), 1);
  filterRow = block.row(block.op.getFilter(),
                        math.mul(block.op.getChannels(), blockElements));
}

AsyncTiles::~AsyncTiles() = default;

Value AsyncTiles::swizzle(const Tile &tile, Value row) {
  // Eight rows fill all banks once: of rows of 32 bytes, four are neighbours of
  // a line of 128 and keep their order.
  int64_t chunks = tile.length / chunk, period = std::min<int64_t>(chunks, 8);
  Value line = b.createOrFold<arith::DivUIOp>(
      loc, row, num.constant(std::max<int64_t>(1, 8 / chunks)));
  return b.createOrFold<arith::AndIOp>(loc, line, num.constant(period - 1));
}

/// Divides `rows` rows among the threads. Neighbouring threads move neighbours
/// of a row, which are neighbours in memory too; or, where rows are, the same
/// chunk of eight rows, which is a sector of memory for each of its elements
/// and all banks.
AsyncTiles::Tile AsyncTiles::place(int64_t rows, int64_t length, int64_t vector,
                                   bool alongRows) {
  Tile tile{rows, length, vector};
  int64_t threads = plan.getThreads(), units = length / vector;
  if (rows * units < threads)
    tile.active = num.compare(arith::CmpIPredicate::ult, block.thread,
                              num.constant(rows * units));
  // All numbers are powers of two, so that a thread's part is a grid: it has
  // number thread + i * threads for every i, less digits that are its own.
  Value number = block.thread;
  int64_t lanes = threads;
  Value lowRow, lowUnit;
  int64_t rowLanes = 1, unitLanes = 1;
  if (!alongRows) {
    rowLanes = 8;
    unitLanes = std::min<int64_t>(units, chunk / vector);
    lowRow = num.takeDigit(number, rowLanes);
    lowUnit = num.takeDigit(number, unitLanes);
    lanes /= rowLanes * unitLanes;
  }
  int64_t fastRadix = alongRows ? units : rows / rowLanes;
  int64_t slowRadix = alongRows ? rows : units / unitLanes;
  SmallVector<Value> fast, slow;
  if (lanes >= fastRadix) {
    fast.push_back(num.takeDigit(number, fastRadix));
    int64_t jump = lanes / fastRadix;
    for (int64_t i = 0; i < std::max<int64_t>(1, slowRadix / jump); ++i)
      slow.push_back(num.add(number, i * jump));
  } else {
    for (int64_t i = 0; i < fastRadix / lanes; ++i)
      fast.push_back(num.add(number, i * lanes));
    for (int64_t i = 0; i < slowRadix; ++i)
      slow.push_back(num.constant(i));
  }
  tile.row = alongRows ? slow : fast;
  tile.unit = alongRows ? fast : slow;
  if (!alongRows) {
    for (Value &row : tile.row)
      row = num.add(num.mul(row, rowLanes), lowRow);
    for (Value &unit : tile.unit)
      unit = num.add(num.mul(unit, unitLanes), lowUnit);
  }
  int64_t perChunk = chunk / vector;
  for (Value row : tile.row)
    for (Value unit : tile.unit) {
      Value whole = unit, inside = num.takeDigit(whole, perChunk);
      Value at = b.createOrFold<arith::XOrIOp>(loc, whole, swizzle(tile, row));
      tile.to.push_back(
          math.cast(num.add(num.mul(at, chunk), num.mul(inside, vector))));
    }
  return tile;
}

void AsyncTiles::openShared() {
  auto space =
      gpu::AddressSpaceAttr::get(b.getContext(), gpu::AddressSpace::Workgroup);
  auto bytes = MemRefType::get({ShapedType::kDynamic}, b.getI8Type(),
                               MemRefLayoutAttrInterface(), space);
  Value all = gpu::DynamicSharedMemoryOp::create(b, loc, bytes);
  int64_t offset = 0;
  for (Tile *tile : {&input, &filter}) {
    int64_t rows = plan.getStages() * tile->rows;
    auto type = MemRefType::get({rows, tile->length}, block.stored,
                                MemRefLayoutAttrInterface(), space);
    tile->view = memref::ViewOp::create(b, loc, type, all,
                                        math.constant(offset), ValueRange());
    offset += rows * tile->length * block.storedBytes;
  }
}

SmallVector<Value> AsyncTiles::start() {
  if (!mixed)
    return reduction.starts({num.constant(0)});
  return reduction.starts(ownProducts());
}

SmallVector<Value> AsyncTiles::next(ValueRange position) {
  return reduction.nexts(position);
}

SmallVector<Value, 2> AsyncTiles::placeOf(const Tile &tile, size_t row,
                                          size_t unit, Value stage) {
  return {math.add(math.mul(stage, tile.rows), math.cast(tile.row[row])),
          tile.to[row * tile.unit.size() + unit]};
}

void AsyncTiles::issue(Tile &tile, size_t row, size_t unit, Value stage,
                       Value from, Value at, Value condition) {
  Value elements;
  // Elements that are not read become zeros.
  if (condition)
    elements =
        math.select(condition, math.constant(tile.vector), math.constant(0));
  // Weights are read once a block; input again by other taps.
  bool bypass = &tile == &filter && tile.vector == chunk;
  nvgpu::DeviceAsyncCopyOp::create(
      b, loc, nvgpu::DeviceAsyncTokenType::get(b.getContext()), tile.view,
      placeOf(tile, row, unit, stage), from, ValueRange{math.cast(at)},
      b.getIndexAttr(tile.vector), elements,
      bypass ? b.getUnitAttr() : UnitAttr());
}

void AsyncTiles::copy(ValueRange position, Value stage) {
  SmallVector<ReductionPosition> positions = reduction.split(position);
  math.branch(input.active, [&] { copyInput(positions, stage); });
  math.branch(filter.active, [&] { copyFilter(positions, stage); });
}

void AsyncTiles::commit() {
  lastGroup = nvgpu::DeviceAsyncCreateGroupOp::create(
      b, loc, nvgpu::DeviceAsyncTokenType::get(b.getContext()), ValueRange());
}

void AsyncTiles::wait(int64_t pending) {
  // The number says which groups; the operation wants one that it can see.
  nvgpu::DeviceAsyncWaitOp::create(b, loc, lastGroup,
                                   b.getI32IntegerAttr(pending));
}
