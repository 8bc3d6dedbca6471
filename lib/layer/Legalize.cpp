//===- Legalize.cpp - layer forms to the general convolution -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Passes.h"

#include "mlir/Transforms/GreedyPatternRewriteDriver.h"

namespace convjit {
#define GEN_PASS_DEF_CONVLEGALIZE
#include "Passes.h.inc"
} // namespace convjit

using namespace mlir;
using namespace convjit;
using namespace convjit::conv;

namespace {

template <typename Layer> struct LegalizeLayer : OpRewritePattern<Layer> {
  using OpRewritePattern<Layer>::OpRewritePattern;

  LogicalResult matchAndRewrite(Layer layer,
                                PatternRewriter &rewriter) const override {
    int64_t rank = cast<RankedTensorType>(layer.getType()).getRank() - 2;
    rewriter.replaceOpWithNewOp<ConvolutionOp>(
        layer, layer.getType(), layer.getInput(), layer.getFilter(),
        layer.getBias(), layer.getResidual(), layerWindow(layer),
        layerDimensionNumbers(layer.getContext(), rank, layer.getLayout(),
                              std::is_same_v<Layer, ConvTransposeOp>),
        layer.getFeatureGroupCount(), layer.getBatchGroupCount(),
        /*swapped_filter=*/false, layer.getEpilogueAttr(), layer.getMaskAttr(),
        /*live=*/nullptr, /*plan=*/nullptr,
        /*gpuPlan=*/nullptr, /*inputStrides=*/nullptr);
    return success();
  }
};

struct ConvLegalizePass : convjit::impl::ConvLegalizeBase<ConvLegalizePass> {
  void runOnOperation() override {
    RewritePatternSet patterns(&getContext());
    patterns.add<LegalizeLayer<ConvOp>, LegalizeLayer<ConvTransposeOp>>(
        &getContext());
    if (failed(applyPatternsGreedily(getOperation(), std::move(patterns))))
      signalPassFailure();
  }
};

} // namespace
