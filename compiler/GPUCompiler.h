//===- GPUCompiler.h - from a layer to a kernel for a GPU -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef CONVJIT_COMPILER_GPUCOMPILER_H
#define CONVJIT_COMPILER_GPUCOMPILER_H

#include "convjit/Compiler.h"

namespace convjit {

/// Whether a target is a GPU.
bool isGPU(const Target &target);
/// Whether PTX is to carry the LLVM IR that it was made from, as comments:
/// CONVJIT_PTX_WITH_IR=1.
bool ptxCarriesIR();

/// Compiler's functions for targets that are GPUs. `conv` is valid; LLVM's
/// targets are initialized. Errors: a chip that is not supported, features,
/// a plan that the convolution cannot have, a stage of CPUs.
Expected<GPUKernel> compileForGPU(const Convolution &conv,
                                  const CompileOptions &options);
Expected<std::string> emitForGPU(const Convolution &conv, Stage stage,
                                 const CompileOptions &options,
                                 const Problem *problem);
Expected<PlanReport> planForGPU(const Convolution &conv,
                                const CompileOptions &options);

} // namespace convjit

#endif // CONVJIT_COMPILER_GPUCOMPILER_H
