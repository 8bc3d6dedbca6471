//===- Random.h - random numbers that are the same everywhere -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef CONVJIT_RANDOM_H
#define CONVJIT_RANDOM_H

#include <cstdint>
#include <initializer_list>

namespace convjit {

/// SplitMix64 (Steele, Lea, Flood 2014). The standard library's distributions
/// differ between implementations; a seed has to mean the same case on all.
class Random {
public:
  explicit Random(uint64_t seed) : state(seed) {}

  uint64_t next() {
    uint64_t z = (state += 0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
  }
  /// Uniform in [0, count).
  int64_t below(int64_t count) {
    return static_cast<int64_t>(next() % static_cast<uint64_t>(count));
  }
  /// Uniform in [lo, hi].
  int64_t between(int64_t lo, int64_t hi) { return lo + below(hi - lo + 1); }
  /// True in `percent` of 100 cases.
  bool chance(int64_t percent) { return below(100) < percent; }
  /// Uniform in [-1, 1), in steps of 2^-23.
  double unit() { return static_cast<double>(below(1 << 24)) / (1 << 23) - 1; }
  template <typename T> T pick(std::initializer_list<T> values) {
    return values.begin()[below(static_cast<int64_t>(values.size()))];
  }

private:
  uint64_t state;
};

} // namespace convjit

#endif // CONVJIT_RANDOM_H
