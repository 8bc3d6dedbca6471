//===- Link.h - a rewritten module to callable code -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef CONVJIT_TEST_EMULATOR_LINK_H
#define CONVJIT_TEST_EMULATOR_LINK_H

#include "convjit/Error.h"

#include <map>
#include <memory>
#include <string>

namespace llvm {
class Module;
class TargetMachine;
} // namespace llvm

namespace convjit::emulator {

/// A machine for this host's CPU. Errors: LLVM has no back end for it.
Expected<std::unique_ptr<llvm::TargetMachine>> hostMachine();

/// Code and variables in memory, until it is destroyed.
class Code {
public:
  /// Compiles and links; `counters` is the address of `convjit_emu_counters`.
  /// Errors name what could not be resolved.
  static Expected<Code> link(llvm::Module &module, llvm::TargetMachine &machine,
                             void *counters);
  Code(Code &&) noexcept;
  Code &operator=(Code &&) noexcept;
  ~Code();
  /// The address of a symbol whose name starts with `convjit_emu_`, or null.
  void *find(const std::string &symbol) const;

private:
  struct Impl;
  Code();
  std::unique_ptr<Impl> impl;
};

} // namespace convjit::emulator

#endif // CONVJIT_TEST_EMULATOR_LINK_H
