//===- InlineAssembly.cpp - PTX in inline assembly -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// What MLIR's NVVM dialect or a kernel writes as text: one instruction, with
// operands $0, $1, ... that are outputs first and then inputs, and maybe a
// predicate. An instruction that has an intrinsic becomes a call of it, which
// Intrinsics.cpp then takes; so there is one model of each.
//
//     call i32 asm "cvt.rna.tf32.f32 $0, $1;", "=r,f"(float %x)
//   ->
//     call i32 @llvm.nvvm.f2tf32.rna(float %x)
//
//===----------------------------------------------------------------------===//

#include "Rewrite.h"

#include "llvm/ADT/StringSwitch.h"
#include "llvm/IR/InlineAsm.h"
#include "llvm/IR/IntrinsicsNVPTX.h"
#include "llvm/Transforms/Utils/BasicBlockUtils.h"

using namespace convjit;
using namespace convjit::emulator;

namespace {

/// `@$3 cp.async.cg.shared.global [$0], [$1], 16, $2;`, taken apart.
struct Instruction {
  llvm::StringRef opcode;
  /// Operand numbers or, where there is no `$`, the text, in order and without
  /// brackets and braces.
  llvm::SmallVector<llvm::StringRef, 16> operands;
  int predicate = -1;
  bool negated = false;
};

} // namespace

static int operandNumber(llvm::StringRef text) {
  int number = -1;
  if (!text.consume_front("$") || text.getAsInteger(10, number))
    return -1;
  return number;
}

static std::optional<Instruction> parse(llvm::StringRef text) {
  Instruction result;
  text = text.trim(" \t\n;{}");
  if (text.contains(';'))
    return std::nullopt;
  if (text.consume_front("@")) {
    result.negated = text.consume_front("!");
    auto [predicate, rest] = text.split(' ');
    result.predicate = operandNumber(predicate);
    if (result.predicate < 0)
      return std::nullopt;
    text = rest.ltrim();
  }
  size_t end = std::min(text.find_first_of(" \t"), text.size());
  result.opcode = text.take_front(end);
  text = text.drop_front(end);
  while (!text.empty()) {
    auto [operand, rest] = text.split(',');
    operand = operand.trim(" \t\n[]{}");
    if (!operand.empty())
      result.operands.push_back(operand);
    text = rest;
  }
  return result;
}

/// Puts `call` into a block of its own that runs if the predicate says so.
static void predicate(llvm::CallInst &call, llvm::Value *condition,
                      bool negated) {
  llvm::IRBuilder<> builder(&call);
  if (!condition->getType()->isIntegerTy(1))
    condition = builder.CreateICmpNE(
        condition, llvm::ConstantInt::get(condition->getType(), 0));
  if (negated)
    condition = builder.CreateNot(condition);
  llvm::Instruction *branch =
      llvm::SplitBlockAndInsertIfThen(condition, &call, false);
  call.moveBefore(branch->getIterator());
}

/// The intrinsic for an instruction, by its name.
static std::string intrinsicFor(const Instruction &instruction,
                                bool sharedPointer) {
  llvm::StringRef opcode = instruction.opcode;
  if (std::optional<MmaShape> shape = parseMmaInstruction(opcode)) {
    auto [head, types] = opcode.split(".row.col.");
    bool half = shape->a == MmaType::F16;
    llvm::SmallVector<llvm::StringRef, 5> parts;
    types.split(parts, '.');
    std::string saturate = parts.size() == 5 ? "satfinite." : "";
    if (parts.size() == 5)
      parts.erase(parts.begin());
    std::string name =
        ("llvm.nvvm.mma." + head.rsplit('.').second + ".row.col." + saturate)
            .str();
    if (half)
      return name + (parts[0] + "." + parts[3]).str();
    return name + parts[1].str() +
           (parts[1] == parts[2] ? "" : "." + parts[2].str());
  }
  if (opcode.consume_front("ldmatrix.sync.aligned.")) {
    std::string name = opcode.str();
    if (size_t at = name.find(".shared"); at != std::string::npos)
      name.erase(at, name.find(".b16") - at);
    return "llvm.nvvm.ldmatrix.sync.aligned." + name +
           (sharedPointer ? ".p3" : ".p0");
  }
  if (opcode == "cp.async.commit_group")
    return "llvm.nvvm.cp.async.commit.group";
  if (opcode == "cp.async.wait_all")
    return "llvm.nvvm.cp.async.wait.all";
  if (opcode == "cp.async.wait_group")
    return "llvm.nvvm.cp.async.wait.group";
  if (opcode.starts_with("cp.async.c")) {
    llvm::StringRef cache = opcode.drop_front(9).take_front(2);
    if (instruction.operands.size() < 3)
      return "";
    return ("llvm.nvvm.cp.async." + cache + ".shared.global." +
            instruction.operands[2] +
            (instruction.operands.size() > 3 ? ".s" : ""))
        .str();
  }
  return llvm::StringSwitch<const char *>(opcode)
      .Case("cvt.rna.tf32.f32", "llvm.nvvm.f2tf32.rna")
      .Case("cvt.rn.f16x2.f32", "llvm.nvvm.ff2f16x2.rn")
      .Case("cvt.rn.bf16x2.f32", "llvm.nvvm.ff2bf16x2.rn")
      .Case("cvt.rn.bf16.f32", "llvm.nvvm.f2bf16.rn")
      .Cases({"ex2.approx.f32", "ex2.approx.ftz.f32"},
             "llvm.nvvm.ex2.approx.f32")
      .Cases({"lg2.approx.f32", "lg2.approx.ftz.f32"}, "llvm.nvvm.lg2.approx.f")
      .Cases({"rcp.approx.f32", "rcp.approx.ftz.f32"},
             "llvm.nvvm.rcp.approx.ftz.f")
      .Cases({"rsqrt.approx.f32", "rsqrt.approx.ftz.f32"},
             "llvm.nvvm.rsqrt.approx.f")
      .Case("tanh.approx.f32", "llvm.tanh.f32")
      .Cases({"bar.sync", "barrier.sync", "barrier.cta.sync",
              "barrier.cta.sync.aligned"},
             "llvm.nvvm.barrier.cta.sync.aligned.")
      .Cases({"bar.arrive", "barrier.arrive", "barrier.cta.arrive"},
             "llvm.nvvm.barrier.cta.arrive.aligned.count")
      .Case("bar.warp.sync", "llvm.nvvm.bar.warp.sync")
      .Cases({"membar.cta", "fence.acq_rel.cta", "fence.sc.cta"},
             "llvm.nvvm.membar.cta")
      .Cases({"membar.gl", "fence.acq_rel.gpu", "fence.sc.gpu"},
             "llvm.nvvm.membar.gl")
      .Default("");
}

Status FunctionRewriter::assembly(llvm::CallInst &call) {
  auto *text = llvm::cast<llvm::InlineAsm>(call.getCalledOperand());
  auto refuse = [&] {
    return badInput(("the emulator does not model the inline assembly \"" +
                     text->getAsmString() + "\", in " + function.getName())
                        .str());
  };
  std::string asmString(text->getAsmString());
  llvm::StringRef bare = llvm::StringRef(asmString).trim(" \t\n;");
  if (bare.empty()) { // a fence for the compiler alone
    call.eraseFromParent();
    return {};
  }
  std::optional<Instruction> instruction = parse(asmString);
  if (!instruction)
    return refuse();
  int outputs = call.getType()->isVoidTy() ? 0 : 1;
  if (auto *fields = llvm::dyn_cast<llvm::StructType>(call.getType()))
    outputs = static_cast<int>(fields->getNumElements());
  llvm::IRBuilder<> builder(&call);
  // Inputs in the instruction's order; numbers in its text are constants.
  Values inputs;
  bool sharedPointer = false;
  for (llvm::StringRef operand : instruction->operands) {
    int number = operandNumber(operand);
    uint32_t constant = 0;
    if (number >= 0 && number < outputs)
      continue;
    if (number >= 0) {
      if (number - outputs >= static_cast<int>(call.arg_size()))
        return refuse();
      inputs.push_back(call.getArgOperand(number - outputs));
      llvm::Type *type = inputs.back()->getType();
      sharedPointer |=
          type->isPointerTy() && type->getPointerAddressSpace() == 3;
    } else if (!operand.getAsInteger(10, constant)) {
      inputs.push_back(builder.getInt32(constant));
    } else {
      return refuse();
    }
  }
  std::string name = intrinsicFor(*instruction, sharedPointer);
  if (llvm::StringRef(name).ends_with("cta.sync.aligned."))
    name += inputs.size() > 1 ? "count" : "all";
  bool isCopy = llvm::StringRef(name).starts_with("llvm.nvvm.cp.async.c") &&
                inputs.size() >= 3;
  if (isCopy)
    inputs.erase(inputs.begin() + 2); // the size is in the name
  llvm::Intrinsic::ID id = name.empty()
                               ? llvm::Intrinsic::not_intrinsic
                               : llvm::Intrinsic::lookupIntrinsicID(name);
  if (id == llvm::Intrinsic::not_intrinsic)
    return refuse();
  llvm::SmallVector<llvm::Type *, 1> overloads;
  if (llvm::Intrinsic::isOverloaded(id) && !inputs.empty())
    overloads.push_back(inputs[0]->getType());
  llvm::Function *callee =
      llvm::Intrinsic::getOrInsertDeclaration(&module, id, overloads);
  llvm::FunctionType *type = callee->getFunctionType();
  if (type->getNumParams() != inputs.size())
    return refuse();
  auto convert = [&](llvm::Value *value, llvm::Type *wanted) -> llvm::Value * {
    if (value->getType() == wanted)
      return value;
    if (wanted->isPointerTy() && value->getType()->isPointerTy())
      return builder.CreateAddrSpaceCast(value, wanted);
    if (wanted->isPointerTy())
      return builder.CreateIntToPtr(value, wanted);
    if (value->getType()->getPrimitiveSizeInBits() ==
        wanted->getPrimitiveSizeInBits())
      return builder.CreateBitCast(value, wanted);
    return nullptr;
  };
  for (size_t i = 0; i < inputs.size(); ++i)
    if (!(inputs[i] = convert(inputs[i], type->getParamType(i))))
      return refuse();
  llvm::CallInst *made = builder.CreateCall(callee, inputs);
  llvm::Value *result = made;
  if (made->getType() != call.getType()) {
    // The same registers under other names.
    auto *fields = llvm::dyn_cast<llvm::StructType>(made->getType());
    if (!fields) {
      result = convert(made, call.getType());
    } else {
      result = llvm::PoisonValue::get(call.getType());
      for (unsigned i = 0; i < fields->getNumElements(); ++i)
        result = builder.CreateInsertValue(
            result,
            convert(builder.CreateExtractValue(made, i),
                    call.getType()->getStructElementType(i)),
            i);
    }
  }
  if (!call.getType()->isVoidTy())
    call.replaceAllUsesWith(result);
  int predicateAt = instruction->predicate - outputs;
  if (instruction->predicate >= 0) {
    if (outputs || predicateAt < 0 ||
        predicateAt >= static_cast<int>(call.arg_size()))
      return refuse();
    predicate(*made, call.getArgOperand(predicateAt), instruction->negated);
  }
  call.eraseFromParent();
  return this->call(*made);
}
