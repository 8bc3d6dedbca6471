//===- PlanReport.cpp - a plan explained -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "PlanReport.h"
#include "Geometry.h"

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
    channelsContiguous = numbers.getInputFeature() == input.getRank() - 1;
    outputContiguous = numbers.getOutputFeature() == input.getRank() - 1;
    int64_t dim = numbers.getRank() - 1;
    row = splitDimension(op.getWindow(), dim,
                         input.getDimSize(numbers.getInputSpatial()[dim]),
                         filter.getDimSize(numbers.getKernelSpatial()[dim]));
    if (op.getPlanAttr().getMerged() > 0)
      if (auto together = mergePhases(row))
        row = *together;
  }
  int64_t featureGroups, outputs, reduction, perGroup;
  bool channelsContiguous, outputContiguous;
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
  if (plan.getChunks() > maxChunks)
    return "chunks = " + std::to_string(plan.getChunks()) + "; valid: 1 to " +
           std::to_string(maxChunks);
  int64_t tile = plan.getPixels() * vectors * plan.getUnroll();
  if (tile > maxTile)
    return "pixels, width and unroll make " + std::to_string(tile) +
           " vector FMAs a tile; valid: at most " + std::to_string(maxTile);
  return "";
}

PlanReport convjit::reportPlan(ConvolutionOp op, const TargetInfo &target) {
  Facts facts(op);
  PlanAttr plan = op.getPlanAttr();
  PlanReport report;
  llvm::raw_string_ostream stream(report.plan);
  mlir::Attribute(plan).print(stream);

  auto input = llvm::cast<mlir::RankedTensorType>(op.getInput().getType());
  int64_t lanes = target.vectorBits / input.getElementTypeBitWidth();
  auto add = [&](std::string name, bool chosen, std::string reason) {
    report.candidates.push_back({std::move(name), chosen, std::move(reason)});
  };
  auto text = [](auto value) { return std::to_string(value); };
  bool byGroups = plan.getLanes() == Lanes::Groups;
  std::string idle;
  int64_t lanesUsed = byGroups ? facts.featureGroups : facts.perGroup;
  if (lanesUsed < lanes)
    idle = "; slow: only " + text(lanesUsed) + " of " + text(lanes) +
           " lanes have work";
  if (!facts.outputContiguous)
    idle += "; outputs are stored one element at a time, since channels are "
            "not last in the output";
  add("direct, lanes = channels", !byGroups,
      byGroups
          ? text(facts.perGroup) + " output channels a group would leave " +
                text(lanes - facts.perGroup) + " of " + text(lanes) +
                " lanes idle"
          : "tile of " + text(plan.getPixels()) + " pixels by " +
                text(plan.getWidth()) +
                " channels has the fewest predicted cycles" + idle);
  std::string whyNotGroups =
      facts.featureGroups == 1 ? "the layer has one group"
      : facts.reduction != 1 ? text(facts.reduction) + " input channels a group"
      : !facts.channelsContiguous
          ? "input channels are not neighbours in memory"
          : text(facts.perGroup) +
                " output channels a group fill more lanes "
                "than " +
                text(facts.featureGroups) + " groups";
  add("direct, lanes = groups", byGroups,
      byGroups ? "one input channel a group, " + text(facts.featureGroups) +
                     " groups side by side" + idle
               : whyNotGroups);
  bool unrolled = plan.getRow() == RowForm::Unrolled;
  add("row = unrolled", unrolled,
      unrolled       ? "border tiles know their pixels"
      : op.getLive() ? "the mask's taps come from a table"
                     : text(facts.row.getStep()) + " phases of up to " +
                           text(*llvm::max_element(facts.row.getTaps())) +
                           " taps are too much code");
  add("row = ranged", !unrolled,
      unrolled ? "border pixels would run one at a time"
               : "one body for all phases; border pixels run one at a time");
  add("winograd", false, "not implemented yet");
  return report;
}
