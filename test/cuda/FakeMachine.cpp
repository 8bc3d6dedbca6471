//===- FakeMachine.cpp - the books of a CUDA driver without a GPU -*- C++
//-*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "FakeMachine.h"

#include <cstdio>
#include <cstdlib>
#include <sstream>

using namespace convjit;
using namespace convjit::fake;
using namespace convjit::cuda;

/// What launches do from the start.
static Kernel firstKernel = nullptr;

std::recursive_mutex fake::mutex;
Machine fake::machine;
thread_local std::vector<Context> fake::contexts;

void fake::reset(const char *options) {
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
[[maybe_unused]] static const bool started = (reset(nullptr), true);

Context fake::contextOf(int device) {
  return reinterpret_cast<Context>(static_cast<uintptr_t>(0xc0 + device));
}

Result fake::enter(const char *name, bool captured, bool needsContext) {
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

void *fake::memoryAt(uint64_t address, size_t *bytes) {
  auto after = machine.memory.upper_bound(address);
  if (after == machine.memory.begin())
    return nullptr;
  auto &[start, storage] = *std::prev(after);
  if (address - start >= storage.size())
    return nullptr;
  *bytes = storage.size() - (address - start);
  return storage.data() + (address - start);
}

uint64_t fake::allocationAt(uint64_t address) {
  auto after = machine.memory.upper_bound(address);
  return after == machine.memory.begin() ? 0 : std::prev(after)->first;
}

std::map<std::string, FakeFunction> fake::entriesOf(const std::string &image) {
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

void fake::finish(Stream stream) {
  std::vector<Work> work = std::move(machine.streams[stream].work);
  machine.streams[stream].work.clear();
  for (const Work &item : work)
    if (machine.corrupted.empty())
      item();
}

void convjit::fake::setFirstKernel(Kernel kernel) {
  firstKernel = machine.kernel = kernel;
}
