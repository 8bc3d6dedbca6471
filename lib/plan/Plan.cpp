//===- Plan.cpp - the plan that the cost model likes best -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Passes.h"
#include "outer/OuterProducts.h"
#include "plan/CostModel.h"

namespace convjit {
#define GEN_PASS_DEF_CONVPLAN
#include "Passes.h.inc"
} // namespace convjit

using namespace mlir;
using namespace convjit;
using namespace convjit::conv;

namespace {

struct ConvPlanPass : convjit::impl::ConvPlanBase<ConvPlanPass> {
  using ConvPlanBase::ConvPlanBase;
  void runOnOperation() override {
    Machine machine{vectorBits,      registers,  fmaBits,  l2Bytes,
                    broadcastCycles, fetchBytes, l3Rate,   l3Overlap,
                    memoryRate,      streamRate, storeRate};
    getOperation()->walk([&](ConvolutionOp op) {
      if (images > 0 && op.getDimensionNumbers().getInputBatch() != 0)
        op->setAttr(imagesAttr,
                    IntegerAttr::get(IndexType::get(&getContext()), images));
      if (!op.getPlan())
        op.setPlanAttr(planCandidates(op, machine, images).front().plan);
    });
  }
};

} // namespace
