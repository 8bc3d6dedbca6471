//===- PlanWidths.cpp - lanes that tiles are tried with -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "plan/PlanShape.h"

#include "llvm/ADT/bit.h"

#include <numeric>

using namespace mlir;
using namespace convjit;
using namespace convjit::conv;

namespace {

/// Outputs of a tile of partial sums: all, or equal parts of them.
SmallVector<int64_t> reductionWidths(const PlanShape &shape) {
  SmallVector<int64_t> widths;
  int64_t run = shape.channels.lanesInRun();
  constexpr int64_t mostOutputs = 28, mostBlocks = 16;
  bool cutAnywhere = shape.channels.phases == 1 ||
                     (shape.contiguous && shape.onlyRowsMerge() &&
                      llvm::all_of(shape.splits, hasUniformLanes));
  for (int64_t blocks = 1; blocks <= (cutAnywhere ? mostBlocks : 1); ++blocks) {
    int64_t width = llvm::divideCeil(run, blocks);
    if (width <= mostOutputs && !llvm::is_contained(widths, width))
      widths.push_back(width);
  }
  return widths;
}

/// Channels of neighbouring groups, whole groups and whole vectors of them: 48
/// of groups with 3.
SmallVector<int64_t> groupWidths(const PlanShape &shape) {
  SmallVector<int64_t> widths;
  int64_t run = shape.channels.lanesInRun();
  // 112 lanes, of groups with 7, are no faster than 7 of 8 lanes, and long
  // code.
  constexpr int64_t mostLanes = 64;
  if (run < shape.lanes)
    return {static_cast<int64_t>(llvm::bit_ceil<uint64_t>(run))};
  int64_t whole = std::lcm(shape.channels.perGroup, shape.lanes);
  for (int64_t vectors = 1; vectors <= 4; ++vectors)
    if (int64_t width = vectors * whole;
        width <= mostLanes && (vectors == 1 || width <= 4 * shape.lanes) &&
        width - whole < run)
      widths.push_back(width);
  if (widths.empty() && run <= mostLanes)
    widths.push_back(run);
  return widths;
}

} // namespace

SmallVector<int64_t> PlanShape::tileWidths() const {
  if (channels.lanes == Lanes::Groups)
    return groupWidths(*this);
  if (channels.lanes == Lanes::Reduction)
    return reductionWidths(*this);
  SmallVector<int64_t> widths;
  int64_t run = channels.lanesInRun();
  if (channels.lanes == Lanes::Pixels) {
    constexpr int64_t mostRows = 16;
    if (channels.phases > 1)
      return run <= mostRows ? SmallVector<int64_t>{run} : widths;
    for (int64_t width : {1, 2, 3, 4, 6, 8, 12})
      if (width <= run)
        widths.push_back(width);
    return widths;
  }
  if (run < lanes)
    return {static_cast<int64_t>(
        llvm::bit_ceil<uint64_t>(std::max<int64_t>(1, run)))};
  constexpr int64_t mostVectors = 6;
  bool cutAnywhere =
      channels.phases == 1 ||
      (contiguous && onlyRowsMerge() && llvm::all_of(splits, hasUniformLanes));
  if (cutAnywhere)
    for (int64_t whole = 1; whole <= 4; ++whole) {
      ChannelBlocks blocks = channels;
      blocks.width = whole * lanes;
      // All lanes as they are, below, where masks would only add to them.
      bool allAsTheyAre =
          blocks.width > run && blocks.vectorWidth(run) == run && run > lanes;
      if (blocks.width - lanes < run && !allAsTheyAre)
        widths.push_back(blocks.width);
    }
  // All lanes in one block, where they are not whole vectors.
  if ((run % lanes || !cutAnywhere) && vectors(run) <= mostVectors &&
      run <= 256 && !llvm::is_contained(widths, run))
    widths.push_back(run);
  return widths;
}
