//===- LoadedModule.cpp - PTX on a device -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "DeviceState.h"

#include <algorithm>
#include <vector>

using namespace convjit;
using namespace convjit::cuda;

LoadedModule::~LoadedModule() {
  CurrentContext current(*device);
  // At the end of a process the driver may be gone, and the module with it.
  if (current.good())
    device->driver().moduleUnload(module);
}

/// The driver's log as one line.
static std::string firstLines(std::string log) {
  log.resize(std::min(log.find('\0'), log.size()));
  while (!log.empty() && (log.back() == '\n' || log.back() == ' '))
    log.pop_back();
  std::replace(log.begin(), log.end(), '\n', ' ');
  return log;
}

static Expected<Module> loadNow(const CUDADevice &device,
                                const std::string &ptx) {
  const Driver &driver = device.driver();
  CurrentContext current(device);
  if (!current.good())
    return current.status().takeError();
  std::string log(4096, '\0');
  JitOption options[] = {JitOption::ErrorLog, JitOption::ErrorLogBytes};
  // The number itself lies where the pointer would.
  void *values[] = {log.data(), reinterpret_cast<void *>(log.size())};
  Module module = nullptr;
  Result result =
      driver.moduleLoadDataEx(&module, ptx.c_str(), 2, options, values);
  if (result == Success)
    return module;
  std::string what =
      device.id() + " (" + device.properties().name + "): cuModuleLoadDataEx";
  Error error = driver.error(result, what);
  if (std::string text = firstLines(std::move(log)); !text.empty())
    error.message += ": " + text;
  if (result == UnsupportedPTXVersion)
    error.message +=
        "; the driver is for " + driver.version() + "; valid: a later one";
  return error;
}

Expected<std::shared_ptr<const LoadedModule>>
cuda::loadModule(std::shared_ptr<const CUDADevice> device,
                 const std::string &ptx) {
  using Entry = CUDADevice::State::Entry;
  CUDADevice::State &state = device->state();
  std::shared_ptr<Entry> entry;
  {
    std::lock_guard lock(state.mutex);
    // Forgets texts that nobody has loaded or is loading. Whoever loaded an
    // entry has let go of its mutex by then; taking it orders what it wrote
    // before this, which a use count does not.
    std::erase_if(state.modules, [](const auto &item) {
      if (item.second.use_count() != 1)
        return false;
      std::lock_guard lock(item.second->mutex);
      return item.second->module.expired();
    });
    std::shared_ptr<Entry> &known = state.modules[ptx];
    if (!known)
      known = std::make_shared<Entry>();
    entry = known;
  }
  std::lock_guard lock(entry->mutex);
  if (std::shared_ptr<const LoadedModule> loaded = entry->module.lock())
    return loaded;
  Expected<Module> module = loadNow(*device, ptx);
  if (!module)
    return module.takeError();
  auto made = std::make_shared<const LoadedModule>(std::move(device), *module);
  entry->module = made;
  return made;
}
