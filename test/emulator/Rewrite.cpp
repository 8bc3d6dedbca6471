//===- Rewrite.cpp - a GPU module made to run on the host -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Rewrite.h"

#include "llvm/Analysis/LoopInfo.h"
#include "llvm/Analysis/ValueTracking.h"
#include "llvm/IR/Constants.h"
#include "llvm/IR/DebugInfoMetadata.h"
#include "llvm/IR/Dominators.h"
#include "llvm/IR/InstIterator.h"
#include "llvm/IR/IntrinsicInst.h"
#include "llvm/Support/raw_ostream.h"

using namespace convjit;
using namespace convjit::emulator;

FunctionRewriter::FunctionRewriter(llvm::Function &function, Machine &machine,
                                   llvm::ModuleSlotTracker &slots)
    : function(function), module(*function.getParent()),
      context(function.getContext()), machine(machine), slots(slots) {}

llvm::Value *FunctionRewriter::number(uint32_t value) {
  return llvm::ConstantInt::get(llvm::Type::getInt32Ty(context), value);
}

uint32_t FunctionRewriter::newSite(llvm::Instruction &at, Operation operation,
                                   std::string kind) {
  Site result;
  result.operation = operation;
  result.kind = std::move(kind);
  result.function = function.getName();
  llvm::raw_string_ostream stream(result.instruction);
  at.print(stream, slots);
  // Without metadata, which says nothing here: ", !dbg !7".
  if (size_t end = result.instruction.find(", !"); end != std::string::npos)
    result.instruction.resize(end);
  // One space in front, whatever the printer's indentation.
  size_t start = result.instruction.find_first_not_of(' ');
  result.instruction = " " + result.instruction.substr(start);
  if (const llvm::DILocation *location = at.getDebugLoc().get())
    result.place =
        (location->getFilename() + ":" + llvm::Twine(location->getLine()))
            .str();
  if (auto depth = loopDepths.find(at.getParent()); depth != loopDepths.end())
    result.loopDepth = depth->second;
  machine.sites.push_back(std::move(result));
  return static_cast<uint32_t>(machine.sites.size() - 1);
}

/// Finds the parameter or shared variable behind an address, if one can be
/// seen. Shared variables are constants by now, so they were marked before.
void FunctionRewriter::describeAddress(Site &site, llvm::Value *pointer) {
  const llvm::Value *base = llvm::getUnderlyingObject(pointer, 0);
  if (const auto *argument = llvm::dyn_cast<llvm::Argument>(base)) {
    if (function.getCallingConv() == llvm::CallingConv::PTX_Kernel)
      site.argument = static_cast<int32_t>(argument->getArgNo());
  } else if (const auto *global = llvm::dyn_cast<llvm::GlobalVariable>(base)) {
    for (size_t i = 0; i < machine.variables.size(); ++i)
      if (machine.variables[i].name == global->getName())
        site.variable = static_cast<int32_t>(i);
  }
}

llvm::Value *FunctionRewriter::runtime(llvm::IRBuilder<> &builder,
                                       llvm::StringRef name, llvm::Type *result,
                                       llvm::ArrayRef<llvm::Value *> values) {
  llvm::SmallVector<llvm::Value *, 8> all;
  llvm::SmallVector<llvm::Type *, 8> types;
  auto add = [&](llvm::Value *value) {
    all.push_back(value);
    types.push_back(value->getType());
  };
  add(llvm::ConstantExpr::getIntToPtr(
      builder.getInt64(reinterpret_cast<uintptr_t>(&machine)),
      builder.getPtrTy()));
  for (llvm::Value *value : values)
    add(value);
  auto *type = llvm::FunctionType::get(result, types, false);
  return builder.CreateCall(module.getOrInsertFunction(name, type), all);
}

llvm::Value *FunctionRewriter::checked(llvm::IRBuilder<> &builder,
                                       const char *name, uint32_t index,
                                       llvm::Value *pointer) {
  describeAddress(site(index), pointer);
  llvm::Type *generic = builder.getPtrTy();
  if (pointer->getType() != generic)
    pointer = builder.CreateAddrSpaceCast(pointer, generic);
  return runtime(builder, name, generic, {number(index), pointer});
}

static const char *spaceName(unsigned space) {
  switch (space) {
  case 1:
    return "global";
  case 3:
    return "shared";
  case 4:
    return "const";
  case 5:
    return "local";
  default:
    return "generic";
  }
}

Status FunctionRewriter::memory(llvm::Instruction &instruction) {
  llvm::Value *pointer = llvm::getLoadStorePointerOperand(&instruction);
  auto *rmw = llvm::dyn_cast<llvm::AtomicRMWInst>(&instruction);
  auto *exchange = llvm::dyn_cast<llvm::AtomicCmpXchgInst>(&instruction);
  if (rmw)
    pointer = rmw->getPointerOperand();
  if (exchange)
    pointer = exchange->getPointerOperand();
  // A thread's own variables.
  if (llvm::isa<llvm::AllocaInst>(llvm::getUnderlyingObject(pointer, 0)))
    return {};
  const llvm::DataLayout &layout = module.getDataLayout();
  std::string space = spaceName(pointer->getType()->getPointerAddressSpace());
  llvm::IRBuilder<> builder(&instruction);
  auto make = [&](Operation operation, const char *kind, llvm::Type *type,
                  llvm::Align align, bool ordered) {
    uint32_t index = newSite(instruction, operation, kind + space);
    Site &s = site(index);
    s.bytes = static_cast<uint32_t>(layout.getTypeStoreSize(type));
    s.align = static_cast<uint32_t>(align.value());
    // One instruction moves 16 bytes, and no more than are aligned.
    uint32_t whole = std::min<uint32_t>(16, s.align);
    s.piece = std::max<uint32_t>(whole, 1);
    s.atomic = ordered;
    return index;
  };
  llvm::Align byte(1);
  if (auto *load = llvm::dyn_cast<llvm::LoadInst>(&instruction)) {
    uint32_t index =
        make(Operation::Load, "ld.", load->getType(), load->getAlign(),
             load->isVolatile() || load->isAtomic());
    load->setOperand(0, checked(builder, "convjit_emu_load", index, pointer));
    load->setAtomic(llvm::AtomicOrdering::NotAtomic);
    load->setAlignment(byte);
  } else if (auto *store = llvm::dyn_cast<llvm::StoreInst>(&instruction)) {
    uint32_t index =
        make(Operation::Store, "st.", store->getValueOperand()->getType(),
             store->getAlign(), store->isVolatile() || store->isAtomic());
    store->setOperand(1, checked(builder, "convjit_emu_store", index, pointer));
    store->setAtomic(llvm::AtomicOrdering::NotAtomic);
    store->setAlignment(byte);
  } else if (rmw) {
    uint32_t index =
        make(Operation::Atomic, "atom.", rmw->getType(), rmw->getAlign(), true);
    rmw->setOperand(0, checked(builder, "convjit_emu_atomic", index, pointer));
  } else if (exchange) {
    uint32_t index = make(Operation::Atomic, "atom.",
                          exchange->getCompareOperand()->getType(),
                          exchange->getAlign(), true);
    exchange->setOperand(
        0, checked(builder, "convjit_emu_atomic", index, pointer));
  }
  return {};
}

/// memcpy, memmove and memset, as loads and stores of bytes.
Status FunctionRewriter::moveMemory(llvm::CallInst &call) {
  llvm::IRBuilder<> builder(&call);
  auto generic = [&](llvm::Value *pointer) {
    return builder.CreateAddrSpaceCast(pointer, builder.getPtrTy());
  };
  auto *memory = llvm::cast<llvm::MemIntrinsic>(&call);
  llvm::Value *length =
      builder.CreateZExtOrTrunc(memory->getLength(), builder.getInt64Ty());
  if (auto *transfer = llvm::dyn_cast<llvm::MemTransferInst>(memory)) {
    uint32_t index = newSite(call, Operation::Load, "memcpy");
    site(index).bytes = 1;
    site(newSite(call, Operation::Store, "memcpy")).bytes = 1;
    runtime(builder, "convjit_emu_move", builder.getVoidTy(),
            {number(index), generic(transfer->getRawDest()),
             generic(transfer->getRawSource()), length});
  } else {
    uint32_t index = newSite(call, Operation::Store, "memset");
    site(index).bytes = 1;
    runtime(builder, "convjit_emu_fill", builder.getVoidTy(),
            {number(index), generic(memory->getRawDest()),
             llvm::cast<llvm::MemSetInst>(memory)->getValue(), length});
  }
  call.eraseFromParent();
  return {};
}

/// Adds one to a counter of the block whenever the block runs.
void FunctionRewriter::countBlocks(Rewritten &result) {
  llvm::DominatorTree dominators(function);
  llvm::LoopInfo loops(dominators);
  for (llvm::BasicBlock &block : function) {
    BlockProfile profile;
    profile.function = function.getName();
    llvm::raw_string_ostream label(profile.label);
    block.printAsOperand(label, false, slots);
    profile.loopDepth = loopDepths[&block] = loops.getLoopDepth(&block);
    for (const llvm::Instruction &instruction : block) {
      std::string name = instruction.getOpcodeName();
      if (const auto *call = llvm::dyn_cast<llvm::CallInst>(&instruction))
        if (const llvm::Function *callee = call->getCalledFunction())
          name = "call " + callee->getName().str();
      ++profile.opcodes[name];
    }
    llvm::IRBuilder<> builder(&block, block.getFirstInsertionPt());
    llvm::Type *type = builder.getInt64Ty();
    auto *array = module.getNamedGlobal("convjit_emu_counters");
    llvm::Value *counter = builder.CreateConstGEP1_64(
        type, array, static_cast<uint64_t>(result.blocks.size()));
    builder.CreateStore(builder.CreateAdd(builder.CreateLoad(type, counter),
                                          builder.getInt64(1)),
                        counter);
    result.blocks.push_back(std::move(profile));
  }
}

Status FunctionRewriter::run(Rewritten &result, bool count) {
  slots.incorporateFunction(function);
  std::vector<llvm::Instruction *> all;
  for (llvm::Instruction &instruction : llvm::instructions(function))
    all.push_back(&instruction);
  if (count)
    countBlocks(result);
  for (llvm::Instruction *instruction : all) {
    Status status;
    if (llvm::isa<llvm::LoadInst, llvm::StoreInst, llvm::AtomicRMWInst,
                  llvm::AtomicCmpXchgInst>(instruction))
      status = memory(*instruction);
    else if (auto *call = llvm::dyn_cast<llvm::CallInst>(instruction))
      status = this->call(*call);
    if (!status)
      return status;
  }
  return {};
}
