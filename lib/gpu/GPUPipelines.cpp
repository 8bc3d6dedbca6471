//===- GPUPipelines.cpp - the passes for GPUs in order -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "GPUPasses.h"

#include "mlir/Conversion/AffineToStandard/AffineToStandard.h"
#include "mlir/Conversion/ArithToLLVM/ArithToLLVM.h"
#include "mlir/Conversion/ControlFlowToLLVM/ControlFlowToLLVM.h"
#include "mlir/Conversion/FuncToLLVM/ConvertFuncToLLVM.h"
#include "mlir/Conversion/GPUToNVVM/GPUToNVVMPass.h"
#include "mlir/Conversion/MemRefToLLVM/MemRefToLLVM.h"
#include "mlir/Conversion/NVGPUToNVVM/NVGPUToNVVM.h"
#include "mlir/Conversion/ReconcileUnrealizedCasts/ReconcileUnrealizedCasts.h"
#include "mlir/Conversion/SCFToControlFlow/SCFToControlFlow.h"
#include "mlir/Conversion/VectorToLLVM/ConvertVectorToLLVM.h"
#include "mlir/Dialect/Arith/Transforms/Passes.h"
#include "mlir/Dialect/ControlFlow/IR/ControlFlow.h"
#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/Dialect/MemRef/Transforms/Passes.h"
#include "mlir/Dialect/NVGPU/IR/NVGPUDialect.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Transforms/Passes.h"

using namespace mlir;
using namespace convjit;

void convjit::buildGPUPlanPipeline(OpPassManager &pm,
                                   const GPUPipelineOptions &options) {
  pm.addPass(createConvLegalize());
  // Masks stay what filters are packed with; they are not folded into lists.
  pm.addPass(
      createConvGPUPlan({options.chip, options.images, options.multiple}));
}

void convjit::buildGPUBlocksPipeline(OpPassManager &pm) {
  pm.addPass(createConvPackInputs());
  pm.addPass(createConvToGPU());
}

void convjit::buildGPUThreadsPipeline(OpPassManager &pm) {
  pm.addPass(createConvExpandBlocks());
  addReadabilityPasses(pm);
  pm.addPass(createLoopInvariantCodeMotionPass());
}

void convjit::buildNVVMPipeline(OpPassManager &pm,
                                const GPUPipelineOptions &options) {
  pm.addPass(createConvApproximateMath());
  pm.addPass(createConvGPUMath());
  pm.addPass(createConvGPUKernelABI({options.symbolPrefix}));
  OpPassManager &device = pm.nest<gpu::GPUModuleOp>();
  device.addPass(memref::createExpandStridedMetadataPass());
  device.addPass(createLowerAffinePass());
  device.addPass(arith::createArithExpandOpsPass());
  device.addPass(createSCFToControlFlowPass());
  device.addPass(createConvertNVGPUToNVVMPass());
  ConvertGpuOpsToNVVMOpsOptions nvvm;
  nvvm.indexBitwidth = 64;
  nvvm.useBarePtrCallConv = true;
  device.addPass(createConvertGpuOpsToNVVMOps(nvvm));
  device.addPass(createReconcileUnrealizedCastsPass());
  device.addPass(createCanonicalizerPass());
  device.addPass(createCSEPass());
}

void convjit::buildGPUPipeline(OpPassManager &pm,
                               const GPUPipelineOptions &options) {
  buildGPUPlanPipeline(pm, options);
  buildPhasesPipeline(pm);
  buildGPUBlocksPipeline(pm);
  buildGPUThreadsPipeline(pm);
  buildNVVMPipeline(pm, options);
}

void convjit::registerGPUPipelines() {
  PassPipelineRegistration<GPUPipelineOptions>(
      "conv-gpu-pipeline", "from a layer to the NVVM dialect",
      buildGPUPipeline);
}

void convjit::registerGPUDialects(DialectRegistry &registry) {
  registry.insert<cf::ControlFlowDialect, gpu::GPUDialect, nvgpu::NVGPUDialect,
                  NVVM::NVVMDialect>();
  // convert-gpu-to-nvvm asks dialects for their patterns.
  arith::registerConvertArithToLLVMInterface(registry);
  cf::registerConvertControlFlowToLLVMInterface(registry);
  registerConvertFuncToLLVMInterface(registry);
  registerConvertMemRefToLLVMInterface(registry);
  vector::registerConvertVectorToLLVMInterface(registry);
}
