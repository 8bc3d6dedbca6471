//===- GPUPlan.cpp - the plan that the cost model for GPUs likes best -*- C++
//-*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "GPUCostModel.h"
#include "GPUPasses.h"

namespace convjit {
#define GEN_PASS_DEF_CONVGPUPLAN
#include "GPUPasses.h.inc"
} // namespace convjit

using namespace mlir;
using namespace convjit;
using namespace convjit::conv;

namespace {

struct ConvGPUPlanPass : convjit::impl::ConvGPUPlanBase<ConvGPUPlanPass> {
  using ConvGPUPlanBase::ConvGPUPlanBase;
  void runOnOperation() override {
    getOperation()->walk([&](ConvolutionOp op) {
      if (op.getInputStrides()) {
        op.emitOpError("input_strides; valid for a GPU: a contiguous input");
        return signalPassFailure();
      }
      if (!op.getGpuPlan())
        op.setGpuPlanAttr(
            gpuCandidates(op, chipOf(chip), images, multiple).front().plan);
    });
  }
};

} // namespace
