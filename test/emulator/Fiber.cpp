//===- Fiber.cpp - stacks that take turns -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Fiber.h"

#include <cstring>
#include <sys/mman.h>

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#include <sanitizer/common_interface_defs.h>
#define CONVJIT_FIBER_ASAN 1
#endif
#endif

using namespace convjit;
using namespace convjit::emulator;

#if defined(__x86_64__)

// swapcontext saves the signal mask, a system call each time: 40 times slower.
// void convjit_emulator_switch(void **save, void *to)
asm(R"(
.text
.type convjit_emulator_switch,@function
convjit_emulator_switch:
  .cfi_startproc
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
  .cfi_endproc
.size convjit_emulator_switch, .-convjit_emulator_switch

.type convjit_emulator_start,@function
convjit_emulator_start:
  .cfi_startproc
  .cfi_undefined rip
  movq %r13, %rdi
  callq *%r12
  ud2
  .cfi_endproc
.size convjit_emulator_start, .-convjit_emulator_start
)");

extern "C" {
void convjit_emulator_switch(void **save, void *to);
void convjit_emulator_start();
}

void Fiber::start(void *stack, size_t bytes, void (*entry)(void *),
                  void *argument) {
  // What convjit_emulator_switch pops, and the address it returns to: 16 bytes
  // aligned at the call in convjit_emulator_start.
  void **top =
      reinterpret_cast<void **>(static_cast<std::byte *>(stack) + bytes - 72);
  memset(top, 0, 72);
  top[0] = nullptr;                         // r15
  top[1] = nullptr;                         // r14
  top[2] = argument;                        // r13
  top[3] = reinterpret_cast<void *>(entry); // r12
  top[6] = reinterpret_cast<void *>(convjit_emulator_start);
  stackPointer = top;
  fakeStack = nullptr;
  bottom = stack;
  size = bytes;
}

static void jump(Fiber &from, Fiber &to) {
  convjit_emulator_switch(&from.stackPointer, to.stackPointer);
}

#else

static void enter(unsigned entryHigh, unsigned entryLow, unsigned high,
                  unsigned low) {
  auto join = [](unsigned high, unsigned low) {
    return reinterpret_cast<void *>(uintptr_t(high) << 32 | low);
  };
  reinterpret_cast<void (*)(void *)>(join(entryHigh, entryLow))(
      join(high, low));
}

void Fiber::start(void *stack, size_t bytes, void (*entry)(void *),
                  void *argument) {
  getcontext(&context);
  context.uc_stack.ss_sp = stack;
  context.uc_stack.ss_size = bytes;
  context.uc_link = nullptr;
  auto e = reinterpret_cast<uintptr_t>(entry);
  auto a = reinterpret_cast<uintptr_t>(argument);
  makecontext(&context, reinterpret_cast<void (*)()>(enter), 4,
              unsigned(e >> 32), unsigned(e), unsigned(a >> 32), unsigned(a));
  fakeStack = nullptr;
  bottom = stack;
  size = bytes;
}

static void jump(Fiber &from, Fiber &to) {
  swapcontext(&from.context, &to.context);
}

#endif

#ifdef CONVJIT_FIBER_ASAN
static thread_local Fiber *previous;

void emulator::switchFiber(Fiber &from, Fiber &to) {
  previous = &from;
  __sanitizer_start_switch_fiber(&from.fakeStack, to.bottom, to.size);
  jump(from, to);
  __sanitizer_finish_switch_fiber(from.fakeStack, &previous->bottom,
                                  &previous->size);
}

void emulator::enteredFiber() {
  __sanitizer_finish_switch_fiber(nullptr, &previous->bottom, &previous->size);
}
#else
void emulator::switchFiber(Fiber &from, Fiber &to) { jump(from, to); }
void emulator::enteredFiber() {}
#endif

Status Stacks::reserve(size_t wanted) {
  if (wanted <= count)
    return {};
  if (mapping)
    munmap(mapping, mapped);
  mapping = nullptr;
  count = 0;
  mapped = wanted * (bytesEach + guard);
  void *got = mmap(nullptr, mapped, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (got == MAP_FAILED)
    return environmentError("no address space for the stacks of " +
                            std::to_string(wanted) + " threads");
  mapping = static_cast<std::byte *>(got);
  count = wanted;
  for (size_t i = 0; i < wanted; ++i)
    mprotect(bottom(i) - guard, guard, PROT_NONE);
  return {};
}

Stacks::~Stacks() {
  if (mapping)
    munmap(mapping, mapped);
}
