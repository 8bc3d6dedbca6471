//===- Dispatch.h - which kernels a machine can run -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef CONVJIT_COMPILER_DISPATCH_H
#define CONVJIT_COMPILER_DISPATCH_H

#include "TargetInfo.h"

#include <array>

namespace convjit {

/// What a machine must have to run a target's code, as bits of the words that
/// the processor or the operating system tells, in the order of
/// Requirements.cpp.
struct Requirements {
  static constexpr size_t wordCount = 9;
  std::array<uint64_t, wordCount> words{};
  std::vector<std::string> features; ///< the same by LLVM's names
  int64_t sveBits = 0;               ///< that very length, or 0 for any
};

/// Errors: a feature of the target whose presence cannot be found out.
Expected<Requirements> requirementsOf(const TargetInfo &target);

/// LLVM IR of `i64 PREFIX_runnable()`, hidden: bit i is set where this machine
/// has what target i requires. Asks the machine once a process.
std::string runnableIR(const std::string &prefix, bool x86,
                       const std::vector<Requirements> &targets);

/// LLVM IR of PREFIX_NAME_kernel and PREFIX_NAME_kernel_for for descriptors of
/// these symbols, the best first; `cpus` are their targets' names.
std::string pickIR(const std::string &prefix, const std::string &name,
                   const std::vector<std::string> &symbols,
                   const std::vector<std::string> &cpus);

/// LLVM IR of PREFIX_find over layers of these names and texts.
std::string findIR(const std::string &prefix,
                   const std::vector<std::string> &names,
                   const std::vector<std::string> &problems);

} // namespace convjit

#endif // CONVJIT_COMPILER_DISPATCH_H
