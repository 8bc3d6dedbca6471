//===- host_overheads.cpp - what the C interface costs -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

// Google Benchmark: finding a kernel and calling it, through the shared library
// as a host has it. docs/c-api.md quotes it.
//
//===----------------------------------------------------------------------===//

#include "convjit/convjit.hpp"

#include <benchmark/benchmark.h>

#include <cstdio>
#include <cstdlib>

using namespace convjit::host;

namespace {

void check(const Result &result) {
  if (result)
    return;
  std::fprintf(stderr, "%s\n", result.message());
  std::exit(1);
}

/// The layer of one multiplication: what is left is the call.
struct Host {
  Host() {
    auto options = make<convjit_context_options>();
    options.cache = CONVJIT_CACHE_MEMORY;
    check(call(convjit_context_create, &options, context.out()));
    check(call(convjit_layer_parse, "conv1d:in=1x1,oc=1,k=1", layer.out()));
    check(call(convjit_compile, context.get(), layer.get(), nullptr,
               kernel.out()));
    Tensor w(&weight, {1, 1, 1});
    check(call(convjit_kernel_pack, kernel.get(), w.get(), packed,
               sizeof packed));
  }
  Context context;
  Layer layer;
  Kernel kernel;
  float weight = 3, packed[64] = {};
};
Host &host() {
  static Host made;
  return made;
}

void compileHit(benchmark::State &state) {
  Host &own = host();
  for (auto _ : state) {
    convjit_kernel *kernel = nullptr;
    convjit_compile(own.context.get(), own.layer.get(), nullptr, &kernel,
                    nullptr);
    convjit_kernel_release(kernel);
  }
}
BENCHMARK(compileHit);

void lookupHit(benchmark::State &state) {
  Host &own = host();
  for (auto _ : state) {
    convjit_kernel *kernel = nullptr;
    convjit_lookup(own.context.get(), own.layer.get(), nullptr, &kernel,
                   nullptr);
    convjit_kernel_release(kernel);
  }
}
BENCHMARK(lookupHit);

/// convjit_kernel_run on `images` images that lie `stride` elements apart.
void run(benchmark::State &state, int64_t images, int64_t stride) {
  std::vector<float> x(static_cast<size_t>(images * stride), 2), y(x.size());
  Tensor input(x.data(), {images, 1, 1}, {stride, 1, 1}),
      output(y.data(), {images, 1, 1}, {stride, 1, 1});
  auto now = make<convjit_call>();
  now.input = input.get();
  now.packed_weights = host().packed;
  now.output = output.get();
  for (auto _ : state) {
    convjit_kernel_run(host().kernel.get(), &now, nullptr);
    benchmark::ClobberMemory();
  }
  if (y[0] != 6 || y[static_cast<size_t>((images - 1) * stride)] != 6)
    state.SkipWithError("wrong answer");
}
BENCHMARK_CAPTURE(run, contiguous, 1, 1);
BENCHMARK_CAPTURE(run, copied, 2, 2);

void runDense(benchmark::State &state) {
  float x = 2, y = 0;
  convjit_kernel_args args{};
  args.input = &x;
  args.packed_weights = host().packed;
  args.output = &y;
  args.batch = 1;
  for (auto _ : state) {
    convjit_kernel_run_dense(host().kernel.get(), &args, nullptr, nullptr);
    benchmark::ClobberMemory();
  }
  if (y != 6)
    state.SkipWithError("wrong answer");
}
BENCHMARK(runDense);

} // namespace

BENCHMARK_MAIN();
