//===- Driver.cpp - the CUDA driver, found at run time -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Driver.h"

#include <cstdlib>
#include <mutex>

#include <dlfcn.h>

using namespace convjit;
using namespace convjit::cuda;

namespace {

/// Finds functions one after the other; remembers the first that is missing.
class Symbols {
public:
  explicit Symbols(void *library) : library(library) {}

  template <typename T> void find(T &function, const char *name) {
    function = reinterpret_cast<T>(dlsym(library, name));
    if (!function && missing.empty())
      missing = name;
  }

  std::string missing;

private:
  void *library;
};

std::string findAll(void *library, Driver &driver) {
  Symbols symbols(library);
  symbols.find(driver.init, "cuInit");
  symbols.find(driver.driverGetVersion, "cuDriverGetVersion");
  symbols.find(driver.getErrorName, "cuGetErrorName");
  symbols.find(driver.getErrorString, "cuGetErrorString");
  symbols.find(driver.deviceGetCount, "cuDeviceGetCount");
  symbols.find(driver.deviceGet, "cuDeviceGet");
  symbols.find(driver.deviceGetName, "cuDeviceGetName");
  symbols.find(driver.deviceGetAttribute, "cuDeviceGetAttribute");
  symbols.find(driver.devicePrimaryCtxRetain, "cuDevicePrimaryCtxRetain");
  symbols.find(driver.devicePrimaryCtxRelease, "cuDevicePrimaryCtxRelease_v2");
  symbols.find(driver.ctxGetCurrent, "cuCtxGetCurrent");
  symbols.find(driver.ctxPushCurrent, "cuCtxPushCurrent_v2");
  symbols.find(driver.ctxPopCurrent, "cuCtxPopCurrent_v2");
  symbols.find(driver.moduleLoadDataEx, "cuModuleLoadDataEx");
  symbols.find(driver.moduleUnload, "cuModuleUnload");
  symbols.find(driver.moduleGetFunction, "cuModuleGetFunction");
  symbols.find(driver.funcGetAttribute, "cuFuncGetAttribute");
  symbols.find(driver.funcSetAttribute, "cuFuncSetAttribute");
  symbols.find(driver.launchKernel, "cuLaunchKernel");
  symbols.find(driver.memAlloc, "cuMemAlloc_v2");
  symbols.find(driver.memFree, "cuMemFree_v2");
  symbols.find(driver.memcpyHtoDAsync, "cuMemcpyHtoDAsync_v2");
  symbols.find(driver.memcpyDtoHAsync, "cuMemcpyDtoHAsync_v2");
  symbols.find(driver.streamCreate, "cuStreamCreate");
  symbols.find(driver.streamDestroy, "cuStreamDestroy_v2");
  symbols.find(driver.streamSynchronize, "cuStreamSynchronize");
  symbols.find(driver.eventCreate, "cuEventCreate");
  symbols.find(driver.eventDestroy, "cuEventDestroy_v2");
  symbols.find(driver.eventRecord, "cuEventRecord");
  symbols.find(driver.eventSynchronize, "cuEventSynchronize");
  symbols.find(driver.eventElapsedTime, "cuEventElapsedTime");
  return symbols.missing;
}

Expected<Driver> openDriver() {
  const char *named = std::getenv("CONVJIT_LIBCUDA");
  std::string name = named && *named ? named : "libcuda.so.1";
  // Never closed: the driver has threads and handlers of its own.
  void *library = dlopen(name.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!library) {
    const char *why = dlerror();
    return environmentError(
        "the CUDA driver '" + name + "' cannot be opened (" +
        (why ? why : "unknown") +
        "); valid: a machine with NVIDIA's driver, or CONVJIT_LIBCUDA=the path "
        "of its libcuda.so.1");
  }
  Driver driver{};
  if (std::string missing = findAll(library, driver); !missing.empty()) {
    dlclose(library);
    return environmentError("the CUDA driver '" + name + "' has no " + missing +
                            "; valid: a driver for CUDA 11 or later");
  }
  return driver;
}

} // namespace

Expected<const Driver *> Driver::get() {
  static std::mutex mutex;
  static Driver driver{};
  static bool ready = false;
  std::lock_guard lock(mutex);
  if (ready)
    return &driver;
  Expected<Driver> opened = openDriver();
  if (!opened)
    return opened.takeError();
  Result result = opened->init(0);
  if (result == NoDevice)
    return environmentError(
        "the CUDA driver (" + opened->version() +
        ") finds no device: " + opened->error(result, "cuInit").message +
        "; valid: a machine with an NVIDIA GPU that CUDA_VISIBLE_DEVICES does "
        "not hide");
  if (result != Success)
    return opened->error(result, "cuInit");
  driver = *opened;
  ready = true;
  return &driver;
}

Error Driver::error(Result result, const std::string &what) const {
  auto text = [&](Result (*get)(Result, const char **)) {
    const char *found = nullptr;
    return get(result, &found) == Success && found ? std::string(found)
                                                   : std::string();
  };
  std::string name = text(getErrorName), description = text(getErrorString);
  // The words by which the C interface tells the status.
  std::string prefix = result == OutOfMemory ? "not enough memory: " : "";
  return environmentError(
      prefix + what + ": " +
      (name.empty() ? "error " + std::to_string(result) : name) +
      (description.empty() ? "" : " (" + description + ")"));
}

std::string Driver::version() const {
  int version = 0;
  if (driverGetVersion(&version) != Success || version <= 0)
    return "an unknown version";
  return "CUDA " + std::to_string(version / 1000) + "." +
         std::to_string(version % 1000 / 10);
}
