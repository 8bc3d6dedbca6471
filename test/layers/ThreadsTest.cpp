//===- ThreadsTest.cpp - one layer, many threads -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// With kernels that do nothing, so that this runs under ThreadSanitizer.
//
//===----------------------------------------------------------------------===//

#include "LayerTesting.h"

#include <atomic>
#include <thread>

using namespace convjit;
using namespace convjit::nn;

namespace {

std::atomic<int> packings;

class IdleKernels final : public KernelProvider {
public:
  Expected<std::shared_ptr<const Kernel>>
  kernel(const Convolution &conv) override {
    ++asked;
    auto kernel = std::make_shared<Kernel>();
    kernel->conv = conv;
    kernel->run = [](const ConvjitKernelArgs *, int64_t, int64_t) {};
    kernel->pack = [](const void *, void *) { ++packings; };
    kernel->tasksPerImage = 4;
    return std::shared_ptr<const Kernel>(std::move(kernel));
  }
  std::atomic<int> asked = 0;
};

/// Fails each time but counts.
class NeverKernels final : public KernelProvider {
public:
  Expected<std::shared_ptr<const Kernel>> kernel(const Convolution &) override {
    ++asked;
    return environmentError("no kernel today");
  }
  int asked = 0;
};

} // namespace

TEST(LayerThreads, OneKernelAndOnePackingEach) {
  packings = 0;
  auto kernels = std::make_shared<IdleKernels>();
  ScaledWSConv1d layer = get(ScaledWSConv1d::create(
      {.in_size = {5, 3}, .out_channels = 4, .kernel_size = 3, .b_init = 1},
      kernels));
  Array x = zeros(DataType::F32, {2, 5, 3}),
        g = zeros(DataType::F32, {2, 5, 4});
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i)
    threads.emplace_back([&] {
      ThreadPool pool(2);
      for (int round = 0; round < 20; ++round) {
        get(layer(x, pool));
        get(layer.inputGradient(g, pool));
      }
      get(layer.parameterGradients(x, g, pool));
      get(XavierNormal{}({3, 4}));
    });
  for (std::thread &thread : threads)
    thread.join();
  EXPECT_EQ(kernels->asked, 3);
  // The weight's gradient packs the gradient of each image in each call.
  EXPECT_EQ(packings, 2 + 8 * 2);
}

TEST(LayerThreads, AKernelThatFailedIsAskedForAgain) {
  auto kernels = std::make_shared<NeverKernels>();
  Conv1d layer = get(Conv1d::create(
      {.in_size = {5, 3}, .out_channels = 4, .kernel_size = 3}, kernels));
  for (int i = 0; i < 2; ++i) {
    Status prepared = layer.prepare();
    ASSERT_FALSE(prepared);
    EXPECT_EQ(prepared.error().message, "no kernel today");
    EXPECT_EQ(prepared.error().kind, ErrorKind::Environment);
  }
  EXPECT_EQ(kernels->asked, 2);
}
