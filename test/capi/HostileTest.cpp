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
#include <functional>

namespace {

class HostileTest : public RuntimeTest {
protected:
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
