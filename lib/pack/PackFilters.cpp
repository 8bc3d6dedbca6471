//===- PackFilters.cpp - filters in the order in which kernels read them -*- C++
//-*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Passes.h"
#include "geometry/BlockSpace.h"
#include "geometry/Geometry.h"
#include "outer/OuterProducts.h"

namespace convjit {
#define GEN_PASS_DEF_CONVPACKFILTERS
#include "Passes.h.inc"
} // namespace convjit

using namespace mlir;
using namespace convjit;
using namespace convjit::conv;

namespace {

struct ConvPackFiltersPass
    : convjit::impl::ConvPackFiltersBase<ConvPackFiltersPass> {
  void runOnOperation() override {
    SmallVector<PhasesOp> ops;
    getOperation().walk([&](PhasesOp op) { ops.push_back(op); });
    // Outer products read the filter as it is, if some operand has its channels
    // last, or tiles pack the input.
    auto asStored = [](PhasesOp op) {
      return op.getPlanAttr() && op.getPlanAttr().getRow() == RowForm::Outer &&
             outerLanes(op.getDimensionNumbers(), op.getPlanAttr()) !=
                 OuterLanes::Packed;
    };
    for (PhasesOp op : ops)
      if (!op.getPacked() && !asStored(op) && failed(pack(op)))
        return signalPassFailure();
  }

  static LogicalResult pack(PhasesOp op) {
    auto argument = dyn_cast<BlockArgument>(op.getFilter());
    auto func = op->getParentOfType<func::FuncOp>();
    if (!argument || !argument.hasOneUse() || !func)
      return op.emitOpError("filter; valid: an argument of the function with "
                            "no other use");
    DimensionNumbersAttr numbers = op.getDimensionNumbers();
    auto filter = cast<MemRefType>(argument.getType());
    ChannelBlocks channels =
        op.getPlanAttr() ? taskSpace(op).channels : blockSpace(op).channels;
    SmallVector<int64_t> shape = {channels.blocks()};
    bool merged = false;
    for (auto [split, axis] :
         llvm::zip(op.getSplits().getAsRange<PhaseSplitAttr>(),
                   numbers.getKernelSpatial())) {
      shape.push_back(split.isMerged() ? split.getTaps().front()
                                       : filter.getDimSize(axis));
      merged |= split.isMerged();
    }
    int64_t reduction =
        filterInputFeatures(filter.getShape(), numbers,
                            op.getFeatureGroupCount(), op.getSwappedFilter());
    int64_t padded = reduction;
    if (op.getGpuPlanAttr())
      padded = paddedReduction(op.getGpuPlanAttr(), reduction);
    else if (channels.lanes == Lanes::Reduction)
      padded = llvm::alignTo(reduction, op.getPlanAttr().getUnroll());
    shape.append({padded, channels.width});
    if (channels.lanes == Lanes::Reduction)
      std::swap(shape.back(), shape.end()[-2]);
    auto packed = MemRefType::get(shape, filter.getElementType());

    OpBuilder builder(func);
    builder.setInsertionPointAfter(func);
    auto packer = func::FuncOp::create(
        builder, op.getLoc(), (func.getName() + "_pack").str(),
        builder.getFunctionType({filter, packed}, {}));
    packer->setAttr("conv.pack", builder.getUnitAttr());
    Block *body = packer.addEntryBlock();
    builder.setInsertionPointToStart(body);
    PackFilterOp::create(
        builder, op.getLoc(), body->getArgument(0), body->getArgument(1),
        numbers, op.getReversalAttr(), channels.lanes, channels.groups,
        // With one group the swap changes nothing.
        op.getSwappedFilter() && op.getFeatureGroupCount() > 1,
        merged ? op.getSplitsAttr() : ArrayAttr(), op.getMaskAttr());
    func::ReturnOp::create(builder, op.getLoc());

    argument.setType(packed);
    func.setFunctionType(FunctionType::get(
        func.getContext(), func.getBody().front().getArgumentTypes(), {}));
    op.setPacked(true);
    op.removeMaskAttr();
    op.setSwappedFilter(false);
    return success();
  }
};

} // namespace
