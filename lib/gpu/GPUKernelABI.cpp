//===- GPUKernelABI.cpp - kernels that take plain pointers -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "GPUPasses.h"

#include "mlir/Dialect/GPU/IR/GPUDialect.h"

namespace convjit {
#define GEN_PASS_DEF_CONVGPUKERNELABI
#include "GPUPasses.h.inc"
} // namespace convjit

using namespace mlir;
using namespace convjit;

namespace {

/// As GPUKernel::pointerAlignment says.
constexpr int64_t pointerAlignment = 16;

struct ConvGPUKernelABIPass
    : convjit::impl::ConvGPUKernelABIBase<ConvGPUKernelABIPass> {
  using ConvGPUKernelABIBase::ConvGPUKernelABIBase;

  void runOnOperation() override {
    SmallVector<func::FuncOp> hosts(getOperation().getOps<func::FuncOp>());
    for (func::FuncOp host : hosts)
      host.erase();
    WalkResult result = getOperation().walk([&](gpu::GPUFuncOp func) {
      return failed(rewrite(func)) ? WalkResult::interrupt()
                                   : WalkResult::advance();
    });
    if (result.wasInterrupted())
      signalPassFailure();
  }

  /// A contiguous buffer of `type` at `pointer`; `batch` is the size of its
  /// dynamic axis.
  static Value buffer(OpBuilder &b, Location loc, Value pointer,
                      MemRefType type, Value batch) {
    Type i64 = b.getI64Type();
    auto pointerType = LLVM::LLVMPointerType::get(b.getContext());
    // A memref of rank 0 is a pointer and an offset.
    auto plain = MemRefType::get({}, type.getElementType());
    auto descriptorType = LLVM::LLVMStructType::getLiteral(
        b.getContext(), {pointerType, pointerType, i64});
    Value descriptor = LLVM::PoisonOp::create(b, loc, descriptorType);
    Value zero = LLVM::ConstantOp::create(b, loc, i64, b.getI64IntegerAttr(0));
    Value fields[] = {pointer, pointer, zero};
    for (auto [i, value] : llvm::enumerate(fields))
      descriptor = LLVM::InsertValueOp::create(b, loc, descriptor, value,
                                               static_cast<int64_t>(i));
    Value start = UnrealizedConversionCastOp::create(b, loc, TypeRange{plain},
                                                     ValueRange{descriptor})
                      .getResult(0);
    SmallVector<OpFoldResult> sizes, strides(type.getRank());
    for (int64_t size : type.getShape())
      sizes.push_back(ShapedType::isDynamic(size)
                          ? OpFoldResult(batch)
                          : OpFoldResult(b.getIndexAttr(size)));
    Value dynamic;
    int64_t known = 1;
    for (int64_t axis = type.getRank() - 1; axis >= 0; --axis) {
      if (dynamic)
        strides[axis] = b.createOrFold<arith::MulIOp>(
            loc, dynamic, arith::ConstantIndexOp::create(b, loc, known));
      else
        strides[axis] = b.getIndexAttr(known);
      if (type.isDynamicDim(axis))
        dynamic = batch;
      else
        known *= type.getDimSize(axis);
    }
    return memref::ReinterpretCastOp::create(b, loc, type, start,
                                             b.getIndexAttr(0), sizes, strides);
  }

  LogicalResult rewrite(gpu::GPUFuncOp func) {
    Location loc = func.getLoc();
    Block &body = func.getBody().front();
    size_t old = body.getNumArguments();
    OpBuilder b = OpBuilder::atBlockBegin(&body);
    auto pointer = LLVM::LLVMPointerType::get(b.getContext());
    bool needsBatch = func->hasAttr("conv.batch_group_count");
    SmallVector<Type> types;
    SmallVector<Attribute> operands, attributes;
    SmallVector<Value> replacements;
    for (size_t i = 0; i < old; ++i) {
      auto role = func.getArgAttrOfType<StringAttr>(i, "conv.operand");
      if (!role || !isa<MemRefType>(body.getArgument(i).getType()))
        return func.emitOpError("valid: buffers that are named operands");
      types.push_back(pointer);
      body.addArgument(pointer, loc);
      operands.push_back(role);
      // Nothing else is at the same place, so that loads may pass stores.
      SmallVector<NamedAttribute> has = {
          {LLVM::LLVMDialect::getNoAliasAttrName(), b.getUnitAttr()},
          {LLVM::LLVMDialect::getAlignAttrName(),
           b.getI64IntegerAttr(pointerAlignment)}};
      bool written = role.getValue() == "output" ||
                     role.getValue() == "scratch" ||
                     (role.getValue() == "packed" && !needsBatch);
      if (!written)
        has.push_back(
            {LLVM::LLVMDialect::getReadonlyAttrName(), b.getUnitAttr()});
      attributes.push_back(b.getDictionaryAttr(has));
    }
    Value batch, images;
    if (needsBatch) {
      types.push_back(b.getI64Type());
      attributes.push_back(b.getDictionaryAttr({}));
      operands.push_back(b.getStringAttr("batch"));
      batch = arith::IndexCastOp::create(b, loc, b.getIndexType(),
                                         body.addArgument(b.getI64Type(), loc));
      int64_t groups =
          func->getAttrOfType<IntegerAttr>("conv.batch_group_count").getInt();
      images = batch;
      if (groups > 1)
        images = arith::DivUIOp::create(
            b, loc, batch, arith::ConstantIndexOp::create(b, loc, groups));
    }
    Value sums;
    if (auto split = func->getAttrOfType<IntegerAttr>("conv.split"))
      sums = arith::MulIOp::create(
          b, loc, images,
          arith::ConstantIndexOp::create(b, loc, split.getInt()));
    for (size_t i = 0; i < old; ++i) {
      BlockArgument argument = body.getArgument(i);
      StringRef role = cast<StringAttr>(operands[i]).getValue();
      argument.replaceAllUsesWith(buffer(b, loc, body.getArgument(old + i),
                                         cast<MemRefType>(argument.getType()),
                                         role == "input"     ? batch
                                         : role == "scratch" ? sums
                                                             : images));
    }
    body.eraseArguments(0, old);
    func.setFunctionType(b.getFunctionType(types, {}));
    func.setArgAttrsAttr(b.getArrayAttr(attributes));
    func->setAttr("conv.operands", b.getArrayAttr(operands));
    func.setName((symbolPrefix + "_" + func.getName()).str());
    return success();
  }
};

} // namespace
