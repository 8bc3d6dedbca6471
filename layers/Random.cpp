//===- Random.cpp - JAX's random numbers -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "convjit/nn/Random.h"
#include "Elements.h"
#include "SpecialFunctions.h"

#include <algorithm>
#include <bit>
#include <chrono>
#include <cmath>
#include <limits>
#include <random>
#include <span>
#include <utility>

using namespace convjit;
using namespace convjit::nn;

/// Threefry-2x32 with 20 rounds (Salmon, Moraes, Dror, Shaw 2011).
static std::pair<uint32_t, uint32_t> threefry(Key key, uint64_t counter) {
  constexpr int rotations[2][4] = {{13, 15, 26, 6}, {17, 29, 16, 24}};
  const uint32_t schedule[3] = {key.hi, key.lo, key.hi ^ key.lo ^ 0x1bd11bdau};
  uint32_t a = static_cast<uint32_t>(counter >> 32) + schedule[0];
  uint32_t b = static_cast<uint32_t>(counter) + schedule[1];
  for (uint32_t block = 0; block < 5; ++block) {
    for (int rotation : rotations[block % 2]) {
      a += b;
      b = std::rotl(b, rotation) ^ a;
    }
    a += schedule[(block + 1) % 3];
    b += schedule[(block + 2) % 3] + block + 1;
  }
  return {a, b};
}

Key nn::prngKey(int64_t seed, bool wide) {
  auto bits = static_cast<uint64_t>(seed);
  return {wide ? static_cast<uint32_t>(bits >> 32) : 0,
          static_cast<uint32_t>(bits)};
}

std::vector<Key> nn::split(Key key, size_t count) {
  std::vector<Key> keys(count);
  for (size_t i = 0; i < count; ++i) {
    auto [hi, lo] = threefry(key, i);
    keys[i] = {hi, lo};
  }
  return keys;
}

Key nn::foldIn(Key key, uint32_t data) {
  auto [hi, lo] = threefry(key, data);
  return {hi, lo};
}

uint32_t nn::randomBits32(Key key, uint64_t index) {
  auto [hi, lo] = threefry(key, index);
  return hi ^ lo;
}

uint64_t nn::randomBits64(Key key, uint64_t index) {
  auto [hi, lo] = threefry(key, index);
  return static_cast<uint64_t>(hi) << 32 | lo;
}

namespace {

/// Uniform in [low, high): the leading bits become the fraction of a number in
/// [1, 2). XLA contracts the product and the sum.
template <typename T> class UniformDraw {
public:
  UniformDraw(Key key, T low, T high) : key(key), low(low), range(high - low) {}
  T operator()(uint64_t index) const {
    T fraction;
    if constexpr (sizeof(T) == 4)
      fraction =
          std::bit_cast<float>(randomBits32(key, index) >> 9 | 0x3f800000u) - 1;
    else
      fraction = std::bit_cast<double>(randomBits64(key, index) >> 12 |
                                       0x3ff0000000000000u) -
                 1;
    return std::max(low, std::fma(fraction, range, low));
  }

private:
  Key key;
  T low, range;
};

float inverse(float x) { return erfInvXla(x); }
double inverse(double x) { return erfInv(x); }
float erf(float x) { return erfXla(x); }
double erf(double x) { return std::erf(x); }

template <typename T> constexpr T sqrt2 = static_cast<T>(1.41421356237309505);

template <typename T>
void fillUniform(Key key, double low, double high, std::span<T> to) {
  UniformDraw<T> draw(key, static_cast<T>(low), static_cast<T>(high));
  for (size_t i = 0; i < to.size(); ++i)
    to[i] = draw(i);
}

template <typename T> void fillNormal(Key key, std::span<T> to) {
  UniformDraw<T> draw(key, std::nextafter(T(-1), T(0)), T(1));
  for (size_t i = 0; i < to.size(); ++i)
    to[i] = sqrt2<T> * inverse(draw(i));
}

template <typename T>
void fillTruncated(Key key, const Truncation &cut, std::span<T> to) {
  constexpr T infinity = std::numeric_limits<T>::infinity();
  auto lower = static_cast<T>(cut.lower), upper = static_cast<T>(cut.upper);
  auto loc = static_cast<T>(cut.loc), scale = static_cast<T>(cut.scale);
  auto distribution = [](T x) { return (1 + erf(x / sqrt2<T>)) / 2; };
  T low = 2 * distribution((lower - loc) / scale) - 1;
  T high = 2 * distribution((upper - loc) / scale) - 1;
  UniformDraw<T> draw(key, std::nextafter(low, infinity),
                      std::nextafter(high, -infinity));
  T least = std::nextafter(lower, infinity);
  T most = std::nextafter(upper, -infinity);
  for (size_t i = 0; i < to.size(); ++i) {
    T value = inverse(draw(i)) * scale * sqrt2<T> + loc;
    to[i] = std::min(std::max(value, least), most);
  }
}

/// An array whose elements `fill` writes, given a span of float or of double.
template <typename Fill>
Expected<Array> filled(const char *what, const std::vector<int64_t> &shape,
                       DataType dtype, Fill fill) {
  if (Status s = checkShape(what, shape, dtype); !s)
    return s.takeError();
  return withinMemory([&]() -> Expected<Array> {
    Array array = zeros(dtype, shape);
    withType(dtype, [&](auto zero) { fill(elements<decltype(zero)>(array)); });
    return array;
  });
}

} // namespace

Expected<Array> nn::uniform(Key key, const std::vector<int64_t> &shape,
                            DataType dtype, double low, double high) {
  return filled("uniform", shape, dtype,
                [&](auto to) { fillUniform(key, low, high, to); });
}

Expected<Array> nn::normal(Key key, const std::vector<int64_t> &shape,
                           DataType dtype) {
  return filled("normal", shape, dtype, [&](auto to) { fillNormal(key, to); });
}

Expected<Array> nn::truncatedNormal(Key key, const std::vector<int64_t> &shape,
                                    DataType dtype, const Truncation &cut) {
  return filled("truncatedNormal", shape, dtype,
                [&](auto to) { fillTruncated(key, cut, to); });
}

RandomState::RandomState() {
  // The device throws where there is none; a clock is better than no layer.
  try {
    std::random_device device;
    key = {device(), device()};
  } catch (...) {
    key = prngKey(std::chrono::steady_clock::now().time_since_epoch().count(),
                  /*wide=*/true);
  }
}

void RandomState::seed(int64_t seed) {
  std::lock_guard<std::mutex> lock(mutex);
  key = prngKey(seed);
}

Key RandomState::next() {
  std::lock_guard<std::mutex> lock(mutex);
  std::vector<Key> keys = split(key);
  key = keys[0];
  return keys[1];
}

RandomState &nn::defaultRandomState() {
  static RandomState state;
  return state;
}

void nn::seed(int64_t seed) { defaultRandomState().seed(seed); }
