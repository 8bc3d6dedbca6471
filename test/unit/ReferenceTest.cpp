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
#include <limits>

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

/// The same for what only the text of a general convolution can say.
static Values runGeneral(const char *text, Values input, Values weights,
                         Values bias = {}, int64_t batch = 1) {
  Expected<NamedConvolution> named = parseConvolution(text);
  EXPECT_TRUE(named) << text << ": " << named.error().message;
  return referenceConvolution(named->conv, {input, weights, bias, {}}, batch)
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
  struct {
    double x, sigmoid, tanh, silu, gelu, geluTanh;
  } table[] = {
      {-2, 0.11920292202211755, -0.9640275800758169, -0.2384058440442351,
       -0.04550026389635842, -0.04540230591222494},
      {-0.5, 0.3775406687981454, -0.46211715726000974, -0.1887703343990727,
       -0.15426876936299344, -0.15428599017485606},
      {0, 0.5, 0, 0, 0, 0},
      {0.5, 0.6224593312018546, 0.46211715726000974, 0.3112296656009273,
       0.34573123063700656, 0.34571400982514394},
      {2, 0.8807970779778823, 0.9640275800758169, 1.7615941559557646,
       1.9544997361036416, 1.954597694087775}};
  for (const auto &row : table) {
    EXPECT_NEAR(value(ActivationKind::Sigmoid, row.x), row.sigmoid, 1e-15);
    EXPECT_NEAR(value(ActivationKind::Tanh, row.x), row.tanh, 1e-15);
    EXPECT_NEAR(value(ActivationKind::Silu, row.x), row.silu, 1e-15);
    EXPECT_NEAR(value(ActivationKind::Gelu, row.x), row.gelu, 1e-15);
    EXPECT_NEAR(value(ActivationKind::GeluTanh, row.x), row.geluTanh, 1e-15);
  }
  // Far out: no overflow into NaN.
  for (ActivationKind kind :
       {ActivationKind::Silu, ActivationKind::Gelu, ActivationKind::GeluTanh}) {
    EXPECT_EQ(value(kind, -1e5), 0) << name(kind);
    EXPECT_EQ(value(kind, 1e5), 1e5) << name(kind);
  }
  EXPECT_EQ(value(ActivationKind::Sigmoid, -1e5), 0);
  EXPECT_EQ(value(ActivationKind::Sigmoid, 1e5), 1);
  EXPECT_EQ(value(ActivationKind::Relu, 3), 3);
  EXPECT_EQ(value(ActivationKind::Relu, -3), 0);
  EXPECT_EQ(applyActivation({ActivationKind::LeakyRelu, 2}, -3), -6);
  EXPECT_EQ(applyActivation({ActivationKind::LeakyRelu, 2}, 3), 3);
  EXPECT_EQ(value(ActivationKind::None, -3), -3);
  EXPECT_TRUE(std::isnan(value(ActivationKind::Relu, NAN)));
}

TEST(Reference, DilationByHand) {
  EXPECT_EQ(run("conv1d:in=5x1,oc=1,k=2,d=3,pad=0", {1, 2, 3, 4, 5}, {1, 10}),
            (Values{41, 52}));
  // Window stride and input dilation: 1 0 2 0 3 seen two at a time.
  EXPECT_EQ(runGeneral("convolution:n=3,k=2,ws=2,ld=2,rd=1,pad=0:0,rev=0,ic=1,"
                       "oc=1,x=b0f,w=0io,y=b0f",
                       {1, 2, 3}, {1, 10}),
            (Values{1, 2}));
  EXPECT_EQ(runGeneral("convolution:n=3,k=2,ws=2,ld=2,rd=1,pad=1:0,rev=0,ic=1,"
                       "oc=1,x=b0f,w=0io,y=b0f",
                       {1, 2, 3}, {1, 10}),
            (Values{10, 20, 30}));
}

TEST(Reference, ReversedByHand) {
  EXPECT_EQ(runGeneral("convolution:n=3,k=2,ws=1,ld=1,rd=1,pad=0:0,rev=0,ic=1,"
                       "oc=1,x=b0f,w=0io,y=b0f",
                       {1, 2, 3}, {1, 10}),
            (Values{21, 32}));
  EXPECT_EQ(runGeneral("convolution:n=3,k=2,ws=1,ld=1,rd=1,pad=0:0,rev=1,ic=1,"
                       "oc=1,x=b0f,w=0io,y=b0f",
                       {1, 2, 3}, {1, 10}),
            (Values{12, 23}));
  // One dimension only: the rows of the kernel change places.
  EXPECT_EQ(runGeneral("convolution:n=2x2,k=2x2,ws=1x1,ld=1x1,rd=1x1,"
                       "pad=0:0x0:0,rev=1x0,ic=1,oc=1,x=b01f,w=01io,y=b01f",
                       {1, 2, 3, 4}, {1, 10, 100, 1000}),
            (Values{100 * 1 + 1000 * 2 + 1 * 3 + 10 * 4}));
}

TEST(Reference, TwoDimensionsByHand) {
  EXPECT_EQ(run("conv2d:in=2x3x1,oc=1,k=2,pad=0", {1, 2, 3, 4, 5, 6},
                {1, 10, 100, 1000}),
            (Values{5421, 6532}));
  EXPECT_EQ(run("convT2d:in=1x2x1,oc=1,k=2,s=2,pad=valid", {1, 2},
                {1, 10, 100, 1000}),
            (Values{1, 10, 2, 20, 100, 1000, 200, 2000}));
}

TEST(Reference, ThreeDimensionsByHand) {
  // k 1x1x2 along the last axis, stride 2 along the first.
  EXPECT_EQ(run("conv3d:in=3x1x2x1,oc=1,k=1x1x2,s=2x1x1,pad=0",
                {1, 2, 3, 4, 5, 6}, {1, 10}),
            (Values{21, 65}));
}

TEST(Reference, GroupsByHand) {
  // Plain, weights (k, ic/g, oc); transposed, (k, oc, ic/g).
  EXPECT_EQ(run("conv1d:in=1x4,oc=4,k=1,g=2", {1, 10, 100, 1000},
                {1, 2, 3, 4, 5, 6, 7, 8}),
            (Values{51, 62, 7300, 8400}));
  EXPECT_EQ(run("convT1d:in=1x4,oc=4,k=1,g=2", {1, 10, 100, 1000},
                {1, 2, 3, 4, 5, 6, 7, 8}),
            (Values{21, 43, 6500, 8700}));
  // Depthwise with two outputs a channel.
  EXPECT_EQ(run("conv1d:in=1x2,oc=4,k=1,g=2", {1, 10}, {1, 2, 3, 4}),
            (Values{1, 2, 30, 40}));
  // Two images for each of two batch groups.
  EXPECT_EQ(
      run("conv1d:in=1x1,oc=2,k=1,bg=2", {1, 2, 3, 4}, {10, 100}, {}, {}, 4),
      (Values{10, 300, 20, 400}));
}

TEST(Reference, SwappedKernelFeatures) {
  // The axis i has the inputs of both groups, o the output of one.
  EXPECT_EQ(runGeneral("convolution:n=1,k=1,ws=1,ld=1,rd=1,pad=0:0,rev=0,ic=4,"
                       "oc=2,g=2,x=b0f,w=0io,y=b0f,swapped",
                       {1, 10, 100, 1000}, {1, 2, 3, 4}),
            (Values{21, 4300}));
  EXPECT_EQ(runGeneral("convolution:n=1,k=1,ws=1,ld=1,rd=1,pad=0:0,rev=0,ic=2,"
                       "oc=4,g=2,x=b0f,w=0io,y=b0f,swapped",
                       {1, 10}, {1, 2, 3, 4}),
            (Values{1, 2, 30, 40}));
  // Without feature groups it changes nothing, with batch groups neither.
  EXPECT_EQ(runGeneral("convolution:n=1,k=1,ws=1,ld=1,rd=1,pad=0:0,rev=0,ic=1,"
                       "oc=2,bg=2,x=b0f,w=0io,y=b0f,swapped",
                       {1, 2, 3, 4}, {10, 100}, {}, 4),
            (Values{10, 300, 20, 400}));
}

TEST(Reference, AxesInAnyOrder) {
  // x (pixel, channel, image), w (in, tap, out): y = x[.,0,.] + 10*x[.,1,.].
  Values x = {1, 2, 3, 4, 5, 6, 7, 8}, w = {1, 10};
  EXPECT_EQ(runGeneral("convolution:n=2,k=1,ws=1,ld=1,rd=1,pad=0:0,rev=0,ic=2,"
                       "oc=1,x=0fb,w=i0o,y=0fb",
                       x, w, {}, 2),
            (Values{31, 42, 75, 86}));
  EXPECT_EQ(runGeneral("convolution:n=2,k=1,ws=1,ld=1,rd=1,pad=0:0,rev=0,ic=2,"
                       "oc=1,x=0fb,w=o0i,y=bf0",
                       x, w, {}, 2),
            (Values{31, 75, 42, 86}));
}

TEST(Reference, NegativePaddingAndNothing) {
  EXPECT_EQ(run("conv1d:in=5x1,oc=1,k=1,pad=-1:-2", {1, 2, 3, 4, 5}, {1}),
            (Values{2, 3}));
  // Cropped past the end, then padded: only the bias.
  EXPECT_EQ(
      run("conv1d:in=5x1,oc=1,k=1,pad=-6:2,bias", {1, 2, 3, 4, 5}, {1}, {7}),
      (Values{7}));
  EXPECT_EQ(run("conv1d:in=0x1,oc=2,k=1,pad=1,bias", {}, {1, 1}, {7, 8}),
            (Values{7, 8, 7, 8}));
  EXPECT_EQ(
      run("conv1d:in=2x1,oc=1,k=3,pad=valid,bias", {1, 2}, {1, 1, 1}, {7}),
      Values{});
  EXPECT_EQ(run("conv1d:in=2x1,oc=1,k=1", {}, {1}, {}, {}, 0), Values{});
}

TEST(Reference, MaskFollowsTheStoredWeight) {
  // Transposed: stored tap 0 is absent, so each input stamps 0 10 100.
  EXPECT_EQ(run("convT1d:in=2x1,oc=1,k=3,s=2,pad=valid", {1, 2}, {1, 10, 100},
                {}, {}, 1, {0, 1, 1}),
            (Values{0, 10, 100, 20, 200}));
  EXPECT_EQ(run("convT1d:in=2x1,oc=1,k=3,s=2,pad=valid,bias", {1, 2},
                {1, 10, 100}, {3}, {}, 1, {0, 0, 0}),
            (Values{3, 3, 3, 3, 3}));
}

TEST(Reference, BoundGrowsWithASlopeThatIsUsedOnly) {
  Convolution conv = *lower(*parseProblem("conv1d:in=8x2,oc=3,k=3,act=silu"));
  double bound = errorBound(conv, 1);
  conv.activation.slope = 100;
  EXPECT_EQ(errorBound(conv, 1), bound);
  conv.activation.kind = ActivationKind::LeakyRelu;
  EXPECT_GT(errorBound(conv, 1), 10 * bound);
}

TEST(Reference, BoundKnowsWhatIsRounded) {
  Convolution conv = *lower(*parseProblem("conv1d:in=8x2,oc=3,k=3"));
  double bound = errorBound(conv, 1);
  // Products of tf32.
  EXPECT_EQ(errorBound(conv, 1, 0x1p-9), bound + 0x1p-9);
  // Results of 16 bits, summed in f32: half a unit in the last place.
  conv.dtype = DataType::F16;
  EXPECT_GT(errorBound(conv, 1), 0x1p-11);
  EXPECT_LT(errorBound(conv, 1), 0x1p-9);
  conv.dtype = DataType::BF16;
  EXPECT_GT(errorBound(conv, 1), 0x1p-8);
  EXPECT_LT(errorBound(conv, 1), 0x1p-6);
  double plain = errorBound(conv, 1);
  conv.mask.assign(18, 0.5);
  EXPECT_EQ(errorBound(conv, 1), plain + 0x1p-8 * 65 / 64);
}

TEST(Reference, MagnitudeIsTheSumOfAllTerms) {
  Convolution conv =
      *lower(*parseProblem("conv1d:in=2x1,oc=1,k=2,pad=0,bias,residual"));
  ReferenceResult result =
      referenceConvolution(conv, {{1, -2}, {3, 4}, {-5}, {6}}, 1);
  EXPECT_EQ(result.output, Values{3 - 8 - 5 + 6});
  EXPECT_EQ(result.magnitude, Values{3 + 8 + 5 + 6});
}
