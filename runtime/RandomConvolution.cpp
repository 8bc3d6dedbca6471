//===- RandomConvolution.cpp - random test cases -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "RandomConvolution.h"

#include <algorithm>
#include <cmath>

using namespace convjit;

/// Channel counts around the widths of vectors and register tiles.
static int64_t randomChannels(Random &random) {
  if (random.chance(50))
    return random.between(1, 12);
  return random.pick<int64_t>({1,  2,  3,  4,  7,  8,  15, 16, 17, 20, 31,
                               32, 33, 40, 47, 48, 49, 63, 64, 65, 80, 96});
}

static SpatialDim randomDim(Random &random, bool innermost) {
  SpatialDim dim;
  // Rows long enough for several register tiles now and then.
  int64_t longest = innermost && random.chance(50) ? 70 : 12;
  dim.input = random.chance(3) ? 0 : random.between(1, longest);
  dim.kernel = random.chance(8) ? random.between(6, 20) : random.between(1, 5);
  auto factor = [&](int64_t percent) {
    return random.chance(percent) ? (random.chance(10) ? random.between(5, 17)
                                                       : random.between(2, 4))
                                  : 1;
  };
  dim.windowStride = factor(35);
  dim.inputDilation = factor(55);
  dim.kernelDilation = factor(35);
  int64_t reach = dim.effectiveKernel();
  auto pad = [&] {
    if (random.chance(20))
      return random.between(-std::min<int64_t>(dim.dilatedInput(), 4), 0);
    return random.between(0, random.chance(15) ? 2 * reach : reach);
  };
  dim.padLow = pad();
  dim.padHigh = pad();
  dim.reversed = random.chance(50);
  return dim;
}

/// Dimensions that the compiler may take for one: windows of one pixel, or of
/// the whole input.
static void makeCollapsible(std::vector<SpatialDim> &dims, Random &random) {
  bool global = random.chance(30);
  for (SpatialDim &dim : dims) {
    if (random.chance(15))
      continue;
    bool reversed = dim.reversed;
    int64_t input = dim.input;
    dim = {};
    dim.input = random.chance(15) ? 1 : input;
    dim.kernel = global ? std::max<int64_t>(dim.input, 1) : 1;
    dim.reversed = reversed;
  }
}

static void shuffle(std::vector<int64_t> &values, Random &random) {
  for (size_t i = values.size(); i > 1; --i)
    std::swap(values[i - 1],
              values[static_cast<size_t>(random.below(int64_t(i)))]);
}

/// Axes in the usual order (channels first or last), or in any.
static void randomAxes(Random &random, size_t rank, bool any, bool first,
                       int64_t &batch, int64_t &feature,
                       std::vector<int64_t> &spatial) {
  std::vector<int64_t> axes(rank + 2);
  for (size_t i = 0; i < axes.size(); ++i)
    axes[i] = static_cast<int64_t>(i);
  if (any)
    shuffle(axes, random);
  batch = axes[0];
  feature = first ? axes[1] : axes.back();
  spatial.assign(axes.begin() + (first ? 2 : 1), axes.end() - (first ? 0 : 1));
}

static Activation randomActivation(Random &random) {
  Activation activation;
  if (random.chance(50))
    return activation;
  activation.kind = static_cast<ActivationKind>(random.between(1, 7));
  if (activation.kind == ActivationKind::LeakyRelu)
    activation.slope = random.pick({0.01, 0.25, 0.5, 2.0, -0.5});
  return activation;
}

static std::string randomMask(Random &random) {
  return std::string(random.pick<const char *>(
             {"taps", "causal", "blocks", "random", "factors", "none"})) +
         "@" + std::to_string(random.below(1000));
}

/// Those of a part of a larger array: some rows, channels or images of it,
/// every second or third, in the opposite order, or one for all.
static std::vector<int64_t> randomStrides(const Convolution &conv,
                                          Random &random) {
  // Larger batches overlap, where they are not outermost.
  std::vector<int64_t> shape = conv.inputShape(3 * conv.batchGroups);
  std::vector<int64_t> strides(shape.size());
  int64_t next = random.chance(20) ? random.between(2, 3) : 1;
  for (size_t axis = shape.size(); axis-- > 0;) {
    int64_t step =
        axis + 1 < shape.size() && random.chance(20) ? random.between(2, 3) : 1;
    strides[axis] = next * step;
    next = strides[axis] * std::max<int64_t>(shape[axis], 1);
    if (random.chance(50))
      next += strides[axis] * random.between(1, 5);
    if (random.chance(8))
      strides[axis] = random.pick<int64_t>({-1, -1, -1, 0}) * strides[axis];
  }
  return strides;
}

NamedConvolution convjit::randomConvolution(Random &random, bool gaps) {
  for (;;) {
    NamedConvolution named;
    Convolution &conv = named.conv;
    auto rank = static_cast<size_t>(random.between(1, 3));
    for (size_t i = 0; i < rank; ++i)
      conv.dims.push_back(randomDim(random, i + 1 == rank));
    if (rank > 1 && random.chance(15))
      makeCollapsible(conv.dims, random);
    conv.inChannels = randomChannels(random);
    conv.outChannels = randomChannels(random);
    if (random.chance(30)) {
      // Depthwise, with or without a multiplier, or a few groups.
      conv.groups = random.chance(50) ? conv.inChannels : random.between(2, 5);
      conv.inChannels =
          std::max(conv.inChannels / conv.groups, int64_t(1)) * conv.groups;
      int64_t perGroup =
          random.chance(60)
              ? random.between(1, 3)
              : std::max(conv.outChannels / conv.groups, int64_t(1));
      conv.outChannels = perGroup * conv.groups;
      conv.kernelFeaturesSwapped = random.chance(20);
    } else if (random.chance(15)) {
      conv.batchGroups = random.between(2, 4);
      conv.outChannels =
          std::max(conv.outChannels / conv.batchGroups, int64_t(1)) *
          conv.batchGroups;
    }
    bool any = random.chance(25), first = random.chance(40);
    DimensionNumbers &n = conv.numbers;
    randomAxes(random, rank, any, first, n.inputBatch, n.inputFeature,
               n.inputSpatial);
    randomAxes(random, rank, any && random.chance(70), first, n.outputBatch,
               n.outputFeature, n.outputSpatial);
    randomAxes(random, rank, true, first, n.kernelOutputFeature,
               n.kernelInputFeature, n.kernelSpatial);
    conv.dtype = random.chance(20) ? DataType::F64 : DataType::F32;
    conv.bias = random.chance(40);
    conv.residual = random.chance(25);
    conv.activation = randomActivation(random);
    double outputs = 1, work = 0;
    for (const SpatialDim &dim : conv.dims)
      outputs *= static_cast<double>(dim.output());
    outputs *= static_cast<double>(conv.outChannels);
    if (!validate(conv) || outputs > 400000)
      continue;
    work = static_cast<double>(countMacs(conv, conv.batchGroups));
    double weights = static_cast<double>(conv.outChannels) *
                     static_cast<double>(conv.channelsPerGroup());
    for (const SpatialDim &dim : conv.dims)
      weights *= static_cast<double>(dim.kernel);
    if (work > 2e6 || weights > 4e5)
      continue;
    // Empty results are cases too, but only a few.
    if (outputs == 0 && !random.chance(10))
      continue;
    if (random.chance(20) && weights < 20000) {
      named.mask = randomMask(random);
      if (!makeMask(conv, named.mask))
        continue;
    }
    if (gaps && random.chance(25)) {
      conv.inputStrides = randomStrides(conv, random);
      constexpr int64_t most = int64_t(1) << 20;
      if (conv.inputSpan(3 * conv.batchGroups).elements() > most)
        conv.inputStrides.clear();
    }
    return named;
  }
}

Problem convjit::randomProblem(Random &random) {
  for (;;) {
    Problem p;
    p.operation =
        random.chance(60) ? Operation::ConvTranspose : Operation::Conv;
    p.rank = static_cast<int>(random.between(1, 3));
    for (int i = 0; i < p.rank; ++i) {
      p.inSpatial.push_back(random.chance(3) ? 0 : random.between(1, 20));
      p.kernel.push_back(random.between(1, 6));
      p.stride.push_back(random.between(1, 4));
      p.dilation.push_back(random.chance(30) ? random.between(2, 4) : 1);
      bool dilated = p.operation == Operation::Conv && random.chance(20);
      p.inputDilation.push_back(dilated ? random.between(2, 3) : 1);
    }
    p.inChannels = randomChannels(random);
    p.outChannels = randomChannels(random);
    if (random.chance(25)) {
      p.groups = random.between(2, 8);
      p.inChannels *= p.groups;
      p.outChannels *= p.groups;
    }
    p.paddingMode = static_cast<PaddingMode>(random.below(3));
    if (p.paddingMode == PaddingMode::Explicit)
      for (int i = 0; i < p.rank; ++i)
        p.padding.push_back({random.between(-2, 6), random.between(-2, 6)});
    p.layout = random.chance(40) ? Layout::ChannelsFirst : Layout::ChannelsLast;
    p.dtype = random.chance(20) ? DataType::F64 : DataType::F32;
    p.bias = random.chance(40);
    p.residual = random.chance(20);
    p.activation = randomActivation(random);
    if (random.chance(40) && !p.bias && !p.residual) {
      p.activation = {};
      p.gradient = random.chance(50) ? Gradient::Input : Gradient::Weight;
    }
    // More often where it goes its own way: on the weight's gradient.
    if (random.chance(p.gradient == Gradient::None ? 20 : 50))
      p.mask = randomMask(random);
    if (!validate(p))
      continue;
    Problem forward = p;
    forward.gradient = Gradient::None;
    int64_t weights = 1;
    for (int64_t size : lower(forward)->kernelShape())
      weights *= size;
    if (weights >= 20000)
      p.mask.clear();
    return p;
  }
}

Problem convjit::randomWeightGradient(Random &random) {
  for (;;) {
    Problem p;
    p.operation =
        random.chance(50) ? Operation::ConvTranspose : Operation::Conv;
    p.gradient = Gradient::Weight;
    p.rank = static_cast<int>(random.between(1, 3));
    // As many pixels in any rank.
    const int64_t longest = p.rank == 1 ? 600 : p.rank == 2 ? 25 : 9;
    for (int i = 0; i < p.rank; ++i) {
      p.inSpatial.push_back(random.between(longest / 4, longest));
      p.kernel.push_back(random.between(1, 4));
      p.stride.push_back(random.between(1, 3));
      p.dilation.push_back(random.chance(20) ? 2 : 1);
      p.inputDilation.push_back(1);
    }
    p.inChannels = random.between(1, 70);
    p.outChannels = random.between(1, 70);
    if (random.chance(20)) {
      p.groups = random.between(2, 4);
      p.inChannels *= p.groups;
      p.outChannels *= p.groups;
    }
    p.paddingMode = static_cast<PaddingMode>(random.below(3));
    if (p.paddingMode == PaddingMode::Explicit)
      for (int i = 0; i < p.rank; ++i)
        p.padding.push_back({random.between(-1, 3), random.between(-1, 3)});
    if (random.chance(15)) {
      // A sum over all pixels.
      p.kernel.assign(p.rank, 1);
      p.stride.assign(p.rank, 1);
      p.paddingMode = PaddingMode::Valid;
      p.padding.clear();
    }
    p.layout = random.chance(60) ? Layout::ChannelsFirst : Layout::ChannelsLast;
    p.dtype = random.chance(20) ? DataType::F64 : DataType::F32;
    if (validate(p))
      return p;
  }
}

ReferenceOperands convjit::randomOperands(const Convolution &conv,
                                          int64_t batch, DataKind kind,
                                          Random &random) {
  // Largest integer magnitudes such that the sum of all terms stays below 2^24,
  // with factors of a mask (at most 1.5) allowed for.
  double terms = static_cast<double>(conv.channelsPerGroup());
  for (const SpatialDim &dim : conv.dims)
    terms *= static_cast<double>(dim.kernel);
  // f16 ends at 65504.
  double most = conv.dtype == DataType::F16 ? 3e4 : 8e6;
  double room = std::sqrt(most / std::max(1.0, terms) / 2);
  int64_t range = std::clamp<int64_t>(static_cast<int64_t>(room), 1, 8);
  auto fill = [&](const std::vector<int64_t> &shape) {
    size_t count = 1;
    for (int64_t size : shape)
      count *= static_cast<size_t>(size);
    std::vector<double> values(count);
    for (double &value : values)
      value = kind == DataKind::Exact
                  ? static_cast<double>(random.between(-range, range))
                  : random.unit();
    return values;
  };
  ReferenceOperands operands;
  operands.input = fill(conv.inputShape(batch));
  operands.weights = fill(conv.kernelShape());
  if (conv.bias)
    operands.bias = fill({conv.outChannels});
  if (conv.residual)
    operands.residual = fill(conv.outputShape(batch));
  return operands;
}
