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

/// A function that runs `count` rounds over `chains` vectors and returns what
/// keeps them from being optimized away. There are fewer chains than registers,
/// and more than cover the latency of a product and a sum: twelve just do on
/// Zen 4, and measure 47 or 59 GFLOP/s of SSE. The empty asm may have changed
/// the scale, for all the compiler knows. A macro because functions for
/// different CPUs cannot share inlined code.
#define CONVJIT_PEAK(function, element, attributes, bytes, chains, constraint) \
  attributes double function(long count) {                                     \
    typedef element V __attribute__((vector_size(bytes)));                     \
    V sums[chains], scale = V{} + element(0.999),                              \
                    shift = V{} + element(0.001);                              \
    for (int i = 0; i < chains; ++i)                                           \
      sums[i] = V{} + element(0.001) * element(i);                             \
    for (long round = 0; round < count; ++round) {                             \
      _Pragma("clang loop unroll(full)") for (int i = 0; i < chains; ++i) {    \
        _Pragma("clang fp contract(fast)") sums[i] = sums[i] * scale + shift;  \
      }                                                                        \
      asm volatile("" : "+" constraint(scale));                                \
    }                                                                          \
    double total = 0;                                                          \
    for (int i = 0; i < chains; ++i)                                           \
      total += static_cast<double>(sums[i][0]);                                \
    return total;                                                              \
  }

using Loop = double (*)(long);
struct PeakLoop {
  Loop loop;
  double flopsARound;
};

#if defined(__x86_64__)
#define CONVJIT_AVX512 __attribute__((target("avx512f,avx512vl")))
#define CONVJIT_FMA __attribute__((target("avx,fma")))
#define CONVJIT_AVX __attribute__((target("avx")))
CONVJIT_PEAK(f32_avx512, float, CONVJIT_AVX512, 64, 24, "v")
CONVJIT_PEAK(f64_avx512, double, CONVJIT_AVX512, 64, 24, "v")
CONVJIT_PEAK(f32_fma, float, CONVJIT_FMA, 32, 12, "x")
CONVJIT_PEAK(f64_fma, double, CONVJIT_FMA, 32, 12, "x")
CONVJIT_PEAK(f32_avx, float, CONVJIT_AVX, 32, 14, "x")
CONVJIT_PEAK(f64_avx, double, CONVJIT_AVX, 32, 14, "x")
CONVJIT_PEAK(f32_sse, float, , 16, 14, "x")
CONVJIT_PEAK(f64_sse, double, , 16, 14, "x")

PeakLoop choose(DataType dtype, VectorUnits units) {
  bool f32 = dtype == DataType::F32;
  double lanes = f32 ? 4 : 2;
  if (units.bits >= 512)
    return {f32 ? f32_avx512 : f64_avx512, 24 * 4 * lanes * 2};
  if (units.bits >= 256 && units.fusedMultiplyAdd)
    return {f32 ? f32_fma : f64_fma, 12 * 2 * lanes * 2};
  if (units.bits >= 256)
    return {f32 ? f32_avx : f64_avx, 14 * 2 * lanes * 2};
  return {f32 ? f32_sse : f64_sse, 14 * lanes * 2};
}
#else
CONVJIT_PEAK(f32_generic, float, , 16, 24, "w")
CONVJIT_PEAK(f64_generic, double, , 16, 24, "w")

PeakLoop choose(DataType dtype, VectorUnits) {
  bool f32 = dtype == DataType::F32;
  return {f32 ? f32_generic : f64_generic, 24 * (f32 ? 4.0 : 2.0) * 2};
}
#endif

} // namespace

double convjit::cli::measurePeakGflops(DataType dtype, VectorUnits units) {
  using Clock = std::chrono::steady_clock;
  PeakLoop kernel = choose(dtype, units);
  constexpr long count = 100000;
  double best = 0;
  for (int repeat = 0; repeat < 40; ++repeat) {
    Clock::time_point start = Clock::now();
    volatile double sum = kernel.loop(count);
    std::chrono::duration<double> seconds = Clock::now() - start;
    (void)sum;
    best = std::max(best, count * kernel.flopsARound / seconds.count() * 1e-9);
  }
  return best;
}
