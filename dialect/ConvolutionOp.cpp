//===- ConvolutionOp.cpp - the general convolution and what it becomes: checks
//-*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "ConvDialect.h"

using namespace mlir;
using namespace convjit::conv;

int64_t convjit::conv::filterOutputFeatures(ArrayRef<int64_t> filter,
                                            DimensionNumbersAttr numbers,
                                            int64_t featureGroups,
                                            bool swappedFilter) {
  int64_t size = filter[numbers.getKernelOutputFeature()];
  return swappedFilter ? size * featureGroups : size;
}

int64_t convjit::conv::filterInputFeatures(ArrayRef<int64_t> filter,
                                           DimensionNumbersAttr numbers,
                                           int64_t featureGroups,
                                           bool swappedFilter) {
  int64_t size = filter[numbers.getKernelInputFeature()];
  return swappedFilter ? size / featureGroups : size;
}

SmallVector<int64_t> convjit::conv::inferConvolutionShape(
    ArrayRef<int64_t> input, ArrayRef<int64_t> filter, WindowAttr window,
    DimensionNumbersAttr numbers, int64_t featureGroups, int64_t batchGroups,
    bool swappedFilter) {
  SmallVector<int64_t> shape(input.size());
  int64_t batch = input[numbers.getInputBatch()];
  shape[numbers.getOutputBatch()] =
      ShapedType::isDynamic(batch) ? batch : batch / batchGroups;
  shape[numbers.getOutputFeature()] =
      filterOutputFeatures(filter, numbers, featureGroups, swappedFilter);
  for (int64_t dim = 0; dim < window.getRank(); ++dim)
    shape[numbers.getOutputSpatial()[dim]] =
        window.outputSize(dim, input[numbers.getInputSpatial()[dim]],
                          filter[numbers.getKernelSpatial()[dim]]);
  return shape;
}

/// StableHLO's constraints as far as the result type does not already follow
/// from them.
template <typename Op>
static LogicalResult checkConvolution(function_ref<InFlightDiagnostic()> fail,
                                      Op op) {
  auto input = dyn_cast<RankedTensorType>(op.getInput().getType());
  auto filter = dyn_cast<RankedTensorType>(op.getFilter().getType());
  if (!input || !filter)
    return fail() << "input and filter must be ranked tensors";
  if (filter.getRank() != input.getRank())
    return fail() << "C1: input has rank " << input.getRank()
                  << ", filter rank " << filter.getRank()
                  << "; valid: the same rank";
  int64_t rank = op.getWindow().getRank();
  DimensionNumbersAttr numbers = op.getDimensionNumbers();
  if (rank != input.getRank() - 2)
    return fail() << "C2: the window has " << rank
                  << " spatial dimensions; valid: " << input.getRank() - 2
                  << ", the input's rank less 2";
  if (rank < 1 || rank > 3)
    return fail() << "the window has " << rank
                  << " spatial dimensions; valid: 1 to 3";
  if (numbers.getRank() != rank)
    return fail() << "C12: dims name " << numbers.getRank()
                  << " spatial dimensions; valid: " << rank;
  int64_t featureGroups = op.getFeatureGroupCount();
  int64_t batchGroups = op.getBatchGroupCount();
  if (featureGroups < 1)
    return fail() << "C21: feature_group_count = " << featureGroups
                  << "; valid: at least 1";
  if (batchGroups < 1)
    return fail() << "C22: batch_group_count = " << batchGroups
                  << "; valid: at least 1";
  if (featureGroups > 1 && batchGroups > 1)
    return fail() << "C23: feature_group_count = " << featureGroups
                  << " and batch_group_count = " << batchGroups
                  << "; valid: at most one of them above 1";
  int64_t batch = input.getDimSize(numbers.getInputBatch());
  if (!ShapedType::isDynamic(batch) && batch % batchGroups)
    return fail() << "C10: batch_group_count = " << batchGroups
                  << "; valid: a divisor of the batch, " << batch;
  int64_t features = input.getDimSize(numbers.getInputFeature());
  for (auto [axis, size] : llvm::enumerate(input.getShape()))
    if (ShapedType::isDynamic(size) &&
        static_cast<int64_t>(axis) != numbers.getInputBatch())
      return fail() << "input axis " << axis
                    << " is dynamic; valid: only the batch may be";
  if (!filter.hasStaticShape())
    return fail() << "the filter is dynamic; valid: a static shape";
  if (features % featureGroups)
    return fail() << "C11: feature_group_count = " << featureGroups
                  << "; valid: a divisor of the input's features, " << features;
  bool swapped = op.getSwappedFilter();
  int64_t inAxis = filter.getDimSize(numbers.getKernelInputFeature());
  int64_t wantedIn = swapped ? features : features / featureGroups;
  if (inAxis != wantedIn)
    return fail() << "C14: the filter has " << inAxis
                  << " input features; valid: " << wantedIn;
  int64_t out =
      filterOutputFeatures(filter.getShape(), numbers, featureGroups, swapped);
  if (out % batchGroups)
    return fail() << "C15: batch_group_count = " << batchGroups
                  << "; valid: a divisor of the output features, " << out;
  if (out % featureGroups)
    return fail() << "C16: feature_group_count = " << featureGroups
                  << "; valid: a divisor of the output features, " << out;
  if (input.getElementType() != filter.getElementType())
    return fail() << "C27: input has elements " << input.getElementType()
                  << ", filter " << filter.getElementType()
                  << "; valid: the same type";
  return success();
}

LogicalResult ConvolutionOp::inferReturnTypes(MLIRContext *context,
                                              std::optional<Location> location,
                                              Adaptor adaptor,
                                              SmallVectorImpl<Type> &results) {
  auto fail = [&] {
    return mlir::emitError(location.value_or(UnknownLoc::get(context)));
  };
  if (failed(checkConvolution(fail, adaptor)))
    return failure();
  auto input = cast<RankedTensorType>(adaptor.getInput().getType());
  auto filter = cast<RankedTensorType>(adaptor.getFilter().getType());
  results.push_back(RankedTensorType::get(
      inferConvolutionShape(
          input.getShape(), filter.getShape(), adaptor.getWindow(),
          adaptor.getDimensionNumbers(), adaptor.getFeatureGroupCount(),
          adaptor.getBatchGroupCount(), adaptor.getSwappedFilter()),
      input.getElementType()));
  return success();
}

LogicalResult ConvolutionOp::verify() {
  auto fail = [&] { return emitOpError(); };
  if (failed(checkConvolution(fail, *this)))
    return failure();
  auto result = cast<RankedTensorType>(getResult().getType());
  int64_t out = result.getDimSize(getDimensionNumbers().getOutputFeature());
  if (Value bias = getBias()) {
    auto type = cast<RankedTensorType>(bias.getType());
    if (type.getRank() != 1 || type.getDimSize(0) != out ||
        type.getElementType() != result.getElementType())
      return fail() << "bias is " << type << "; valid: one "
                    << result.getElementType() << " for each of the " << out
                    << " output features";
  }
  if (Value residual = getResidual())
    if (residual.getType() != getResult().getType())
      return fail() << "residual is " << residual.getType()
                    << "; valid: the result's type, " << Type(result);
  if (getMask() && getMask()->getShapedType().getShape() !=
                       cast<ShapedType>(getFilter().getType()).getShape())
    return fail() << "mask: its shape must be the filter's";
  return success();
}

LogicalResult PhasesOp::verify() {
  int64_t rank = getRank();
  if (cast<MemRefType>(getInput().getType()).getRank() != rank + 2 ||
      cast<MemRefType>(getOutput().getType()).getRank() != rank + 2)
    return emitOpError() << "input and output must have rank " << rank + 2
                         << ": " << rank << " splits, batch and channels";
  if (static_cast<int64_t>(getReversal().size()) != rank)
    return emitOpError() << "reversal has " << getReversal().size()
                         << " entries; valid: " << rank;
  for (auto split : getSplits().getAsRange<PhaseSplitAttr>())
    if (split.getFirstTap().size() != split.getTaps().size() ||
        split.getBase().size() != split.getTaps().size() ||
        static_cast<int64_t>(split.getTaps().size()) != split.getStep())
      return emitOpError() << "a split with step " << split.getStep()
                           << " needs as many entries of first_tap, taps and "
                              "base";
  if (getPacked() &&
      cast<MemRefType>(getFilter().getType()).getRank() != rank + 3)
    return emitOpError() << "a packed filter has rank " << rank + 3;
  return success();
}

LogicalResult TileOp::verify() {
  int64_t rank = getDimensionNumbers().getRank();
  auto check = [&](StringRef what, int64_t have, int64_t want) {
    if (have == want)
      return success();
    return LogicalResult(emitOpError() << what << " has " << have
                                       << " entries; valid: " << want);
  };
  int64_t ranged = getTapPixels() ? rank - 1 : rank;
  if (failed(check("input_at", getInputAt().size(), rank + 2)) ||
      failed(check("filter_at", getFilterAt().size(), rank + 3)) ||
      failed(check("output_at", getOutputAt().size(), rank + 2)) ||
      failed(check("tap_ranges", getTapRanges().size(), 2 * ranged)) ||
      failed(check("input_tap_steps", getInputTapSteps().size(), rank)) ||
      failed(check("filter_tap_steps", getFilterTapSteps().size(), rank)))
    return failure();
  if (getValid() < 1 || getValid() > getWidth())
    return emitOpError() << "valid = " << getValid() << "; valid: 1 to width, "
                         << getWidth();
  if (std::optional<ArrayRef<int64_t>> pixels = getTapPixels())
    for (size_t i = 0; i + 1 < pixels->size(); i += 2)
      if ((*pixels)[i] < 0 || (*pixels)[i] > (*pixels)[i + 1] ||
          (*pixels)[i + 1] > static_cast<int64_t>(getPixels()))
        return emitOpError()
               << "tap_pixels of tap " << i / 2 << " lie outside the tile's "
               << getPixels() << " pixels";
  return success();
}
