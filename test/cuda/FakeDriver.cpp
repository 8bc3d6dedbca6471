//===- FakeDriver.cpp - a CUDA driver without a GPU -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "FakeMachine.h"

#include <cstdio>
#include <cstring>

using namespace convjit::cuda;
using namespace convjit::fake;

#define ENTER(...)                                                             \
  std::lock_guard lock(mutex);                                                 \
  if (Result result = enter(__func__ __VA_OPT__(, ) __VA_ARGS__))              \
    return result;

extern "C" {
#pragma GCC visibility push(default)

Result cuInit(unsigned) {
  std::lock_guard lock(mutex);
  if (machine.process == 0)
    machine.process = getpid();
  if (Result result = enter(__func__, false, false))
    return result;
  return machine.devices ? Success : NoDevice;
}
Result cuDriverGetVersion(int *version) {
  *version = machine.version;
  return Success;
}
Result cuGetErrorName(Result result, const char **text) {
  switch (result) {
  case OutOfMemory:
    *text = "CUDA_ERROR_OUT_OF_MEMORY";
    return Success;
  case NotInitialized:
    *text = "CUDA_ERROR_NOT_INITIALIZED";
    return Success;
  case NoDevice:
    *text = "CUDA_ERROR_NO_DEVICE";
    return Success;
  case InvalidPTX:
    *text = "CUDA_ERROR_INVALID_PTX";
    return Success;
  case CaptureUnsupported:
    *text = "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED";
    return Success;
  case UnsupportedPTXVersion:
    *text = "CUDA_ERROR_UNSUPPORTED_PTX_VERSION";
    return Success;
  case LaunchFailed:
    *text = "CUDA_ERROR_LAUNCH_FAILED";
    return Success;
  default:
    return InvalidValue;
  }
}
Result cuGetErrorString(Result result, const char **text) {
  *text = result == LaunchFailed && !machine.corrupted.empty()
              ? machine.corrupted.c_str()
              : "the fake driver's text";
  return Success;
}
Result cuDeviceGetCount(int *count) {
  ENTER(false, false)
  *count = machine.devices;
  return Success;
}
Result cuDeviceGet(Ordinal *device, int ordinal) {
  ENTER(false, false)
  *device = ordinal;
  return Success;
}
Result cuDeviceGetName(char *name, int size, Ordinal) {
  ENTER(false, false)
  std::snprintf(name, static_cast<size_t>(size), "Fake GPU");
  return Success;
}
Result cuDeviceGetAttribute(int *value, DeviceAttribute attribute, Ordinal) {
  ENTER(false, false)
  switch (attribute) {
  case DeviceAttribute::MaxThreadsPerBlock:
    *value = 1024;
    break;
  case DeviceAttribute::MaxGridX:
    *value = 0x7fffffff;
    break;
  case DeviceAttribute::MaxSharedBytesPerBlock:
    *value = 48 << 10;
    break;
  case DeviceAttribute::ClockKHz:
    *value = 1000000;
    break;
  case DeviceAttribute::Multiprocessors:
    *value = 2;
    break;
  case DeviceAttribute::CapabilityMajor:
    *value = machine.capability / 10;
    break;
  case DeviceAttribute::CapabilityMinor:
    *value = machine.capability % 10;
    break;
  case DeviceAttribute::MaxSharedBytesOptIn:
    *value = 227 << 10;
    break;
  }
  return Success;
}
Result cuDevicePrimaryCtxRetain(Context *context, Ordinal device) {
  ENTER(false, false)
  ++machine.retained[device];
  *context = contextOf(device);
  return Success;
}
Result cuDevicePrimaryCtxRelease_v2(Ordinal device) {
  ENTER(false, false)
  --machine.retained[device];
  return Success;
}
Result cuCtxGetCurrent(Context *context) {
  ENTER(true, false)
  *context = contexts.empty() ? nullptr : contexts.back();
  return Success;
}
Result cuCtxPushCurrent_v2(Context context) {
  ENTER(true, false)
  contexts.push_back(context);
  return Success;
}
Result cuCtxPopCurrent_v2(Context *context) {
  ENTER(true, false)
  if (contexts.empty())
    return InvalidContext;
  *context = contexts.back();
  contexts.pop_back();
  return Success;
}
Result cuModuleLoadDataEx(Module *module, const void *image, unsigned count,
                          JitOption *options, void **values) {
  ENTER()
  auto made = std::make_unique<FakeModule>();
  made->image = static_cast<const char *>(image);
  made->functions = entriesOf(made->image);
  for (auto &[name, function] : made->functions)
    function.image = &made->image;
  if (made->functions.empty()) {
    for (unsigned i = 0; i < count; ++i)
      if (options[i] == JitOption::ErrorLog)
        std::strcpy(static_cast<char *>(values[i]), "line 1: no entry\n");
    return InvalidPTX;
  }
  *module = reinterpret_cast<Module>(made.get());
  machine.modules[*module] = std::move(made);
  return Success;
}
Result cuModuleUnload(Module module) {
  ENTER()
  return machine.modules.erase(module) ? Success : InvalidValue;
}
Result cuModuleGetFunction(Function *function, Module module,
                           const char *name) {
  ENTER()
  auto &functions = machine.modules.at(module)->functions;
  auto found = functions.find(name);
  if (found == functions.end())
    return NotFound;
  *function = reinterpret_cast<Function>(&found->second);
  return Success;
}
Result cuFuncGetAttribute(int *value, FunctionAttribute attribute, Function) {
  ENTER()
  *value = attribute == FunctionAttribute::MaxThreadsPerBlock ? 1024
           : attribute == FunctionAttribute::Registers        ? 40
                                                              : 0;
  return Success;
}
Result cuFuncSetAttribute(Function function, FunctionAttribute attribute,
                          int value) {
  ENTER()
  if (attribute != FunctionAttribute::MaxDynamicSharedBytes)
    return InvalidValue;
  reinterpret_cast<FakeFunction *>(function)->dynamicShared = value;
  return Success;
}
Result cuLaunchKernel(Function function, unsigned gridX, unsigned gridY,
                      unsigned gridZ, unsigned blockX, unsigned blockY,
                      unsigned blockZ, unsigned sharedBytes, Stream stream,
                      void **parameters, void **extra) {
  ENTER(true)
  const auto &called = *reinterpret_cast<FakeFunction *>(function);
  if (gridX == 0 || gridX > 0x7fffffff || gridY != 1 || gridZ != 1 ||
      blockX == 0 || blockX > 1024 || blockY != 1 || blockZ != 1 || extra ||
      sharedBytes > static_cast<unsigned>(called.dynamicShared))
    return InvalidValue;
  // Without a kernel nothing is kept, so that a test may count allocations.
  if (!machine.kernel)
    return Success;
  std::vector<uint64_t> values(called.parameters);
  for (size_t i = 0; i < values.size(); ++i)
    std::memcpy(&values[i], parameters[i], sizeof values[i]);
  Work work = [=, entry = called.entry, image = *called.image] {
    std::string wrong = machine.kernel(
        {entry.c_str(), gridX, blockX, sharedBytes, values.data(),
         values.size(), stream, memoryAt, allocationAt, image});
    if (!wrong.empty() && machine.corrupted.empty())
      machine.corrupted = wrong;
  };
  if (machine.capturing)
    machine.captured.push_back(std::move(work));
  else
    machine.streams[stream].work.push_back(std::move(work));
  return Success;
}
Result cuMemAlloc_v2(Address *address, size_t bytes) {
  ENTER()
  if (bytes == 0)
    return InvalidValue;
  if (bytes > size_t(1) << 32)
    return OutOfMemory;
  *address = machine.next;
  machine.next += (bytes + 4095) / 4096 * 4096 + 4096;
  machine.memory[*address].assign(bytes, std::byte(0xff));
  return Success;
}
Result cuMemFree_v2(Address address) {
  ENTER()
  return machine.memory.erase(address) ? Success : InvalidValue;
}
Result cuMemcpyHtoDAsync_v2(Address to, const void *from, size_t bytes,
                            Stream stream) {
  ENTER()
  size_t room = 0;
  if (!memoryAt(to, &room) || room < bytes)
    return InvalidValue;
  machine.streams[stream].work.push_back([=] {
    size_t still = 0;
    std::memcpy(memoryAt(to, &still), from, bytes);
  });
  return Success;
}
Result cuMemcpyDtoHAsync_v2(void *to, Address from, size_t bytes,
                            Stream stream) {
  ENTER()
  size_t room = 0;
  if (!memoryAt(from, &room) || room < bytes)
    return InvalidValue;
  machine.streams[stream].work.push_back([=] {
    size_t still = 0;
    std::memcpy(to, memoryAt(from, &still), bytes);
  });
  return Success;
}
Result cuStreamCreate(Stream *stream, unsigned) {
  ENTER()
  static uintptr_t made = 0;
  *stream = reinterpret_cast<Stream>(0x5000 + ++made);
  machine.streams[*stream];
  return Success;
}
Result cuStreamDestroy_v2(Stream stream) {
  ENTER()
  return machine.streams.erase(stream) ? Success : InvalidValue;
}
Result cuStreamSynchronize(Stream stream) {
  ENTER()
  finish(stream);
  return machine.corrupted.empty() ? Success : LaunchFailed;
}
Result cuEventCreate(Event *event, unsigned) {
  ENTER()
  *event = reinterpret_cast<Event>(uintptr_t(0xe0));
  return Success;
}
Result cuEventDestroy_v2(Event) {
  ENTER()
  return Success;
}
Result cuEventRecord(Event, Stream) {
  ENTER(true)
  return Success;
}
Result cuEventSynchronize(Event) {
  ENTER()
  for (auto &[stream, state] : machine.streams)
    finish(stream);
  return machine.corrupted.empty() ? Success : LaunchFailed;
}
Result cuEventElapsedTime(float *milliseconds, Event, Event) {
  ENTER()
  *milliseconds = 2;
  return Success;
}

const Controls *convjit_fake_cuda() {
  static const Controls controls = {
      reset,
      [](const char *function) {
        std::lock_guard lock(mutex);
        auto found = machine.calls.find(function);
        return found == machine.calls.end() ? 0 : found->second;
      },
      [](Kernel kernel) {
        std::lock_guard lock(mutex);
        machine.kernel = kernel;
      },
      [](bool on) { machine.capturing = on; },
      [] {
        for (const Work &work : machine.captured)
          work();
      },
      [] {
        int live = 0;
        for (auto [device, count] : machine.retained)
          live += count;
        return live;
      },
      [] { return static_cast<int>(machine.modules.size()); },
      [] { return static_cast<int>(machine.memory.size()); }};
  return &controls;
}

#pragma GCC visibility pop
} // extern "C"
