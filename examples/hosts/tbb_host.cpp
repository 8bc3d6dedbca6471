// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

// A program whose threads are oneTBB's: kernels run on them, and any number of
// its tasks may run kernels at once.

#include <convjit/convjit.hpp>

#include <oneapi/tbb/global_control.h>
#include <oneapi/tbb/parallel_for.h>
#include <oneapi/tbb/task_arena.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>

using namespace convjit::host;

static void check(const Result &result) {
  if (result)
    return;
  std::fprintf(stderr, "%s: %s\n", convjit_status_name(result.status()),
               result.message());
  std::exit(1);
}

static std::atomic<int> ranges{0};

// An exception of oneTBB's may leave here: convjit_kernel_run then says that
// the executor failed.
static int32_t parallelFor(void *, int64_t tasks, convjit_task task,
                           void *data) {
  tbb::parallel_for(tbb::blocked_range<int64_t>(0, tasks),
                    [=](const tbb::blocked_range<int64_t> &range) {
                      ++ranges;
                      task(data, range.begin(), range.end());
                    });
  return 0;
}

int main() {
  auto threads = make<convjit_executor>();
  threads.parallel_for = parallelFor;
  // Also where the machine has one processor.
  tbb::global_control width(tbb::global_control::max_allowed_parallelism, 4);
  threads.concurrency = 4;

  auto options = make<convjit_context_options>();
  options.cache = CONVJIT_CACHE_MEMORY;
  options.executor = &threads;
  Context context;
  check(call(convjit_context_create, &options, context.out()));
  Layer layer;
  check(call(convjit_layer_parse, "convT2d:in=16x16x8,oc=8,k=2,s=2,bias",
             layer.out()));

  // Twelve callers, one compilation. All ones: a sum over 8 channels, and 1.
  std::atomic<int> wrong{0};
  tbb::parallel_for(0, 12, [&](int caller) {
    Kernel kernel;
    check(call(convjit_compile, context.get(), layer.get(), nullptr,
               kernel.out()));
    auto info = make<convjit_kernel_info>();
    check(call(convjit_kernel_get_info, kernel.get(), &info));
    auto value = static_cast<float>(caller);
    std::vector<float> ones(2 * 2 * 8 * 8, 1), x(3 * 16 * 16 * 8, value),
        y(3 * 32 * 32 * 8), packed(info.packed_weight_bytes / 4);
    Tensor weight(ones.data(), {2, 2, 8, 8}), bias(ones.data(), {8}),
        input(x.data(), {3, 16, 16, 8}), output(y.data(), {3, 32, 32, 8});
    check(call(convjit_kernel_pack, kernel.get(), weight.get(), packed.data(),
               info.packed_weight_bytes));
    auto now = make<convjit_call>();
    now.input = input.get();
    now.packed_weights = packed.data();
    now.bias = bias.get();
    now.output = output.get();
    check(call(convjit_kernel_run, kernel.get(), &now));
    for (float sum : y)
      wrong += sum != 8 * value + 1;
  });
  std::printf("%d wrong, %s\n", wrong.load(),
              ranges > 12 ? "on oneTBB's threads" : "not in parallel");
  return wrong != 0 || ranges <= 12;
}
