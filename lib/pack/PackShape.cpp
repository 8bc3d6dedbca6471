//===- PackShape.cpp - how a filter is packed in vectors -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "pack/PackShape.h"

#include "llvm/ADT/bit.h"

#include <numeric>

using namespace mlir;
using namespace convjit;
using namespace convjit::conv;

/// Elements of a copying item: enough that finding its place costs nothing.
constexpr int64_t itemElements = 1024;
/// Places of a transposed run of input channels, whose rows follow each other:
/// two lines of f32.
constexpr int64_t maxRun = 32, minRun = 4;
/// Those of taps lie a power of two apart as often as not, in one set of the
/// first-level cache. No more lines than that has ways are written together,
/// and each line as a whole: of OIDHW filters k 3 packs at 9 GB/s with 27
/// places and four lanes at a time.
constexpr int64_t maxTapRun = 9;

PackShape::PackShape(PackSource &source)
    : source(source), op(source.op), fromStrides(stridesOf(source.filter)),
      toStrides(stridesOf(source.packed)) {
  chooseRows();
  chooseRun();
  if (laneStride == 1 && source.channels.lanes != Lanes::Reduction)
    chunk =
        std::clamp<int64_t>(itemElements / row, 1, sizeOf(source.inputAxis));
}

/// What rows and their segments are.
void PackShape::chooseRows() {
  DimensionNumbersAttr numbers = op.getDimensionNumbers();
  const ChannelBlocks &channels = source.channels;
  inputStride = fromStrides[numbers.getKernelInputFeature()];
  int64_t outputStride = fromStrides[numbers.getKernelOutputFeature()];
  row = source.packed.getShape().back();
  if (channels.lanes == Lanes::Reduction) {
    segment = row;
    sizes = {source.reduction};
    laneStride = inputStride;
    return;
  }
  bool acrossGroups = channels.lanes == Lanes::Groups && op.getSwappedFilter();
  laneStride = outputStride;
  if (acrossGroups && channels.perGroup == 1)
    laneStride = source.reduction * inputStride;
  else if (acrossGroups || channels.phases > 1)
    segment = std::gcd(row, channels.perGroup);
  if (!segment)
    segment = row;
  // A segment that is not the row lies inside the lanes or outside.
  int64_t tail = segment == row ? channels.tail() : 0;
  hasTail = tail != 0;
  if (channels.hasFullBlock() || !hasTail)
    sizes.push_back(segment);
  if (hasTail)
    sizes.push_back(tail);
}

/// The elements that follow each other in the filter, if a transposed move
/// can use them.
void PackShape::chooseRun() {
  if (laneStride == 1)
    return;
  DimensionNumbersAttr numbers = op.getDimensionNumbers();
  bool lanesAreInputs = source.channels.lanes == Lanes::Reduction;
  int64_t product = 1;
  for (int64_t axis = source.rank + 1; axis >= 0; --axis) {
    int64_t size = source.filter.getDimSize(axis), whole = size;
    RunAxis next{0, size, 1};
    if (axis == numbers.getKernelInputFeature()) {
      if (lanesAreInputs)
        break;
      next.axis = source.inputAxis;
      size = source.reduction;
    } else if (axis == numbers.getKernelOutputFeature()) {
      if (size == 1 && !lanesAreInputs)
        continue;
      break;
    } else {
      auto dim = llvm::find(numbers.getKernelSpatial(), axis) -
                 numbers.getKernelSpatial().begin();
      if (source.splits[dim])
        break;
      next.axis = 1 + dim;
      next.step = op.getReversal()[dim] ? -1 : 1;
    }
    if (whole == 1)
      continue;
    if (product == 1)
      scattered = next.axis != source.inputAxis;
    int64_t most = (scattered ? maxTapRun : maxRun) / product;
    // 8 channels are half a line.
    next.size = size <= most ? size : int64_t(llvm::bit_floor(uint64_t(most)));
    if (product > 1 && size > most)
      next.size = most;
    if (next.size < 2 && size > 1)
      break;
    runAxes.push_back(next);
    product *= next.size;
    if (next.size != whole)
      break;
  }
  if (product < minRun)
    runAxes.clear();
}

/// Slowest first.
SmallVector<PackShape::Digit> PackShape::itemDigits() const {
  int64_t blocks = sizeOf(0), other = source.packed.getRank() - 2;
  SmallVector<Digit> digits;
  if (runAxes.empty() && laneStride != 1) {
    // Taps last: those of one channel are in the lines that were just read.
    digits.push_back({0, blocks});
    digits.push_back({other, sizeOf(other)});
    for (int64_t axis = 1; axis < other; ++axis)
      digits.push_back({axis, sizeOf(axis)});
    return digits;
  }
  if (runAxes.empty()) {
    // Rows of a filter hold all blocks of lanes: those are read one after
    // another.
    for (int64_t axis = 1; axis < other; ++axis)
      digits.push_back({axis, sizeOf(axis)});
    digits.push_back({other, int64_t(llvm::divideCeil(sizeOf(other), chunk))});
    digits.push_back({0, blocks});
    return digits;
  }
  digits.push_back({0, blocks});
  for (int64_t axis = 1; axis <= other; ++axis) {
    int64_t each = 1;
    for (RunAxis run : runAxes)
      if (run.axis == axis)
        each = run.size;
    digits.push_back({axis, int64_t(llvm::divideCeil(sizeOf(axis), each))});
  }
  return digits;
}
