//===- MemoryTest.cpp - the C interface without memory -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "ScaledKernel.h"

#include <cstdlib>
#include <functional>
#include <new>

// ThreadSanitizer has an operator new of its own, which cannot be replaced.
#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define NO_FAILING_MEMORY
#endif
#endif

#ifndef NO_FAILING_MEMORY
namespace {

/// Allocations of this thread until one fails, and whether all later ones do.
thread_local int64_t allocationsLeft = INT64_MAX;
thread_local bool failsForever = false, hasFailed = false;

void *allocate(size_t bytes, size_t alignment) {
  if ((failsForever && hasFailed) || allocationsLeft-- == 0) {
    hasFailed = true;
    throw std::bad_alloc();
  }
  void *memory = nullptr;
  if (posix_memalign(&memory, std::max(alignment, sizeof(void *)),
                     std::max<size_t>(bytes, 1)))
    throw std::bad_alloc();
  return memory;
}

} // namespace

// The library's too, as it takes these from the program.
void *operator new(size_t bytes) { return allocate(bytes, 16); }
void *operator new(size_t bytes, std::align_val_t alignment) {
  return allocate(bytes, static_cast<size_t>(alignment));
}
void operator delete(void *memory) noexcept { std::free(memory); }
void operator delete(void *memory, size_t) noexcept { std::free(memory); }
void operator delete(void *memory, std::align_val_t) noexcept {
  std::free(memory);
}
void operator delete(void *memory, size_t, std::align_val_t) noexcept {
  std::free(memory);
}

namespace {

class MemoryTest : public RuntimeTest {};

/// `function` where the first allocation fails, then the second, and so on
/// until it makes no more: that one alone, and that one with all after it.
/// Returns how many it makes.
int64_t
starved(const char *name,
        const std::function<convjit_status(convjit_error **)> &function) {
  int64_t reached = 0;
  for (bool forever : {false, true})
    for (int64_t allowed = 0; allowed < 1000; ++allowed) {
      convjit_error *error = nullptr;
      failsForever = forever;
      hasFailed = false;
      allocationsLeft = allowed;
      convjit_status status = function(&error);
      allocationsLeft = INT64_MAX;
      failsForever = false;
      std::string message = convjit_error_message(error);
      EXPECT_EQ(convjit_error_status(error), status);
      convjit_error_release(error);
      if (!hasFailed) {
        EXPECT_EQ(status, CONVJIT_OK) << name << ": " << message;
        reached += allowed;
        break;
      }
      // A helper thread that could not be asked is done without.
      if (status != CONVJIT_OK) {
        EXPECT_EQ(status, CONVJIT_STATUS_OUT_OF_MEMORY)
            << name << " after " << allowed << ": " << message;
        EXPECT_EQ(message.rfind("out of memory", 0), 0u) << message;
      }
    }
  return reached;
}

TEST_F(MemoryTest, FailsAtAnyAllocation) {
  int64_t made = 0;
  Context context;
  auto options = make<convjit_context_options>();
  options.threads = 2;
  options.cache_directory = "/a/directory/whose/name/is/not/a/short/string";
  made += starved("context_create", [&](convjit_error **error) {
    return convjit_context_create(&options, context.out(), error);
  });
  EXPECT_TRUE(context);
  Layer layer;
  made += starved("layer_parse", [&](convjit_error **error) {
    return convjit_layer_parse("convT2d:s=2,in=5x4x3,k=3,oc=7,bias,act=relu",
                               layer.out(), error);
  });
  made += starved("layer_parse, a gradient", [&](convjit_error **error) {
    return convjit_layer_parse("convT2d:s=2,in=5x4x3,k=3,oc=7,grad=weight",
                               layer.out(), error);
  });
  convjit_convolution conv;
  convjit_convolution_init(&conv, sizeof conv, 2);
  conv.input_channels = 2;
  conv.output_channels = 3;
  conv.input[0] = conv.input[1] = 9;
  conv.kernel[0] = conv.kernel[1] = 3;
  std::vector<double> mask(54, 1);
  conv.mask = mask.data();
  conv.mask_size = mask.size();
  made += starved("layer_create", [&](convjit_error **error) {
    return convjit_layer_create(&conv, layer.out(), error);
  });
  made += starved("layer_set_mask", [&](convjit_error **error) {
    return convjit_layer_set_mask(layer.get(), mask.data(), mask.size(), error);
  });
  int64_t shape[CONVJIT_MAX_RANK];
  int32_t rank = 0;
  made += starved("layer_shape", [&](convjit_error **error) {
    return convjit_layer_shape(layer.get(), CONVJIT_TENSOR_OUTPUT, 2, shape,
                               &rank, error);
  });
  convjit_aot_kernel aot = scaled(/*scratch=*/20);
  made += starved("kernel_from_aot", [&](convjit_error **error) {
    return convjit_kernel_from_aot(context.get(), &aot, kernel.out(), error);
  });
  auto info = make<convjit_kernel_info>();
  made += starved("kernel_get_info", [&](convjit_error **error) {
    return convjit_kernel_get_info(kernel.get(), &info, error);
  });
  float weights[2] = {3, 4}, packed = 0;
  Tensor weight(weights, {1, 1, 1, 1}, {1, 1, 1, -1});
  const convjit_tensor *w = weight.get();
  made += starved("kernel_pack", [&](convjit_error **error) {
    return convjit_kernel_pack(kernel.get(), w, &packed, 4, error);
  });

  build(aot, context.get());
  std::vector<float> wide(batch * 12);
  for (size_t i = 0; i < x.size(); ++i)
    wide[i * 2] = x[i];
  Tensor input(wide.data(), {batch, 2, 3, 1}, {12, 6, 2, 1}),
      output(y.data(), {batch, 2, 3, 1});
  auto now = make<convjit_call>();
  now.input = input.get();
  now.packed_weights = &packed;
  now.output = output.get();
  size_t bytes = 0;
  made += starved("kernel_scratch_bytes", [&](convjit_error **error) {
    return convjit_kernel_scratch_bytes(kernel.get(), &now, &bytes, error);
  });
  auto host = make<convjit_executor>();
  host.concurrency = 3;
  host.submit = [](void *, void (*work)(void *), void *data) -> int32_t {
    work(data);
    return 0;
  };
  auto loop = make<convjit_executor>();
  loop.concurrency = 3;
  loop.parallel_for = [](void *, int64_t tasks, convjit_task task,
                         void *data) -> int32_t {
    task(data, 0, tasks);
    return 0;
  };
  for (const convjit_executor *executor :
       {static_cast<convjit_executor *>(nullptr), &host, &loop}) {
    std::fill(y.begin(), y.end(), -1.f);
    now.executor = executor;
    made += starved("kernel_run", [&](convjit_error **error) {
      return convjit_kernel_run(kernel.get(), &now, error);
    });
    expectScaled();
  }
  convjit_kernel_args args{};
  args.input = x.data();
  args.packed_weights = &packed;
  args.output = y.data();
  args.batch = batch;
  made += starved("kernel_run_dense", [&](convjit_error **error) {
    return convjit_kernel_run_dense(kernel.get(), &args, nullptr, error);
  });
  // With fewer the library would not allocate through this file.
  EXPECT_GT(made, 200);
}

} // namespace
#endif
