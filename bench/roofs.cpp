//===- roofs.cpp - what this machine can do at most -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

// Prints one JSON object: the peak of fused multiply-adds (GFLOP/s) and the
// bandwidth of loads, stores and non-temporal stores (GB/s, 10^9 bytes) from
// L2, L3 and memory, of all threads together. Build with -O3 -march=native.
//
// usage: roofs [CPU...]     one thread pinned to each CPU; default: one, free
//
//===----------------------------------------------------------------------===//

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#if defined(__linux__)
#include <sched.h>
#include <sys/mman.h>
#endif
#if defined(__SSE__)
#include <immintrin.h>
#endif

namespace {

#if defined(__AVX512F__)
constexpr int vectorBytes = 64, chains = 24;
#elif defined(__AVX__)
constexpr int vectorBytes = 32, chains = 12;
#elif defined(__aarch64__)
constexpr int vectorBytes = 16, chains = 24;
#else
constexpr int vectorBytes = 16, chains = 12;
#endif

typedef float F32 __attribute__((vector_size(vectorBytes)));
typedef double F64 __attribute__((vector_size(vectorBytes)));

// Full unrolling keeps the chains in registers.
#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 32")
#endif

/// Whoever computed this value must have computed all of it.
template <typename V> void use(const V &value) {
  asm volatile("" : : "m"(value) : "memory");
}

//===----------------------------------------------------------------------===//
// Loops
//===----------------------------------------------------------------------===//

/// `rounds` fused multiply-adds on each of independent chains.
template <typename V, typename Element> void multiplyAdd(long rounds) {
  V sums[chains], scale = V{} + Element(0.999), shift = V{} + Element(0.001);
  for (int i = 0; i < chains; ++i)
    sums[i] = V{} + Element(0.001) * Element(i);
  for (long round = 0; round < rounds; ++round) {
    UNROLL for (int i = 0; i < chains; ++i) sums[i] = sums[i] * scale + shift;
#if defined(__x86_64__)
    asm volatile("" : "+x"(scale)); // it may have changed
#elif defined(__aarch64__)
    asm volatile("" : "+w"(scale));
#endif
  }
  V total = sums[0];
  for (int i = 1; i < chains; ++i)
    total += sums[i];
  use(total);
}

constexpr int unrolled = 8;
constexpr size_t blockBytes = size_t(unrolled) * vectorBytes;

void load(char *memory, size_t bytes) {
  F32 sums[unrolled] = {};
  for (size_t at = 0; at < bytes; at += blockBytes) {
    const F32 *from = reinterpret_cast<const F32 *>(memory + at);
    UNROLL for (int i = 0; i < unrolled; ++i) sums[i] += from[i];
  }
  F32 total = sums[0];
  for (int i = 1; i < unrolled; ++i)
    total += sums[i];
  use(total);
}

void store(char *memory, size_t bytes) {
  F32 value = F32{} + 0.5f;
  for (size_t at = 0; at < bytes; at += blockBytes) {
    F32 *to = reinterpret_cast<F32 *>(memory + at);
    UNROLL for (int i = 0; i < unrolled; ++i) to[i] = value;
    asm volatile("" ::: "memory"); // or this becomes a call of memset
  }
}

#if defined(__SSE__)
#define HAVE_NONTEMPORAL 1
void storeNontemporal(char *memory, size_t bytes) {
  for (size_t at = 0; at < bytes; at += blockBytes) {
    float *to = reinterpret_cast<float *>(memory + at);
    UNROLL for (int i = 0; i < unrolled; ++i) {
#if defined(__AVX512F__)
      _mm512_stream_ps(to + 16 * i, _mm512_set1_ps(0.5f));
#elif defined(__AVX__)
      _mm256_stream_ps(to + 8 * i, _mm256_set1_ps(0.5f));
#else
      _mm_stream_ps(to + 4 * i, _mm_set1_ps(0.5f));
#endif
    }
  }
  _mm_sfence();
}
#elif defined(__clang__)
#define HAVE_NONTEMPORAL 1
void storeNontemporal(char *memory, size_t bytes) {
  F32 value = F32{} + 0.5f;
  for (size_t at = 0; at < bytes; at += vectorBytes)
    __builtin_nontemporal_store(value, reinterpret_cast<F32 *>(memory + at));
}
#else
#define HAVE_NONTEMPORAL 0
void storeNontemporal(char *, size_t) {}
#endif

//===----------------------------------------------------------------------===//
// Threads and time
//===----------------------------------------------------------------------===//

/// -1: wherever the system likes.
void pin(int cpu) {
#if defined(__linux__)
  if (cpu < 0)
    return;
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(cpu, &set);
  if (sched_setaffinity(0, sizeof set, &set) != 0) {
    std::fprintf(stderr, "roofs: CPU %d: cannot be used\n", cpu);
    std::exit(2);
  }
#else
  (void)cpu;
#endif
}

/// Seconds that the slowest of the threads took, the best of `repeats`.
double fastest(const std::vector<int> &cpus, int repeats,
               const std::function<void(size_t)> &work) {
  using Clock = std::chrono::steady_clock;
  double best = 1e30;
  std::vector<double> seconds(cpus.size());
  std::atomic<size_t> arrived{0};
  auto body = [&](size_t thread) {
    pin(cpus[thread]);
    work(thread); // warms up
    for (int repeat = 0; repeat < repeats; ++repeat) {
      size_t all = cpus.size() * 2 * static_cast<size_t>(repeat);
      ++arrived;
      while (arrived < all + cpus.size())
        std::this_thread::yield();
      Clock::time_point start = Clock::now();
      work(thread);
      seconds[thread] =
          std::chrono::duration<double>(Clock::now() - start).count();
      ++arrived;
      while (arrived < all + 2 * cpus.size())
        std::this_thread::yield();
      if (thread == 0)
        best =
            std::min(best, *std::max_element(seconds.begin(), seconds.end()));
    }
  };
  std::vector<std::thread> threads;
  for (size_t i = 0; i < cpus.size(); ++i)
    threads.emplace_back(body, i);
  for (std::thread &thread : threads)
    thread.join();
  return best;
}

//===----------------------------------------------------------------------===//
// Memory
//===----------------------------------------------------------------------===//

/// Linux's own account of the first CPU, since a virtual machine may report the
/// caches of the whole host to sysconf.
size_t cacheBytes(int level) {
  size_t guess = level == 2 ? size_t(512) << 10 : size_t(16) << 20;
  std::string path = "/sys/devices/system/cpu/cpu0/cache/index" +
                     std::to_string(level) + "/size";
  std::ifstream file(path);
  size_t kilobytes = 0;
  return file >> kilobytes && kilobytes > 0 ? kilobytes << 10 : guess;
}

/// In huge pages where there are any: the roof is the memory's, not the TLB's.
char *allocate(size_t bytes) {
  constexpr size_t page = size_t(2) << 20;
  void *memory = std::aligned_alloc(page, (bytes + page - 1) / page * page);
  if (!memory) {
    std::fprintf(stderr, "roofs: no memory for %zu bytes\n", bytes);
    std::exit(3);
  }
#if defined(MADV_HUGEPAGE)
  madvise(memory, (bytes + page - 1) / page * page, MADV_HUGEPAGE);
#endif
  std::fill_n(static_cast<char *>(memory), bytes, char(0));
  return static_cast<char *>(memory);
}

/// GB/s of `loop` over `bytes` in each thread's own buffer.
double bandwidth(const std::vector<int> &cpus,
                 const std::vector<char *> &memory, size_t bytes,
                 void (*loop)(char *, size_t)) {
  // Enough passes for the clock: 8 MB at least.
  size_t passes = std::max<size_t>(1, (size_t(8) << 20) / bytes);
  double seconds = fastest(cpus, 12, [&](size_t thread) {
    for (size_t pass = 0; pass < passes; ++pass)
      loop(memory[thread], bytes);
  });
  return static_cast<double>(bytes) * static_cast<double>(passes) *
         static_cast<double>(cpus.size()) / seconds * 1e-9;
}

template <typename V, typename Element>
double peakGflops(const std::vector<int> &cpus) {
  constexpr long rounds = 200000;
  double seconds =
      fastest(cpus, 20, [](size_t) { multiplyAdd<V, Element>(rounds); });
  return 2.0 * chains * (vectorBytes / sizeof(Element)) * rounds *
         static_cast<double>(cpus.size()) / seconds * 1e-9;
}

} // namespace

int main(int count, char **arguments) {
  std::vector<int> cpus;
  for (int i = 1; i < count; ++i) {
    char *end = nullptr;
    long cpu = std::strtol(arguments[i], &end, 10);
    if (*end || end == arguments[i] || cpu < 0 || cpu > 1 << 16) {
      std::fprintf(stderr, "roofs: CPU '%s': valid: its number\n",
                   arguments[i]);
      return 2;
    }
    cpus.push_back(static_cast<int>(cpu));
  }
  if (cpus.empty())
    cpus.push_back(-1);

  size_t l2 = cacheBytes(2), l3 = cacheBytes(3), all = cpus.size();
  // Half of L2; of L3 what is surely out of L2 and surely within a share of L3;
  // of memory far more than L3, over all threads.
  size_t sizes[] = {l2 / 2, std::max(4 * l2, l3 / 4 / all),
                    std::max(size_t(256) << 20, 8 * l3) / all};
  const char *names[] = {"l2", "l3", "memory"};
  std::vector<char *> memory;
  for (size_t &bytes : sizes)
    bytes = bytes / blockBytes * blockBytes;
  for (size_t i = 0; i < all; ++i)
    memory.push_back(allocate(sizes[2]));

  std::printf("{\"threads\": %zu, \"vector_bits\": %d", all, vectorBytes * 8);
  std::printf(", \"fma_gflops\": {\"f32\": %.2f", peakGflops<F32, float>(cpus));
  std::printf(", \"f64\": %.2f}", peakGflops<F64, double>(cpus));
  std::printf(", \"cache_bytes\": {\"l2\": %zu, \"l3\": %zu}", l2, l3);
  auto level = [&](const char *what, void (*loop)(char *, size_t)) {
    std::printf(", \"%s\": {", what);
    for (int i = 0; i < 3; ++i)
      std::printf("%s\"%s\": %.2f", i ? ", " : "", names[i],
                  bandwidth(cpus, memory, sizes[i], loop));
    std::printf("}");
  };
  level("load_gbs", load);
  level("store_gbs", store);
  if (HAVE_NONTEMPORAL)
    std::printf(", \"nontemporal_store_gbs\": {\"memory\": %.2f}",
                bandwidth(cpus, memory, sizes[2], storeNontemporal));
  std::printf("}\n");
  return 0;
}
