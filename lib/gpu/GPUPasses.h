//===- GPUPasses.h - passes and pipelines for GPUs -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef CONVJIT_LIB_GPU_GPUPASSES_H
#define CONVJIT_LIB_GPU_GPUPASSES_H

#include "Passes.h"

#include "mlir/Dialect/GPU/IR/GPUDialect.h"

namespace convjit {

#define GEN_PASS_DECL
#include "GPUPasses.h.inc"

#define GEN_PASS_REGISTRATION
#include "GPUPasses.h.inc"

/// What the pipeline for GPUs needs to know.
struct GPUPipelineOptions
    : public mlir::PassPipelineOptions<GPUPipelineOptions> {
  Option<std::string> symbolPrefix{
      *this, "symbol-prefix",
      llvm::cl::desc("what exported symbols start with"),
      llvm::cl::init("convjit")};
  Option<std::string> chip{*this, "chip",
                           llvm::cl::desc("LLVM's name of the chip"),
                           llvm::cl::init("sm_80")};
  Option<int64_t> images{
      *this, "images", llvm::cl::desc("images of the output that are expected"),
      llvm::cl::init(8)};
  Option<int64_t> multiple{
      *this, "multiple",
      llvm::cl::desc("what images of the output are always a multiple of"),
      llvm::cl::init(1)};
};

/// The pipeline in the pieces between which a stage can be printed: layer to
/// planned convolution, (phases on packed filters as for CPUs,) to thread
/// blocks, to what each thread does, to the NVVM dialect.
void buildGPUPlanPipeline(mlir::OpPassManager &pm,
                          const GPUPipelineOptions &options);
void buildGPUBlocksPipeline(mlir::OpPassManager &pm);
void buildGPUThreadsPipeline(mlir::OpPassManager &pm);
void buildNVVMPipeline(mlir::OpPassManager &pm,
                       const GPUPipelineOptions &options);
/// All of them in turn: `conv-gpu-pipeline`.
void buildGPUPipeline(mlir::OpPassManager &pm,
                      const GPUPipelineOptions &options);
void registerGPUPipelines();

/// Dialects and interfaces that the pipeline meets.
void registerGPUDialects(mlir::DialectRegistry &registry);

} // namespace convjit

#endif // CONVJIT_LIB_GPU_GPUPASSES_H
