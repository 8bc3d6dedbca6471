//===- Reference.cpp - the plain loop nest that defines the answer -*- C++
//-*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "convjit/Reference.h"

#include <cmath>
#include <limits>
#include <numbers>

using namespace convjit;

namespace {

/// Element strides of a contiguous tensor, by axis.
std::vector<int64_t> stridesOf(const std::vector<int64_t> &shape) {
  std::vector<int64_t> strides(shape.size());
  int64_t stride = 1;
  for (size_t axis = shape.size(); axis-- > 0;) {
    strides[axis] = stride;
    stride *= shape[axis];
  }
  return strides;
}

/// One tap of one output: where it reads, in elements.
struct TapAt {
  int64_t input, weight;
};

/// Steps a multi-index through `sizes`, last fastest; false after the last.
bool advance(std::vector<int64_t> &index, const std::vector<int64_t> &sizes) {
  for (size_t dim = sizes.size(); dim-- > 0;) {
    if (++index[dim] < sizes[dim])
      return true;
    index[dim] = 0;
  }
  return false;
}

/// The taps of output position `at` that fall on an input element.
std::vector<TapAt> tapsAt(const Convolution &conv,
                          const std::vector<int64_t> &at,
                          const std::vector<int64_t> &inputStrides,
                          const std::vector<int64_t> &weightStrides) {
  std::vector<int64_t> kernel, tap(conv.dims.size(), 0);
  for (const SpatialDim &dim : conv.dims)
    kernel.push_back(dim.kernel);
  std::vector<TapAt> taps;
  do {
    TapAt entry{0, 0};
    bool inside = true;
    for (size_t i = 0; i < conv.dims.size() && inside; ++i) {
      const SpatialDim &dim = conv.dims[i];
      int64_t position =
          at[i] * dim.windowStride + tap[i] * dim.kernelDilation - dim.padLow;
      inside = position >= 0 && position % dim.inputDilation == 0 &&
               position / dim.inputDilation < dim.input;
      if (!inside)
        break;
      entry.input += position / dim.inputDilation *
                     inputStrides[conv.numbers.inputSpatial[i]];
      entry.weight += (dim.reversed ? dim.kernel - 1 - tap[i] : tap[i]) *
                      weightStrides[conv.numbers.kernelSpatial[i]];
    }
    if (inside)
      taps.push_back(entry);
  } while (advance(tap, kernel));
  return taps;
}

} // namespace

double convjit::applyActivation(const Activation &activation, double x) {
  switch (activation.kind) {
  case ActivationKind::None:
    return x;
  case ActivationKind::Relu:
    return x < 0 ? 0 : x;
  case ActivationKind::LeakyRelu:
    return x < 0 ? x * activation.slope : x;
  case ActivationKind::Sigmoid:
    return 1 / (1 + std::exp(-x));
  case ActivationKind::Tanh:
    return std::tanh(x);
  case ActivationKind::Silu:
    return x / (1 + std::exp(-x));
  case ActivationKind::Gelu:
    return 0.5 * x * (1 + std::erf(x / std::numbers::sqrt2));
  case ActivationKind::GeluTanh:
    return 0.5 * x *
           (1 + std::tanh(std::numbers::sqrt2 * std::numbers::inv_sqrtpi *
                          (x + 0.044715 * x * x * x)));
  }
  return x;
}

double convjit::errorBound(const Convolution &conv, double magnitude,
                           double productError) {
  // Types of 16 bits are summed in f32.
  bool wide = conv.dtype == DataType::F64;
  double eps = wide ? std::numeric_limits<double>::epsilon()
                    : std::numeric_limits<float>::epsilon();
  double terms = static_cast<double>(conv.channelsPerGroup());
  for (const SpatialDim &dim : conv.dims)
    terms *= static_cast<double>(dim.kernel);
  // Products below the smallest normal number lose bits, or become zero.
  double tiny = wide ? std::numeric_limits<double>::min()
                     : std::numeric_limits<float>::min();
  bool narrow = sizeOf(conv.dtype) == 2;
  double half = conv.dtype == DataType::F16 ? 0x1p-11 : 0x1p-8;
  if (narrow && !conv.mask.empty()) // weights times factors
    productError += half;
  double bound =
      (terms + 4) * (eps * magnitude + tiny) + productError * magnitude;
  // Slopes are at most 1.13 (gelu) or the leak; the polynomials of exp, tanh
  // and erf are good to a few units in the last place of values up to 1, times
  // x for silu and gelu.
  double slope = 1;
  if (conv.activation.kind != ActivationKind::None &&
      conv.activation.kind != ActivationKind::Relu) {
    slope = 1.13;
    if (conv.activation.kind == ActivationKind::LeakyRelu)
      slope = std::max(slope, std::abs(conv.activation.slope));
    bound = slope * bound + 16 * eps * (1 + magnitude);
  }
  // And are rounded when they are stored: sigmoid's are up to 1 whatever the
  // sum, and the smallest numbers of f16 are far apart.
  if (narrow)
    bound += half * (slope * magnitude + 1) + bound / 64;
  return bound;
}

ReferenceResult convjit::referenceConvolution(const Convolution &conv,
                                              const ReferenceOperands &operands,
                                              int64_t batch) {
  const DimensionNumbers &numbers = conv.numbers;
  std::vector<int64_t> inputShape = conv.inputShape(batch);
  std::vector<int64_t> outputShape = conv.outputShape(batch);
  std::vector<int64_t> inputStrides = stridesOf(inputShape);
  std::vector<int64_t> weightStrides = stridesOf(conv.kernelShape());
  std::vector<int64_t> outputStrides = stridesOf(outputShape);
  size_t outputs = 1;
  for (int64_t size : outputShape)
    outputs *= static_cast<size_t>(size);
  ReferenceResult result;
  result.output.resize(outputs);
  result.magnitude.resize(outputs);
  if (outputs == 0)
    return result;

  int64_t images = batch / conv.batchGroups;
  int64_t groups = conv.groups * conv.batchGroups;
  int64_t outPerGroup = conv.outChannels / groups;
  int64_t inPerGroup = conv.channelsPerGroup();
  int64_t inputStep = inputStrides[numbers.inputFeature];
  int64_t weightStep = weightStrides[numbers.kernelInputFeature];
  std::vector<int64_t> spatial, at(conv.dims.size(), 0);
  for (const SpatialDim &dim : conv.dims)
    spatial.push_back(dim.output());
  do {
    std::vector<TapAt> taps = tapsAt(conv, at, inputStrides, weightStrides);
    int64_t base = 0;
    for (size_t i = 0; i < at.size(); ++i)
      base += at[i] * outputStrides[numbers.outputSpatial[i]];
    for (int64_t image = 0; image < images; ++image)
      for (int64_t oc = 0; oc < conv.outChannels; ++oc) {
        int64_t group = oc / outPerGroup;
        int64_t fromImage =
            conv.batchGroups > 1 ? group * images + image : image;
        int64_t fromChannel = conv.batchGroups > 1 ? 0 : group * inPerGroup;
        int64_t inputAt = fromImage * inputStrides[numbers.inputBatch] +
                          fromChannel * inputStep;
        int64_t weightAt =
            conv.kernelFeaturesSwapped
                ? oc % (conv.outChannels / conv.groups) *
                          weightStrides[numbers.kernelOutputFeature] +
                      fromChannel * weightStep
                : oc * weightStrides[numbers.kernelOutputFeature];
        double sum = 0, magnitude = 0;
        for (TapAt tap : taps)
          for (int64_t ic = 0; ic < inPerGroup; ++ic) {
            int64_t index = weightAt + tap.weight + ic * weightStep;
            double weight = operands.weights[index];
            if (!conv.mask.empty()) {
              if (conv.mask[index] == 0)
                continue;
              weight *= conv.mask[index];
            }
            double product =
                weight * operands.input[inputAt + tap.input + ic * inputStep];
            sum += product;
            magnitude += std::abs(product);
          }
        int64_t to = base + image * outputStrides[numbers.outputBatch] +
                     oc * outputStrides[numbers.outputFeature];
        if (conv.bias) {
          sum += operands.bias[oc];
          magnitude += std::abs(operands.bias[oc]);
        }
        if (conv.residual) {
          sum += operands.residual[to];
          magnitude += std::abs(operands.residual[to]);
        }
        result.output[to] = applyActivation(conv.activation, sum);
        result.magnitude[to] = magnitude;
      }
  } while (advance(at, spatial));
  return result;
}
