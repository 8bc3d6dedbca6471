//===- DeviceBench.cpp - a layer timed on a GPU -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "DeviceBench.h"
#include "Random.h"
#include "Reproducer.h"

#include <algorithm>

using namespace convjit;
using namespace convjit::cli;

/// Values that are neither zero nor subnormal, so that timings are honest.
static std::vector<std::byte> benchValues(int64_t count, DataType dtype,
                                          Random &random) {
  std::vector<double> values(static_cast<size_t>(count));
  for (double &value : values)
    value = 0.5 + 0.25 * random.unit();
  std::vector<std::byte> bytes(values.size() *
                               static_cast<size_t>(sizeOf(dtype)));
  narrow(values, dtype, bytes.data());
  return bytes;
}

Expected<Json> convjit::cli::benchOnDevice(const Compiler &compiler,
                                           const CompileOptions &options,
                                           Device &device,
                                           const ListedLayer &item,
                                           double minMilliseconds) {
  Expected<Layer> layer = readLayer(item.problem);
  if (!layer)
    return layer.takeError();
  noteLayer(layer->text, options);
  CompileOptions own = options;
  int64_t batch = item.batch * layer->conv.batchGroups;
  if (layer->isWeightGradient()) {
    Expected<GradientLaunch> launch =
        gradientLaunch(layer->forward, item.batch);
    if (!launch)
      return launch.takeError();
    layer->conv = launch->conv;
    batch = launch->batch;
    own.setImages(launch->images());
  }
  Expected<GPUKernel> kernel = compiler.compileGPU(layer->conv, own);
  if (!kernel)
    return kernel.takeError();
  own.plan = kernel->plan;
  if (Status s = device.load(compiler, *kernel, own); !s)
    return s.takeError();
  const Convolution &conv = kernel->conv;
  Random random(7);
  auto values = [&](bool wanted, const std::vector<int64_t> &shape) {
    return benchValues(wanted ? elementCount(shape) : 0, conv.dtype, random);
  };
  std::vector<int64_t> outputs = conv.outputShape(batch);
  DeviceTensors tensors{values(true, conv.inputShape(batch)),
                        values(true, conv.kernelShape()),
                        values(conv.bias, {conv.outChannels}),
                        values(conv.residual, outputs),
                        values(true, outputs),
                        batch};
  auto times = device.time(tensors, minMilliseconds);
  if (!times) {
    Error error = times.takeError();
    // Nothing was compared; what went wrong is the device's word.
    if (error.kind == ErrorKind::CheckFailed)
      error.kind = ErrorKind::Environment;
    return error;
  }
  std::sort(times->begin(), times->end());
  double median = (*times)[times->size() / 2];
  int64_t flops = flopsOf(*layer, item.batch);
  // The clock's step, so that an empty layer divides by something.
  double gflops = static_cast<double>(flops) / std::max(median, 1e-6) * 1e-6;
  double peak = 2 * device.gigacycles() *
                static_cast<double>(gpuProductsPerCycle(
                    kernel->chip, conv.dtype, kernel->plan));
  return Json{{"problem", layer->text},
              {"batch", item.batch},
              {"threads", 1},
              {"device", device.description()},
              {"target", kernel->chip},
              {"ms_median", median},
              {"ms_min", times->front()},
              {"gflops", gflops},
              {"flops", flops},
              {"bytes", bytesTouched(conv, kernel->packedWeightBytes, batch)},
              {"peak_gflops", peak},
              {"fraction_of_peak", gflops / peak},
              {"compile_ms", kernel->compileMilliseconds},
              {"code_bytes", kernel->ptx.size()},
              {"plan", kernel->plan}};
}
