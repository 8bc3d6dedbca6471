//===- CUDADevice.cpp - one GPU of the CUDA driver -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "convjit/CUDADevice.h"
#include "DeviceState.h"

#include <algorithm>
#include <charconv>
#include <map>

using namespace convjit;
using namespace convjit::cuda;

CurrentContext::CurrentContext(const CUDADevice &device)
    : driver(device.driver()) {
  Context wanted = device.state().context, current = nullptr;
  result = driver.ctxGetCurrent(&current);
  if (result != Success || current == wanted)
    return;
  result = driver.ctxPushCurrent(wanted);
  pushed = result == Success;
}

CurrentContext::~CurrentContext() {
  Context popped;
  if (pushed)
    driver.ctxPopCurrent(&popped);
}

Status CurrentContext::status() const {
  return driver.check(result, "cuCtxPushCurrent");
}

Expected<int> CUDADevice::parseName(const std::string &name) {
  int ordinal = 0;
  std::string_view rest = name;
  if (rest.starts_with("cuda:")) {
    rest.remove_prefix(5);
    auto [end, error] =
        std::from_chars(rest.data(), rest.data() + rest.size(), ordinal);
    // A device has one name: no sign, no zero before the number.
    if (error == std::errc() && end == rest.data() + rest.size() &&
        rest == std::to_string(ordinal) && ordinal >= 0)
      return ordinal;
  }
  return badInput("device '" + name + "': valid: cuda:0, cuda:1, ...");
}

Expected<std::shared_ptr<CUDADevice>> CUDADevice::open(int ordinal) {
  static std::mutex mutex;
  static std::map<int, std::weak_ptr<CUDADevice>> devices;
  Expected<const Driver *> driver = Driver::get();
  if (!driver)
    return driver.takeError();
  std::string id = "cuda:" + std::to_string(ordinal);
  std::lock_guard lock(mutex);
  if (std::shared_ptr<CUDADevice> known = devices[ordinal].lock())
    return known;
  int count = 0;
  if (Status s = (*driver)->check((*driver)->deviceGetCount(&count),
                                  "cuDeviceGetCount");
      !s)
    return s.takeError();
  if (ordinal < 0 || ordinal >= count) {
    std::string valid = "cuda:0";
    if (count > 1)
      valid += " to cuda:" + std::to_string(count - 1);
    return environmentError(
        id + ": the CUDA driver finds " + std::to_string(count) +
        (count == 1 ? " device" : " devices") + "; valid: " +
        (count ? valid
               : "a machine with an NVIDIA GPU that "
                 "CUDA_VISIBLE_DEVICES does not hide"));
  }
  std::shared_ptr<CUDADevice> made(new CUDADevice);
  made->functions = *driver;
  made->number = ordinal;
  auto state = std::make_unique<State>();
  if (Status s = (*driver)->check((*driver)->deviceGet(&state->device, ordinal),
                                  "cuDeviceGet");
      !s)
    return s.takeError();
  Result result =
      (*driver)->devicePrimaryCtxRetain(&state->context, state->device);
  if (result != Success)
    return (*driver)->error(result, id + ": cuDevicePrimaryCtxRetain");
  // From here on the destructor releases it.
  made->shared = std::move(state);
  if (Status s = made->readProperties(); !s)
    return s.takeError();
  devices[ordinal] = made;
  return made;
}

CUDADevice::~CUDADevice() {
  if (shared)
    functions->devicePrimaryCtxRelease(shared->device);
}

Status CUDADevice::readProperties() {
  Result result = Success;
  auto get = [&](DeviceAttribute attribute) {
    int value = 0;
    if (result == Success)
      result = functions->deviceGetAttribute(&value, attribute, shared->device);
    return value;
  };
  facts.computeCapability = 10 * get(DeviceAttribute::CapabilityMajor) +
                            get(DeviceAttribute::CapabilityMinor);
  facts.multiprocessors = get(DeviceAttribute::Multiprocessors);
  facts.clockMHz = get(DeviceAttribute::ClockKHz) / 1000;
  facts.maxGridBlocks = get(DeviceAttribute::MaxGridX);
  facts.maxThreads = get(DeviceAttribute::MaxThreadsPerBlock);
  facts.maxSharedBytes = get(DeviceAttribute::MaxSharedBytesOptIn);
  if (result != Success)
    return functions->error(result, id() + ": cuDeviceGetAttribute");
  char name[256] = "";
  result = functions->deviceGetName(name, sizeof name - 1, shared->device);
  facts.name = name;
  if (result != Success)
    return functions->error(result, id() + ": cuDeviceGetName");
  return {};
}

/// A call of the driver, or several, in the device's context; `what` names it.
template <typename Call>
Status CUDADevice::inContext(const std::string &what, Call call) const {
  CurrentContext current(*this);
  if (!current.good())
    return current.status();
  Result result = call();
  if (result == Success)
    return {};
  return functions->error(result, id() + ": " + what);
}

Expected<DeviceAddress> CUDADevice::allocate(size_t bytes) const {
  DeviceAddress memory = 0;
  std::string what = std::to_string(bytes) + " bytes of device memory";
  if (Status s = inContext(what,
                           [&] {
                             return functions->memAlloc(
                                 &memory, std::max<size_t>(bytes, 1));
                           });
      !s)
    return s.takeError();
  return memory;
}

void CUDADevice::release(DeviceAddress memory) const {
  CurrentContext current(*this);
  if (current.good())
    functions->memFree(memory);
}

Status CUDADevice::upload(DeviceAddress to, const void *from, size_t bytes,
                          DeviceStream stream) const {
  if (bytes == 0)
    return {};
  return inContext("cuMemcpyHtoDAsync", [&] {
    return functions->memcpyHtoDAsync(to, from, bytes,
                                      static_cast<Stream>(stream));
  });
}

Status CUDADevice::download(void *to, DeviceAddress from, size_t bytes,
                            DeviceStream stream) const {
  if (bytes == 0)
    return {};
  return inContext("cuMemcpyDtoHAsync", [&] {
    return functions->memcpyDtoHAsync(to, from, bytes,
                                      static_cast<Stream>(stream));
  });
}

Expected<DeviceStream> CUDADevice::makeStream() const {
  Stream stream = nullptr;
  if (Status s = inContext(
          "cuStreamCreate",
          [&] { return functions->streamCreate(&stream, streamNonBlocking); });
      !s)
    return s.takeError();
  return static_cast<DeviceStream>(stream);
}

void CUDADevice::releaseStream(DeviceStream stream) const {
  CurrentContext current(*this);
  if (current.good())
    functions->streamDestroy(static_cast<Stream>(stream));
}

Status CUDADevice::synchronize(DeviceStream stream) const {
  return inContext("cuStreamSynchronize", [&] {
    return functions->streamSynchronize(static_cast<Stream>(stream));
  });
}

Expected<DeviceMemory>
DeviceMemory::allocate(std::shared_ptr<const CUDADevice> device, size_t bytes) {
  DeviceMemory made;
  if (bytes == 0)
    return made;
  Expected<DeviceAddress> memory = device->allocate(bytes);
  if (!memory)
    return memory.takeError();
  made.device = std::move(device);
  made.memory = *memory;
  return made;
}

Expected<DeviceTimer>
DeviceTimer::create(std::shared_ptr<const CUDADevice> device) {
  DeviceTimer made;
  made.device = std::move(device);
  for (void *&event : made.events) {
    Event one = nullptr;
    if (Status s = made.device->inContext(
            "cuEventCreate",
            [&] { return made.device->driver().eventCreate(&one, 0); });
        !s)
      return s.takeError();
    event = one;
  }
  return made;
}

DeviceTimer::~DeviceTimer() {
  if (!device)
    return;
  CurrentContext current(*device);
  for (void *event : events)
    if (event && current.good())
      device->driver().eventDestroy(static_cast<Event>(event));
}

Status DeviceTimer::record(int which, DeviceStream stream) const {
  return device->inContext("cuEventRecord", [&] {
    return device->driver().eventRecord(
        static_cast<Event>(events[static_cast<size_t>(which)]),
        static_cast<Stream>(stream));
  });
}

Expected<double> DeviceTimer::milliseconds() const {
  auto start = static_cast<Event>(events[0]),
       stop = static_cast<Event>(events[1]);
  float elapsed = 0;
  Status done = device->inContext("cuEventElapsedTime", [&] {
    const Driver &driver = device->driver();
    Result result = driver.eventSynchronize(stop);
    return result == Success ? driver.eventElapsedTime(&elapsed, start, stop)
                             : result;
  });
  if (!done)
    return done.takeError();
  return static_cast<double>(elapsed);
}
