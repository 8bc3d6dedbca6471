//===- Intrinsics.cpp - NVVM's intrinsics as calls -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Rewrite.h"
#include "Runtime.h"

#include "llvm/ADT/StringSwitch.h"
#include "llvm/IR/InlineAsm.h"
#include "llvm/IR/IntrinsicInst.h"

using namespace convjit;
using namespace convjit::emulator;

static Error notModelled(const llvm::Twine &what, const llvm::Function &in) {
  return badInput(
      ("the emulator does not model " + what + ", in " + in.getName()).str());
}

Status FunctionRewriter::call(llvm::CallInst &call) {
  if (call.isInlineAsm())
    return assembly(call);
  llvm::Function *callee = call.getCalledFunction();
  if (!callee)
    return notModelled("calls through pointers", function);
  if (llvm::isa<llvm::MemIntrinsic>(call))
    return moveMemory(call);
  llvm::StringRef name = callee->getName();
  if (!name.consume_front("llvm.nvvm.")) {
    if (callee->isDeclaration() && !callee->isIntrinsic() &&
        !(name.starts_with("__nv_") && runtimeFunction(name)))
      return notModelled("the function " + name, function);
    // They would access memory unseen.
    for (const char *prefix : {"llvm.masked.", "llvm.vp."})
      if (name.starts_with(prefix))
        return notModelled("the intrinsic " + name, function);
    return {};
  }
  for (auto translate :
       {&FunctionRewriter::special, &FunctionRewriter::warpWide,
        &FunctionRewriter::barrier, &FunctionRewriter::copyAsync,
        &FunctionRewriter::arithmetic})
    if (std::optional<llvm::Value *> value = (this->*translate)(call, name)) {
      if (*value)
        call.replaceAllUsesWith(*value);
      call.eraseFromParent();
      return {};
    }
  return notModelled("the intrinsic llvm.nvvm." + name, function);
}

//===----------------------------------------------------------------------===//
// Special registers, fences
//===----------------------------------------------------------------------===//

static std::optional<Register> registerNamed(llvm::StringRef name) {
  return llvm::StringSwitch<std::optional<Register>>(name)
      .Case("tid.x", Register::TidX)
      .Case("tid.y", Register::TidY)
      .Case("tid.z", Register::TidZ)
      .Case("ntid.x", Register::NtidX)
      .Case("ntid.y", Register::NtidY)
      .Case("ntid.z", Register::NtidZ)
      .Case("ctaid.x", Register::CtaidX)
      .Case("ctaid.y", Register::CtaidY)
      .Case("ctaid.z", Register::CtaidZ)
      .Case("nctaid.x", Register::NctaidX)
      .Case("nctaid.y", Register::NctaidY)
      .Case("nctaid.z", Register::NctaidZ)
      .Case("laneid", Register::LaneId)
      .Case("warpid", Register::WarpId)
      .Case("nwarpid", Register::NwarpId)
      .Case("warpsize", Register::WarpSize)
      .Case("lanemask.eq", Register::LaneMaskEq)
      .Case("lanemask.le", Register::LaneMaskLe)
      .Case("lanemask.lt", Register::LaneMaskLt)
      .Case("lanemask.ge", Register::LaneMaskGe)
      .Case("lanemask.gt", Register::LaneMaskGt)
      .Case("smid", Register::SmId)
      .Case("nsmid", Register::NsmId)
      .Case("gridid", Register::GridId)
      .Case("clock", Register::Clock)
      .Case("clock64", Register::Clock)
      .Case("dynamic_smem_size", Register::DynamicSmemSize)
      .Case("total_smem_size", Register::TotalSmemSize)
      .Default(std::nullopt);
}

std::optional<llvm::Value *> FunctionRewriter::special(llvm::CallInst &call,
                                                       llvm::StringRef name) {
  llvm::IRBuilder<> builder(&call);
  if (name.consume_front("read.ptx.sreg.")) {
    std::optional<Register> which = registerNamed(name);
    if (!which)
      return std::nullopt;
    llvm::Value *value =
        runtime(builder, "convjit_emu_register", builder.getInt32Ty(),
                {number(static_cast<uint32_t>(*which))});
    return builder.CreateZExt(value, call.getType());
  }
  // Blocks run one after the other and threads until they wait, so memory is in
  // order as it is. That a fence alone orders nothing is what Race.cpp finds.
  if (name.starts_with("membar.") || name.starts_with("fence.") ||
      name.starts_with("pm.event") || name == "nanosleep" ||
      name.starts_with("prefetch."))
    return nullptr;
  if (name == "isspacep.shared" || name == "isspacep.global") {
    llvm::Value *shared =
        runtime(builder, "convjit_emu_is_shared", builder.getInt32Ty(),
                {call.getArgOperand(0)});
    bool wanted = name == "isspacep.shared";
    return builder.CreateICmpEQ(shared, number(wanted));
  }
  if (name == "reflect")
    return llvm::ConstantInt::get(call.getType(), 0);
  return std::nullopt;
}

//===----------------------------------------------------------------------===//
// Barriers
//===----------------------------------------------------------------------===//

// barrier.cta.{sync,arrive,red.{popc,and,or}}[.aligned].{all,count}
std::optional<llvm::Value *> FunctionRewriter::barrier(llvm::CallInst &call,
                                                       llvm::StringRef name) {
  if (!name.consume_front("barrier.cta."))
    return std::nullopt;
  llvm::IRBuilder<> builder(&call);
  bool counted = name.consume_back(".count");
  if (!counted && !name.consume_back(".all"))
    return std::nullopt;
  bool aligned = name.consume_back(".aligned");
  llvm::Value *id = call.getArgOperand(0);
  llvm::Value *count = counted ? call.getArgOperand(1) : number(0);
  if (name == "arrive") {
    uint32_t index = newSite(call, Operation::BarrierArrive, "barrier.arrive");
    runtime(builder, "convjit_emu_arrive", builder.getVoidTy(),
            {number(index), id, count});
    return nullptr;
  }
  uint32_t index = newSite(call, Operation::Barrier, "barrier");
  site(index).aligned = aligned;
  bool reduces = name.starts_with("red.");
  if (!reduces && name != "sync")
    return std::nullopt;
  llvm::Value *vote = number(0);
  if (reduces)
    vote = builder.CreateZExt(call.getArgOperand(1 + counted),
                              builder.getInt32Ty());
  llvm::Value *votes =
      runtime(builder, "convjit_emu_barrier", builder.getInt32Ty(),
              {number(index), id, count, vote});
  if (!reduces)
    return nullptr;
  if (name == "red.popc")
    return votes;
  if (name == "red.or")
    return builder.CreateICmpNE(votes, number(0));
  // red.and: as many votes as threads, which the count or the block says.
  llvm::Value *threads = count;
  if (!counted) {
    threads = number(1);
    for (Register size : {Register::NtidX, Register::NtidY, Register::NtidZ})
      threads = builder.CreateMul(
          threads,
          runtime(builder, "convjit_emu_register", builder.getInt32Ty(),
                  {number(static_cast<uint32_t>(size))}));
  }
  return builder.CreateICmpEQ(votes, threads);
}

//===----------------------------------------------------------------------===//
// cp.async
//===----------------------------------------------------------------------===//

// cp.async.{ca,cg}.shared.global.{4,8,16}[.s]
std::optional<llvm::Value *> FunctionRewriter::copyAsync(llvm::CallInst &call,
                                                         llvm::StringRef name) {
  if (!name.consume_front("cp.async."))
    return std::nullopt;
  llvm::IRBuilder<> builder(&call);
  llvm::Type *none = builder.getVoidTy();
  if (name == "commit.group") {
    runtime(builder, "convjit_emu_commit", none, {});
    return nullptr;
  }
  if (name == "wait.group") {
    runtime(builder, "convjit_emu_wait", none, {call.getArgOperand(0)});
    return nullptr;
  }
  if (name == "wait.all") {
    runtime(builder, "convjit_emu_wait", none, {number(~uint32_t(0))});
    return nullptr;
  }
  bool sized = name.consume_back(".s");
  unsigned bytes = llvm::StringSwitch<unsigned>(name)
                       .Case("ca.shared.global.4", 4)
                       .Case("ca.shared.global.8", 8)
                       .Case("ca.shared.global.16", 16)
                       .Case("cg.shared.global.16", 16)
                       .Default(0);
  if (!bytes)
    return std::nullopt;
  uint32_t index = newSite(call, Operation::CopyAsync, "cp.async");
  site(index).bytes = site(index).align = bytes;
  // `variable` is the destination's; the source's bounds are those of whatever
  // buffer it points into.
  describeAddress(site(index), call.getArgOperand(0));
  describeAddress(site(index), call.getArgOperand(1));
  auto generic = [&](llvm::Value *pointer) {
    return builder.CreateAddrSpaceCast(pointer, builder.getPtrTy());
  };
  runtime(builder, "convjit_emu_copy", none,
          {number(index), generic(call.getArgOperand(0)),
           generic(call.getArgOperand(1)),
           sized ? call.getArgOperand(2) : number(bytes)});
  return nullptr;
}

//===----------------------------------------------------------------------===//
// What a warp does together
//===----------------------------------------------------------------------===//

/// An array in the function's first block that all its warp-wide operations
/// use.
static llvm::AllocaInst *array(llvm::Function &function) {
  llvm::IRBuilder<> builder(&function.getEntryBlock(),
                            function.getEntryBlock().begin());
  // mma.m16n8k16 of f64: 8 + 4 + 4 elements of 8 bytes.
  auto *result =
      builder.CreateAlloca(llvm::ArrayType::get(builder.getInt32Ty(), 32), 0u);
  result->setAlignment(llvm::Align(8));
  return result;
}

/// Stores the operands one after the other and loads the result's elements,
/// each in a multiple of four bytes.
llvm::Value *FunctionRewriter::warpCall(llvm::CallInst &call, uint32_t index,
                                        llvm::ArrayRef<llvm::Value *> operands,
                                        llvm::Type *result) {
  if (!operandArray) {
    operandArray = array(function);
    resultArray = array(function);
  }
  llvm::IRBuilder<> builder(&call);
  const llvm::DataLayout &layout = module.getDataLayout();
  auto widths = [&](llvm::Type *type) {
    return std::max<uint64_t>(4, layout.getTypeStoreSize(type));
  };
  uint64_t offset = 0;
  for (llvm::Value *value : operands) {
    if (value->getType()->isIntegerTy(1))
      value = builder.CreateZExt(value, builder.getInt32Ty());
    if (value->getType()->isPointerTy())
      value = builder.CreateAddrSpaceCast(value, builder.getPtrTy());
    builder.CreateAlignedStore(
        value,
        builder.CreateConstGEP1_64(builder.getInt8Ty(), operandArray, offset),
        llvm::Align(4));
    offset += widths(value->getType());
  }
  runtime(builder, "convjit_emu_warp", builder.getVoidTy(),
          {number(index), operandArray, resultArray});
  if (result->isVoidTy())
    return nullptr;
  offset = 0;
  auto element = [&](llvm::Type *type) -> llvm::Value * {
    llvm::Value *pointer =
        builder.CreateConstGEP1_64(builder.getInt8Ty(), resultArray, offset);
    offset += widths(type);
    if (type->isIntegerTy(1))
      return builder.CreateTrunc(builder.CreateAlignedLoad(builder.getInt32Ty(),
                                                           pointer,
                                                           llvm::Align(4)),
                                 type);
    return builder.CreateAlignedLoad(type, pointer, llvm::Align(4));
  };
  auto *fields = llvm::dyn_cast<llvm::StructType>(result);
  if (!fields)
    return element(result);
  llvm::Value *all = llvm::PoisonValue::get(result);
  for (unsigned i = 0; i < fields->getNumElements(); ++i)
    all = builder.CreateInsertValue(all, element(fields->getElementType(i)), i);
  return all;
}

std::optional<llvm::Value *> FunctionRewriter::warpWide(llvm::CallInst &call,
                                                        llvm::StringRef name) {
  Values operands(call.args());
  auto whole = [&](uint32_t index) {
    return warpCall(call, index, operands, call.getType());
  };
  if (std::optional<MmaShape> shape = parseMma(("llvm.nvvm." + name).str())) {
    uint32_t index = newSite(call, Operation::Mma, "mma");
    site(index).aligned = true;
    site(index).mma = *shape;
    return whole(index);
  }
  bool store = name.starts_with("stmatrix.sync.aligned.m8n8.");
  if (store || name.starts_with("ldmatrix.sync.aligned.m8n8.")) {
    if (!name.contains(".b16"))
      return std::nullopt;
    uint32_t index =
        newSite(call, store ? Operation::StMatrix : Operation::LdMatrix,
                store ? "stmatrix" : "ldmatrix");
    Site &s = site(index);
    s.aligned = true;
    s.mode = name.contains(".x4") ? 4 : name.contains(".x2") ? 2 : 1;
    s.flag = name.contains(".trans");
    s.bytes = 16;
    s.align = 16;
    describeAddress(s, operands[0]);
    return whole(index);
  }
  if (name == "bar.warp.sync")
    return whole(newSite(call, Operation::WarpSync, "bar.warp.sync"));
  if (name.consume_front("shfl.sync.")) {
    // shfl.sync.MODE.{i32,f32}[p]
    auto mode = llvm::StringSwitch<std::optional<ShuffleMode>>(
                    name.take_until([](char c) { return c == '.'; }))
                    .Case("up", ShuffleMode::Up)
                    .Case("down", ShuffleMode::Down)
                    .Case("bfly", ShuffleMode::Bfly)
                    .Case("idx", ShuffleMode::Idx)
                    .Default(std::nullopt);
    if (!mode)
      return std::nullopt;
    uint32_t index = newSite(call, Operation::Shuffle, "shfl");
    site(index).mode = static_cast<uint8_t>(*mode);
    return whole(index);
  }
  if (name.starts_with("vote.") && name.ends_with(".sync")) {
    auto mode = llvm::StringSwitch<std::optional<VoteMode>>(name)
                    .Case("vote.all.sync", VoteMode::All)
                    .Case("vote.any.sync", VoteMode::Any)
                    .Case("vote.uni.sync", VoteMode::Uniform)
                    .Case("vote.ballot.sync", VoteMode::Ballot)
                    .Default(std::nullopt);
    if (!mode)
      return std::nullopt;
    uint32_t index = newSite(call, Operation::Vote, "vote");
    site(index).mode = static_cast<uint8_t>(*mode);
    return whole(index);
  }
  if (name.consume_front("match.")) {
    uint32_t index = newSite(call, Operation::Match, "match");
    site(index).mode = name.starts_with("all");
    site(index).bytes = name.contains("i64") ? 8 : 4;
    return whole(index);
  }
  if (name.consume_front("redux.sync.")) {
    auto mode = llvm::StringSwitch<std::optional<ReduceMode>>(name)
                    .Case("add", ReduceMode::Add)
                    .Case("and", ReduceMode::And)
                    .Case("or", ReduceMode::Or)
                    .Case("xor", ReduceMode::Xor)
                    .Case("min", ReduceMode::Min)
                    .Case("max", ReduceMode::Max)
                    .Case("umin", ReduceMode::UMin)
                    .Case("umax", ReduceMode::UMax)
                    .Default(std::nullopt);
    if (!mode)
      return std::nullopt;
    uint32_t index = newSite(call, Operation::Reduce, "redux");
    site(index).mode = static_cast<uint8_t>(*mode);
    std::swap(operands[0], operands[1]); // the mask first
    return whole(index);
  }
  return std::nullopt;
}
