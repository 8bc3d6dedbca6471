//===- Layer.cpp - layers of the C interface -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "ConvolutionText.h"
#include "Handles.h"

#include <algorithm>

using namespace convjit;
using namespace convjit::capi;

Status capi::checkImages(const Convolution &conv, int64_t batch) {
  if (batch < 0 || batch % conv.batchGroups != 0)
    return badInput("batch=" + std::to_string(batch) +
                    ": valid: 0 or a multiple of the batch groups, " +
                    std::to_string(conv.batchGroups));
  return checkBatch(conv, batch);
}

//===----------------------------------------------------------------------===//
// The convolution struct
//===----------------------------------------------------------------------===//

void convjit_convolution_init(convjit_convolution *convolution, size_t size,
                              int32_t rank) {
  if (!convolution || size < sizeof(size_t))
    return;
  convjit_convolution made{};
  made.rank = rank;
  int64_t features = int64_t(rank) + 1;
  for (int32_t i = 0; i < CONVJIT_MAX_SPATIAL; ++i) {
    made.window_strides[i] = 1;
    made.input_dilation[i] = made.kernel_dilation[i] = 1;
    made.input_spatial_dimensions[i] = made.output_spatial_dimensions[i] =
        i + 1;
    made.kernel_spatial_dimensions[i] = i;
  }
  made.feature_group_count = made.batch_group_count = 1;
  made.input_feature_dimension = made.output_feature_dimension = features;
  made.kernel_input_feature_dimension = rank;
  made.kernel_output_feature_dimension = features;
  made.activation_slope = Activation().slope;
  made.struct_size = size;
  std::memset(static_cast<void *>(convolution), 0, size);
  std::memcpy(static_cast<void *>(convolution), &made,
              std::min(size, sizeof made));
}

namespace {

/// Reads the fields of the struct that are one of a few values.
class Reader {
public:
  explicit Reader(const convjit_convolution &from) : from(from) {}

  Outcome read(Convolution &to) {
    if (from.rank < 1 || from.rank > CONVJIT_MAX_SPATIAL)
      return invalid("convolution.rank=" + std::to_string(from.rank) +
                     ": valid: 1, 2 or 3");
    if (Outcome o = choice("dtype", from.dtype, CONVJIT_BF16); !o)
      return o;
    if (Outcome o =
            choice("activation", from.activation, CONVJIT_ACTIVATION_GELU_TANH);
        !o)
      return o;
    if (Outcome o = choice("bias", from.bias, 1); !o)
      return o;
    if (Outcome o = choice("residual", from.residual, 1); !o)
      return o;
    if (Outcome o =
            choice("kernel_features_swapped", from.kernel_features_swapped, 1);
        !o)
      return o;
    to.dtype = static_cast<DataType>(from.dtype);
    to.activation.kind = static_cast<ActivationKind>(from.activation);
    if (to.activation.kind == ActivationKind::LeakyRelu)
      to.activation.slope = from.activation_slope;
    to.bias = from.bias;
    to.residual = from.residual;
    to.kernelFeaturesSwapped = from.kernel_features_swapped;
    to.inChannels = from.input_channels;
    to.outChannels = from.output_channels;
    to.groups = from.feature_group_count;
    to.batchGroups = from.batch_group_count;
    if (Outcome o = readDims(to); !o)
      return o;
    readNumbers(to.numbers);
    auto last = from.input_strides + from.rank + 2;
    if (std::any_of(from.input_strides, last, [](int64_t s) { return s != 0; }))
      to.inputStrides.assign(from.input_strides, last);
    if (from.mask_size && !from.mask)
      return invalid("convolution.mask=NULL: valid: mask_size=0, or " +
                     std::to_string(from.mask_size) + " factors");
    if (Status s = validate(to); !s)
      return s;
    // Only now is it known that a mask of this size is one worth copying.
    if (!from.mask || !from.mask_size)
      return {};
    to.mask.assign(from.mask, from.mask + from.mask_size);
    return validate(to);
  }

private:
  static Outcome choice(const std::string &field, int32_t value, int32_t last) {
    if (value >= 0 && value <= last)
      return {};
    return invalid("convolution." + field + "=" + std::to_string(value) +
                   ": valid: 0 to " + std::to_string(last));
  }

  Outcome readDims(Convolution &to) {
    for (int32_t i = 0; i < from.rank; ++i) {
      if (Outcome o = choice("window_reversal[" + std::to_string(i) + "]",
                             from.window_reversal[i], 1);
          !o)
        return o;
      SpatialDim dim;
      dim.input = from.input[i];
      dim.kernel = from.kernel[i];
      dim.windowStride = from.window_strides[i];
      dim.inputDilation = from.input_dilation[i];
      dim.kernelDilation = from.kernel_dilation[i];
      dim.padLow = from.padding_low[i];
      dim.padHigh = from.padding_high[i];
      dim.reversed = from.window_reversal[i];
      to.dims.push_back(dim);
    }
    return {};
  }

  void readNumbers(DimensionNumbers &to) {
    auto list = [&](const int64_t *axes) {
      return std::vector<int64_t>(axes, axes + from.rank);
    };
    to.inputBatch = from.input_batch_dimension;
    to.inputFeature = from.input_feature_dimension;
    to.inputSpatial = list(from.input_spatial_dimensions);
    to.kernelInputFeature = from.kernel_input_feature_dimension;
    to.kernelOutputFeature = from.kernel_output_feature_dimension;
    to.kernelSpatial = list(from.kernel_spatial_dimensions);
    to.outputBatch = from.output_batch_dimension;
    to.outputFeature = from.output_feature_dimension;
    to.outputSpatial = list(from.output_spatial_dimensions);
  }

  const convjit_convolution &from;
};

} // namespace

//===----------------------------------------------------------------------===//
// Handles
//===----------------------------------------------------------------------===//

convjit_status convjit_layer_parse(const char *problem, convjit_layer **layer,
                                   convjit_error **error) {
  return guarded(error, [&]() -> Outcome {
    if (!layer)
      return missing("layer", "where to store the handle");
    *layer = nullptr;
    if (!problem)
      return missing("problem", "a problem string");
    Expected<Layer> parsed = readLayer(problem);
    if (!parsed)
      return parsed.takeError();
    *layer =
        new convjit_layer{std::make_shared<const Layer>(std::move(*parsed))};
    return {};
  });
}

convjit_status convjit_layer_create(const convjit_convolution *convolution,
                                    convjit_layer **layer,
                                    convjit_error **error) {
  return guarded(error, [&]() -> Outcome {
    if (!layer)
      return missing("layer", "where to store the handle");
    *layer = nullptr;
    convjit_convolution fields{};
    if (Outcome o = readStruct(convolution, fields, "convolution"); !o)
      return o;
    Layer made;
    if (Outcome o = Reader(fields).read(made.conv); !o)
      return o;
    made.text = describe({made.conv, ""});
    *layer = new convjit_layer{std::make_shared<const Layer>(std::move(made))};
    return {};
  });
}

convjit_status convjit_layer_set_mask(convjit_layer *layer,
                                      const double *factors, size_t count,
                                      convjit_error **error) {
  return guarded(error, [&]() -> Outcome {
    if (!layer)
      return missing("layer", "a layer");
    if (count && !factors)
      return missing("factors", "as many factors as the weight has");
    // Kernels of the layer share it as it was.
    auto changed = std::make_shared<Layer>(*layer->layer);
    Convolution &conv =
        changed->isWeightGradient() ? changed->forward : changed->conv;
    size_t weights = 1;
    for (int64_t size : conv.kernelShape())
      weights *= static_cast<size_t>(size);
    if (count && count != weights)
      return invalid("count=" + std::to_string(count) + ": valid: 0, or the " +
                     "weight's, " + std::to_string(weights));
    conv.mask.clear();
    if (count)
      conv.mask.assign(factors, factors + count);
    if (Status s = validate(conv); !s)
      return s;
    // A file's mask is no longer the layer's.
    if (changed->problem) {
      changed->problem->mask.clear();
      changed->text = printProblem(*changed->problem);
    } else {
      changed->text = describe({changed->conv, ""});
    }
    layer->layer = std::move(changed);
    return {};
  });
}

const char *convjit_layer_text(const convjit_layer *layer) {
  return layer ? layer->layer->text.c_str() : "";
}

void convjit_layer_release(convjit_layer *layer) { delete layer; }

/// The shape of a tensor of the layer, or what is wrong with asking.
static Outcome shapeOf(const Layer &layer, int32_t tensor, int64_t batch,
                       std::vector<int64_t> &shape) {
  const Convolution &conv = layer.weighted();
  bool gradient = layer.isWeightGradient();
  if (Status s = checkImages(conv, batch); !s)
    return s;
  auto absent = [&](const char *name) {
    return invalid("tensor=" + std::to_string(tensor) + ": the layer has no " +
                   name + "; valid: a tensor that it has");
  };
  switch (tensor) {
  case CONVJIT_TENSOR_INPUT:
    shape = conv.inputShape(batch);
    return {};
  case CONVJIT_TENSOR_WEIGHT:
    if (gradient)
      return absent("weight among its operands");
    shape = conv.kernelShape();
    return {};
  case CONVJIT_TENSOR_BIAS:
    if (!conv.bias || gradient)
      return absent("bias");
    shape = {conv.outChannels};
    return {};
  case CONVJIT_TENSOR_RESIDUAL:
    if (!conv.residual || gradient)
      return absent("residual");
    shape = conv.outputShape(batch);
    return {};
  case CONVJIT_TENSOR_OUTPUT:
    shape = gradient ? conv.kernelShape() : conv.outputShape(batch);
    return {};
  case CONVJIT_TENSOR_GRAD_OUTPUT:
    if (!gradient)
      return absent("grad_output");
    shape = conv.outputShape(batch);
    return {};
  default:
    return invalid("tensor=" + std::to_string(tensor) + ": valid: 0 to 5");
  }
}

convjit_status convjit_layer_shape(const convjit_layer *layer, int32_t tensor,
                                   int64_t batch,
                                   int64_t shape[CONVJIT_MAX_RANK],
                                   int32_t *rank, convjit_error **error) {
  return guarded(error, [&]() -> Outcome {
    if (!layer)
      return missing("layer", "a layer");
    if (!shape || !rank)
      return missing(shape ? "rank" : "shape", "where to store it");
    std::vector<int64_t> sizes;
    if (Outcome o = shapeOf(*layer->layer, tensor, batch, sizes); !o)
      return o;
    std::copy(sizes.begin(), sizes.end(), shape);
    *rank = static_cast<int32_t>(sizes.size());
    return {};
  });
}

int64_t convjit_layer_multiplications(const convjit_layer *layer,
                                      int64_t batch) {
  int64_t count = 0;
  guarded(nullptr, [&]() -> Outcome {
    if (layer && batch >= 0)
      count = countMacs(layer->layer->weighted(), batch);
    return {};
  });
  return count;
}
