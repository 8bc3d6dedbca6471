// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

// A C++20 program with the layer classes of an installed convjit: a transposed
// convolution with a mask, its output and its gradients, and its weights in a
// file. Kernels come from a context of the C interface.

#include <convjit/nn/ContextProvider.h>
#include <convjit/nn/Conv.h>

#include <cstdio>
#include <cstdlib>

using namespace convjit;
using namespace convjit::nn;

template <typename T> static T need(Expected<T> value) {
  if (value)
    return std::move(*value);
  std::fprintf(stderr, "layer-host: %s\n", value.error().message.c_str());
  std::exit(1);
}
static void need(Status status) {
  if (!status)
    need(Expected<int>(status.takeError()));
}

static float *floats(Array &array) {
  return reinterpret_cast<float *>(array.data.data());
}
/// Small whole numbers, so that every sum is exact.
static Array numbers(Shape shape, int modulus) {
  Array array = need(ZeroInit{}(shape));
  for (size_t i = 0; i < array.data.size() / sizeof(float); ++i)
    floats(array)[i] = static_cast<float>(int(i) % modulus);
  return array;
}
static double dot(Array &a, Array &b) {
  double sum = 0;
  for (size_t i = 0; i < a.data.size() / sizeof(float); ++i)
    sum += double(floats(a)[i]) * double(floats(b)[i]);
  return sum;
}

/// Whether the gradients are the layer's adjoints. Its bias is zero.
static bool isAdjoint(const Layer &layer, Array x, Array g) {
  ThreadPool threads(2);
  Array y = need(layer(x, threads));
  Array dx = need(layer.inputGradient(g, threads));
  Array dw = need(layer.parameterGradients(x, g, threads)).weight;
  Array weight = layer.weight();
  double product = dot(y, g);
  return product != 0 && product == dot(x, dx) && product == dot(weight, dw);
}

int main() {
  auto options = host::make<convjit_context_options>();
  options.cache = CONVJIT_CACHE_MEMORY;
  auto kernels = need(ContextProvider::create(&options));
  ConvTranspose2d::Arguments arguments{.in_size = {3, 4, 2},
                                       .out_channels = 5,
                                       .kernel_size = 2,
                                       .stride = 2,
                                       .padding = "VALID",
                                       .w_init = 1};
  ConvTranspose2d up = need(ConvTranspose2d::create(arguments, kernels));

  // Weights of 1: each pixel is spread over four, its channels added up.
  Array x = numbers({3, 3, 4, 2}, 7), y = need(up(x));
  int wrong = y.shape != Shape{3, 6, 8, 5};
  for (int b = 0; b < 3 && !wrong; ++b)
    for (int h = 0; h < 6; ++h)
      for (int w = 0; w < 8; ++w)
        for (int c = 0; c < 5; ++c) {
          const float *pixel = floats(x) + ((b * 3 + h / 2) * 4 + w / 2) * 2;
          wrong +=
              floats(y)[((b * 6 + h) * 8 + w) * 5 + c] != pixel[0] + pixel[1];
        }

  // With other weights, some of them masked.
  Array mask = numbers({2, 2, 5, 2}, 3), weight = numbers({2, 2, 5, 2}, 4);
  arguments.w_init = weight;
  arguments.w_mask = mask;
  ConvTranspose2d masked = need(ConvTranspose2d::create(arguments, kernels));
  wrong += !isAdjoint(masked, x, numbers({3, 6, 8, 5}, 5));
  Conv1d grouped = need(Conv1d::create({.in_size = {7, 4},
                                        .out_channels = 6,
                                        .kernel_size = 3,
                                        .stride = 2,
                                        .groups = 2,
                                        .w_init = numbers({3, 2, 6}, 5)},
                                       kernels));
  wrong += !isAdjoint(grouped, numbers({2, 7, 4}, 9), numbers({2, 4, 6}, 4));

  need(masked.save("layer-host.npz"));
  need(up.load("layer-host.npz"));
  Array loaded = up.weight();
  wrong += dot(loaded, weight) != dot(weight, weight);
  std::remove("layer-host.npz");
  std::printf("%s: %d wrong\n", masked.text().c_str(), wrong);
  return wrong != 0;
}
