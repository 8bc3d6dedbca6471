//===- ConvLayerOps.cpp - layer forms: shapes and checks -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "ConvDialect.h"

using namespace mlir;
using namespace convjit::conv;

/// True for a layer whose `stride` dilates the input.
template <typename Op>
constexpr bool isTransposed = std::is_same_v<Op, ConvTransposeOp> ||
                              std::is_same_v<Op, ConvTransposeOp::Adaptor>;

DimensionNumbersAttr convjit::conv::layerDimensionNumbers(MLIRContext *context,
                                                          int64_t rank,
                                                          Layout layout,
                                                          bool transposed) {
  bool last = layout == Layout::ChannelsLast;
  SmallVector<int64_t> data, kernel;
  for (int64_t dim = 0; dim < rank; ++dim) {
    data.push_back(dim + (last ? 1 : 2));
    kernel.push_back(dim);
  }
  int64_t feature = last ? rank + 1 : 1;
  int64_t in = transposed ? rank + 1 : rank, out = transposed ? rank : rank + 1;
  return DimensionNumbersAttr::get(context, 0, feature, data, in, out, kernel,
                                   0, feature, data);
}

static int64_t ceilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }

/// Checks what the window's construction relies on.
template <typename Layer>
static LogicalResult checkLayer(function_ref<InFlightDiagnostic()> emitError,
                                Layer layer) {
  auto input = dyn_cast<RankedTensorType>(layer.getInput().getType());
  auto filter = dyn_cast<RankedTensorType>(layer.getFilter().getType());
  if (!input || !filter)
    return emitError() << "input and filter must be ranked tensors";
  int64_t rank = input.getRank() - 2;
  if (rank < 1 || rank > 3)
    return emitError() << "input has rank " << input.getRank()
                       << "; valid: 3 to 5, batch and channels included";
  if (filter.getRank() != input.getRank())
    return emitError() << "C1: filter has rank " << filter.getRank()
                       << "; valid: the input's, " << input.getRank();
  auto checkField = [&](StringRef field, ArrayRef<int64_t> values) {
    if (static_cast<int64_t>(values.size()) != rank)
      return LogicalResult(emitError()
                           << field << " has " << values.size()
                           << " entries; valid: one for each of the " << rank
                           << " spatial dimensions");
    for (auto [dim, value] : llvm::enumerate(values))
      if (value < 1 || value > maxWindowField)
        return LogicalResult(emitError()
                             << field << "[" << dim << "] = " << value
                             << "; valid: at least 1, at most 2^31");
    return success();
  };
  for (auto [axis, size] : llvm::enumerate(input.getShape()))
    if (axis != 0 && ShapedType::isDynamic(size))
      return emitError() << "input axis " << axis
                         << " is dynamic; valid: only the batch may be";
  if (!filter.hasStaticShape())
    return emitError() << "the filter is dynamic; valid: a static shape";
  auto checkGroups = [&](StringRef field, int64_t value) {
    if (value >= 1)
      return success();
    return LogicalResult(emitError()
                         << field << " = " << value << "; valid: at least 1");
  };
  if (failed(checkGroups("C21: feature_group_count",
                         layer.getFeatureGroupCount())) ||
      failed(checkGroups("C22: batch_group_count", layer.getBatchGroupCount())))
    return failure();
  if (failed(checkField("stride", layer.getStride())) ||
      failed(checkField("rhs_dilation", layer.getRhsDilation())))
    return failure();
  if constexpr (!isTransposed<Layer>)
    if (failed(checkField("lhs_dilation", layer.getLhsDilation())))
      return failure();
  bool isExplicit = layer.getPaddingMode() == PaddingMode::Explicit;
  if (isExplicit != layer.getPadding().has_value())
    return emitError() << "padding: pairs belong to padding_mode explicit, and "
                          "only to it";
  if (isExplicit &&
      static_cast<int64_t>(layer.getPadding()->size()) != 2 * rank)
    return emitError() << "padding has " << layer.getPadding()->size()
                       << " entries; valid: lo and hi for each of the " << rank
                       << " spatial dimensions";
  return success();
}

/// The layer's padding resolved; the layer must have passed checkLayer.
template <typename Layer>
static WindowAttr makeWindow(MLIRContext *context, Layer layer) {
  constexpr bool transposed = isTransposed<Layer>;
  auto input = cast<RankedTensorType>(layer.getInput().getType());
  auto filter = cast<RankedTensorType>(layer.getFilter().getType());
  int64_t rank = input.getRank() - 2;
  SmallVector<int64_t> ones(rank, 1), low, high, lhs;
  for (int64_t dim = 0; dim < rank; ++dim) {
    bool last = layer.getLayout() == Layout::ChannelsLast;
    int64_t n = input.getDimSize(dim + (last ? 1 : 2));
    int64_t s = layer.getStride()[dim], lo = 0, hi = 0;
    int64_t ek = (filter.getDimSize(dim) - 1) * layer.getRhsDilation()[dim] + 1;
    int64_t ld = s;
    if constexpr (!transposed)
      ld = layer.getLhsDilation()[dim];
    lhs.push_back(ld);
    switch (layer.getPaddingMode()) {
    case PaddingMode::Explicit:
      lo = (*layer.getPadding())[2 * dim];
      hi = (*layer.getPadding())[2 * dim + 1];
      break;
    case PaddingMode::Same:
      if (transposed) {
        lo = s >= ek ? ek - 1 : ceilDiv(ek + s - 2, 2);
        hi = ek + s - 2 - lo;
      } else {
        int64_t dilated = n == 0 ? 0 : (n - 1) * ld + 1;
        int64_t total =
            std::max<int64_t>((ceilDiv(dilated, s) - 1) * s + ek - dilated, 0);
        lo = total / 2;
        hi = total - lo;
      }
      break;
    case PaddingMode::Valid:
      if (transposed) {
        lo = ek - 1;
        hi = std::max(ek, s) - 1;
      }
      break;
    }
    low.push_back(lo);
    high.push_back(hi);
  }
  SmallVector<bool> reversal(rank, transposed);
  return WindowAttr::get(
      context, transposed ? ArrayRef<int64_t>(ones) : layer.getStride(), low,
      high, lhs, layer.getRhsDilation(), reversal);
}

WindowAttr convjit::conv::layerWindow(ConvOp layer) {
  return makeWindow(layer.getContext(), layer);
}
WindowAttr convjit::conv::layerWindow(ConvTransposeOp layer) {
  return makeWindow(layer.getContext(), layer);
}

template <typename Layer>
static LogicalResult inferLayer(MLIRContext *context,
                                std::optional<Location> location, Layer layer,
                                SmallVectorImpl<Type> &results) {
  auto fail = [&] {
    return mlir::emitError(location.value_or(UnknownLoc::get(context)));
  };
  if (failed(checkLayer(fail, layer)))
    return failure();
  auto input = cast<RankedTensorType>(layer.getInput().getType());
  auto filter = cast<RankedTensorType>(layer.getFilter().getType());
  DimensionNumbersAttr numbers = layerDimensionNumbers(
      context, input.getRank() - 2, layer.getLayout(), isTransposed<Layer>);
  results.push_back(RankedTensorType::get(
      inferConvolutionShape(input.getShape(), filter.getShape(),
                            makeWindow(context, layer), numbers,
                            layer.getFeatureGroupCount(),
                            layer.getBatchGroupCount(), false),
      input.getElementType()));
  return success();
}

LogicalResult ConvOp::inferReturnTypes(MLIRContext *context,
                                       std::optional<Location> location,
                                       Adaptor adaptor,
                                       SmallVectorImpl<Type> &results) {
  return inferLayer(context, location, adaptor, results);
}
LogicalResult ConvTransposeOp::inferReturnTypes(
    MLIRContext *context, std::optional<Location> location, Adaptor adaptor,
    SmallVectorImpl<Type> &results) {
  return inferLayer(context, location, adaptor, results);
}

/// What the general form will not check again under the layer's names.
template <typename Layer> static LogicalResult verifyLayer(Layer layer) {
  auto fail = [&] { return layer.emitOpError(); };
  if (failed(checkLayer(fail, layer)))
    return failure();
  auto filter = cast<RankedTensorType>(layer.getFilter().getType());
  auto input = cast<RankedTensorType>(layer.getInput().getType());
  DimensionNumbersAttr numbers =
      layerDimensionNumbers(layer.getContext(), input.getRank() - 2,
                            layer.getLayout(), isTransposed<Layer>);
  int64_t features = input.getDimSize(numbers.getInputFeature());
  int64_t in = filter.getDimSize(numbers.getKernelInputFeature());
  auto groups = static_cast<int64_t>(layer.getFeatureGroupCount());
  if (features != in * groups)
    return fail() << "C14: filter has " << in
                  << " input channels; valid: " << features << " / "
                  << layer.getFeatureGroupCount()
                  << ", the input's channels by the groups";
  if (layer.getMask() &&
      layer.getMask()->getShapedType().getShape() != filter.getShape())
    return fail() << "mask: its shape must be the filter's";
  return success();
}

LogicalResult ConvOp::verify() { return verifyLayer(*this); }
LogicalResult ConvTransposeOp::verify() { return verifyLayer(*this); }
