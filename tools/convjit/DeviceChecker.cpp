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
#include "GradientData.h"
#include "Layer.h"
#include "RoundUp.h"
#include "convjit/WeightGradient.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>

using namespace convjit;
using namespace convjit::cli;

void DeviceChecker::setPlan(const std::string &plan) {
  std::snprintf(position.plan, sizeof position.plan, "%s", plan.c_str());
}

/// A number among a plan's fields, which all have it.
static int64_t fieldOf(const std::string &plan, const std::string &name) {
  size_t at = plan.find(" " + name + " = ");
  return at == std::string::npos
             ? 1
             : std::atoll(plan.c_str() + at + name.size() + 4);
}

/// Elements of a step's tiles that a thread moves: each may have an address and
/// conditions of its own, and with hundreds of them LLVM takes minutes. Plans
/// that the cost model chooses for bench/layers have 128 at most.
static int64_t elementsMoved(const std::string &plan) {
  int64_t pixels = 1;
  size_t at = plan.find("box = ") + 6;
  for (; plan[at] != ']'; at = plan.find_first_of(",]", at + 1))
    pixels *= std::atoll(plan.c_str() + at + 1);
  int64_t channels = fieldOf(plan, "channels");
  int64_t threads =
      std::max<int64_t>(1, pixels / fieldOf(plan, "thread_pixels") *
                               (channels / fieldOf(plan, "thread_channels")));
  return std::max(pixels, channels) * fieldOf(plan, "depth") / threads;
}

/// Whether an emulator takes minutes for a call with that many images: tiles
/// far larger than the layer, or steps far longer than what a tap has to sum.
static bool isLarge(const GPUKernel &kernel, int64_t images) {
  constexpr double mostThreads = 1 << 17, mostProducts = 2e8;
  const Convolution &conv = kernel.conv;
  // The one that multiplies: not that which packs the input, or adds parts.
  const GPULaunch &launch = *std::find_if(
      kernel.run.begin(), kernel.run.end(), [](const GPULaunch &launch) {
        return launch.entry.ends_with("_kernel");
      });
  auto threads = static_cast<double>(
      gridBlocks(launch, images * conv.batchGroups, conv.batchGroups) *
      launch.threads);
  int64_t step = conv.channelsPerGroup();
  if (kernel.plan.find("mixed = true") == std::string::npos)
    step = static_cast<int64_t>(
        roundUp(static_cast<size_t>(step),
                static_cast<size_t>(fieldOf(kernel.plan, "depth"))));
  auto products = threads * static_cast<double>(
                                fieldOf(kernel.plan, "thread_pixels") *
                                fieldOf(kernel.plan, "thread_channels") * step);
  for (const SpatialDim &dim : conv.dims)
    products *= static_cast<double>(dim.kernel);
  return threads > mostThreads || products > mostProducts;
}

/// Compiles with the case's own plan: the chosen one with some of its numbers
/// replaced, so that schedules and tiles are met that are rarely picked. One
/// that the convolution cannot have is given up.
Expected<GPUKernel> DeviceChecker::compileCase(const NamedCase &item,
                                               CompileOptions options) {
  if (item.planSeed == 0 || !options.plan.empty())
    return compiler.compileGPU(item.conv, options);
  Expected<PlanReport> report = compiler.plan(item.conv, options);
  if (!report)
    return report.takeError();
  Random random(item.planSeed);
  // Of random plans with tensor cores one in four is possible.
  for (int attempt = 0; attempt < 40; ++attempt) {
    CompileOptions own = options;
    own.plan = randomGPUPlan(report->plan, item.conv, item.schedule, random);
    constexpr int64_t mostMoved = 64;
    if (own.plan.find("schedule = direct") == std::string::npos &&
        elementsMoved(own.plan) > mostMoved)
      continue;
    setPlan(own.plan);
    Expected<GPUKernel> kernel = compiler.compileGPU(item.conv, own);
    if (!kernel) {
      if (kernel.error().kind != ErrorKind::BadInput)
        return kernel;
      continue;
    }
    // Not one for calls of other numbers of images.
    if (options.imageMultiple % kernel->imageMultiple)
      continue;
    if (!isLarge(*kernel, std::max<int64_t>(options.images, 1)))
      return kernel;
  }
  setPlan(options.plan);
  return compiler.compileGPU(item.conv, options);
}

/// What a case's kernels are, besides their plans: what decides of the tiles.
static std::string kindOf(const NamedCase &item, const Convolution &conv) {
  bool ofInput = item.text.find("grad=input") != std::string::npos;
  int64_t last = conv.rank() + 1;
  return std::string(name(conv.dtype)) +
         (item.forward ? " weight gradient, "
          : ofInput    ? " input gradient, "
                       : " layer, ") +
         (conv.numbers.inputFeature == last ? "channels"
          : conv.numbers.inputBatch == last ? "images"
                                            : "pixels") +
         " last, ";
}

Expected<std::optional<Failure>> DeviceChecker::check(const NamedCase &item,
                                                      uint64_t seed) {
  worst = 0;
  loaded.clear();
  position.images = 0;
  position.threads = 0;
  setPlan(options.plan);
  if (!item.forward) {
    Expected<GPUKernel> kernel = load(item, options);
    if (!kernel)
      return failed(kernel.takeError());
    for (int64_t images : imagesOf(item)) {
      auto outcome =
          checkBatch(*kernel, images, images * item.conv.batchGroups, seed);
      if (!outcome || *outcome)
        return outcome;
    }
    return std::optional<Failure>();
  }
  for (int64_t images : imagesOf(item))
    for (bool stored : {false, true}) {
      // Of no images, the kernel of one is not launched.
      Expected<GradientLaunch> launch =
          gradientLaunch(*item.forward, std::max<int64_t>(images, 1), stored);
      if (!launch)
        return launch.takeError();
      if (stored && !launch->exchanged)
        continue;
      NamedCase all = item;
      all.conv = launch->conv;
      CompileOptions own = options;
      own.setImages(launch->images());
      Expected<GPUKernel> kernel = load(all, own);
      if (!kernel)
        return failed(kernel.takeError());
      auto outcome =
          checkWeightGradient(*kernel, *item.forward, *launch, images, seed);
      if (!outcome || *outcome)
        return outcome;
    }
  return std::optional<Failure>();
}

/// An error, or the failure that it is.
Expected<std::optional<Failure>> DeviceChecker::failed(Error error) const {
  if (error.kind == ErrorKind::Internal || error.kind == ErrorKind::CheckFailed)
    return std::optional(Failure{position, oneLine(error.message)});
  return error;
}

/// Of the last run.
std::optional<Failure> DeviceChecker::bankConflicts() {
  std::string why = device.bankConflicts();
  if (why.empty())
    return std::nullopt;
  std::strcpy(position.check, conflictsCheck);
  return Failure{position, oneLine(why)};
}

/// Compiles a case and makes it the kernel that the device runs.
Expected<GPUKernel> DeviceChecker::load(const NamedCase &item,
                                        const CompileOptions &options) {
  std::strcpy(position.check, "compile");
  Expected<GPUKernel> kernel = compileCase(item, options);
  if (!kernel)
    return kernel;
  setPlan(kernel->plan);
  loaded.push_back(kindOf(item, kernel->conv) + kernel->plan);
  CompileOptions own = options;
  own.plan = kernel->plan;
  if (Status s = device.load(compiler, *kernel, own); !s)
    return s.takeError();
  return kernel;
}

Expected<std::optional<Failure>>
DeviceChecker::checkBatch(const GPUKernel &kernel, int64_t images,
                          int64_t batch, uint64_t seed) {
  const Convolution &conv = kernel.conv;
  if (Status s = cli::checkBatch(conv, batch); !s)
    return s.takeError();
  Random random(seed ^ static_cast<uint64_t>(batch));
  position.images = images;
  position.threads = 1;
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
    ReferenceResult wanted = referenceConvolution(conv, operands, batch);
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
    if (Status s = device.run(tensors); !s)
      return failed(s.takeError());
    std::string why = compareOutputs(conv, wanted, tensors.output.data(), kind,
                                     worst, kernel.productError);
    if (!why.empty())
      return std::optional(Failure{position, oneLine(why)});
    if (auto conflicts = bankConflicts())
      return conflicts;
  }
  return std::optional<Failure>();
}

Expected<std::optional<Failure>> DeviceChecker::checkWeightGradient(
    const GPUKernel &kernel, const Convolution &layer,
    const GradientLaunch &launch, int64_t images, uint64_t seed) {
  for (const Convolution *conv : {&layer, &kernel.conv})
    if (Status s =
            cli::checkBatch(*conv, conv == &layer ? images : launch.batch);
        !s)
      return s.takeError();
  Random random(seed ^ static_cast<uint64_t>(images));
  position.images = images;
  position.threads = 1;
  for (const CheckRound &round : checkRounds) {
    // As in checkBatch; which operand is the weight depends on the layer.
    if (round.special && launch.exchanged)
      continue;
    std::snprintf(position.check, sizeof position.check, "%s gradient",
                  round.name);
    GradientData data(layer, images, round, /*specialWeights=*/false, random);
    DeviceTensors tensors{data.inputBytes(),
                          data.outputGradientBytes(),
                          {},
                          {},
                          std::vector<std::byte>(data.resultBytes()),
                          images};
    if (Status s = runWeightGradientOn(device, layer, launch, tensors); !s)
      return failed(s.takeError());
    std::string why =
        data.compare(tensors.output.data(), worst, kernel.productError);
    if (!why.empty())
      return std::optional(Failure{position, oneLine(why)});
    if (auto conflicts = bankConflicts())
      return conflicts;
  }
  return std::optional<Failure>();
}
