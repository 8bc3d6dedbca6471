//===- WeightGradient.cpp - the gradient of a layer's weight -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "convjit/WeightGradient.h"
#include "SmallFloat.h"

#include <cmath>
#include <cstring>

using namespace convjit;

Convolution convjit::gradientOfImages(Convolution gradient, int64_t images) {
  gradient.inChannels = images;
  gradient.residual = false;
  return gradient;
}

static int64_t elementCount(const std::vector<int64_t> &shape) {
  int64_t count = 1;
  for (int64_t size : shape)
    count *= size;
  return count;
}

/// Copies a weight with its spatial axes reversed where the layer's window is:
/// from the window's order to the stored one.
static void copyFlipped(const std::byte *from, const Convolution &layer,
                        std::byte *to) {
  std::vector<int64_t> shape = layer.kernelShape();
  auto element = static_cast<size_t>(sizeOf(layer.dtype));
  for (int64_t index = 0, end = elementCount(shape); index < end; ++index) {
    int64_t rest = index, target = 0, stride = 1;
    for (size_t axis = shape.size(); axis-- > 0;) {
      int64_t at = rest % shape[axis];
      rest /= shape[axis];
      for (size_t i = 0; i < layer.dims.size(); ++i)
        if (layer.dims[i].reversed &&
            layer.numbers.kernelSpatial[i] == static_cast<int64_t>(axis))
          at = shape[axis] - 1 - at;
      target += at * stride;
      stride *= shape[axis];
    }
    std::memcpy(to + static_cast<size_t>(target) * element,
                from + static_cast<size_t>(index) * element, element);
  }
}

/// The gradient of a weight that its mask's factor multiplies. That of an
/// absent weight is zero even where the data is not finite.
template <typename T>
static void applyMask(const std::vector<double> &mask, T *gradient) {
  for (size_t i = 0; i < mask.size(); ++i)
    gradient[i] = mask[i] == 0 ? 0 : gradient[i] * static_cast<T>(mask[i]);
}

/// The same for a type of 16 bits, multiplied in f32.
template <float (*ToFloat)(uint16_t), uint16_t (*FromFloat)(float)>
static void applyMask(const std::vector<double> &mask, uint16_t *gradient) {
  for (size_t i = 0; i < mask.size(); ++i)
    gradient[i] =
        mask[i] == 0
            ? 0
            : FromFloat(ToFloat(gradient[i]) * static_cast<float>(mask[i]));
}

/// The sum of all images, in the order of windows, as the layer's gradient.
static void finish(const Convolution &layer, const void *sum, void *result) {
  copyFlipped(static_cast<const std::byte *>(sum), layer,
              static_cast<std::byte *>(result));
  switch (layer.dtype) {
  case DataType::F32:
    return applyMask(layer.mask, static_cast<float *>(result));
  case DataType::F64:
    return applyMask(layer.mask, static_cast<double *>(result));
  case DataType::F16:
    return applyMask<halfToFloat, floatToHalf>(layer.mask,
                                               static_cast<uint16_t *>(result));
  case DataType::BF16:
    return applyMask<bfloatToFloat, floatToBfloat>(
        layer.mask, static_cast<uint16_t *>(result));
  }
}

static size_t bytesOf(const Convolution &layer,
                      const std::vector<int64_t> &shape) {
  return static_cast<size_t>(elementCount(shape) * sizeOf(layer.dtype));
}

/// Parts of the scratch start at cache lines.
static size_t roundUp(size_t bytes) { return (bytes + 63) / 64 * 64; }

size_t convjit::weightGradientScratchBytes(const Kernel &kernel,
                                           const Convolution &layer) {
  return (kernel.readsStoredWeights() ? 0 : roundUp(kernel.packedWeightBytes)) +
         2 * roundUp(bytesOf(layer, layer.kernelShape()));
}

Status convjit::runWeightGradient(const Kernel &kernel,
                                  const Convolution &layer, const void *input,
                                  const void *gradOutput, int64_t batch,
                                  Executor &executor, void *result,
                                  void *scratch, void *kernelScratch) {
  size_t imageBytes = bytesOf(layer, layer.inputShape(1));
  size_t gradientBytes = bytesOf(layer, layer.outputShape(1));
  size_t weightBytes = bytesOf(layer, layer.kernelShape());
  auto *packed = static_cast<std::byte *>(scratch);
  // Two buffers: a kernel may not read as residual what it writes.
  bool asStored = kernel.readsStoredWeights();
  std::byte *sum = packed + (asStored ? 0 : roundUp(kernel.packedWeightBytes));
  std::byte *next = sum + roundUp(weightBytes);
  std::memset(sum, 0, weightBytes);
  for (int64_t image = 0; image < batch; ++image) {
    auto at = static_cast<size_t>(image);
    const auto *gradient =
        static_cast<const std::byte *>(gradOutput) + at * gradientBytes;
    if (!asStored)
      packWeights(kernel, gradient, packed, executor);
    Operands operands{static_cast<const std::byte *>(input) + at * imageBytes,
                      asStored ? gradient : packed,
                      nullptr,
                      sum,
                      next,
                      layer.inChannels,
                      kernelScratch};
    if (Status s = runKernel(kernel, operands, executor); !s)
      return s;
    std::swap(sum, next);
  }
  finish(layer, sum, result);
  return {};
}

Status convjit::runWeightGradient(const Convolution &layer, const void *input,
                                  const void *gradOutput, int64_t batch,
                                  const RunImage &run, void *result) {
  size_t imageBytes = bytesOf(layer, layer.inputShape(1));
  size_t gradientBytes = bytesOf(layer, layer.outputShape(1));
  std::vector<std::byte> sum(bytesOf(layer, layer.kernelShape())),
      next(sum.size());
  for (int64_t image = 0; image < batch; ++image) {
    auto at = static_cast<size_t>(image);
    if (Status s =
            run(static_cast<const std::byte *>(input) + at * imageBytes,
                static_cast<const std::byte *>(gradOutput) + at * gradientBytes,
                sum.data(), next.data());
        !s)
      return s;
    std::swap(sum, next);
  }
  finish(layer, sum.data(), result);
  return {};
}

Status convjit::runWeightGradient(const Kernel &kernel,
                                  const Convolution &layer, const void *input,
                                  const void *gradOutput, int64_t batch,
                                  Executor &executor, void *result) {
  // Never null.
  std::vector<std::byte> scratch(weightGradientScratchBytes(kernel, layer) + 1);
  return runWeightGradient(kernel, layer, input, gradOutput, batch, executor,
                           result, scratch.data());
}

namespace {

std::vector<int64_t> stridesOf(const std::vector<int64_t> &shape) {
  std::vector<int64_t> strides(shape.size(), 1);
  for (size_t axis = shape.size(); axis-- > 1;)
    strides[axis - 1] = strides[axis] * shape[axis];
  return strides;
}

/// The nest over spatial dimensions: every output position and tap that meet
/// an input element.
class WeightGradientNest {
public:
  WeightGradientNest(const Convolution &layer, const std::vector<double> &input,
                     const std::vector<double> &gradOutput, int64_t batch,
                     ReferenceResult &result)
      : layer(layer), input(input), gradOutput(gradOutput), batch(batch),
        result(result), inputStrides(stridesOf(layer.inputShape(batch))),
        outputStrides(stridesOf(layer.outputShape(batch))),
        weightStrides(stridesOf(layer.kernelShape())) {}

  void visit(size_t dimension, int64_t in, int64_t out, int64_t weight) {
    if (dimension == layer.dims.size())
      return addProducts(in, out, weight);
    const SpatialDim &dim = layer.dims[dimension];
    const DimensionNumbers &n = layer.numbers;
    for (int64_t o = 0, end = dim.output(); o < end; ++o)
      for (int64_t t = 0; t < dim.kernel; ++t) {
        int64_t at = o * dim.windowStride + t * dim.kernelDilation - dim.padLow;
        if (at < 0 || at % dim.inputDilation ||
            at / dim.inputDilation >= dim.input)
          continue;
        int64_t stored = dim.reversed ? dim.kernel - 1 - t : t;
        visit(dimension + 1,
              in + at / dim.inputDilation *
                       inputStrides[n.inputSpatial[dimension]],
              out + o * outputStrides[n.outputSpatial[dimension]],
              weight + stored * weightStrides[n.kernelSpatial[dimension]]);
      }
  }

private:
  void addProducts(int64_t in, int64_t out, int64_t weight) {
    const DimensionNumbers &n = layer.numbers;
    int64_t outPerGroup = layer.outChannels / layer.groups;
    int64_t inPerGroup = layer.channelsPerGroup();
    for (int64_t b = 0; b < batch; ++b)
      for (int64_t oc = 0; oc < layer.outChannels; ++oc)
        for (int64_t ic = 0; ic < inPerGroup; ++ic) {
          int64_t channel = oc / outPerGroup * inPerGroup + ic;
          double product = gradOutput[out + b * outputStrides[n.outputBatch] +
                                      oc * outputStrides[n.outputFeature]] *
                           input[in + b * inputStrides[n.inputBatch] +
                                 channel * inputStrides[n.inputFeature]];
          int64_t to = weight + oc * weightStrides[n.kernelOutputFeature] +
                       ic * weightStrides[n.kernelInputFeature];
          result.output[to] += product;
          result.magnitude[to] += std::abs(product);
        }
  }

  const Convolution &layer;
  const std::vector<double> &input, &gradOutput;
  int64_t batch;
  ReferenceResult &result;
  std::vector<int64_t> inputStrides, outputStrides, weightStrides;
};

} // namespace

ReferenceResult convjit::weightGradientReference(
    const Convolution &layer, const std::vector<double> &input,
    const std::vector<double> &gradOutput, int64_t batch) {
  ReferenceResult result;
  auto weights = static_cast<size_t>(elementCount(layer.kernelShape()));
  result.output.resize(weights);
  result.magnitude.resize(weights);
  WeightGradientNest(layer, input, gradOutput, batch, result).visit(0, 0, 0, 0);
  for (size_t i = 0; i < layer.mask.size(); ++i) {
    bool absent = layer.mask[i] == 0;
    result.output[i] = absent ? 0 : result.output[i] * layer.mask[i];
    result.magnitude[i] =
        absent ? 0 : result.magnitude[i] * std::abs(layer.mask[i]);
  }
  return result;
}
