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
#include "plan/RegisterTile.h"

#include "llvm/ADT/bit.h"

#include <numeric>
#include <tuple>

using namespace mlir;
using namespace convjit;
using namespace convjit::conv;

namespace {

/// A batch that weighs as much as a single image.
constexpr double someImages = 8;

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

/// Looks for the best plan of each kind.
class Candidates {
public:
  Candidates(ConvolutionOp op, const Machine &machine, int64_t images)
      : op(op), machine(machine), images(images),
        rank(op.getDimensionNumbers().getRank()),
        apart(*splitConvolution(op, 0)) {}

  SmallVector<PlanCandidate> find();

private:
  void consider(const PlanShape &shape);
  void considerPixels(int64_t merged, ArrayRef<PhaseSplitAttr> splits);
  void considerReduction(int64_t merged, ArrayRef<PhaseSplitAttr> splits);
  void considerMerged();
  void considerFolds(int64_t merged, ArrayRef<PhaseSplitAttr> splits);
  void considerImages(const PlanShape &shape);
  void addPacking(int64_t outputs);

  ConvolutionOp op;
  const Machine &machine;
  int64_t images, rank;
  SmallVector<PhaseSplitAttr> apart; ///< no phases merged
  SmallVector<PlanCandidate> found;
};

} // namespace

void Candidates::consider(const PlanShape &shape) {
  for (int64_t width : shape.tileWidths()) {
    std::optional<RegisterTiles::Tile> tile =
        RegisterTiles(shape, width).best();
    if (!tile)
      continue;
    TaskSpace space{shape.channels, shape.splits, 1};
    space.channels.width = width;
    RowForm form =
        op.getLive() || !tile->unrolled ? RowForm::Ranged : RowForm::Unrolled;
    auto planOf = [&](Order order) {
      return PlanAttr::get(op.getContext(), shape.channels.lanes, width,
                           tile->pixels, tile->unroll, form, space.chunks,
                           shape.merged, order, shape.fold,
                           shape.prefetch(tile->pixels, width), shape.strip(),
                           shape.streamFrom(width));
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
      space.chunks = chunksOf(shape, space, tile->pixels, order, tile->cycles);
      // The batch is not known. 512 to 256 channels, k 4 s 2 from 4 x 4: with
      // 64 images `batch` takes 24 ms and `block` 42, with one the same.
      double near = rows * tile->cycles;
      double one = shape.farCycles(space, width, order, 1, near);
      double many = shape.farCycles(space, width, order, someImages, near);
      found.push_back({planOf(order), near + (one + many) / 2});
    }
  }
}

/// Few output channels share the lanes with pixels of a row, whose taps
/// overlap.
void Candidates::considerFolds(int64_t merged,
                               ArrayRef<PhaseSplitAttr> splits) {
  PlanShape plain(op, machine, merged, splits, Lanes::Channels);
  int64_t run = plain.channels.lanesInRun();
  if (plain.rowTaps() < 2 || run >= plain.lanes)
    return;
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

void Candidates::considerPixels(int64_t merged,
                                ArrayRef<PhaseSplitAttr> splits) {
  if (allowsLanesOfPixels(op))
    consider(PlanShape(op, machine, merged, splits, Lanes::Pixels));
}

void Candidates::considerReduction(int64_t merged,
                                   ArrayRef<PhaseSplitAttr> splits) {
  if (!allowsLanesOfReduction(op) || op.getLive())
    return;
  PlanShape shape(op, machine, merged, splits, Lanes::Reduction);
  // Fewer channels than this leave more to the sums than there is in them; the
  // rest of the channels needs masked loads, which small vectors lack.
  constexpr int64_t fewChannels = 8;
  if (shape.reduction >= fewChannels &&
      (machine.vectorBits > 128 ||
       shape.reduction % shape.reductionLanes() == 0))
    consider(shape);
}

/// The phases of the last dimension in the lanes, of the last two, and so on.
void Candidates::considerMerged() {
  if (op.getLive())
    return;
  for (int64_t merged = 1; merged <= rank; ++merged) {
    auto splits = splitConvolution(op, merged);
    if (!splits)
      return;
    bool isMerged = (*splits)[rank - merged].isMerged();
    if (isMerged) {
      consider(PlanShape(op, machine, merged, *splits, Lanes::Channels));
      considerReduction(merged, *splits);
      considerPixels(merged, *splits);
    }
    // Dimensions before the row have nothing to fold.
    if (isMerged || merged == 1)
      considerFolds(merged, *splits);
  }
}

/// Where the input is one pixel each output pixel has a tap of its own; rows of
/// one to three leave a tile few sums and read all weights again; where the
/// batch is not outermost it is the channels of the layer whose weights'
/// gradient this is, and outputs are few.
void Candidates::considerImages(const PlanShape &shape) {
  bool onePixel =
      llvm::all_of(apart, [](PhaseSplitAttr s) { return s.getInput() == 1; });
  // Input channels are the layer's images then, whose planes meet in the sets
  // of the first-level cache: with eight, 62 ms where pixels take 28.
  constexpr int64_t mostPlanes = 4;
  bool isLayer = op.getDimensionNumbers().getInputBatch() == 0;
  constexpr int64_t shortRow = 3;
  bool shortRows = isLayer && phaseLength(apart.back(), 0) <= shortRow;
  bool ofLayer = onePixel || shortRows;
  if (!ofLayer &&
      (isLayer || shape.reduction > mostPlanes || allowsOuterProducts(op)))
    return;
  SmallVector<int64_t> widths = shape.tileWidths();
  // A line of neighbouring channels by one vector: for k 2 s 2 from 64 to 32
  // channels 25 ms, eight channels by two vectors 32 ms.
  if (!ofLayer && !widths.empty())
    widths.truncate(1);
  for (int64_t width : widths) {
    int64_t vectors = shape.vectors(width);
    // Batches are rarely multiples of more, channels are.
    int64_t mostImages = ofLayer ? 8 : 16;
    int64_t together = std::clamp<int64_t>(
        (machine.registers - 1 - vectors) / vectors, 1, mostImages);
    if (!ofLayer)
      together = llvm::bit_floor<uint64_t>(together);
    auto plan = PlanAttr::get(op.getContext(), Lanes::Channels, width, together,
                              /*unroll=*/1, RowForm::Images, /*chunks=*/1,
                              /*merged=*/0, Order::Batch, /*fold=*/1);
    if (!whyPlanIsImpossible(op, plan).empty())
      continue;
    // One image or many, as elsewhere. 512 to 160 channels, k 5 s 2, from 9 x 9
    // x 6 to 3 x 3 x 1, 4 images: partial sums 41.7 ms, 4 images by 32 channels
    // 7.9.
    double cycles = shape.imagesCycles(together, width);
    if (!onePixel && shortRows)
      cycles = (shape.imagesCycles(1, width) + cycles) / 2;
    found.push_back({plan, cycles});
  }
}

/// With the batch not outermost it is the gradient of a weight, whose filter
/// every call packs. One input channel, k 4 s 2 in 3-D: merged phases 9.3 ms,
/// of which packing took 8.2, outer products 2.1 and 1.2.
void Candidates::addPacking(int64_t outputs) {
  if (op.getDimensionNumbers().getInputBatch() == 0)
    return;
  for (PlanCandidate &candidate : found)
    if (candidate.plan.getRow() != RowForm::Outer)
      candidate.cycles += filterPackingCycles(
          op, machine, std::max<int64_t>(1, images ? images : outputs),
          candidate.plan.getMerged() > 0);
}

SmallVector<PlanCandidate> Candidates::find() {
  PlanShape shape(op, machine, 0, apart, Lanes::Channels);
  consider(shape);
  if (allowsLanesAcrossGroups(op))
    for (bool blockByBlock : {false, true})
      consider(PlanShape(op, machine, 0, apart, Lanes::Groups, blockByBlock));
  considerPixels(0, apart);
  considerImages(shape);
  addOuterCandidates(op, machine, images, shape, found);
  considerReduction(0, apart);
  considerMerged();
  addPacking(shape.channels.perGroup);
  // Of equals, the plainest.
  auto key = [](const PlanCandidate &candidate) {
    PlanAttr plan = candidate.plan;
    return std::tuple(candidate.cycles, plan.getMerged(), plan.getOrder(),
                      plan.getWidth());
  };
  llvm::sort(found, [&](const PlanCandidate &a, const PlanCandidate &b) {
    return key(a) < key(b);
  });
  return std::move(found);
}

SmallVector<PlanCandidate> convjit::planCandidates(ConvolutionOp op,
                                                   const Machine &machine,
                                                   int64_t images) {
  return Candidates(op, machine, images).find();
}
