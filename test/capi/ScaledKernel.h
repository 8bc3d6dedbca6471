//===- ScaledKernel.h - a kernel that is no compiler's -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef CONVJIT_TEST_SCALEDKERNEL_H
#define CONVJIT_TEST_SCALEDKERNEL_H

#include "convjit/convjit.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <thread>

using namespace convjit::host;

/// y = x*w + scratch's first element, which the task itself stores as 0: a task
/// whose scratch another one uses at the same time gives something else.
inline void runScaled(const convjit_kernel_args *args, int64_t begin,
                      int64_t end) {
  const auto *x = static_cast<const float *>(args->input);
  const auto *w = static_cast<const float *>(args->packed_weights);
  auto *y = static_cast<float *>(args->output);
  auto *own = static_cast<float *>(args->scratch);
  for (int64_t task = begin; task < end; ++task)
    for (int64_t i = 0; i < 6; ++i) {
      if (own) {
        own[0] = static_cast<float>(task);
        std::this_thread::yield();
      }
      float wrong = own ? own[0] - static_cast<float>(task) : 0;
      y[task * 6 + i] = x[task * 6 + i] * w[0] + wrong;
    }
}
inline void packOne(const void *weights, void *packed) {
  std::memcpy(packed, weights, 4);
}

inline convjit_aot_kernel scaled(size_t scratch = 0) {
  convjit_aot_kernel aot{};
  aot.struct_size = sizeof aot;
  aot.problem = "conv2d:in=2x3x1,oc=1,k=1";
  aot.target = "any";
  aot.plan = "by hand";
  aot.packed_weight_bytes = 4;
  aot.scratch_bytes = scratch;
  aot.tasks_per_image = 1;
  aot.batch_groups = 1;
  aot.pack = packOne;
  aot.run = runScaled;
  return aot;
}

/// A host's memory that counts and can be made to fail.
struct Counted {
  std::atomic<int64_t> blocks{0}, calls{0};
  std::atomic<int64_t> left{INT64_MAX};

  static void *allocate(void *user, size_t bytes, size_t alignment) {
    auto &self = *static_cast<Counted *>(user);
    ++self.calls;
    if (self.left-- <= 0)
      return nullptr;
    ++self.blocks;
    return ::operator new(bytes, std::align_val_t(alignment));
  }
  static void release(void *user, void *memory, size_t bytes,
                      size_t alignment) {
    --static_cast<Counted *>(user)->blocks;
    ::operator delete(memory, bytes, std::align_val_t(alignment));
  }
  convjit_allocator allocator() {
    auto made = make<convjit_allocator>();
    made.user = this;
    made.allocate = allocate;
    made.release = release;
    return made;
  }
};

class RuntimeTest : public ::testing::Test {
protected:
  void build(const convjit_aot_kernel &aot, convjit_context *context) {
    Result made = call(convjit_kernel_from_aot, context, &aot, kernel.out());
    ASSERT_TRUE(made) << made.message();
    for (size_t i = 0; i < x.size(); ++i)
      x[i] = static_cast<float>(i + 1);
  }

  /// x, y of `batch` images; the weight is 3.
  Result run(const convjit_executor *executor = nullptr) {
    std::fill(y.begin(), y.end(), -1.f);
    Tensor input(x.data(), {batch, 2, 3, 1}),
        output(y.data(), {batch, 2, 3, 1});
    auto now = make<convjit_call>();
    now.input = input.get();
    now.packed_weights = &weight;
    now.output = output.get();
    now.executor = executor;
    return call(convjit_kernel_run, kernel.get(), &now);
  }
  void expectScaled() {
    for (size_t i = 0; i < x.size(); ++i)
      ASSERT_EQ(y[i], 3 * x[i]) << i;
  }

  static constexpr int64_t batch = 41;
  std::vector<float> x = std::vector<float>(batch * 6);
  std::vector<float> y = std::vector<float>(batch * 6);
  float weight = 3;
  Kernel kernel;
};

#endif // CONVJIT_TEST_SCALEDKERNEL_H
