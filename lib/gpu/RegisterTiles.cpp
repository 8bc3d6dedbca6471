//===- RegisterTiles.cpp - tiles through registers to shared memory -*- C++
//-*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "RegisterTiles.h"

#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"

using namespace mlir;
using namespace convjit;
using namespace convjit::conv;

RegisterTiles::RegisterTiles(BlockBuilder &block)
    : block(block), b(block.b), loc(block.loc), math(block.math),
      num(block.num), plan(block.plan), reduction(block),
      pixels(plan.getPixels()), depth(plan.getDepth()),
      columns(plan.getChannels()), threads(plan.getThreads()),
      access(16 / block.elementBytes), mixed(plan.getMixed()) {
  placeInput();
  placeFilter();
  openShared();
}

/// With channels last, neighbouring threads take the channels of a pixel, else
/// neighbouring pixels.
void RegisterTiles::placeInput() {
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

void RegisterTiles::placeFilter() {
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

void RegisterTiles::openShared() {
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
  input = view(row, 0);
  filter = view(columns, stages * depth * row * block.elementBytes);
}

SmallVector<Value> RegisterTiles::start() {
  // One for all threads, or one for each slot whose product differs.
  SmallVector<Value> products;
  if (!mixed) {
    products.push_back(num.constant(0));
  } else {
    llvm::append_range(products, slotDepth);
    llvm::append_range(products, filterDepth);
  }
  return reduction.starts(products);
}

SmallVector<Value> RegisterTiles::next(ValueRange position) {
  return reduction.nexts(position);
}

void RegisterTiles::loadInput(ArrayRef<ReductionPosition> positions,
                              SmallVectorImpl<Value> &values) {
  // Where each product's element lies, and whether the channel exists.
  SmallVector<Value> offset, channelExists;
  for (auto [i, product] : llvm::enumerate(slotDepth)) {
    auto [at, exists] = reduction.product(positions[mixed ? i : 0], product);
    offset.push_back(at);
    channelExists.push_back(exists);
  }
  for (auto [pixel, product] : slotOf) {
    Value condition = block.isInside(pixelInputAt[pixel],
                                     positions[mixed ? product : 0].taps());
    condition = block.num.both(condition, channelExists[product]);
    condition = block.num.both(condition, inputActive);
    values.push_back(block.loadIf(condition, pixelRow[pixel], offset[product],
                                  plan.getVector()));
  }
}

void RegisterTiles::loadFilter(ArrayRef<ReductionPosition> positions,
                               SmallVectorImpl<Value> &values) {
  int64_t padded = block.filterType.getDimSize(1 + block.rank);
  for (int64_t i = 0; i < filterSlots; ++i) {
    const ReductionPosition &at = positions[mixed ? slotDepth.size() + i : 0];
    Value row =
        num.add(num.mul(block.filterTap(at.taps()), padded), at.channel());
    Value exists = reduction.exists(at);
    if (!mixed)
      row = num.add(row, filterDepth[i]);
    Value from = num.add(num.mul(row, columns), filterColumn[i]);
    values.push_back(block.loadIf(block.num.both(exists, filterActive),
                                  filterRow, from, access));
  }
}

SmallVector<Value> RegisterTiles::load(ValueRange position) {
  SmallVector<ReductionPosition> positions = reduction.split(position);
  SmallVector<Value> values;
  loadInput(positions, values);
  loadFilter(positions, values);
  return values;
}

SmallVector<Value> RegisterTiles::loadIf(Value condition, ValueRange position) {
  SmallVector<Type> types(inputSlots, block.typeOf(plan.getVector()));
  types.append(filterSlots, block.typeOf(access));
  auto either = scf::IfOp::create(b, loc, types, condition, true);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(either.thenBlock());
  scf::YieldOp::create(b, loc, load(position));
  b.setInsertionPointToStart(either.elseBlock());
  SmallVector<Value> zeros(inputSlots, block.zero(plan.getVector()));
  zeros.append(filterSlots, block.zero(access));
  scf::YieldOp::create(b, loc, zeros);
  return either.getResults();
}

void RegisterTiles::store(ArrayRef<Value> values, Value stage) {
  int64_t vector = plan.getVector();
  auto inputs = [&] {
    for (auto [slot, value] : llvm::zip(slotOf, values)) {
      Value pixel = math.cast(slotPixel[slot.first]);
      for (int64_t i = 0; i < vector; ++i) {
        Value one = value;
        if (vector > 1)
          one = vector::ExtractOp::create(b, loc, value, i);
        Value product = math.cast(num.add(slotDepth[slot.second], i));
        memref::StoreOp::create(b, loc, one, input,
                                ValueRange{stage, product, pixel});
      }
    }
  };
  auto filters = [&] {
    for (int64_t i = 0; i < filterSlots; ++i)
      vector::StoreOp::create(b, loc, values[inputSlots + i], filter,
                              ValueRange{stage, math.cast(filterDepth[i]),
                                         math.cast(filterColumn[i])},
                              /*nontemporal=*/false, llvm::MaybeAlign(16));
  };
  math.branch(inputActive, inputs);
  math.branch(filterActive, filters);
}
