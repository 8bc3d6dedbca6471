//===- Peak.cpp - the machine's arithmetic peak, measured -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Peak.h"

#include <algorithm>
#include <chrono>

using namespace convjit;

namespace {

/// Runs `count` rounds over `chains` vectors and returns their sum, so that
/// nothing is optimized away. The compiler keeps the chains in registers: there
/// are fewer than the target has.
template <typename Vector, int chains>
__attribute__((always_inline)) inline double rounds(long count) {
  Vector sums[chains];
  Vector scale = Vector{} + 0.999f, shift = Vector{} + 0.001f;
  for (int i = 0; i < chains; ++i)
    sums[i] = Vector{} + 0.001f * static_cast<float>(i);
  for (long round = 0; round < count; ++round) {
#pragma clang loop unroll(full)
    for (int i = 0; i < chains; ++i) {
#pragma clang fp contract(fast)
      sums[i] = sums[i] * scale + shift;
    }
    // The scale may have changed, for all the compiler knows.
    asm volatile("" : "+m"(scale));
  }
  double total = 0;
  for (int i = 0; i < chains; ++i)
    total += static_cast<double>(sums[i][0]);
  return total;
}

template <typename T, int bytes>
using VectorOf __attribute__((vector_size(bytes))) = T;

using Loop = double (*)(long);
struct Kernel {
  Loop loop;
  double flopsARound;
};

#if defined(__x86_64__)
#define CONVJIT_PEAK(suffix, target_features, bytes, chains)                   \
  __attribute__((target(target_features))) double f32_##suffix(long count) {   \
    typedef float V __attribute__((vector_size(bytes)));                       \
    return rounds<V, chains>(count);                                           \
  }                                                                            \
  __attribute__((target(target_features))) double f64_##suffix(long count) {   \
    typedef double V __attribute__((vector_size(bytes)));                      \
    return rounds<V, chains>(count);                                           \
  }
CONVJIT_PEAK(avx512, "avx512f,prefer-256-bit", 64, 24)
CONVJIT_PEAK(avx2, "avx2,fma", 32, 12)
CONVJIT_PEAK(sse, "sse2", 16, 12)
#undef CONVJIT_PEAK

Kernel choose(DataType dtype) {
  bool f32 = dtype == DataType::F32;
  double lanes = f32 ? 4 : 2;
  if (__builtin_cpu_supports("avx512f"))
    return {f32 ? f32_avx512 : f64_avx512, 24 * 4 * lanes * 2};
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
    return {f32 ? f32_avx2 : f64_avx2, 12 * 2 * lanes * 2};
  return {f32 ? f32_sse : f64_sse, 12 * lanes * 2};
}
#else
double f32_generic(long count) {
  typedef float V __attribute__((vector_size(16)));
  return rounds<V, 24>(count);
}
double f64_generic(long count) {
  typedef double V __attribute__((vector_size(16)));
  return rounds<V, 24>(count);
}
Kernel choose(DataType dtype) {
  bool f32 = dtype == DataType::F32;
  return {f32 ? f32_generic : f64_generic, 24 * (f32 ? 4.0 : 2.0) * 2};
}
#endif

} // namespace

double convjit::cli::measurePeakGflops(DataType dtype) {
  using Clock = std::chrono::steady_clock;
  Kernel kernel = choose(dtype);
  constexpr long count = 100000;
  double best = 0;
  static volatile double sink;
  for (int repeat = 0; repeat < 40; ++repeat) {
    Clock::time_point start = Clock::now();
    sink = kernel.loop(count);
    std::chrono::duration<double> seconds = Clock::now() - start;
    best = std::max(best, count * kernel.flopsARound / seconds.count() * 1e-9);
  }
  return best;
}
