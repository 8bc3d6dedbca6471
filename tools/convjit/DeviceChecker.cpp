//===- DeviceChecker.cpp - a GPU kernel held against the reference -*- C++
//-*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "DeviceChecker.h"
#include "Comparison.h"
#include "Layer.h"
#include "convjit/WeightGradient.h"

#include <algorithm>
#include <cstdio>
#include <cstring>

using namespace convjit;
using namespace convjit::cli;

void DeviceChecker::setPlan(const std::string &plan) {
  std::snprintf(position.plan, sizeof position.plan, "%s", plan.c_str());
}

/// Compiles with the case's own plan: the chosen one with some of its numbers
/// replaced, so that schedules and tiles are met that are rarely picked. One
/// that the convolution cannot have is given up.
Expected<GPUKernel> DeviceChecker::compileCase(const NamedCase &item) {
  CompileOptions options = this->options;
  // Its images are the layer's channels.
  if (item.forward)
    options.images = item.forward->inChannels / item.forward->groups;
  if (item.planSeed == 0 || !options.plan.empty())
    return compiler.compileGPU(item.conv, options);
  Expected<PlanReport> report = compiler.plan(item.conv, options);
  if (!report)
    return report.takeError();
  Random random(item.planSeed);
  for (int attempt = 0; attempt < 8; ++attempt) {
    CompileOptions own = options;
    own.plan = randomGPUPlan(report->plan, item.conv, random);
    setPlan(own.plan);
    Expected<GPUKernel> kernel = compiler.compileGPU(item.conv, own);
    if (!kernel) {
      if (kernel.error().kind != ErrorKind::BadInput)
        return kernel;
      continue;
    }
    // Tiles far larger than the layer: minutes on an emulator.
    constexpr int64_t mostThreads = 1 << 16;
    const GPULaunch &launch = kernel->run.front();
    if (launch.blocks * launch.threads <= mostThreads)
      return kernel;
  }
  setPlan(options.plan);
  return compiler.compileGPU(item.conv, options);
}

Expected<std::optional<Failure>> DeviceChecker::check(const NamedCase &item,
                                                      uint64_t seed) {
  worst = 0;
  position.images = 0;
  position.threads = 0;
  std::strcpy(position.check, "compile");
  setPlan(options.plan);
  if (item.forward) {
    // One image, whose gradient is added to the others'; and all in one launch.
    auto outcome = checkKernel(item, {1}, seed, nullptr);
    for (int64_t images : imagesOf(item)) {
      if (!outcome || *outcome)
        break;
      if (images == 0)
        continue;
      NamedCase all = item;
      all.conv = gradientOfImages(item.conv, images);
      outcome = checkKernel(all, {images}, seed, &*item.forward);
    }
    return outcome;
  }
  return checkKernel(item, imagesOf(item), seed, nullptr);
}

/// `layer` is the one whose weight's gradient the case is, of all images.
Expected<std::optional<Failure>>
DeviceChecker::checkKernel(const NamedCase &item,
                           const std::vector<int64_t> &numbers, uint64_t seed,
                           const Convolution *layer) {
  auto failed = [&](Error error) -> Expected<std::optional<Failure>> {
    if (error.kind == ErrorKind::Internal ||
        error.kind == ErrorKind::CheckFailed)
      return std::optional(Failure{position, oneLine(error.message)});
    return error;
  };
  Expected<GPUKernel> kernel = compileCase(item);
  if (!kernel)
    return failed(kernel.takeError());
  setPlan(kernel->plan);
  CompileOptions own = options;
  own.plan = kernel->plan;
  if (Status s = device.load(compiler, *kernel, own); !s)
    return failed(s.takeError());
  for (int64_t images : numbers) {
    int64_t batch = item.forward ? item.forward->inChannels
                                 : images * item.conv.batchGroups;
    auto outcome = checkBatch(*kernel, images, batch, seed, layer);
    if (!outcome || *outcome)
      return outcome;
  }
  if (!item.forward || layer)
    return std::optional<Failure>();
  for (int64_t images : imagesOf(item)) {
    auto outcome = checkWeightGradient(*kernel, *item.forward, images, seed);
    if (!outcome || *outcome)
      return outcome;
  }
  return std::optional<Failure>();
}

/// The weight's gradient in the window's order, from the layer's formula.
static ReferenceResult gradientInWindowOrder(Convolution layer,
                                             const ReferenceOperands &operands,
                                             int64_t images) {
  for (SpatialDim &dim : layer.dims)
    dim.reversed = false;
  // The mask is not the kernel's.
  layer.mask.clear();
  return weightGradientReference(layer, operands.input, operands.weights,
                                 images);
}

Expected<std::optional<Failure>>
DeviceChecker::checkBatch(const GPUKernel &kernel, int64_t images,
                          int64_t batch, uint64_t seed,
                          const Convolution *layer) {
  const Convolution &conv = kernel.conv;
  if (Status s = cli::checkBatch(conv, batch); !s)
    return s.takeError();
  Random random(seed ^ static_cast<uint64_t>(batch));
  position.images = images;
  position.threads = 1;
  auto fail = [&](const std::string &why) {
    return std::optional(Failure{position, oneLine(why)});
  };
  for (auto [name, kind, special] : checkRounds) {
    // A border pixel's missing taps are zeros in a matrix product, so that an
    // infinite weight would reach it; and so are weights that a mask removes.
    if (special &&
        (!isExact(conv.activation) || batch == 0 || !conv.mask.empty()))
      continue;
    std::snprintf(position.check, sizeof position.check, "%s", name);
    ReferenceOperands operands = randomOperands(conv, batch, kind, random);
    if (special)
      makeSpecial(operands.input, random);
    roundOperands(conv, operands);
    ReferenceResult wanted =
        layer ? gradientInWindowOrder(*layer, operands, images)
              : referenceConvolution(conv, operands, batch);
    auto filled = [&](const std::vector<double> &values) {
      std::vector<std::byte> bytes(values.size() *
                                   static_cast<size_t>(sizeOf(conv.dtype)));
      narrow(values, conv.dtype, bytes.data());
      return bytes;
    };
    DeviceTensors tensors{filled(operands.input),
                          filled(operands.weights),
                          filled(operands.bias),
                          filled(operands.residual),
                          filled(std::vector<double>(wanted.output.size())),
                          batch};
    if (Status s = device.run(tensors); !s) {
      if (s.error().kind == ErrorKind::CheckFailed)
        return fail(s.error().message);
      return s.takeError();
    }
    std::string why = compareOutputs(conv, wanted, tensors.output.data(), kind,
                                     /*scale=*/1, worst, kernel.productError);
    if (!why.empty())
      return fail(why);
  }
  return std::optional<Failure>();
}

Expected<std::optional<Failure>>
DeviceChecker::checkWeightGradient(const GPUKernel &kernel,
                                   const Convolution &layer, int64_t images,
                                   uint64_t seed) {
  if (Status s = cli::checkBatch(layer, images); !s)
    return s.takeError();
  Random random(seed ^ static_cast<uint64_t>(images));
  position.images = images;
  position.threads = 1;
  DataType dtype = layer.dtype;
  for (DataKind kind : {DataKind::Exact, DataKind::Float}) {
    // In 16 bits the sum is rounded after each image.
    if (kind == DataKind::Exact && !isForCPUs(dtype))
      continue;
    std::snprintf(position.check, sizeof position.check, "%s gradient",
                  kind == DataKind::Exact ? "exact" : "float");
    std::vector<double> input, gradient;
    for (int64_t image = 0; image < images; ++image) {
      // What the one-image convolution calls its weights is the gradient.
      ReferenceOperands one =
          randomOperands(kernel.conv, layer.inChannels, kind, random);
      roundOperands(kernel.conv, one);
      input.insert(input.end(), one.input.begin(), one.input.end());
      gradient.insert(gradient.end(), one.weights.begin(), one.weights.end());
    }
    ReferenceResult wanted =
        weightGradientReference(layer, input, gradient, images);
    auto element = static_cast<size_t>(sizeOf(dtype));
    std::vector<std::byte> x(input.size() * element),
        g(gradient.size() * element), result(wanted.output.size() * element);
    narrow(input, dtype, x.data());
    narrow(gradient, dtype, g.data());
    if (Status s = runWeightGradientOn(device, layer, x.data(), g.data(),
                                       images, result.data());
        !s) {
      if (s.error().kind == ErrorKind::CheckFailed)
        return std::optional(Failure{position, oneLine(s.error().message)});
      return s.takeError();
    }
    // The bound counts the terms of one image.
    auto scale = static_cast<double>(std::max<int64_t>(images, 1));
    std::string why = compareOutputs(kernel.conv, wanted, result.data(), kind,
                                     scale, worst, kernel.productError);
    if (!why.empty())
      return std::optional(Failure{position, oneLine(why)});
  }
  return std::optional<Failure>();
}
