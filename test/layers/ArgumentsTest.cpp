//===- ArgumentsTest.cpp - every argument of a layer, right and wrong -*- C++
//-*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "LayerTesting.h"

using namespace convjit;
using namespace convjit::nn;
using testing::ElementsAre;
using Sides = std::vector<PadPair>;

// Errors of type in Python, errors of compilation here.
static_assert(!std::is_constructible_v<Padding, double>);
static_assert(!std::is_constructible_v<Padding, std::vector<double>>);
static_assert(!std::is_convertible_v<double, Sizes>);
static_assert(!std::is_convertible_v<const char *, Sizes>);
static_assert(!std::is_convertible_v<const char *, Parameter>);

TEST(Arguments, Defaults) {
  Conv2d conv = get(tryMake<Conv2d>(
      {.in_size = {8, 9, 3}, .out_channels = 4, .kernel_size = 3}));
  EXPECT_THAT(conv.in_size(), ElementsAre(8, 9, 3));
  EXPECT_THAT(conv.out_size(), ElementsAre(8, 9, 4));
  EXPECT_EQ(conv.in_channels(), 3);
  EXPECT_EQ(conv.out_channels(), 4);
  EXPECT_THAT(conv.kernel_size(), ElementsAre(3, 3));
  EXPECT_THAT(conv.stride(), ElementsAre(1, 1));
  EXPECT_THAT(conv.lhs_dilation(), ElementsAre(1, 1));
  EXPECT_THAT(conv.rhs_dilation(), ElementsAre(1, 1));
  EXPECT_EQ(conv.groups(), 1);
  EXPECT_STREQ(conv.padding_mode(), "SAME");
  EXPECT_THAT(conv.kernel_shape(), ElementsAre(3, 3, 3, 4));
  EXPECT_EQ(conv.weight().shape, conv.kernel_shape());
  EXPECT_FALSE(conv.bias());
  EXPECT_FALSE(conv.gain());
  EXPECT_FALSE(conv.w_mask());
  EXPECT_FALSE(conv.channel_first());
  EXPECT_EQ(conv.name(), "");
  EXPECT_EQ(conv.param_type(), "ParamState");
  EXPECT_EQ(conv.dtype(), DataType::F32);
  EXPECT_EQ(conv.eps(), 0);
}

TEST(Arguments, WeightStandardizationHasTwoMore) {
  ScaledWSConv1d conv = get(tryMake<ScaledWSConv1d>(
      {.in_size = {9, 3}, .out_channels = 4, .kernel_size = 3}));
  EXPECT_EQ(conv.eps(), 1e-4);
  ASSERT_TRUE(conv.gain());
  EXPECT_THAT(conv.gain()->shape, ElementsAre(1, 1, 4));
  EXPECT_THAT(widened(*conv.gain()), testing::Each(1));
  ScaledWSConv1d plain = get(tryMake<ScaledWSConv1d>({.in_size = {9, 3},
                                                      .out_channels = 4,
                                                      .kernel_size = 3,
                                                      .ws_gain = false,
                                                      .eps = 1e-5}));
  EXPECT_FALSE(plain.gain());
  EXPECT_EQ(plain.eps(), 1e-5);
  expectBadInput(
      tryMake<ScaledWSConv1d>(
          {.in_size = {9, 3}, .out_channels = 4, .kernel_size = 3, .eps = 0}),
      {"eps=0", "above 0"});
}

TEST(Arguments, WhatIsKept) {
  ConvTranspose1d layer =
      get(tryMake<ConvTranspose1d>({.in_size = {5, 3},
                                    .out_channels = 2,
                                    .kernel_size = 4,
                                    .stride = 2,
                                    .b_init = ZeroInit{},
                                    .name = "up",
                                    .param_type = "FrozenState"}));
  EXPECT_EQ(layer.name(), "up");
  EXPECT_EQ(layer.param_type(), "FrozenState");
  EXPECT_EQ(layer.text(),
            "ConvTranspose1d(name='up', in_size=(5, 3), out_size=(10, 2), "
            "in_channels=3, out_channels=2, kernel_size=(4,), stride=(2,), "
            "padding='SAME', lhs_dilation=(1,), rhs_dilation=(1,), groups=1, "
            "channel_first=False, bias=True, w_mask=False, dtype=f32, "
            "param_type=FrozenState)");
  EXPECT_EQ(layer.problem(), "convT1d:in=5x3,oc=2,k=4,s=2,bias");
}

TEST(Arguments, Sizes) {
  auto kernel = [](Sizes sizes) {
    return tryMake<Conv2d>({.in_size = {16, 16, 3},
                            .out_channels = 8,
                            .kernel_size = std::move(sizes)});
  };
  EXPECT_THAT(get(kernel(3)).kernel_size(), ElementsAre(3, 3));
  EXPECT_THAT(get(kernel({3})).kernel_size(), ElementsAre(3, 3));
  EXPECT_THAT(get(kernel({3, 5})).kernel_size(), ElementsAre(3, 5));
  expectBadInput(kernel({3, 3, 3}),
                 {"kernel_size=(3, 3, 3)", "one for each of the 2 dimensions"});
  expectBadInput(kernel(std::vector<int64_t>{}), {"kernel_size=()"});
  expectBadInput(kernel(0), {"kernel_size=0", "1 to 16777216"});
  expectBadInput(kernel({3, -1}), {"kernel_size=(3, -1)"});
  auto with = [](Sizes stride, Sizes lhs, Sizes rhs) {
    return tryMake<Conv1d>({.in_size = {16, 3},
                            .out_channels = 8,
                            .kernel_size = 3,
                            .stride = std::move(stride),
                            .padding = 0,
                            .lhs_dilation = std::move(lhs),
                            .rhs_dilation = std::move(rhs)});
  };
  EXPECT_TRUE(with({2}, {3}, {4}));
  expectBadInput(with(0, 1, 1), {"stride=0"});
  expectBadInput(with({2, 2}, 1, 1), {"stride=(2, 2)", "valid: one number"});
  expectBadInput(with(1, 0, 1), {"lhs_dilation=0"});
  expectBadInput(with(1, 1, -3), {"rhs_dilation=-3"});
  expectBadInput(with(1, 1, int64_t(1) << 40), {"rhs_dilation=1099511627776"});
}

template <typename LayerType> static void checkPadding() {
  auto with = [](Padding padding) {
    return tryMake<LayerType>({.in_size = {16, 16, 3},
                               .out_channels = 8,
                               .kernel_size = 3,
                               .padding = std::move(padding)});
  };
  auto sides = [&](Padding padding) {
    LayerType layer = get(with(std::move(padding)));
    EXPECT_STREQ(layer.padding_mode(), "explicit");
    return layer.padding();
  };
  EXPECT_EQ(sides(2), (Sides{{2, 2}, {2, 2}}));
  EXPECT_EQ(sides({1, 2}), (Sides{{1, 1}, {2, 2}}));
  EXPECT_EQ(sides({{1, 1}, {2, 2}}), (Sides{{1, 1}, {2, 2}}));
  EXPECT_EQ(sides({{1, 2}}), (Sides{{1, 2}, {1, 2}}));
  EXPECT_EQ(sides({{-1, 2}, {0, 3}}), (Sides{{-1, 2}, {0, 3}}));
  EXPECT_STREQ(get(with("SAME")).padding_mode(), "SAME");
  EXPECT_STREQ(get(with("VALID")).padding_mode(), "VALID");
  expectBadInput(with({1, 2, 3}), {"padding=(1, 2, 3)", "2, one for each"});
  expectBadInput(with({{1, 1}, {2, 2}, {3, 3}}),
                 {"padding", "3 (low, high) pairs", "1 or 2"});
  expectBadInput(with("FULL"), {"padding='FULL'", "'SAME', 'VALID'"});
  expectBadInput(with("same"), {"padding='same'"});
  expectBadInput(with(Padding::Numbers{}), {"padding=()", "0 numbers"});
  expectBadInput(with(Padding::Pairs{}), {"padding", "0 (low, high) pairs"});
  expectBadInput(with(int64_t(1) << 40), {"padding: 1099511627776"});
}

TEST(Arguments, PaddingOfConv) { checkPadding<Conv2d>(); }
TEST(Arguments, PaddingOfConvTranspose) { checkPadding<ConvTranspose2d>(); }

TEST(Arguments, PaddingInOneDimension) {
  auto sides = [](Padding padding) {
    return get(tryMake<Conv1d>({.in_size = {16, 3},
                                .out_channels = 8,
                                .kernel_size = 3,
                                .padding = std::move(padding)}))
        .padding();
  };
  EXPECT_EQ(sides({1, 2}), (Sides{{1, 2}}));
  EXPECT_EQ(sides({3}), (Sides{{3, 3}}));
  EXPECT_EQ(sides({{1, 2}}), (Sides{{1, 2}}));
}

TEST(Arguments, PaddingInThreeDimensions) {
  Conv3d conv = get(tryMake<Conv3d>({.in_size = {16, 16, 16, 3},
                                     .out_channels = 8,
                                     .kernel_size = 3,
                                     .padding = {1, 2, 3}}));
  EXPECT_EQ(conv.padding(), (Sides{{1, 1}, {2, 2}, {3, 3}}));
}

TEST(Arguments, ModesShowWhatTheyAdd) {
  // a = ceil((ek+s-2)/2) before, the rest after.
  ConvTranspose2d up = get(tryMake<ConvTranspose2d>({.in_size = {5, 5, 3},
                                                     .out_channels = 2,
                                                     .kernel_size = {4, 3},
                                                     .stride = {3, 2}}));
  EXPECT_EQ(up.padding(), (Sides{{3, 2}, {2, 1}}));
  EXPECT_THAT(up.out_size(), ElementsAre(15, 10, 2));
}

TEST(Arguments, InSize) {
  auto with = [](Shape size) {
    return tryMake<Conv2d>(
        {.in_size = std::move(size), .out_channels = 4, .kernel_size = 3});
  };
  expectBadInput(with({8, 3}), {"in_size=(8, 3)", "2 entries", "3"});
  expectBadInput(with({}), {"in_size=()"});
  expectBadInput(with({8, 8, 0}), {"in_size=(8, 8, 0)", "channels of 1"});
  expectBadInput(with({8, -8, 3}), {"in_size=(8, -8, 3)"});
  EXPECT_TRUE(with({0, 8, 3}));
  expectBadInput(tryMake<ConvTranspose2d>(
                     {.in_size = {8, 3}, .out_channels = 4, .kernel_size = 3}),
                 {"in_size=(8, 3)"});
  expectBadInput(tryMake<Conv2d>({.in_size = {8, 8, 3}, .kernel_size = 3}),
                 {"out_channels=0", "1 to"});
  expectBadInput(tryMake<Conv2d>({.in_size = {8, 8, 3}, .out_channels = 4}),
                 {"kernel_size=0"});
  // Within each field's range, and too large together.
  expectBadInput(with({1 << 29, 1 << 29, 1 << 29}), {"2^40"});
}

TEST(Arguments, Groups) {
  auto with = [](int64_t in, int64_t out, int64_t groups) {
    return tryMake<Conv2d>({.in_size = {8, 8, in},
                            .out_channels = out,
                            .kernel_size = 3,
                            .groups = groups});
  };
  expectBadInput(with(16, 30, 4), {"groups=4", "out_channels=30"});
  expectBadInput(with(6, 8, 4), {"groups=4", "in_channels=6"});
  expectBadInput(with(6, 8, 0), {"groups=0", "1 and above"});
  EXPECT_THAT(get(with(16, 8, 4)).kernel_shape(), ElementsAre(3, 3, 4, 8));
  ConvTranspose2d up = get(tryMake<ConvTranspose2d>({.in_size = {8, 8, 16},
                                                     .out_channels = 8,
                                                     .kernel_size = 3,
                                                     .groups = 4}));
  EXPECT_THAT(up.kernel_shape(), ElementsAre(3, 3, 8, 4));
  expectBadInput(tryMake<ConvTranspose2d>({.in_size = {8, 8, 6},
                                           .out_channels = 8,
                                           .kernel_size = 3,
                                           .groups = 4}),
                 {"in_channels=6"});
}

TEST(Arguments, InputDilation) {
  auto with = [](Sizes lhs) {
    return tryMake<ConvTranspose2d>({.in_size = {5, 5, 3},
                                     .out_channels = 2,
                                     .kernel_size = 3,
                                     .stride = {2, 3},
                                     .lhs_dilation = std::move(lhs)});
  };
  EXPECT_TRUE(with(1));
  EXPECT_THAT(get(with({2, 3})).out_size(), ElementsAre(10, 15, 2));
  expectBadInput(with(2), {"lhs_dilation=(2, 2)", "1, or the stride (2, 3)"});
  Conv2d conv = get(tryMake<Conv2d>({.in_size = {5, 4, 3},
                                     .out_channels = 2,
                                     .kernel_size = 3,
                                     .lhs_dilation = {2, 3}}));
  EXPECT_THAT(conv.out_size(), ElementsAre(9, 10, 2));
}

TEST(Arguments, ChannelFirst) {
  ConvTranspose3d up = get(tryMake<ConvTranspose3d>({.in_size = {64, 8, 16, 16},
                                                     .out_channels = 32,
                                                     .kernel_size = 4,
                                                     .stride = 2,
                                                     .b_init = 1,
                                                     .channel_first = true}));
  EXPECT_EQ(up.in_channels(), 64);
  EXPECT_THAT(up.out_size(), ElementsAre(32, 16, 32, 32));
  EXPECT_THAT(up.kernel_shape(), ElementsAre(4, 4, 4, 32, 64));
  EXPECT_THAT(up.bias()->shape, ElementsAre(1, 32, 1, 1, 1));
  Conv2d conv = get(tryMake<Conv2d>({.in_size = {8, 8, 3},
                                     .out_channels = 4,
                                     .kernel_size = 3,
                                     .b_init = 1}));
  EXPECT_THAT(conv.bias()->shape, ElementsAre(1, 1, 4));
}

/// A layer with these parameters; its weight has shape (2, 3, 4).
static Expected<Conv1d> parameters(Parameter weight, Parameter bias = {},
                                   Parameter mask = {}) {
  return tryMake<Conv1d>({.in_size = {5, 3},
                          .out_channels = 4,
                          .kernel_size = 2,
                          .w_init = std::move(weight),
                          .b_init = std::move(bias),
                          .w_mask = std::move(mask)});
}

TEST(Arguments, ParametersFromNumbersArraysAndCallables) {
  EXPECT_THAT(widened(get(parameters(0.5)).weight()), testing::Each(0.5));
  std::vector<double> values(24);
  for (size_t i = 0; i < values.size(); ++i)
    values[i] = static_cast<double>(i);
  Conv1d conv =
      get(parameters(array({2, 3, 4}, values), array({4}, {1, 2, 3, 4}),
                     array({3, 1}, {0, 1, 2})));
  EXPECT_EQ(widened(conv.weight()), values);
  EXPECT_THAT(conv.bias()->shape, ElementsAre(1, 4));
  EXPECT_THAT(widened(*conv.bias()), ElementsAre(1, 2, 3, 4));
  EXPECT_EQ(conv.w_mask()->shape, conv.kernel_shape());
  EXPECT_THAT(widened(*conv.w_mask()),
              ElementsAre(0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 0, 0, 0, 0, 1, 1,
                          1, 1, 2, 2, 2, 2));
  Shape seen;
  Conv1d called = get(parameters(
      [&](const Shape &shape, DataType dtype) -> Expected<Array> {
        seen = shape;
        return zeros(dtype, shape);
      },
      Constant{3}));
  EXPECT_THAT(seen, ElementsAre(2, 3, 4));
  EXPECT_THAT(widened(*called.bias()), testing::Each(3));
}

TEST(Arguments, ParameterErrors) {
  expectBadInput(parameters(std::nullopt), {"w_init is none", "initializer"});
  expectBadInput(parameters(array({2, 3, 5}, std::vector<double>(30))),
                 {"w_init has shape (2, 3, 5)", "(2, 3, 4)"});
  expectBadInput(parameters(array({1, 2, 3, 4}, std::vector<double>(24))),
                 {"w_init has shape (1, 2, 3, 4)"});
  expectBadInput(parameters(1, array({5}, {1, 2, 3, 4, 5})),
                 {"b_init has shape (5,)", "(1, 4)"});
  expectBadInput(parameters(1, {}, array({2, 2}, {1, 2, 3, 4})),
                 {"w_mask has shape (2, 2)", "(2, 3, 4)"});
  expectBadInput(parameters(Array{DataType::F32, {2, 3, 4}, {}}),
                 {"w_init", "0 bytes"});
  expectBadInput(parameters(1, array({4}, {1, 2, 3, 4}, DataType::F64)),
                 {"b_init has dtype f64", "f32"});
  expectBadInput(parameters([](const Shape &, DataType) -> Expected<Array> {
                   return array({2}, {1, 2});
                 }),
                 {"w_init's result", "(2,)", "(2, 3, 4)"});
  expectBadInput(parameters(1,
                            [](const Shape &, DataType) -> Expected<Array> {
                              return badInput("out of ideas");
                            }),
                 {"b_init: out of ideas"});
  expectBadInput(
      Conv1d::create({.in_size = {5, 3}, .out_channels = 4, .kernel_size = 2},
                     nullptr),
      {"kernels is null"});
}

TEST(Arguments, TheWeightDecidesTheType) {
  Conv1d conv = get(parameters(array({4}, {1, 2, 3, 4}, DataType::F64), 1));
  EXPECT_EQ(conv.dtype(), DataType::F64);
  EXPECT_EQ(conv.bias()->dtype, DataType::F64);
  expectBadInput(
      tryMake<Conv1d>({.in_size = {5, 3},
                       .out_channels = 4,
                       .kernel_size = 2,
                       .w_init = array({4}, {1, 2, 3, 4}, DataType::F64),
                       .dtype = DataType::F32}),
      {"w_init has dtype f64", "f32"});
}

// brainstate.random.seed(23), then the layer: mask, weight and bias are drawn
// in this order.
TEST(Arguments, ALayerDrawsAsBrainstatesDoes) {
  NamedArrays wanted = golden("initializers");
  nn::seed(23);
  ConvTranspose2d layer =
      get(tryMake<ConvTranspose2d>({.in_size = {5, 4, 6},
                                    .out_channels = 4,
                                    .kernel_size = {3, 2},
                                    .groups = 2,
                                    .b_init = Uniform{},
                                    .w_mask = [](const Shape &shape, DataType) {
                                      return Uniform{}(shape, DataType::F32);
                                    }}));
  EXPECT_TRUE(sameBits(layer.weight(), wanted.at("layer_weight")));
  EXPECT_TRUE(sameBits(*layer.bias(), wanted.at("layer_bias")));
  EXPECT_EQ(widened(*layer.w_mask()), widened(wanted.at("layer_mask")));
}

TEST(Arguments, SettersCheck) {
  Conv1d conv = get(parameters(1, 2));
  EXPECT_TRUE(conv.setWeight(get(Constant{5}({2, 3, 4}))));
  EXPECT_THAT(widened(conv.weight()), testing::Each(5));
  expectBadInput(conv.setWeight(get(Constant{6}({2, 3, 5}))),
                 {"weight has shape (2, 3, 5)", "(2, 3, 4)"});
  expectBadInput(conv.setWeight(get(Constant{6}({2, 3, 4}, DataType::F64))),
                 {"weight has dtype f64"});
  expectBadInput(conv.setWeight(Array{DataType::F32, {2, 3, 4}, {}}),
                 {"weight", "0 bytes"});
  EXPECT_THAT(widened(conv.weight()), testing::Each(5));
  EXPECT_TRUE(conv.setBias(get(Constant{7}({1, 4}))));
  expectBadInput(conv.setBias(get(Constant{7}({4}))), {"bias has shape (4,)"});
  expectBadInput(conv.setGain(get(Constant{7}({4}))), {"gain", "ws_gain"});
  Conv1d bare = get(parameters(1));
  expectBadInput(bare.setBias(get(Constant{7}({1, 4}))), {"bias", "b_init"});
}

// Errors of what is computed come before any kernel is asked for.
TEST(Arguments, InputsAreChecked) {
  Conv2d conv = get(tryMake<Conv2d>(
      {.in_size = {32, 32, 3}, .out_channels = 16, .kernel_size = 3}));
  auto given = [](Shape shape, DataType dtype = DataType::F32) {
    return zeros(dtype, std::move(shape));
  };
  expectBadInput(conv(given({8, 32, 32, 16})),
                 {"input has shape (8, 32, 32, 16)", "(32, 32, 3)"});
  expectBadInput(conv(given({32, 3})), {"2 axes", "4, or 3 without batch"});
  expectBadInput(conv(given({1, 1, 32, 32, 3})), {"5 axes"});
  expectBadInput(conv(given({32, 32, 3}, DataType::F64)),
                 {"input has dtype f64", "f32"});
  expectBadInput(conv(Array{DataType::F32, {1, 32, 32, 3}, {}}),
                 {"input", "0 bytes"});
  expectBadInput(conv(Array{DataType::F32, {int64_t(1) << 40, 32, 32, 3}, {}}),
                 {"2^44"});
  expectBadInput(conv(Array{DataType::F32, {-1, 32, 32, 3}, {}}), {"input"});
  expectBadInput(conv.inputGradient(given({1, 32, 32, 3})),
                 {"gradOutput has shape (1, 32, 32, 3)", "(32, 32, 16)"});
  expectBadInput(
      conv.weightGradient(given({2, 32, 32, 3}), given({1, 32, 32, 16})),
      {"gradOutput has shape (1, 32, 32, 16)", "(2, 32, 32, 16)"});
  expectBadInput(
      conv.weightGradient(given({1, 32, 32, 3}), given({32, 32, 16})),
      {"gradOutput has shape (32, 32, 16)", "(1, 32, 32, 16)"});
  expectBadInput(conv.biasGradient(given({1, 32, 32, 16})), {"b_init"});
  expectBadInput(conv.gainGradient(given({32, 32, 3}), given({32, 32, 16})),
                 {"ws_gain"});
  auto result = conv(given({1, 32, 32, 3}));
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().message, "no kernel in this test");
}
