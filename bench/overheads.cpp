//===- overheads.cpp - what a host pays besides arithmetic -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

// Google Benchmark: calls, cache hits, compile times, memory. docs/cache.md
// quotes it. The first two benchmarks run once, in this order and before the
// others: they are what a new process pays.
//
//===----------------------------------------------------------------------===//

#include "convjit/KernelCache.h"

#include <benchmark/benchmark.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <malloc.h>
#include <unistd.h>

using namespace convjit;

namespace {

constexpr const char *flagship = "convT3d:in=8x16x16x64,oc=32,k=4,s=2";
/// One multiplication: what is left is the call.
constexpr const char *smallest = "conv1d:in=1x1,oc=1,k=1";

[[noreturn]] void stop(const Error &error) {
  std::fprintf(stderr, "%s\n", error.message.c_str());
  std::exit(static_cast<int>(error.kind));
}
template <typename T> T valueOf(Expected<T> value) {
  if (!value)
    stop(value.error());
  return std::move(*value);
}
Convolution layer(const std::string &text) {
  return valueOf(lower(valueOf(parseProblem(text))));
}

/// A cache in a directory that goes with the process.
KernelCacheOptions cacheOptions() {
  struct Directory {
    Directory() {
      if (!mkdtemp(path.data()))
        stop(environmentError(path + ": cannot be made"));
    }
    ~Directory() { std::filesystem::remove_all(path); }
    std::string path =
        (std::filesystem::temp_directory_path() / "convjit-XXXXXX").string();
  };
  static Directory directory;
  KernelCacheOptions options;
  options.directory = directory.path;
  return options;
}
KernelCache &sharedCache() {
  static auto cache = valueOf(KernelCache::create(cacheOptions()));
  return *cache;
}
Compiler &compiler() {
  static auto made = valueOf(Compiler::create());
  return *made;
}

void startCompiler(benchmark::State &state) {
  for (auto _ : state)
    compiler();
}
BENCHMARK(startCompiler)->Iterations(1)->Unit(benchmark::kMillisecond);

void firstCompile(benchmark::State &state) {
  Convolution conv = layer(flagship);
  for (auto _ : state)
    valueOf(compiler().compile(conv));
}
BENCHMARK(firstCompile)->Iterations(1)->Unit(benchmark::kMillisecond);

void compile(benchmark::State &state, const char *text) {
  Convolution conv = layer(text);
  for (auto _ : state)
    valueOf(compiler().compile(conv));
}
BENCHMARK_CAPTURE(compile, flagship, flagship)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(compile, smallest, smallest)->Unit(benchmark::kMillisecond);

/// runKernel on the calling thread.
void call(benchmark::State &state) {
  auto kernel = valueOf(sharedCache().kernel(layer(smallest)));
  float input = 2, weight = 3, output = 0;
  std::vector<std::byte> packed(kernel->packedWeightBytes);
  kernel->pack(&weight, packed.data());
  InlineExecutor executor;
  Operands operands{&input, packed.data(), nullptr, nullptr, &output, 1};
  for (auto _ : state) {
    Status status = runKernel(*kernel, operands, executor);
    benchmark::DoNotOptimize(status);
    benchmark::ClobberMemory();
  }
  if (output != 6)
    state.SkipWithError("wrong answer");
}
BENCHMARK(call);

/// Every thread asks for the same kernel: the worst case for the lock.
void memoryHit(benchmark::State &state) {
  static const Convolution conv = layer(flagship);
  if (state.thread_index() == 0)
    valueOf(sharedCache().kernel(conv));
  for (auto _ : state) {
    auto kernel = sharedCache().kernel(conv);
    benchmark::DoNotOptimize(kernel);
  }
}
BENCHMARK(memoryHit)->Threads(1)->Threads(2)->Threads(32)->UseRealTime();

/// Entries of many kernels, which the first-level cache does not hold.
void memoryHitOfMany(benchmark::State &state) {
  static KernelCache &cache = sharedCache();
  static const auto layers = [] {
    std::vector<Convolution> made;
    for (int i = 0; i < 200; ++i) {
      made.push_back(
          layer("conv1d:in=" + std::to_string(4 + i) + "x1,oc=1,k=1"));
      valueOf(cache.kernel(made.back()));
    }
    return made;
  }();
  size_t next = 0;
  for (auto _ : state) {
    auto kernel = cache.kernel(layers[next]);
    benchmark::DoNotOptimize(kernel);
    next = (next + 77) % layers.size();
  }
}
BENCHMARK(memoryHitOfMany);

/// A hit whose layer has a mask must compare all of it.
void memoryHitOfMask(benchmark::State &state) {
  Convolution conv = layer(flagship);
  conv.mask.assign(size_t(64) * 64 * 32, 1);
  valueOf(sharedCache().kernel(conv));
  for (auto _ : state) {
    auto kernel = sharedCache().kernel(conv);
    benchmark::DoNotOptimize(kernel);
  }
}
BENCHMARK(memoryHitOfMask)->Unit(benchmark::kMicrosecond);

void diskHit(benchmark::State &state, const char *text) {
  Convolution conv = layer(text);
  valueOf(sharedCache().kernel(conv));
  for (auto _ : state) {
    // As a new process does: the directory too is opened and checked.
    auto cache = valueOf(KernelCache::create(cacheOptions()));
    auto kernel = valueOf(cache->kernel(conv));
    if (cache->stats().found != 1)
      state.SkipWithError("not on disk");
  }
}
BENCHMARK_CAPTURE(diskHit, flagship, flagship)->Unit(benchmark::kMicrosecond);
BENCHMARK_CAPTURE(diskHit, smallest, smallest)->Unit(benchmark::kMicrosecond);

size_t residentBytes() {
  malloc_trim(0);
  std::ifstream statm("/proc/self/statm");
  size_t total = 0, resident = 0;
  statm >> total >> resident;
  return resident * static_cast<size_t>(sysconf(_SC_PAGESIZE));
}

/// All that a kernel takes in a process, beside the bytes of its code.
void memoryPerKernel(benchmark::State &state) {
  Convolution conv = layer(flagship);
  valueOf(sharedCache().kernel(conv));
  constexpr size_t count = 500;
  std::vector<std::unique_ptr<KernelCache>> caches;
  for (size_t i = 0; i < count; ++i)
    caches.push_back(valueOf(KernelCache::create(cacheOptions())));
  for (auto _ : state) {
    size_t before = residentBytes();
    std::vector<std::shared_ptr<const Kernel>> kernels;
    for (auto &cache : caches) {
      kernels.push_back(valueOf(cache->kernel(conv)));
      cache->clearMemory();
    }
    state.counters["bytes"] =
        static_cast<double>(residentBytes() - before) / count;
    state.counters["code"] = static_cast<double>(kernels[0]->codeBytes);
  }
}
BENCHMARK(memoryPerKernel)->Iterations(1)->Unit(benchmark::kMillisecond);

} // namespace

BENCHMARK_MAIN();
