//===- TargetInfo.h - which CPU code is made for -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef CONVJIT_COMPILER_TARGETINFO_H
#define CONVJIT_COMPILER_TARGETINFO_H

#include "plan/Machine.h"

#include "convjit/Compiler.h"

#include "llvm/MC/MCSubtargetInfo.h"
#include "llvm/Target/TargetMachine.h"

namespace convjit {

/// A Target with every field filled in, and what the cost model needs of it.
struct TargetInfo {
  std::string triple, cpu, features;
  Machine machine;
  /// Bits of SVE's registers where the code uses them and runs with no other
  /// length; else 0.
  int64_t sveBits = 0;
  bool isHost = false;

  /// One line for people.
  std::string describe(DataType dtype) const;
};

/// Fills in the host's values; finds the CPU's family by its name. Errors: a
/// CPU that LLVM does not know, a feature that it does not.
Expected<TargetInfo> resolveTarget(const Target &target);

/// Triple, CPU and features of this machine, as code depends on them. Needs no
/// target of LLVM's initialized.
const std::string &hostText();

/// Errors: the target has features that this machine lacks, which are named.
Status checkRunsHere(const TargetInfo &target);

/// The target as LLVM's tables describe it, for questions about features.
std::unique_ptr<llvm::MCSubtargetInfo>
createSubtarget(const TargetInfo &target);

Expected<std::unique_ptr<llvm::TargetMachine>>
createTargetMachine(const TargetInfo &target);

} // namespace convjit

#endif // CONVJIT_COMPILER_TARGETINFO_H
