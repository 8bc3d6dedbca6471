//===- ReferenceTest.cpp - the reference against answers worked out by hand -*-
// C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "convjit/Reference.h"
#include "RandomConvolution.h"

#include <gtest/gtest.h>

#include <cmath>

using namespace convjit;
using Values = std::vector<double>;

static Values run(const char *text, Values input, Values weights,
                  Values bias = {}, Values residual = {}, int64_t batch = 1,
                  Values mask = {}) {
  Expected<Convolution> conv = lower(*parseProblem(text));
  EXPECT_TRUE(conv) << text;
  conv->mask = mask;
  return referenceConvolution(*conv, {input, weights, bias, residual}, batch)
      .output;
}

TEST(Reference, TransposedByHand) {
  // x = 1 2, w = 1 10 100, s 2, VALID: each input stamps its kernel; flipping
  // on storage and on application cancel.
  EXPECT_EQ(run("convT1d:in=2x1,oc=1,k=3,s=2,pad=valid", {1, 2}, {1, 10, 100}),
            (Values{1, 10, 102, 20, 200}));
  // SAME keeps n*s = 4 of them: padding (2, 1) drops the last.
  EXPECT_EQ(run("convT1d:in=2x1,oc=1,k=3,s=2", {1, 2}, {1, 10, 100}),
            (Values{1, 10, 102, 20}));
  // k < s: outputs without a tap get only the bias.
  EXPECT_EQ(
      run("convT1d:in=2x1,oc=1,k=2,s=3,pad=valid,bias", {1, 2}, {1, 10}, {0.5}),
      (Values{1.5, 10.5, 0.5, 2.5, 20.5, 0.5}));
  // Stride 2 and dilation 2: odd outputs have no tap.
  EXPECT_EQ(run("convT1d:in=2x1,oc=1,k=2,s=2,d=2,pad=valid", {1, 2}, {1, 10}),
            (Values{1, 0, 12, 0, 20}));
}

TEST(Reference, PlainByHand) {
  EXPECT_EQ(run("conv1d:in=4x1,oc=1,k=3,pad=1", {1, 2, 3, 4}, {1, 10, 100}),
            (Values{210, 321, 432, 43}));
  EXPECT_EQ(run("conv1d:in=4x1,oc=1,k=2,s=2,pad=0", {1, 2, 3, 4}, {1, 10}),
            (Values{21, 43}));
  // Negative padding crops.
  EXPECT_EQ(run("conv1d:in=4x1,oc=1,k=2,pad=-1:0", {1, 2, 3, 4}, {1, 10}),
            (Values{32, 43}));
  // Input dilation 2, then negative padding: it crops the dilated signal.
  EXPECT_EQ(run("conv1d:in=3x1,oc=1,k=2,ld=2,pad=-1:0", {1, 2, 3}, {1, 10}),
            (Values{20, 2, 30}));
}

TEST(Reference, GroupsAndBatchGroups) {
  // Two groups of one channel each; weights (k, ic/g, oc).
  EXPECT_EQ(run("conv1d:in=2x2,oc=2,k=1,g=2", {1, 2, 3, 4}, {10, 100}),
            (Values{10, 200, 30, 400}));
  // Two batch groups: output channel 0 reads image 0, channel 1 image 1.
  EXPECT_EQ(
      run("conv1d:in=2x1,oc=2,k=1,bg=2", {1, 2, 3, 4}, {10, 100}, {}, {}, 2),
      (Values{10, 300, 20, 400}));
}

TEST(Reference, LayoutOfChannelsFirst) {
  // in (2 channels, 2 pixels), one output channel: 1*x0 + 10*x1.
  EXPECT_EQ(run("conv1d:in=2x2,oc=1,k=1,layout=channels_first", {1, 2, 3, 4},
                {1, 10}),
            (Values{31, 42}));
}

TEST(Reference, MaskIsAbsenceAndFactor) {
  Values input = {1, 2, std::numeric_limits<double>::infinity(), 4};
  // The masked tap is not multiplied: infinity times zero would be NaN.
  EXPECT_EQ(run("conv1d:in=2x2,oc=1,k=1", input, {1, 10}, {}, {}, 1, {0, 0.5}),
            (Values{10, 20}));
}

TEST(Reference, EpilogueInOrder) {
  // act(conv + bias + residual).
  EXPECT_EQ(run("conv1d:in=2x1,oc=1,k=1,bias,residual,act=relu", {1, -9}, {2},
                {3}, {4, 5}),
            (Values{9, 0}));
  EXPECT_EQ(run("conv1d:in=2x1,oc=1,k=1,act=leaky_relu:0.25", {8, -8}, {1}),
            (Values{8, -2}));
}

TEST(Reference, Activations) {
  auto value = [](ActivationKind kind, double x) {
    return applyActivation({kind, 0.01}, x);
  };
  EXPECT_NEAR(value(ActivationKind::Sigmoid, 1), 0.731058578630005, 1e-14);
  EXPECT_NEAR(value(ActivationKind::Tanh, 0.5), 0.462117157260010, 1e-14);
  EXPECT_NEAR(value(ActivationKind::Silu, 1), 0.731058578630005, 1e-14);
  EXPECT_NEAR(value(ActivationKind::Gelu, 1), 0.841344746068543, 1e-14);
  EXPECT_NEAR(value(ActivationKind::GeluTanh, 1), 0.841191990608277, 1e-14);
  EXPECT_EQ(value(ActivationKind::None, -3), -3);
  EXPECT_TRUE(std::isnan(value(ActivationKind::Relu, NAN)));
}

static double dot(const Values &a, const Values &b) {
  EXPECT_EQ(a.size(), b.size());
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i)
    sum += a[i] * b[i];
  return sum;
}

/// A random layer without epilogue, small enough for the reference.
static Problem plainProblem(Random &random) {
  for (;;) {
    Problem p = randomProblem(random);
    p.bias = p.residual = false;
    p.activation = {};
    p.gradient = Gradient::None;
    Expected<Convolution> conv = lower(p);
    if (conv && countMacs(*conv, 1) < 100000)
      return p;
  }
}

TEST(Reference, InputGradientIsTheAdjoint) {
  for (uint64_t seed = 0; seed < 300; ++seed) {
    Random random(seed);
    Problem p = plainProblem(random);
    Convolution forward = *lower(p);
    p.gradient = Gradient::Input;
    Expected<Convolution> backward = lower(p);
    ASSERT_TRUE(backward) << printProblem(p) << backward.error().message;
    ASSERT_EQ(backward->outputShape(2), forward.inputShape(2))
        << printProblem(p);
    ReferenceOperands data =
        randomOperands(forward, 2, DataKind::Exact, random);
    Values y = referenceConvolution(forward, data, 2).output;
    Values g(y.size());
    for (double &value : g)
      value = static_cast<double>(random.between(-3, 3));
    Values dx =
        referenceConvolution(*backward, {g, data.weights, {}, {}}, 2).output;
    ASSERT_EQ(dot(y, g), dot(data.input, dx)) << printProblem(p);
  }
}

TEST(Reference, WeightGradientIsTheAdjoint) {
  for (uint64_t seed = 0; seed < 300; ++seed) {
    Random random(seed);
    Problem p = plainProblem(random);
    Convolution forward = *lower(p);
    p.gradient = Gradient::Weight;
    Expected<Convolution> backward = lowerWeightGradient(p);
    if (!backward) // a layer without output has no weight gradient
      continue;
    ReferenceOperands data =
        randomOperands(forward, 1, DataKind::Exact, random);
    Values y = referenceConvolution(forward, data, 1).output;
    Values g(y.size());
    for (double &value : g)
      value = static_cast<double>(random.between(-3, 3));
    Values zero(data.weights.size());
    Values dw = referenceConvolution(*backward, {data.input, g, {}, zero},
                                     forward.inChannels)
                    .output;
    // In window order: undo the reversal of transposed layers by giving the
    // weights reversed.
    Convolution unreversed = forward;
    for (SpatialDim &dim : unreversed.dims)
      dim.reversed = false;
    Values u = referenceConvolution(unreversed, data, 1).output;
    ASSERT_EQ(dot(u, g), dot(data.weights, dw)) << printProblem(p);
  }
}
