//===- KernelTableTest.cpp - kernels in memory -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "KernelTable.h"

#include <gtest/gtest.h>

#include <chrono>
#include <cmath>
#include <new>
#include <thread>
#include <vector>

using namespace convjit;

namespace {

Convolution layer(int64_t channels) {
  return *lower(*parseProblem("conv2d:in=7x9x3,oc=" + std::to_string(channels) +
                              ",k=3x2"));
}

/// A kernel that says which layer it is of.
Expected<Kernel> fake(const Convolution &conv) {
  Kernel kernel;
  kernel.conv = conv;
  kernel.tasksPerImage = conv.outChannels;
  return kernel;
}

TEST(KernelTable, MakesEachKernelOnceForAnyNumberOfThreads) {
  constexpr int threads = 32, specs = 1000;
  KernelTable table;
  std::vector<Convolution> layers;
  for (int i = 0; i < specs; ++i)
    layers.push_back(layer(i + 1));
  std::vector<std::atomic<int>> made(specs), flying(specs);
  auto make = [&](const Convolution &conv) {
    auto index = static_cast<size_t>(conv.outChannels - 1);
    EXPECT_EQ(flying[index].fetch_add(1), 0);
    ++made[index];
    std::this_thread::yield();
    --flying[index];
    return fake(conv);
  };
  std::vector<std::vector<SharedKernel>> seen(threads);
  std::vector<std::thread> pool;
  for (int t = 0; t < threads; ++t)
    pool.emplace_back([&, t] {
      // Neighbours walk in step; each starts elsewhere.
      for (int i = 0; i < specs; ++i) {
        auto index = static_cast<size_t>((i + t / 8 * 250) % specs);
        if (t % 2)
          if (SharedKernel kernel = table.find(layers[index]))
            EXPECT_EQ(kernel->conv, layers[index]);
        Expected<SharedKernel> kernel = table.get(layers[index], make);
        ASSERT_TRUE(kernel);
        EXPECT_EQ((*kernel)->tasksPerImage, layers[index].outChannels);
        seen[static_cast<size_t>(t)].push_back(*kernel);
      }
    });
  for (std::thread &thread : pool)
    thread.join();
  for (std::atomic<int> &count : made)
    ASSERT_EQ(count, 1);
  EXPECT_EQ(table.size(), size_t(specs));
  for (int t = 1; t < 8; ++t)
    EXPECT_EQ(seen[static_cast<size_t>(t)], seen[0]);
}

TEST(KernelTable, DoesNotWaitForAKernelThatIsBeingMadeUnlessAsked) {
  KernelTable table;
  std::atomic<bool> started = false, finish = false;
  std::thread maker([&] {
    (void)table.get(layer(5), [&](const Convolution &conv) {
      started = true;
      while (!finish)
        std::this_thread::yield();
      return fake(conv);
    });
  });
  while (!started)
    std::this_thread::yield();
  EXPECT_EQ(table.find(layer(5)), nullptr);
  // Another layer is not held up either.
  EXPECT_TRUE(table.get(layer(6), fake));
  std::atomic<bool> waited = false;
  std::thread waiter([&] {
    Expected<SharedKernel> kernel = table.get(layer(5), [](const auto &) {
      return Expected<Kernel>(internalError("made twice"));
    });
    EXPECT_TRUE(kernel);
    waited = true;
  });
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  EXPECT_FALSE(waited);
  // What is being made survives this.
  table.clear();
  EXPECT_EQ(table.find(layer(6)), nullptr);
  finish = true;
  maker.join();
  waiter.join();
  EXPECT_NE(table.find(layer(5)), nullptr);
}

TEST(KernelTable, GivesAnErrorToAllWhoWaitAndTriesAgain) {
  KernelTable table;
  std::atomic<int> calls = 0, failed = 0;
  auto make = [&](const Convolution &) {
    ++calls;
    std::this_thread::sleep_for(std::chrono::milliseconds(30));
    return Expected<Kernel>(badInput("no such kernel"));
  };
  std::vector<std::thread> pool;
  for (int t = 0; t < 8; ++t)
    pool.emplace_back([&] {
      Expected<SharedKernel> kernel = table.get(layer(3), make);
      failed += !kernel && kernel.error().message == "no such kernel" &&
                kernel.error().kind == ErrorKind::BadInput;
    });
  for (std::thread &thread : pool)
    thread.join();
  EXPECT_EQ(failed, 8);
  EXPECT_LT(calls, 8);
  EXPECT_EQ(table.size(), 0u);
  EXPECT_TRUE(table.get(layer(3), fake));
}

TEST(KernelTable, SurvivesAnExceptionOfTheMaker) {
  KernelTable table;
  std::atomic<bool> started = false;
  std::thread waiter([&] {
    while (!started)
      std::this_thread::yield();
    EXPECT_TRUE(table.get(layer(3), fake));
  });
  EXPECT_THROW((void)table.get(layer(3),
                               [&](const Convolution &) -> Expected<Kernel> {
                                 started = true;
                                 std::this_thread::sleep_for(
                                     std::chrono::milliseconds(20));
                                 throw std::bad_alloc();
                               }),
               std::bad_alloc);
  waiter.join();
  EXPECT_EQ(table.size(), 1u);
}

TEST(KernelTable, ForgetsTheLeastRecentlyUsed) {
  KernelTable table(3);
  SharedKernel held = *table.get(layer(1), fake);
  for (int64_t channels : {2, 3})
    EXPECT_TRUE(table.get(layer(channels), fake));
  EXPECT_NE(table.find(layer(1)), nullptr); // now 2 is the oldest
  EXPECT_TRUE(table.get(layer(4), fake));
  EXPECT_EQ(table.size(), 3u);
  EXPECT_EQ(table.find(layer(2)), nullptr);
  for (int64_t channels : {1, 3, 4})
    EXPECT_NE(table.find(layer(channels)), nullptr) << channels;
  table.clear();
  EXPECT_EQ(table.size(), 0u);
  EXPECT_EQ(held->tasksPerImage, 1); // and it is still ours
}

TEST(KernelTable, EveryFieldTellsLayersApart) {
  const Convolution base = layer(8);
  std::vector<Convolution> all(1, base);
  auto vary = [&](auto change) {
    all.push_back(base);
    change(all.back());
  };
  vary([](Convolution &c) { c.dims[0].input = 8; });
  vary([](Convolution &c) { c.dims[1].kernel = 3; });
  vary([](Convolution &c) { c.dims[0].windowStride = 2; });
  vary([](Convolution &c) { c.dims[0].inputDilation = 2; });
  vary([](Convolution &c) { c.dims[0].kernelDilation = 2; });
  vary([](Convolution &c) { c.dims[0].padLow += 1; });
  vary([](Convolution &c) { c.dims[0].padHigh += 1; });
  vary([](Convolution &c) { c.dims[0].reversed = true; });
  vary([](Convolution &c) { c.groups = 2; });
  vary([](Convolution &c) { c.batchGroups = 2; });
  vary([](Convolution &c) {
    std::swap(c.numbers.inputBatch, c.numbers.inputFeature);
  });
  vary([](Convolution &c) { c.kernelFeaturesSwapped = true; });
  vary([](Convolution &c) { c.dtype = DataType::F64; });
  vary([](Convolution &c) { c.bias = true; });
  vary([](Convolution &c) { c.residual = true; });
  vary([](Convolution &c) { c.activation.kind = ActivationKind::Relu; });
  vary([](Convolution &c) { c.activation = {ActivationKind::LeakyRelu, 0.1}; });
  vary([](Convolution &c) { c.activation = {ActivationKind::LeakyRelu, 0.2}; });
  vary([](Convolution &c) { c.mask.assign(3 * 2 * 3 * 8, 1); });
  // Two masks that differ in one value, wherever it is.
  for (size_t at : {size_t(0), size_t(77), size_t(143)})
    vary([at](Convolution &c) {
      c.mask.assign(3 * 2 * 3 * 8, 1);
      c.mask[at] = 0;
    });
  KernelTable table;
  std::vector<SharedKernel> kernels;
  for (const Convolution &conv : all)
    kernels.push_back(*table.get(conv, fake));
  EXPECT_EQ(table.size(), all.size());
  for (size_t i = 0; i < all.size(); ++i)
    EXPECT_EQ(table.find(all[i]), kernels[i]) << i;
}

TEST(KernelTable, NumbersOfImagesHaveKernelsOfTheirOwn) {
  KernelTable table;
  const Convolution conv = layer(8);
  SharedKernel any = *table.get(conv, fake),
               three = *table.get({conv, 3}, fake);
  EXPECT_NE(any, three);
  EXPECT_EQ(table.find(conv), any);
  EXPECT_EQ(table.find({conv, 3}), three);
  EXPECT_EQ(table.find({conv, 4}), nullptr);
}

TEST(KernelTable, EqualActivationsAreOneKernel) {
  KernelTable table;
  Convolution a = layer(2), b = a;
  a.activation = {ActivationKind::Relu, 0.1};
  b.activation = {ActivationKind::Relu, 0.2};
  EXPECT_EQ(*table.get(a, fake), *table.get(b, fake));
}

TEST(KernelTable, AMaskWithNaNIsMadeEachTime) {
  KernelTable table;
  Convolution conv = layer(2);
  conv.mask.assign(3 * 2 * 3 * 2, std::nan(""));
  EXPECT_TRUE(table.get(conv, fake));
  EXPECT_TRUE(table.get(conv, fake));
  EXPECT_EQ(table.size(), 0u);
}

} // namespace
