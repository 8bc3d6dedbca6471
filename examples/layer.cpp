//===- layer.cpp - a decoder's layer, trained a little -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// A transposed 3-D convolution learns to double the resolution of smooth
// volumes: forward, gradients, a step, and the weights to a file and back.
//
//===----------------------------------------------------------------------===//

#include "convjit/KernelCache.h"
#include "convjit/nn/Conv.h"

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <span>

using namespace convjit;
using namespace convjit::nn;

/// The value, or the end of this program with the error's text.
template <typename T> static T need(Expected<T> value) {
  if (value)
    return std::move(*value);
  std::fprintf(stderr, "layer: %s\n", value.error().message.c_str());
  std::exit(1);
}
static void need(Status status) {
  if (status)
    return;
  std::fprintf(stderr, "layer: %s\n", status.error().message.c_str());
  std::exit(1);
}

static std::span<float> floats(Array &array) {
  return {reinterpret_cast<float *>(array.data.data()), array.data.size() / 4};
}

/// (images, n, n, n, 1): a wave for each image, sampled n times on its way.
static Array waves(int64_t images, int64_t n) {
  Array array = need(ZeroInit{}({images, n, n, n, 1}));
  std::span<float> values = floats(array);
  for (size_t i = 0; i < values.size(); ++i) {
    auto index = static_cast<int64_t>(i);
    double at[3] = {double(index / (n * n) % n), double(index / n % n),
                    double(index % n)};
    double phase = double(index / (n * n * n));
    for (double &x : at)
      phase += (x + 0.5) / double(n) * 3;
    values[i] = static_cast<float>(std::sin(phase));
  }
  return array;
}

int main(int argc, char **argv) {
  const char *path = argc > 1 ? argv[1] : "layer.npz";
  // Where layers get their kernels from: compiled once, then found again.
  std::shared_ptr<KernelProvider> kernels = need(KernelCache::create());
  ThreadPool threads;

  ConvTranspose3d up =
      need(ConvTranspose3d::create({.in_size = {8, 8, 8, 1},
                                    .out_channels = 1,
                                    .kernel_size = 4,
                                    .stride = 2,
                                    .w_init = XavierNormal{.seed = 1},
                                    .b_init = ZeroInit{},
                                    .name = "up"},
                                   kernels));
  std::printf("%s\n", up.text().c_str());

  Array x = waves(4, 8), wanted = waves(4, 16);
  double first = 0, loss = 0;
  for (int step = 0; step <= 200; ++step) {
    Array g = need(up(x, threads));
    // The loss is the mean of squares, its gradient twice the difference.
    loss = 0;
    std::span<float> values = floats(g), target = floats(wanted);
    auto count = static_cast<float>(values.size());
    for (size_t i = 0; i < values.size(); ++i) {
      values[i] -= target[i];
      loss += values[i] * values[i] / count;
      values[i] *= 2 / count;
    }
    if (step == 0)
      first = loss;
    if (step % 50 == 0)
      std::printf("step %3d: mean square error %.5f\n", step, loss);
    ParameterGradients gradients = need(up.parameterGradients(x, g, threads));
    Array weight = up.weight(), bias = *up.bias();
    for (auto [to, from] : {std::pair(&weight, &gradients.weight),
                            std::pair(&bias, &*gradients.bias)})
      for (size_t i = 0; i < floats(*to).size(); ++i)
        floats(*to)[i] -= 0.5f * floats(*from)[i];
    need(up.setWeight(std::move(weight)));
    need(up.setBias(std::move(bias)));
  }

  // What was learnt, from the file, in a layer of another size.
  need(up.save(path));
  ConvTranspose3d large =
      need(ConvTranspose3d::create({.in_size = {16, 16, 16, 1},
                                    .out_channels = 1,
                                    .kernel_size = 4,
                                    .stride = 2,
                                    .b_init = ZeroInit{}},
                                   kernels));
  need(large.load(path));
  Array fine = need(large(waves(1, 16)));
  Array truth = waves(1, 32);
  double square = 0;
  for (size_t i = 0; i < floats(fine).size(); ++i)
    square += std::pow(floats(fine)[i] - floats(truth)[i], 2);
  square /= static_cast<double>(floats(fine).size());
  std::printf("at twice the size: %.5f\n", square);
  return loss < first / 50 && square < first / 20 ? 0 : 1;
}
