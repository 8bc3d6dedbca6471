//===- PlanShape.h - what a candidate plan is judged by -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef CONVJIT_LIB_PLAN_PLANSHAPE_H
#define CONVJIT_LIB_PLAN_PLANSHAPE_H

#include "plan/CostModel.h"

namespace convjit {

/// Bytes a cycle from the second-level cache.
constexpr double nearRate = 32;
/// What is so far apart is in one set of the first-level cache; its ways.
constexpr int64_t l1Period = 64 * lineBytes, l1Ways = 8;
/// The same of the second-level cache, at the least.
constexpr int64_t l2Period = 128 << 10, l2Ways = 8;
/// Of the first-level cache, what a tile's input may fill.
constexpr double nearestCache = 24 << 10;

/// Of `taps` of a dimension, the most that an output can have inside the input;
/// at least 1.
double tapsInside(conv::PhaseSplitAttr split, int64_t taps);

/// One convolution with some phases merged.
struct PlanShape {
  const Machine &machine;
  conv::DimensionNumbersAttr numbers;
  int64_t elementBytes, lanes;
  int64_t merged, fold = 1;
  llvm::SmallVector<conv::PhaseSplitAttr> splits;
  ChannelBlocks channels;
  int64_t reduction;  ///< channels that a tap reads
  int64_t pixelBytes; ///< from one pixel of a row to the next, in the input
  double inputBytes, outputBytes;
  bool contiguous; ///< merged lanes follow each other in the output
  bool inputChannelsLast, outputPixelsAreNeighbours, allowsInputPrefetch;
  bool longEpilogue, hasBias, hasResidual;
  int64_t epilogueOps; ///< instructions repeated for each vector of a tile
  /// Across groups: whether the next row of the same channels comes before
  /// other channels of this one.
  bool blockByBlock;

  PlanShape(conv::ConvolutionOp op, const Machine &machine, int64_t merged,
            llvm::ArrayRef<conv::PhaseSplitAttr> splits, conv::Lanes lanesHold,
            bool blockByBlock = false);

  /// Lanes that a tile may have.
  llvm::SmallVector<int64_t> tileWidths() const;

  bool onlyRowsMerge() const {
    return channels.phases == splits.back().getLanePhases();
  }

  /// Whether vectors across groups take more than a load.
  bool shufflesGroups() const {
    return channels.lanes == conv::Lanes::Groups &&
           (reduction > 1 || channels.perGroup > 1);
  }

  /// Whether an instruction multiplies, adds and keeps its operands: not SSE's,
  /// whose scalars do not come into all lanes by a load either.
  bool fusesProducts() const { return machine.broadcastCycles == 0; }

  /// Whether a lane's part of an instruction can be left out.
  bool hasMasks() const { return machine.vectorBits >= 512; }

  /// Whether lanes that lack a tap keep their sums by an instruction more:
  /// those that share a vector with others, where there are no masks.
  bool choosesSums() const;

  double rowTaps() const {
    return std::max<int64_t>(1, *llvm::max_element(splits.back().getTaps()));
  }

  /// The taps of all dimensions but the row's: the most of one output, and the
  /// mean of all phases.
  double outerTaps() const;
  double meanOuterTaps() const;

  /// Bytes of weights that a tile of `width` lanes reads.
  double tileWeights(int64_t width) const;

  /// Rows of a plane after which the next plane follows; 0 for all.
  int64_t strip() const;

  /// What stays in the second-level cache from one use to the next.
  double nearBytes() const;

  /// Bytes of the weights of all lanes, in blocks of `width`.
  double allWeights(int64_t width) const;

  /// Whether rows of the input are last in memory, and channels planes; the
  /// bytes of one.
  bool inputRowsLast() const {
    return numbers.getInputSpatial().back() ==
           static_cast<int64_t>(splits.size()) + 1;
  }
  int64_t inputPlaneBytes() const;

  /// With input channels that are planes: the bytes of lines that come from the
  /// second-level cache for each step of a tile of `pixels`, since those of all
  /// channels do not stay in the first.
  double planeBytesAgain(int64_t pixels) const;

  /// Lines at one place of output channels that are planes, of which so many
  /// stay in the first level together.
  double outputLinesHeld() const;

  /// What tiles of `pixels` by `width` lanes ask for ahead.
  conv::Prefetch prefetch(int64_t pixels, int64_t width) const;

  /// Machine vectors of `width` lanes.
  int64_t vectors(int64_t width) const;
  /// Cycles in which as many FMAs of `width` lanes can be issued, one each.
  double fmaCycles(int64_t width) const;

  /// Cycles of one step of the reduction; `share` of the lanes have the tap.
  /// Its weights come at `weightRate` bytes a cycle.
  double stepCycles(int64_t pixels, int64_t width, double share,
                    double weightRate) const;
  double pixelStepCycles(int64_t pixels, int64_t width, double share) const;

  /// What a step reads, in cycles: behind its FMAs, and beside them.
  struct StepLoads {
    double hidden, shown;
  };
  /// Across groups; an FMA of all lanes takes `each` cycles.
  StepLoads groupLoads(int64_t pixels, int64_t width, double each) const;
  /// With input channels that are planes, whose lines share sets of the second
  /// level, too, and come from memory: those of a tile of `pixels`, at the
  /// least. Beside FMAs where the sets are very few.
  StepLoads farPlanes(int64_t pixels) const;

  /// The mean over taps of the share of lanes that have one, in whole vectors.
  double activeShare(int64_t width) const;

  /// With input channels in the lanes: how many, registers that a tile takes,
  /// and its cycles without stores; `spans` are the pixels of each tap.
  int64_t reductionLanes() const;
  int64_t reductionRegisters(int64_t pixels, int64_t width) const;
  double reductionTileCycles(int64_t pixels, int64_t width,
                             llvm::ArrayRef<int64_t> spans,
                             double weightRate) const;

  double storeCycles(int64_t pixels, int64_t width) const;

  /// Whether tiles of `width` lanes write whole lines, if the output begins
  /// one.
  bool storesWholeLines(int64_t width) const;
  /// Bytes of a call's output from which they go past the caches.
  int64_t streamFrom(int64_t width) const;

  /// Cycles of a tile that takes `cycles` and whose outputs go to memory.
  double besideStores(int64_t pixels, int64_t width, double cycles) const;

  /// Cycles of one row, of one block of channels on average.
  double rowCycles(int64_t pixels, int64_t width) const;

  /// Cycles of one image, `images` of them a tile.
  double imagesCycles(int64_t images, int64_t width) const;

  /// Bytes of the input that a task reads.
  double taskInputBytes(const TaskSpace &space) const;
  /// Cycles for lines, or neighbouring lines, of the output that several blocks
  /// write parts of. `rowByRow`: those of a row follow each other.
  double partsOfOutputs(int64_t width, conv::Order order, bool rowByRow) const;

  /// What comes from beyond the second-level cache in this order of tasks, for
  /// each of `images`, beyond what `nearCycles` of each hide.
  double farCycles(const TaskSpace &space, int64_t width, conv::Order order,
                   double images, double nearCycles) const;
};

} // namespace convjit

#endif // CONVJIT_LIB_PLAN_PLANSHAPE_H
