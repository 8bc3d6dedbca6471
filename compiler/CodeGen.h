//===- CodeGen.h - MLIR's LLVM dialect to LLVM IR, assembly and objects -*- C++
//-*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef CONVJIT_COMPILER_CODEGEN_H
#define CONVJIT_COMPILER_CODEGEN_H

#include "TargetInfo.h"

#include "mlir/IR/BuiltinOps.h"
#include "llvm/IR/Module.h"

namespace convjit {

/// Translates a module, of the host's or a GPU's, and sets triple and data
/// layout. `machine` must be the target's.
Expected<std::unique_ptr<llvm::Module>>
translateToLLVM(mlir::Operation *module, llvm::LLVMContext &context,
                const TargetInfo &target, llvm::TargetMachine &machine);

/// Runs the few LLVM passes that this code gains from, then code generation.
/// Errors of the back end come back as values.
Expected<std::string> generateCode(llvm::Module &module,
                                   llvm::TargetMachine &machine, bool assembly);

} // namespace convjit

#endif // CONVJIT_COMPILER_CODEGEN_H
