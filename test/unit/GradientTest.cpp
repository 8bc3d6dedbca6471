//===- GradientTest.cpp - gradients against the definition -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "RandomConvolution.h"
#include "convjit/WeightGradient.h"

#include <gtest/gtest.h>

using namespace convjit;
using Values = std::vector<double>;

static double dot(const Values &a, const Values &b) {
  EXPECT_EQ(a.size(), b.size());
  double sum = 0;
  for (size_t i = 0; i < a.size() && i < b.size(); ++i)
    sum += a[i] * b[i];
  return sum;
}

/// Integers: every product and sum below is exact.
static Values integers(size_t count, Random &random) {
  Values values(count);
  for (double &value : values)
    value = static_cast<double>(random.between(-3, 3));
  return values;
}

/// A random layer without epilogue, small enough for the reference.
static Problem plainProblem(Random &random, int64_t macs) {
  for (;;) {
    Problem p = randomProblem(random);
    p.bias = p.residual = false;
    p.activation = {};
    p.gradient = Gradient::None;
    Expected<Convolution> conv = lower(p);
    if (conv && countMacs(*conv, 1) < macs)
      return p;
  }
}

/// Weights with the spatial axes flipped; a layer stores them first.
static Values flipped(const Values &weights, const Convolution &forward) {
  std::vector<int64_t> shape = forward.kernelShape();
  size_t features =
      static_cast<size_t>(shape[shape.size() - 1] * shape[shape.size() - 2]);
  // All spatial axes reversed at once: the taps in opposite order.
  Values result(weights.size());
  size_t taps = weights.size() / features;
  for (size_t tap = 0; tap < taps; ++tap)
    for (size_t i = 0; i < features; ++i)
      result[tap * features + i] = weights[(taps - 1 - tap) * features + i];
  return result;
}

/// The weight gradient over all images, by one convolution an image whose
/// residual is the sum so far, in the order the weight is stored in.
static Values weightGradient(const Convolution &forward,
                             const Convolution &backward, const Values &input,
                             const Values &gradient, int64_t batch) {
  size_t images = static_cast<size_t>(batch);
  size_t inputSize = input.size() / images, outSize = gradient.size() / images;
  size_t weights = 1;
  for (int64_t size : forward.kernelShape())
    weights *= static_cast<size_t>(size);
  Values sum(weights);
  for (size_t image = 0; image < images; ++image) {
    auto x = input.begin() + static_cast<std::ptrdiff_t>(image * inputSize);
    auto g = gradient.begin() + static_cast<std::ptrdiff_t>(image * outSize);
    ReferenceOperands operands;
    operands.input.assign(x, x + static_cast<std::ptrdiff_t>(inputSize));
    operands.weights.assign(g, g + static_cast<std::ptrdiff_t>(outSize));
    operands.residual = sum;
    sum = referenceConvolution(backward, operands, forward.inChannels).output;
  }
  return forward.dims[0].reversed ? flipped(sum, forward) : sum;
}

TEST(Gradient, OfTheInputIsTheAdjoint) {
  int groups = 0, transposed = 0, empty = 0, masked = 0;
  for (uint64_t seed = 0; seed < 400; ++seed) {
    Random random(seed);
    Problem p = plainProblem(random, 50000);
    Convolution forward = *lower(p);
    p.gradient = Gradient::Input;
    Expected<Convolution> backward = lower(p);
    ASSERT_TRUE(backward) << printProblem(p) << backward.error().message;
    ASSERT_EQ(backward->inputShape(2), forward.outputShape(2))
        << printProblem(p);
    ASSERT_EQ(backward->outputShape(2), forward.inputShape(2))
        << printProblem(p);
    ASSERT_EQ(backward->kernelShape(), forward.kernelShape())
        << printProblem(p);
    // A mask is the weight's, whose shape is the same both ways.
    if (!p.mask.empty()) {
      ASSERT_TRUE(makeMask(forward, p.mask)) << printProblem(p);
      backward->mask = forward.mask;
      ASSERT_TRUE(validate(*backward)) << printProblem(p);
      ++masked;
    }
    ReferenceOperands data =
        randomOperands(forward, 2, DataKind::Exact, random);
    Values y = referenceConvolution(forward, data, 2).output;
    Values g = integers(y.size(), random);
    Values dx =
        referenceConvolution(*backward, {g, data.weights, {}, {}}, 2).output;
    ASSERT_EQ(dot(y, g), dot(data.input, dx)) << printProblem(p);
    groups += p.groups > 1;
    transposed += p.operation == Operation::ConvTranspose;
    empty += y.empty();
  }
  // The cases that differ were among them.
  EXPECT_GE(groups, 20);
  EXPECT_GE(transposed, 20);
  EXPECT_GE(masked, 20);
  EXPECT_GE(empty, 1);
}

TEST(Gradient, OfTheWeightIsTheAdjoint) {
  int groups = 0, transposed = 0, refused = 0;
  for (uint64_t seed = 0; seed < 400; ++seed) {
    Random random(seed);
    Problem p = plainProblem(random, 50000);
    Convolution forward = *lower(p);
    p.gradient = Gradient::Weight;
    Expected<Convolution> backward = lowerWeightGradient(p);
    int64_t outputs = 1;
    for (int64_t size : forward.outputShape(1))
      outputs *= size;
    // A layer without output has no weight gradient; every other has one.
    ASSERT_EQ(static_cast<bool>(backward), outputs != 0) << printProblem(p);
    if (!backward) {
      ++refused;
      continue;
    }
    ASSERT_EQ(backward->outputShape(forward.inChannels), forward.kernelShape())
        << printProblem(p);
    // Each product of the layer is one of its gradient, which FLOPs rely on.
    ASSERT_EQ(countMacs(*backward, forward.inChannels), countMacs(forward, 1))
        << printProblem(p);
    int64_t batch = 1 + static_cast<int64_t>(seed % 3);
    ReferenceOperands data =
        randomOperands(forward, batch, DataKind::Exact, random);
    Values y = referenceConvolution(forward, data, batch).output;
    Values g = integers(y.size(), random);
    Values dw = weightGradient(forward, *backward, data.input, g, batch);
    // y is linear in the weight.
    ASSERT_EQ(dot(y, g), dot(data.weights, dw)) << printProblem(p);
    groups += p.groups > 1;
    transposed += p.operation == Operation::ConvTranspose;
  }
  EXPECT_GE(groups, 20);
  EXPECT_GE(transposed, 20);
  EXPECT_GE(refused, 1);
}

/// What one launch of a GPU computes of a batch, whichever operand it takes for
/// its weight, is the gradient as the layer stores its weight.
TEST(Gradient, OfAllImagesInOneLaunch) {
  int exchanged = 0, plain = 0, reversed = 0;
  for (uint64_t seed = 0; seed < 400; ++seed) {
    Random random(seed);
    Problem p = plainProblem(random, 20000);
    p.dtype = DataType::F64;
    Convolution forward = *lower(p);
    int64_t images = 1 + static_cast<int64_t>(seed % 3);
    bool stored = seed % 4 != 0;
    Expected<GradientLaunch> launch = gradientLaunch(forward, images, stored);
    if (!launch)
      continue;
    ASSERT_EQ(launch->conv.residual, false);
    ReferenceOperands data =
        randomOperands(forward, images, DataKind::Exact, random);
    auto count = [](const std::vector<int64_t> &shape) {
      size_t product = 1;
      for (int64_t size : shape)
        product *= static_cast<size_t>(size);
      return product;
    };
    Values g = integers(count(forward.outputShape(images)), random);
    ReferenceOperands operands{data.input, g, {}, {}};
    if (launch->exchanged)
      std::swap(operands.input, operands.weights);
    ASSERT_EQ(count(launch->conv.inputShape(launch->batch)),
              operands.input.size());
    ASSERT_EQ(count(launch->conv.kernelShape()), operands.weights.size());
    Values sum =
        referenceConvolution(launch->conv, operands, launch->batch).output;
    Values result(sum.size());
    finishWeightGradient(forward, sum.data(), result.data(), launch->asStored);
    ASSERT_EQ(result,
              weightGradientReference(forward, data.input, g, images).output)
        << printProblem(p) << ", images " << images;
    bool transposed = p.operation == Operation::ConvTranspose;
    ASSERT_TRUE(stored || !launch->exchanged) << printProblem(p);
    ASSERT_TRUE(launch->asStored || !stored || (transposed && p.groups > 1))
        << printProblem(p);
    exchanged += launch->exchanged;
    plain += !transposed;
    reversed += !launch->asStored;
  }
  EXPECT_GE(exchanged, 40);
  EXPECT_GE(plain, 40);
  EXPECT_GE(reversed, 10);
}

/// dW[i] = <conv(x, e_i), g>, one weight at a time: what the one number of the
/// test above cannot tell apart.
TEST(Gradient, OfEachWeightIsByDefinition) {
  int compared = 0, groups = 0;
  for (uint64_t seed = 0; compared < 60; ++seed) {
    Random random(seed);
    Problem p = plainProblem(random, 5000);
    Convolution forward = *lower(p);
    p.gradient = Gradient::Weight;
    Expected<Convolution> backward = lowerWeightGradient(p);
    ReferenceOperands data =
        randomOperands(forward, 2, DataKind::Exact, random);
    if (!backward || data.weights.size() > 300)
      continue;
    Values g =
        integers(referenceConvolution(forward, data, 2).output.size(), random);
    Values expected(data.weights.size());
    for (size_t i = 0; i < expected.size(); ++i) {
      ReferenceOperands unit = data;
      unit.weights.assign(expected.size(), 0);
      unit.weights[i] = 1;
      expected[i] = dot(referenceConvolution(forward, unit, 2).output, g);
    }
    ASSERT_EQ(weightGradient(forward, *backward, data.input, g, 2), expected)
        << printProblem(p);
    ++compared;
    groups += p.groups > 1;
  }
  EXPECT_GE(groups, 3);
}

TEST(Gradient, ByHand) {
  // y = w*x with x = 1 2 3, k 2, VALID; g = 1 10.
  Problem p = *parseProblem("conv1d:in=3x1,oc=1,k=2,pad=valid,grad=input");
  // dx = g0*w0, g0*w1 + g1*w0, g1*w1 with w = 5 7.
  EXPECT_EQ(
      referenceConvolution(*lower(p), {{1, 10}, {5, 7}, {}, {}}, 1).output,
      (Values{5, 57, 70}));
  // dw0 = x0*g0 + x1*g1, dw1 = x1*g0 + x2*g1; the residual adds 1000 to each.
  p.gradient = Gradient::Weight;
  EXPECT_EQ(referenceConvolution(*lowerWeightGradient(p),
                                 {{1, 2, 3}, {1, 10}, {}, {1000, 1000}}, 1)
                .output,
            (Values{1021, 1032}));
  // Transposed, s 2, k 2: y[2i+t] = x[i]*w[t], so dw[t] = sum x[i]*g[2i+t],
  // and in window order the taps are flipped.
  p = *parseProblem("convT1d:in=2x1,oc=1,k=2,s=2,grad=weight");
  EXPECT_EQ(referenceConvolution(*lowerWeightGradient(p),
                                 {{1, 2}, {3, 5, 7, 9}, {}, {0, 0}}, 1)
                .output,
            (Values{1 * 5 + 2 * 9, 1 * 3 + 2 * 7}));
  p.gradient = Gradient::Input;
  // dx[i] = sum over t of w[t]*g[2i+t].
  EXPECT_EQ(referenceConvolution(*lower(p), {{3, 5, 7, 9}, {1, 10}, {}, {}}, 1)
                .output,
            (Values{53, 97}));
}

TEST(Gradient, OfTheTransposedLayerIsAStridedConvolution) {
  Convolution conv =
      *lower(*parseProblem("convT3d:in=8x16x16x64,oc=32,k=4,s=2,grad=input"));
  EXPECT_EQ(conv.inChannels, 32);
  EXPECT_EQ(conv.outChannels, 64);
  for (const SpatialDim &dim : conv.dims) {
    EXPECT_EQ(dim.windowStride, 2);
    EXPECT_EQ(dim.inputDilation, 1);
    EXPECT_EQ(dim.padLow, 1);
    EXPECT_EQ(dim.padHigh, 1);
    EXPECT_FALSE(dim.reversed);
  }
  EXPECT_EQ(conv.inputShape(1), (std::vector<int64_t>{1, 16, 32, 32, 32}));
  EXPECT_EQ(conv.outputShape(1), (std::vector<int64_t>{1, 8, 16, 16, 64}));
}

TEST(Gradient, WhatIsRefusedNamesTheField) {
  auto expectError = [](const Expected<Convolution> &conv, const char *start) {
    ASSERT_FALSE(conv);
    EXPECT_EQ(conv.error().kind, ErrorKind::BadInput);
    EXPECT_EQ(conv.error().message.rfind(start, 0), 0u) << conv.error().message;
    EXPECT_NE(conv.error().message.find("valid:"), std::string::npos)
        << conv.error().message;
  };
  Problem p = *parseProblem("conv1d:in=8x4,oc=4,k=3,bg=2");
  p.gradient = Gradient::Input;
  expectError(lower(p), "bg=2:");
  p.gradient = Gradient::Weight;
  expectError(lower(p), "grad=weight:");
  expectError(lowerWeightGradient(p), "bg=2:");
  p = *parseProblem("conv1d:in=8x4,oc=4,k=3");
  expectError(lowerWeightGradient(p), "grad:");
  p = *parseProblem("conv1d:in=2x4,oc=4,k=3,pad=valid,grad=weight");
  expectError(lowerWeightGradient(p), "in:");
}

static std::vector<const void *> inputsSeen;
static void noteInput(const ConvjitKernelArgs *args, int64_t, int64_t) {
  inputsSeen.push_back(args->input);
}
static void packNothing(const void *, void *) {}

TEST(Gradient, ImagesWithGapsBetweenThem) {
  // One at a time, each where the strides put it.
  Convolution layer = *lower(*parseProblem("conv1d:in=8x6,oc=4,k=3"));
  layer.inputStrides = {-200, 20, 1};
  Kernel kernel;
  kernel.conv = *lowerWeightGradient(layer);
  kernel.run = noteInput;
  kernel.pack = packNothing;
  kernel.tasksPerImage = 1;
  std::vector<float> x(1000), g(200), result(72);
  InlineExecutor executor;
  inputsSeen.clear();
  Status done = runWeightGradient(kernel, layer, x.data() + 400, g.data(), 3,
                                  executor, result.data());
  ASSERT_TRUE(done) << done.error().message;
  EXPECT_EQ(inputsSeen, (std::vector<const void *>{x.data() + 400,
                                                   x.data() + 200, x.data()}));
  // A kernel for other strides would read something else.
  layer.inputStrides = {-200, 10, 1};
  done = runWeightGradient(kernel, layer, x.data() + 400, g.data(), 3, executor,
                           result.data());
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().message, "layer: inputStrides differ; valid: those "
                                  "that the kernel was made for");
}
