//===- ProblemTest.cpp - problem strings -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "convjit/Problem.h"
#include "RandomConvolution.h"

#include <gtest/gtest.h>

#include <cmath>

using namespace convjit;

static Problem parsed(const char *text) {
  Expected<Problem> problem = parseProblem(text);
  EXPECT_TRUE(problem) << text << ": " << problem.error().message;
  return problem ? *problem : Problem();
}

TEST(Problem, EveryFieldIsRead) {
  Problem p = parsed("conv3d:in=9x8x7x6,oc=4,k=3x1x2,s=2x1x3,d=1x2x1,ld=2,g=2,"
                     "pad=0:1x-1:2x3,dtype=f64,bias,residual,"
                     "act=leaky_relu:0.25");
  EXPECT_EQ(p.operation, Operation::Conv);
  EXPECT_EQ(p.rank, 3);
  EXPECT_EQ(p.inSpatial, (std::vector<int64_t>{9, 8, 7}));
  EXPECT_EQ(p.inChannels, 6);
  EXPECT_EQ(p.outChannels, 4);
  EXPECT_EQ(p.kernel, (std::vector<int64_t>{3, 1, 2}));
  EXPECT_EQ(p.stride, (std::vector<int64_t>{2, 1, 3}));
  EXPECT_EQ(p.dilation, (std::vector<int64_t>{1, 2, 1}));
  EXPECT_EQ(p.inputDilation, (std::vector<int64_t>{2, 2, 2}));
  EXPECT_EQ(p.groups, 2);
  EXPECT_EQ(p.paddingMode, PaddingMode::Explicit);
  EXPECT_EQ(p.padding, (std::vector<PadPair>{{0, 1}, {-1, 2}, {3, 3}}));
  EXPECT_EQ(p.dtype, DataType::F64);
  EXPECT_TRUE(p.bias);
  EXPECT_TRUE(p.residual);
  EXPECT_EQ(p.activation.kind, ActivationKind::LeakyRelu);
  EXPECT_EQ(p.activation.slope, 0.25);
}

TEST(Problem, ChannelsFirstPutsChannelsFirst) {
  Problem p = parsed("convT2d:in=3x8x9,oc=4,k=2,layout=channels_first");
  EXPECT_EQ(p.inChannels, 3);
  EXPECT_EQ(p.inSpatial, (std::vector<int64_t>{8, 9}));
}

TEST(Problem, EachFieldAlone) {
  const std::string base = "conv2d:in=8x9x4,oc=6,k=3";
  const Problem defaults = parsed(base.c_str());
  auto expect = [&](const char *field, auto change) {
    Problem expected = defaults;
    change(expected);
    EXPECT_NE(expected, defaults) << field;
    EXPECT_EQ(parsed((base + "," + field).c_str()), expected) << field;
  };
  using P = Problem &;
  expect("s=2", [](P p) { p.stride = {2, 2}; });
  expect("s=2x3", [](P p) { p.stride = {2, 3}; });
  expect("d=2x1", [](P p) { p.dilation = {2, 1}; });
  expect("ld=1x3", [](P p) { p.inputDilation = {1, 3}; });
  expect("g=2", [](P p) { p.groups = 2; });
  expect("bg=3", [](P p) { p.batchGroups = 3; });
  expect("pad=valid", [](P p) { p.paddingMode = PaddingMode::Valid; });
  auto pads = [](std::vector<PadPair> pairs) {
    return [pairs](P p) {
      p.paddingMode = PaddingMode::Explicit;
      p.padding = pairs;
    };
  };
  expect("pad=0", pads({{0, 0}, {0, 0}}));
  expect("pad=1x2", pads({{1, 1}, {2, 2}}));
  expect("pad=1:2", pads({{1, 2}, {1, 2}}));
  expect("pad=1:2x0", pads({{1, 2}, {0, 0}}));
  expect("pad=-1x-2:-3", pads({{-1, -1}, {-2, -3}}));
  expect("dtype=f64", [](P p) { p.dtype = DataType::F64; });
  expect("dtype=f16", [](P p) { p.dtype = DataType::F16; });
  expect("dtype=bf16", [](P p) { p.dtype = DataType::BF16; });
  expect("grad=input", [](P p) { p.gradient = Gradient::Input; });
  expect("grad=weight", [](P p) { p.gradient = Gradient::Weight; });
  expect("bias", [](P p) { p.bias = true; });
  expect("residual", [](P p) { p.residual = true; });
  expect("mask=a/b=c.npy", [](P p) { p.mask = "a/b=c.npy"; });
  std::pair<const char *, Activation> activations[] = {
      {"act=relu", {ActivationKind::Relu, 0.01}},
      {"act=leaky_relu", {ActivationKind::LeakyRelu, 0.01}},
      {"act=leaky_relu:-2e-3", {ActivationKind::LeakyRelu, -0.002}},
      {"act=sigmoid", {ActivationKind::Sigmoid, 0.01}},
      {"act=tanh", {ActivationKind::Tanh, 0.01}},
      {"act=silu", {ActivationKind::Silu, 0.01}},
      {"act=gelu", {ActivationKind::Gelu, 0.01}},
      {"act=gelu_tanh", {ActivationKind::GeluTanh, 0.01}}};
  for (auto [field, activation] : activations)
    expect(field, [&](P p) { p.activation = activation; });
}

TEST(Problem, FieldsInAnyOrder) {
  std::vector<std::string> fields = {
      "in=4x9x8", "oc=6",       "k=3x2",
      "s=2x1",    "d=1x2",      "ld=2",
      "g=2",      "bg=1",       "pad=1:2x0",
      "bias",     "residual",   "dtype=f64",
      "act=relu", "mask=m.npy", "layout=channels_first"};
  auto joined = [&] {
    std::string text = "conv2d:";
    for (const std::string &field : fields)
      text += (text.back() == ':' ? "" : ",") + field;
    return text;
  };
  const Problem expected = parsed(joined().c_str());
  Random random(1);
  for (int round = 0; round < 300; ++round) {
    for (size_t i = fields.size(); i > 1; --i)
      std::swap(
          fields[i - 1],
          fields[static_cast<size_t>(random.below(static_cast<int64_t>(i)))]);
    ASSERT_EQ(parsed(joined().c_str()), expected) << joined();
  }
}

TEST(Problem, DefaultsAreOnesAndSame) {
  Problem p = parsed("convT1d:in=8x3,oc=4,k=2");
  EXPECT_EQ(p.operation, Operation::ConvTranspose);
  EXPECT_EQ(p.stride, (std::vector<int64_t>{1}));
  EXPECT_EQ(p.dilation, (std::vector<int64_t>{1}));
  EXPECT_EQ(p.paddingMode, PaddingMode::Same);
  EXPECT_EQ(p.layout, Layout::ChannelsLast);
  EXPECT_EQ(p.dtype, DataType::F32);
  EXPECT_FALSE(p.bias);
  EXPECT_FALSE(p.residual);
  EXPECT_EQ(p.inputDilation, (std::vector<int64_t>{1}));
  EXPECT_EQ(p.groups, 1);
  EXPECT_EQ(p.batchGroups, 1);
  EXPECT_EQ(p.gradient, Gradient::None);
  EXPECT_EQ(p.activation, Activation());
  EXPECT_TRUE(p.padding.empty());
  EXPECT_TRUE(p.mask.empty());
}

TEST(Problem, SlopeCountsWhereItIsUsed) {
  using A = Activation;
  for (ActivationKind kind :
       {ActivationKind::None, ActivationKind::Relu, ActivationKind::Sigmoid,
        ActivationKind::Tanh, ActivationKind::Silu, ActivationKind::Gelu,
        ActivationKind::GeluTanh}) {
    EXPECT_EQ((A{kind, 0.01}), (A{kind, 7})) << name(kind);
    EXPECT_EQ((A{kind, 0.01}), (A{kind, std::nan("")})) << name(kind);
    EXPECT_NE((A{kind, 0.01}), (A{ActivationKind::LeakyRelu, 0.01}));
    // Its text, which leaves the slope out, reads back as the same layer.
    Problem problem = parsed("conv1d:in=8x8,oc=4,k=3");
    problem.activation = {kind, 7};
    EXPECT_EQ(parsed(printProblem(problem).c_str()), problem) << name(kind);
  }
  EXPECT_NE((A{ActivationKind::Relu}), (A{ActivationKind::Tanh}));
  EXPECT_EQ((A{ActivationKind::LeakyRelu, 7}),
            (A{ActivationKind::LeakyRelu, 7}));
  EXPECT_NE((A{ActivationKind::LeakyRelu, 7}),
            (A{ActivationKind::LeakyRelu, 8}));
}

TEST(Problem, PrintingIsCanonical) {
  std::pair<const char *, const char *> cases[] = {
      {"convT3d:s=2x2x2,k=4x4x4,oc=32,in=8x16x16x64",
       "convT3d:in=8x16x16x64,oc=32,k=4,s=2"},
      {"conv2d:act=relu,bias,in=3x224x224,layout=channels_first,oc=64,pad=3:3,"
       "k=7,s=2",
       "conv2d:in=3x224x224,oc=64,k=7,s=2,pad=3,layout=channels_first,bias,"
       "act=relu"},
      {"conv1d:in=8x4,oc=4,k=3,pad=same,d=1,g=1,dtype=f32,act=none,"
       "layout=channels_last",
       "conv1d:in=8x4,oc=4,k=3"},
      {"convT2d:in=8x8x4,oc=4,k=3,pad=1:2x0",
       "convT2d:in=8x8x4,oc=4,k=3,pad=1:2x0"},
      {"convT2d:in=8x8x4,oc=4,k=3,pad=1:2x1:2,act=leaky_relu:0.01",
       "convT2d:in=8x8x4,oc=4,k=3,pad=1:2,act=leaky_relu"},
      {"conv1d:in=8x4,oc=4,k=3,mask=m.npy,grad=input",
       "conv1d:in=8x4,oc=4,k=3,grad=input,mask=m.npy"},
      {"conv1d:in=8x4,oc=4,k=3,mask=m.npy,grad=weight",
       "conv1d:in=8x4,oc=4,k=3,grad=weight,mask=m.npy"},
      {"convT1d:in=8x4,oc=4,k=3,grad=weight",
       "convT1d:in=8x4,oc=4,k=3,grad=weight"}};
  for (auto [text, canonical] : cases) {
    Expected<Problem> problem = parseProblem(text);
    EXPECT_EQ(static_cast<bool>(problem), canonical != nullptr) << text;
    if (problem && canonical)
      EXPECT_EQ(printProblem(*problem), canonical);
  }
}

TEST(Problem, RoundTripOfRandomProblems) {
  for (uint64_t seed = 0; seed < 10000; ++seed) {
    Random random(seed);
    Problem problem = randomProblem(random);
    std::string text = printProblem(problem);
    Expected<Problem> again = parseProblem(text);
    ASSERT_TRUE(again) << "seed " << seed << ": " << text << ": "
                       << again.error().message;
    ASSERT_EQ(*again, problem) << "seed " << seed << ": " << text;
    ASSERT_EQ(printProblem(*again), text);
  }
}
