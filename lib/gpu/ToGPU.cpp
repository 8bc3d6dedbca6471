//===- ToGPU.cpp - phases to a kernel and its launch -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "BlockWork.h"
#include "GPUCostModel.h"
#include "GPUPasses.h"
#include "PackInputs.h"
#include "PartSums.h"
#include "geometry/BlockSpace.h"
#include "pack/LowerPackFilter.h"
#include "support/IndexMath.h"

#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"

namespace convjit {
#define GEN_PASS_DEF_CONVTOGPU
#include "GPUPasses.h.inc"
} // namespace convjit

using namespace mlir;
using namespace convjit;
using namespace convjit::conv;

namespace {

/// Moves the body of functions that work on buffers into kernels.
class Outliner {
public:
  explicit Outliner(ModuleOp module) : module(module) {}

  LogicalResult run() {
    SmallVector<func::FuncOp> funcs(module.getOps<func::FuncOp>());
    for (func::FuncOp func : funcs) {
      if (func.isExternal())
        continue;
      for (PhasesOp phases :
           llvm::make_early_inc_range(func.getOps<PhasesOp>())) {
        if (!phases.getGpuPlan() || !phases.getPacked())
          return phases.emitOpError("valid: a plan for a GPU, and a packed "
                                    "filter");
        outline(func, phases);
      }
      for (PackFilterOp pack :
           llvm::make_early_inc_range(func.getOps<PackFilterOp>()))
        if (failed(outline(func, pack)))
          return failure();
    }
    return success();
  }

private:
  gpu::GPUModuleOp gpuModule() {
    for (auto existing : module.getOps<gpu::GPUModuleOp>())
      return existing;
    module->setAttr(gpu::GPUDialect::getContainerModuleAttrName(),
                    UnitAttr::get(module.getContext()));
    OpBuilder b = OpBuilder::atBlockBegin(module.getBody());
    return gpu::GPUModuleOp::create(b, module.getLoc(), "convjit");
  }

  /// A buffer of the function that a kernel gets, and the attributes of the
  /// kernel's argument.
  struct Operand {
    Value host;
    DictionaryAttr attributes;
  };

  static SmallVector<Operand> operandsOf(func::FuncOp func) {
    SmallVector<Operand> list;
    for (BlockArgument argument : func.getArguments())
      list.push_back({argument, func.getArgAttrDict(argument.getArgNumber())});
    return list;
  }

  /// A part of scratch: `images` times the images of the output, `offset` bytes
  /// for each of those behind the begin.
  Operand scratch(Value buffer, StringRef role, int64_t images,
                  int64_t offset) {
    Builder b(module.getContext());
    SmallVector<NamedAttribute> has = {
        b.getNamedAttr("conv.operand", b.getStringAttr(role)),
        b.getNamedAttr("conv.images", b.getI64IntegerAttr(images))};
    if (offset)
      has.push_back(b.getNamedAttr("conv.offset", b.getI64IntegerAttr(offset)));
    return {buffer, b.getDictionaryAttr(has)};
  }

  gpu::GPUFuncOp kernel(func::FuncOp func, StringRef name, int64_t threads,
                        ArrayRef<Operand> operands) {
    gpu::GPUModuleOp device = gpuModule();
    OpBuilder b = OpBuilder::atBlockEnd(device.getBody());
    Location loc = func.getLoc();
    SmallVector<Type> types;
    for (const Operand &operand : operands)
      types.push_back(operand.host.getType());
    auto kernel =
        gpu::GPUFuncOp::create(b, loc, name, b.getFunctionType(types, {}));
    kernel->setAttr(gpu::GPUDialect::getKernelFuncAttrName(), b.getUnitAttr());
    kernel.setKnownBlockSizeAttr(
        b.getDenseI32ArrayAttr({static_cast<int32_t>(threads), 1, 1}));
    for (auto [i, operand] : llvm::enumerate(operands))
      kernel.setArgAttrs(i, operand.attributes);
    b.setInsertionPointToStart(&kernel.getBody().front());
    gpu::ReturnOp::create(b, loc);
    return kernel;
  }

  /// Launches `kernel` before `work`, the function's.
  void launch(Operation *work, gpu::GPUFuncOp kernel, int64_t threads,
              int64_t sharedBytes, function_ref<Value(OpBuilder &)> blocks,
              ArrayRef<Operand> operands) {
    auto func = work->getParentOfType<func::FuncOp>();
    OpBuilder b(work);
    Location loc = func.getLoc();
    IndexMath math{b, loc};
    Value one = math.constant(1);
    SmallVector<Value> arguments;
    for (const Operand &operand : operands)
      arguments.push_back(operand.host);
    Value shared;
    if (sharedBytes)
      shared = IndexMath{b, loc, b.getI32Type()}.constant(sharedBytes);
    gpu::LaunchFuncOp::create(
        b, loc, kernel, gpu::KernelDim3{blocks(b), one, one},
        gpu::KernelDim3{math.constant(threads), one, one}, shared, arguments);
  }

  void outline(func::FuncOp func, PhasesOp op);
  LogicalResult outline(func::FuncOp func, PackFilterOp op);

  ModuleOp module;
};

} // namespace

void Outliner::outline(func::FuncOp func, PhasesOp op) {
  BlockSpace space = blockSpace(op);
  DimensionNumbersAttr numbers = op.getDimensionNumbers();
  auto type = cast<MemRefType>(op.getInput().getType());
  int64_t shared =
      convjit::sharedBytes(space.plan, type.getElementTypeBitWidth() / 8,
                           numbers.getInputFeature() == type.getRank() - 1);
  int64_t parts = space.plan.getSplit();
  auto batchGroups = static_cast<int64_t>(op.getBatchGroupCount());
  Location loc = func.getLoc();
  OpBuilder b(op);
  Value output = op.getOutput();
  auto images = [&](OpBuilder &b) -> Value {
    return memref::DimOp::create(b, loc, output, numbers.getOutputBatch());
  };
  SmallVector<Operand> operands = operandsOf(func);
  // Bytes for each image of the output. What comes next is aligned.
  int64_t scratchBytes = 0;
  auto packs = func.getOps<PackInputOp>();
  PackInputOp pack = packs.empty() ? PackInputOp() : *packs.begin();
  if (pack) {
    // The blocks read what it fills.
    llvm::erase_if(operands, [&](const Operand &operand) {
      return operand.host == pack.getInput();
    });
    operands.push_back(
        scratch(op.getInput(), "packed_input", batchGroups, scratchBytes));
    scratchBytes = llvm::alignTo(batchGroups * imageBytes(type), 16);
  }
  // Of each part the whole output, the parts one after the other as if they
  // were images.
  Value sums;
  if (parts > 1) {
    auto outputType = cast<MemRefType>(output.getType());
    auto sumsType = MemRefType::get(outputType.getShape(),
                                    sumType(outputType.getElementType()));
    sums = memref::AllocOp::create(
        b, loc, sumsType, ValueRange{IndexMath{b, loc}.mul(images(b), parts)});
    operands.push_back(scratch(sums, "scratch", parts, scratchBytes));
    scratchBytes += parts * imageBytes(sumsType);
  }
  // A kernel of `blocks` blocks for each `perBlock` images of the output, which
  // is launched before `work`.
  auto outlined = [&](Operation *work, StringRef name, int64_t threads,
                      int64_t shared, int64_t blocks, int64_t perBlock,
                      ArrayRef<Operand> operands, IRMapping &mapping) {
    gpu::GPUFuncOp device = kernel(func, name, threads, operands);
    OpBuilder b(func.getContext());
    device->setAttr("conv.shared_bytes", b.getI64IntegerAttr(shared));
    device->setAttr("conv.blocks", b.getI64IntegerAttr(blocks));
    device->setAttr("conv.images_per_block", b.getI64IntegerAttr(perBlock));
    device->setAttr("conv.batch_group_count", b.getI64IntegerAttr(batchGroups));
    if (scratchBytes)
      device->setAttr("conv.scratch_bytes", b.getI64IntegerAttr(scratchBytes));
    for (auto [operand, argument] : llvm::zip(operands, device.getArguments()))
      mapping.map(operand.host, argument);
    launch(
        work, device, threads, shared,
        [&](OpBuilder &b) {
          IndexMath math{b, loc};
          return math.mul(math.ceilDiv(images(b), perBlock), blocks);
        },
        operands);
    return device;
  };
  if (pack) {
    InputTiles tiles(pack, batchGroups);
    auto input = cast<BlockArgument>(pack.getInput());
    Operand to = scratch(pack.getPacked(), "scratch", batchGroups, 0);
    IRMapping mapping;
    gpu::GPUFuncOp device = outlined(
        pack, "pack_input", packThreads, tiles.sharedBytes(), tiles.blocks(),
        tiles.imagesPerBlock(),
        {{input, func.getArgAttrDict(input.getArgNumber())}, to}, mapping);
    OpBuilder b(device.getBody().front().getTerminator());
    if (tiles.blocks() > 0) {
      auto inside = cast<PackInputOp>(b.clone(*pack, mapping));
      b.setInsertionPoint(inside);
      packInput(inside, tiles, b);
      inside.erase();
    }
    pack.erase();
  }
  // One that reads the packed filter, and of which an SM is to have room for
  // `resident` blocks (0: for any number); `body` builds what a block does
  // before its copy of the operation. Without an output there are no blocks,
  // and digits have no radix.
  auto outlinedWork =
      [&](StringRef name, int64_t threads, int64_t shared, int64_t blocks,
          int64_t perBlock, int64_t resident,
          function_ref<void(PhasesOp, Value, OpBuilder &)> body) {
        IRMapping mapping;
        gpu::GPUFuncOp device = outlined(op, name, threads, shared, blocks,
                                         perBlock, operands, mapping);
        OpBuilder b(func.getContext());
        device.setArgAttr(
            cast<BlockArgument>(mapping.lookup(op.getFilter())).getArgNumber(),
            "conv.operand", b.getStringAttr("packed"));
        if (resident)
          device->setAttr(NVVM::NVVMDialect::getMinctasmAttrName(),
                          b.getI32IntegerAttr(static_cast<int32_t>(resident)));
        b.setInsertionPoint(device.getBody().front().getTerminator());
        if (blocks > 0) {
          auto inside = cast<PhasesOp>(b.clone(*op, mapping));
          b.setInsertionPoint(inside);
          body(inside, sums ? mapping.lookup(sums) : inside.getOutput(), b);
          inside.erase();
        }
      };
  outlinedWork("kernel", space.plan.getThreads(), shared,
               space.blocksPerImages(), space.imagesPerBlock(),
               leastResident(space.plan,
                             {type.getElementTypeBitWidth() / 8,
                              numbers.getInputBatch() == 0 &&
                                  numbers.getOutputBatch() == 0,
                              numbers.getInputFeature() == type.getRank() - 1}),
               [&](PhasesOp op, Value sums, OpBuilder &b) {
                 buildBlock(op, space, sums, b);
               });
  if (sums) {
    outlinedWork("add", addThreads, 0, addBlocksPerImage(op), 1, 0, addParts);
    memref::DeallocOp::create(b, loc, sums);
  }
  op.erase();
}

LogicalResult Outliner::outline(func::FuncOp func, PackFilterOp op) {
  auto packed = cast<MemRefType>(op.getPacked().getType());
  int64_t elements = packed.getNumElements();
  int64_t blocks = llvm::divideCeil(elements, packThreads);
  SmallVector<Operand> operands = operandsOf(func);
  gpu::GPUFuncOp device = kernel(func, "pack", packThreads, operands);
  OpBuilder b(func.getContext());
  device->setAttr("conv.blocks", b.getI64IntegerAttr(blocks));
  device.setArgAttr(0, "conv.operand", b.getStringAttr("filter"));
  device.setArgAttr(1, "conv.operand", b.getStringAttr("packed"));
  IRMapping mapping;
  mapping.map(func.getArguments(), device.getArguments());
  b.setInsertionPoint(device.getBody().front().getTerminator());
  auto inside = cast<PackFilterOp>(b.clone(*op, mapping));
  b.setInsertionPoint(inside);
  Location loc = op.getLoc();
  LogicalResult result = lowerPackFilter(inside, b, [&](PackElement pack) {
    // One element a thread.
    IndexMath math{b, loc};
    Value number =
        math.add(math.mul(gpu::BlockIdOp::create(b, loc, gpu::Dimension::x),
                          packThreads),
                 Value(gpu::ThreadIdOp::create(b, loc, gpu::Dimension::x)));
    auto element = [&] {
      SmallVector<Value> to(packed.getRank());
      Value rest = number;
      for (int64_t axis = packed.getRank() - 1; axis > 0; --axis)
        to[axis] = math.takeDigit(rest, packed.getDimSize(axis));
      to[0] = rest;
      pack(to);
    };
    if (elements % packThreads == 0)
      return element();
    math.branch(math.compare(arith::CmpIPredicate::slt, number,
                             math.constant(elements)),
                element);
  });
  if (failed(result))
    return failure();
  inside.erase();
  launch(
      op, device, packThreads, 0,
      [&](OpBuilder &b) { return IndexMath{b, loc}.constant(blocks); },
      operands);
  op.erase();
  return success();
}

namespace {

struct ConvToGPUPass : convjit::impl::ConvToGPUBase<ConvToGPUPass> {
  void runOnOperation() override {
    if (failed(Outliner(getOperation()).run()))
      signalPassFailure();
  }
};

} // namespace
