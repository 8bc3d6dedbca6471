//===- Debuggers.h - kernels by name in debuggers and profilers -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

// gdb learns of each kernel through GDB's JIT interface: a small object
// file in memory with its symbols, addresses and unwind tables, about 1 KiB a
// kernel. perf reads /tmp/perf-PID.map, written where the environment variable
// CONVJIT_PERF_MAP is 1. CONVJIT_GDB=0 turns the first off.
//
//===----------------------------------------------------------------------===//

#ifndef CONVJIT_COMPILER_DEBUGGERS_H
#define CONVJIT_COMPILER_DEBUGGERS_H

#include "convjit/Convolution.h"

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace convjit {

struct DebugFunction {
  const char *suffix = ""; ///< of the kernel's name
  void *address = nullptr;
  size_t bytes = 0;
};

/// A kernel's name, an identifier of C: convjit_conv2d_9x9x3_to_7x7x8_k3x3_...
/// ends with digits of a hash, since it does not say everything.
std::string debugName(const Convolution &conv);

/// Makes a kernel known; forgets it on destruction. Thread-safe.
class DebugRegistration {
public:
  /// `unwind` is the section .eh_frame where it lies in memory.
  DebugRegistration(const Convolution &conv,
                    std::span<const DebugFunction> functions,
                    std::string_view unwind);
  ~DebugRegistration();
  DebugRegistration(const DebugRegistration &) = delete;
  DebugRegistration &operator=(const DebugRegistration &) = delete;

private:
  struct Entry;
  std::unique_ptr<Entry> entry; ///< null where gdb was not told
};

} // namespace convjit

#endif // CONVJIT_COMPILER_DEBUGGERS_H
