//===- GPUKernelCacheTest.cpp - GPU kernels found again -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// PTX needs no GPU to be compiled and kept; test/gpu/cache.test runs it.
//
//===----------------------------------------------------------------------===//

#include "CacheFolder.h"

#include "convjit/GPUKernelCache.h"

#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <thread>

using namespace convjit;
namespace fs = std::filesystem;

namespace {

Convolution layer(int64_t channels) {
  return *lower(*parseProblem(
      "conv2d:in=9x8x16,oc=" + std::to_string(channels) + ",k=3,bias"));
}

class GPUKernelCacheTest : public CacheFolderTest {
protected:
  /// What a cache of its own, as another process has, gives and has compiled.
  std::shared_ptr<const GPUKernel> get(const Convolution &conv) {
    GPUKernelCache cache(place);
    auto kernel = cache.kernel(conv, options);
    EXPECT_TRUE(kernel) << kernel.error().message;
    stats = cache.stats();
    return kernel ? *kernel : nullptr;
  }
  uint64_t compiled(const Convolution &conv) {
    EXPECT_NE(get(conv), nullptr);
    EXPECT_EQ(stats.compiled + stats.found, 1u);
    return stats.compiled;
  }

  CompileOptions options{{"nvptx64-nvidia-cuda", "sm_90", ""}, ""};
  KernelCacheStats stats;
};

TEST_F(GPUKernelCacheTest, WhatIsFoundOnDiskIsWhatWasCompiled) {
  // Two launches, scratch, products that are rounded, runs of images.
  Expected<Convolution> few =
      lower(*parseProblem("conv2d:in=4x4x512,oc=64,k=3"));
  CompileOptions plain = options, tensors = options;
  tensors.plan = "schedule = mma";
  for (const CompileOptions &asked : {plain, tensors}) {
    options = asked;
    auto first = get(*few);
    ASSERT_EQ(stats.compiled, 1u);
    auto again = get(*few);
    EXPECT_EQ(stats.compiled, 0u);
    EXPECT_EQ(stats.found, 1u);
    EXPECT_EQ(again->ptx, first->ptx);
    EXPECT_EQ(again->run, first->run);
    EXPECT_EQ(again->run.size(), 2u);
    EXPECT_EQ(again->pack, first->pack);
    EXPECT_EQ(again->packedWeightBytes, first->packedWeightBytes);
    EXPECT_EQ(again->productError, first->productError);
    EXPECT_EQ(again->scratchBytes, first->scratchBytes);
    EXPECT_EQ(again->scratchBytesPerImage, first->scratchBytesPerImage);
    EXPECT_EQ(again->pointerAlignment, first->pointerAlignment);
    EXPECT_EQ(again->imageMultiple, first->imageMultiple);
    EXPECT_EQ(again->chip, "sm_90");
    EXPECT_EQ(again->computeCapability, first->computeCapability);
    EXPECT_EQ(again->plan, first->plan);
    EXPECT_EQ(again->compileMilliseconds, first->compileMilliseconds);
    EXPECT_EQ(again->conv.inputShape(2), few->inputShape(2));
  }
}

TEST_F(GPUKernelCacheTest, AKernelIsThatOfItsPlanToo) {
  for (uint64_t compiled : {1, 0}) {
    GPUKernelCache cache(place);
    options.plan.clear();
    auto chosen = cache.kernel(layer(8), options);
    ASSERT_TRUE(chosen);
    options.plan = (*chosen)->plan;
    auto planned = cache.kernel(layer(8), options);
    ASSERT_TRUE(planned);
    EXPECT_EQ(planned->get(), chosen->get());
    EXPECT_EQ(cache.stats().compiled, compiled);
    EXPECT_EQ(cache.stats().kernels, 1u);
  }
}

TEST_F(GPUKernelCacheTest, WhatMattersIsInTheKey) {
  EXPECT_EQ(compiled(layer(8)), 1u);
  EXPECT_EQ(compiled(layer(8)), 0u);
  EXPECT_EQ(compiled(layer(9)), 1u);
  auto differs = [&](auto change) {
    CompileOptions before = options;
    change();
    EXPECT_EQ(compiled(layer(8)), 1u);
    EXPECT_EQ(compiled(layer(8)), 0u);
    options = before;
  };
  differs([&] { options.target.cpu = "sm_80"; });
  differs([&] { options.plan = "schedule = direct"; });
  differs([&] { options.images = 3; });
  differs([&] { options.imageMultiple = 2; });
  Convolution masked = layer(8);
  masked.mask.assign(3 * 3 * 16 * 8, 1);
  for (int at : {4, 5}) {
    masked.mask[at] = 0;
    EXPECT_EQ(compiled(masked), 1u);
    EXPECT_EQ(compiled(masked), 0u);
  }
  Convolution halves = layer(8);
  halves.dtype = DataType::F16;
  EXPECT_EQ(compiled(halves), 1u);
  // PTX that carries what the tests' driver runs is no other process's.
  setenv("CONVJIT_PTX_WITH_IR", "1", 1);
  differs([] {});
  unsetenv("CONVJIT_PTX_WITH_IR");
  EXPECT_EQ(compiled(layer(8)), 0u);
}

TEST_F(GPUKernelCacheTest, DamagedEntriesAreCompiledAgain) {
  std::string ptx = get(layer(8))->ptx;
  fs::path path = fs::directory_iterator(place.directory)->path();
  std::ifstream file(path, std::ios::binary);
  const std::string good(std::istreambuf_iterator<char>(file), {});
  auto compiledWith = [&](const std::string &content) {
    std::ofstream(path, std::ios::binary) << content;
    EXPECT_EQ(get(layer(8))->ptx, ptx);
    EXPECT_EQ(stats.diskFailures, stats.compiled) << stats.lastFailure;
    return stats.compiled;
  };
  EXPECT_EQ(compiledWith(good), 0u);
  for (size_t at = 0; at < good.size(); at += good.size() / 6 + 1) {
    std::string turned = good;
    turned[at] = static_cast<char>(turned[at] ^ 4);
    EXPECT_EQ(compiledWith(turned), 1u) << "bit of byte " << at;
    EXPECT_EQ(compiledWith(good.substr(0, at)), 1u) << "ends at " << at;
  }
  EXPECT_EQ(compiledWith(good), 0u);
}

TEST_F(GPUKernelCacheTest, KernelsOfCPUsLieBesideIt) {
  auto cache = KernelCache::create(place);
  ASSERT_TRUE(cache && (*cache)->kernel(layer(8)));
  EXPECT_EQ(compiled(layer(8)), 1u);
  auto listed = (*cache)->onDisk();
  ASSERT_TRUE(listed);
  ASSERT_EQ(listed->size(), 2u);
  int onGPU = 0;
  for (const CachedKernel &kernel : *listed) {
    EXPECT_EQ(kernel.damage, "");
    EXPECT_GT(kernel.codeBytes, 0u);
    onGPU += kernel.target == "nvptx64-nvidia-cuda sm_90" &&
             kernel.plan.starts_with("#conv.gpu_plan<");
  }
  EXPECT_EQ(onGPU, 1);
  EXPECT_EQ((*cache)->clearDisk()->kernels, 2u);
  EXPECT_EQ(compiled(layer(8)), 1u);
}

TEST_F(GPUKernelCacheTest, NoDiskCostsNoResult) {
  fs::permissions(place.directory, fs::perms(0755));
  GPUKernelCache open(place);
  EXPECT_FALSE(open.diskStatus());
  EXPECT_EQ(compiled(layer(8)), 1u);
  EXPECT_TRUE(fs::is_empty(place.directory));
  fs::permissions(place.directory, fs::perms(0700));
  place.disk = false;
  EXPECT_EQ(compiled(layer(8)), 1u);
  place.disk = true;
  setenv("CONVJIT_CACHE", "off", 1);
  EXPECT_EQ(compiled(layer(8)), 1u);
  unsetenv("CONVJIT_CACHE");
  EXPECT_TRUE(fs::is_empty(place.directory));
}

TEST_F(GPUKernelCacheTest, ErrorsAreTheCompilersAndAreNotKept) {
  GPUKernelCache cache(place);
  Convolution bad = layer(8);
  bad.groups = 3;
  EXPECT_FALSE(cache.kernel(bad, options));
  options.target.cpu = "sm_50";
  auto kernel = cache.kernel(layer(8), options);
  ASSERT_FALSE(kernel);
  EXPECT_NE(kernel.error().message.find("sm_50"), std::string::npos);
  options.target = {};
  EXPECT_FALSE(cache.kernel(layer(8), options));
  EXPECT_TRUE(fs::is_empty(place.directory));
}

TEST_F(GPUKernelCacheTest, TheLeastRecentlyUsedLeave) {
  place.maxKernels = 2;
  place.disk = false;
  GPUKernelCache cache(place);
  auto compiledBy = [&](int64_t channels) {
    uint64_t before = cache.stats().compiled;
    EXPECT_TRUE(cache.kernel(layer(channels), options));
    EXPECT_LE(cache.stats().kernels, 2u);
    return cache.stats().compiled - before;
  };
  EXPECT_EQ(compiledBy(8), 1u);
  EXPECT_EQ(compiledBy(9), 1u);
  EXPECT_EQ(compiledBy(8), 0u);
  std::weak_ptr<const GPUKernel> nine = *cache.kernel(layer(9), options);
  EXPECT_FALSE(nine.expired());
  EXPECT_EQ(compiledBy(8), 0u);
  EXPECT_EQ(compiledBy(10), 1u); // 9 leaves, under both of its keys
  EXPECT_TRUE(nine.expired());
  EXPECT_EQ(compiledBy(8), 0u);
  EXPECT_EQ(compiledBy(9), 1u);
  EXPECT_EQ(compiledBy(10), 1u);
}

TEST_F(GPUKernelCacheTest, OneCompilationForManyThreads) {
  GPUKernelCache cache(place);
  std::vector<std::thread> pool;
  std::atomic<int> right = 0;
  for (int t = 0; t < 8; ++t)
    pool.emplace_back([&, t] {
      for (int i = 0; i < 3; ++i) {
        auto kernel = cache.kernel(layer(8 + (i + t) % 3), options);
        right += kernel && (*kernel)->conv.outChannels == 8 + (i + t) % 3;
      }
    });
  for (std::thread &thread : pool)
    thread.join();
  EXPECT_EQ(right, 8 * 3);
  EXPECT_EQ(cache.stats().compiled, 3u);
  EXPECT_EQ(cache.stats().kernels, 3u);
}

} // namespace
