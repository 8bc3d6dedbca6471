//===- PlanCandidates.cpp - the plans that the cost model compares -*- C++
//-*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "outer/OuterProducts.h"
#include "plan/OuterCost.h"
#include "plan/PlanShape.h"

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
/// Beyond this, rows are not unrolled, and what they were counts no more.
constexpr int64_t maxWeighedCode = 8000;
/// A batch that weighs as much as a single image.
constexpr double someImages = 8;
/// Cycles of FMAs that make the innermost loop's own instructions disappear.
constexpr double fullIteration = 12;

/// Rows are split where there are too few of them to share out, and where a
/// piece of the input stays in the cache for all blocks of channels.
int64_t chunksOf(const PlanShape &shape, const TaskSpace &space, int64_t pixels,
                 Order order, double rowCycles) {
  int64_t tasks = std::max<int64_t>(1, space.tasksPerImage());
  int64_t tiles = phaseLength(space.splits.back(), 0) / pixels;
  // A task's start shows in less than this: depthwise, k 3 s 2, 54 channels, 56
  // pixels a row, thirds of it 0.035 ms, whole rows 0.030.
  constexpr double fewCycles = 8000;
  int64_t wanted = std::min(64.0 / tasks, rowCycles / fewCycles);
  if (order == Order::Input && space.splits.size() == 1)
    wanted =
        std::max(wanted, static_cast<int64_t>(shape.inputBytes /
                                              (0.2 * shape.machine.l2Bytes)));
  return std::clamp<int64_t>(std::min(wanted, tiles / 4), 1, 1024);
}

/// Few output channels share the lanes with pixels of a row, whose taps
/// overlap.
void considerFolds(ConvolutionOp op, const Machine &machine,
                   llvm::function_ref<void(const PlanShape &)> consider) {
  int64_t rank = op.getDimensionNumbers().getRank();
  if (op.getLive())
    return;
  for (int64_t merged = 1; merged <= rank; ++merged) {
    auto splits = splitConvolution(op, merged);
    if (!splits)
      return;
    // Dimensions before the row have nothing to fold.
    if (merged > 1 && !(*splits)[rank - merged].isMerged())
      continue;
    PlanShape plain(op, machine, merged, *splits, Lanes::Channels);
    int64_t run = plain.channels.lanesInRun();
    if (plain.rowTaps() < 2 || run >= plain.lanes)
      continue;
    for (int64_t fold : {2, 3, 4, 6, 8, 16}) {
      if (run * fold > 2 * plain.lanes)
        break;
      auto folded = splitConvolution(op, merged, fold);
      // As many taps as lanes have together: no input is read by two.
      if (!folded || plain.rowTaps() * fold <= folded->back().getTaps().front())
        continue;
      PlanShape shape(op, machine, merged, *folded, Lanes::Channels);
      shape.fold = fold;
      consider(shape);
    }
  }
}

} // namespace

SmallVector<PlanCandidate> convjit::planCandidates(ConvolutionOp op,
                                                   const Machine &machine,
                                                   int64_t images) {
  MLIRContext *context = op.getContext();
  int64_t rank = op.getDimensionNumbers().getRank();
  SmallVector<PlanCandidate> found;
  auto consider = [&](const PlanShape &shape) {
    for (int64_t width : shape.tileWidths()) {
      int64_t vectors = shape.vectors(width);
      TaskSpace space{shape.channels, shape.splits, 1};
      space.channels.width = width;
      // Accumulators, a row of weights and one input element in registers.
      int64_t longest =
          std::max<int64_t>(1, phaseLength(shape.splits.back(), 0));
      int64_t weightRows = 1;
      // Those of all taps of a row stay, where half of the registers holds
      // them. Depthwise, k 7, 60 channels, 11 pixels by two vectors spill,
      // 0.253 ms; 7 0.230.
      if (shape.channels.lanes == Lanes::Groups)
        weightRows = std::clamp<int64_t>(
            machine.registers / 2 / vectors, 1,
            std::min<int64_t>(8, shape.rowTaps() * shape.reduction));
      bool ofReduction = shape.channels.lanes == Lanes::Reduction;
      // A product that is added by another instruction takes a register, a
      // scalar that it must not overwrite one more. 8 x 16 x 16 x 64 to 32, k 4
      // s 2, with SSE, GFLOP/s: 4 pixels by 12 channels 30, 6 by 8 36, 2 by 16
      // 39. Across groups LLVM does without: depthwise k 7, 3 pixels by 12
      // channels 38, 4 by 8 29. A sum that is not yet chosen takes one, too.
      int64_t registers = machine.registers;
      if (!shape.fusesProducts() && shape.channels.lanes != Lanes::Groups)
        registers -= shape.channels.lanes == Lanes::Channels ? 2 : 1;
      else if (shape.choosesSums())
        --registers;
      int64_t most = std::max<int64_t>(
          1, (registers - 1 - vectors * weightRows) / vectors);
      bool ofPixels = shape.channels.lanes == Lanes::Pixels;
      if (ofPixels) {
        // Accumulators, a vector of pixels each, and a weight.
        vectors = width;
        most = (registers - 1) / (width + 1) * shape.lanes;
      }
      if (ofReduction) {
        // Accumulators, one for each output of each pixel.
        vectors = width;
        // Sums that live in memory: 64 to 64 channels, k 3 in 3-D, with SSE's
        // 16 registers: 22 outputs 49 ms, 16 channels by 2 pixels 29.
        if (shape.reductionRegisters(1, width) > registers)
          continue;
        most = 1;
        while (most < longest &&
               shape.reductionRegisters(most + 1, width) <= registers)
          ++most;
      }
      // Distinct taps are spelled out one by one.
      int64_t tapBodies = 1;
      for (PhaseSplitAttr split : ArrayRef(shape.splits).drop_back())
        if (!hasUniformLanes(split))
          tapBodies *= split.getTaps().front();
      auto unrollOf = [&](int64_t pixels) {
        if (ofReduction)
          return shape.reductionLanes();
        int64_t unroll = 1;
        double cycles = ofPixels ? width * shape.fmaCycles(pixels)
                                 : pixels * shape.fmaCycles(width);
        // Narrow vectors bring more instructions a cycle: 8 groups of 8,
        // channels first, 16 pixels: 72 % of the peak by two, 79 % by four.
        bool narrow = !ofPixels && shape.fmaCycles(width) < 1;
        double full = narrow ? 1.5 * fullIteration : fullIteration;
        // Folded, the channels are a loop: ConvToLinalg says why.
        int64_t channels =
            shape.fold > 1 ? shape.reduction / 2 : shape.reduction;
        // The weights of all channels are loaded first. With 16 registers, 16
        // channels by 6 pixels, k 4 s 2, 8 x 16 x 16 x 64 to 32, by two 87 % of
        // the peak, by one 92; 8 by 14, 28 x 28 x 128 to 128, k 3 s 2, by four
        // 77, by one 86.
        constexpr int64_t fewRegisters = 16;
        bool few = machine.registers <= fewRegisters;
        bool wholeVectors = shape.channels.lanesInRun() % shape.lanes == 0 &&
                            width % shape.lanes == 0;
        bool weightsFirst = !ofPixels &&
                            (few || (vectors > 1 && wholeVectors)) &&
                            shape.fusesProducts() &&
                            llvm::all_of(shape.splits, hasUniformLanes);
        auto fits = [&](int64_t times) {
          return !weightsFirst ||
                 (vectors > 1 && (pixels + times) * vectors < registers);
        };
        while (unroll < 4 && unroll * 2 <= channels && cycles * unroll < full &&
               fits(2 * unroll))
          unroll *= 2;
        return unroll;
      };
      bool spellsTaps = shape.channels.lanes == Lanes::Groups || ofReduction ||
                        shape.fold > 1;
      // Vectors of input channels, and what remains, have a body each.
      int64_t bodies = 1;
      if (ofReduction)
        bodies = (shape.reduction >= shape.reductionLanes()) +
                 (shape.reduction % shape.reductionLanes() != 0);
      auto codeOf = [&](int64_t pixels, int64_t epilogueOps) {
        int64_t code =
            unrolledFMAs(shape.splits.back(), pixels, vectors,
                         ofReduction ? bodies : shape.reduction,
                         ofReduction                     ? 1
                         : spellsTaps && shape.fold == 1 ? shape.reduction
                                                         : unrollOf(pixels),
                         spellsTaps, epilogueOps);
        return ofPixels ? code / shape.lanes : code * tapBodies;
      };
      // A narrower last block has code of its own.
      int64_t variants =
          space.channels.tail() && space.channels.hasFullBlock() ? 2 : 1;
      double best = std::numeric_limits<double>::infinity();
      int64_t bestPixels = 1;
      // Of tiles of partial sums, the smallest that is nearly as good: FMAs
      // hide everything else soon, and few pixels keep to few streams of lines.
      // One output, k 3, 64 channels at 256 x 256: 6 pixels 91 % of the FMA
      // peak, 24 pixels 51 %.
      // Groups of 8: 7 pixels 91 %, 21 pixels 82 %. Where groups are shuffled
      // into their lanes, code is long and spills: 8 to 12 channels in 4
      // groups, k 7 s 2, at 140 x 93 24 pixels 0.49 ms and 156 ms to compile,
      // 12 0.43 and 71.
      double slack = shape.shufflesGroups()          ? 1.04
                     : ofReduction || shape.fold > 1 ? 1.02
                                                     : 1;
      for (int64_t pixels = std::min({most, longest, int64_t(64)}); pixels >= 1;
           --pixels) {
        if (ofPixels && pixels % shape.lanes && pixels != longest)
          continue;
        double cycles = shape.rowCycles(pixels, width) *
                        (1 + codeWeight * variants *
                                 std::min(codeOf(pixels, shape.epilogueOps),
                                          maxWeighedCode));
        // Of equal cuts, the most even one.
        if (cycles <= slack * best) {
          best = std::min(best, cycles);
          bestPixels = pixels;
        }
      }
      RowForm form = op.getLive() || codeOf(bestPixels, 0) > maxUnrolledFMAs
                         ? RowForm::Ranged
                         : RowForm::Unrolled;
      auto planOf = [&](Order order) {
        return PlanAttr::get(context, shape.channels.lanes, width, bestPixels,
                             unrollOf(bestPixels), form, space.chunks,
                             shape.merged, order, shape.fold,
                             shape.prefetch(bestPixels, width), shape.strip());
      };
      // Which does not depend on the order.
      if (!whyPlanIsImpossible(op, planOf(Order::Filter)).empty())
        continue;
      double rows = std::max<int64_t>(1, space.tasksPerImage());
      for (Order order :
           {Order::Filter, Order::Block, Order::Input, Order::Batch}) {
        // Those in which the rows' cycles are as counted.
        if (shape.channels.lanes == Lanes::Groups &&
            shape.blockByBlock == (order == Order::Input))
          continue;
        space.chunks = 1;
        space.chunks = chunksOf(shape, space, bestPixels, order, best);
        // The batch is not known. 512 to 256 channels, k 4 s 2 from 4 x 4: with
        // 64 images `batch` takes 24 ms and `block` 42, with one the same.
        double near = rows * best;
        double one = shape.farCycles(space, width, order, 1, near);
        double many = shape.farCycles(space, width, order, someImages, near);
        double cycles = near + (one + many) / 2;
        found.push_back({planOf(order), cycles});
      }
    }
  };
  SmallVector<PhaseSplitAttr> apart = *splitConvolution(op, 0);
  consider(PlanShape(op, machine, 0, apart, Lanes::Channels));
  if (allowsLanesAcrossGroups(op)) {
    PlanShape shape(op, machine, 0, apart, Lanes::Groups);
    consider(shape);
    shape.blockByBlock = true;
    consider(shape);
  }
  if (allowsLanesOfPixels(op))
    consider(PlanShape(op, machine, 0, apart, Lanes::Pixels));
  // Where the input is one pixel each output pixel has a tap of its own; where
  // the batch is not outermost it is the channels of the layer whose weights'
  // gradient this is, and outputs are few.
  bool onePixel =
      llvm::all_of(apart, [](PhaseSplitAttr s) { return s.getInput() == 1; });
  // Input channels are the layer's images then, whose planes meet in the sets
  // of the first-level cache: with eight, 62 ms where pixels take 28.
  constexpr int64_t mostPlanes = 4;
  PlanShape shape(op, machine, 0, apart, Lanes::Channels);
  if (onePixel || (op.getDimensionNumbers().getInputBatch() != 0 &&
                   shape.reduction <= mostPlanes && !allowsOuterProducts(op))) {
    SmallVector<int64_t> widths = shape.tileWidths();
    // A line of neighbouring channels by one vector: for k 2 s 2 from 64 to 32
    // channels 25 ms, eight channels by two vectors 32 ms.
    if (!onePixel && !widths.empty())
      widths.truncate(1);
    for (int64_t width : widths) {
      int64_t vectors = shape.vectors(width);
      // Batches are rarely multiples of more, channels are.
      int64_t mostImages = onePixel ? 8 : 16;
      int64_t together = std::clamp<int64_t>(
          (machine.registers - 1 - vectors) / vectors, 1, mostImages);
      if (!onePixel)
        together = llvm::bit_floor<uint64_t>(together);
      auto plan = PlanAttr::get(context, Lanes::Channels, width, together,
                                /*unroll=*/1, RowForm::Images, /*chunks=*/1,
                                /*merged=*/0, Order::Batch, /*fold=*/1);
      if (whyPlanIsImpossible(op, plan).empty())
        found.push_back({plan, shape.imagesCycles(together, width)});
    }
  }
  addOuterCandidates(op, machine, images, shape, found);
  bool ofReduction = allowsLanesOfReduction(op) && !op.getLive();
  auto considerReduction = [&](int64_t merged,
                               ArrayRef<PhaseSplitAttr> splits) {
    PlanShape shape(op, machine, merged, splits, Lanes::Reduction);
    // Fewer channels than this leave more to the sums than there is in them;
    // the rest of the channels needs masked loads, which small vectors lack.
    constexpr int64_t fewChannels = 8;
    if (ofReduction && shape.reduction >= fewChannels &&
        (machine.vectorBits > 128 ||
         shape.reduction % shape.reductionLanes() == 0))
      consider(shape);
  };
  considerReduction(0, apart);
  for (int64_t merged = 1; merged <= rank; ++merged) {
    auto splits = splitConvolution(op, merged);
    if (!splits)
      break;
    if ((*splits)[rank - merged].isMerged() && !op.getLive()) {
      consider(PlanShape(op, machine, merged, *splits, Lanes::Channels));
      considerReduction(merged, *splits);
      if (allowsLanesOfPixels(op))
        consider(PlanShape(op, machine, merged, *splits, Lanes::Pixels));
    }
  }
  considerFolds(op, machine, consider);
  // With the batch not outermost it is the gradient of a weight, whose filter
  // every call packs. One input channel, k 4 s 2 in 3-D: merged phases 9.3 ms,
  // of which packing took 8.2, outer products 2.1 and 1.2.
  if (op.getDimensionNumbers().getInputBatch() != 0)
    for (PlanCandidate &candidate : found)
      if (candidate.plan.getRow() != RowForm::Outer)
        candidate.cycles += filterPackingCycles(
            op, machine,
            std::max<int64_t>(1, images ? images : shape.channels.perGroup),
            candidate.plan.getMerged() > 0);
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
