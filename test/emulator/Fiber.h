//===- Fiber.h - stacks that take turns -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef CONVJIT_TEST_EMULATOR_FIBER_H
#define CONVJIT_TEST_EMULATOR_FIBER_H

#include "convjit/Error.h"

#include <cstddef>
#include <cstdint>

#if !defined(__x86_64__)
#include <ucontext.h>
#endif

namespace convjit::emulator {

/// A stack and where its execution stands. The thread's own stack is a fiber
/// too: a default-constructed one, filled by the first switch away from it. A
/// fiber that is never resumed is simply forgotten; nothing is unwound.
struct Fiber {
#if defined(__x86_64__)
  void *stackPointer = nullptr;
#else
  ucontext_t context;
#endif
  // For AddressSanitizer, which has to be told.
  void *fakeStack = nullptr;
  const void *bottom = nullptr;
  size_t size = 0;

  /// Makes the fiber call `entry(argument)` on the given stack when it is first
  /// switched to. `entry` must not return.
  void start(void *stack, size_t bytes, void (*entry)(void *), void *argument);
};

/// Saves where `from` stands, which must be the running fiber, and goes on with
/// `to`. On x86-64 about 2 ns: callee-saved registers only, no system call.
void switchFiber(Fiber &from, Fiber &to);

/// Every `entry` calls this first.
void enteredFiber();

/// Stacks for fibers, one mapping with a protected page below each. Pages that
/// no fiber touched take no memory.
class Stacks {
public:
  static constexpr size_t bytesEach = 256 << 10;

  /// Makes sure that there are `count`. Errors: no address space.
  Status reserve(size_t count);
  std::byte *bottom(size_t index) const {
    return mapping + index * (bytesEach + guard) + guard;
  }
  Stacks() = default;
  Stacks(const Stacks &) = delete;
  ~Stacks();

private:
  static constexpr size_t guard = 4096;
  std::byte *mapping = nullptr;
  size_t mapped = 0, count = 0;
};

} // namespace convjit::emulator

#endif // CONVJIT_TEST_EMULATOR_FIBER_H
