//===- HostileTest.cpp - callers that do everything wrong -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

// Nothing here may end the process: each function refuses with a text that
// names the argument, or does without.

#include "ScaledKernel.h"

#include <cmath>
#include <cstdlib>
#include <functional>
#include <new>

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

class HostileTest : public RuntimeTest {
protected:
  /// `function` where the first allocation fails, then the second, and so on
  /// until it makes no more: that one alone, and that one with all after it.
  /// Returns how many it makes.
  static int64_t
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

  /// Refused with a text that has `named`.
  static void refused(convjit_status status, convjit_error *error,
                      const std::string &named) {
    EXPECT_EQ(status, CONVJIT_STATUS_INVALID_ARGUMENT) << named;
    EXPECT_NE(std::string(convjit_error_message(error)).find(named),
              std::string::npos)
        << named << ": " << convjit_error_message(error);
    convjit_error_release(error);
  }
};

TEST_F(HostileTest, NoMemoryAtAnyAllocation) {
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

/// Every struct that the library reads, with sizes that cannot be, and with
/// fields of a later version.
TEST_F(HostileTest, StructsOfAnySize) {
  auto attack = [&](auto value, const char *name, auto use) {
    using T = decltype(value);
    for (size_t size : {size_t(0), size_t(1), sizeof(size_t), sizeof(T) - 1,
                        size_t(1) << 20, SIZE_MAX / 2, SIZE_MAX}) {
      value.struct_size = size;
      convjit_error *error = nullptr;
      refused(use(&value, &error), error,
              std::string(name) + ".struct_size=" + std::to_string(size));
    }
    struct {
      T known;
      char more[24];
    } newer{value, {}};
    newer.known.struct_size = sizeof newer;
    EXPECT_EQ(use(&newer.known, nullptr), CONVJIT_OK) << name;
    newer.more[23] = 1;
    convjit_error *error = nullptr;
    refused(use(&newer.known, &error), error, name);
  };
  Context context;
  auto options = make<convjit_context_options>();
  attack(options, "options",
         [&](const convjit_context_options *given, convjit_error **error) {
           return convjit_context_create(given, context.out(), error);
         });
  Counted memory;
  attack(memory.allocator(), "options.allocator",
         [&](const convjit_allocator *given, convjit_error **error) {
           auto with = options;
           with.allocator = given;
           Context own; // the memory goes before the other context
           return convjit_context_create(&with, own.out(), error);
         });
  auto host = make<convjit_executor>();
  host.concurrency = 1;
  host.parallel_for = [](void *, int64_t tasks, convjit_task task,
                         void *data) -> int32_t {
    task(data, 0, tasks);
    return 0;
  };
  attack(host, "options.executor",
         [&](const convjit_executor *given, convjit_error **error) {
           auto with = options;
           with.executor = given;
           return convjit_context_create(&with, context.out(), error);
         });
  convjit_convolution conv;
  convjit_convolution_init(&conv, sizeof conv, 1);
  conv.input_channels = conv.output_channels = 1;
  conv.input[0] = 5;
  conv.kernel[0] = 2;
  Layer layer;
  attack(conv, "convolution",
         [&](const convjit_convolution *given, convjit_error **error) {
           return convjit_layer_create(given, layer.out(), error);
         });
  build(scaled(), nullptr);
  Tensor input(x.data(), {batch, 2, 3, 1}), output(y.data(), {batch, 2, 3, 1});
  auto now = make<convjit_call>();
  now.input = input.get();
  now.packed_weights = &weight;
  now.output = output.get();
  attack(now, "call", [&](const convjit_call *given, convjit_error **error) {
    return convjit_kernel_run(kernel.get(), given, error);
  });
  attack(*input.get(), "input",
         [&](const convjit_tensor *given, convjit_error **error) {
           auto with = now;
           with.input = given;
           return convjit_kernel_run(kernel.get(), &with, error);
         });
  attack(host, "executor",
         [&](const convjit_executor *given, convjit_error **error) {
           auto with = now;
           with.executor = given;
           return convjit_kernel_run(kernel.get(), &with, error);
         });
}

TEST_F(HostileTest, NullAtEveryPlace) {
  build(scaled(), nullptr);
  Layer parsed;
  ASSERT_TRUE(
      call(convjit_layer_parse, "conv1d:in=5x1,oc=1,k=2", parsed.out()));
  convjit_layer *layer = parsed.get(), *none = nullptr;
  convjit_kernel *k = kernel.get(), *other = nullptr;
  convjit_convolution conv;
  convjit_convolution_init(&conv, sizeof conv, 1);
  convjit_aot_kernel aot = scaled();
  auto info = make<convjit_kernel_info>();
  int64_t shape[CONVJIT_MAX_RANK];
  int32_t rank = 0;
  double factor = 1;
  float packed = 0;
  size_t bytes = 0;
  convjit_kernel_args args{};
  auto now = make<convjit_call>();
  Tensor one(&packed, {1, 1, 1, 1});
  const convjit_tensor *w = one.get();
  using Call = std::function<convjit_status(convjit_error **)>;
  const std::pair<const char *, Call> calls[] = {
      {"context",
       [&](auto **e) { return convjit_context_create(nullptr, nullptr, e); }},
      {"layer", [&](auto **e) { return convjit_layer_parse("x", nullptr, e); }},
      {"problem",
       [&](auto **e) { return convjit_layer_parse(nullptr, &none, e); }},
      {"layer",
       [&](auto **e) { return convjit_layer_create(&conv, nullptr, e); }},
      {"convolution",
       [&](auto **e) { return convjit_layer_create(nullptr, &none, e); }},
      {"layer",
       [&](auto **e) {
         return convjit_layer_set_mask(nullptr, &factor, 1, e);
       }},
      {"factors",
       [&](auto **e) { return convjit_layer_set_mask(layer, nullptr, 2, e); }},
      {"layer",
       [&](auto **e) {
         return convjit_layer_shape(nullptr, 0, 1, shape, &rank, e);
       }},
      {"shape",
       [&](auto **e) {
         return convjit_layer_shape(layer, 0, 1, nullptr, &rank, e);
       }},
      {"rank",
       [&](auto **e) {
         return convjit_layer_shape(layer, 0, 1, shape, nullptr, e);
       }},
      {"kernel",
       [&](auto **e) {
         return convjit_kernel_from_aot(nullptr, &aot, nullptr, e);
       }},
      {"aot",
       [&](auto **e) {
         return convjit_kernel_from_aot(nullptr, nullptr, &other, e);
       }},
      {"kernel",
       [&](auto **e) { return convjit_kernel_get_info(nullptr, &info, e); }},
      {"info",
       [&](auto **e) { return convjit_kernel_get_info(k, nullptr, e); }},
      {"kernel",
       [&](auto **e) {
         return convjit_kernel_pack(nullptr, w, &packed, 4, e);
       }},
      {"weight",
       [&](auto **e) {
         return convjit_kernel_pack(k, nullptr, &packed, 4, e);
       }},
      {"packed",
       [&](auto **e) { return convjit_kernel_pack(k, w, nullptr, 4, e); }},
      {"packed_bytes",
       [&](auto **e) { return convjit_kernel_pack(k, w, &packed, 3, e); }},
      {"kernel",
       [&](auto **e) {
         return convjit_kernel_scratch_bytes(nullptr, &now, &bytes, e);
       }},
      {"call",
       [&](auto **e) {
         return convjit_kernel_scratch_bytes(k, nullptr, &bytes, e);
       }},
      {"bytes",
       [&](auto **e) {
         return convjit_kernel_scratch_bytes(k, &now, nullptr, e);
       }},
      {"kernel",
       [&](auto **e) { return convjit_kernel_run(nullptr, &now, e); }},
      {"call", [&](auto **e) { return convjit_kernel_run(k, nullptr, e); }},
      {"input", [&](auto **e) { return convjit_kernel_run(k, &now, e); }},
      {"kernel",
       [&](auto **e) {
         return convjit_kernel_run_dense(nullptr, &args, nullptr, e);
       }},
      {"args",
       [&](auto **e) {
         return convjit_kernel_run_dense(k, nullptr, nullptr, e);
       }},
  };
  for (const auto &[named, function] : calls) {
    // Whoever wants no text may have none.
    EXPECT_EQ(function(nullptr), CONVJIT_STATUS_INVALID_ARGUMENT) << named;
    convjit_error *error = nullptr;
    convjit_status status = function(&error);
    refused(status, error, named);
  }
  EXPECT_EQ(none, nullptr);
  EXPECT_EQ(other, nullptr);
  convjit_convolution_init(nullptr, sizeof conv, 1);
  EXPECT_STREQ(convjit_layer_text(nullptr), "");
  EXPECT_STREQ(convjit_kernel_problem(nullptr), "");
  EXPECT_STREQ(convjit_kernel_plan(nullptr), "");
  EXPECT_STREQ(convjit_text_data(nullptr), "");
  EXPECT_EQ(convjit_text_size(nullptr), 0u);
  EXPECT_EQ(convjit_layer_multiplications(nullptr, 1), 0);
  EXPECT_EQ(convjit_layer_multiplications(layer, -1), 0);
  EXPECT_EQ(convjit_kernel_retain(nullptr), nullptr);
}

// Each number of a layer in turn: refused by name, or a layer whose shapes are
// within bounds.
TEST_F(HostileTest, NumbersFarOut) {
  convjit_convolution good;
  convjit_convolution_init(&good, sizeof good, 3);
  good.input_channels = good.output_channels = 4;
  for (int i = 0; i < 3; ++i) {
    good.input[i] = 5 + i;
    good.kernel[i] = 2 + i;
  }
  std::vector<int64_t *> fields = {&good.input_channels,
                                   &good.output_channels,
                                   &good.feature_group_count,
                                   &good.batch_group_count,
                                   &good.input_batch_dimension,
                                   &good.input_feature_dimension,
                                   &good.kernel_input_feature_dimension,
                                   &good.kernel_output_feature_dimension,
                                   &good.output_batch_dimension,
                                   &good.output_feature_dimension};
  for (int64_t *list :
       {good.input, good.kernel, good.window_strides, good.padding_low,
        good.padding_high, good.input_dilation, good.kernel_dilation,
        good.input_spatial_dimensions, good.kernel_spatial_dimensions,
        good.output_spatial_dimensions})
    for (int i = 0; i < 3; ++i)
      fields.push_back(list + i);
  size_t accepted = 0;
  for (int64_t *field : fields)
    for (int64_t value :
         {INT64_MIN, INT64_MIN + 1, -(int64_t(1) << 32), int64_t(-1),
          int64_t(0), int64_t(1) << 30, int64_t(1) << 31, int64_t(1) << 32,
          int64_t(1) << 62, INT64_MAX}) {
      int64_t before = *field;
      *field = value;
      Layer layer;
      Result made = call(convjit_layer_create, &good, layer.out());
      *field = before;
      EXPECT_EQ(bool(made), bool(layer));
      if (!made) {
        EXPECT_EQ(made.status(), CONVJIT_STATUS_INVALID_ARGUMENT);
        EXPECT_STRNE(made.message(), "");
        continue;
      }
      ++accepted;
      for (int64_t batch : {int64_t(0), int64_t(1), INT64_MAX, INT64_MIN}) {
        int64_t shape[CONVJIT_MAX_RANK];
        int32_t rank = 0;
        Result shaped = call(convjit_layer_shape, layer.get(),
                             CONVJIT_TENSOR_OUTPUT, batch, shape, &rank);
        EXPECT_GE(convjit_layer_multiplications(layer.get(), batch), 0);
        if (batch == INT64_MAX || batch == INT64_MIN)
          EXPECT_FALSE(shaped);
        if (!shaped)
          continue;
        double product = 4;
        for (int32_t i = 0; i < rank; ++i) {
          EXPECT_GE(shape[i], 0);
          product *= static_cast<double>(shape[i]);
        }
        EXPECT_LE(product, 0x1p48);
      }
    }
  EXPECT_GT(accepted, 20u);
}

// A layer's text names the mask that it has, not one that it had.
TEST_F(HostileTest, AMaskInPlaceOfAnother) {
  std::vector<double> mask(2, 1);
  for (const char *start :
       {"conv1d:in=5x1,oc=1,k=2", "convT1d:in=5x1,oc=1,k=2,s=2,grad=weight"}) {
    Layer layer;
    ASSERT_TRUE(call(convjit_layer_parse,
                     (std::string(start) + ",mask=random@1").c_str(),
                     layer.out()));
    EXPECT_NE(
        std::string(convjit_layer_text(layer.get())).find("mask=random@1"),
        std::string::npos);
    ASSERT_TRUE(call(convjit_layer_set_mask, layer.get(), mask.data(), 2u));
    EXPECT_STREQ(convjit_layer_text(layer.get()), start);
    ASSERT_TRUE(call(convjit_layer_set_mask, layer.get(), nullptr, 0u));
    EXPECT_STREQ(convjit_layer_text(layer.get()), start);
    mask[1] = NAN;
    EXPECT_FALSE(call(convjit_layer_set_mask, layer.get(), mask.data(), 2u));
    mask[1] = 1;
  }
}

TEST_F(HostileTest, NothingToDo) {
  build(scaled(), nullptr);
  // No images, so that no data is looked at.
  Tensor input(static_cast<float *>(nullptr), {0, 2, 3, 1}),
      output(static_cast<float *>(nullptr), {0, 2, 3, 1});
  auto now = make<convjit_call>();
  now.input = input.get();
  now.output = output.get();
  size_t bytes = 1;
  EXPECT_TRUE(call(convjit_kernel_scratch_bytes, kernel.get(), &now, &bytes));
  EXPECT_EQ(bytes, 0u);
  EXPECT_TRUE(call(convjit_kernel_run, kernel.get(), &now));
  convjit_kernel_args args{};
  EXPECT_TRUE(call(convjit_kernel_run_dense, kernel.get(), &args, nullptr));
  args.batch = INT64_MIN;
  EXPECT_FALSE(call(convjit_kernel_run_dense, kernel.get(), &args, nullptr));
  args.batch = INT64_MAX;
  EXPECT_FALSE(call(convjit_kernel_run_dense, kernel.get(), &args, nullptr));
}

} // namespace
