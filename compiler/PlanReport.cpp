//===- PlanReport.cpp - a plan explained -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "PlanReport.h"
#include "geometry/Geometry.h"
#include "outer/OuterProducts.h"
#include "plan/CostModel.h"

#include "llvm/Support/Format.h"
#include "llvm/Support/raw_ostream.h"

using namespace convjit;
using namespace convjit::conv;

namespace {

/// The numbers of a convolution that a plan is judged by.
struct Facts {
  explicit Facts(ConvolutionOp op) {
    auto input = llvm::cast<mlir::RankedTensorType>(op.getInput().getType());
    auto filter = llvm::cast<mlir::RankedTensorType>(op.getFilter().getType());
    DimensionNumbersAttr numbers = op.getDimensionNumbers();
    featureGroups = op.getFeatureGroupCount();
    outputs = filterOutputFeatures(filter.getShape(), numbers, featureGroups,
                                   op.getSwappedFilter());
    reduction = filterInputFeatures(filter.getShape(), numbers, featureGroups,
                                    op.getSwappedFilter());
    perGroup = outputs / (featureGroups * op.getBatchGroupCount());
    channelsContiguous = isInnermostOfInput(op, numbers.getInputFeature());
    outputContiguous = numbers.getOutputFeature() == input.getRank() - 1;
    outputRowsLast = numbers.getOutputSpatial().back() == input.getRank() - 1;
    int64_t dim = numbers.getRank() - 1;
    row = splitDimension(op.getWindow(), dim,
                         input.getDimSize(numbers.getInputSpatial()[dim]),
                         filter.getDimSize(numbers.getKernelSpatial()[dim]));
    row = foldPixels(row, op.getPlanAttr().getFold());
    if (op.getPlanAttr().getMerged() > 0)
      if (auto together = mergePhases(row))
        row = *together;
  }
  int64_t featureGroups, outputs, reduction, perGroup;
  bool channelsContiguous, outputContiguous, outputRowsLast;
  PhaseSplitAttr row;
};

} // namespace

std::string convjit::whyPlanIsInvalid(ConvolutionOp op) {
  Facts facts(op);
  PlanAttr plan = op.getPlanAttr();
  if (std::string why = whyPlanIsImpossible(op, plan); !why.empty())
    return why;
  // More code than anyone wants to wait for: minutes of compilation.
  int64_t vectors = llvm::divideCeil(plan.getWidth(), 16);
  constexpr int64_t maxRow = 30000, maxTile = 4096;
  if (plan.getRow() == RowForm::Unrolled &&
      unrolledFMAs(facts.row, plan.getPixels(), vectors, facts.reduction,
                   plan.getUnroll()) > maxRow)
    return "row = unrolled; valid for so many border tiles and phases: ranged";
  constexpr int64_t maxChunks = 1024;
  if (plan.getChunks() > maxChunks && plan.getRow() != RowForm::Outer)
    return "chunks = " + std::to_string(plan.getChunks()) + "; valid: 1 to " +
           std::to_string(maxChunks);
  int64_t tile = plan.getPixels() * vectors * plan.getUnroll();
  if (tile > maxTile)
    return "pixels, width and unroll make " + std::to_string(tile) +
           " vector FMAs a tile; valid: at most " + std::to_string(maxTile);
  return "";
}

/// Why part of the machine is idle whatever the plan; empty if it is not.
static std::string whySlow(ConvolutionOp op, const Facts &facts, PlanAttr plan,
                           int64_t run, int64_t lanes) {
  std::string reason;
  if (run < lanes)
    reason += "; slow: only " + std::to_string(run) + " of " +
              std::to_string(lanes) + " lanes have work";
  bool oneByOne = plan.getMerged() == 0 && plan.getLanes() == Lanes::Channels &&
                  !facts.outputContiguous &&
                  !(facts.outputRowsLast && facts.row.getStep() == 1);
  // Tiles of outer products have rows of channels, which are vectors as well.
  if (plan.getRow() == RowForm::Outer) {
    auto output = llvm::cast<mlir::RankedTensorType>(op.getType());
    DimensionNumbersAttr numbers = op.getDimensionNumbers();
    oneByOne &= numbers.getOutputBatch() != output.getRank() - 1 &&
                !stagesSums(output, numbers, plan);
  }
  if (oneByOne)
    reason += "; slow: outputs are stored one element at a time, since neither "
              "channels nor pixels are neighbours in the output";
  return reason;
}

/// Which operand of a sum of outer products is packed, and why that one; empty
/// if none is.
static std::string whatIsPacked(ConvolutionOp op, PlanAttr plan) {
  if (plan.getRow() != RowForm::Outer || plan.getLanes() == Lanes::Groups)
    return "";
  DimensionNumbersAttr numbers = op.getDimensionNumbers();
  const char *apart = "neither operand has its channels last in memory, and ";
  if (plan.getLanes() == Lanes::Images)
    return "; packs the input, " + std::to_string(plan.getWidth()) +
           " images of a piece at a time, inside of the call: " + apart +
           "the input is the smaller one for each channel";
  if (outerLanes(numbers, plan) != OuterLanes::Packed)
    return "";
  return "; packs the filter (of a weight's gradient the output's), all of it "
         "before the call: " +
         std::string(apart) +
         (allowsPackedImages(op)
              ? "packing the input is predicted to take longer, or it is not "
                "smaller for each channel"
              : "the input has pixels between those of a tap, or rows that are "
                "not last in memory");
}

/// How many neighbours there are of what the lanes hold.
static int64_t laneRun(ConvolutionOp op, const Facts &facts, PlanAttr plan,
                       int64_t images) {
  DimensionNumbersAttr numbers = op.getDimensionNumbers();
  if (plan.getRow() == RowForm::Outer && plan.getLanes() == Lanes::Channels &&
      outerLanes(numbers, plan) == OuterLanes::Images &&
      !(images && leavesLanes(numbers, images)))
    return images ? images : plan.getWidth();
  switch (plan.getLanes()) {
  case Lanes::Groups:
    // The channels of all groups.
    return facts.outputs;
  case Lanes::Reduction:
    return facts.reduction;
  case Lanes::Images:
    // Only a call tells.
    return plan.getWidth();
  case Lanes::Pixels: {
    int64_t longest = 0;
    for (int64_t phase = 0, end = facts.row.getTaps().size(); phase < end;
         ++phase)
      longest = std::max(longest, phaseLength(facts.row, phase));
    return std::min(longest, plan.getPixels());
  }
  case Lanes::Channels:
    break;
  }
  int64_t run = facts.perGroup;
  if (auto splits = splitConvolution(op, plan.getMerged(), plan.getFold()))
    for (PhaseSplitAttr split : *splits)
      run *= split.getLanePhases();
  return run;
}

PlanReport convjit::reportPlan(ConvolutionOp op, const TargetInfo &target,
                               int64_t images) {
  Facts facts(op);
  PlanAttr plan = op.getPlanAttr();
  PlanReport report;
  llvm::raw_string_ostream stream(report.plan);
  mlir::Attribute(plan).print(stream);

  auto input = llvm::cast<mlir::RankedTensorType>(op.getInput().getType());
  int64_t lanes = target.machine.vectorBits / input.getElementTypeBitWidth();
  auto add = [&](std::string name, bool chosen, std::string reason,
                 double cycles = 0) {
    report.candidates.push_back(
        {std::move(name), chosen, std::move(reason), cycles});
  };
  auto cyclesText = [](double cycles) {
    std::string text;
    llvm::raw_string_ostream stream(text);
    stream << llvm::format("%.3g", cycles) << " cycles predicted";
    return text;
  };
  int64_t run = laneRun(op, facts, plan, images);
  // The best few, and the plan at hand wherever it came from.
  constexpr size_t shown = 8;
  llvm::SmallVector<PlanCandidate> candidates =
      planCandidates(op, target.machine, images);
  bool listed = false;
  for (const PlanCandidate &candidate :
       llvm::ArrayRef(candidates)
           .take_front(std::min(shown, candidates.size()))) {
    std::string text;
    llvm::raw_string_ostream(text) << mlir::Attribute(candidate.plan);
    bool chosen = candidate.plan == plan;
    listed |= chosen;
    add(text, chosen,
        cyclesText(candidate.cycles) +
            (chosen
                 ? whySlow(op, facts, plan, run, lanes) + whatIsPacked(op, plan)
                 : ""),
        candidate.cycles);
  }
  if (!listed)
    add(report.plan, true,
        "given" + whySlow(op, facts, plan, run, lanes) +
            whatIsPacked(op, plan));
  if (plan.getLanes() == Lanes::Channels)
    add("lanes = groups", false,
        facts.featureGroups == 1 ? "the layer has one group"
        : facts.reduction != 1
            ? std::to_string(facts.reduction) + " input channels a group"
        : !facts.channelsContiguous
            ? "input channels are not neighbours in memory"
            : "more cycles predicted");
  // Which is said where it keeps a family of plans away.
  if (int64_t step = inputStrides(op).back(); step != 1)
    add("vectors of the input", false,
        "its last axis has elements that are " + std::to_string(step) +
            " apart, which are loaded one by one: no lanes of groups, pixels, "
            "reduction or images of it");
  add("winograd", false, "not implemented yet");
  return report;
}
