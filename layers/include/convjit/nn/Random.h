//===- Random.h - JAX's random numbers -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The random bits of jax.random with its default generator, threefry2x32, and
// jax_threefry_partitionable (the default since JAX 0.5): the same key gives
// the same bits here and there, on any CPU.
//
// Uniform draws agree with XLA's CPU backend bit for bit. Normal draws go
// through erf_inv, whose logarithm XLA approximates: they agree within 2 ulp.
//
//===----------------------------------------------------------------------===//

#ifndef CONVJIT_NN_RANDOM_H
#define CONVJIT_NN_RANDOM_H

#include "convjit/Npy.h"

#include <cstdint>
#include <mutex>
#include <vector>

namespace convjit::nn {

/// A key of threefry2x32, as jax.random.key_data shows it: (hi, lo).
struct Key {
  uint32_t hi = 0;
  uint32_t lo = 0;
  bool operator==(const Key &) const = default;
};

/// jax.random.PRNGKey(seed). JAX without jax_enable_x64, its default, takes the
/// low 32 bits of the seed; `wide` is what it does with that flag.
Key prngKey(int64_t seed, bool wide = false);

/// jax.random.split(key, count).
std::vector<Key> split(Key key, size_t count = 2);

/// jax.random.fold_in(key, data).
Key foldIn(Key key, uint32_t data);

/// jax.random.bits of element `index` in row-major order.
uint32_t randomBits32(Key key, uint64_t index);
uint64_t randomBits64(Key key, uint64_t index);

/// jax.random.uniform(key, shape, dtype, low, high). Errors of this and the
/// next: a shape with a negative size or of more than 2^44 bytes, no memory.
Expected<Array> uniform(Key key, const std::vector<int64_t> &shape,
                        DataType dtype, double low = 0, double high = 1);

/// jax.random.normal(key, shape, dtype).
Expected<Array> normal(Key key, const std::vector<int64_t> &shape,
                       DataType dtype);

/// What a truncated normal distribution is cut from and where.
struct Truncation {
  double lower = -2, upper = 2; ///< of the values drawn
  double loc = 0, scale = 1;    ///< of the normal before it is cut
};

/// brainstate.random.truncated_normal: the inverse of the normal's distribution
/// function at uniform values between those of the bounds.
Expected<Array> truncatedNormal(Key key, const std::vector<int64_t> &shape,
                                DataType dtype, const Truncation &cut = {});

/// A source of keys, as brainstate.random.RandomState: each draw splits the key
/// in two, keeps the first and uses the second. Thread-safe.
class RandomState {
public:
  /// Seeded by the operating system.
  RandomState();
  explicit RandomState(int64_t seed) : key(prngKey(seed)) {}
  explicit RandomState(Key key) : key(key) {}

  void seed(int64_t seed);
  Key next();

private:
  std::mutex mutex;
  Key key;
};

/// What initializers without a seed of their own draw from, in the order of
/// their draws; seeded by the operating system until `seed` is called.
/// Corresponds to brainstate.random.seed.
RandomState &defaultRandomState();
void seed(int64_t seed);

} // namespace convjit::nn

#endif // CONVJIT_NN_RANDOM_H
