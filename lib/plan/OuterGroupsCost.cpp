//===- OuterGroupsCost.cpp - tiles across groups and their times -*- C++
//-*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "plan/OuterTimes.h"

using namespace mlir;
using namespace convjit;
using namespace convjit::conv;

void OuterTimes::addAcrossGroups() {
  int64_t few = perGroup;
  // Tiles have all images of a group.
  if (images > maxChannelsOfOuterGroups)
    return;
  // Groups of more than half a vector are as well off by themselves.
  if (!allowsOuterGroups(op) || (few != 1 && 2 * few > shape.lanes))
    return;
  int64_t all = groups * few;
  auto offer = [&](int64_t vectors, int64_t sums, double loads,
                   double pieceBytes) {
    int64_t width = vectors * (shape.lanes / few * few);
    int64_t chunks = std::clamp<int64_t>(
        std::llround(pixels.box /
                     (pieceBytes / 2 / (width * shape.elementBytes))),
        1, 1 << 20);
    // Neighbouring pixels share what their taps load: depthwise, 108 channels,
    // k 3, at 16 x 28 x 28, by two 1.39 ms, by four 1.26. Where rows of images
    // do already, what waits for its turn spills: groups of 4, 128 channels, k
    // 3, at 56 x 56, by four 0.302 ms, one by one 0.258.
    constexpr int64_t fewImages = 2;
    int64_t together = images > fewImages ? 1 : 4;
    auto plan = PlanAttr::get(op.getContext(), Lanes::Groups, width, sums,
                              together, RowForm::Outer, chunks,
                              /*merged=*/0, Order::Filter, /*fold=*/1);
    double step = shape.fmaCycles(llvm::alignTo(width, shape.lanes));
    double cycles =
        outputs * llvm::divideCeil(all, width) *
        (pixels.each * step * (loads + images) +
         static_cast<double>(chunks) * (tileStart + 4 * vectors * images)) /
        images;
    if (whyPlanIsImpossible(op, plan).empty())
      found.push_back({plan, cycles});
  };
  // Few products for what is loaded: pieces stay in the nearest cache for all
  // taps. With one vector groups need not end where it does.
  bool divides = shape.lanes % few == 0;
  int64_t vectors = all <= shape.lanes || !divides || few > 4 ? 1 : 2;
  // Of the registers, what several taps of a row may have as sums, beside a
  // shuffle for each row.
  int64_t sums = machine.registers * (few == 1 ? 2 : 3) / 4 / vectors;
  offer(vectors, sums, 1, vectorCache);
  // Those of two dimensions load each pixel once for the taps of its row, and
  // a piece once for all. Depthwise, k 3, 128 channels at 56 x 56: 71 GFLOP/s,
  // 107 together; 108 at 16 x 28 x 28 53 and 87, where a second vector spills:
  // 69. With 16 registers they are slower.
  constexpr double fewLoads = 0.3, nearPiece = 128 << 10;
  constexpr int64_t manyRegisters = 32;
  double joint = rowOutputs * planeOutputs * images;
  if (numbers.getRank() > 1 && planeOutputs > 1 &&
      machine.registers >= manyRegisters && joint * 16 <= machine.registers * 9)
    offer(1, static_cast<int64_t>(joint), fewLoads, nearPiece);
}
