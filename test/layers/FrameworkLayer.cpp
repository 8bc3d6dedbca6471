//===- FrameworkLayer.cpp - another framework's layer, run -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

// convjit-framework-layer torch|onnx PREFIX IN.npz OUT.npz
//
// Loads PREFIX's weight and bias, if there, from IN.npz as PyTorch and ONNX
// name and lay them out. Besides them the file has x and g, channels first, and
// the layer's arguments as those frameworks have them: transposed, groups,
// stride, dilation, output_padding, and pads, a (low, high) row for each
// dimension. OUT.npz gets y, and in the layer's own layout the weight and the
// gradients dx, dw and db. test/numerics compares them.

#include "Elements.h"
#include "convjit/KernelCache.h"
#include "convjit/nn/Conv.h"

#include <cstdio>
#include <cstring>

using namespace convjit;
using namespace convjit::nn;

namespace {

struct Task {
  NamedArrays in, out;
  WeightSource source;
  const char *path = nullptr;

  bool has(const std::string &name) const { return in.count(name) != 0; }
  std::vector<int64_t> numbers(const char *name) const {
    std::vector<double> values = widened(in.at(name));
    return {values.begin(), values.end()};
  }

  template <typename LayerType> Status run();
};

template <typename LayerType> Status Task::run() {
  bool transposed = numbers("transposed")[0] != 0;
  bool onnx = source.layout == WeightLayout::Onnx;
  const Shape &weight = in.at(source.prefix + (onnx ? "W" : "weight")).shape;
  int64_t groups = numbers("groups")[0];
  std::vector<int64_t> kernel(weight.begin() + 2, weight.end());
  std::vector<PadPair> pads;
  for (std::vector<int64_t> given = numbers("pads"); auto &value : given)
    if (size_t i = static_cast<size_t>(&value - given.data()); i % 2 == 0)
      pads.push_back({value, given[i + 1]});
  Expected<Padding> padding = Padding(pads);
  if (transposed)
    padding = croppedPadding(pads, kernel, numbers("dilation"),
                             numbers("output_padding"));
  if (!padding)
    return padding.takeError();
  typename LayerType::Arguments arguments;
  arguments.in_size = in.at("x").shape;
  arguments.in_size.erase(arguments.in_size.begin());
  arguments.out_channels = transposed ? weight[1] * groups : weight[0];
  arguments.kernel_size = kernel;
  arguments.stride = numbers("stride");
  arguments.padding = *padding;
  arguments.rhs_dilation = numbers("dilation");
  arguments.groups = groups;
  if (has(source.prefix + (onnx ? "B" : "bias")))
    arguments.b_init = 0;
  arguments.channel_first = true;
  auto cache = KernelCache::create();
  if (!cache)
    return cache.takeError();
  Expected<LayerType> layer = LayerType::create(
      arguments, std::shared_ptr<KernelProvider>(std::move(*cache)));
  if (!layer)
    return layer.takeError();
  if (Status s = layer->load(path, source); !s)
    return s;
  auto keep = [&](const char *name, Expected<Array> made) -> Status {
    if (!made)
      return made.takeError();
    out[name] = std::move(*made);
    return {};
  };
  const Array &x = in.at("x"), &g = in.at("g");
  if (Status s = keep("y", (*layer)(x)); !s)
    return s;
  if (Status s = keep("w", layer->weight()); !s)
    return s;
  if (Status s = keep("dx", layer->inputGradient(g)); !s)
    return s;
  if (Status s = keep("dw", layer->weightGradient(x, g)); !s)
    return s;
  return layer->bias() ? keep("db", layer->biasGradient(g)) : Status();
}

Status runTask(char **argv) {
  Task task;
  task.source.layout = std::strcmp(argv[1], "onnx") == 0
                           ? WeightLayout::Onnx
                           : WeightLayout::PyTorch;
  task.source.prefix = argv[2];
  task.path = argv[3];
  Expected<NamedArrays> in = readNpz(task.path);
  if (!in)
    return in.takeError();
  task.in = std::move(*in);
  for (const char *name : {"x", "g", "transposed", "groups", "stride",
                           "dilation", "output_padding", "pads"})
    if (!task.has(name))
      return badInput(std::string(task.path) + ": has no " + name);
  bool transposed = task.numbers("transposed")[0] != 0;
  Status done;
  switch (task.in.at("x").shape.size()) {
  case 3:
    done = transposed ? task.run<ConvTranspose1d>() : task.run<Conv1d>();
    break;
  case 4:
    done = transposed ? task.run<ConvTranspose2d>() : task.run<Conv2d>();
    break;
  case 5:
    done = transposed ? task.run<ConvTranspose3d>() : task.run<Conv3d>();
    break;
  default:
    return badInput("x: valid: 3, 4 or 5 axes");
  }
  return done ? writeNpz(argv[4], task.out) : done;
}

} // namespace

int main(int argc, char **argv) {
  if (argc != 5) {
    std::fprintf(stderr,
                 "convjit-framework-layer torch|onnx PREFIX IN.npz OUT.npz\n");
    return 2;
  }
  Status done = runTask(argv);
  if (done)
    return 0;
  std::fprintf(stderr, "convjit-framework-layer: %s\n",
               done.error().message.c_str());
  return static_cast<int>(done.error().kind);
}
