//===- KernelABI.cpp - the runtime's calling convention -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Passes.h"

namespace convjit {
#define GEN_PASS_DEF_CONVKERNELABI
#include "Passes.h.inc"
} // namespace convjit

using namespace mlir;
using namespace convjit;

namespace {

/// Position of each field in ConvjitKernelArgs
/// (runtime/include/convjit/Kernel.h).
int64_t fieldOf(StringRef operand) {
  return llvm::StringSwitch<int64_t>(operand)
      .Case("input", 0)
      .Case("filter", 1)
      .Case("bias", 2)
      .Case("residual", 3)
      .Case("output", 4)
      .Case("scratch", 5)
      .Default(-1);
}
constexpr int64_t batchField = 6;

struct ConvKernelABIPass : convjit::impl::ConvKernelABIBase<ConvKernelABIPass> {
  using ConvKernelABIBase::ConvKernelABIBase;

  void runOnOperation() override {
    SmallVector<func::FuncOp> kernels, packs;
    for (auto func : getOperation().getOps<func::FuncOp>()) {
      if (func.isExternal())
        continue;
      if (func->hasAttr("conv.batch_group_count"))
        kernels.push_back(func);
      else if (func->hasAttr("conv.pack"))
        packs.push_back(func);
    }
    if (kernels.size() > 1 || packs.size() > 1) {
      getOperation().emitError("the module has several kernels; valid: one");
      return signalPassFailure();
    }
    for (func::FuncOp func : kernels)
      if (failed(rewriteKernel(func)))
        return signalPassFailure();
    for (func::FuncOp func : packs)
      if (failed(rewritePack(func)))
        return signalPassFailure();
  }

  /// A buffer of `type` at `pointer`, contiguous or with the strides that its
  /// layout says; `batch` is the size of its dynamic axis.
  static Value buffer(OpBuilder &b, Location loc, Value pointer,
                      MemRefType type, Value batch) {
    MLIRContext *context = b.getContext();
    Type i64 = b.getI64Type();
    int64_t rank = type.getRank();
    auto array = LLVM::LLVMArrayType::get(i64, rank);
    auto pointerType = LLVM::LLVMPointerType::get(context);
    auto structType = LLVM::LLVMStructType::getLiteral(
        context, {pointerType, pointerType, i64, array, array});
    auto constant = [&](int64_t value) -> Value {
      return LLVM::ConstantOp::create(b, loc, i64, b.getI64IntegerAttr(value));
    };
    Value descriptor = LLVM::PoisonOp::create(b, loc, structType);
    auto insert = [&](Value value, ArrayRef<int64_t> position) {
      descriptor =
          LLVM::InsertValueOp::create(b, loc, descriptor, value, position);
    };
    insert(pointer, {0});
    insert(pointer, {1});
    insert(constant(0), {2});
    Value dynamicStride;
    int64_t staticStride = 1;
    SmallVector<int64_t> given;
    if (!type.getLayout().isIdentity())
      given = type.getStridesAndOffset().first;
    for (int64_t axis = rank - 1; axis >= 0; --axis) {
      bool dynamic = type.isDynamicDim(axis);
      insert(dynamic ? batch : constant(type.getDimSize(axis)), {3, axis});
      Value stride = constant(given.empty() ? staticStride : given[axis]);
      if (dynamicStride && given.empty())
        stride = LLVM::MulOp::create(b, loc, dynamicStride, stride);
      insert(stride, {4, axis});
      if (dynamic)
        dynamicStride = batch;
      else
        staticStride *= type.getDimSize(axis);
    }
    return UnrealizedConversionCastOp::create(b, loc, TypeRange{type},
                                              ValueRange{descriptor})
        .getResult(0);
  }

  void finish(func::FuncOp func, ArrayRef<Value> replacements,
              ArrayRef<Type> arguments, StringRef suffix) {
    Block &body = func.getBody().front();
    if (func->removeAttr(streamingAttr)) {
      // Stores past the cache are not ordered before what the caller does next.
      OpBuilder b(func.getBody().back().getTerminator());
      LLVM::FenceOp::create(b, func.getLoc(), LLVM::AtomicOrdering::seq_cst,
                            StringRef());
    }
    size_t old = replacements.size();
    for (size_t i = 0; i < old; ++i)
      body.getArgument(i).replaceAllUsesWith(replacements[i]);
    body.eraseArguments(0, old);
    func.removeArgAttrsAttr();
    func.setFunctionType(FunctionType::get(func.getContext(), arguments, {}));
    func.setName((symbolPrefix + suffix).str());
  }

  LogicalResult rewriteKernel(func::FuncOp func) {
    Location loc = func.getLoc();
    Block &body = func.getBody().front();
    size_t old = body.getNumArguments();
    auto groupsAttr =
        func->getAttrOfType<IntegerAttr>("conv.batch_group_count");
    bool good = groupsAttr && groupsAttr.getInt() >= 1 && old >= 3;
    for (size_t i = 0; good && i + 2 < old; ++i) {
      auto role = func.getArgAttrOfType<StringAttr>(i, "conv.operand");
      auto type = dyn_cast<MemRefType>(body.getArgument(i).getType());
      good = role && type && fieldOf(role.getValue()) >= 0 &&
             type.getNumDynamicDims() <= 1;
    }
    good = good && body.getArgument(old - 2).getType().isIndex() &&
           body.getArgument(old - 1).getType().isIndex();
    if (!good)
      return func.emitOpError(
          "valid: a function as conv-split-phases makes it");
    OpBuilder b = OpBuilder::atBlockBegin(&body);
    Type i64 = b.getI64Type();
    auto pointer = LLVM::LLVMPointerType::get(b.getContext());
    SmallVector<Type> types = {pointer, i64, i64};
    Value block = body.addArgument(pointer, loc);
    Value first = body.addArgument(i64, loc), last = body.addArgument(i64, loc);
    auto load = [&](Type type, int64_t field) -> Value {
      Value address = LLVM::GEPOp::create(b, loc, pointer, i64, block,
                                          ArrayRef<LLVM::GEPArg>{field});
      return LLVM::LoadOp::create(b, loc, type, address);
    };
    Value batch = load(i64, batchField);
    int64_t groups = groupsAttr.getInt();
    func->removeAttr("conv.batch_group_count");
    Value images = batch;
    if (groups > 1)
      images = LLVM::UDivOp::create(
          b, loc, batch,
          LLVM::ConstantOp::create(b, loc, i64, b.getI64IntegerAttr(groups)));
    SmallVector<Value> replacements;
    for (size_t i = 0; i + 2 < old; ++i) {
      auto role = func.getArgAttrOfType<StringAttr>(i, "conv.operand");
      auto type = cast<MemRefType>(body.getArgument(i).getType());
      replacements.push_back(
          buffer(b, loc, load(pointer, fieldOf(role.getValue())), type,
                 role.getValue() == "input" ? batch : images));
    }
    for (Value bound : {first, last})
      replacements.push_back(
          arith::IndexCastOp::create(b, loc, b.getIndexType(), bound));
    finish(func, replacements, types, "_kernel");
    return success();
  }

  LogicalResult rewritePack(func::FuncOp func) {
    Location loc = func.getLoc();
    Block &body = func.getBody().front();
    size_t old = body.getNumArguments();
    bool inParts = old == 4;
    for (BlockArgument argument : body.getArguments()) {
      auto type = dyn_cast<MemRefType>(argument.getType());
      bool buffer = argument.getArgNumber() < 2;
      if ((old != 2 && !inParts) || (buffer ? !type || !type.hasStaticShape()
                                            : !argument.getType().isIndex()))
        return func.emitOpError("valid: arguments that are two static buffers, "
                                "and which part of how many");
    }
    func->removeAttr("conv.pack");
    OpBuilder b = OpBuilder::atBlockBegin(&body);
    Type i64 = b.getI64Type();
    auto pointer = LLVM::LLVMPointerType::get(b.getContext());
    SmallVector<Type> types;
    SmallVector<Value> replacements;
    for (size_t i = 0; i < old; ++i) {
      Type type = body.getArgument(i).getType();
      auto buffer = dyn_cast<MemRefType>(type);
      types.push_back(buffer ? Type(pointer) : i64);
      Value argument = body.addArgument(types.back(), loc);
      if (buffer)
        argument = this->buffer(b, loc, argument, buffer, Value());
      else
        argument = arith::IndexCastOp::create(b, loc, type, argument);
      replacements.push_back(argument);
    }
    finish(func, replacements, types, inParts ? "_pack_part" : "_pack");
    if (inParts)
      packWhole(func);
    return success();
  }

  /// `_pack`: the one part of one.
  void packWhole(func::FuncOp part) {
    Location loc = part.getLoc();
    OpBuilder b(part.getContext());
    b.setInsertionPointAfter(part);
    auto pointer = LLVM::LLVMPointerType::get(b.getContext());
    auto whole =
        func::FuncOp::create(b, loc, symbolPrefix + "_pack",
                             b.getFunctionType({pointer, pointer}, {}));
    Block *body = whole.addEntryBlock();
    b.setInsertionPointToStart(body);
    SmallVector<Value> arguments(body->getArguments());
    for (int64_t number : {0, 1})
      arguments.push_back(LLVM::ConstantOp::create(
          b, loc, b.getI64Type(), b.getI64IntegerAttr(number)));
    func::CallOp::create(b, loc, part, arguments);
    func::ReturnOp::create(b, loc);
  }
};

} // namespace
