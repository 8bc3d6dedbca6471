//===- DeviceState.h - what a device has loaded -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef CONVJIT_RUNTIME_CUDA_DEVICESTATE_H
#define CONVJIT_RUNTIME_CUDA_DEVICESTATE_H

#include "Driver.h"
#include "convjit/CUDADevice.h"

#include <mutex>
#include <unordered_map>

namespace convjit::cuda {

/// A module on one device; unloaded with the last reference.
class LoadedModule {
public:
  LoadedModule(std::shared_ptr<const CUDADevice> device, Module module)
      : device(std::move(device)), module(module) {}
  ~LoadedModule();
  LoadedModule(const LoadedModule &) = delete;
  LoadedModule &operator=(const LoadedModule &) = delete;

  const std::shared_ptr<const CUDADevice> device;
  const Module module;
};

/// The module of a PTX text, from those that are loaded, or loaded now. A text
/// that another thread is loading is waited for; other texts are not held up.
Expected<std::shared_ptr<const LoadedModule>>
loadModule(std::shared_ptr<const CUDADevice> device, const std::string &ptx);

/// Makes the device's primary context current while it lives.
class CurrentContext {
public:
  explicit CurrentContext(const CUDADevice &device);
  ~CurrentContext();
  CurrentContext(const CurrentContext &) = delete;
  CurrentContext &operator=(const CurrentContext &) = delete;

  /// Whether it did.
  Status status() const;
  bool good() const { return result == Success; }

private:
  const Driver &driver;
  Result result;
  bool pushed = false;
};

} // namespace convjit::cuda

/// Modules by their text. The mutex of an entry is held while it is loaded.
struct convjit::CUDADevice::State {
  struct Entry {
    std::mutex mutex;
    std::weak_ptr<const cuda::LoadedModule> module;
  };

  cuda::Ordinal device = 0;
  cuda::Context context = nullptr;
  std::mutex mutex;
  std::unordered_map<std::string, std::shared_ptr<Entry>> modules;
};

#endif // CONVJIT_RUNTIME_CUDA_DEVICESTATE_H
