//===- FakeDriver.h - a CUDA driver without a GPU -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// libcuda-fake.so stands in for libcuda.so.1 (CONVJIT_LIBCUDA names it). It
// keeps the books of a driver: contexts current on each thread and their
// references, modules, device memory (at addresses that are no host memory),
// streams whose work is done no earlier than somebody waits for them. It knows
// of a module what its PTX text says: the entries and their parameters. What a
// launch computes is the test's own function; in libcuda-emulated.so it is what
// the emulator makes of the LLVM IR that the PTX carries (EmulatedKernels.cpp).
//
// CONVJIT_FAKE_CUDA of the environment, words with spaces between them, says
// what machine it is: devices=N (1), capability=NN (90), version=NNNN (12040),
// fail=NAME:N:RESULT (the N-th call of that function, from 1, returns that).
//
//===----------------------------------------------------------------------===//

#ifndef CONVJIT_TEST_CUDA_FAKEDRIVER_H
#define CONVJIT_TEST_CUDA_FAKEDRIVER_H

#include <cstddef>
#include <cstdint>
#include <string>

namespace convjit::fake {

/// One launch, when its stream comes to it.
struct Launch {
  const char *entry;
  unsigned grid, block, sharedBytes;
  const uint64_t *parameters;
  size_t parameterCount;
  void *stream;
  /// The host's memory behind an address of the device and the bytes from there
  /// to the end of its allocation; null if it is in none.
  void *(*memory)(uint64_t address, size_t *bytes);
  /// Where that allocation begins.
  uint64_t (*allocation)(uint64_t address);
  /// What was loaded as the module.
  const std::string &image;
};
/// Returns what the kernel did wrong: then the stream's next synchronization
/// fails, and all after it, as with a context that is corrupted.
using Kernel = std::string (*)(const Launch &launch);

/// What tests see and set; `convjit_fake_cuda` returns the one there is.
struct Controls {
  /// Forgets all and starts as the environment or `options` says.
  void (*reset)(const char *options);
  /// Calls of a driver's function since the reset.
  int (*calls)(const char *function);
  /// What launches do.
  void (*setKernel)(Kernel kernel);
  /// While set, a call that a stream under capture does not take returns
  /// CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED, and launches are kept.
  void (*capture)(bool on);
  /// Does all kept launches again.
  void (*replay)();
  /// Primary contexts retained less released, modules loaded less unloaded,
  /// allocations less releases.
  int (*liveContexts)();
  int (*liveModules)();
  int (*liveAllocations)();
};

/// Inside a driver: what launches do until a test says something else.
void setFirstKernel(Kernel kernel);

} // namespace convjit::fake

#endif // CONVJIT_TEST_CUDA_FAKEDRIVER_H
