//===- Prepare.cpp - a GPU module made to run on the host -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// What concerns the module as a whole: where shared variables lie, what kernels
// can be launched and with which arguments, which variables are left.
//
//===----------------------------------------------------------------------===//

#include "Rewrite.h"

#include "llvm/IR/Constants.h"
#include "llvm/IR/InstIterator.h"

#include <algorithm>

using namespace convjit;
using namespace convjit::emulator;

// What lies between two shared variables, so that an index that runs over the
// end of one does not meet the next: a multiple of 128 bytes, all banks once,
// for which bank conflicts are the same as without.
static constexpr size_t gap = 512;
// Before the first and after the last.
static constexpr size_t margin = 64 << 10;
// 227 KiB, the most that a block can have on sm_90.
static constexpr size_t mostDynamicBytes = 232448;

static std::vector<llvm::GlobalVariable *>
sharedVariables(llvm::Module &module) {
  std::vector<llvm::GlobalVariable *> result;
  for (llvm::GlobalVariable &variable : module.globals())
    if (variable.getAddressSpace() == 3)
      result.push_back(&variable);
  return result;
}

/// Gives each shared variable an offset. An array of no elements is dynamic
/// shared memory, which is one and the same whatever it is called.
static Status placeShared(llvm::Module &module, Machine &machine) {
  const llvm::DataLayout &layout = module.getDataLayout();
  size_t offset = margin, dynamicAlign = 16;
  for (llvm::GlobalVariable *variable : sharedVariables(module)) {
    if (!variable->hasName())
      variable->setName("shared");
    SharedVariable placed;
    placed.name = variable->getName();
    placed.bytes = layout.getTypeAllocSize(variable->getValueType());
    placed.align = std::max<size_t>(
        layout.getABITypeAlign(variable->getValueType()).value(),
        variable->getAlign().valueOrOne().value());
    placed.dynamic = placed.bytes == 0;
    if (placed.dynamic) {
      dynamicAlign = std::max(dynamicAlign, placed.align);
    } else {
      // Banks as if it started at a multiple of 128, as large tiles do.
      offset = llvm::alignTo(offset, std::max<size_t>(placed.align, 128));
      placed.offset = offset;
      offset += placed.bytes + gap;
      machine.staticSharedBytes =
          llvm::alignTo(machine.staticSharedBytes, placed.align) + placed.bytes;
    }
    machine.variables.push_back(std::move(placed));
  }
  machine.dynamicOffset =
      llvm::alignTo(offset, std::max<size_t>(dynamicAlign, 1024));
  for (SharedVariable &variable : machine.variables)
    if (variable.dynamic)
      variable.offset = machine.dynamicOffset;
  size_t bytes = machine.dynamicOffset + mostDynamicBytes + margin;
  Expected<LazyMemory> memory = LazyMemory::create(bytes, /*low=*/true);
  if (!memory)
    return memory.takeError();
  machine.sharedMemory = std::move(*memory);
  machine.shared.name = "shared memory";
  machine.shared.base = machine.sharedMemory.data();
  machine.shared.bytes = bytes;
  machine.shared.shared = true;
  return machine.shared.addShadow();
}

/// Puts addresses for the shared variables. Last, since where an access gets
/// its pointer from can be seen only as long as they are variables.
static void replaceShared(llvm::Module &module, Machine &machine) {
  size_t index = 0;
  for (llvm::GlobalVariable *variable : sharedVariables(module)) {
    auto address = reinterpret_cast<uintptr_t>(machine.shared.base) +
                   machine.variables[index++].offset;
    variable->replaceAllUsesWith(llvm::ConstantExpr::getIntToPtr(
        llvm::ConstantInt::get(llvm::Type::getInt64Ty(module.getContext()),
                               address),
        variable->getType()));
    variable->eraseFromParent();
  }
}

static bool isKernel(const llvm::Module &module,
                     const llvm::Function &function) {
  if (function.getCallingConv() == llvm::CallingConv::PTX_Kernel)
    return true;
  // Of before LLVM 20: !{ptr @f, !"kernel", i32 1}
  const llvm::NamedMDNode *annotations =
      module.getNamedMetadata("nvvm.annotations");
  if (!annotations)
    return false;
  for (const llvm::MDNode *node : annotations->operands()) {
    if (node->getNumOperands() < 2)
      continue;
    auto *value = llvm::dyn_cast_or_null<llvm::ValueAsMetadata>(
        node->getOperand(0).get());
    auto *key =
        llvm::dyn_cast_or_null<llvm::MDString>(node->getOperand(1).get());
    if (value && value->getValue() == &function && key &&
        key->getString() == "kernel")
      return true;
  }
  return false;
}

/// `void symbol(const uint64_t *slots)`: takes the arguments out of their
/// slots.
static Expected<Entry> makeEntry(llvm::Function &kernel, size_t number) {
  llvm::Module &module = *kernel.getParent();
  llvm::LLVMContext &context = module.getContext();
  Entry entry;
  entry.name = kernel.getName();
  entry.symbol = "convjit_emu_entry_" + std::to_string(number);
  for (const char *name : {"nvvm.maxntid", "nvvm.reqntid"}) {
    llvm::StringRef text = kernel.getFnAttribute(name).getValueAsString();
    uint64_t product = text.empty() ? 0 : 1;
    while (!text.empty()) {
      auto [size, rest] = text.split(',');
      uint64_t value = 0;
      if (size.getAsInteger(10, value))
        return badInput("kernel " + entry.name + ": attribute " + name +
                        " is no list of numbers");
      product *= value;
      text = rest;
    }
    if (product) {
      entry.maxThreads = product;
      entry.exact = llvm::StringRef(name).ends_with("reqntid");
    }
  }
  auto *type =
      llvm::FunctionType::get(llvm::Type::getVoidTy(context),
                              {llvm::PointerType::get(context, 0)}, false);
  auto *wrapper = llvm::Function::Create(type, llvm::Function::ExternalLinkage,
                                         entry.symbol, module);
  llvm::IRBuilder<> builder(llvm::BasicBlock::Create(context, "", wrapper));
  std::vector<llvm::Value *> arguments;
  for (llvm::Argument &argument : kernel.args()) {
    llvm::Type *type = argument.getType();
    using Kind = Entry::Parameter::Kind;
    Entry::Parameter parameter{Kind::Integer, 64};
    if (argument.hasByValAttr())
      return badInput("kernel " + entry.name + ": parameter " +
                      std::to_string(argument.getArgNo()) +
                      " is a struct by value; valid: pointers, integers and "
                      "floating-point numbers");
    if (type->isPointerTy())
      parameter.kind = Kind::Pointer;
    else if (type->isIntegerTy() && type->getIntegerBitWidth() <= 64)
      parameter.bits = type->getIntegerBitWidth();
    else if (type->isFloatTy())
      parameter = {Kind::Float, 32};
    else if (type->isDoubleTy())
      parameter = {Kind::Double, 64};
    else if (type->isHalfTy())
      parameter = {Kind::Half, 16};
    else
      return badInput("kernel " + entry.name + ": parameter " +
                      std::to_string(argument.getArgNo()) +
                      " is of a type that no launch can pass; valid: pointers, "
                      "integers of up to 64 bits, half, float and double");
    llvm::Value *slot = builder.CreateConstGEP1_64(
        builder.getInt64Ty(), wrapper->getArg(0), entry.parameters.size());
    arguments.push_back(builder.CreateLoad(type, slot));
    entry.parameters.push_back(parameter);
  }
  builder.CreateCall(&kernel, arguments);
  builder.CreateRetVoid();
  return entry;
}

/// Stack variables of NVPTX may be in an address space of their own.
static void moveLocals(llvm::Function &function) {
  std::vector<llvm::AllocaInst *> locals;
  for (llvm::Instruction &instruction : llvm::instructions(function))
    if (auto *local = llvm::dyn_cast<llvm::AllocaInst>(&instruction))
      if (local->getAddressSpace() != 0)
        locals.push_back(local);
  for (llvm::AllocaInst *local : locals) {
    llvm::IRBuilder<> builder(local);
    llvm::AllocaInst *generic = builder.CreateAlloca(local->getAllocatedType(),
                                                     0, local->getArraySize());
    generic->setAlignment(local->getAlign());
    local->replaceAllUsesWith(
        builder.CreateAddrSpaceCast(generic, local->getType()));
    local->eraseFromParent();
  }
}

Expected<Rewritten> emulator::rewrite(llvm::Module &module, Machine &machine,
                                      const CompileOptions &options) {
  Rewritten result;
  if (!module.getModuleInlineAsm().empty())
    return badInput("the emulator does not model assembly of the module");
  if (Status status = placeShared(module, machine); !status)
    return status.takeError();
  if (options.measure)
    new llvm::GlobalVariable(
        module, llvm::Type::getInt64Ty(module.getContext()), false,
        llvm::GlobalValue::ExternalLinkage, nullptr, "convjit_emu_counters");
  std::vector<llvm::Function *> functions, kernels;
  for (llvm::Function &function : module)
    if (!function.isDeclaration()) {
      functions.push_back(&function);
      if (isKernel(module, function)) {
        kernels.push_back(&function);
        function.setCallingConv(llvm::CallingConv::PTX_Kernel);
      }
    }
  llvm::ModuleSlotTracker slots(&module);
  for (llvm::Function *function : functions) {
    moveLocals(*function);
    Status status = FunctionRewriter(*function, machine, slots)
                        .run(result, options.measure);
    if (!status)
      return status.takeError();
  }
  for (llvm::Function *function : functions) {
    function->setAttributes(llvm::AttributeList().addFnAttributes(
        module.getContext(),
        llvm::AttrBuilder(module.getContext())
            .addAttribute(
                "nvvm.maxntid",
                function->getFnAttribute("nvvm.maxntid").getValueAsString())
            .addAttribute(
                "nvvm.reqntid",
                function->getFnAttribute("nvvm.reqntid").getValueAsString())
            .addAttribute(llvm::Attribute::NoUnwind)));
    function->setCallingConv(llvm::CallingConv::C);
    function->setComdat(nullptr);
    function->setSection("");
  }
  for (llvm::Function *kernel : kernels) {
    Expected<Entry> entry = makeEntry(*kernel, result.entries.size());
    if (!entry)
      return entry.takeError();
    result.entries.push_back(std::move(*entry));
  }
  replaceShared(module, machine);
  for (llvm::GlobalVariable &variable : module.globals()) {
    if (variable.isDeclaration() || variable.getName().starts_with("llvm."))
      continue;
    GlobalVariable global;
    if (!variable.hasName())
      variable.setName("global");
    global.name = variable.getName();
    global.symbol =
        "convjit_emu_global_" + std::to_string(result.globals.size());
    global.bytes =
        module.getDataLayout().getTypeAllocSize(variable.getValueType());
    global.constant = variable.isConstant();
    // Each has to be found again, and apart from the others.
    variable.setLinkage(llvm::GlobalValue::ExternalLinkage);
    variable.setVisibility(llvm::GlobalValue::DefaultVisibility);
    variable.setUnnamedAddr(llvm::GlobalValue::UnnamedAddr::None);
    variable.setName(global.symbol);
    result.globals.push_back(std::move(global));
  }
  return result;
}
