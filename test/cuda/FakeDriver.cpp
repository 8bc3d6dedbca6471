//===- FakeDriver.cpp - a CUDA driver without a GPU -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "FakeDriver.h"
#include "cuda/Driver.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <sstream>
#include <vector>

#include <unistd.h>

using namespace convjit::cuda;
using convjit::fake::Controls;

namespace {

using Work = std::function<void()>;

struct FakeFunction {
  std::string entry;
  const std::string *image = nullptr;
  size_t parameters = 0;
  int dynamicShared = 48 << 10;
};
struct FakeModule {
  std::string image;
  std::map<std::string, FakeFunction> functions;
};
struct FakeStream {
  std::vector<Work> work;
};

struct Machine {
  int devices = 1, capability = 90, version = 12040;
  std::string failing;
  int failingCall = 0, failingResult = 0;
  pid_t process = 0; ///< that called cuInit

  std::map<std::string, int, std::less<>> calls;
  std::map<int, int> retained;
  std::map<Module, std::unique_ptr<FakeModule>> modules;
  std::map<Address, std::vector<std::byte>> memory;
  Address next = Address(0x700) << 32;
  std::map<Stream, FakeStream> streams;
  bool capturing = false;
  std::vector<Work> captured;
  convjit::fake::Kernel kernel = nullptr;
  /// What a kernel did wrong; nothing works after it.
  std::string corrupted;
};

/// What launches do from the start.
convjit::fake::Kernel firstKernel = nullptr;

std::recursive_mutex mutex;
Machine machine;
thread_local std::vector<Context> contexts;

void reset(const char *options) {
  std::lock_guard lock(mutex);
  machine = Machine();
  machine.kernel = firstKernel;
  const char *environment = std::getenv("CONVJIT_FAKE_CUDA");
  std::istringstream words(options ? options : environment ? environment : "");
  for (std::string word; words >> word;) {
    char name[64];
    if (std::sscanf(word.c_str(), "devices=%d", &machine.devices) == 1 ||
        std::sscanf(word.c_str(), "capability=%d", &machine.capability) == 1 ||
        std::sscanf(word.c_str(), "version=%d", &machine.version) == 1)
      continue;
    if (std::sscanf(word.c_str(), "fail=%63[^:]:%d:%d", name,
                    &machine.failingCall, &machine.failingResult) == 3)
      machine.failing = name;
    else
      std::abort();
  }
}
[[maybe_unused]] const bool started = (reset(nullptr), true);

Context contextOf(int device) {
  return reinterpret_cast<Context>(static_cast<uintptr_t>(0xc0 + device));
}

/// Counts a call; what it returns at once, if not Success.
Result enter(const char *name, bool captured = false,
             bool needsContext = true) {
  // Allocates for a function's first call alone.
  auto known = machine.calls.find(std::string_view(name));
  if (known == machine.calls.end())
    known = machine.calls.emplace(name, 0).first;
  int call = ++known->second;
  if (machine.failing == name && machine.failingCall == call)
    return machine.failingResult;
  if (machine.capturing && !captured)
    return CaptureUnsupported;
  if (machine.process != getpid())
    return NotInitialized;
  if (needsContext) {
    if (!machine.corrupted.empty())
      return LaunchFailed;
    if (contexts.empty())
      return InvalidContext;
    for (auto [device, count] : machine.retained)
      if (contexts.back() == contextOf(device) && count > 0)
        return Success;
    return InvalidContext;
  }
  return Success;
}

void *memoryAt(uint64_t address, size_t *bytes) {
  auto after = machine.memory.upper_bound(address);
  if (after == machine.memory.begin())
    return nullptr;
  auto &[start, storage] = *std::prev(after);
  if (address - start >= storage.size())
    return nullptr;
  *bytes = storage.size() - (address - start);
  return storage.data() + (address - start);
}

uint64_t allocationAt(uint64_t address) {
  auto after = machine.memory.upper_bound(address);
  return after == machine.memory.begin() ? 0 : std::prev(after)->first;
}

/// The entries of a module: ".entry NAME(" and a ".param" for each parameter.
std::map<std::string, FakeFunction> entriesOf(const std::string &image) {
  std::map<std::string, FakeFunction> entries;
  // What comments carry is none of it.
  std::string ptx;
  std::istringstream lines(image);
  for (std::string line; std::getline(lines, line);)
    if (!line.starts_with("//"))
      ptx += line + "\n";
  for (size_t at = 0; (at = ptx.find(".entry ", at)) != std::string::npos;) {
    at += 7;
    size_t open = ptx.find('(', at), close = ptx.find(')', open);
    std::string name = ptx.substr(at, open - at);
    FakeFunction &function = entries[name];
    function.entry = name;
    for (size_t p = open; (p = ptx.find(".param", p)) < close; p += 6)
      ++function.parameters;
    at = close;
  }
  return entries;
}

/// The work of a stream is done when somebody waits for it.
void finish(Stream stream) {
  std::vector<Work> work = std::move(machine.streams[stream].work);
  machine.streams[stream].work.clear();
  for (const Work &item : work)
    if (machine.corrupted.empty())
      item();
}

} // namespace

void convjit::fake::setFirstKernel(Kernel kernel) {
  firstKernel = machine.kernel = kernel;
}

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
      [](convjit::fake::Kernel kernel) {
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
