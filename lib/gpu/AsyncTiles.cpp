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

AsyncTiles::AsyncTiles(BlockBuilder &block)
    : block(block), b(block.b), loc(block.loc), math(block.math),
      num(block.num), plan(block.plan), reduction(block),
      depth(plan.getDepth()), chunk(16 / block.storedBytes),
      mixed(plan.getMixed()) {
  // The packed filter has whole steps, so whole chunks, unless steps hold
  // several taps.
  input = place(plan.getPixels(), plan.getVector(), block.inputChannelsLast);
  filter = place(plan.getChannels(), mixed ? plan.getVector() : chunk, true);
  // Both go through the same products of a step where both are read along them.
  if (!block.inputChannelsLast)
    filter.firstPosition = input.unit.size();
  for (Value number : input.row) {
    BlockPixel pixel = block.pixel(number);
    pixelRow.push_back(block.row(block.op.getInput(), block.inputBase(pixel)));
    pixelInputAt.push_back(block.inputAt(pixel));
  }
  int64_t blockElements = block.filterType.getNumElements() /
                          std::max<int64_t>(block.filterType.getDimSize(0), 1);
  filterRow = block.row(block.op.getFilter(),
                        math.mul(block.op.getChannels(), blockElements));
  openShared();
}

Value AsyncTiles::swizzle(Value row) {
  // Eight rows fill all banks once: of rows of 32 bytes, four are neighbours of
  // a line of 128 and keep their order.
  int64_t chunks = depth / chunk, period = std::min<int64_t>(chunks, 8);
  Value line = b.createOrFold<arith::DivUIOp>(
      loc, row, num.constant(std::max<int64_t>(1, 8 / chunks)));
  return b.createOrFold<arith::AndIOp>(loc, line, num.constant(period - 1));
}

/// Divides `rows` rows among the threads. Neighbouring threads copy neighbours
/// of a row, which are neighbours in memory too; or, where pixels are, the same
/// chunk of eight rows, which is a sector of memory for each of its elements
/// and all banks.
AsyncTiles::Tile AsyncTiles::place(int64_t rows, int64_t vector,
                                   bool alongRows) {
  Tile tile{rows, vector, {}, {}, {}, {}, {}};
  int64_t threads = plan.getThreads(), units = depth / vector;
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
      Value at = b.createOrFold<arith::XOrIOp>(loc, whole, swizzle(row));
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
    auto type = MemRefType::get({rows, depth}, block.stored,
                                MemRefLayoutAttrInterface(), space);
    tile->view = memref::ViewOp::create(b, loc, type, all,
                                        math.constant(offset), ValueRange());
    offset += rows * depth * block.storedBytes;
  }
}

SmallVector<Value> AsyncTiles::start() {
  SmallVector<Value> products;
  if (!mixed) {
    products.push_back(num.constant(0));
  } else {
    for (Value unit : input.unit)
      products.push_back(num.mul(unit, input.vector));
    if (filter.firstPosition)
      for (Value unit : filter.unit)
        products.push_back(num.mul(unit, filter.vector));
  }
  return reduction.starts(products);
}

SmallVector<Value> AsyncTiles::next(ValueRange position) {
  return reduction.nexts(position);
}

void AsyncTiles::issue(Tile &tile, size_t row, size_t unit, Value stage,
                       Value from, Value at, Value condition) {
  Value toRow = math.add(math.mul(stage, tile.rows), math.cast(tile.row[row]));
  Value elements;
  // Elements that are not read become zeros.
  if (condition)
    elements =
        math.select(condition, math.constant(tile.vector), math.constant(0));
  // Weights are read once a block; input again by other taps.
  bool bypass = &tile == &filter && tile.vector == chunk;
  nvgpu::DeviceAsyncCopyOp::create(
      b, loc, nvgpu::DeviceAsyncTokenType::get(b.getContext()), tile.view,
      ValueRange{toRow, tile.to[row * tile.unit.size() + unit]}, from,
      ValueRange{math.cast(at)}, b.getIndexAttr(tile.vector), elements,
      bypass ? b.getUnitAttr() : UnitAttr());
}

void AsyncTiles::copyInput(ArrayRef<ReductionPosition> positions, Value stage) {
  Value stride =
      block.stride(block.op.getInput(), block.numbers.getInputFeature(), num);
  for (auto [u, unit] : llvm::enumerate(input.unit)) {
    const ReductionPosition &at = positions[mixed ? u : 0];
    Value channel = at.channel(), exists = reduction.exists(at);
    if (!mixed) {
      channel = num.add(channel, num.mul(unit, input.vector));
      if (block.reduction % depth)
        exists = num.compare(arith::CmpIPredicate::slt, channel,
                             num.constant(block.reduction));
    }
    Value offset =
        num.add(block.tapOffset(at.taps()), num.mul(channel, stride));
    for (size_t row = 0; row < input.row.size(); ++row)
      issue(input, row, u, stage, pixelRow[row], offset,
            block.both(block.isInside(pixelInputAt[row], at.taps()), exists));
  }
}

void AsyncTiles::copyFilter(ArrayRef<ReductionPosition> positions,
                            Value stage) {
  int64_t padded = paddedReduction(plan, block.reduction);
  for (auto [u, unit] : llvm::enumerate(filter.unit)) {
    const ReductionPosition &at =
        positions[mixed ? filter.firstPosition + u : 0];
    Value channel = at.channel();
    if (!mixed)
      channel = num.add(channel, num.mul(unit, filter.vector));
    Value tap = num.mul(block.filterTap(at.taps()), filter.rows);
    for (auto [r, row] : llvm::enumerate(filter.row))
      issue(filter, r, u, stage, filterRow,
            num.add(num.mul(num.add(tap, row), padded), channel),
            reduction.exists(at));
  }
}

void AsyncTiles::copy(ValueRange position, Value stage) {
  SmallVector<ReductionPosition> positions = reduction.split(position);
  auto guarded = [&](Value active, function_ref<void()> body) {
    if (active)
      math.branch(active, body);
    else
      body();
  };
  guarded(input.active, [&] { copyInput(positions, stage); });
  guarded(filter.active, [&] { copyFilter(positions, stage); });
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
