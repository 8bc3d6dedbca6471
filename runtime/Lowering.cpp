//===- Lowering.cpp - layers and their gradients as general convolutions -*- C++
//-*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "convjit/Convolution.h"

#include <algorithm>

using namespace convjit;

static int64_t ceilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }

std::vector<PadPair> convjit::resolvedPadding(const Problem &problem) {
  if (problem.paddingMode == PaddingMode::Explicit)
    return problem.padding;
  bool transposed = problem.operation == Operation::ConvTranspose;
  std::vector<PadPair> result;
  for (int i = 0; i < problem.rank; ++i) {
    int64_t s = problem.stride[i];
    int64_t ek = (problem.kernel[i] - 1) * problem.dilation[i] + 1;
    PadPair pad;
    if (problem.paddingMode == PaddingMode::Same) {
      if (transposed) {
        pad.lo = s >= ek ? ek - 1 : ceilDiv(ek + s - 2, 2);
        pad.hi = ek + s - 2 - pad.lo;
      } else {
        int64_t n = problem.inSpatial[i], ld = problem.inputDilation[i];
        int64_t dilated = n == 0 ? 0 : (n - 1) * ld + 1;
        int64_t out = ceilDiv(dilated, s);
        int64_t total = std::max<int64_t>((out - 1) * s + ek - dilated, 0);
        pad.lo = total / 2;
        pad.hi = total - pad.lo;
      }
    } else if (transposed) {
      pad.lo = ek - 1;
      pad.hi = std::max(ek, s) - 1;
    }
    result.push_back(pad);
  }
  return result;
}

/// The axes of a layer: data in its layout, filter (k..., o, i) or (k..., i,
/// o).
static DimensionNumbers layerNumbers(const Problem &problem) {
  DimensionNumbers numbers;
  int64_t rank = problem.rank;
  bool last = problem.layout == Layout::ChannelsLast;
  numbers.inputBatch = numbers.outputBatch = 0;
  numbers.inputFeature = numbers.outputFeature = last ? rank + 1 : 1;
  for (int64_t i = 0; i < rank; ++i) {
    numbers.inputSpatial.push_back(i + (last ? 1 : 2));
    numbers.outputSpatial.push_back(i + (last ? 1 : 2));
    numbers.kernelSpatial.push_back(i);
  }
  bool transposed = problem.operation == Operation::ConvTranspose;
  numbers.kernelOutputFeature = transposed ? rank : rank + 1;
  numbers.kernelInputFeature = transposed ? rank + 1 : rank;
  return numbers;
}

/// The layer itself, whatever `problem.gradient` says.
static Convolution forwardOf(const Problem &problem) {
  Convolution conv;
  bool transposed = problem.operation == Operation::ConvTranspose;
  std::vector<PadPair> padding = resolvedPadding(problem);
  for (int i = 0; i < problem.rank; ++i) {
    SpatialDim dim;
    dim.input = problem.inSpatial[i];
    dim.kernel = problem.kernel[i];
    dim.windowStride = transposed ? 1 : problem.stride[i];
    dim.inputDilation =
        transposed ? problem.stride[i] : problem.inputDilation[i];
    dim.kernelDilation = problem.dilation[i];
    dim.padLow = padding[i].lo;
    dim.padHigh = padding[i].hi;
    dim.reversed = transposed;
    conv.dims.push_back(dim);
  }
  conv.inChannels = problem.inChannels;
  conv.outChannels = problem.outChannels;
  conv.groups = problem.groups;
  conv.batchGroups = problem.batchGroups;
  conv.numbers = layerNumbers(problem);
  conv.dtype = problem.dtype;
  conv.bias = problem.bias;
  conv.residual = problem.residual;
  conv.activation = problem.activation;
  return conv;
}

/// dX = conv(g, w reversed, I and O swapped in each group), ws and ld swapped.
static Convolution inputGradientOf(const Convolution &forward) {
  Convolution conv = forward;
  for (size_t i = 0; i < forward.dims.size(); ++i) {
    const SpatialDim &from = forward.dims[i];
    SpatialDim &dim = conv.dims[i];
    int64_t ek = from.effectiveKernel(), length = from.dilatedInput();
    int64_t out = from.output();
    int64_t outDilated = out == 0 ? 0 : (out - 1) * from.windowStride + 1;
    dim.input = out;
    dim.windowStride = from.inputDilation;
    dim.inputDilation = from.windowStride;
    dim.padLow = ek - from.padLow - 1;
    dim.padHigh = length + ek - 1 - outDilated - dim.padLow;
    dim.reversed = !from.reversed;
  }
  std::swap(conv.inChannels, conv.outChannels);
  std::swap(conv.numbers.inputBatch, conv.numbers.outputBatch);
  std::swap(conv.numbers.inputFeature, conv.numbers.outputFeature);
  std::swap(conv.numbers.inputSpatial, conv.numbers.outputSpatial);
  std::swap(conv.numbers.kernelInputFeature, conv.numbers.kernelOutputFeature);
  // Without groups the swap of the axes' names says it all.
  conv.kernelFeaturesSwapped = forward.groups > 1;
  conv.bias = conv.residual = false;
  conv.activation = {};
  return conv;
}

Expected<Convolution> convjit::lower(const Problem &problem) {
  if (problem.gradient == Gradient::Weight)
    return badInput("grad=weight: is not one convolution over the batch; "
                    "valid: none, input");
  Convolution conv = forwardOf(problem);
  if (problem.gradient == Gradient::Input) {
    if (problem.batchGroups > 1)
      return badInput("bg=" + std::to_string(problem.batchGroups) +
                      ": valid: 1 with grad=input");
    conv = inputGradientOf(conv);
  }
  if (Status valid = validate(conv); !valid)
    return valid.takeError();
  return conv;
}

Expected<Convolution> convjit::lowerWeightGradient(const Problem &problem,
                                                   int64_t images) {
  if (problem.batchGroups > 1)
    return badInput("bg=" + std::to_string(problem.batchGroups) +
                    ": valid: 1 with grad=weight");
  if (problem.gradient != Gradient::Weight)
    return badInput("grad: valid: weight");
  return lowerWeightGradient(forwardOf(problem), images);
}

Expected<Convolution> convjit::lowerWeightGradient(const Convolution &layer,
                                                   int64_t images) {
  if (images < 0)
    return badInput("images=" + std::to_string(images) +
                    ": valid: their number, or 0 for one at a time");
  // dW[o, i, t] = sum over q of x[i, q*ws + t*rd] * g[o, q]: the input channels
  // of x are the batch, the output's gradient is the kernel. With feature
  // groups, channels of group j only meet outputs of group j: batch groups.
  Convolution conv;
  conv.dtype = layer.dtype;
  for (const SpatialDim &from : layer.dims) {
    SpatialDim dim;
    int64_t out = from.output();
    int64_t outDilated = out == 0 ? 0 : (out - 1) * from.windowStride + 1;
    dim.input = from.input;
    dim.kernel = out;
    dim.windowStride = from.kernelDilation;
    dim.kernelDilation = from.windowStride;
    dim.inputDilation = from.inputDilation;
    dim.padLow = from.padLow;
    dim.padHigh = outDilated - from.dilatedInput() + from.effectiveKernel() -
                  from.padLow - 1;
    conv.dims.push_back(dim);
  }
  conv.inChannels = std::max<int64_t>(images, 1);
  conv.outChannels = layer.outChannels;
  conv.batchGroups = layer.groups;
  const DimensionNumbers &n = layer.numbers;
  // The batch axis serves as the feature axis.
  conv.numbers.inputBatch = n.inputFeature;
  conv.numbers.inputFeature = n.inputBatch;
  conv.numbers.inputSpatial = n.inputSpatial;
  conv.inputStrides = layer.inputStrides;
  conv.numbers.kernelInputFeature = n.outputBatch;
  conv.numbers.kernelOutputFeature = n.outputFeature;
  conv.numbers.kernelSpatial = n.outputSpatial;
  conv.numbers.outputBatch = n.kernelInputFeature;
  conv.numbers.outputFeature = n.kernelOutputFeature;
  conv.numbers.outputSpatial = n.kernelSpatial;
  // The sum over images that come one by one is kept by adding what is there.
  conv.residual = images == 0;
  for (const SpatialDim &dim : conv.dims)
    if (dim.kernel < 1)
      return badInput("in: the layer has no output; valid: at least one "
                      "with grad=weight");
  if (Status valid = validate(conv); !valid)
    return valid.takeError();
  return conv;
}
