//===- SplitPhases.cpp - the general convolution to output phases on buffers -*-
// C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Passes.h"
#include "geometry/Geometry.h"
#include "outer/OuterProducts.h"

namespace convjit {
#define GEN_PASS_DEF_CONVSPLITPHASES
#include "Passes.h.inc"
} // namespace convjit

using namespace mlir;
using namespace convjit;
using namespace convjit::conv;

ConvolutionOp convjit::onlyConvolution(func::FuncOp func) {
  if (!func.getBody().hasOneBlock() ||
      llvm::range_size(func.getBody().front()) != 2)
    return {};
  auto op = dyn_cast<ConvolutionOp>(func.getBody().front().front());
  auto end = dyn_cast<func::ReturnOp>(func.getBody().front().back());
  bool isWhole = op && end && end.getNumOperands() == 1 &&
                 end.getOperand(0) == op.getResult() &&
                 op.getNumOperands() == func.getNumArguments() &&
                 llvm::all_of(func.getArguments(), [](BlockArgument argument) {
                   return argument.hasOneUse() &&
                          isa<RankedTensorType>(argument.getType());
                 });
  return isWhole ? op : ConvolutionOp();
}

namespace {

struct ConvSplitPhasesPass
    : convjit::impl::ConvSplitPhasesBase<ConvSplitPhasesPass> {
  void runOnOperation() override {
    for (auto func :
         llvm::make_early_inc_range(getOperation().getOps<func::FuncOp>()))
      if (!func.isExternal() && failed(convert(func)))
        return signalPassFailure();
  }

  static LogicalResult convert(func::FuncOp func) {
    auto ops = func.getOps<ConvolutionOp>();
    if (ops.empty())
      return success();
    ConvolutionOp op = onlyConvolution(func);
    if (!op)
      return func.emitOpError("valid: one conv.convolution of all the "
                              "function's arguments, each used once, and the "
                              "return of its result");
    PlanAttr plan = op.getPlanAttr();
    GPUPlanAttr gpuPlan = op.getGpuPlanAttr();
    if (!plan == !gpuPlan)
      return op.emitOpError(plan ? "has plans for a CPU and for a GPU; valid: "
                                   "one of them"
                                 : "has no plan; run conv-plan or "
                                   "conv-gpu-plan first");
    std::string why =
        plan ? whyPlanIsImpossible(op, plan) : whyPlanIsImpossible(op, gpuPlan);
    if (!why.empty())
      return op.emitOpError("plan: ") << why;
    SmallVector<PhaseSplitAttr> dims =
        plan ? *splitConvolution(op, plan.getMerged(), plan.getFold())
             : *splitConvolution(op, 0);

    MLIRContext *context = func.getContext();
    Block &body = func.getBody().front();
    // The operation's accessors insist on tensors, which these cease to be.
    Value input = op.getInput(), filter = op.getFilter(), bias = op.getBias(),
          residual = op.getResidual();
    auto buffer = [](Type type) -> Type {
      auto tensor = cast<RankedTensorType>(type);
      return MemRefType::get(tensor.getShape(), tensor.getElementType());
    };
    // Part of a larger array: its buffer has the shape of the part, and all
    // that is read of it is found through strides.
    MemRefLayoutAttrInterface gaps;
    if (std::optional<ArrayRef<int64_t>> strides = op.getInputStrides())
      gaps = StridedLayoutAttr::get(context, /*offset=*/0, *strides);
    for (BlockArgument argument : body.getArguments())
      argument.setType(buffer(argument.getType()));
    if (gaps) {
      auto type = cast<MemRefType>(input.getType());
      input.setType(
          MemRefType::get(type.getShape(), type.getElementType(), gaps));
    }
    Location loc = op.getLoc();
    Value output = body.addArgument(buffer(op.getType()), loc);
    // A GPU's blocks find their work by their number.
    Value first, last;
    if (plan) {
      first = body.addArgument(IndexType::get(context), loc);
      last = body.addArgument(IndexType::get(context), loc);
    }

    int64_t batchGroups = op.getBatchGroupCount();
    DimensionNumbersAttr numbers = op.getDimensionNumbers();
    SmallVector<Attribute> splits(dims.begin(), dims.end());

    // What each argument is to the kernel, for the calling convention.
    SmallVector<std::pair<Value, StringRef>> roles = {{input, "input"},
                                                      {filter, "filter"},
                                                      {bias, "bias"},
                                                      {residual, "residual"},
                                                      {output, "output"}};

    OpBuilder builder(op);
    auto phases = PhasesOp::create(
        builder, loc, input, filter, bias, residual, output, first, last,
        ArrayAttr::get(context, splits),
        DenseBoolArrayAttr::get(context, op.getWindow().getReversal()), numbers,
        op.getFeatureGroupCount(), op.getBatchGroupCount(),
        op.getSwappedFilter(), /*packed=*/false, op.getEpilogueAttr(),
        op.getMaskAttr(), op.getLiveAttr(), plan, gpuPlan);
    if (Attribute images = op->getAttr(imagesAttr))
      phases->setAttr(imagesAttr, images);
    Operation *terminator = body.getTerminator();
    builder.setInsertionPoint(terminator);
    func::ReturnOp::create(builder, loc);
    terminator->erase();
    op.erase();
    func.setFunctionType(
        FunctionType::get(context, body.getArgumentTypes(), {}));
    for (auto [value, role] : roles)
      if (value)
        func.setArgAttr(cast<BlockArgument>(value).getArgNumber(),
                        "conv.operand", builder.getStringAttr(role));
    func->setAttr("conv.batch_group_count",
                  builder.getI64IntegerAttr(batchGroups));
    return success();
  }
};

} // namespace
