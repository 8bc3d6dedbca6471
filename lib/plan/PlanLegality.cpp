//===- PlanLegality.cpp - which plans a convolution can have -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "geometry/Geometry.h"
#include "outer/OuterProducts.h"
#include "vector/Interleave.h"

using namespace convjit;
using namespace convjit::conv;
using namespace mlir;

bool convjit::allowsLanesAcrossGroups(ConvolutionOp op) {
  auto filter = cast<RankedTensorType>(op.getFilter().getType());
  DimensionNumbersAttr numbers = op.getDimensionNumbers();
  int64_t channels =
      filterInputFeatures(filter.getShape(), numbers, op.getFeatureGroupCount(),
                          op.getSwappedFilter());
  return op.getFeatureGroupCount() > 1 && channels >= 1 &&
         channels <= (op.getLive() ? 1 : maxChannelsAcrossGroups) &&
         isInnermostOfInput(op, numbers.getInputFeature());
}

bool convjit::allowsLanesOfPixels(ConvolutionOp op) {
  int64_t row = op.getDimensionNumbers().getInputSpatial().back();
  // Every second or fourth element comes out of a load of all of them.
  int64_t step = splitConvolution(op, 0)->back().getInputStep();
  return isInnermostOfInput(op, row) && (step == 1 || step == 2 || step == 4);
}

bool convjit::allowsLanesOfReduction(ConvolutionOp op) {
  return isInnermostOfInput(op, op.getDimensionNumbers().getInputFeature());
}

bool convjit::allowsInputPrefetch(ConvolutionOp op) {
  DimensionNumbersAttr numbers = op.getDimensionNumbers();
  int64_t rank = numbers.getRank();
  int64_t row = numbers.getInputSpatial().back();
  bool pixelsFollow =
      row == rank && isInnermostOfInput(op, numbers.getInputFeature());
  return !op.getLive() && (pixelsFollow || isInnermostOfInput(op, row));
}

/// Why nothing is fetched ahead as the plan says; empty if it can be.
static std::string whyNotFetched(ConvolutionOp op, PlanAttr plan) {
  Prefetch prefetch = plan.getPrefetch();
  if (prefetch == Prefetch::None)
    return "";
  std::string field = "prefetch = " + stringifyPrefetch(prefetch).str();
  if (plan.getRow() == RowForm::Outer) {
    DimensionNumbersAttr numbers = op.getDimensionNumbers();
    int64_t last = numbers.getRank() + 1;
    if (numbers.getInputBatch() != last ||
        numbers.getKernelOutputFeature() != last)
      return field + "; valid with row = outer unless both operands have their "
                     "channels last: none";
    return "";
  }
  if (prefetch != Prefetch::Input && plan.getLanes() != Lanes::Channels)
    return field + "; valid with other lanes than channels: none or input";
  if (prefetch != Prefetch::Filter &&
      (!allowsInputPrefetch(op) || plan.getRow() == RowForm::Images))
    return field + "; valid with a mask, row = images, or where neither a "
                   "pixel's channels nor a row's pixels are last in memory: "
                   "none or filter";
  return "";
}

std::string convjit::whyPlanIsImpossible(ConvolutionOp op, PlanAttr plan) {
  bool outer = plan.getRow() == RowForm::Outer;
  if (plan.getLanes() == Lanes::Groups && !outer &&
      !allowsLanesAcrossGroups(op))
    return "lanes = groups; valid only with up to " +
           std::to_string(maxChannelsAcrossGroups) +
           " input channels a group, one with a mask, that are neighbours in "
           "memory";
  if (plan.getLanes() == Lanes::Groups && !outer) {
    auto filter = cast<RankedTensorType>(op.getFilter().getType());
    int64_t outputs =
        filterOutputFeatures(filter.getShape(), op.getDimensionNumbers(),
                             op.getFeatureGroupCount(), op.getSwappedFilter());
    int64_t perGroup = outputs / op.getFeatureGroupCount();
    if (plan.getWidth() % perGroup && plan.getWidth() < outputs)
      return "width = " + std::to_string(plan.getWidth()) +
             "; valid with lanes = groups: a multiple of the " +
             std::to_string(perGroup) + " output channels of a group";
  }
  if (plan.getLanes() == Lanes::Images) {
    if (!outer || !allowsPackedImages(op))
      return "lanes = images; valid only with row = outer, where rows are last "
             "in the input, without gaps, and each of its pixels is one of the "
             "window's";
    int64_t element = cast<RankedTensorType>(op.getInput().getType())
                          .getElementTypeBitWidth() /
                      8;
    int64_t bytes =
        packedImageElements(op, plan.getChunks()) * plan.getWidth() * element;
    if (bytes > mostPackedBytes)
      return "chunks = " + std::to_string(plan.getChunks()) +
             "; valid with lanes = images: so many that a piece of the input "
             "of width images has at most " +
             std::to_string(mostPackedBytes) + " bytes; it has " +
             std::to_string(bytes);
  }
  if (plan.getLanes() == Lanes::Pixels && !allowsLanesOfPixels(op))
    return "lanes = pixels; valid only where the pixels that a row reads are "
           "neighbours in memory";
  if (plan.getLanes() == Lanes::Reduction) {
    if (!allowsLanesOfReduction(op) || op.getLive())
      return "lanes = reduction; valid only without a mask and where the "
             "channels of an input pixel are neighbours in memory";
    if (plan.getUnroll() < 2 || !llvm::isPowerOf2_64(plan.getUnroll()))
      return "unroll = " + std::to_string(plan.getUnroll()) +
             "; valid with lanes = reduction: 2, 4, 8, 16, 32 or 64";
  }
  if (plan.getRow() == RowForm::Images &&
      (op.getLive() || op.getBatchGroupCount() > 1 || plan.getMerged() ||
       plan.getChunks() != 1 || plan.getLanes() != Lanes::Channels))
    return "row = images; valid without a mask and batch groups, with lanes = "
           "channels, chunks = 1 and merged = 0";
  if (outer) {
    if (!allowsOuterProducts(op))
      return "row = outer; valid without a mask, bias, activation and feature "
             "groups, and with images that are neighbours in memory where "
             "they are last in the input";
    bool acrossGroups =
        plan.getLanes() == Lanes::Groups && allowsOuterGroups(op);
    if ((plan.getLanes() != Lanes::Channels &&
         plan.getLanes() != Lanes::Images && !acrossGroups) ||
        plan.getMerged())
      return "row = outer; valid with merged = 0 and lanes = channels or "
             "images, or with "
             "batch groups of up to " +
             std::to_string(maxChannelsOfOuterGroups) +
             " output channels groups";
    if (acrossGroups) {
      auto filter = cast<RankedTensorType>(op.getFilter().getType());
      auto perGroup = static_cast<int64_t>(
          filter.getDimSize(op.getDimensionNumbers().getKernelOutputFeature()) /
          op.getBatchGroupCount());
      int64_t lanes = lineElements(filter.getElementTypeBitWidth());
      // A vector of either operand has whole groups.
      int64_t most = lanes % perGroup ? lanes : maxMaskedLanes;
      if (plan.getWidth() % perGroup || plan.getWidth() > most)
        return "width = " + std::to_string(plan.getWidth()) +
               "; valid with row = outer and lanes = groups: a multiple of "
               "the " +
               std::to_string(perGroup) +
               " output channels of a group, up to " + std::to_string(most);
    }
  }
  if (plan.getRow() == RowForm::Unrolled && op.getLive())
    return "row = unrolled; valid with a mask: ranged";
  if (std::string why = whyNotFetched(op, plan); !why.empty())
    return why;
  if (plan.getStrip() && (outer || op.getDimensionNumbers().getRank() < 3))
    return "strip = " + std::to_string(plan.getStrip()) +
           "; valid with row = outer, or less than three dimensions: 0";
  if (plan.getStreamFrom() != streamingBytes && outer)
    return "stream_from = " + std::to_string(plan.getStreamFrom()) +
           "; valid with row = outer: " + std::to_string(streamingBytes);
  int64_t merged = plan.getMerged();
  if (plan.getFold() > 1 && (merged == 0 || plan.getLanes() != Lanes::Channels))
    return "fold = " + std::to_string(plan.getFold()) +
           "; valid with merged = 0, or other lanes than channels: 1";
  if (merged == 0)
    return "";
  std::string field = "merged = " + std::to_string(merged);
  DimensionNumbersAttr numbers = op.getDimensionNumbers();
  int64_t rank = numbers.getRank();
  if (merged > rank)
    return field + "; valid: up to the rank, " + std::to_string(rank);
  bool ofPixels = plan.getLanes() == Lanes::Pixels;
  if (op.getLive() || plan.getLanes() == Lanes::Groups)
    return field + "; valid with a mask, or lanes = groups: 0";
  auto splits = splitConvolution(op, merged, plan.getFold());
  if (!splits)
    return field + "; valid where phases have no common input: 0";
  auto filter = cast<RankedTensorType>(op.getFilter().getType());
  int64_t groups = op.getFeatureGroupCount() * op.getBatchGroupCount();
  int64_t perGroup =
      filterOutputFeatures(filter.getShape(), numbers,
                           op.getFeatureGroupCount(), op.getSwappedFilter()) /
      groups;
  int64_t run = perGroup;
  bool rowsOnly = true;
  for (int64_t dim = 0; dim < rank; ++dim) {
    run *= (*splits)[dim].getLanePhases();
    rowsOnly &= dim == rank - 1 || !(*splits)[dim].isMerged();
  }
  // A block that begins in the middle of the lanes is stored as one piece of a
  // row.
  bool contiguous =
      rowsOnly &&
      mergedLanesAreContiguous(cast<RankedTensorType>(op.getType()).getShape(),
                               numbers, perGroup);
  if (ofPixels && (numbers.getOutputSpatial().back() != rank + 1 ||
                   splits->back().getLanePhases() > maxInterleaved ||
                   plan.getWidth() < run))
    return field +
           "; valid with lanes = pixels, unless rows are last in the "
           "output, of up to " +
           std::to_string(maxInterleaved) + " phases, and width is " +
           std::to_string(run) + " or more: 0";
  bool uniform = llvm::all_of(*splits, hasUniformLanes);
  if (plan.getWidth() < run && !uniform)
    return field + "; valid with width = " + std::to_string(plan.getWidth()) +
           ": 0, since the phases of the " + std::to_string(run) +
           " lanes have different taps";
  if (plan.getWidth() < run && !contiguous)
    return field + "; valid with width = " + std::to_string(plan.getWidth()) +
           ": 0, since the " + std::to_string(run) +
           " lanes of all phases do not follow each other in the output";
  return "";
}
