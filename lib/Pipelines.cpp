//===- Pipelines.cpp - the passes in order -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Passes.h"

#include "mlir/Pass/PassManager.h"
#include "mlir/Transforms/Passes.h"

using namespace mlir;
using namespace convjit;

void convjit::buildPlanPipeline(OpPassManager &pm,
                                const CPUPipelineOptions &options) {
  pm.addPass(createConvLegalize());
  pm.addPass(createConvCollapseSpatial());
  pm.addPass(createConvFoldMask());
  pm.addPass(createConvPlan(
      {options.vectorBits, options.registers, options.fmaBits, options.l2Bytes,
       options.broadcastCycles, options.fetchBytes, options.l3Rate,
       options.l3Overlap, options.memoryRate, options.streamRate,
       options.storeRate, options.images}));
}

void CPUPipelineOptions::describe(const Machine &machine) {
  vectorBits = machine.vectorBits;
  registers = machine.registers;
  fmaBits = machine.fmaBits;
  l2Bytes = machine.l2Bytes;
  broadcastCycles = machine.broadcastCycles;
  fetchBytes = machine.fetchBytes;
  l3Rate = machine.l3Rate;
  l3Overlap = machine.l3Overlap;
  memoryRate = machine.memoryRate;
  streamRate = machine.streamRate;
  storeRate = machine.storeRate;
}

void convjit::buildPhasesPipeline(OpPassManager &pm) {
  pm.addPass(createConvSplitPhases());
  pm.addPass(createConvPackFilters());
}

void convjit::buildTilePipeline(OpPassManager &pm) {
  pm.addPass(createConvTile());
}

void convjit::buildLinalgPipeline(OpPassManager &pm) {
  pm.addPass(createConvToLinalg());
}

void convjit::buildVectorPipeline(OpPassManager &pm) {
  pm.addPass(createConvVectorize());
  pm.addPass(createConvVectorizeOuter());
}

void convjit::buildLLVMPipeline(OpPassManager &pm,
                                const CPUPipelineOptions &options) {
  pm.addPass(createConvApproximateMath());
  pm.addPass(createConvKernelABI({options.symbolPrefix}));
  pm.addPass(createConvToLLVM());
  pm.addPass(createConvSeparateBroadcasts({options.vectorBits}));
}

void convjit::buildCPUPipeline(OpPassManager &pm,
                               const CPUPipelineOptions &options) {
  buildPlanPipeline(pm, options);
  buildPhasesPipeline(pm);
  buildTilePipeline(pm);
  buildLinalgPipeline(pm);
  buildVectorPipeline(pm);
  buildLLVMPipeline(pm, options);
}

void convjit::addReadabilityPasses(OpPassManager &pm) {
  pm.addPass(createCanonicalizerPass());
  pm.addPass(createCSEPass());
}

void convjit::registerPipelines() {
  PassPipelineRegistration<CPUPipelineOptions>(
      "conv-cpu-pipeline", "from a layer to the LLVM dialect",
      buildCPUPipeline);
}
