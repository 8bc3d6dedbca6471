//===- FakeMachine.h - the books of a CUDA driver without a GPU -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef CONVJIT_TEST_CUDA_FAKEMACHINE_H
#define CONVJIT_TEST_CUDA_FAKEMACHINE_H

#include "FakeDriver.h"
#include "cuda/Driver.h"

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include <unistd.h>

namespace convjit::fake {

using namespace cuda;

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
  Kernel kernel = nullptr;
  /// What a kernel did wrong; nothing works after it.
  std::string corrupted;
};

extern std::recursive_mutex mutex;
extern Machine machine;
extern thread_local std::vector<Context> contexts;

/// Forgets all and starts as the environment or `options` says.
void reset(const char *options);
Context contextOf(int device);
/// Counts a call; what it returns at once, if not Success.
Result enter(const char *name, bool captured = false, bool needsContext = true);
/// The host's memory behind an address of the device, and the bytes from there
/// to the end of its allocation; null if it is in none.
void *memoryAt(uint64_t address, size_t *bytes);
uint64_t allocationAt(uint64_t address);
/// The entries of a module: ".entry NAME(" and a ".param" for each parameter.
std::map<std::string, FakeFunction> entriesOf(const std::string &image);
/// The work of a stream is done when somebody waits for it.
void finish(Stream stream);

} // namespace convjit::fake

#endif // CONVJIT_TEST_CUDA_FAKEMACHINE_H
