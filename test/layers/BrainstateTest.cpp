//===- BrainstateTest.cpp - brainstate's examples and tests, restated -*- C++
//-*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The examples in the documentation of brainstate.nn's layers and what its own
// tests (nn/_conv_test.py of 0.5.4) say of them where that needs no JAX:
// shapes, attributes, gradients that are finite. Arguments that are wrong are
// in ArgumentsTest.cpp, initializers in InitializersTest.cpp, numbers in
// LayerGoldenTest.cpp. Its tests of jit, of units and of how Python shows an
// object have no counterpart.
//
//===----------------------------------------------------------------------===//

#include "CompilerProvider.h"

#include <cmath>

using namespace convjit;
using namespace convjit::nn;

namespace {

/// Runs a layer on ones and expects the shape of the output, which out_size
/// says as well.
template <typename LayerType>
LayerType expectShape(typename LayerType::Arguments arguments,
                      const Shape &input, const Shape &output) {
  SCOPED_TRACE(shapeText(input));
  LayerType layer = makeLayer<LayerType>(std::move(arguments));
  Array y = get(layer(ones(input)));
  EXPECT_EQ(y.shape, output);
  Shape each = output;
  if (output.size() > layer.out_size().size())
    each.erase(each.begin());
  EXPECT_EQ(layer.out_size(), each);
  return layer;
}

/// The gradient of sum(layer(x)^2) in x is finite, and so in the parameters.
template <typename LayerType>
void expectFiniteGradients(typename LayerType::Arguments arguments,
                           const Shape &input) {
  LayerType layer = makeLayer<LayerType>(std::move(arguments));
  Array x = get(normal(prngKey(0), input, DataType::F32));
  Array g = get(layer(x));
  for (float &value : elements<float>(g))
    value *= 2;
  InlineExecutor here;
  Array dx = get(layer.inputGradient(g));
  EXPECT_EQ(dx.shape, x.shape);
  ParameterGradients all = get(layer.parameterGradients(x, g, here));
  double sum = 0;
  for (const Array &gradient : {dx, all.weight})
    for (double value : widened(gradient))
      sum += std::abs(value);
  EXPECT_TRUE(std::isfinite(sum));
  EXPECT_GT(sum, 0);
}

} // namespace

TEST(Brainstate, Conv1dExamples) {
  ConvArguments args{.in_size = {28, 3}, .out_channels = 16, .kernel_size = 5};
  expectShape<Conv1d>(args, {2, 28, 3}, {2, 28, 16});
  expectShape<Conv1d>(args, {28, 3}, {28, 16});
  // ceil((100 - 3 + 1) / 2) = 49.
  expectShape<Conv1d>({.in_size = {100, 8},
                       .out_channels = 32,
                       .kernel_size = 3,
                       .stride = 2,
                       .padding = "VALID",
                       .b_init = ZeroInit{}},
                      {1, 100, 8}, {1, 49, 32});
}

TEST(Brainstate, Conv2dExamples) {
  ConvArguments args{
      .in_size = {32, 32, 3}, .out_channels = 64, .kernel_size = 3};
  expectShape<Conv2d>(args, {8, 32, 32, 3}, {8, 32, 32, 64});
  expectShape<Conv2d>(args, {32, 32, 3}, {32, 32, 64});
  expectShape<Conv2d>({.in_size = {224, 224, 3},
                       .out_channels = 128,
                       .kernel_size = {5, 5},
                       .stride = 2,
                       .padding = "VALID"},
                      {224, 224, 3}, {110, 110, 128});
  expectShape<Conv2d>({.in_size = {64, 64, 32},
                       .out_channels = 32,
                       .kernel_size = 3,
                       .groups = 32},
                      {1, 64, 64, 32}, {1, 64, 64, 32});
}

TEST(Brainstate, Conv3dExamples) {
  ConvArguments args{
      .in_size = {16, 16, 16, 1}, .out_channels = 32, .kernel_size = 3};
  expectShape<Conv3d>(args, {4, 16, 16, 16, 1}, {4, 16, 16, 16, 32});
  expectShape<Conv3d>(args, {16, 16, 16, 1}, {16, 16, 16, 32});
  expectShape<Conv3d>(
      {.in_size = {8, 32, 32, 3}, .out_channels = 64, .kernel_size = {3, 3, 3}},
      {4, 8, 32, 32, 3}, {4, 8, 32, 32, 64});
}

TEST(Brainstate, ScaledWSConvExamples) {
  expectShape<ScaledWSConv1d>(
      {.in_size = {100, 16}, .out_channels = 32, .kernel_size = 5},
      {4, 100, 16}, {4, 100, 32});
  expectShape<ScaledWSConv1d>({.in_size = {50, 8},
                               .out_channels = 16,
                               .kernel_size = 3,
                               .ws_gain = false,
                               .eps = 1e-5},
                              {1, 50, 8}, {1, 50, 16});
  expectShape<ScaledWSConv2d>(
      {.in_size = {64, 64, 3}, .out_channels = 32, .kernel_size = 3},
      {8, 64, 64, 3}, {8, 64, 64, 32});
  expectShape<ScaledWSConv2d>({.in_size = {224, 224, 3},
                               .out_channels = 64,
                               .kernel_size = 7,
                               .stride = 2,
                               .padding = "SAME",
                               .ws_gain = true,
                               .b_init = ZeroInit{}},
                              {224, 224, 3}, {112, 112, 64});
  expectShape<ScaledWSConv2d>({.in_size = {32, 32, 128},
                               .out_channels = 128,
                               .kernel_size = 3,
                               .groups = 128,
                               .ws_gain = false},
                              {1, 32, 32, 128}, {1, 32, 32, 128});
  expectShape<ScaledWSConv3d>(
      {.in_size = {8, 16, 16, 3}, .out_channels = 32, .kernel_size = 3},
      {2, 8, 16, 16, 3}, {2, 8, 16, 16, 32});
}

TEST(Brainstate, ConvTransposeExamples) {
  expectShape<ConvTranspose1d>(
      {.in_size = {28, 16}, .out_channels = 8, .kernel_size = 4, .stride = 2},
      {2, 28, 16}, {2, 56, 8});
  ConvArguments plane{.in_size = {32, 32, 64},
                      .out_channels = 32,
                      .kernel_size = 4,
                      .stride = 2};
  expectShape<ConvTranspose2d>(plane, {8, 32, 32, 64}, {8, 64, 64, 32});
  expectShape<ConvTranspose2d>(plane, {32, 32, 64}, {64, 64, 32});
  plane.in_size = {64, 32, 32};
  plane.channel_first = true;
  expectShape<ConvTranspose2d>(plane, {8, 64, 32, 32}, {8, 32, 64, 64});
  ConvArguments video{.in_size = {8, 16, 16, 64},
                      .out_channels = 32,
                      .kernel_size = 4,
                      .stride = 2};
  expectShape<ConvTranspose3d>(video, {4, 8, 16, 16, 64}, {4, 16, 32, 32, 32});
  expectShape<ConvTranspose3d>(video, {8, 16, 16, 64}, {16, 32, 32, 32});
  video.in_size = {64, 8, 16, 16};
  video.channel_first = true;
  expectShape<ConvTranspose3d>(video, {4, 64, 8, 16, 16}, {4, 32, 16, 32, 32});
  expectShape<ConvTranspose3d>({.in_size = {16, 16, 16, 128},
                                .out_channels = 64,
                                .kernel_size = {4, 4, 4},
                                .stride = 2,
                                .padding = "SAME",
                                .b_init = Constant{0}},
                               {16, 16, 16, 128}, {32, 32, 32, 64});
}

TEST(Brainstate, ConvShapes) {
  expectShape<Conv1d>({.in_size = {16, 100},
                       .out_channels = 32,
                       .kernel_size = 5,
                       .channel_first = true},
                      {4, 16, 100}, {4, 32, 100});
  expectShape<Conv1d>({.in_size = {100, 8},
                       .out_channels = 16,
                       .kernel_size = 3,
                       .rhs_dilation = 2},
                      {2, 100, 8}, {2, 100, 16});
  expectShape<Conv1d>(
      {.in_size = {100, 16}, .out_channels = 32, .kernel_size = 3, .groups = 4},
      {2, 100, 16}, {2, 100, 32});
  expectShape<Conv2d>(
      {.in_size = {64, 64, 16}, .out_channels = 32, .kernel_size = {3, 5}},
      {1, 64, 64, 16}, {1, 64, 64, 32});
  expectShape<Conv2d>({.in_size = {64, 64, 3},
                       .out_channels = 32,
                       .kernel_size = 3,
                       .stride = {2, 2},
                       .padding = "VALID"},
                      {1, 64, 64, 3}, {1, 31, 31, 32});
  for (int64_t kernel : {3, 5, 7}) {
    expectShape<Conv2d>(
        {.in_size = {32, 32, 3}, .out_channels = 16, .kernel_size = kernel},
        {1, 32, 32, 3}, {1, 32, 32, 16});
    expectShape<Conv2d>({.in_size = {32, 32, 3},
                         .out_channels = 16,
                         .kernel_size = kernel,
                         .padding = "VALID"},
                        {1, 32, 32, 3}, {1, 33 - kernel, 33 - kernel, 16});
  }
  expectShape<Conv3d>({.in_size = {1, 16, 16, 16},
                       .out_channels = 32,
                       .kernel_size = 3,
                       .channel_first = true},
                      {2, 1, 16, 16, 16}, {2, 32, 16, 16, 16});
  expectShape<ScaledWSConv3d>({.in_size = {3, 8, 16, 16},
                               .out_channels = 32,
                               .kernel_size = 3,
                               .channel_first = true},
                              {2, 3, 8, 16, 16}, {2, 32, 8, 16, 16});
}

TEST(Brainstate, ConvTransposeShapes) {
  expectShape<ConvTranspose1d>(
      {.in_size = {28, 16}, .out_channels = 8, .kernel_size = 4}, {28, 16},
      {28, 8});
  expectShape<ConvTranspose1d>(
      {.in_size = {50, 8}, .out_channels = 16, .kernel_size = 3, .b_init = 0},
      {4, 50, 8}, {4, 50, 16});
  // VALID: in*stride + max(k-stride, 0).
  expectShape<ConvTranspose2d>({.in_size = {16, 16, 32},
                                .out_channels = 16,
                                .kernel_size = 4,
                                .stride = 2,
                                .padding = "VALID"},
                               {2, 16, 16, 32}, {2, 34, 34, 16});
  expectShape<ConvTranspose2d>({.in_size = {16, 16, 32},
                                .out_channels = 32,
                                .kernel_size = 3,
                                .groups = 4},
                               {2, 16, 16, 32}, {2, 16, 16, 32});
  ConvTranspose2d rectangular = expectShape<ConvTranspose2d>(
      {.in_size = {16, 16, 32}, .out_channels = 16, .kernel_size = {3, 5}},
      {2, 16, 16, 32}, {2, 16, 16, 16});
  EXPECT_EQ(rectangular.kernel_shape(), (Shape{3, 5, 16, 32}));
  ConvTranspose1d grouped = makeLayer<ConvTranspose1d>(
      {.in_size = {28, 16}, .out_channels = 8, .kernel_size = 4, .groups = 2});
  EXPECT_EQ(grouped.kernel_shape(), (Shape{4, 8, 8}));
}

// The lengths that jax.lax.conv_transpose gives.
TEST(Brainstate, ConvTransposeLengths) {
  for (int64_t k : {2, 3, 4, 5})
    for (int64_t s : {1, 2, 3})
      for (const char *padding : {"SAME", "VALID"}) {
        ConvTranspose1d layer =
            makeLayer<ConvTranspose1d>({.in_size = {7, 2},
                                        .out_channels = 3,
                                        .kernel_size = k,
                                        .stride = s,
                                        .padding = padding});
        int64_t more = padding[0] == 'V' ? std::max<int64_t>(k - s, 0) : 0;
        EXPECT_EQ(layer.out_size(), (Shape{7 * s + more, 3}));
      }
}

TEST(Brainstate, ABiasInEitherLayout) {
  auto last = [](const Layer &layer, const Shape &input) {
    return get(layer(ones(input)));
  };
  ConvArguments args{.in_size = {3, 8, 8},
                     .out_channels = 4,
                     .kernel_size = 3,
                     .w_init = 0,
                     .b_init = array({1, 4, 1, 1}, {1, 2, 3, 4}),
                     .channel_first = true};
  Array y = last(makeLayer<Conv2d>(args), {2, 3, 8, 8});
  EXPECT_EQ(y.shape, (Shape{2, 4, 8, 8}));
  std::vector<double> values = widened(y);
  for (size_t i = 0; i < values.size(); ++i)
    ASSERT_EQ(values[i], static_cast<double>(i / 64 % 4 + 1));
  expectShape<Conv1d>({.in_size = {8, 50},
                       .out_channels = 16,
                       .kernel_size = 3,
                       .b_init = Constant{1},
                       .channel_first = true},
                      {2, 8, 50}, {2, 16, 50});
  expectShape<Conv3d>({.in_size = {2, 8, 8, 8},
                       .out_channels = 4,
                       .kernel_size = 3,
                       .b_init = Constant{1},
                       .channel_first = true},
                      {2, 2, 8, 8, 8}, {2, 4, 8, 8, 8});
  expectShape<ScaledWSConv2d>({.in_size = {3, 8, 8},
                               .out_channels = 4,
                               .kernel_size = 3,
                               .b_init = Constant{1},
                               .channel_first = true},
                              {2, 3, 8, 8}, {2, 4, 8, 8});
  expectShape<ConvTranspose2d>({.in_size = {16, 8, 8},
                                .out_channels = 8,
                                .kernel_size = 3,
                                .stride = 2,
                                .b_init = Constant{1},
                                .channel_first = true},
                               {2, 16, 8, 8}, {2, 8, 16, 16});
  expectShape<ConvTranspose1d>({.in_size = {16, 28},
                                .out_channels = 8,
                                .kernel_size = 4,
                                .stride = 2,
                                .b_init = Constant{1},
                                .channel_first = true},
                               {2, 16, 28}, {2, 8, 56});
}

TEST(Brainstate, AMaskOfZerosGivesZeros) {
  auto allZero = [](const Layer &layer, const Shape &input) {
    EXPECT_THAT(widened(get(layer(ones(input)))), testing::Each(0));
  };
  allZero(makeLayer<Conv2d>({.in_size = {16, 16, 3},
                             .out_channels = 8,
                             .kernel_size = 3,
                             .w_mask = zeros(DataType::F32, {3, 3, 3, 8})}),
          {1, 16, 16, 3});
  allZero(makeLayer<ConvTranspose2d>({.in_size = {8, 8, 16},
                                      .out_channels = 8,
                                      .kernel_size = 3,
                                      .w_mask = 0}),
          {1, 8, 8, 16});
  allZero(makeLayer<ScaledWSConv1d>({.in_size = {20, 3},
                                     .out_channels = 8,
                                     .kernel_size = 5,
                                     .w_mask = ZeroInit{}}),
          {1, 20, 3});
}

TEST(Brainstate, AMaskOfOnesChangesNothing) {
  ConvArguments args{.in_size = {16, 16, 3},
                     .out_channels = 8,
                     .kernel_size = 3,
                     .w_init = get(XavierNormal{.seed = 1}({3, 3, 3, 8}))};
  Array plain = get(makeLayer<Conv2d>(args)(ones({1, 16, 16, 3})));
  args.w_mask = 1;
  EXPECT_TRUE(
      sameBits(get(makeLayer<Conv2d>(args)(ones({1, 16, 16, 3}))), plain));
}

TEST(Brainstate, GradientsAreFinite) {
  expectFiniteGradients<Conv1d>(
      {.in_size = {20, 4}, .out_channels = 8, .kernel_size = 3}, {2, 20, 4});
  expectFiniteGradients<Conv2d>(
      {.in_size = {12, 12, 3}, .out_channels = 8, .kernel_size = 3},
      {2, 12, 12, 3});
  expectFiniteGradients<Conv3d>(
      {.in_size = {6, 6, 6, 2}, .out_channels = 4, .kernel_size = 3},
      {1, 6, 6, 6, 2});
  expectFiniteGradients<ScaledWSConv2d>(
      {.in_size = {12, 12, 3}, .out_channels = 8, .kernel_size = 3},
      {2, 12, 12, 3});
  expectFiniteGradients<ConvTranspose1d>(
      {.in_size = {20, 4}, .out_channels = 8, .kernel_size = 4, .stride = 2},
      {2, 20, 4});
}

TEST(Brainstate, TheSameInputGivesTheSameOutput) {
  ConvTranspose2d layer = makeLayer<ConvTranspose2d>(
      {.in_size = {16, 16, 32}, .out_channels = 16, .kernel_size = 3});
  Array x = get(normal(prngKey(1), {2, 16, 16, 32}, DataType::F32));
  EXPECT_TRUE(sameBits(get(layer(x)), get(layer(x))));
}
