//===- GPUCompilation.h - one layer on its way to a GPU -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef CONVJIT_COMPILER_GPUCOMPILATION_H
#define CONVJIT_COMPILER_GPUCOMPILATION_H

#include "CodeGen.h"
#include "Compilation.h"
#include "GPUPasses.h"
#include "LibraryBuilder.h"
#include "TargetInfo.h"

namespace mlir::gpu {
class GPUFuncOp;
} // namespace mlir::gpu

namespace convjit {

/// The chip that options name, sm_80 without. Errors: one that is not
/// supported, features.
Expected<TargetInfo> resolveGPU(const Target &target, const Convolution &conv);
/// Images that plans are made for.
int64_t imagesOf(const CompileOptions &options);

/// A layer's module through the passes for GPUs, and what its callers must
/// know.
class GPUCompilation : public Compilation {
public:
  GPUCompilation(TargetInfo target, const CompileOptions &asked);

  /// Runs the pipeline up to the form that `stage` shows. `plan` is the text of
  /// a plan, or of a schedule of which the best plan is meant, or empty.
  Status runUntil(Stage stage, const std::string &plan);
  /// The device's module, once all of it has run.
  Expected<Leaky<MachineUnit>> toLLVM();

  /// The kernel as far as the stages that have run say; all but its code.
  GPUKernel kernel;

private:
  Status setPlan(const std::string &text);
  Status setSchedule(llvm::StringRef name);
  Status readPlanned();
  GPULaunch describe(mlir::gpu::GPUFuncOp func);
  void describeLaunches();

  TargetInfo target;
  GPUPipelineOptions options;
};

} // namespace convjit

#endif // CONVJIT_COMPILER_GPUCOMPILATION_H
