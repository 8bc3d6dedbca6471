//===- HostileCompileTest.cpp - the compiler under hosts that fail -*- C++
//-*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "ScaledKernel.h"

#include <functional>

namespace {

Layer parse(const std::string &problem) {
  Layer layer;
  Result parsed = call(convjit_layer_parse, problem.c_str(), layer.out());
  EXPECT_TRUE(parsed) << parsed.message();
  return layer;
}

/// A tensor of the layer's, of ones, every other element of its memory.
struct Spread {
  Spread(const Layer &layer, int32_t which, float value)
      : shape(shapeOf(layer, which, 3)), strides(shape.size(), 2) {
    for (size_t i = shape.size(); i-- > 1;)
      strides[i - 1] = strides[i] * shape[i];
    values.assign(static_cast<size_t>(strides[0] * shape[0]), value);
  }
  const convjit_tensor *get() {
    tensor = std::make_unique<Tensor>(values.data(), shape, strides);
    return tensor->get();
  }
  std::vector<int64_t> shape, strides;
  std::vector<float> values;
  std::unique_ptr<Tensor> tensor;
};

/// Everything a host does with one layer; the sum of its outputs.
Result useLayer(convjit_allocator &allocator, const char *problem,
                double &sum) {
  auto options = make<convjit_context_options>();
  options.allocator = &allocator;
  options.cache = CONVJIT_CACHE_MEMORY;
  options.threads = 2;
  Context context;
  if (Result o = call(convjit_context_create, &options, context.out()); !o)
    return o;
  Layer layer = parse(problem);
  Kernel kernel, again;
  if (Result o = call(convjit_compile, context.get(), layer.get(), nullptr,
                      kernel.out());
      !o) {
    EXPECT_FALSE(kernel);
    return o;
  }
  if (Result o = call(convjit_lookup, context.get(), layer.get(), nullptr,
                      again.out());
      !o) {
    EXPECT_FALSE(again);
    return o;
  }
  auto info = make<convjit_kernel_info>();
  if (Result o = call(convjit_kernel_get_info, kernel.get(), &info); !o)
    return o;
  bool gradient = info.gradient == CONVJIT_GRADIENT_WEIGHT;
  Spread x(layer, CONVJIT_TENSOR_INPUT, 1), y(layer, CONVJIT_TENSOR_OUTPUT, 0);
  std::vector<float> packed(info.packed_weight_bytes / 4);
  auto now = make<convjit_call>();
  now.input = x.get();
  now.packed_weights = packed.data();
  now.output = y.get();
  std::unique_ptr<Spread> w;
  if (gradient) {
    w = std::make_unique<Spread>(layer, CONVJIT_TENSOR_GRAD_OUTPUT, 1.f);
    now.grad_output = w->get();
  } else {
    w = std::make_unique<Spread>(layer, CONVJIT_TENSOR_WEIGHT, 1.f);
    if (Result o = call(convjit_kernel_pack, kernel.get(), w->get(),
                        packed.data(), packed.size() * 4);
        !o)
      return o;
  }
  if (Result o = call(convjit_kernel_run, kernel.get(), &now); !o)
    return o;
  sum = 0;
  for (float value : y.values)
    sum += static_cast<double>(value);
  return {};
}

} // namespace

TEST(HostileCompile, HostMemoryFailsAtEveryAllocation) {
  for (const char *problem : {"convT2d:in=3x4x5,oc=6,k=4x3,s=2",
                              "convT2d:in=3x4x5,oc=6,k=4x3,s=2,grad=input",
                              "convT2d:in=3x4x5,oc=6,k=4x3,s=2,grad=weight"}) {
    Counted full;
    convjit_allocator allocator = full.allocator();
    double wanted = 0, sum = 0;
    ASSERT_TRUE(useLayer(allocator, problem, wanted));
    EXPECT_GT(wanted, 0);
    EXPECT_EQ(full.blocks, 0);
    // The context, two kernels, and scratch at least.
    EXPECT_GE(full.calls, 4) << problem;
    for (int64_t allowed = 0; allowed < full.calls; ++allowed) {
      Counted memory;
      memory.left = allowed;
      allocator = memory.allocator();
      Result used = useLayer(allocator, problem, sum);
      EXPECT_EQ(used.status(), CONVJIT_STATUS_OUT_OF_MEMORY)
          << problem << " after " << allowed;
      EXPECT_EQ(std::string(used.message()).rfind("out of memory", 0), 0u)
          << used.message();
      EXPECT_EQ(memory.blocks, 0) << problem << " after " << allowed;
    }
    Counted enough;
    enough.left = full.calls.load();
    allocator = enough.allocator();
    EXPECT_TRUE(useLayer(allocator, problem, sum));
    EXPECT_EQ(sum, wanted);
  }
}

TEST(HostileCompile, NullAndNonsense) {
  Context context;
  auto options = make<convjit_context_options>();
  options.cache = CONVJIT_CACHE_MEMORY;
  ASSERT_TRUE(call(convjit_context_create, &options, context.out()));
  Layer layer = parse("conv1d:in=5x1,oc=1,k=2");
  convjit_context *c = context.get();
  convjit_layer *l = layer.get();
  convjit_kernel *k = nullptr;
  convjit_text *text = nullptr;
  auto later = make<convjit_compile_options>(), small = later;
  later.struct_size = size_t(1) << 40;
  small.struct_size = 8;
  using Call = std::function<convjit_status(convjit_error **)>;
  const std::pair<const char *, Call> calls[] = {
      {"context",
       [&](auto **e) { return convjit_compile(nullptr, l, nullptr, &k, e); }},
      {"layer",
       [&](auto **e) { return convjit_compile(c, nullptr, nullptr, &k, e); }},
      {"kernel",
       [&](auto **e) { return convjit_compile(c, l, nullptr, nullptr, e); }},
      {"options.struct_size=1099511627776",
       [&](auto **e) { return convjit_compile(c, l, &later, &k, e); }},
      {"options.struct_size=8",
       [&](auto **e) { return convjit_lookup(c, l, &small, &k, e); }},
      {"context",
       [&](auto **e) { return convjit_lookup(nullptr, l, nullptr, &k, e); }},
      {"layer",
       [&](auto **e) { return convjit_lookup(c, nullptr, nullptr, &k, e); }},
      {"kernel",
       [&](auto **e) { return convjit_lookup(c, l, nullptr, nullptr, e); }},
      {"context",
       [&](auto **e) {
         return convjit_emit(nullptr, l, nullptr, "asm", &text, e);
       }},
      {"layer",
       [&](auto **e) {
         return convjit_emit(c, nullptr, nullptr, "asm", &text, e);
       }},
      {"stage",
       [&](auto **e) {
         return convjit_emit(c, l, nullptr, nullptr, &text, e);
       }},
      {"stage='ASM'",
       [&](auto **e) { return convjit_emit(c, l, nullptr, "ASM", &text, e); }},
      {"text",
       [&](auto **e) {
         return convjit_emit(c, l, nullptr, "asm", nullptr, e);
       }},
      {"context",
       [&](auto **e) {
         return convjit_explain(nullptr, l, nullptr, &text, e);
       }},
      {"layer",
       [&](auto **e) {
         return convjit_explain(c, nullptr, nullptr, &text, e);
       }},
      {"json",
       [&](auto **e) { return convjit_explain(c, l, nullptr, nullptr, e); }},
  };
  for (const auto &[named, function] : calls) {
    EXPECT_EQ(function(nullptr), CONVJIT_STATUS_INVALID_ARGUMENT) << named;
    convjit_error *error = nullptr;
    EXPECT_EQ(function(&error), CONVJIT_STATUS_INVALID_ARGUMENT) << named;
    EXPECT_NE(std::string(convjit_error_message(error)).find(named),
              std::string::npos)
        << named << ": " << convjit_error_message(error);
    convjit_error_release(error);
    EXPECT_EQ(k, nullptr);
    EXPECT_EQ(text, nullptr);
  }
}

TEST(HostileCompile, TargetsThatAreNone) {
  const std::string huge(100000, 'x');
  for (const char *triple :
       {"", "x", "riscv64-unknown-linux-gnu", "x86_64-pc-windows-msvc",
        "x86_64-linux-gnux32", "i686-linux-gnu", "aarch64_be-linux-gnu",
        "arm64-apple-macosx", "aarch64-linux-gnu", "nvptx64-nvidia-cuda",
        "----", huge.c_str()})
    for (const char *cpu : {"", "znver99", "\xff\xfe", huge.c_str()})
      for (const char *features : {"", "+avx512f,-", "nonsense"}) {
        auto options = make<convjit_context_options>();
        options.cache = CONVJIT_CACHE_MEMORY;
        options.target_triple = triple;
        options.target_cpu = cpu;
        options.target_features = features;
        Context context;
        Result made = call(convjit_context_create, &options, context.out());
        if (!made) {
          EXPECT_EQ(made.status(), CONVJIT_STATUS_INVALID_ARGUMENT);
          continue;
        }
        Layer layer = parse("conv1d:in=5x1,oc=1,k=2");
        Kernel kernel;
        Result compiled = call(convjit_compile, context.get(), layer.get(),
                               nullptr, kernel.out());
        if (compiled) // for this machine, that is
          EXPECT_TRUE(*triple == 0 && *cpu == 0)
              << triple << " " << cpu << " " << features;
        else
          EXPECT_EQ(compiled.status(), CONVJIT_STATUS_INVALID_ARGUMENT)
              << compiled.message();
        EXPECT_LT(std::string(compiled.message()).size(), 2000u);
        Text text;
        (void)call(convjit_emit, context.get(), layer.get(), nullptr, "asm",
                   text.out());
      }
}

// A context, a layer and a kernel that all threads share, some of which want
// what others are making, or let go of it.
TEST(HostileCompile, EveryFunctionFromManyThreads) {
  auto options = make<convjit_context_options>();
  options.cache = CONVJIT_CACHE_MEMORY;
  options.cache_max_kernels = 3;
  options.threads = 3;
  Context context;
  ASSERT_TRUE(call(convjit_context_create, &options, context.out()));
  std::vector<Layer> layers;
  for (int channels = 1; channels <= 6; ++channels)
    layers.push_back(parse("conv1d:in=9x" + std::to_string(channels) +
                           ",oc=1,k=3,pad=valid"));
  std::atomic<int> wrong{0}, ran{0};
  std::vector<std::thread> threads;
  for (unsigned t = 0; t < 8; ++t)
    threads.emplace_back([&, t] {
      for (unsigned i = 0; i < 40; ++i) {
        size_t which = (t * 7 + i * 5) % layers.size();
        const Layer &layer = layers[which];
        Kernel kernel;
        Result found = call(i % 4 == 3 ? convjit_lookup : convjit_compile,
                            context.get(), layer.get(), nullptr, kernel.out());
        if (!found) {
          wrong += found.status() != CONVJIT_STATUS_NOT_FOUND;
          continue;
        }
        Kernel own = share(kernel);
        kernel = Kernel();
        Spread x(layer, CONVJIT_TENSOR_INPUT, 1),
            w(layer, CONVJIT_TENSOR_WEIGHT, 1),
            y(layer, CONVJIT_TENSOR_OUTPUT, 0);
        std::vector<float> packed(1024);
        wrong += !call(convjit_kernel_pack, own.get(), w.get(), packed.data(),
                       packed.size() * 4);
        auto now = make<convjit_call>();
        now.input = x.get();
        now.packed_weights = packed.data();
        now.output = y.get();
        wrong += !call(convjit_kernel_run, own.get(), &now);
        for (size_t j = 0; j < y.values.size(); j += 2)
          wrong += y.values[j] != static_cast<float>(3 * (which + 1));
        if (i % 10 == 0) {
          Text text;
          wrong += !call(convjit_explain, context.get(), layer.get(), nullptr,
                         text.out());
          wrong += !call(convjit_emit, context.get(), layer.get(), nullptr,
                         "general", text.out());
        }
        ++ran;
      }
    });
  for (std::thread &thread : threads)
    thread.join();
  EXPECT_EQ(wrong, 0);
  EXPECT_GT(ran, 8 * 20);
}
