//===- RuntimeTest.cpp - the C interface on a kernel that is no compiler's -*-
// C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "convjit/convjit.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <mutex>
#include <stdexcept>
#include <thread>

using namespace convjit::host;

namespace {

/// y = x*w + scratch's first element, which the task itself stores as 0: a task
/// whose scratch another one uses at the same time gives something else.
void runScaled(const convjit_kernel_args *args, int64_t begin, int64_t end) {
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
void packOne(const void *weights, void *packed) {
  std::memcpy(packed, weights, 4);
}

convjit_aot_kernel scaled(size_t scratch = 0) {
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

TEST_F(RuntimeTest, AnyStridesInCallersScratch) {
  Counted memory;
  convjit_allocator allocator = memory.allocator();
  auto options = make<convjit_context_options>();
  options.allocator = &allocator;
  Context context;
  ASSERT_TRUE(call(convjit_context_create, &options, context.out()));
  build(scaled(), context.get());
  // Every other element, the rows from the last to the first.
  std::vector<float> wide(batch * 12, -5), back(batch * 12, -7);
  for (int64_t b = 0; b < batch; ++b)
    for (int64_t r = 0; r < 2; ++r)
      for (int64_t c = 0; c < 3; ++c)
        wide[b * 12 + (1 - r) * 6 + c * 2] = x[b * 6 + r * 3 + c];
  Tensor input(wide.data() + 6, {batch, 2, 3, 1}, {12, -6, 2, 1000});
  Tensor output(back.data() + 6, {batch, 2, 3, 1}, {12, -6, 2, 1});
  auto now = make<convjit_call>();
  now.input = input.get();
  now.packed_weights = &weight;
  now.output = output.get();
  size_t bytes = 0;
  ASSERT_TRUE(call(convjit_kernel_scratch_bytes, kernel.get(), &now, &bytes));
  EXPECT_GE(bytes, 2 * x.size() * 4);
  std::vector<char> scratch(bytes + 1);
  for (size_t misaligned : {0, 1}) {
    std::fill(back.begin(), back.end(), -7.f);
    now.scratch = scratch.data() + misaligned;
    now.scratch_bytes = bytes;
    int64_t before = memory.calls;
    ASSERT_TRUE(call(convjit_kernel_run, kernel.get(), &now));
    EXPECT_EQ(memory.calls, before);
    for (int64_t i = 0; i < batch * 12; ++i) {
      int64_t b = i / 12, r = 1 - i % 12 / 6, c = i % 6 / 2;
      ASSERT_EQ(back[i], i % 2 ? -7 : 3 * x[b * 6 + r * 3 + c]) << i;
    }
  }
  now.scratch_bytes = bytes - 1;
  Result small = call(convjit_kernel_run, kernel.get(), &now);
  EXPECT_EQ(small.status(), CONVJIT_STATUS_INVALID_ARGUMENT);
  EXPECT_NE(std::string(small.message()).find("scratch_bytes"),
            std::string::npos);
  // Without: the host's memory, which may have none left.
  now.scratch = nullptr;
  ASSERT_TRUE(call(convjit_kernel_run, kernel.get(), &now));
  memory.left = 0;
  EXPECT_EQ(call(convjit_kernel_run, kernel.get(), &now).status(),
            CONVJIT_STATUS_OUT_OF_MEMORY);
  convjit_kernel *none = kernel.get();
  convjit_aot_kernel aot = scaled();
  EXPECT_EQ(convjit_kernel_from_aot(context.get(), &aot, &none, nullptr),
            CONVJIT_STATUS_OUT_OF_MEMORY);
  EXPECT_EQ(none, nullptr);
  kernel = Kernel();
  context = Context();
  EXPECT_EQ(memory.blocks, 0);
}

TEST_F(RuntimeTest, MisalignedTensorsAreCopied) {
  build(scaled(), nullptr);
  std::vector<char> bytes(x.size() * 4 + 1);
  std::memcpy(bytes.data() + 1, x.data(), x.size() * 4);
  Tensor input(reinterpret_cast<float *>(bytes.data() + 1), {batch, 2, 3, 1});
  Tensor output(y.data(), {batch, 2, 3, 1});
  auto now = make<convjit_call>();
  now.input = input.get();
  now.packed_weights = &weight;
  now.output = output.get();
  ASSERT_TRUE(call(convjit_kernel_run, kernel.get(), &now));
  expectScaled();
}

TEST_F(RuntimeTest, TensorErrorsNameTheField) {
  build(scaled(), nullptr);
  auto refused = [&](Tensor input, Tensor output, const char *text) {
    auto now = make<convjit_call>();
    now.input = input.get();
    now.packed_weights = &weight;
    now.output = output.get();
    Result result = call(convjit_kernel_run, kernel.get(), &now);
    EXPECT_EQ(result.status(), CONVJIT_STATUS_INVALID_ARGUMENT);
    EXPECT_NE(std::string(result.message()).find(text), std::string::npos)
        << result.message();
  };
  float *in = x.data(), *out = y.data();
  std::vector<double> other(6);
  Tensor good(out, {2, 2, 3, 1});
  refused({in, {2, 3, 3, 1}}, good, "input has shape 2x3x3x1; valid: 2x2x3x1");
  refused({in, {2, 6}}, good, "input has shape 2x6; valid: 4 axes");
  refused({in, {2, -2, 3, 1}}, good, "input.shape=2x-2x3x1");
  refused({in, {}}, good, "input.rank=0");
  refused({other.data(), {2, 2, 3, 1}}, good,
          "input has dtype f64; valid: f32");
  refused({static_cast<float *>(nullptr), {2, 2, 3, 1}}, good,
          "input.data=NULL");
  refused({in, {2, 2, 3, 1}}, {out, {1, 2, 3, 1}}, "output has shape");
  constexpr int64_t huge = INT64_MAX / 2;
  refused({in, {2, 2, 3, 1}, {huge, huge, huge, 1}}, good, "input has strides");
  refused({in, {2, 2, 3, 1}, {-(int64_t(1) << 61), 3, 1, 1}}, good,
          "input has strides");
  refused({in, {2, 2, 3, 1}, {INT64_MIN, 3, 1, 1}}, good, "input has strides");
  refused({in, {int64_t(1) << 50, 2, 3, 1}}, good, "batch=1125899906842624");
}

TEST_F(RuntimeTest, HugeStridesOfAxesThatDoNotMoveAreFine) {
  build(scaled(), nullptr);
  Tensor input(x.data(), {1, 2, 3, 1}, {INT64_MAX, 3, 1, INT64_MIN});
  Tensor output(y.data(), {1, 2, 3, 1});
  auto now = make<convjit_call>();
  now.input = input.get();
  now.packed_weights = &weight;
  now.output = output.get();
  ASSERT_TRUE(call(convjit_kernel_run, kernel.get(), &now));
  EXPECT_EQ(y[5], 18);
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
