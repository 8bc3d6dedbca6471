//===- Plan.cpp - the cost model -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

// Predicts the cycles of one row of output for each register tile that fits the
// register file, and takes the least. Per step of the reduction, a tile of m
// pixels by v vectors issues m*v FMAs on two ports and m+v loads on two ports,
// and needs at least the FMA's latency of 4 cycles (5 here, so that tiles which
// just fill it lose a tie), since each accumulator is updated once a step.
//
//===----------------------------------------------------------------------===//

#include "Geometry.h"
#include "Passes.h"

#include "llvm/ADT/bit.h"

namespace convjit {
#define GEN_PASS_DEF_CONVPLAN
#include "Passes.h.inc"
} // namespace convjit

using namespace mlir;
using namespace convjit;
using namespace convjit::conv;

namespace {

/// Code that an unrolled row may grow to. An FMA costs about 0.05 ms of compile
/// time and 16 bytes.
constexpr int64_t maxUnrolledFMAs = 1600;

struct Planner {
  ConvolutionOp op;
  int64_t lanes, registers;
  SmallVector<PhaseSplitAttr> splits;
  ChannelBlocks channels;
  int64_t reduction; ///< channels a tap reads

  Planner(ConvolutionOp op, int64_t vectorBits, int64_t registers)
      : op(op), registers(registers) {
    auto input = cast<RankedTensorType>(op.getInput().getType());
    auto filter = cast<RankedTensorType>(op.getFilter().getType());
    DimensionNumbersAttr numbers = op.getDimensionNumbers();
    lanes = std::max<int64_t>(1, vectorBits / input.getElementTypeBitWidth());
    for (int64_t dim = 0; dim < numbers.getRank(); ++dim)
      splits.push_back(splitDimension(
          op.getWindow(), dim, input.getDimSize(numbers.getInputSpatial()[dim]),
          filter.getDimSize(numbers.getKernelSpatial()[dim])));
    int64_t featureGroups = op.getFeatureGroupCount();
    reduction = filterInputFeatures(filter.getShape(), numbers, featureGroups,
                                    op.getSwappedFilter());
    channels.groups = featureGroups * op.getBatchGroupCount();
    channels.perGroup =
        filterOutputFeatures(filter.getShape(), numbers, featureGroups,
                             op.getSwappedFilter()) /
        channels.groups;
    bool acrossGroups = allowsLanesAcrossGroups(op) &&
                        featureGroups > channels.perGroup &&
                        channels.perGroup < lanes;
    channels.lanes = acrossGroups ? Lanes::Groups : Lanes::Channels;
  }

  int64_t channelCount() const {
    return channels.lanes == Lanes::Channels ? channels.perGroup
                                             : channels.groups;
  }

  /// Cycles of one step of the reduction for a tile.
  double stepCycles(int64_t pixels, int64_t width) const {
    double vectors = llvm::divideCeil(width, lanes);
    bool loadsVectors = channels.lanes == Lanes::Groups;
    double loads = pixels * (loadsVectors ? vectors : 1) + vectors;
    return std::max({pixels * vectors / 2, loads / 2, 5.0});
  }

  /// Cycles of one row with tiles of `pixels` by `width`.
  double rowCycles(int64_t pixels, int64_t width) {
    ChannelBlocks blocks = channels;
    blocks.width = width;
    int64_t outerTaps = 1;
    for (PhaseSplitAttr split : ArrayRef(splits).drop_back())
      outerTaps *= std::max<int64_t>(1, *llvm::max_element(split.getTaps()));
    PhaseSplitAttr row = splits.back();
    auto tileCycles = [&](int64_t count, int64_t m, int64_t taps) {
      double steps = static_cast<double>(taps) * outerTaps * reduction;
      int64_t full = channelCount() / width, tail = blocks.tail();
      // 20 cycles for loop starts, and a store of each vector.
      double cycles =
          full * (20 + steps * stepCycles(m, width) + m * width / lanes);
      if (tail) {
        int64_t narrow = blocks.vectorWidth(tail);
        cycles += 20 + steps * stepCycles(m, narrow) + m * narrow / lanes;
      }
      return count * cycles;
    };
    double total = 0;
    int64_t phases = std::min(row.getStep(), row.getOutput());
    for (int64_t phase = 0; phase < std::min<int64_t>(phases, 32); ++phase) {
      RowCut cut = cutRow(row, phase, pixels);
      int64_t taps = row.getTaps()[phase];
      for (RowTile tile : cut.left)
        total += tileCycles(1, tile.pixels, taps);
      total += tileCycles(cut.midCount, pixels, taps);
      for (RowTile tile : cut.right)
        total += tileCycles(1, tile.pixels, taps);
    }
    return total;
  }

  PlanAttr choose() {
    SmallVector<int64_t> widths;
    if (channelCount() >= lanes)
      for (int64_t vectors = 1; vectors <= 4; ++vectors)
        widths.push_back(vectors * lanes);
    else
      widths.push_back(
          llvm::bit_ceil<uint64_t>(std::max<int64_t>(1, channelCount())));
    double best = std::numeric_limits<double>::infinity();
    int64_t bestWidth = widths.front(), bestPixels = 1;
    int64_t longest = std::max<int64_t>(1, phaseLength(splits.back(), 0));
    for (int64_t width : widths) {
      int64_t vectors = llvm::divideCeil(width, lanes);
      if (vectors > 1 && (vectors - 1) * lanes >= channelCount())
        break;
      // Accumulators, a row of weights and one input element in registers.
      int64_t most = std::max<int64_t>(1, (registers - 1 - vectors) / vectors);
      for (int64_t pixels = std::min(most, longest); pixels >= 1; --pixels) {
        double cycles = rowCycles(pixels, width);
        // Of equal cuts, the most even one.
        if (cycles < best || (cycles == best && width == bestWidth)) {
          best = cycles;
          bestWidth = width;
          bestPixels = pixels;
        }
      }
    }
    int64_t unroll = std::min<int64_t>(4, std::max<int64_t>(1, reduction));
    int64_t code =
        unrolledFMAs(splits.back(), bestPixels,
                     llvm::divideCeil(bestWidth, lanes), reduction, unroll);
    RowForm form = op.getLive() || code > maxUnrolledFMAs ? RowForm::Ranged
                                                          : RowForm::Unrolled;
    return PlanAttr::get(op.getContext(), channels.lanes, bestWidth, bestPixels,
                         unroll, form, chunks(bestWidth, bestPixels),
                         /*merged=*/0, Order::Filter);
  }

  /// Rows are split only where there are too few of them to share out.
  int64_t chunks(int64_t width, int64_t pixels) const {
    TaskSpace space{channels, splits, 1};
    space.channels.width = width;
    int64_t tasks = std::max<int64_t>(1, space.tasksPerImage());
    int64_t tiles = phaseLength(splits.back(), 0) / pixels;
    return std::clamp<int64_t>(std::min(64 / tasks, tiles / 4), 1, 64);
  }
};

struct ConvPlanPass : convjit::impl::ConvPlanBase<ConvPlanPass> {
  using ConvPlanBase::ConvPlanBase;
  void runOnOperation() override {
    getOperation()->walk([&](ConvolutionOp op) {
      if (!op.getPlan())
        op.setPlanAttr(Planner(op, vectorBits, registers).choose());
    });
  }
};

} // namespace
