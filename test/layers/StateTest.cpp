//===- StateTest.cpp - what a layer keeps between calls -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "CompilerProvider.h"

#include <atomic>
#include <thread>

using namespace convjit;
using namespace convjit::nn;

namespace {

std::atomic<int> packings;
ConvjitPackFn realPack;
void countedPack(const void *weights, void *packed) {
  ++packings;
  realPack(weights, packed);
}

/// Counts what is asked of it, and how often its only kernel packs.
class CountingProvider final : public KernelProvider {
public:
  explicit CountingProvider(bool countPackings = false)
      : countPackings(countPackings) {}

  Expected<std::shared_ptr<const Kernel>>
  kernel(const Convolution &conv) override {
    ++asked;
    auto made = get(compiled()->kernel(conv));
    if (!countPackings)
      return made;
    Kernel counted = *made;
    realPack = counted.pack;
    counted.pack = countedPack;
    return std::make_shared<const Kernel>(std::move(counted));
  }
  std::atomic<int> asked = 0;

private:
  bool countPackings;
};

} // namespace

TEST(LayerState, AWeightIsPackedOnce) {
  packings = 0;
  auto provider = std::make_shared<CountingProvider>(/*countPackings=*/true);
  Conv2d layer = get(Conv2d::create(
      {.in_size = {5, 4, 3}, .out_channels = 2, .kernel_size = 3, .w_init = 1},
      provider));
  EXPECT_EQ(provider->asked, 0);
  Array x = ones({1, 5, 4, 3});
  Array first = get(layer(x));
  EXPECT_TRUE(sameBits(get(layer(x)), first));
  ASSERT_TRUE(layer.prepare());
  EXPECT_EQ(provider->asked, 1);
  EXPECT_EQ(packings, 1);
  // A new weight is packed anew, for the same kernel.
  ASSERT_TRUE(layer.setWeight(get(Constant{2}({3, 3, 3, 2}))));
  std::vector<double> doubled = widened(first);
  for (double &value : doubled)
    value *= 2;
  EXPECT_TRUE(
      sameBits(get(layer(x)), narrowed(doubled, DataType::F32, first.shape)));
  EXPECT_EQ(provider->asked, 1);
  EXPECT_EQ(packings, 2);
}

TEST(LayerState, EverythingFollowsTheWeight) {
  ScaledWSConvArguments arguments{.in_size = {5, 4, 3},
                                  .out_channels = 2,
                                  .kernel_size = 3,
                                  .w_init = XavierNormal{.seed = 1},
                                  .b_init = 0};
  ScaledWSConv2d layer = makeLayer<ScaledWSConv2d>(arguments);
  Array x = get(normal(prngKey(2), {5, 4, 3}, DataType::F32));
  Array g = get(normal(prngKey(3), {5, 4, 2}, DataType::F32));
  Array y = get(layer(x)), dx = get(layer.inputGradient(g));
  NamedArrays other = get(makeLayer<ScaledWSConv2d>(arguments).parameters());
  ASSERT_TRUE(layer.setParameters(other));
  EXPECT_FALSE(sameBits(get(layer(x)), y));
  EXPECT_FALSE(sameBits(get(layer.inputGradient(g)), dx));
  y = get(layer(x)), dx = get(layer.inputGradient(g));
  ASSERT_TRUE(layer.setGain(array({1, 1, 1, 2}, {2, 3})));
  EXPECT_FALSE(sameBits(get(layer(x)), y));
  EXPECT_FALSE(sameBits(get(layer.inputGradient(g)), dx));
  y = get(layer(x));
  ASSERT_TRUE(layer.setBias(array({1, 1, 2}, {2, 3})));
  EXPECT_FALSE(sameBits(get(layer(x)), y));
}

TEST(LayerState, ManyThreadsCallOneLayer) {
  auto provider = std::make_shared<CountingProvider>();
  ConvTranspose2d layer = get(ConvTranspose2d::create(
      {.in_size = {5, 4, 3}, .out_channels = 2, .kernel_size = 3, .stride = 2},
      provider));
  Array x = ones({5, 4, 3}), g = ones({10, 8, 2});
  std::vector<Array> outputs(8), gradients(8);
  std::vector<std::thread> threads;
  for (size_t i = 0; i < outputs.size(); ++i)
    threads.emplace_back([&, i] {
      outputs[i] = get(layer(x));
      gradients[i] = get(layer.weightGradient(x, g));
    });
  for (std::thread &thread : threads)
    thread.join();
  for (size_t i = 1; i < outputs.size(); ++i) {
    EXPECT_TRUE(sameBits(outputs[i], outputs[0]));
    EXPECT_TRUE(sameBits(gradients[i], gradients[0]));
  }
  EXPECT_EQ(provider->asked, 2);
}

TEST(LayerState, StridedTensors) {
  Conv2d layer = makeLayer<Conv2d>(
      {.in_size = {5, 4, 3}, .out_channels = 2, .kernel_size = {3, 2}});
  Array x = get(normal(prngKey(2), {2, 5, 4, 3}, DataType::F32));
  Array y = get(layer(x));
  // Channels first in memory, and an output with gaps in it.
  Array first = transposed(x, {0, 3, 1, 2});
  TensorView input =
      TensorView::contiguous(first.data.data(), first.dtype, first.shape)
          .permuted({0, 2, 3, 1});
  Array wide = zeros(DataType::F32, {2, 5, 4, 5});
  TensorView output =
      TensorView::contiguous(wide.data.data(), wide.dtype, wide.shape)
          .sliced(3, 1, 5, 2);
  InlineExecutor here;
  ASSERT_TRUE(layer.run(input, output, here));
  Array got = zeros(DataType::F32, y.shape);
  ASSERT_TRUE(copyElements(
      output, TensorView::contiguous(got.data.data(), got.dtype, got.shape)));
  EXPECT_TRUE(sameBits(got, y));
  // The gaps are left alone.
  std::span<float> all = elements<float>(wide);
  for (size_t i = 0; i < all.size(); i += 5)
    EXPECT_EQ(all[i], 0);
  Array direct = zeros(DataType::F32, y.shape);
  ASSERT_TRUE(layer.run(
      TensorView::contiguous(x.data.data(), x.dtype, x.shape),
      TensorView::contiguous(direct.data.data(), direct.dtype, direct.shape),
      here));
  EXPECT_TRUE(sameBits(direct, y));
  expectBadInput(
      layer.run(input, TensorView::contiguous(got.data.data(), got.dtype, {2}),
                here),
      {"output has shape (2,)", "(2, 5, 4, 2)"});
}

TEST(LayerState, MovesKeepIt) {
  Conv1d layer = makeLayer<Conv1d>(
      {.in_size = {5, 3}, .out_channels = 4, .kernel_size = 3});
  Array y = get(layer(ones({5, 3})));
  std::vector<Conv1d> layers;
  layers.push_back(std::move(layer));
  EXPECT_TRUE(sameBits(get(layers[0](ones({5, 3}))), y));
}
