//===- RuntimeTest.cpp - the C interface without a compiler -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "ScaledKernel.h"

#include <functional>
#include <mutex>
#include <stdexcept>

namespace {

TEST_F(RuntimeTest, Versions) {
  EXPECT_EQ(convjit_version(), CONVJIT_VERSION);
  EXPECT_STREQ(convjit_version_string(), "0.1.0");
  EXPECT_EQ(convjit_has_compiler(), 0);
  EXPECT_STREQ(convjit_status_name(CONVJIT_STATUS_NOT_FOUND), "not found");
  EXPECT_STREQ(convjit_status_name(99), "unknown status");
}

TEST_F(RuntimeTest, RunsAnAheadOfTimeKernel) {
  build(scaled(), nullptr);
  EXPECT_STREQ(convjit_kernel_problem(kernel.get()), scaled().problem);
  EXPECT_STREQ(convjit_kernel_plan(kernel.get()), "by hand");
  auto info = make<convjit_kernel_info>();
  ASSERT_TRUE(call(convjit_kernel_get_info, kernel.get(), &info));
  EXPECT_EQ(info.packed_weight_bytes, 4u);
  EXPECT_EQ(info.rank, 2);
  EXPECT_EQ(info.run, runScaled);
  float given = 3, packed = 0;
  Tensor w(&given, {1, 1, 1, 1});
  ASSERT_TRUE(call(convjit_kernel_pack, kernel.get(), w.get(), &packed, 4u));
  EXPECT_EQ(packed, 3);
  Kernel second = share(kernel);
  kernel = Kernel();
  kernel = std::move(second);
  ASSERT_TRUE(run());
  expectScaled();
}

TEST_F(RuntimeTest, RefusesBadDescriptors) {
  auto refused = [&](auto change, const char *text) {
    convjit_aot_kernel aot = scaled();
    change(aot);
    Result made = call(convjit_kernel_from_aot, nullptr, &aot, kernel.out());
    EXPECT_EQ(made.status(), CONVJIT_STATUS_INVALID_ARGUMENT);
    EXPECT_NE(std::string(made.message()).find(text), std::string::npos)
        << made.message();
    EXPECT_FALSE(kernel);
  };
  refused([](auto &aot) { aot.struct_size = 8; }, "aot.struct_size=8");
  refused([](auto &aot) { aot.problem = nullptr; }, "aot.problem");
  refused([](auto &aot) { aot.problem = "conv2d:in=2"; }, "conv2d:in=2");
  refused([](auto &aot) { aot.run = nullptr; }, "aot.run");
  refused([](auto &aot) { aot.batch_groups = 2; }, "aot.batch_groups=2");
  refused([](auto &aot) { aot.tasks_per_image = -1; }, "tasks_per_image=-1");
  refused([](auto &aot) { aot.scratch_bytes = SIZE_MAX; },
          "aot.scratch_bytes=18446744073709551615");
  refused([](auto &aot) { aot.packed_weight_bytes = size_t(1) << 48; },
          "aot.packed_weight_bytes=281474976710656");
}

TEST_F(RuntimeTest, StructSizes) {
  auto options = make<convjit_context_options>();
  Context context;
  options.struct_size = 8;
  Result made = call(convjit_context_create, &options, context.out());
  EXPECT_EQ(made.status(), CONVJIT_STATUS_INVALID_ARGUMENT);
  EXPECT_NE(std::string(made.message()).find("struct_size=8"),
            std::string::npos);
  // A program newer than the library: fine as long as it asks for nothing new.
  struct Newer {
    convjit_context_options known;
    int64_t unknown;
  } newer{};
  newer.known.struct_size = sizeof newer;
  auto *as = reinterpret_cast<convjit_context_options *>(&newer);
  EXPECT_TRUE(call(convjit_context_create, as, context.out()));
  newer.unknown = 1;
  made = call(convjit_context_create, as, context.out());
  EXPECT_EQ(made.status(), CONVJIT_STATUS_INVALID_ARGUMENT);
  EXPECT_NE(std::string(made.message()).find("does not know"),
            std::string::npos);
  // An older program's info is filled in as far as it goes.
  build(scaled(), nullptr);
  auto info = make<convjit_kernel_info>();
  info.struct_size = offsetof(convjit_kernel_info, dtype);
  info.dtype = 77;
  ASSERT_TRUE(call(convjit_kernel_get_info, kernel.get(), &info));
  EXPECT_EQ(info.rank, 2);
  EXPECT_EQ(info.dtype, 77);
}

TEST_F(RuntimeTest, ErrorsMayBeIgnoredAndNullHandlesReleased) {
  EXPECT_EQ(convjit_layer_parse("nonsense", nullptr, nullptr),
            CONVJIT_STATUS_INVALID_ARGUMENT);
  convjit_layer *layer = nullptr;
  EXPECT_EQ(convjit_layer_parse(nullptr, &layer, nullptr),
            CONVJIT_STATUS_INVALID_ARGUMENT);
  EXPECT_EQ(convjit_kernel_run(nullptr, nullptr, nullptr),
            CONVJIT_STATUS_INVALID_ARGUMENT);
  convjit_error_release(nullptr);
  convjit_text_release(nullptr);
  convjit_layer_release(nullptr);
  convjit_kernel_release(nullptr);
  convjit_context_release(nullptr);
  EXPECT_STREQ(convjit_error_message(nullptr), "");
}

TEST_F(RuntimeTest, Executors) {
  build(scaled(), nullptr);
  auto host = make<convjit_executor>();
  host.concurrency = 3;
  // In pieces, backwards.
  host.parallel_for = [](void *, int64_t tasks, convjit_task task,
                         void *data) -> int32_t {
    for (int64_t end = tasks; end > 0; end -= 7)
      task(data, std::max<int64_t>(end - 7, 0), end);
    return 0;
  };
  ASSERT_TRUE(run(&host));
  expectScaled();
  auto fails = [&](const char *text) {
    Result result = run(&host);
    EXPECT_EQ(result.status(), CONVJIT_STATUS_EXECUTOR);
    EXPECT_NE(std::string(result.message()).find(text), std::string::npos)
        << result.message();
  };
  host.parallel_for = [](void *, int64_t, convjit_task, void *) -> int32_t {
    return 0;
  };
  fails("ran 0 of 41 tasks");
  host.parallel_for = [](void *, int64_t tasks, convjit_task task,
                         void *data) -> int32_t {
    task(data, 0, tasks + 5);
    return 0;
  };
  fails("ran 0 of 41");
  host.parallel_for = [](void *, int64_t tasks, convjit_task task,
                         void *data) -> int32_t {
    task(data, 0, tasks);
    return 1;
  };
  fails("parallel_for failed");
  host.parallel_for = [](void *, int64_t, convjit_task, void *) -> int32_t {
    throw std::runtime_error("a C++ host");
  };
  fails("parallel_for");
  host.concurrency = 0;
  EXPECT_EQ(run(&host).status(), CONVJIT_STATUS_INVALID_ARGUMENT);
  host = make<convjit_executor>();
  host.concurrency = 1;
  EXPECT_EQ(run(&host).status(), CONVJIT_STATUS_INVALID_ARGUMENT);
}

/// A pool that starts what is submitted late, on a thread each.
struct Late {
  std::mutex mutex;
  std::vector<std::thread> threads;
  int refuseAfter = INT32_MAX;

  static int32_t submit(void *user, void (*work)(void *), void *data) {
    auto &self = *static_cast<Late *>(user);
    std::lock_guard lock(self.mutex);
    if (self.refuseAfter-- <= 0)
      return 1;
    self.threads.emplace_back([=] {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
      work(data);
    });
    return 0;
  }
  void join() {
    for (std::thread &thread : threads)
      thread.join();
    threads.clear();
  }
};

TEST_F(RuntimeTest, SubmittedWorkMayStartAfterTheCall) {
  build(scaled(), nullptr);
  Late late;
  auto host = make<convjit_executor>();
  host.user = &late;
  host.concurrency = 4;
  host.submit = Late::submit;
  for (int limit : {100, 1, 0}) {
    late.refuseAfter = limit;
    for (int i = 0; i < 20; ++i) {
      ASSERT_TRUE(run(&host));
      expectScaled();
    }
  }
  late.join();
}

TEST_F(RuntimeTest, EachThreadHasScratchOfItsOwn) {
  auto options = make<convjit_context_options>();
  options.threads = 4;
  Context context;
  ASSERT_TRUE(call(convjit_context_create, &options, context.out()));
  build(scaled(/*scratch=*/20), context.get());
  context = Context(); // the kernel keeps the threads
  for (int i = 0; i < 50; ++i) {
    ASSERT_TRUE(run());
    expectScaled();
  }
  Tensor input(x.data(), {batch, 2, 3, 1}), output(y.data(), {batch, 2, 3, 1});
  auto now = make<convjit_call>();
  now.input = input.get();
  now.output = output.get();
  size_t bytes = 0;
  ASSERT_TRUE(call(convjit_kernel_scratch_bytes, kernel.get(), &now, &bytes));
  EXPECT_EQ(bytes, 4 * 64u + 63);
  convjit_kernel_args args{};
  args.input = x.data();
  args.packed_weights = &weight;
  args.output = y.data();
  args.batch = batch;
  std::fill(y.begin(), y.end(), -1.f);
  ASSERT_TRUE(call(convjit_kernel_run_dense, kernel.get(), &args, nullptr));
  expectScaled();
}

TEST_F(RuntimeTest, WrongOptionsAreRefused) {
  Context context;
  auto refused = [&](auto change, const char *text) {
    auto options = make<convjit_context_options>();
    change(options);
    Result made = call(convjit_context_create, &options, context.out());
    EXPECT_EQ(made.status(), CONVJIT_STATUS_INVALID_ARGUMENT);
    EXPECT_NE(std::string(made.message()).find(text), std::string::npos)
        << made.message();
  };
  auto half = make<convjit_allocator>();
  auto host = make<convjit_executor>();
  host.concurrency = 1;
  host.submit = Late::submit;
  refused([&](auto &o) { o.allocator = &half; }, "options.allocator");
  refused([&](auto &o) { o.threads = 5000; }, "options.threads=5000");
  refused(
      [&](auto &o) {
        o.threads = 2;
        o.executor = &host;
      },
      "options.threads=2");
  refused([&](auto &o) { o.cache = 9; }, "options.cache=9");
}

TEST_F(RuntimeTest, LayersAndTheirShapes) {
  Layer layer;
  ASSERT_TRUE(call(convjit_layer_parse,
                   "convT2d:s=2,in=5x4x3,k=3,oc=7,grad=weight", layer.out()));
  EXPECT_STREQ(convjit_layer_text(layer.get()),
               "convT2d:in=5x4x3,oc=7,k=3,s=2,grad=weight");
  using Shape = std::vector<int64_t>;
  EXPECT_EQ(shapeOf(layer, CONVJIT_TENSOR_INPUT, 6), (Shape{6, 5, 4, 3}));
  EXPECT_EQ(shapeOf(layer, CONVJIT_TENSOR_GRAD_OUTPUT, 6),
            (Shape{6, 10, 8, 7}));
  EXPECT_EQ(shapeOf(layer, CONVJIT_TENSOR_OUTPUT, 6), (Shape{3, 3, 7, 3}));
  EXPECT_EQ(shapeOf(layer, CONVJIT_TENSOR_WEIGHT, 6), Shape());
  EXPECT_GT(convjit_layer_multiplications(layer.get(), 1), 0);

  convjit_convolution conv;
  convjit_convolution_init(&conv, sizeof conv, 1);
  conv.input_channels = 4;
  conv.output_channels = 6;
  conv.input[0] = 9;
  conv.kernel[0] = 3;
  conv.feature_group_count = 2;
  ASSERT_TRUE(call(convjit_layer_create, &conv, layer.out()));
  EXPECT_EQ(shapeOf(layer, CONVJIT_TENSOR_WEIGHT, 1), (Shape{3, 2, 6}));
  double mask[36] = {};
  EXPECT_TRUE(call(convjit_layer_set_mask, layer.get(), mask, 36u));
  EXPECT_EQ(call(convjit_layer_set_mask, layer.get(), mask, 35u).status(),
            CONVJIT_STATUS_INVALID_ARGUMENT);
  conv.feature_group_count = 4;
  Result made = call(convjit_layer_create, &conv, layer.out());
  EXPECT_NE(std::string(made.message()).find("C16"), std::string::npos);
  convjit_convolution_init(&conv, sizeof conv, INT32_MAX);
  EXPECT_FALSE(call(convjit_layer_create, &conv, layer.out()));
  convjit_convolution_init(&conv, sizeof conv, 4);
  made = call(convjit_layer_create, &conv, layer.out());
  EXPECT_NE(std::string(made.message()).find("rank=4"), std::string::npos);
}

} // namespace
