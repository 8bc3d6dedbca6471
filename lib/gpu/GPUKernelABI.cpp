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
    auto roleOf = [&](size_t i) {
      auto role = func.getArgAttrOfType<StringAttr>(i, "conv.operand");
      return role ? role.getValue() : StringRef();
    };
    auto isScratch = [](StringRef role) {
      return role == "scratch" || role == "packed_input";
    };
    auto isWritten = [&](StringRef role) {
      return role == "output" || role == "scratch" ||
             (role == "packed" && !needsBatch);
    };
    bool writesScratch = false;
    for (size_t i = 0; i < old; ++i)
      writesScratch |= roleOf(i) == "scratch";
    SmallVector<Type> types;
    SmallVector<Attribute> operands, attributes;
    SmallVector<Value> pointers;
    Value scratch;
    for (size_t i = 0; i < old; ++i) {
      StringRef role = roleOf(i);
      if (role.empty() || !isa<MemRefType>(body.getArgument(i).getType()))
        return func.emitOpError("valid: buffers that are named operands");
      if (isScratch(role) && scratch) {
        pointers.push_back(scratch);
        continue;
      }
      types.push_back(pointer);
      pointers.push_back(body.addArgument(pointer, loc));
      if (isScratch(role))
        scratch = pointers.back();
      operands.push_back(b.getStringAttr(isScratch(role) ? "scratch" : role));
      // Nothing else is at the same place, so that loads may pass stores.
      SmallVector<NamedAttribute> has = {
          {LLVM::LLVMDialect::getNoAliasAttrName(), b.getUnitAttr()},
          {LLVM::LLVMDialect::getAlignAttrName(),
           b.getI64IntegerAttr(pointerAlignment)}};
      if (!isWritten(role) && !(isScratch(role) && writesScratch))
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
    for (size_t i = 0; i < old; ++i) {
      BlockArgument argument = body.getArgument(i);
      StringRef role = roleOf(i);
      auto number = [&](const char *name) -> int64_t {
        auto attribute = func.getArgAttrOfType<IntegerAttr>(i, name);
        return attribute ? attribute.getInt() : 0;
      };
      Value rows = role == "input" ? batch : images, from = pointers[i];
      if (int64_t times = number("conv.images"); times > 1)
        rows = arith::MulIOp::create(
            b, loc, images, arith::ConstantIndexOp::create(b, loc, times));
      if (int64_t offset = number("conv.offset")) {
        Value bytes = arith::MulIOp::create(
            b, loc, images, arith::ConstantIndexOp::create(b, loc, offset));
        from = LLVM::GEPOp::create(
            b, loc, pointer, b.getI8Type(), from,
            arith::IndexCastOp::create(b, loc, b.getI64Type(), bytes)
                .getResult());
      }
      argument.replaceAllUsesWith(
          buffer(b, loc, from, cast<MemRefType>(argument.getType()), rows));
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
