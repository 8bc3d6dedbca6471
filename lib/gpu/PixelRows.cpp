//===- PixelRows.cpp - tiles, a pixel a row -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "AsyncTiles.h"

using namespace mlir;
using namespace convjit;
using namespace convjit::conv;

namespace {

class PixelRows final : public AsyncTiles {
public:
  explicit PixelRows(BlockBuilder &block);

private:
  SmallVector<Value> ownProducts() override;
  void copyInput(ArrayRef<ReductionPosition> positions, Value stage) override;
  void copyFilter(ArrayRef<ReductionPosition> positions, Value stage) override;

  SmallVector<Value> pixelRow;
  SmallVector<SmallVector<Value>> pixelInputAt;
};

} // namespace

PixelRows::PixelRows(BlockBuilder &block) : AsyncTiles(block, false) {
  // The packed filter has whole steps, so whole chunks, unless steps hold
  // several taps.
  input =
      place(plan.getPixels(), depth, plan.getVector(), block.inputChannelsLast);
  filter = place(plan.getChannels(), depth, mixed ? plan.getVector() : chunk,
                 /*alongRows=*/true);
  // Both go through the same products of a step where both are read along them.
  if (!block.inputChannelsLast)
    filter.firstPosition = input.unit.size();
  for (Value number : input.row) {
    BlockPixel pixel = block.pixel(number);
    pixelRow.push_back(block.row(block.op.getInput(), block.inputBase(pixel)));
    pixelInputAt.push_back(block.inputAt(pixel));
  }
  openShared();
}

SmallVector<Value> PixelRows::ownProducts() {
  SmallVector<Value> products;
  for (Value unit : input.unit)
    products.push_back(num.mul(unit, input.vector));
  if (filter.firstPosition)
    for (Value unit : filter.unit)
      products.push_back(num.mul(unit, filter.vector));
  return products;
}

void PixelRows::copyInput(ArrayRef<ReductionPosition> positions, Value stage) {
  for (auto [u, unit] : llvm::enumerate(input.unit)) {
    const ReductionPosition &at = positions[mixed ? u : 0];
    auto [offset, exists] = reduction.product(at, num.mul(unit, input.vector));
    for (size_t row = 0; row < input.row.size(); ++row)
      issue(
          input, row, u, stage, pixelRow[row], offset,
          block.num.both(block.isInside(pixelInputAt[row], at.taps()), exists));
  }
}

void PixelRows::copyFilter(ArrayRef<ReductionPosition> positions, Value stage) {
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

std::unique_ptr<AsyncTiles> convjit::pixelRows(BlockBuilder &block) {
  return std::make_unique<PixelRows>(block);
}
