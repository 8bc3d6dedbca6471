//===- Rewrite.h - a GPU module made to run on the host -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// What the module says of a GPU becomes calls of Runtime.cpp:
//
//     %v = load <4 x float>, ptr addrspace(3) %p, align 16
//   ->
//     %q = call ptr @convjit_emu_load(ptr MACHINE, i32 SITE, ptr %p)
//     %v = load <4 x float>, ptr %q, align 1
//
// so that an access that is out of bounds can be sent elsewhere. A warp-wide
// operation stores its operands into an array on the stack and waits inside
// convjit_emu_warp until the warp has come. Shared variables become addresses
// in the machine's shared memory.
//
//===----------------------------------------------------------------------===//

#ifndef CONVJIT_TEST_EMULATOR_REWRITE_H
#define CONVJIT_TEST_EMULATOR_REWRITE_H

#include "Machine.h"

#include "llvm/IR/IRBuilder.h"
#include "llvm/IR/Module.h"
#include "llvm/IR/ModuleSlotTracker.h"

#include <optional>

namespace convjit::emulator {

/// A kernel that can be launched.
struct Entry {
  std::string name;
  std::string symbol; ///< `void symbol(const uint64_t *slots)`
  struct Parameter {
    enum class Kind { Pointer, Integer, Float, Double, Half } kind;
    unsigned bits;
  };
  std::vector<Parameter> parameters;
  /// From nvvm.maxntid or nvvm.reqntid; 0 without.
  uint64_t maxThreads = 0;
  bool exact = false;
};

/// A variable of the module in global or constant memory.
struct GlobalVariable {
  std::string name, symbol;
  size_t bytes;
  bool constant;
};

struct Rewritten {
  std::vector<Entry> entries;
  std::vector<GlobalVariable> globals;
  /// What each counter counts.
  std::vector<BlockProfile> blocks;
};

/// Rewrites `module` in place and fills in `machine`'s sites and variables.
/// `machine` must stay where it is: its address is in the code.
Expected<Rewritten> rewrite(llvm::Module &module, Machine &machine,
                            const CompileOptions &options);

/// The part of rewrite() that works on one function; Intrinsics.cpp has the
/// calls.
class FunctionRewriter {
public:
  FunctionRewriter(llvm::Function &function, Machine &machine,
                   llvm::ModuleSlotTracker &slots);
  /// Errors name what is not modelled.
  Status run(Rewritten &result, bool count);

private:
  using Values = llvm::SmallVector<llvm::Value *, 16>;

  // Rewrite.cpp
  void countBlocks(Rewritten &result);
  uint32_t newSite(llvm::Instruction &at, Operation operation,
                   std::string kind);
  Site &site(uint32_t index) { return machine.sites[index]; }
  void describeAddress(Site &site, llvm::Value *pointer);
  llvm::Value *checked(llvm::IRBuilder<> &builder, const char *function,
                       uint32_t site, llvm::Value *pointer);
  Status memory(llvm::Instruction &instruction);
  Status moveMemory(llvm::CallInst &call);
  llvm::Value *runtime(llvm::IRBuilder<> &builder, llvm::StringRef name,
                       llvm::Type *result,
                       llvm::ArrayRef<llvm::Value *> values);
  llvm::Value *number(uint32_t value);

  // Intrinsics.cpp
  Status call(llvm::CallInst &call);
  std::optional<llvm::Value *> special(llvm::CallInst &call,
                                       llvm::StringRef name);
  std::optional<llvm::Value *> warpWide(llvm::CallInst &call,
                                        llvm::StringRef name);
  llvm::Value *warpCall(llvm::CallInst &call, uint32_t site,
                        llvm::ArrayRef<llvm::Value *> operands,
                        llvm::Type *result);
  std::optional<llvm::Value *> barrier(llvm::CallInst &call,
                                       llvm::StringRef name);
  std::optional<llvm::Value *> copyAsync(llvm::CallInst &call,
                                         llvm::StringRef name);
  // Arithmetic.cpp
  std::optional<llvm::Value *> arithmetic(llvm::CallInst &call,
                                          llvm::StringRef name);
  // InlineAssembly.cpp
  Status assembly(llvm::CallInst &call);

  llvm::Function &function;
  llvm::Module &module;
  llvm::LLVMContext &context;
  Machine &machine;
  llvm::ModuleSlotTracker &slots;
  std::map<const llvm::BasicBlock *, unsigned> loopDepths;
  llvm::AllocaInst *operandArray = nullptr, *resultArray = nullptr;
};

} // namespace convjit::emulator

#endif // CONVJIT_TEST_EMULATOR_REWRITE_H
