//===- CompileTest.cpp - compiled kernels through the C interface -*- C++
//-*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

// Data are small integers, so that results agree bit for bit with the
// double-precision reference, whose code the library shares nothing with.

#include "ConvolutionText.h"
#include "convjit/Reference.h"
#include "convjit/WeightGradient.h"
#include "convjit/convjit.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <mutex>
#include <thread>

using namespace convjit::host;
using convjit::Convolution;

namespace {

std::vector<float> integers(int64_t count, unsigned seed) {
  std::vector<float> values(static_cast<size_t>(count));
  for (float &value : values) {
    seed = seed * 1664525u + 1013904223u;
    value = static_cast<float>(static_cast<int>(seed >> 29) - 3);
  }
  return values;
}
std::vector<double> widened(const std::vector<float> &values) {
  return {values.begin(), values.end()};
}
int64_t count(const std::vector<int64_t> &shape) {
  int64_t product = 1;
  for (int64_t size : shape)
    product *= size;
  return product;
}

/// One layer, its data and its kernel.
class Case {
public:
  explicit Case(Layer given, int64_t batch = 3)
      : layer(std::move(given)), batch(batch) {
    auto fill = [&](int32_t tensor, unsigned seed) {
      std::vector<int64_t> shape = shapeOf(layer, tensor, batch);
      return shape.empty() ? std::vector<float>()
                           : integers(count(shape), seed);
    };
    x = fill(CONVJIT_TENSOR_INPUT, 1);
    w = fill(CONVJIT_TENSOR_WEIGHT, 2);
    bias = fill(CONVJIT_TENSOR_BIAS, 3);
    residual = fill(CONVJIT_TENSOR_RESIDUAL, 4);
    g = fill(CONVJIT_TENSOR_GRAD_OUTPUT, 5);
    y.assign(fill(CONVJIT_TENSOR_OUTPUT, 6).size(), -99);
  }
  static Case of(const char *problem) {
    Layer layer;
    Result parsed = call(convjit_layer_parse, problem, layer.out());
    EXPECT_TRUE(parsed) << parsed.message();
    return Case(std::move(layer));
  }

  Result compile(const Context &context, const char *plan = nullptr,
                 int64_t images = 0) {
    auto options = make<convjit_compile_options>();
    options.plan = plan;
    options.images = images;
    return call(convjit_compile, context.get(), layer.get(), &options,
                kernel.out());
  }

  Result run(const convjit_executor *executor = nullptr) {
    auto view = [&](std::vector<float> &data, int32_t tensor) {
      return Tensor(data.data(), shapeOf(layer, tensor, batch));
    };
    Tensor input = view(x, CONVJIT_TENSOR_INPUT),
           weight = view(w, CONVJIT_TENSOR_WEIGHT),
           b = view(bias, CONVJIT_TENSOR_BIAS),
           r = view(residual, CONVJIT_TENSOR_RESIDUAL),
           gradient = view(g, CONVJIT_TENSOR_GRAD_OUTPUT),
           output = view(y, CONVJIT_TENSOR_OUTPUT);
    std::vector<float> packed;
    if (g.empty()) {
      auto info = make<convjit_kernel_info>();
      if (Result o = call(convjit_kernel_get_info, kernel.get(), &info); !o)
        return o;
      packed.resize(info.packed_weight_bytes / 4 + 1);
      if (Result o = call(convjit_kernel_pack, kernel.get(), weight.get(),
                          packed.data(), packed.size() * 4);
          !o)
        return o;
    }
    auto now = make<convjit_call>();
    now.input = input.get();
    now.packed_weights = packed.data();
    now.output = output.get();
    now.bias = bias.empty() ? nullptr : b.get();
    now.residual = residual.empty() ? nullptr : r.get();
    now.grad_output = g.empty() ? nullptr : gradient.get();
    now.executor = executor;
    return call(convjit_kernel_run, kernel.get(), &now);
  }

  void expect(const std::vector<double> &wanted) const {
    ASSERT_EQ(wanted.size(), y.size());
    for (size_t i = 0; i < y.size(); ++i)
      ASSERT_EQ(y[i], wanted[i]) << convjit_layer_text(layer.get()) << " " << i;
  }
  void expectReference(const Convolution &conv) const {
    expect(convjit::referenceConvolution(
               conv, {widened(x), widened(w), widened(bias), widened(residual)},
               batch)
               .output);
  }

  Layer layer;
  int64_t batch;
  std::vector<float> x, w, bias, residual, g, y;
  Kernel kernel;
};

class CompileTest : public ::testing::Test {
protected:
  void SetUp() override {
    options.cache = CONVJIT_CACHE_MEMORY;
    options.log_level = CONVJIT_LOG_DEBUG;
    options.log_user = this;
    options.log = [](void *user, int32_t level, const char *message) {
      auto &self = *static_cast<CompileTest *>(user);
      std::lock_guard lock(self.mutex);
      self.compiled += level == CONVJIT_LOG_INFO;
      self.lines.push_back(message);
    };
    create();
  }
  void create() {
    Result made = call(convjit_context_create, &options, context.out());
    ASSERT_TRUE(made) << made.message();
  }

  convjit_context_options options = make<convjit_context_options>();
  Context context;
  std::mutex mutex;
  int compiled = 0;
  std::vector<std::string> lines;
};

TEST_F(CompileTest, LayersAndInputGradients) {
  EXPECT_EQ(convjit_has_compiler(), 1);
  for (const char *problem :
       {"convT3d:in=3x4x5x6,oc=7,k=4x3x2,s=2,bias",
        "conv2d:in=4x9x7,oc=6,k=3x2,s=2x1,pad=1:2x0:1,g=2,"
        "layout=channels_first,residual,act=relu",
        "convT2d:in=5x4x6,oc=8,k=3,s=2,g=2,grad=input"}) {
    Case item = Case::of(problem);
    Result made = item.compile(context);
    ASSERT_TRUE(made) << made.message();
    Result ran = item.run();
    ASSERT_TRUE(ran) << ran.message();
    item.expectReference(*convjit::lower(*convjit::parseProblem(problem)));
  }
}

TEST_F(CompileTest, WeightGradientsInCallersMemory) {
  const char *problem = "convT2d:in=5x4x6,oc=8,k=3x2,s=2,g=2,grad=weight";
  Case item = Case::of(problem);
  std::vector<double> mask(item.y.size(), 1);
  for (size_t i = 0; i < mask.size(); i += 3)
    mask[i] = i % 2 ? 0 : 2;
  ASSERT_TRUE(
      call(convjit_layer_set_mask, item.layer.get(), mask.data(), mask.size()));
  Convolution forward = *convjit::lower(
      *convjit::parseProblem("convT2d:in=5x4x6,oc=8,k=3x2,s=2,g=2"));
  forward.mask = mask;
  // Image by image, and all of them at once.
  for (int64_t images : {int64_t(0), item.batch}) {
    item.y.assign(item.y.size(), -99);
    ASSERT_TRUE(item.compile(context, nullptr, images));
    auto info = make<convjit_kernel_info>();
    ASSERT_TRUE(call(convjit_kernel_get_info, item.kernel.get(), &info));
    EXPECT_EQ(info.images, images);
    EXPECT_EQ(info.batch_groups, 1);
    Result ran = item.run();
    ASSERT_TRUE(ran) << ran.message();
    item.expect(convjit::weightGradientReference(forward, widened(item.x),
                                                 widened(item.g), item.batch)
                    .output);
  }
}

TEST_F(CompileTest, WeightGradientsOfAnotherNumberOfImages) {
  Case item = Case::of("conv1d:in=9x4,oc=4,k=3,grad=weight");
  ASSERT_TRUE(item.compile(context, nullptr, /*images=*/2));
  Result refused = item.run();
  EXPECT_EQ(refused.status(), CONVJIT_STATUS_INVALID_ARGUMENT);
  EXPECT_STREQ(refused.message(),
               "input has 3 images; valid: 2, which the kernel was compiled "
               "for (options.images)");
  refused = item.compile(context, nullptr, -1);
  EXPECT_EQ(refused.status(), CONVJIT_STATUS_INVALID_ARGUMENT);
  EXPECT_STREQ(refused.message(),
               "options.images=-1: valid: 0, or a number of images");
  refused = item.compile(context, nullptr, int64_t(1) << 60);
  EXPECT_EQ(refused.status(), CONVJIT_STATUS_INVALID_ARGUMENT);
  EXPECT_NE(std::string(refused.message()).find("2^48 bytes"),
            std::string::npos)
      << refused.message();
  // Each has a kernel of its own in memory.
  Kernel found;
  auto options = make<convjit_compile_options>();
  for (auto [images, status] :
       {std::pair(2, CONVJIT_OK), std::pair(4, CONVJIT_STATUS_NOT_FOUND)}) {
    options.images = images;
    EXPECT_EQ(call(convjit_lookup, context.get(), item.layer.get(), &options,
                   found.out())
                  .status(),
              status);
  }
}

TEST_F(CompileTest, AGradientsPlanIsForTheLayersInputChannels) {
  // Few fill as few lanes; of many it is they that are packed.
  for (auto [channels, lanes] :
       {std::pair("1", "lanes = channels"), std::pair("64", "lanes = images")})
    for (int64_t images : {0, 3}) {
      Case item = Case::of((std::string("convT3d:in=") + channels +
                            "x24x24x24,oc=32,k=4,s=2,layout=channels_first"
                            ",grad=weight")
                               .c_str());
      ASSERT_TRUE(item.compile(context, nullptr, images));
      std::string plan = convjit_kernel_plan(item.kernel.get());
      EXPECT_NE(plan.find(lanes), std::string::npos) << channels << plan;
    }
}

TEST_F(CompileTest, AGeneralConvolutionsImagesArePlannedFor) {
  Case item = Case::of("convolution:n=512,k=1024,ws=1,ld=2,rd=1,pad=1:3,rev=0,"
                       "ic=1,oc=32,x=fb0,w=io0,y=0fb");
  std::string plans[2];
  for (int64_t images : {1, 40}) {
    ASSERT_TRUE(item.compile(context, nullptr, images));
    plans[images > 1] = convjit_kernel_plan(item.kernel.get());
    // Three images, whatever the plan is for.
    ASSERT_TRUE(item.run());
    item.expectReference(
        convjit::parseConvolution(convjit_layer_text(item.layer.get()))->conv);
  }
  EXPECT_NE(plans[0], plans[1]);
}

TEST_F(CompileTest, GeneralConvolution) {
  // Axes in an order of no layer, everything that StableHLO has.
  convjit_convolution conv;
  convjit_convolution_init(&conv, sizeof conv, 2);
  conv.input_channels = 4;
  conv.output_channels = 6;
  int64_t input[] = {9, 8}, kernel[] = {3, 2}, low[] = {-1, 2}, high[] = {2, 1};
  int64_t inputAxes[] = {3, 0}, kernelAxes[] = {1, 3}, outputAxes[] = {2, 1};
  for (int i = 0; i < 2; ++i) {
    conv.input[i] = input[i];
    conv.kernel[i] = kernel[i];
    conv.padding_low[i] = low[i];
    conv.padding_high[i] = high[i];
    conv.input_spatial_dimensions[i] = inputAxes[i];
    conv.kernel_spatial_dimensions[i] = kernelAxes[i];
    conv.output_spatial_dimensions[i] = outputAxes[i];
  }
  conv.window_strides[1] = 2;
  conv.input_dilation[0] = 2;
  conv.kernel_dilation[1] = 3;
  conv.window_reversal[0] = 1;
  conv.batch_group_count = 3;
  conv.input_batch_dimension = 1;
  conv.input_feature_dimension = 2;
  conv.kernel_input_feature_dimension = 2;
  conv.kernel_output_feature_dimension = 0;
  conv.output_batch_dimension = 3;
  conv.output_feature_dimension = 0;
  conv.bias = 1;
  conv.activation = CONVJIT_ACTIVATION_RELU;
  Layer layer;
  Result made = call(convjit_layer_create, &conv, layer.out());
  ASSERT_TRUE(made) << made.message();
  auto named = convjit::parseConvolution(convjit_layer_text(layer.get()));
  ASSERT_TRUE(bool(named)) << convjit_layer_text(layer.get());
  EXPECT_EQ(named->conv.dims[0].padLow, -1);
  EXPECT_EQ(named->conv.dims[1].padLow, 2);
  EXPECT_EQ(named->conv.numbers.inputSpatial, (std::vector<int64_t>{3, 0}));
  EXPECT_TRUE(named->conv.dims[0].reversed);
  EXPECT_FALSE(named->conv.dims[1].reversed);
  EXPECT_EQ(named->conv.dims[1].kernelDilation, 3);
  Case item(std::move(layer));
  made = item.compile(context);
  ASSERT_TRUE(made) << made.message();
  ASSERT_TRUE(item.run());
  item.expectReference(named->conv);
}

TEST_F(CompileTest, AnInputWithGapsIsReadInPlace) {
  // Rows 1 to 5 and pixels 2 to 7 of 8 x 9, four of 5 channels, NaN around
  // them.
  convjit_convolution conv;
  convjit_convolution_init(&conv, sizeof conv, 2);
  conv.input_channels = 4;
  conv.output_channels = 3;
  conv.input[0] = 5;
  conv.input[1] = 6;
  conv.kernel[0] = conv.kernel[1] = 2;
  const int64_t strides[] = {360, 45, 5, 1};
  std::copy(std::begin(strides), std::end(strides), conv.input_strides);
  Layer layer;
  Result made = call(convjit_layer_create, &conv, layer.out());
  ASSERT_TRUE(made) << made.message();
  EXPECT_NE(std::string(convjit_layer_text(layer.get())).find(",xs=360x45x5x1"),
            std::string::npos);
  Kernel kernel;
  made =
      call(convjit_compile, context.get(), layer.get(), nullptr, kernel.out());
  ASSERT_TRUE(made) << made.message();
  std::vector<float> x(720, std::numeric_limits<float>::quiet_NaN()), w(48, 1),
      y(120);
  for (int64_t i = 0; i < 240; ++i)
    x[i / 120 * 360 + (1 + i / 24 % 5) * 45 + (2 + i / 4 % 6) * 5 + i % 4] = 2;
  auto info = make<convjit_kernel_info>();
  ASSERT_TRUE(call(convjit_kernel_get_info, kernel.get(), &info));
  std::vector<char> packed(info.packed_weight_bytes + 64);
  Tensor weight(w.data(), {2, 2, 4, 3});
  ASSERT_TRUE(call(convjit_kernel_pack, kernel.get(), weight.get(),
                   packed.data(), packed.size()));
  Tensor input(x.data() + 55, {2, 5, 6, 4}, {360, 45, 5, 1});
  Tensor output(y.data(), {2, 4, 5, 3});
  auto now = make<convjit_call>();
  now.input = input.get();
  now.packed_weights = packed.data();
  now.output = output.get();
  size_t bytes = 1;
  ASSERT_TRUE(call(convjit_kernel_scratch_bytes, kernel.get(), &now, &bytes));
  EXPECT_EQ(bytes, 0u);
  ASSERT_TRUE(call(convjit_kernel_run, kernel.get(), &now));
  for (float value : y)
    ASSERT_EQ(value, 2 * 2 * 2 * 4);
  // No other strides, contiguous ones included.
  Tensor plain(x.data(), {2, 5, 6, 4});
  now.input = plain.get();
  Result refused = call(convjit_kernel_run, kernel.get(), &now);
  EXPECT_EQ(refused.status(), CONVJIT_STATUS_INVALID_ARGUMENT);
  EXPECT_EQ(std::string(refused.message()),
            "input has strides 120x24x4x1; valid: the layer's, 360x45x5x1");
  conv.input_strides[3] = int64_t(1) << 41;
  refused = call(convjit_layer_create, &conv, layer.out());
  EXPECT_EQ(refused.status(), CONVJIT_STATUS_INVALID_ARGUMENT);
  EXPECT_EQ(std::string(refused.message()),
            "inputStrides[3]=2199023255552; valid: -2^40 to 2^40");
}

TEST_F(CompileTest, OneCompilationForAllThatAsk) {
  // Had two threads compiled, each would have code of its own.
  constexpr int askers = 8;
  std::vector<std::thread> threads;
  std::vector<Case> cases;
  for (int i = 0; i < askers; ++i)
    cases.push_back(Case::of(i % 2 ? "convT3d:in=3x3x4x8,oc=8,k=4,s=2"
                                   : "convT3d:s=2,k=4,oc=8,in=3x3x4x8"));
  for (Case &item : cases)
    threads.emplace_back([&] { EXPECT_TRUE(item.compile(context)); });
  for (std::thread &thread : threads)
    thread.join();
  auto first = make<convjit_kernel_info>();
  ASSERT_TRUE(call(convjit_kernel_get_info, cases[0].kernel.get(), &first));
  EXPECT_GT(first.code_bytes, 0u);
  EXPECT_GT(first.compile_milliseconds, 0);
  for (Case &item : cases) {
    auto info = make<convjit_kernel_info>();
    ASSERT_TRUE(call(convjit_kernel_get_info, item.kernel.get(), &info));
    EXPECT_EQ(info.run, first.run);
    ASSERT_TRUE(item.run());
    EXPECT_EQ(item.y, cases[0].y);
  }
}

TEST_F(CompileTest, LookupNeverCompiles) {
  Case item = Case::of("conv1d:in=11x3,oc=5,k=3");
  EXPECT_EQ(call(convjit_lookup, context.get(), item.layer.get(), nullptr,
                 item.kernel.out())
                .status(),
            CONVJIT_STATUS_NOT_FOUND);
  EXPECT_FALSE(item.kernel);
  EXPECT_EQ(compiled, 0);
  ASSERT_TRUE(item.compile(context));
  EXPECT_EQ(compiled, 1);
  EXPECT_TRUE(call(convjit_lookup, context.get(), item.layer.get(), nullptr,
                   item.kernel.out()));
  ASSERT_TRUE(item.compile(context));
  EXPECT_EQ(compiled, 1);
}

TEST_F(CompileTest, AnotherMaskIsAnotherKernel) {
  Case item = Case::of("conv1d:in=11x3,oc=5,k=3");
  ASSERT_TRUE(item.compile(context));
  std::vector<double> mask(45, 1);
  mask[7] = 0;
  Case masked = Case::of("conv1d:in=11x3,oc=5,k=3");
  ASSERT_TRUE(call(convjit_layer_set_mask, masked.layer.get(), mask.data(),
                   mask.size()));
  ASSERT_TRUE(masked.compile(context));
  ASSERT_TRUE(item.run());
  ASSERT_TRUE(masked.run());
  Convolution conv =
      *convjit::lower(*convjit::parseProblem("conv1d:in=11x3,oc=5,k=3"));
  item.expectReference(conv);
  conv.mask = mask;
  masked.expectReference(conv);
}

TEST_F(CompileTest, PlansAndStagesAsText) {
  Case item = Case::of("convT2d:in=6x5x16,oc=16,k=4,s=2");
  ASSERT_TRUE(item.compile(context));
  std::string plan = convjit_kernel_plan(item.kernel.get());
  EXPECT_EQ(plan.find("#conv.plan<"), 0u) << plan;
  // A plan of the caller's is carried out, and gives the same numbers.
  size_t at = plan.find("pixels = ");
  ASSERT_NE(at, std::string::npos);
  std::string changed = plan.substr(0, at) + "pixels = 1" +
                        plan.substr(plan.find_first_of(",>", at));
  ASSERT_TRUE(item.run());
  std::vector<float> wanted = item.y;
  Result made = item.compile(context, changed.c_str());
  ASSERT_TRUE(made) << made.message();
  EXPECT_EQ(convjit_kernel_plan(item.kernel.get()), changed);
  ASSERT_TRUE(item.run());
  EXPECT_EQ(item.y, wanted);
  EXPECT_EQ(item.compile(context, "nonsense").status(),
            CONVJIT_STATUS_INVALID_ARGUMENT);

  auto stage = [&](const char *name) {
    Text text;
    Result o = call(convjit_emit, context.get(), item.layer.get(), nullptr,
                    name, text.out());
    EXPECT_TRUE(o) << o.message();
    return std::string(convjit_text_data(text.get()),
                       convjit_text_size(text.get()));
  };
  EXPECT_NE(stage("conv").find("conv.conv_transpose"), std::string::npos);
  EXPECT_NE(stage("linalg").find("linalg.generic"), std::string::npos);
  EXPECT_NE(stage("asm").find("convjit_kernel:"), std::string::npos);
  EXPECT_EQ(stage("obj").substr(1, 3), "ELF");
  Text text;
  EXPECT_EQ(call(convjit_emit, context.get(), item.layer.get(), nullptr,
                 "poetry", text.out())
                .status(),
            CONVJIT_STATUS_INVALID_ARGUMENT);
  ASSERT_TRUE(call(convjit_explain, context.get(), item.layer.get(), nullptr,
                   text.out()));
  std::string json = convjit_text_data(text.get());
  EXPECT_NE(json.find("\"candidates\""), std::string::npos);
  EXPECT_NE(json.find("\"plan\": \"" + plan), std::string::npos) << json;
}

TEST_F(CompileTest, TextThatIsNoPlanIsRefused) {
  Case item = Case::of("conv1d:in=5x1,oc=1,k=2");
  // The parser of plans recurses; its stack must not be the limit.
  for (std::string text :
       {std::string(100'000, '['),
        "#conv.plan<" + std::string(100'000, '<') + ">", std::string("\n#\n"),
        std::string("#conv.plan<lanes =\nchannels>"),
        std::string("dense<0> : tensor<999999999999xi64>")}) {
    Result made = item.compile(context, text.c_str());
    EXPECT_EQ(made.status(), CONVJIT_STATUS_INVALID_ARGUMENT);
    std::string message = made.message();
    EXPECT_NE(message.find("valid: the text that `convjit plan` prints"),
              std::string::npos)
        << message;
    EXPECT_EQ(message.find('\n'), std::string::npos);
    EXPECT_LT(message.size(), 2000u);
  }
}

TEST_F(CompileTest, KernelsOutliveTheContext) {
  options.threads = 3;
  create();
  Case item = Case::of("convT3d:in=3x4x5x6,oc=7,k=4x3x2,s=2,bias");
  ASSERT_TRUE(item.compile(context));
  context = Context();
  std::vector<std::thread> threads;
  std::atomic<int> good{0};
  for (unsigned i = 0; i < 4; ++i)
    threads.emplace_back([&] {
      Case own = Case::of("convT3d:in=3x4x5x6,oc=7,k=4x3x2,s=2,bias");
      own.kernel = share(item.kernel);
      for (int times = 0; times < 10; ++times)
        good += bool(own.run());
      own.expectReference(*convjit::lower(
          *convjit::parseProblem("convT3d:in=3x4x5x6,oc=7,k=4x3x2,s=2,bias")));
    });
  for (std::thread &thread : threads)
    thread.join();
  EXPECT_EQ(good, 40);
}

TEST_F(CompileTest, ErrorsOfTheCompilerAreValues) {
  options.target_cpu = "no-such-cpu";
  create();
  Case item = Case::of("conv1d:in=11x3,oc=5,k=3");
  Result made = item.compile(context);
  EXPECT_EQ(made.status(), CONVJIT_STATUS_INVALID_ARGUMENT);
  EXPECT_NE(std::string(made.message()).find("no-such-cpu"), std::string::npos);
  ASSERT_FALSE(lines.empty());
  EXPECT_NE(lines.back().find("no-such-cpu"), std::string::npos);
}

TEST_F(CompileTest, EmittedForAnotherCPU) {
  options.target_cpu = "neoverse-v2";
  create();
  Case item = Case::of("conv1d:in=11x3,oc=5,k=3");
  Text text;
  ASSERT_TRUE(call(convjit_emit, context.get(), item.layer.get(), nullptr,
                   "asm", text.out()));
  EXPECT_NE(std::string(convjit_text_data(text.get())).find("fmla"),
            std::string::npos);
  EXPECT_EQ(item.compile(context).status(), CONVJIT_STATUS_INVALID_ARGUMENT);
}

} // namespace
