//===- ExpandBlocks.cpp - thread blocks to loops of their threads -*- C++
//-*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "BlockBuilder.h"
#include "GPUPasses.h"

#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/Dialect/NVGPU/IR/NVGPUDialect.h"

namespace convjit {
#define GEN_PASS_DEF_CONVEXPANDBLOCKS
#include "GPUPasses.h.inc"
} // namespace convjit

using namespace mlir;
using namespace convjit;
using namespace convjit::conv;

namespace {

struct ConvExpandBlocksPass
    : convjit::impl::ConvExpandBlocksBase<ConvExpandBlocksPass> {
  void runOnOperation() override {
    SmallVector<BlockOp> ops;
    getOperation()->walk([&](BlockOp op) { ops.push_back(op); });
    for (BlockOp op : ops) {
      OpBuilder b(op);
      BlockBuilder block(op, b);
      switch (op.getGpuPlan().getSchedule()) {
      case GPUSchedule::Direct:
        expandDirect(block);
        break;
      case GPUSchedule::Simt:
        expandSimt(block);
        break;
      case GPUSchedule::Mma:
        expandMma(block);
        break;
      }
      op.erase();
    }
  }
};

} // namespace
