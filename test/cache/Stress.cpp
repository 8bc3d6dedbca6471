//===- Stress.cpp - thousands of kernels, under limits -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

// convjit-stress many COUNT       COUNT kernels in one process, all called;
//                                 prints the mappings they take
// convjit-stress rounds COUNT     compiles and releases COUNT times; prints how
//                                 much the process grew after the first tenth
// convjit-stress threads SECONDS  32 threads over 1,000 layers, kernels coming
//                                 and going
// convjit-stress limited          compiles one layer; 0 or 3 as `convjit` exits
//
// Results go to standard output as "name value" lines.
//
//===----------------------------------------------------------------------===//

#include "convjit/KernelCache.h"

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <malloc.h>
#include <thread>
#include <unistd.h>
#include <vector>

using namespace convjit;

namespace {

int fail(const Error &error) {
  std::fprintf(stderr, "convjit-stress: %s\n", error.message.c_str());
  return static_cast<int>(error.kind);
}

/// Layers that differ in channels and length. Their slope is a constant beside
/// the code, which JITLink's own memory manager gives a mapping of its own; the
/// sums here are not negative.
Convolution layer(int64_t index) {
  return *lower(*parseProblem("conv1d:in=" + std::to_string(5 + index / 20) +
                              "x" + std::to_string(1 + index % 20) +
                              ",oc=3,k=3,act=leaky_relu:0.5"));
}

/// Ones in, ones as weights: the middle of each row is 3 times the channels.
bool isRight(const Kernel &kernel) {
  const Convolution &conv = kernel.conv;
  auto length = static_cast<size_t>(conv.dims[0].input);
  auto channels = static_cast<size_t>(conv.inChannels);
  std::vector<float> input(length * channels, 1), output(length * 3, -1);
  std::vector<float> weights(3 * channels * 3, 1);
  std::vector<std::byte> packed(kernel.packedWeightBytes);
  kernel.pack(weights.data(), packed.data());
  InlineExecutor executor;
  Operands call{input.data(), packed.data(), nullptr,
                nullptr,      output.data(), 1};
  return runKernel(kernel, call, executor) &&
         output[4] == static_cast<float>(3 * channels) &&
         output[0] == static_cast<float>(2 * channels);
}

size_t mappings() {
  std::ifstream maps("/proc/self/maps");
  size_t lines = 0;
  for (std::string line; std::getline(maps, line);)
    ++lines;
  return lines;
}

/// Of this process, in KiB.
size_t residentKiB() {
  malloc_trim(0);
  std::ifstream statm("/proc/self/statm");
  size_t total = 0, resident = 0;
  statm >> total >> resident;
  return resident * static_cast<size_t>(sysconf(_SC_PAGESIZE)) / 1024;
}

double seconds() {
  using namespace std::chrono;
  return duration<double>(steady_clock::now().time_since_epoch()).count();
}

/// A directory that goes with the process.
struct Directory {
  Directory() {
    if (!mkdtemp(path.data()))
      std::abort();
  }
  ~Directory() { std::filesystem::remove_all(path); }
  std::string path =
      (std::filesystem::temp_directory_path() / "convjit-XXXXXX").string();
};

/// Compiled once, loaded again and again: a cache of its own for each 100.
int many(int64_t count) {
  Directory directory;
  KernelCacheOptions options;
  options.directory = directory.path;
  std::vector<std::shared_ptr<const Kernel>> kernels;
  size_t before = mappings(), memory = residentKiB();
  double start = seconds();
  while (static_cast<int64_t>(kernels.size()) < count) {
    auto cache = KernelCache::create(options);
    if (!cache)
      return fail(cache.error());
    for (int64_t i = 0; i < 100; ++i) {
      auto kernel = (*cache)->kernel(layer(i));
      if (!kernel)
        return fail(kernel.error());
      kernels.push_back(*kernel);
    }
  }
  for (int pass = 0; pass < 2; ++pass) {
    for (const auto &kernel : kernels)
      if (!isRight(*kernel))
        return fail(internalError("a kernel gives a wrong answer"));
    // Then without every other one.
    for (size_t i = 0; pass == 0 && i < kernels.size() / 2; ++i) {
      kernels[i] = std::move(kernels.back());
      kernels.pop_back();
    }
  }
  std::printf("kernels %lld\nmappings %zu\nKiB_a_kernel %.1f\nseconds %.1f\n",
              static_cast<long long>(count), mappings() - before,
              static_cast<double>(residentKiB() - memory) /
                  static_cast<double>(kernels.size()),
              seconds() - start);
  return 0;
}

int rounds(int64_t count) {
  auto compiler = Compiler::create();
  if (!compiler)
    return fail(compiler.error());
  size_t early = 0;
  for (int64_t i = 0; i < count; ++i) {
    auto kernel = (*compiler)->compile(layer(i % 20));
    if (!kernel)
      return fail(kernel.error());
    if (!isRight(*kernel))
      return fail(internalError("a kernel gives a wrong answer"));
    if (i == count / 10)
      early = residentKiB();
  }
  size_t late = residentKiB();
  std::printf("rounds %lld\nafter_a_tenth_KiB %zu\nat_the_end_KiB %zu\n"
              "growth_KiB %lld\nmappings %zu\n",
              static_cast<long long>(count), early, late,
              static_cast<long long>(late) - static_cast<long long>(early),
              mappings());
  return 0;
}

int threads(double duration) {
  Directory directory;
  KernelCacheOptions options;
  options.directory = directory.path;
  options.maxKernels = 300;
  auto cache = KernelCache::create(options);
  if (!cache)
    return fail(cache.error());
  std::atomic<bool> stop = false, wrong = false;
  std::atomic<uint64_t> calls = 0;
  std::vector<std::thread> pool;
  for (int t = 0; t < 32; ++t)
    pool.emplace_back([&, t] {
      uint64_t random = static_cast<uint64_t>(t) + 1;
      while (!stop && !wrong) {
        random = random * 6364136223846793005u + 1442695040888963407u;
        Convolution conv = layer(static_cast<int64_t>((random >> 33) % 1000));
        auto kernel = (*cache)->kernel(conv);
        if (!kernel || !((*kernel)->conv == conv) || !isRight(**kernel))
          wrong = true;
        ++calls;
      }
    });
  std::this_thread::sleep_for(std::chrono::duration<double>(duration));
  stop = true;
  for (std::thread &thread : pool)
    thread.join();
  if (wrong)
    return fail(internalError("a kernel gives a wrong answer"));
  KernelCacheStats stats = (*cache)->stats();
  std::printf("calls %llu\ncompiled %llu\nfound %llu\nfailures %llu\n",
              static_cast<unsigned long long>(calls),
              static_cast<unsigned long long>(stats.compiled),
              static_cast<unsigned long long>(stats.found),
              static_cast<unsigned long long>(stats.diskFailures));
  return stats.diskFailures == 0 && stats.compiled <= 1000 ? 0 : 1;
}

int limited() {
  auto compiler = Compiler::create();
  if (!compiler)
    return fail(compiler.error());
  auto conv = lower(*parseProblem("convT3d:in=8x16x16x64,oc=32,k=4,s=2"));
  for (int i = 0; i < 3; ++i) {
    auto kernel = (*compiler)->compile(*conv);
    if (!kernel)
      return fail(kernel.error());
  }
  return 0;
}

} // namespace

int main(int argc, char **argv) {
  std::string mode = argc > 1 ? argv[1] : "";
  double number = argc > 2 ? std::atof(argv[2]) : 0;
  if (mode == "many" && number > 0)
    return many(static_cast<int64_t>(number));
  if (mode == "rounds" && number > 0)
    return rounds(static_cast<int64_t>(number));
  if (mode == "threads" && number > 0)
    return threads(number);
  if (mode == "limited")
    return limited();
  std::fprintf(stderr,
               "convjit-stress many|rounds COUNT, threads SECONDS, limited\n");
  return 2;
}
