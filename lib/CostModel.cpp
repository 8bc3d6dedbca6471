//===- CostModel.cpp - candidate plans and their predicted times -*- C++
//-*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

// Predicts the cycles of one image. A step of the reduction in a tile of m
// pixels by v vectors issues m*v FMAs, m+v loads on two ports, and takes at
// least the FMA's latency, since each accumulator is updated once a step. To
// these come loop starts, stores, and what has to come from further than the
// second-level cache in the order of tasks: weights again for every row that
// they do not survive, the input again for every block and phase.
//
//===----------------------------------------------------------------------===//

#include "CostModel.h"

#include "llvm/ADT/bit.h"

#include <numeric>
#include <tuple>

using namespace mlir;
using namespace convjit;
using namespace convjit::conv;

namespace {

/// Code that an unrolled row may grow to. An FMA costs about 0.02 ms of compile
/// time and 8 bytes.
constexpr int64_t maxUnrolledFMAs = 1600;
/// Of plans within a few per cent, the one that compiles faster.
constexpr double codeWeight = 2e-5;
/// Cycles of FMAs that make the innermost loop's own instructions disappear.
constexpr double fullIteration = 12;
constexpr int64_t maxPhasesLookedAt = 32;
/// The latency of an FMA is 4 cycles; one more, so that tiles which just fill
/// it lose a tie.
constexpr double latency = 5;
constexpr double tileStart = 20, tapStart = 6;
/// Bytes a cycle from the third-level cache and from memory.
constexpr double farBytes = 20, memoryBytes = 8;
/// From the second-level cache.
constexpr double nearBytes = 32;
/// Bytes a cycle of stores past the cache.
constexpr double storeBytes = 8;
/// An image of more than this comes from memory.
constexpr double sharedCache = 8 << 20;
constexpr double smallImage = 32 << 10;
constexpr int64_t l1Sets = 64, l1Ways = 8, lineSize = 64;

/// One convolution with some phases merged.
struct Shape {
  const Machine &machine;
  DimensionNumbersAttr numbers;
  int64_t elementBytes, lanes;
  int64_t merged;
  SmallVector<PhaseSplitAttr> splits;
  ChannelBlocks channels;
  int64_t reduction;  ///< channels that a tap reads
  int64_t pixelBytes; ///< from one pixel of a row to the next, in the input
  double inputBytes, outputBytes;
  bool contiguous; ///< merged lanes follow each other in the output
  bool inputChannelsLast;

  Shape(ConvolutionOp op, const Machine &machine, int64_t merged,
        ArrayRef<PhaseSplitAttr> splits, Lanes lanesHold)
      : machine(machine), numbers(op.getDimensionNumbers()), merged(merged),
        splits(splits) {
    auto input = cast<RankedTensorType>(op.getInput().getType());
    auto filter = cast<RankedTensorType>(op.getFilter().getType());
    elementBytes = input.getElementTypeBitWidth() / 8;
    lanes = std::max<int64_t>(1, machine.vectorBits / 8 / elementBytes);
    int64_t featureGroups = op.getFeatureGroupCount();
    reduction = filterInputFeatures(filter.getShape(), numbers, featureGroups,
                                    op.getSwappedFilter());
    channels.groups = featureGroups * op.getBatchGroupCount();
    channels.perGroup =
        filterOutputFeatures(filter.getShape(), numbers, featureGroups,
                             op.getSwappedFilter()) /
        channels.groups;
    channels.lanes = lanesHold;
    for (PhaseSplitAttr split : splits)
      channels.phases *= split.getLanePhases();
    contiguous = mergedLanesAreContiguous(
        cast<RankedTensorType>(op.getType()).getShape(), numbers,
        channels.perGroup);
    int64_t row = numbers.getInputSpatial().back();
    pixelBytes = elementBytes * splits.back().getInputStep();
    for (int64_t axis = row + 1; axis < input.getRank(); ++axis)
      if (!input.isDynamicDim(axis))
        pixelBytes *= input.getDimSize(axis);
    inputBytes = elementBytes;
    for (int64_t size : input.getShape())
      inputBytes *= ShapedType::isDynamic(size) ? 1 : size;
    outputBytes = elementBytes;
    for (int64_t size : cast<RankedTensorType>(op.getType()).getShape())
      outputBytes *= ShapedType::isDynamic(size) ? 1 : size;
    inputChannelsLast = numbers.getInputFeature() + 1 == input.getRank();
  }

  bool onlyRowsMerge() const {
    return channels.phases == splits.back().getLanePhases();
  }

  double rowTaps() const {
    return std::max<int64_t>(1, *llvm::max_element(splits.back().getTaps()));
  }

  /// Machine vectors of `width` lanes.
  int64_t vectors(int64_t width) const {
    int64_t count = 0;
    for (LanePiece piece : lanePieces(width))
      count += llvm::divideCeil(piece.size, lanes);
    return count;
  }
  /// Cycles in which as many FMAs of `width` lanes can be issued, one each.
  double fmaCycles(int64_t width) const {
    double cycles = 0;
    for (LanePiece piece : lanePieces(width)) {
      double bits = std::min(piece.size, lanes) * elementBytes * 8;
      cycles += std::max(0.5, bits / machine.fmaBits) *
                llvm::divideCeil(piece.size, lanes);
    }
    return cycles;
  }

  /// Cycles of one step of the reduction; `share` of the lanes have the tap.
  /// Its weights come at `weightRate` bytes a cycle.
  double stepCycles(int64_t pixels, int64_t width, double share,
                    double weightRate) const {
    if (channels.lanes == Lanes::Pixels) {
      double vectors = fmaCycles(pixels);
      double loads = vectors * (2 * splits.back().getInputStep() - 1);
      return std::max({width * vectors, loads + 0.5 * width, latency});
    }
    bool loadsVectors = channels.lanes == Lanes::Groups;
    double each = fmaCycles(width) * share;
    // Across groups one load serves all the taps of the row that read it.
    double loads = loadsVectors ? each * (1 + (pixels - 1.0) / rowTaps()) + each
                                : 0.5 * pixels + each;
    // Pixels whose lines fall into one set of the first-level cache push each
    // other out, and every element comes from the second level.
    if (inputChannelsLast && pixelBytes % lineSize == 0) {
      int64_t period = l1Sets * lineSize;
      int64_t distinct = period / std::gcd<int64_t>(pixelBytes, period);
      if (llvm::divideCeil(pixels, distinct) > l1Ways - 1)
        loads = std::max(loads, 4.0 * pixels);
    }
    loads = std::max(loads, width * elementBytes * share / weightRate);
    // Of tiles that are bound by FMAs, the one with fewer loads.
    constexpr double loadWeight = 0.05;
    return std::max({pixels * each, loads, latency}) + loadWeight * loads;
  }

  /// The mean over taps of the share of lanes that have one, in whole vectors.
  double activeShare(int64_t width) const {
    if (llvm::all_of(splits, hasUniformLanes))
      return 1;
    // As if phases of each dimension were apart in the lanes, which the outer
    // ones are.
    double share = 1;
    int64_t inner = channels.perGroup;
    for (PhaseSplitAttr split : llvm::reverse(splits)) {
      if (split.isMerged() && inner * elementBytes * 16 >= machine.fmaBits) {
        double has = 0, all = 0;
        for (int64_t taps : split.getLaneTaps()) {
          has += taps;
          all += split.getTaps().front();
        }
        share *= has / all;
      }
      inner *= split.getLanePhases();
    }
    return share;
  }

  double storeCycles(int64_t pixels, int64_t width) const {
    if (channels.lanes == Lanes::Pixels) {
      double stores = width * vectors(pixels);
      bool direct = splits.back().getStep() == 1 &&
                    numbers.getOutputSpatial().back() ==
                        static_cast<int64_t>(splits.size()) + 1;
      return direct ? stores : stores + 2.0 * pixels * width;
    }
    double stores = pixels * vectors(width);
    bool last = numbers.getOutputFeature() ==
                static_cast<int64_t>(numbers.getOutputSpatial().size()) + 1;
    if (channels.phases > 1) {
      if (contiguous && onlyRowsMerge())
        return stores;
      if (contiguous)
        return 2 * stores +
               2.0 * pixels * channels.phases / splits.back().getLanePhases();
      return 2 * stores + 2.0 * pixels * width;
    }
    return last && channels.lanes == Lanes::Channels
               ? stores
               : stores + 2.0 * pixels * width;
  }

  /// Cycles of one row, of one block of channels on average.
  double rowCycles(int64_t pixels, int64_t width) const {
    ChannelBlocks blocks = channels;
    blocks.width = width;
    int64_t outerTaps = 1;
    for (PhaseSplitAttr split : ArrayRef(splits).drop_back())
      outerTaps *= std::max<int64_t>(1, *llvm::max_element(split.getTaps()));
    PhaseSplitAttr row = splits.back();
    double share = activeShare(width);
    // Every tile of a row reads the weights of its phase again.
    double weightBytes = 1.0 * outerTaps * *llvm::max_element(row.getTaps()) *
                         reduction * width * elementBytes;
    double weightRate =
        weightBytes < 0.6 * machine.l2Bytes ? nearBytes : farBytes;
    int64_t full = blocks.lanesInRun() / width, tail = blocks.tail();
    int64_t narrow = tail ? blocks.vectorWidth(tail) : 0;
    // `spans`: the pixels of each tap.
    auto tileCycles = [&](int64_t m, ArrayRef<int64_t> spans) {
      double cycles = 0;
      for (auto [count, w] :
           {std::pair(full, width),
            std::pair(static_cast<int64_t>(tail != 0), narrow)}) {
        if (count == 0)
          continue;
        double one = tileStart + storeCycles(m, w);
        for (size_t i = 0; i < spans.size(); i += 2)
          if (int64_t pixels = spans[i + 1] - spans[i])
            one +=
                outerTaps * (tapStart + reduction * stepCycles(pixels, w, share,
                                                               weightRate));
        cycles += count * one;
      }
      return cycles / blocks.blocksPerGroup();
    };
    double total = 0;
    int64_t phases =
        row.isMerged() ? 1 : std::min(row.getStep(), row.getOutput());
    int64_t looked = std::min(phases, maxPhasesLookedAt);
    for (int64_t phase = 0; phase < looked; ++phase) {
      RowCut cut = cutRow(row, phase, pixels);
      for (RowTile tile : llvm::concat<RowTile>(cut.left, cut.right))
        total += tileCycles(tile.pixels, tapPixels(row, phase, tile));
      if (cut.midCount)
        total +=
            cut.midCount *
            tileCycles(pixels, tapPixels(row, phase, {cut.midFirst, pixels}));
    }
    return looked ? total * phases / looked : 0;
  }

  /// What comes from beyond the second-level cache in this order of tasks.
  double farCycles(const TaskSpace &space, int64_t width, Order order) const {
    double taps = 1, rows = 1, phases = 1;
    for (size_t dim = 0; dim < splits.size(); ++dim) {
      PhaseSplitAttr split = splits[dim];
      double sum = 0;
      for (int64_t count : split.getTaps())
        sum += count;
      taps *= sum;
      if (dim + 1 < splits.size()) {
        rows *= space.rows(dim);
        phases *= space.phases(dim);
      }
    }
    double blocks = space.channels.blocks();
    double blockBytes = taps * reduction * width * elementBytes;
    double near = 0.6 * machine.l2Bytes;
    double imageRate = inputBytes < near          ? 1e9
                       : inputBytes < sharedCache ? farBytes
                                                  : memoryBytes;
    auto weights = [&](double reused, double times) {
      return (reused < near ? 1 : times) * blocks * blockBytes / farBytes;
    };
    double groupShare = 1.0 / channels.groups;
    // The input rows that one row of output reads survive the blocks between.
    double taskInput = inputBytes / space.chunks;
    for (PhaseSplitAttr split : ArrayRef(splits).drop_back())
      taskInput *= std::min(1.0, static_cast<double>(split.getTaps().front()) /
                                     std::max<int64_t>(1, split.getInput()));
    // Blocks of groups read parts of the same lines.
    if (channels.lanes == Lanes::Groups)
      groupShare = std::min(1.0, 2 / blocks);
    double inputPasses =
        order == Order::Input && taskInput < near ? 1 : blocks * groupShare;
    // Rows written in one go reach twice the bandwidth of every other pixel.
    bool dense = splits.back().getStep() == 1 ||
                 (splits.back().isMerged() && contiguous);
    double stores = outputBytes < sharedCache
                        ? 0
                        : outputBytes / (dense ? storeBytes : storeBytes / 2);
    // Taps of one row: where the input is tiny, each row has its own.
    double rowShare = 1;
    for (PhaseSplitAttr split : ArrayRef(splits).drop_back())
      rowShare *= std::min<double>(
          1, static_cast<double>(split.getInput()) /
                 std::max<int64_t>(1, *llvm::max_element(split.getTaps())));
    switch (order) {
    case Order::Batch:
      // Worth it for many images that are small; with one it is `filter`.
      return stores +
             weights(blockBytes / phases * rowShare, rows) *
                 (inputBytes < smallImage && rowShare < 1 ? 0.25 : 1) +
             blocks * phases * groupShare * inputBytes / imageRate;
    case Order::Filter:
      return stores + weights(blockBytes / phases, rows) +
             blocks * phases * groupShare * inputBytes / imageRate;
    case Order::Block:
      return stores + weights(blockBytes, rows) +
             blocks * groupShare * inputBytes / imageRate;
    case Order::Input:
      return stores + weights(blockBytes * blocks, rows) +
             inputPasses * inputBytes / imageRate;
    }
    llvm_unreachable("unknown order");
  }
};

/// Rows are split where there are too few of them to share out, and where a
/// piece of the input stays in the cache for all blocks of channels.
int64_t chunksOf(const Shape &shape, const TaskSpace &space, int64_t pixels,
                 Order order) {
  int64_t tasks = std::max<int64_t>(1, space.tasksPerImage());
  int64_t tiles = phaseLength(space.splits.back(), 0) / pixels;
  int64_t wanted = 64 / tasks;
  if (order == Order::Input && space.splits.size() == 1)
    wanted =
        std::max(wanted, static_cast<int64_t>(shape.inputBytes /
                                              (0.2 * shape.machine.l2Bytes)));
  return std::clamp<int64_t>(std::min(wanted, tiles / 4), 1, 1024);
}

SmallVector<int64_t> widthsOf(const Shape &shape) {
  SmallVector<int64_t> widths;
  int64_t run = shape.channels.lanesInRun(), lanes = shape.lanes;
  if (shape.channels.lanes == Lanes::Pixels) {
    for (int64_t width : {1, 2, 3, 4, 6, 8, 12})
      if (width <= run)
        widths.push_back(width);
    return widths;
  }
  if (run < lanes)
    return {static_cast<int64_t>(
        llvm::bit_ceil<uint64_t>(std::max<int64_t>(1, run)))};
  constexpr int64_t mostVectors = 6;
  bool cutAnywhere = shape.channels.phases == 1 ||
                     (shape.contiguous && shape.onlyRowsMerge() &&
                      llvm::all_of(shape.splits, hasUniformLanes));
  if (cutAnywhere)
    for (int64_t vectors = 1; vectors <= 4; ++vectors)
      if (vectors == 1 || (vectors - 1) * lanes < run)
        widths.push_back(vectors * lanes);
  // All lanes in one block, where they are not whole vectors.
  if ((run % lanes || !cutAnywhere) && shape.vectors(run) <= mostVectors &&
      run <= 256 && !llvm::is_contained(widths, run))
    widths.push_back(run);
  return widths;
}

} // namespace

SmallVector<PlanCandidate> convjit::planCandidates(ConvolutionOp op,
                                                   const Machine &machine) {
  MLIRContext *context = op.getContext();
  int64_t rank = op.getDimensionNumbers().getRank();
  SmallVector<PlanCandidate> found;
  auto consider = [&](const Shape &shape) {
    for (int64_t width : widthsOf(shape)) {
      int64_t vectors = shape.vectors(width);
      TaskSpace space{shape.channels, shape.splits, 1};
      space.channels.width = width;
      // Accumulators, a row of weights and one input element in registers.
      int64_t longest =
          std::max<int64_t>(1, phaseLength(shape.splits.back(), 0));
      int64_t weightRows = 1;
      if (shape.channels.lanes == Lanes::Groups)
        weightRows = std::min<int64_t>(4, shape.rowTaps());
      int64_t most = std::max<int64_t>(
          1, (machine.registers - 1 - vectors * weightRows) / vectors);
      bool ofPixels = shape.channels.lanes == Lanes::Pixels;
      if (ofPixels) {
        // Accumulators, a vector of pixels each, and a weight.
        vectors = width;
        most = (machine.registers - 1) / (width + 1) * shape.lanes;
      }
      // Distinct taps are spelled out one by one.
      int64_t tapBodies = 1;
      for (PhaseSplitAttr split : ArrayRef(shape.splits).drop_back())
        if (!hasUniformLanes(split))
          tapBodies *= split.getTaps().front();
      auto unrollOf = [&](int64_t pixels) {
        int64_t unroll = 1;
        double cycles = ofPixels ? width * shape.fmaCycles(pixels)
                                 : pixels * shape.fmaCycles(width);
        while (unroll < 4 && unroll * 2 <= shape.reduction &&
               cycles * unroll < fullIteration)
          unroll *= 2;
        return unroll;
      };
      auto codeOf = [&](int64_t pixels) {
        if (ofPixels)
          return unrolledFMAs(shape.splits.back(), pixels, vectors,
                              shape.reduction, unrollOf(pixels)) /
                 shape.lanes;
        return tapBodies * unrolledFMAs(shape.splits.back(), pixels, vectors,
                                        shape.reduction, unrollOf(pixels));
      };
      double best = std::numeric_limits<double>::infinity();
      int64_t bestPixels = 1;
      for (int64_t pixels = std::min({most, longest, int64_t(64)}); pixels >= 1;
           --pixels) {
        if (ofPixels && pixels % shape.lanes && pixels != longest)
          continue;
        double cycles = shape.rowCycles(pixels, width) *
                        (1 + std::min<double>(codeOf(pixels), maxUnrolledFMAs) *
                                 codeWeight);
        // Of equal cuts, the most even one.
        if (cycles <= best) {
          best = cycles;
          bestPixels = pixels;
        }
      }
      RowForm form = op.getLive() || codeOf(bestPixels) > maxUnrolledFMAs
                         ? RowForm::Ranged
                         : RowForm::Unrolled;
      double rows = std::max<int64_t>(1, space.tasksPerImage());
      for (Order order :
           {Order::Filter, Order::Block, Order::Input, Order::Batch}) {
        space.chunks = 1;
        space.chunks = chunksOf(shape, space, bestPixels, order);
        double cycles = rows * best + shape.farCycles(space, width, order);
        auto plan = PlanAttr::get(context, shape.channels.lanes, width,
                                  bestPixels, unrollOf(bestPixels), form,
                                  space.chunks, shape.merged, order);
        if (whyPlanIsImpossible(op, plan).empty())
          found.push_back({plan, cycles});
      }
    }
  };
  SmallVector<PhaseSplitAttr> apart = *splitConvolution(op, 0);
  consider(Shape(op, machine, 0, apart, Lanes::Channels));
  if (allowsLanesAcrossGroups(op))
    consider(Shape(op, machine, 0, apart, Lanes::Groups));
  if (allowsLanesOfPixels(op))
    consider(Shape(op, machine, 0, apart, Lanes::Pixels));
  for (int64_t merged = 1; merged <= rank; ++merged) {
    auto splits = splitConvolution(op, merged);
    if (!splits)
      break;
    if ((*splits)[rank - merged].isMerged() && !op.getLive())
      consider(Shape(op, machine, merged, *splits, Lanes::Channels));
  }
  // Of equals, the plainest.
  auto key = [](const PlanCandidate &candidate) {
    PlanAttr plan = candidate.plan;
    return std::tuple(candidate.cycles, plan.getMerged(), plan.getOrder(),
                      plan.getWidth());
  };
  llvm::sort(found, [&](const PlanCandidate &a, const PlanCandidate &b) {
    return key(a) < key(b);
  });
  return found;
}
