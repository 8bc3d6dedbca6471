//===- LibraryBuilder.h - objects and archives of kernels -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef CONVJIT_COMPILER_LIBRARYBUILDER_H
#define CONVJIT_COMPILER_LIBRARYBUILDER_H

#include "Guard.h"
#include "TargetInfo.h"
#include "convjit/AheadOfTime.h"

#include "llvm/ADT/STLFunctionalExtras.h"
#include "llvm/IR/LLVMContext.h"
#include "llvm/IR/Module.h"

namespace convjit {

/// LLVM's code for one compilation. The members need each other in this order.
struct MachineUnit {
  std::unique_ptr<llvm::LLVMContext> context;
  std::unique_ptr<llvm::TargetMachine> machine;
  std::unique_ptr<llvm::Module> module;
};

/// A kernel before code generation.
struct LoweredKernel {
  Leaky<MachineUnit> unit;
  std::string plan;
  int64_t tasksPerImage = 0;
  int64_t pieces = 1;
  size_t packedWeightBytes = 0;
  size_t scratchBytes = 0;
};

/// Compiles one layer for one target, with CompileOptions' plan.
using KernelCompiler = llvm::function_ref<Expected<LoweredKernel>(
    const Convolution &, const CompileOptions &)>;

/// Compiler::library; the symbols of its kernels are `run` and `pack`.
Expected<Library> buildLibrary(const std::vector<LibraryLayer> &layers,
                               const LibraryOptions &options,
                               const std::string &run, const std::string &pack,
                               KernelCompiler compile);

} // namespace convjit

#endif // CONVJIT_COMPILER_LIBRARYBUILDER_H
