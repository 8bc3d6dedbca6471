//===- ConvolutionOp.cpp - the general convolution and what it becomes: checks
//-*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "ConvDialect.h"

#include <numeric>

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
  for (int64_t dim = 0; dim < rank; ++dim) {
    int64_t ld = op.getWindow().getLhsDilation()[dim];
    int64_t phases = ld / std::gcd(ld, op.getWindow().getStrides()[dim]);
    int64_t kernel = filter.getDimSize(numbers.getKernelSpatial()[dim]);
    if (phases > (1 << 16))
      return fail() << "lhs_dilate[" << dim << "] = " << ld << " makes "
                    << phases << " output phases; valid: up to 65536";
    if (kernel < 1 || kernel > (1 << 24))
      return fail() << "the kernel is " << kernel << " long in dimension "
                    << dim << "; valid: 1 to 2^24";
  }
  if (std::optional<ArrayRef<int64_t>> strides = op.getInputStrides();
      strides && static_cast<int64_t>(strides->size()) != input.getRank())
    return fail() << "input_strides has " << strides->size()
                  << " entries; valid: " << input.getRank()
                  << ", one for each axis of the input";
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

/// Live sets must name channels and taps that exist.
static LogicalResult verifyLive(function_ref<InFlightDiagnostic()> fail,
                                std::optional<ArrayAttr> live, int64_t outputs,
                                int64_t taps, int64_t inputs) {
  if (!live)
    return success();
  for (auto set : live->getAsRange<LiveAttr>()) {
    ArrayRef<int64_t> terms = set.getTerms();
    bool good = set.getFirst() >= 0 && set.getFirst() <= set.getLast() &&
                set.getLast() <= outputs && terms.size() % 3 == 0;
    for (size_t i = 0; good && i < terms.size(); i += 3)
      good = terms[i] >= 0 && terms[i] < taps && terms[i + 1] >= 0 &&
             terms[i + 1] <= terms[i + 2] && terms[i + 2] <= inputs;
    if (!good)
      return fail() << "live: " << Attribute(set) << "; valid: channels below "
                    << outputs << ", and tap, first, last with taps below "
                    << taps << " and channels up to " << inputs;
  }
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
  auto filter = cast<RankedTensorType>(getFilter().getType());
  if (getMask() && getMask()->getShapedType().getShape() != filter.getShape())
    return fail() << "mask: its shape must be the filter's";
  int64_t taps = 1;
  for (int64_t axis : getDimensionNumbers().getKernelSpatial())
    taps *= filter.getDimSize(axis);
  return verifyLive(
      fail, getLive(), out, taps,
      filterInputFeatures(filter.getShape(), getDimensionNumbers(),
                          getFeatureGroupCount(), getSwappedFilter()));
}

LogicalResult PhasesOp::verify() {
  auto fail = [&] { return emitOpError(); };
  int64_t rank = getRank();
  auto input = cast<MemRefType>(getInput().getType());
  auto filter = cast<MemRefType>(getFilter().getType());
  auto output = cast<MemRefType>(getOutput().getType());
  DimensionNumbersAttr numbers = getDimensionNumbers();
  if (rank < 1 || input.getRank() != rank + 2 || output.getRank() != rank + 2 ||
      numbers.getRank() != rank)
    return fail() << "input, output and dims must have rank " << rank + 2
                  << ": " << rank << " splits, batch and channels";
  if (static_cast<int64_t>(getReversal().size()) != rank)
    return fail() << "reversal has " << getReversal().size()
                  << " entries; valid: " << rank;
  if (static_cast<int64_t>(getFeatureGroupCount()) < 1 ||
      static_cast<int64_t>(getBatchGroupCount()) < 1)
    return fail() << "group counts; valid: at least 1";
  if (filter.getRank() != rank + (getPacked() ? 3 : 2) ||
      !filter.hasStaticShape())
    return fail() << "filter is " << Type(filter)
                  << "; valid: a static shape of "
                  << "rank " << rank + (getPacked() ? 3 : 2);
  if (input.getElementType() != filter.getElementType() ||
      output.getElementType() != filter.getElementType())
    return fail() << "input, filter and output; valid: one element type";
  for (int64_t axis = 0; axis < rank + 2; ++axis)
    if ((input.isDynamicDim(axis) && axis != numbers.getInputBatch()) ||
        (output.isDynamicDim(axis) && axis != numbers.getOutputBatch()))
      return fail() << "axis " << axis << " is dynamic; valid: only the batch";
  if (getPlan().has_value() == getGpuPlan().has_value())
    return fail() << "valid: a plan or a gpu_plan";
  if (getLive() && getPlan() && getPlanAttr().getRow() == RowForm::Unrolled)
    return fail() << "plan: row = unrolled; valid with live taps: ranged";
  for (auto [dim, split] :
       llvm::enumerate(getSplits().getAsRange<PhaseSplitAttr>())) {
    int64_t kernel = filter.getDimSize(
        getPacked() ? 1 + dim : numbers.getKernelSpatial()[dim]);
    auto phases = static_cast<int64_t>(split.getTaps().size());
    if (split.getStep() < 1 || split.getInputStep() < 1 ||
        split.getTapStep() < 1 || split.getInputTapStep() < 1)
      return fail() << "splits[" << dim << "]: steps; valid: at least 1";
    if (split.getInput() != input.getDimSize(numbers.getInputSpatial()[dim]) ||
        split.getOutput() != output.getDimSize(numbers.getOutputSpatial()[dim]))
      return fail() << "splits[" << dim
                    << "]: input and output; valid: the tensors' lengths";
    if (split.isMerged()) {
      int64_t lanePhases = split.getLanePhases();
      if (phases != 1 || lanePhases != split.getStep() ||
          split.getFirstTap().size() != 1 || split.getBase().size() != 1 ||
          split.getShift() > 0 || split.getShift() <= -split.getStep() ||
          split.getLaneTapStep() < 1 || getLive() ||
          static_cast<int64_t>(split.getLaneTaps().size()) != lanePhases ||
          !getPlan() || getPlanAttr().getLanes() == Lanes::Groups)
        return fail() << "splits[" << dim
                      << "]: a merged split; valid: one phase, step "
                      << lanePhases << ", shift from " << 1 - lanePhases
                      << " to 0, lanes other than groups, and no live "
                         "taps";
      if (getPacked() && split.getTaps().front() != kernel)
        return fail() << "splits[" << dim << "]: " << split.getTaps().front()
                      << " taps; valid: those of the packed filter, " << kernel;
      for (int64_t lane = 0; lane < lanePhases; ++lane)
        if (auto [lo, hi] = split.laneTapRange(lane);
            hi < lo || hi > split.getTaps().front())
          return fail() << "splits[" << dim << "]: lane_taps; valid: at most "
                        << split.getTaps().front() - lo << " of phase " << lane;
      continue;
    }
    if (phases != split.getStep() ||
        static_cast<int64_t>(split.getFirstTap().size()) != phases ||
        static_cast<int64_t>(split.getBase().size()) != phases)
      return fail() << "a split with step " << split.getStep()
                    << " needs as many entries of first_tap, taps and base";
    for (auto [first, taps] : llvm::zip(split.getFirstTap(), split.getTaps()))
      if (first < 0 || taps < 0 || taps > kernel ||
          (taps > 0 && first + (taps - 1) * split.getTapStep() >= kernel))
        return fail() << "splits[" << dim << "]: " << taps << " taps from "
                      << first << "; valid: taps of a kernel of length "
                      << kernel;
  }
  return success();
}

LogicalResult PackFilterOp::verify() {
  auto filter = cast<MemRefType>(getFilter().getType());
  auto packed = cast<MemRefType>(getPacked().getType());
  int64_t rank = getDimensionNumbers().getRank();
  if (filter.getRank() != rank + 2 || packed.getRank() != rank + 3 ||
      !filter.hasStaticShape() || !packed.hasStaticShape() ||
      filter.getElementType() != packed.getElementType())
    return emitOpError() << "valid: static filter and packed filter of rank "
                         << rank + 2 << " and " << rank + 3
                         << " with one element type";
  if (static_cast<int64_t>(getReversal().size()) != rank)
    return emitOpError() << "reversal has " << getReversal().size()
                         << " entries; valid: " << rank;
  int64_t outputs =
      filter.getDimSize(getDimensionNumbers().getKernelOutputFeature());
  auto groups = static_cast<int64_t>(getGroups());
  if (groups < 1 || (!getSwappedFilter() && outputs % groups))
    return emitOpError() << "groups = " << groups
                         << "; valid: a divisor of the output features, "
                         << outputs;
  return success();
}

MemRefType convjit::conv::packedInputType(MemRefType input,
                                          DimensionNumbersAttr numbers) {
  SmallVector<int64_t> shape = {input.getDimSize(numbers.getInputBatch())};
  for (int64_t axis : numbers.getInputSpatial())
    shape.push_back(input.getDimSize(axis));
  shape.push_back(input.getDimSize(numbers.getInputFeature()));
  return MemRefType::get(shape, input.getElementType());
}

LogicalResult PackInputOp::verify() {
  auto input = cast<MemRefType>(getInput().getType());
  auto packed = cast<MemRefType>(getPacked().getType());
  DimensionNumbersAttr numbers = getDimensionNumbers();
  if (input.getRank() != numbers.getRank() + 2)
    return emitOpError() << "input is " << Type(input) << "; valid: of rank "
                         << numbers.getRank() + 2;
  MemRefType wanted = packedInputType(input, numbers);
  if (packed != wanted)
    return emitOpError() << "packed is " << Type(packed)
                         << "; valid: " << Type(wanted);
  return success();
}

LogicalResult BlockOp::verify() {
  int64_t rank = getRank();
  auto filter = cast<MemRefType>(getFilter().getType());
  if (rank < 1 || getDimensionNumbers().getRank() != rank ||
      static_cast<int64_t>(getPhase().size()) != rank ||
      static_cast<int64_t>(getAt().size()) != rank ||
      static_cast<int64_t>(getGpuPlan().getBox().size()) != rank + 1)
    return emitOpError() << "phase, at, dims and the box; valid: one entry for "
                            "each of the "
                         << rank << " splits";
  // Tensor cores read the filter with input channels side by side.
  int64_t inputAxis =
      rank + (getGpuPlan().getSchedule() == GPUSchedule::Mma ? 2 : 1);
  if (filter.getRank() != rank + 3 || !filter.hasStaticShape() ||
      static_cast<int64_t>(getReduction()) > filter.getDimSize(inputAxis))
    return emitOpError() << "filter is " << Type(filter)
                         << "; valid: a packed filter of rank " << rank + 3
                         << " with at least " << getReduction()
                         << " input channels";
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
  auto filter = cast<MemRefType>(getFilter().getType());
  if (filter.getRank() != rank + 3 || !filter.hasStaticShape())
    return emitOpError() << "filter is " << Type(filter)
                         << "; valid: a packed filter of rank " << rank + 3;
  bool ofReduction = getLanes() == Lanes::Reduction;
  if (ofReduction != getReduction().has_value() ||
      (ofReduction &&
       (getLive() || *getReduction() > uint64_t(filter.getDimSize(rank + 2)))))
    return emitOpError() << "reduction; valid: with lanes = reduction and no "
                            "live taps, at most "
                         << filter.getDimSize(rank + 2);
  auto positive = [&](StringRef what, int64_t value, int64_t most) {
    if (value >= 1 && value <= most)
      return success();
    return LogicalResult(emitOpError()
                         << what << " = " << value << "; valid: 1 to " << most);
  };
  if (failed(positive("pixels", getPixels(), 64)) ||
      failed(positive("width", getWidth(),
                      filter.getDimSize(ofReduction ? rank + 1 : rank + 2))) ||
      failed(positive("unroll", getUnroll(), 64)) ||
      failed(positive("input_step", getInputStep(), maxWindowField)) ||
      failed(positive("output_step", getOutputStep(), maxWindowField)))
    return failure();
  for (auto [what, value] : {std::pair("input_ahead", getInputAhead()),
                             std::pair("filter_ahead", getFilterAhead())})
    if (value && failed(positive(what, *value, filter.getNumElements())))
      return failure();
  if (getTapPixels() && (getLive() || getTapPixels()->size() % 2))
    return emitOpError() << "tap_pixels; valid: pairs, and without live taps";
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

LogicalResult OuterTileOp::verify() {
  auto check = [&](StringRef what, int64_t have, int64_t want) {
    if (have == want)
      return success();
    return LogicalResult(emitOpError() << what << " has " << have
                                       << " entries; valid: " << want);
  };
  // The channels summed over, and space.
  auto dims = static_cast<int64_t>(getInputSteps().size());
  if (failed(check("ranges", getRanges().size(), 2 * dims)) ||
      failed(check("filter_steps", getFilterSteps().size(), dims)))
    return failure();
  if (getTapRanges().has_value() != getInputTaps().has_value() ||
      getTapRanges().has_value() != getFilterTaps().has_value())
    return emitOpError() << "tap_ranges, input_taps and filter_taps; valid: "
                            "all of them or none";
  if (getTapRanges() &&
      (failed(check("input_taps", getInputTaps()->size(), getPixels())) ||
       failed(check("filter_taps", getFilterTaps()->size(), getPixels()))))
    return failure();
  if (getPlaneRanges()) {
    constexpr int64_t fewest = 3; // the channels summed over, planes and rows
    if (!getTapRanges() || dims < fewest)
      return emitOpError() << "plane_ranges; valid: with tap_ranges, in two "
                              "dimensions and more";
    if (failed(
            check("plane_ranges", getPlaneRanges()->size(), 2 * getPixels())))
      return failure();
  }
  auto positive = [&](StringRef what, int64_t value, int64_t most) {
    if (value >= 1 && value <= most)
      return success();
    return LogicalResult(emitOpError()
                         << what << " = " << value << "; valid: 1 to " << most);
  };
  if (failed(positive("rows", getRows(), 64)) ||
      failed(positive("lanes", getLanes(), 256)) ||
      failed(positive("valid", getValid(), getLanes())) ||
      failed(positive("unroll", getUnroll(), 64)) ||
      failed(positive("copies", getCopies(), getUnroll())))
    return failure();
  return success();
}
