//===- SimtBlock.cpp - a matrix product by fused multiply-adds -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Reduction.h"

#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"

using namespace mlir;
using namespace convjit;
using namespace convjit::conv;

// Rows are the box's pixels, columns a block of output channels, the reduction
// goes over taps and input channels. While threads multiply one step's tiles
// of input and filter from shared memory, they have the next step's elements on
// their way into registers, and put them into the other half of shared memory
// at the end; one barrier a step.
//
// Shared memory holds both tiles with the reduction outermost, so that a thread
// reads neighbouring pixels, and neighbouring channels, with one access.

namespace {

/// Elements of a tile that one thread brings from global to shared memory.
struct Slots {
  /// Slots of the thread, and whether threads past the last have none.
  int64_t count;
  Value active; ///< null: all threads
};

class SimtBlock {
public:
  explicit SimtBlock(BlockBuilder &block)
      : block(block), b(block.b), loc(block.loc), math(block.math),
        num(block.num), plan(block.plan), reduction(block),
        pixels(plan.getPixels()), depth(plan.getDepth()),
        columns(plan.getChannels()), threads(plan.getThreads()),
        access(16 / block.elementBytes) {}

  void run() {
    placeThread();
    placeInput();
    placeFilter();
    openShared();
    mainLoop();
    finish();
  }

private:
  void placeThread();
  void placeInput();
  void placeFilter();
  void openShared();
  void mainLoop();
  void finish();

  /// What a step needs, as positions: one for all threads, or one for each slot
  /// whose product differs.
  SmallVector<ReductionPosition> startInput(), startFilter();
  SmallVector<Value> load(ArrayRef<ReductionPosition> input,
                          ArrayRef<ReductionPosition> filter);
  void store(ArrayRef<Value> values, Value stage);
  SmallVector<Value> multiply(Value stage, ArrayRef<Value> sums);
  Value sharedLoad(Value buffer, ArrayRef<Value> at, int64_t size);

  BlockBuilder &block;
  OpBuilder &b;
  Location loc;
  IndexMath &math, &num;
  GPUPlanAttr plan;
  Reduction reduction;
  int64_t pixels, depth, columns, threads;
  int64_t access; ///< elements of 16 bytes

  // The thread's register tile: `runs` of `run` neighbours each.
  int64_t pixelRun, pixelRuns, channelRun, channelRuns;
  SmallVector<Value> pixelAt, channelAt; ///< where runs start, an index

  // Input slots: (pixel, first product) with `vector` products each.
  int64_t inputSlots;
  Value inputActive;
  SmallVector<Value> slotPixel, slotDepth; ///< distinct ones, in num.type
  SmallVector<std::pair<int64_t, int64_t>> slotOf;
  SmallVector<Value> pixelRow;
  SmallVector<SmallVector<Value>> pixelInputAt;

  int64_t filterSlots;
  Value filterActive, filterRow;
  SmallVector<Value> filterDepth, filterColumn;

  Value inputTile, filterTile; ///< [stage][depth][pixel or channel]
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

/// With channels last, neighbouring threads take the channels of a pixel, else
/// neighbouring pixels.
void SimtBlock::placeInput() {
  int64_t vector = plan.getVector();
  int64_t across = block.inputChannelsLast ? depth / vector : pixels;
  int64_t all = pixels * depth / vector;
  inputSlots = std::max<int64_t>(1, all / threads);
  if (all < threads)
    inputActive =
        num.compare(arith::CmpIPredicate::ult, block.thread, num.constant(all));
  // With channels last an access becomes stores to several rows of shared
  // memory, each of which begins 16 bytes past whole lines: a warp that stores
  // 8 products of neighbouring pixels meets each bank once. In memory they are
  // a sector of each pixel.
  int64_t lowInner = 1, lowOuter = 1;
  if (block.inputChannelsLast && depth > 8) {
    lowInner = std::max<int64_t>(1, 8 / vector);
    lowOuter = 32 / lowInner;
    if (pixels < lowOuter)
      lowInner = lowOuter = 1;
  }
  // Slot i of a thread is number thread + i * threads, but for these low
  // digits. All are powers of two, so that slots are a grid.
  int64_t lanes = threads / (lowInner * lowOuter), wide = across / lowInner;
  int64_t jump = std::max<int64_t>(1, lanes / wide);
  int64_t around = std::max<int64_t>(1, wide / lanes);
  Value inner = block.thread, outer = num.constant(0);
  Value innerLane = num.takeDigit(inner, lowInner);
  Value outerLane = num.takeDigit(inner, lowOuter);
  if (lanes > wide) {
    outer = inner;
    inner = num.takeDigit(outer, wide);
  }
  SmallVector<Value> inners, outers;
  for (int64_t i = 0; i < around; ++i)
    inners.push_back(
        num.add(num.mul(num.add(inner, i * lanes), lowInner), innerLane));
  for (int64_t i = 0; i < inputSlots / around; ++i)
    outers.push_back(
        num.add(num.mul(num.add(outer, i * jump), lowOuter), outerLane));
  SmallVector<Value> &fast = block.inputChannelsLast ? slotDepth : slotPixel;
  SmallVector<Value> &slow = block.inputChannelsLast ? slotPixel : slotDepth;
  for (Value inner : inners)
    fast.push_back(block.inputChannelsLast ? num.mul(inner, vector) : inner);
  slow = outers;
  for (size_t o = 0; o < outers.size(); ++o)
    for (size_t i = 0; i < inners.size(); ++i)
      slotOf.push_back(block.inputChannelsLast
                           ? std::pair<int64_t, int64_t>(o, i)
                           : std::pair<int64_t, int64_t>(i, o));
  for (Value number : slotPixel) {
    BlockPixel pixel = block.pixel(number);
    pixelRow.push_back(block.row(block.op.getInput(), block.inputBase(pixel)));
    pixelInputAt.push_back(block.inputAt(pixel));
  }
}

void SimtBlock::placeFilter() {
  int64_t across = columns / access, all = depth * across;
  filterSlots = std::max<int64_t>(1, all / threads);
  if (all < threads)
    filterActive =
        num.compare(arith::CmpIPredicate::ult, block.thread, num.constant(all));
  for (int64_t i = 0; i < filterSlots; ++i) {
    Value row = num.add(block.thread, i * threads);
    Value column = num.takeDigit(row, across);
    filterColumn.push_back(num.mul(column, access));
    filterDepth.push_back(row);
  }
  int64_t blockElements = block.filterType.getNumElements() /
                          std::max<int64_t>(block.filterType.getDimSize(0), 1);
  filterRow = block.row(block.op.getFilter(),
                        math.mul(block.op.getChannels(), blockElements));
}

void SimtBlock::openShared() {
  auto space =
      gpu::AddressSpaceAttr::get(b.getContext(), gpu::AddressSpace::Workgroup);
  auto bytes = MemRefType::get({ShapedType::kDynamic}, b.getI8Type(),
                               MemRefLayoutAttrInterface(), space);
  Value all = gpu::DynamicSharedMemoryOp::create(b, loc, bytes);
  int64_t stages = plan.getStages();
  auto view = [&](int64_t row, int64_t offset) -> Value {
    auto type = MemRefType::get({stages, depth, row}, block.element,
                                MemRefLayoutAttrInterface(), space);
    return memref::ViewOp::create(b, loc, type, all, math.constant(offset),
                                  ValueRange());
  };
  int64_t row =
      pixels + sharedPadding(block.elementBytes, block.inputChannelsLast);
  inputTile = view(row, 0);
  filterTile = view(columns, stages * depth * row * block.elementBytes);
}

SmallVector<ReductionPosition> SimtBlock::startInput() {
  SmallVector<ReductionPosition> positions;
  if (!plan.getMixed())
    return {reduction.start(num.constant(0))};
  for (Value product : slotDepth)
    positions.push_back(reduction.start(product));
  return positions;
}

SmallVector<ReductionPosition> SimtBlock::startFilter() {
  SmallVector<ReductionPosition> positions;
  if (plan.getMixed())
    for (Value row : filterDepth)
      positions.push_back(reduction.start(row));
  return positions;
}

SmallVector<Value> SimtBlock::load(ArrayRef<ReductionPosition> input,
                                   ArrayRef<ReductionPosition> filter) {
  int64_t vector = plan.getVector();
  bool mixed = plan.getMixed();
  Value stride =
      block.stride(block.op.getInput(), block.numbers.getInputFeature(), num);
  // Where each product's element lies, and whether the channel exists.
  SmallVector<Value> offset, channelExists;
  for (auto [i, product] : llvm::enumerate(slotDepth)) {
    const ReductionPosition &at = input[mixed ? i : 0];
    Value channel = at.channel(), exists = reduction.exists(at);
    if (!mixed) {
      channel = num.add(channel, product);
      if (block.reduction % depth)
        exists = num.compare(arith::CmpIPredicate::slt, channel,
                             num.constant(block.reduction));
    }
    offset.push_back(
        num.add(block.tapOffset(at.taps()), num.mul(channel, stride)));
    channelExists.push_back(exists);
  }
  SmallVector<Value> values;
  for (auto [pixel, product] : slotOf) {
    Value condition =
        block.isInside(pixelInputAt[pixel], input[mixed ? product : 0].taps());
    condition = block.both(condition, channelExists[product]);
    condition = block.both(condition, inputActive);
    values.push_back(
        block.loadIf(condition, pixelRow[pixel], offset[product], vector));
  }
  int64_t padded = block.filterType.getDimSize(1 + block.rank);
  for (int64_t i = 0; i < filterSlots; ++i) {
    const ReductionPosition &at = mixed ? filter[i] : input[0];
    Value row =
        num.add(num.mul(block.filterTap(at.taps()), padded), at.channel());
    Value exists = reduction.exists(at);
    if (!mixed)
      row = num.add(row, filterDepth[i]);
    Value from = num.add(num.mul(row, columns), filterColumn[i]);
    values.push_back(block.loadIf(block.both(exists, filterActive), filterRow,
                                  from, access));
  }
  return values;
}

void SimtBlock::store(ArrayRef<Value> values, Value stage) {
  int64_t vector = plan.getVector();
  auto inputs = [&] {
    for (auto [slot, value] : llvm::zip(slotOf, values)) {
      Value pixel = math.cast(slotPixel[slot.first]);
      for (int64_t i = 0; i < vector; ++i) {
        Value one = value;
        if (vector > 1)
          one = vector::ExtractOp::create(b, loc, value, i);
        Value product = math.cast(num.add(slotDepth[slot.second], i));
        memref::StoreOp::create(b, loc, one, inputTile,
                                ValueRange{stage, product, pixel});
      }
    }
  };
  auto filters = [&] {
    for (int64_t i = 0; i < filterSlots; ++i)
      vector::StoreOp::create(b, loc, values[inputSlots + i], filterTile,
                              ValueRange{stage, math.cast(filterDepth[i]),
                                         math.cast(filterColumn[i])},
                              /*nontemporal=*/false, llvm::MaybeAlign(16));
  };
  auto guarded = [&](Value active, function_ref<void()> body) {
    if (active)
      math.branch(active, body);
    else
      body();
  };
  guarded(inputActive, inputs);
  guarded(filterActive, filters);
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
          sharedLoad(filterTile, {stage, product, at}, channelRun));
    size_t sum = 0;
    for (Value at : pixelAt) {
      Value inputs = sharedLoad(inputTile, {stage, product, at}, pixelRun);
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

/// Positions of several kinds as one list of loop-carried values.
static SmallVector<Value> flatten(ArrayRef<ReductionPosition> positions) {
  SmallVector<Value> list;
  for (const ReductionPosition &position : positions)
    llvm::append_range(list, position.digits);
  return list;
}
static void unflatten(MutableArrayRef<ReductionPosition> positions,
                      ValueRange &list) {
  for (ReductionPosition &position : positions)
    for (Value &digit : position.digits) {
      digit = list.front();
      list = list.drop_front();
    }
}

void SimtBlock::mainLoop() {
  auto zero = cast<TypedAttr>(
      b.getZeroAttr(VectorType::get({channelRun}, block.element)));
  SmallVector<Value> start(pixelRun * pixelRuns * channelRuns,
                           arith::ConstantOp::create(b, loc, zero));
  size_t tile = start.size();
  SmallVector<ReductionPosition> input = startInput(), filter = startFilter();
  Value steps = reduction.steps(), none = num.constant(0);
  auto loadWhile = [&](Value condition) {
    SmallVector<Type> types(inputSlots, block.typeOf(plan.getVector()));
    types.append(filterSlots, block.typeOf(access));
    auto either = scf::IfOp::create(b, loc, types, condition, true);
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(either.thenBlock());
    scf::YieldOp::create(b, loc, load(input, filter));
    b.setInsertionPointToStart(either.elseBlock());
    SmallVector<Value> zeros(inputSlots, block.zero(plan.getVector()));
    zeros.append(filterSlots, block.zero(access));
    scf::YieldOp::create(b, loc, zeros);
    return SmallVector<Value>(either.getResults());
  };
  store(loadWhile(num.compare(arith::CmpIPredicate::sgt, steps, none)),
        math.constant(0));
  gpu::BarrierOp::create(b, loc);

  llvm::append_range(start, flatten(input));
  llvm::append_range(start, flatten(filter));
  auto loop = scf::ForOp::create(b, loc, none, steps, num.constant(1), start);
  {
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(loop.getBody());
    Value i = loop.getInductionVar();
    ValueRange carried = loop.getRegionIterArgs();
    SmallVector<Value> own(carried.take_front(tile));
    carried = carried.drop_front(tile);
    unflatten(input, carried);
    unflatten(filter, carried);
    for (ReductionPosition &position :
         llvm::concat<ReductionPosition>(input, filter))
      position = reduction.next(position);
    Value next = num.add(i, 1);
    Value hasNext = num.compare(arith::CmpIPredicate::slt, next, steps);
    SmallVector<Value> values = loadWhile(hasNext);
    Value stage =
        math.cast(b.createOrFold<arith::AndIOp>(loc, i, num.constant(1)));
    SmallVector<Value> yields = multiply(stage, own);
    math.branch(hasNext,
                [&] { store(values, math.sub(math.constant(1), stage)); });
    gpu::BarrierOp::create(b, loc);
    llvm::append_range(yields, flatten(input));
    llvm::append_range(yields, flatten(filter));
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
