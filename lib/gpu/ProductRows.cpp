//===- ProductRows.cpp - tiles, a product a row -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "AsyncTiles.h"
#include "Buffers.h"

#include "mlir/Dialect/MemRef/IR/MemRef.h"

using namespace mlir;
using namespace convjit;
using namespace convjit::conv;

// What a weight's gradient is summed over are images, which are far apart in
// memory; its pixels are the layer's channels, which are neighbours. Where
// every run of them begins aligned (the plan's vector says how long runs are),
// they are copied as they are. Else, and with an odd number of channels, or
// pixels as neighbours, elements of 16 bits are all that is aligned: a copy has
// at least four bytes, so that a thread loads two neighbours while a step is
// multiplied, and stores them as one word at its end.

namespace {

class ProductRows final : public AsyncTiles {
public:
  explicit ProductRows(BlockBuilder &block);

  SmallVector<Value> loadIf(Value condition, ValueRange position) override;
  void store(ArrayRef<Value> values, Value stage) override;

private:
  SmallVector<Value> ownProducts() override;
  void copyInput(ArrayRef<ReductionPosition> positions, Value stage) override;
  void copyFilter(ArrayRef<ReductionPosition> positions, Value stage) override;

  SmallVector<Value> load(ValueRange position);

  bool throughRegisters;
  /// Of each unit the pixels that have a base of their own.
  SmallVector<Value> pixelRow;
  SmallVector<SmallVector<Value>> pixelInputAt;
};

} // namespace

ProductRows::ProductRows(BlockBuilder &block)
    : AsyncTiles(block, true), throughRegisters(plan.getVector() == 1) {
  // Neighbouring threads read what is side by side in memory.
  input =
      place(depth, plan.getPixels(), throughRegisters ? 2 : plan.getVector(),
            /*alongRows=*/!block.inputChannelsLast);
  filter = place(depth, plan.getChannels(), chunk, /*alongRows=*/true);
  filter.firstPosition = input.row.size();
  for (Value unit : input.unit)
    for (int64_t i = 0; i < (throughRegisters ? 2 : 1); ++i) {
      BlockPixel pixel = block.pixel(num.add(num.mul(unit, input.vector), i));
      pixelRow.push_back(
          block.row(block.op.getInput(), block.inputBase(pixel)));
      pixelInputAt.push_back(block.inputAt(pixel));
    }
  openShared();
}

SmallVector<Value> ProductRows::ownProducts() {
  SmallVector<Value> products = input.row;
  llvm::append_range(products, filter.row);
  return products;
}

void ProductRows::copyInput(ArrayRef<ReductionPosition> positions,
                            Value stage) {
  if (throughRegisters)
    return;
  for (size_t row = 0; row < input.row.size(); ++row) {
    const ReductionPosition &at = positions[mixed ? row : 0];
    auto [offset, exists] = reduction.product(at, input.row[row]);
    for (size_t unit = 0; unit < input.unit.size(); ++unit)
      issue(input, row, unit, stage, pixelRow[unit], offset,
            block.num.both(block.isInside(pixelInputAt[unit], at.taps()),
                           exists));
  }
}

void ProductRows::copyFilter(ArrayRef<ReductionPosition> positions,
                             Value stage) {
  int64_t padded = paddedReduction(plan, block.reduction);
  for (size_t row = 0; row < filter.row.size(); ++row) {
    const ReductionPosition &at =
        positions[mixed ? filter.firstPosition + row : 0];
    Value product =
        num.add(num.mul(block.filterTap(at.taps()), padded), at.channel());
    if (!mixed)
      product = num.add(product, filter.row[row]);
    Value first = num.mul(product, filter.length);
    for (auto [u, unit] : llvm::enumerate(filter.unit))
      issue(filter, row, u, stage, filterRow,
            num.add(first, num.mul(unit, filter.vector)), reduction.exists(at));
  }
}

SmallVector<Value> ProductRows::load(ValueRange position) {
  SmallVector<ReductionPosition> positions = reduction.split(position);
  auto pair = VectorType::get({2}, block.stored);
  SmallVector<Value> values;
  for (size_t row = 0; row < input.row.size(); ++row) {
    const ReductionPosition &at = positions[mixed ? row : 0];
    auto [offset, exists] = reduction.product(at, input.row[row]);
    Value condition = block.num.both(exists, input.active);
    for (size_t unit = 0; unit < input.unit.size(); ++unit) {
      SmallVector<Value, 2> both;
      for (size_t pixel : {2 * unit, 2 * unit + 1})
        both.push_back(loadOrZero(
            math,
            block.num.both(block.isInside(pixelInputAt[pixel], at.taps()),
                           condition),
            pixelRow[pixel], offset));
      values.push_back(vector::FromElementsOp::create(b, loc, pair, both));
    }
  }
  return values;
}

SmallVector<Value> ProductRows::loadIf(Value condition, ValueRange position) {
  if (!throughRegisters)
    return {};
  auto pair = VectorType::get({2}, block.stored);
  SmallVector<Type> types(input.row.size() * input.unit.size(), pair);
  auto either = scf::IfOp::create(b, loc, types, condition,
                                  /*withElseRegion=*/true);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(either.thenBlock());
  scf::YieldOp::create(b, loc, load(position));
  b.setInsertionPointToStart(either.elseBlock());
  Value zero = arith::ConstantOp::create(b, loc, b.getZeroAttr(pair));
  scf::YieldOp::create(b, loc, SmallVector<Value>(types.size(), zero));
  return either.getResults();
}

void ProductRows::store(ArrayRef<Value> values, Value stage) {
  if (!throughRegisters)
    return;
  math.branch(input.active, [&] {
    for (size_t i = 0; i < values.size(); ++i)
      vector::StoreOp::create(
          b, loc, values[i], input.view,
          placeOf(input, i / input.unit.size(), i % input.unit.size(), stage),
          /*nontemporal=*/false, llvm::MaybeAlign(4));
  });
}

std::unique_ptr<AsyncTiles> convjit::productRows(BlockBuilder &block) {
  return std::make_unique<ProductRows>(block);
}
