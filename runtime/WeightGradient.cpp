//===- WeightGradient.cpp - the gradient of a layer's weight -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "convjit/WeightGradient.h"
#include "RoundUp.h"
#include "SmallFloat.h"

#include <algorithm>
#include <cmath>
#include <cstring>

using namespace convjit;

/// A layer whose window is reversed scatters in the stored order of its weight:
/// y[i*ld + t*rd - p] += x[i] * w[t], so that dW[t] = sum over i of
/// x[i] * g[i*ld + t*rd - p], over g dilated by the window's stride. The
/// gradient takes the input's part, and the input the weight's.
static Convolution exchangedGradient(const Convolution &layer, int64_t images) {
  Convolution conv;
  conv.dtype = layer.dtype;
  for (const SpatialDim &from : layer.dims) {
    SpatialDim dim;
    int64_t taps = (from.kernel - 1) * from.kernelDilation;
    dim.input = from.output();
    dim.inputDilation = from.windowStride;
    dim.kernel = from.input;
    dim.kernelDilation = from.inputDilation;
    dim.windowStride = from.kernelDilation;
    dim.padLow = taps - from.padLow;
    dim.padHigh =
        taps + dim.effectiveKernel() - dim.dilatedInput() - dim.padLow;
    conv.dims.push_back(dim);
  }
  conv.inChannels = images;
  conv.outChannels = layer.inChannels;
  const DimensionNumbers &n = layer.numbers;
  conv.numbers.inputBatch = n.outputFeature;
  conv.numbers.inputFeature = n.outputBatch;
  conv.numbers.inputSpatial = n.outputSpatial;
  conv.numbers.kernelInputFeature = n.inputBatch;
  conv.numbers.kernelOutputFeature = n.inputFeature;
  conv.numbers.kernelSpatial = n.inputSpatial;
  conv.numbers.outputBatch = n.kernelOutputFeature;
  conv.numbers.outputFeature = n.kernelInputFeature;
  conv.numbers.outputSpatial = n.kernelSpatial;
  return conv;
}

Expected<GradientLaunch> convjit::gradientLaunch(const Convolution &layer,
                                                 int64_t images, bool stored) {
  if (images < 1)
    return badInput("images=" + std::to_string(images) + ": valid: from 1 on");
  if (!layer.inputStrides.empty())
    return badInput("inputStrides; valid for a launch: a contiguous input");
  Expected<Convolution> conv = lowerWeightGradient(layer, images);
  if (!conv)
    return conv.takeError();
  GradientLaunch launch{std::move(*conv), layer.inChannels};
  auto isReversed = [](const SpatialDim &dim) {
    return dim.reversed && dim.kernel > 1;
  };
  auto isEmpty = [](const SpatialDim &dim) { return dim.input == 0; };
  // Zeros alone are the same either way.
  if (std::none_of(layer.dims.begin(), layer.dims.end(), isReversed) ||
      std::any_of(layer.dims.begin(), layer.dims.end(), isEmpty))
    return launch;
  auto isStored = [](const SpatialDim &dim) {
    return dim.reversed || dim.kernel == 1;
  };
  launch.asStored = stored && layer.groups == 1 &&
                    std::all_of(layer.dims.begin(), layer.dims.end(), isStored);
  if (!launch.asStored)
    return launch;
  launch.exchanged = true;
  launch.batch = layer.outChannels;
  launch.conv = exchangedGradient(layer, images);
  if (Status valid = validate(launch.conv); !valid)
    return valid.takeError();
  return launch;
}

static int64_t elementCount(const std::vector<int64_t> &shape) {
  int64_t count = 1;
  for (int64_t size : shape)
    count *= size;
  return count;
}

/// Copies a weight with its spatial axes reversed where the layer's window is:
/// from the window's order to the stored one.
class FlippedCopy {
public:
  FlippedCopy(const Convolution &layer) : shape(layer.kernelShape()) {
    reversed.assign(shape.size(), false);
    for (size_t i = 0; i < layer.dims.size(); ++i)
      reversed[static_cast<size_t>(layer.numbers.kernelSpatial[i])] =
          layer.dims[i].reversed && layer.dims[i].kernel > 1;
    auto run = static_cast<size_t>(sizeOf(layer.dtype));
    strides.assign(shape.size(), 0);
    for (size_t axis = shape.size(); axis-- > 0;) {
      strides[axis] = run;
      run *= static_cast<size_t>(shape[axis]);
    }
    // The axes after the last reversed one are copied as they are.
    for (whole = shape.size(); whole > 0 && !reversed[whole - 1];)
      --whole;
    bytes = whole ? strides[whole - 1] : run;
  }

  /// Whether both orders are one.
  bool isPlain() const { return whole == 0; }

  size_t bytesOfAll() const {
    return shape.empty() ? bytes : strides[0] * static_cast<size_t>(shape[0]);
  }

  void copy(const std::byte *from, std::byte *to, size_t axis = 0) const {
    if (axis == whole) {
      std::memcpy(to, from, bytes);
      return;
    }
    auto size = static_cast<size_t>(shape[axis]);
    for (size_t at = 0; at < size; ++at)
      copy(from + at * strides[axis],
           to + (reversed[axis] ? size - 1 - at : at) * strides[axis],
           axis + 1);
  }

private:
  std::vector<int64_t> shape;
  std::vector<bool> reversed;
  std::vector<size_t> strides; ///< in bytes
  size_t whole = 0;            ///< axes that are walked over
  size_t bytes = 0;            ///< of what follows them
};

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

void convjit::finishWeightGradient(const Convolution &layer, const void *sum,
                                   void *result, bool asStored) {
  FlippedCopy flipped(layer);
  if (!asStored && !flipped.isPlain())
    flipped.copy(static_cast<const std::byte *>(sum),
                 static_cast<std::byte *>(result));
  else if (sum != result)
    std::memcpy(result, sum, flipped.bytesOfAll());
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

/// A kernel for one image adds to a residual.
static bool takesOneImage(const Kernel &kernel) {
  return gradientImages(kernel.conv) == 0;
}

size_t convjit::weightGradientScratchBytes(const Kernel &kernel,
                                           const Convolution &layer) {
  size_t weight = roundUp(bytesOf(layer, layer.kernelShape()));
  // Two buffers: a kernel may not read as residual what it writes.
  size_t sums = takesOneImage(kernel) ? 2 * weight : weight;
  return sums +
         (kernel.readsStoredWeights() ? 0 : roundUp(kernel.packedWeightBytes));
}

/// The sum over the images, in the order of the layer's window: in `sum`, or in
/// one of two buffers of which it is the first.
static Expected<std::byte *>
sumImages(const Kernel &kernel, const Convolution &layer, const void *input,
          const void *gradOutput, int64_t batch, Executor &executor,
          std::byte *packed, std::byte *sum, void *kernelScratch) {
  bool one = takesOneImage(kernel), asStored = kernel.readsStoredWeights();
  if (!one && batch != kernel.conv.inChannels)
    return badInput("batch=" + std::to_string(batch) +
                    ": valid: " + std::to_string(kernel.conv.inChannels) +
                    ", which the kernel was made for");
  if (kernel.conv.inputStrides != layer.inputStrides)
    return badInput("layer: inputStrides differ; valid: those that the kernel "
                    "was made for");
  int64_t imageBytes = sizeOf(layer.dtype);
  if (layer.inputStrides.empty())
    imageBytes *= elementCount(layer.inputShape(1));
  else
    imageBytes *= layer.inputStrides[layer.numbers.inputBatch];
  size_t gradientBytes = bytesOf(layer, layer.outputShape(1));
  size_t weightBytes = bytesOf(layer, layer.kernelShape());
  std::byte *next = one ? sum + roundUp(weightBytes) : sum;
  if (one)
    std::memset(sum, 0, weightBytes);
  for (int64_t image = 0, end = one ? batch : 1; image < end; ++image) {
    auto at = static_cast<size_t>(image);
    const auto *gradient =
        static_cast<const std::byte *>(gradOutput) + at * gradientBytes;
    if (!asStored)
      packWeights(kernel, gradient, packed, executor);
    Operands operands{static_cast<const std::byte *>(input) +
                          image * imageBytes,
                      asStored ? gradient : packed,
                      nullptr,
                      one ? sum : nullptr,
                      next,
                      layer.inChannels,
                      kernelScratch};
    if (Status s = runKernel(kernel, operands, executor); !s)
      return s.takeError();
    std::swap(sum, next);
  }
  return sum;
}

Status convjit::runWeightGradient(const Kernel &kernel,
                                  const Convolution &layer, const void *input,
                                  const void *gradOutput, int64_t batch,
                                  Executor &executor, void *result,
                                  void *scratch, void *kernelScratch) {
  auto *packed = static_cast<std::byte *>(scratch);
  auto *to = static_cast<std::byte *>(result);
  std::byte *sums =
      packed +
      (kernel.readsStoredWeights() ? 0 : roundUp(kernel.packedWeightBytes));
  // What is the result as it comes need not be copied.
  if (!takesOneImage(kernel) && FlippedCopy(layer).isPlain())
    sums = to;
  Expected<std::byte *> sum = sumImages(kernel, layer, input, gradOutput, batch,
                                        executor, packed, sums, kernelScratch);
  if (!sum)
    return sum.takeError();
  finishWeightGradient(layer, *sum, to);
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
