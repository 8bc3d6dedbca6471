//===- GPUEngine.cpp - where Python's kernels for GPUs come from -*- C++
//-*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "GPUEngine.h"
#include "ConvolutionText.h"

#include <map>
#include <mutex>

using namespace convjit;
using namespace convjit::python;

/// Never destroyed, as the compiler.
static GPUKernelCache &gpuKernels() {
  static auto *kernels = new GPUKernelCache;
  return *kernels;
}

int64_t convjit::python::gpuCompilations() {
  return static_cast<int64_t>(gpuKernels().stats().compiled);
}

Expected<std::shared_ptr<const GPUKernel>>
convjit::python::gpuKernelOf(std::string_view convolution,
                             const std::string &gpu, const std::string &plan,
                             int64_t images) {
  if (images < 0)
    return badInput("images=" + std::to_string(images) +
                    ": valid: 0, or a number of images");
  Expected<NamedConvolution> named = parseConvolution(convolution);
  if (!named)
    return named.takeError();
  CompileOptions options{{"nvptx64-nvidia-cuda", gpu, ""}, plan};
  if (images > 0)
    options.setImages(images);
  return gpuKernels().kernel(named->conv, options);
}

Expected<const DeviceKernel *> convjit::python::deviceKernelOf(
    int ordinal, const std::shared_ptr<const GPUKernel> &kernel) {
  struct Loaded {
    std::mutex mutex;
    std::map<std::pair<int, const GPUKernel *>,
             std::shared_ptr<const DeviceKernel>>
        kernels;
  };
  static auto *loaded = new Loaded;
  std::lock_guard lock(loaded->mutex);
  auto &entry = loaded->kernels[{ordinal, kernel.get()}];
  if (entry)
    return entry.get();
  auto device = CUDADevice::open(ordinal);
  if (!device)
    return device.takeError();
  auto made = DeviceKernel::load(*device, *kernel);
  if (!made)
    return made.takeError();
  entry = std::move(*made);
  return entry.get();
}
