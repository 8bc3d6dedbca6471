//===- ToLLVM.cpp - vectorized kernels to the LLVM dialect -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

// One conversion for every dialect. Upstream's passes, one for each dialect,
// each visit the whole kernel, and some of them rewrite it greedily before,
// with patterns for operations that kernels do not have.
//
//===----------------------------------------------------------------------===//

#include "Passes.h"

#include "mlir/Conversion/AffineToStandard/AffineToStandard.h"
#include "mlir/Conversion/ArithToLLVM/ArithToLLVM.h"
#include "mlir/Conversion/ControlFlowToLLVM/ControlFlowToLLVM.h"
#include "mlir/Conversion/FuncToLLVM/ConvertFuncToLLVM.h"
#include "mlir/Conversion/LLVMCommon/ConversionTarget.h"
#include "mlir/Conversion/LLVMCommon/TypeConverter.h"
#include "mlir/Conversion/MathToLLVM/MathToLLVM.h"
#include "mlir/Conversion/MathToLibm/MathToLibm.h"
#include "mlir/Conversion/MemRefToLLVM/MemRefToLLVM.h"
#include "mlir/Conversion/SCFToControlFlow/SCFToControlFlow.h"
#include "mlir/Conversion/VectorToLLVM/ConvertVectorToLLVM.h"
#include "mlir/Dialect/Affine/IR/AffineOps.h"
#include "mlir/Dialect/Arith/Transforms/Passes.h"
#include "mlir/Dialect/ControlFlow/IR/ControlFlow.h"
#include "mlir/Dialect/MemRef/Transforms/Transforms.h"
#include "mlir/Dialect/Vector/Transforms/VectorRewritePatterns.h"
#include "mlir/Transforms/GreedyPatternRewriteDriver.h"

namespace convjit {
#define GEN_PASS_DEF_CONVTOLLVM
#include "Passes.h.inc"
} // namespace convjit

using namespace mlir;

namespace {

/// A buffer's size out of its descriptor. Upstream's pattern looks for the axis
/// in a constant, which the conversion has replaced by then, and would keep all
/// sizes in memory, new memory for each turn of a loop.
struct SizeOfAxis : OpRewritePattern<memref::DimOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(memref::DimOp op,
                                PatternRewriter &b) const override {
    std::optional<int64_t> axis = op.getConstantIndex();
    if (!axis)
      return failure();
    auto parts = memref::ExtractStridedMetadataOp::create(b, op.getLoc(),
                                                          op.getSource());
    b.replaceOp(op, parts.getSizes()[*axis]);
    return success();
  }
};

struct ConvToLLVMPass : convjit::impl::ConvToLLVMBase<ConvToLLVMPass> {
  void runOnOperation() override {
    if (failed(expand()) || failed(convert()) || failed(removeCasts()))
      signalPassFailure();
  }

  /// Views become base pointers and arithmetic on offsets and strides, loops
  /// branches. Only they and what they are replaced with are looked at. (The
  /// conversion cannot take loops along: without the means to undo a pattern it
  /// must not meet blocks that another pattern moves.)
  LogicalResult expand() {
    SmallVector<Operation *> ops;
    getOperation()->walk([&](Operation *op) {
      if (isa<ViewLikeOpInterface, memref::ExtractStridedMetadataOp,
              memref::DimOp, scf::ForOp, scf::IfOp>(op))
        ops.push_back(op);
    });
    RewritePatternSet patterns(&getContext());
    patterns.add<SizeOfAxis>(&getContext());
    memref::populateExpandStridedMetadataPatterns(patterns);
    populateSCFToControlFlowConversionPatterns(patterns);
    GreedyRewriteConfig config;
    config.setStrictness(GreedyRewriteStrictness::ExistingAndNewOps)
        .setRegionSimplificationLevel(GreedySimplifyRegionLevel::Disabled);
    return applyOpPatternsGreedily(ops, std::move(patterns), config);
  }

  LogicalResult convert() {
    MLIRContext *context = &getContext();
    LLVMTypeConverter types(context);
    RewritePatternSet patterns(context);
    populateAffineToStdConversionPatterns(patterns);
    arith::populateCeilFloorDivExpandOpsPatterns(patterns);
    vector::populateVectorInsertExtractStridedSliceTransforms(patterns);
    // Where LLVM has an intrinsic it knows the CPU's best code.
    populateMathToLLVMConversionPatterns(types, patterns,
                                         /*approximateLog1p=*/true,
                                         /*benefit=*/2);
    populateMathToLibmConversionPatterns(patterns, /*benefit=*/1);
    arith::populateArithToLLVMConversionPatterns(types, patterns);
    populateVectorToLLVMConversionPatterns(types, patterns);
    populateFinalizeMemRefToLLVMConversionPatterns(types, patterns);
    cf::populateControlFlowToLLVMConversionPatterns(types, patterns);
    populateFuncToLLVMConversionPatterns(types, patterns);
    LLVMConversionTarget target(*context);
    target.addLegalOp<ModuleOp>();
    ConversionConfig config;
    config.allowPatternRollback = false;
    return applyFullConversion(getOperation(), target, std::move(patterns),
                               config);
  }

  /// What gave arguments their buffers' types (conv-kernel-abi).
  LogicalResult removeCasts() {
    SmallVector<UnrealizedConversionCastOp> casts;
    auto collect = [&](UnrealizedConversionCastOp cast) {
      casts.push_back(cast);
    };
    getOperation()->walk(collect);
    reconcileUnrealizedCasts(casts);
    casts.clear();
    getOperation()->walk(collect);
    if (casts.empty())
      return success();
    return casts.front().emitOpError("is left; valid: casts between a buffer "
                                     "and its descriptor");
  }
};

} // namespace
