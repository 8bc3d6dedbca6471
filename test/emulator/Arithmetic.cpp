//===- Arithmetic.cpp - NVVM's arithmetic as LLVM's -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Approximations (ex2.approx, rcp.approx, tanh.approx, ...) are computed as
// well as the host can, so they are at least as near as PTX promises, but not
// the same bits as on a GPU. `.ftz` flushes nothing: no result of a subnormal
// is compared.
//
//===----------------------------------------------------------------------===//

#include "Rewrite.h"

#include "llvm/ADT/StringSwitch.h"

using namespace convjit;
using namespace convjit::emulator;

namespace {

/// Builds values from an operation's name, split at dots.
class Builder {
public:
  Builder(llvm::CallInst &call) : builder(&call), call(call) {}
  llvm::IRBuilder<> builder;
  llvm::CallInst &call;

  llvm::Value *arg(unsigned i) { return call.getArgOperand(i); }
  llvm::Value *one() { return llvm::ConstantFP::get(arg(0)->getType(), 1.0); }
  llvm::Value *zero() { return llvm::ConstantFP::get(call.getType(), 0.0); }
  llvm::Value *unary(llvm::Intrinsic::ID id) {
    return builder.CreateUnaryIntrinsic(id, arg(0));
  }
  llvm::Value *binary(llvm::Intrinsic::ID id) {
    return builder.CreateBinaryIntrinsic(id, arg(0), arg(1));
  }
  llvm::Value *saturated(llvm::Value *value) {
    auto *type = value->getType();
    value = builder.CreateMaxNum(value, llvm::ConstantFP::get(type, 0.0));
    return builder.CreateMinNum(value, llvm::ConstantFP::get(type, 1.0));
  }
  llvm::Value *relu(llvm::Value *value) {
    return builder.CreateMaximum(value,
                                 llvm::ConstantFP::get(value->getType(), 0.0));
  }
  /// The upper half of a product of twice the width.
  llvm::Value *highProduct(bool isSigned) {
    llvm::Type *type = arg(0)->getType();
    unsigned bits = type->getIntegerBitWidth();
    llvm::Type *wide = builder.getIntNTy(bits * 2);
    auto extend = [&](llvm::Value *value) {
      return isSigned ? builder.CreateSExt(value, wide)
                      : builder.CreateZExt(value, wide);
    };
    return builder.CreateTrunc(
        builder.CreateLShr(builder.CreateMul(extend(arg(0)), extend(arg(1))),
                           bits),
        type);
  }
  /// Two numbers as one vector; PTX's `d, a, b` puts b into the low half.
  llvm::Value *packed(llvm::Type *element) {
    llvm::Value *result =
        llvm::PoisonValue::get(llvm::FixedVectorType::get(element, 2));
    for (unsigned i : {0u, 1u})
      result = builder.CreateInsertElement(
          result, builder.CreateFPTrunc(arg(1 - i), element), i);
    return result;
  }
  /// prmt.b32 without a mode: each of four nibbles picks one of eight bytes,
  /// its top bit the byte's sign instead.
  llvm::Value *permuted() {
    llvm::Type *i32 = builder.getInt32Ty(), *i64 = builder.getInt64Ty();
    llvm::Value *bytes = builder.CreateOr(
        builder.CreateZExt(arg(0), i64),
        builder.CreateShl(builder.CreateZExt(arg(1), i64), 32));
    llvm::Value *result = builder.getInt32(0);
    for (unsigned i = 0; i < 4; ++i) {
      llvm::Value *nibble = builder.CreateLShr(arg(2), i * 4);
      llvm::Value *index = builder.CreateZExt(
          builder.CreateShl(builder.CreateAnd(nibble, 7), 3), i64);
      llvm::Value *byte = builder.CreateTrunc(builder.CreateLShr(bytes, index),
                                              builder.getInt8Ty());
      llvm::Value *sign = builder.CreateAShr(byte, 7);
      byte = builder.CreateSelect(
          builder.CreateICmpNE(builder.CreateAnd(nibble, 8),
                               builder.getInt32(0)),
          sign, byte);
      result = builder.CreateOr(
          result, builder.CreateShl(builder.CreateZExt(byte, i32), i * 8));
    }
    return result;
  }
};

} // namespace

std::optional<llvm::Value *>
FunctionRewriter::arithmetic(llvm::CallInst &call, llvm::StringRef name) {
  namespace I = llvm::Intrinsic;
  Builder b(call);
  llvm::SmallVector<llvm::StringRef, 8> parts;
  name.split(parts, '.');
  llvm::StringRef operation = parts[0];
  auto has = [&](llvm::StringRef part) {
    return llvm::is_contained(llvm::drop_begin(parts), part);
  };
  // Only rounding to the nearest is what LLVM's operations do.
  bool nearest = !has("rz") && !has("rm") && !has("rp");
  auto finish = [&](llvm::Value *value) -> std::optional<llvm::Value *> {
    if (has("sat"))
      value = b.saturated(value);
    if (has("relu"))
      value = b.relu(value);
    return value;
  };
  if (operation == "fma" && nearest)
    return finish(b.builder.CreateIntrinsic(I::fma, {call.getType()},
                                            {b.arg(0), b.arg(1), b.arg(2)}));
  if (operation == "add" && nearest)
    return finish(b.builder.CreateFAdd(b.arg(0), b.arg(1)));
  if (operation == "mul" && nearest)
    return finish(b.builder.CreateFMul(b.arg(0), b.arg(1)));
  if (operation == "div" && nearest)
    return b.builder.CreateFDiv(b.arg(0), b.arg(1));
  if (operation == "rcp" && nearest)
    return b.builder.CreateFDiv(b.one(), b.arg(0));
  if (operation == "sqrt" && nearest)
    return b.unary(I::sqrt);
  if (operation == "rsqrt")
    return b.builder.CreateFDiv(b.one(), b.unary(I::sqrt));
  if (operation == "ex2")
    return b.unary(I::exp2);
  if (operation == "lg2")
    return b.unary(I::log2);
  if (operation == "sin" || operation == "cos")
    return b.unary(operation == "sin" ? I::sin : I::cos);
  if (operation == "tanh")
    return b.unary(I::tanh);
  if (operation == "fabs")
    return b.unary(I::fabs);
  if (operation == "floor")
    return b.unary(I::floor);
  if (operation == "ceil")
    return b.unary(I::ceil);
  if (operation == "round")
    return b.unary(I::roundeven);
  if (operation == "trunc")
    return b.unary(I::trunc);
  if (operation == "saturate")
    return b.saturated(b.arg(0));
  if ((operation == "fmin" || operation == "fmax") && !has("xorsign")) {
    bool maximum = operation == "fmax";
    if (has("nan"))
      return b.binary(maximum ? I::maximum : I::minimum);
    return b.binary(maximum ? I::maxnum : I::minnum);
  }
  if (operation == "mulhi")
    return b.highProduct(!parts.back().starts_with("u"));
  if (operation == "prmt" && parts.size() == 1)
    return b.permuted();
  if (operation == "f2tf32" && parts[1] == "rna")
    return b.builder.CreateCall(module.getOrInsertFunction("convjit_emu_tf32",
                                                           call.getType(),
                                                           b.arg(0)->getType()),
                                {b.arg(0)});
  if (!nearest || has("satfinite"))
    return std::nullopt;
  if (operation == "ff2f16x2" && has("rn"))
    return finish(b.packed(b.builder.getHalfTy()));
  if (operation == "ff2bf16x2" && has("rn"))
    return finish(b.packed(b.builder.getBFloatTy()));
  if ((operation == "f2bf16" || operation == "f2f16") && has("rn"))
    return finish(b.builder.CreateFPTrunc(b.arg(0), call.getType()));
  if (operation == "f2h" && has("rn"))
    return b.builder.CreateBitCast(
        b.builder.CreateFPTrunc(b.arg(0), b.builder.getHalfTy()),
        call.getType());
  if (operation == "d2f" && has("rn"))
    return b.builder.CreateFPTrunc(b.arg(0), call.getType());
  return std::nullopt;
}
