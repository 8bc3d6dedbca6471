//===- KernelCacheTest.cpp - kernels found again -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "CacheFolder.h"
#include "convjit/Reference.h"

#include <gtest/gtest.h>

#include <atomic>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sys/stat.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>

using namespace convjit;
namespace fs = std::filesystem;

namespace {

Convolution layer(int64_t channels) {
  return *lower(*parseProblem(
      "convT2d:in=5x7x3,oc=" + std::to_string(channels) + ",k=3x2,s=2,bias"));
}

/// Whether the kernel gives what the reference gives, bit for bit.
bool isRight(const Kernel &kernel, const Convolution &conv) {
  auto values = [](const std::vector<int64_t> &shape, int step) {
    size_t count = 1;
    for (int64_t size : shape)
      count *= static_cast<size_t>(size);
    std::vector<double> numbers(count);
    for (size_t i = 0; i < count; ++i)
      numbers[i] = static_cast<double>(i * 7 % 11 * step) - 5 * step;
    return numbers;
  };
  ReferenceOperands operands;
  operands.input = values(conv.inputShape(2), 1);
  operands.weights = values(conv.kernelShape(), 1);
  operands.bias = values({conv.outChannels}, 3);
  ReferenceResult wanted = referenceConvolution(conv, operands, 2);
  auto narrow = [](const std::vector<double> &from) {
    return std::vector<float>(from.begin(), from.end());
  };
  std::vector<float> input = narrow(operands.input),
                     weights = narrow(operands.weights),
                     bias = narrow(operands.bias),
                     output(wanted.output.size(), -77);
  std::vector<std::byte> packed(kernel.packedWeightBytes);
  kernel.pack(weights.data(), packed.data());
  InlineExecutor executor;
  if (!runKernel(
          kernel,
          {input.data(), packed.data(), bias.data(), nullptr, output.data(), 2},
          executor))
    return false;
  return output == narrow(wanted.output);
}

class KernelCacheTest : public CacheFolderTest {
protected:
  std::unique_ptr<KernelCache> open() {
    auto cache = KernelCache::create(place);
    EXPECT_TRUE(cache) << cache.error().message;
    return std::move(*cache);
  }
  /// The only file of the directory.
  fs::path entryPath() {
    for (const auto &file : fs::directory_iterator(place.directory))
      return file.path();
    return {};
  }
};

TEST_F(KernelCacheTest, FindsKernelsInMemoryAndOnDisk) {
  auto cache = open();
  EXPECT_EQ(cache->find(layer(5)), nullptr);
  auto first = cache->kernel(layer(5));
  ASSERT_TRUE(first) << first.error().message;
  EXPECT_TRUE(isRight(**first, layer(5)));
  EXPECT_EQ(*cache->kernel(layer(5)), *first);
  EXPECT_EQ(cache->find(layer(5)), *first);
  EXPECT_EQ(cache->stats().compiled, 1u);

  auto later = open();
  auto found = later->kernel(layer(5));
  ASSERT_TRUE(found) << found.error().message;
  EXPECT_TRUE(isRight(**found, layer(5)));
  EXPECT_EQ(later->stats().compiled, 0u);
  EXPECT_EQ(later->stats().found, 1u);
  EXPECT_EQ((*found)->plan, (*first)->plan);
  EXPECT_EQ((*found)->tasksPerImage, (*first)->tasksPerImage);
  EXPECT_EQ((*found)->pieces, (*first)->pieces);
  EXPECT_EQ((*found)->packedWeightBytes, (*first)->packedWeightBytes);
  EXPECT_EQ((*found)->codeBytes, (*first)->codeBytes);

  // Forgotten in memory, still callable, and again on disk.
  later->clearMemory();
  EXPECT_EQ(later->find(layer(5)), nullptr);
  EXPECT_TRUE(isRight(**found, layer(5)));
  EXPECT_TRUE(later->kernel(layer(5)));
  EXPECT_EQ(later->stats().found, 2u);
  later.reset();
  EXPECT_TRUE(isRight(**found, layer(5)));
}

TEST_F(KernelCacheTest, OneCompilationForManyThreads) {
  auto cache = open();
  std::vector<std::thread> pool;
  std::atomic<int> right = 0;
  for (int t = 0; t < 16; ++t)
    pool.emplace_back([&, t] {
      for (int i = 0; i < 6; ++i) {
        int64_t channels = 1 + (i + t) % 6;
        auto kernel = cache->kernel(layer(channels));
        right += kernel && isRight(**kernel, layer(channels));
      }
    });
  for (std::thread &thread : pool)
    thread.join();
  EXPECT_EQ(right, 16 * 6);
  EXPECT_EQ(cache->stats().compiled, 6u);
  EXPECT_EQ(cache->stats().kernels, 6u);
}

TEST_F(KernelCacheTest, WhatMattersIsInTheKey) {
  (void)open()->kernel(layer(5));
  auto compiled = [&](const Convolution &conv) {
    auto cache = open();
    auto kernel = cache->kernel(conv);
    EXPECT_TRUE(kernel && isRight(**kernel, conv));
    return cache->stats().compiled;
  };
  EXPECT_EQ(compiled(layer(5)), 0u);
  EXPECT_EQ(compiled(layer(6)), 1u);
  Convolution masked = layer(5);
  masked.mask.assign(3 * 2 * 3 * 5, 1);
  masked.mask[4] = 0;
  EXPECT_EQ(compiled(masked), 1u);
  EXPECT_EQ(compiled(masked), 0u);
  masked.mask[3] = 0;
  EXPECT_EQ(compiled(masked), 1u);
  place.compile.plan = "#conv.plan<lanes = channels, width = 4, pixels = 2, "
                       "unroll = 1, row = unrolled, chunks = 1>";
  EXPECT_EQ(compiled(layer(5)), 1u);
  place.compile.plan.clear();
#ifdef __x86_64__
  place.compile.target.cpu = "x86-64-v2";
  EXPECT_EQ(compiled(layer(5)), 1u);
  EXPECT_EQ(compiled(layer(5)), 0u);
#endif
}

TEST_F(KernelCacheTest, ImagesAreInTheKeyWhereTheyMatter) {
  // Of a weight's gradient, images are the layer's input channels.
  Convolution gradient = *lowerWeightGradient(
      *parseProblem("convT1d:in=40x512,oc=32,k=4,s=2,layout=channels_first"
                    ",grad=weight"),
      2);
  for (uint64_t compiled : {2, 0}) {
    auto cache = std::move(*KernelCache::create(place));
    auto few = *cache->kernel(gradient, 1), many = *cache->kernel(gradient, 40);
    EXPECT_NE(few->plan, many->plan);
    EXPECT_EQ(few, cache->find(gradient, 1));
    EXPECT_EQ(cache->find(gradient, 2), nullptr);
    EXPECT_EQ(cache->find(gradient), nullptr);
    EXPECT_EQ(cache->stats().compiled, compiled);
    // The options' number is that of those who name none.
    KernelCacheOptions own = place;
    own.compile.images = 40;
    auto same = std::move(*KernelCache::create(own));
    EXPECT_EQ((*same->kernel(gradient))->plan, many->plan);
    EXPECT_EQ(same->stats().found, 1u);
    EXPECT_EQ(same->find(gradient, 40), same->find(gradient));
  }
  // A layer's batch is outermost.
  auto cache = std::move(*KernelCache::create(place));
  EXPECT_EQ(*cache->kernel(layer(5), 3), *cache->kernel(layer(5), 8));
  auto refused = cache->kernel(gradient, -1);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().message,
            "images=-1: valid: 0, or a number of images");
}

TEST_F(KernelCacheTest, DamagedEntriesAreCompiledAgain) {
  (void)open()->kernel(layer(5));
  fs::path path = entryPath();
  std::ifstream file(path, std::ios::binary);
  const std::string good(std::istreambuf_iterator<char>(file), {});
  auto compiledWith = [&](const std::string &content) {
    std::ofstream(path, std::ios::binary) << content;
    auto cache = open();
    auto kernel = cache->kernel(layer(5));
    EXPECT_TRUE(kernel && isRight(**kernel, layer(5)));
    EXPECT_EQ(cache->stats().diskFailures, cache->stats().compiled)
        << cache->stats().lastFailure;
    return cache->stats().compiled;
  };
  EXPECT_EQ(compiledWith(good), 0u);
  for (size_t at = 0; at < good.size(); at += good.size() / 12) {
    std::string turned = good;
    turned[at] = static_cast<char>(turned[at] ^ 4);
    EXPECT_EQ(compiledWith(turned), 1u) << "bit of byte " << at;
    EXPECT_EQ(compiledWith(good.substr(0, at)), 1u) << "ends at " << at;
  }
  EXPECT_EQ(compiledWith(good), 0u);
}

#ifdef __x86_64__
TEST_F(KernelCacheTest, CodeForAnotherCPUUnderThisNameIsRefused) {
  (void)open()->kernel(layer(5));
  fs::path here = entryPath();
  fs::path aside = place.directory + "/aside";
  fs::rename(here, aside);
  place.compile.target.cpu = "x86-64-v2";
  (void)open()->kernel(layer(5));
  fs::path other;
  for (const auto &file : fs::directory_iterator(place.directory))
    if (file.path() != aside)
      other = file.path();
  ASSERT_NE(other, here);
  fs::rename(other, here);
  place.compile.target.cpu.clear();
  auto cache = open();
  auto kernel = cache->kernel(layer(5));
  EXPECT_TRUE(kernel && isRight(**kernel, layer(5)));
  EXPECT_EQ(cache->stats().compiled, 1u);
  EXPECT_NE(cache->stats().lastFailure.find("another layer, CPU or compiler"),
            std::string::npos)
      << cache->stats().lastFailure;
}
#endif

TEST_F(KernelCacheTest, ADirectoryThatIsNotOursAloneIsNotUsed) {
  chmod(place.directory.c_str(), 0755);
  auto cache = open();
  ASSERT_FALSE(cache->diskStatus());
  EXPECT_NE(cache->diskStatus().error().message.find("valid: 0700"),
            std::string::npos);
  auto kernel = cache->kernel(layer(5));
  EXPECT_TRUE(kernel && isRight(**kernel, layer(5)));
  EXPECT_TRUE(fs::is_empty(place.directory));
  EXPECT_FALSE(cache->onDisk());
  EXPECT_FALSE(cache->clearDisk());
  EXPECT_EQ(cache->directory(), "");
}

TEST_F(KernelCacheTest, ADiskThatFailsCostsNoResult) {
  auto cache = open();
  fs::remove_all(place.directory);
  auto kernel = cache->kernel(layer(5));
  EXPECT_TRUE(kernel && isRight(**kernel, layer(5)));
  EXPECT_EQ(cache->stats().diskFailures, 1u);
}

TEST_F(KernelCacheTest, TheEnvironmentSaysWhereAndWhether) {
  std::string named = place.directory + "/named";
  std::string directory = std::exchange(place.directory, "");
  setenv("CONVJIT_CACHE_DIR", named.c_str(), 1);
  setenv("CONVJIT_CACHE_SIZE", "3M", 1);
  EXPECT_EQ(open()->directory(), named);
  EXPECT_EQ(open()->maxBytes(), uint64_t(3) << 20);
  for (const char *size : {"3X", "", "-1", "M", "99999999999G"}) {
    setenv("CONVJIT_CACHE_SIZE", size, 1);
    EXPECT_EQ(bool(open()->diskStatus()), !*size) << size;
  }
  unsetenv("CONVJIT_CACHE_SIZE");
  setenv("CONVJIT_CACHE", "off", 1);
  EXPECT_FALSE(open()->diskStatus());
  setenv("CONVJIT_CACHE", "perhaps", 1);
  EXPECT_NE(open()->diskStatus().error().message.find("valid: on, off"),
            std::string::npos);
  unsetenv("CONVJIT_CACHE");
  unsetenv("CONVJIT_CACHE_DIR");
  setenv("XDG_CACHE_HOME", (directory + "/xdg").c_str(), 1);
  EXPECT_EQ(open()->directory(), directory + "/xdg/convjit");
  place.disk = false;
  EXPECT_FALSE(open()->diskStatus());
  unsetenv("XDG_CACHE_HOME");
  place.directory = directory;
}

TEST_F(KernelCacheTest, ErrorsAreTheCompilers) {
  Convolution bad = layer(5);
  bad.groups = 2;
  auto kernel = open()->kernel(bad);
  ASSERT_FALSE(kernel);
  EXPECT_EQ(kernel.error().kind, ErrorKind::BadInput);
  place.compile.plan = "#conv.plan<nonsense>";
  kernel = open()->kernel(layer(5));
  ASSERT_FALSE(kernel);
  EXPECT_EQ(kernel.error().message.rfind("plan=", 0), 0u);
  EXPECT_TRUE(fs::is_empty(place.directory));
  place.compile.target.cpu = "no-such-cpu";
  EXPECT_FALSE(KernelCache::create(place));
}

TEST_F(KernelCacheTest, ListsAndRemoves) {
  auto cache = open();
  for (int64_t channels : {5, 6, 7})
    (void)cache->kernel(layer(channels));
  auto kernels = cache->onDisk();
  ASSERT_TRUE(kernels);
  ASSERT_EQ(kernels->size(), 3u);
  uint64_t bytes = 0;
  for (const CachedKernel &kernel : *kernels) {
    EXPECT_EQ(kernel.damage, "");
    EXPECT_EQ(kernel.layer.rfind("convolution:n=5x7,k=3x2", 0), 0u)
        << kernel.layer;
    EXPECT_EQ(kernel.compiler.size(), 40u);
    EXPECT_GT(kernel.codeBytes, 0u);
    bytes += kernel.bytes;
  }
  auto gone = cache->collectDisk(bytes - 1);
  ASSERT_TRUE(gone);
  EXPECT_EQ(gone->kernels, 1u);
  EXPECT_EQ(cache->clearDisk()->kernels, 2u);
  EXPECT_TRUE(cache->onDisk()->empty());
}

TEST_F(KernelCacheTest, ProcessesCompileAtOnceAndSomeAreKilled) {
  pid_t children[4];
  for (int c = 0; c < 4; ++c) {
    children[c] = fork();
    if (children[c] != 0)
      continue;
    auto cache = KernelCache::create(place);
    for (int64_t i = 0; cache && i < 12; ++i) {
      auto kernel = (*cache)->kernel(layer(1 + i));
      if (!kernel || !isRight(**kernel, layer(1 + i)) ||
          (*cache)->stats().diskFailures)
        _exit(1);
    }
    _exit(cache ? 0 : 2);
  }
  usleep(30'000);
  kill(children[0], SIGKILL);
  for (int c = 0; c < 4; ++c) {
    int status = 0;
    ASSERT_EQ(waitpid(children[c], &status, 0), children[c]);
    EXPECT_TRUE(status == 0 || (c == 0 && WIFSIGNALED(status))) << c;
  }
  auto cache = open();
  for (int64_t i = 0; i < 12; ++i) {
    auto kernel = cache->kernel(layer(1 + i));
    EXPECT_TRUE(kernel && isRight(**kernel, layer(1 + i)));
  }
  EXPECT_EQ(cache->stats().compiled, 0u);
  EXPECT_EQ(cache->stats().found, 12u);
}

TEST_F(KernelCacheTest, AForkedChildCompilesAndReleases) {
  auto cache = open();
  auto kernel = cache->kernel(layer(5));
  ASSERT_TRUE(kernel);
  pid_t child = fork();
  if (child == 0) {
    bool right = isRight(**kernel, layer(5));
    auto other = cache->kernel(layer(6));
    right = right && other && isRight(**other, layer(6));
    cache->clearMemory();
    kernel = internalError("released");
    other = cache->kernel(layer(5));
    right = right && other && isRight(**other, layer(5));
    _exit(right ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  EXPECT_TRUE(isRight(**kernel, layer(5)));
}

} // namespace
