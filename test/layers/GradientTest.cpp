//===- GradientTest.cpp - gradients of layers -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "CompilerProvider.h"

#include <cmath>
#include <limits>

using namespace convjit;
using namespace convjit::nn;

static double dot(const Array &a, const Array &b) {
  EXPECT_EQ(a.shape, b.shape);
  std::vector<double> left = widened(a), right = widened(b);
  double sum = 0;
  for (size_t i = 0; i < left.size(); ++i)
    sum += left[i] * right[i];
  return sum;
}

/// Integers in [-4, 4], so that all sums below are exact.
static Array integers(const Shape &shape, int64_t seed,
                      DataType dtype = DataType::F32) {
  std::vector<double> values =
      widened(get(uniform(prngKey(seed), shape, DataType::F64, -4.5, 4.5)));
  for (double &value : values)
    value = std::nearbyint(value);
  return narrowed(values, dtype, shape);
}

// <conv(x), g> = <x, inputGradient(g)> = <w, weightGradient(x, g)>.
TEST(LayerGradient, IsTheAdjoint) {
  ConvTranspose3d layer =
      makeLayer<ConvTranspose3d>({.in_size = {3, 4, 5, 8},
                                  .out_channels = 6,
                                  .kernel_size = {4, 3, 2},
                                  .stride = 2,
                                  .groups = 2,
                                  .w_init = integers({4, 3, 2, 6, 4}, 1)});
  Array x = integers({2, 3, 4, 5, 8}, 2), g = integers({2, 6, 8, 10, 6}, 3);
  double forward = dot(get(layer(x)), g);
  EXPECT_NE(forward, 0);
  EXPECT_EQ(dot(x, get(layer.inputGradient(g))), forward);
  EXPECT_EQ(dot(layer.weight(), get(layer.weightGradient(x, g))), forward);
}

TEST(LayerGradient, OfTheBiasInBothLayouts) {
  for (bool first : {false, true}) {
    Conv2d layer =
        makeLayer<Conv2d>({.in_size = first ? Shape{3, 5, 4} : Shape{5, 4, 3},
                           .out_channels = 2,
                           .kernel_size = 3,
                           .b_init = 1,
                           .channel_first = first});
    Array g = first ? array({2, 5, 4}, std::vector<double>(40, 0))
                    : array({5, 4, 2}, std::vector<double>(40, 0));
    // 1 in the first channel, 2 in the second.
    std::span<float> values = elements<float>(g);
    for (size_t i = 0; i < values.size(); ++i)
      values[i] = static_cast<float>(1 + (first ? i / 20 : i % 2));
    Array gradient = get(layer.biasGradient(g));
    EXPECT_EQ(gradient.shape, layer.bias_shape());
    EXPECT_THAT(widened(gradient), testing::ElementsAre(20, 40));
  }
}

// Central differences of <y, g> in double precision, through standardization
// and mask.
TEST(LayerGradient, ThroughWeightStandardization) {
  ScaledWSConv2d layer =
      makeLayer<ScaledWSConv2d>({.in_size = {4, 5, 4},
                                 .out_channels = 3 * 2,
                                 .kernel_size = {2, 3},
                                 .groups = 2,
                                 .eps = 1e-2,
                                 .w_init = XavierNormal{.seed = 1},
                                 .b_init = 0.5,
                                 .w_mask =
                                     [](const Shape &shape, DataType dtype) {
                                       return Uniform{.seed = 3}(shape, dtype);
                                     },
                                 .dtype = DataType::F64});
  Array gain = get(uniform(prngKey(4), {1, 1, 1, 6}, DataType::F64, 0.5, 2));
  // The first channel's variance is below eps.
  Array weight = layer.weight();
  std::span<double> raw = elements<double>(weight);
  for (size_t i = 0; i < raw.size(); i += 6)
    raw[i] *= 0.01;
  ASSERT_TRUE(layer.setGain(gain));
  ASSERT_TRUE(layer.setWeight(weight));
  Array x = get(normal(prngKey(5), {2, 4, 5, 4}, DataType::F64));
  Array g = get(normal(prngKey(6), {2, 4, 5, 6}, DataType::F64));
  std::vector<double> dw = widened(get(layer.weightGradient(x, g)));
  std::vector<double> dgain = widened(get(layer.gainGradient(x, g)));
  auto loss = [&] { return dot(get(layer(x)), g); };
  constexpr double step = 1e-5;
  for (size_t i = 0; i < raw.size(); ++i) {
    double old = raw[i];
    raw[i] = old + step;
    ASSERT_TRUE(layer.setWeight(weight));
    double above = loss();
    raw[i] = old - step;
    ASSERT_TRUE(layer.setWeight(weight));
    double slope = (above - loss()) / (2 * step);
    raw[i] = old;
    // The difference's own error is about step^2 times a third derivative.
    EXPECT_NEAR(dw[i], slope, 1e-6 * (1 + std::abs(slope))) << i;
  }
  ASSERT_TRUE(layer.setWeight(weight));
  std::span<double> gains = elements<double>(gain);
  for (size_t i = 0; i < gains.size(); ++i) {
    gains[i] += step;
    ASSERT_TRUE(layer.setGain(gain));
    double above = loss();
    gains[i] -= 2 * step;
    ASSERT_TRUE(layer.setGain(gain));
    EXPECT_NEAR(dgain[i], (above - loss()) / (2 * step), 1e-6) << i;
    gains[i] += step;
  }
}

// An absent weight may hold anything; its gradient is zero.
TEST(LayerGradient, AMaskedWeightIsNotRead) {
  Array weight = integers({3, 3, 4, 2}, 1),
        mask = zeros(DataType::F32, {3, 3, 4, 2});
  std::span<float> w = elements<float>(weight), m = elements<float>(mask);
  for (size_t i = 0; i < w.size(); ++i) {
    m[i] = static_cast<float>(i % 3);
    if (i % 3 == 0)
      w[i] = std::numeric_limits<float>::quiet_NaN();
  }
  Conv2d layer = makeLayer<Conv2d>({.in_size = {5, 5, 4},
                                    .out_channels = 2,
                                    .kernel_size = 3,
                                    .w_init = weight,
                                    .w_mask = mask});
  Array x = integers({5, 5, 4}, 2), g = integers({5, 5, 2}, 3);
  for (const Array &result : {get(layer(x)), get(layer.inputGradient(g)),
                              get(layer.weightGradient(x, g))})
    for (double value : widened(result))
      EXPECT_TRUE(std::isfinite(value));
  std::vector<double> dw = widened(get(layer.weightGradient(x, g)));
  for (size_t i = 0; i < dw.size(); i += 3)
    EXPECT_EQ(dw[i], 0);
}

TEST(LayerGradient, OfNothingIsZero) {
  // No images; an input without elements; a kernel larger than its input.
  for (auto [size, kernel, images] :
       {std::tuple{5, 3, 0}, std::tuple{0, 3, 2}, std::tuple{2, 3, 2}}) {
    Conv1d layer = makeLayer<Conv1d>({.in_size = {size, 3},
                                      .out_channels = 4,
                                      .kernel_size = kernel,
                                      .padding = "VALID",
                                      .b_init = 2});
    Shape in{images, size, 3}, out{images, layer.out_size()[0], 4};
    Array x = ones(in), g = ones(out);
    EXPECT_EQ(get(layer(x)).shape, out);
    Array dx = get(layer.inputGradient(g));
    EXPECT_EQ(dx.shape, in);
    EXPECT_THAT(widened(dx), testing::Each(0));
    EXPECT_THAT(widened(get(layer.weightGradient(x, g))), testing::Each(0));
    EXPECT_THAT(widened(get(layer.biasGradient(g))), testing::Each(0));
  }
}
