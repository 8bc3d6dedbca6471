//===- ApproximateMath.cpp - f32 functions as polynomials -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Passes.h"

#include "mlir/Dialect/Math/Transforms/Passes.h"
#include "mlir/Transforms/GreedyPatternRewriteDriver.h"

namespace convjit {
#define GEN_PASS_DEF_CONVAPPROXIMATEMATH
#include "Passes.h.inc"
} // namespace convjit

using namespace mlir;

namespace {

struct ConvApproximateMathPass
    : convjit::impl::ConvApproximateMathBase<ConvApproximateMathPass> {
  void runOnOperation() override {
    // The driver costs time even where there is nothing to rewrite.
    bool any = getOperation()
                   ->walk([](Operation *op) {
                     return isa<math::ExpOp, math::TanhOp, math::ErfOp>(op)
                                ? WalkResult::interrupt()
                                : WalkResult::advance();
                   })
                   .wasInterrupted();
    if (!any)
      return;
    RewritePatternSet patterns(&getContext());
    populateMathPolynomialApproximationPatterns(patterns);
    if (failed(applyPatternsGreedily(getOperation(), std::move(patterns))))
      return signalPassFailure();
    // math.fma must be fused and would be a call to the C library where the CPU
    // cannot; vector.fma is a multiply and an add there.
    getOperation()->walk([](math::FmaOp op) {
      OpBuilder b(op);
      if (!isa<VectorType>(op.getType()))
        return;
      op.replaceAllUsesWith(Value(vector::FMAOp::create(
          b, op.getLoc(), op.getA(), op.getB(), op.getC())));
      op.erase();
    });
  }
};

} // namespace
