// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

// A C++ program: convolution with an axis order of its own (StableHLO's
// dimension numbers), on a slice of a larger array, without a copy of its own.

#include <convjit/convjit.hpp>

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

int main() {
  // A sum over windows of three, of signals (feature, batch, space).
  convjit_convolution conv;
  convjit_convolution_init(&conv, sizeof conv, 1);
  conv.input_feature_dimension = conv.output_feature_dimension = 0;
  conv.input_batch_dimension = conv.output_batch_dimension = 1;
  conv.input_spatial_dimensions[0] = conv.output_spatial_dimensions[0] = 2;
  conv.input_channels = conv.output_channels = 1;
  conv.input[0] = 8;
  conv.kernel[0] = 3;

  auto options = make<convjit_context_options>();
  options.cache = CONVJIT_CACHE_MEMORY;
  options.log_level = CONVJIT_LOG_INFO;
  options.log = [](void *, int32_t, const char *message) {
    std::printf("%s\n", message);
  };
  Context context;
  check(call(convjit_context_create, &options, context.out()));
  Layer layer;
  check(call(convjit_layer_create, &conv, layer.out()));
  Kernel kernel;
  check(
      call(convjit_compile, context.get(), layer.get(), nullptr, kernel.out()));

  auto info = make<convjit_kernel_info>();
  check(call(convjit_kernel_get_info, kernel.get(), &info));
  std::vector<float> weights(3, 1), packed(info.packed_weight_bytes / 4);
  Tensor weight(weights.data(), {3, 1, 1});
  check(call(convjit_kernel_pack, kernel.get(), weight.get(), packed.data(),
             info.packed_weight_bytes));

  // Two signals in every other column of a matrix.
  std::vector<float> matrix(8 * 4), sums(2 * 6);
  for (size_t i = 0; i < matrix.size(); ++i)
    matrix[i] = static_cast<float>(i);
  Tensor input(matrix.data(), {1, 2, 8}, {1, 2, 4});
  Tensor output(sums.data(), {1, 2, 6});
  auto now = make<convjit_call>();
  now.input = input.get();
  now.packed_weights = packed.data();
  now.output = output.get();
  check(call(convjit_kernel_run, kernel.get(), &now));

  int wrong = 0;
  for (int b = 0; b < 2; ++b)
    for (int i = 0; i < 6; ++i)
      wrong += sums[b * 6 + i] != 3 * matrix[(i + 1) * 4 + 2 * b];
  std::printf("%s: %d wrong\n", convjit_layer_text(layer.get()), wrong);
  return wrong != 0;
}
