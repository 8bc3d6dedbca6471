//===- GPUCompilation.cpp - one layer on its way to a GPU -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "GPUCompilation.h"
#include "GPUCostModel.h"
#include "geometry/Geometry.h"

#include "mlir/Target/LLVMIR/Dialect/Builtin/BuiltinToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Dialect/GPU/GPUToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Dialect/LLVMIR/LLVMToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Dialect/NVVM/NVVMToLLVMIRTranslation.h"
#include "llvm/ADT/StringSwitch.h"
#include "llvm/IR/LLVMContext.h"
#include "llvm/Support/raw_ostream.h"

using namespace convjit;

/// CPUs' contexts do without these dialects: to load them takes milliseconds.
static const mlir::DialectRegistry &dialects() {
  static const mlir::DialectRegistry registry = [] {
    mlir::DialectRegistry registry;
    registry.insert<conv::ConvDialect, mlir::arith::ArithDialect,
                    mlir::func::FuncDialect, mlir::LLVM::LLVMDialect,
                    mlir::math::MathDialect, mlir::memref::MemRefDialect,
                    mlir::scf::SCFDialect, mlir::vector::VectorDialect>();
    registerGPUDialects(registry);
    mlir::registerBuiltinDialectTranslation(registry);
    mlir::registerGPUDialectTranslation(registry);
    mlir::registerLLVMDialectTranslation(registry);
    mlir::registerNVVMDialectTranslation(registry);
    return registry;
  }();
  return registry;
}

/// GPUs that kernels are made for, by compute capability.
static constexpr std::pair<const char *, int> gpus[] = {
    {"sm_80", 80}, {"sm_86", 86},   {"sm_89", 89},
    {"sm_90", 90}, {"sm_100", 100}, {"sm_120", 120}};

/// The least compute capability of a chip's name, or 0.
static int capabilityOf(llvm::StringRef chip) {
  for (auto [name, capability] : gpus)
    if (chip == name)
      return capability;
  return 0;
}

Expected<TargetInfo> convjit::resolveGPU(const Target &target,
                                         const Convolution &conv) {
  if (!conv.inputStrides.empty())
    return badInput("inputStrides (xs) are given; valid for a GPU: a "
                    "contiguous input");
  TargetInfo info;
  info.triple = "nvptx64-nvidia-cuda";
  info.cpu = target.cpu.empty() ? "sm_80" : target.cpu;
  if (!capabilityOf(info.cpu))
    return badInput("target-cpu=" + target.cpu +
                    ": not a GPU that kernels are made for; valid: sm_80, "
                    "sm_86, sm_89, sm_90, sm_100, sm_120");
  if (!target.features.empty())
    return badInput("target-features=" + target.features +
                    ": valid with --target=nvptx: none");
  return info;
}

int64_t convjit::imagesOf(const CompileOptions &options) {
  return options.images > 0 ? options.images : usualImages;
}

Expected<std::string> convjit::gpuFor(int computeCapability) {
  const char *best = nullptr;
  for (auto [name, capability] : gpus)
    if (capability <= computeCapability)
      best = name;
  if (best)
    return std::string(best);
  return environmentError("compute capability " +
                          std::to_string(computeCapability / 10) + "." +
                          std::to_string(computeCapability % 10) +
                          ": the device is too old; valid: 8.0 (Ampere) or "
                          "later");
}

GPUCompilation::GPUCompilation(TargetInfo target, const CompileOptions &asked)
    : Compilation(dialects()), target(std::move(target)) {
  options.chip = this->target.cpu;
  options.images = imagesOf(asked);
  options.multiple = asked.imageMultiple;
}

Status GPUCompilation::runUntil(Stage stage, const std::string &plan) {
  auto step = [&](auto builder) { return run(builder); };
  if (stage == Stage::Conv)
    return {};
  if (Status s = step([](auto &pm) { pm.addPass(createConvLegalize()); }); !s)
    return s;
  if (Status s = setPlan(plan); !s)
    return s;
  if (Status s = step([&](auto &pm) { buildGPUPlanPipeline(pm, options); }); !s)
    return s;
  if (Status s = readPlanned(); !s || stage == Stage::General)
    return s;
  if (Status s = step([](auto &pm) { buildPhasesPipeline(pm); });
      !s || stage == Stage::Phases)
    return s;
  if (Status s = step([](auto &pm) { buildGPUBlocksPipeline(pm); }); !s)
    return s;
  describeLaunches();
  if (stage == Stage::Blocks)
    return {};
  if (Status s = step([](auto &pm) { buildGPUThreadsPipeline(pm); });
      !s || stage == Stage::GPU)
    return s;
  return step([&](auto &pm) { buildNVVMPipeline(pm, options); });
}

Expected<Leaky<MachineUnit>> GPUCompilation::toLLVM() {
  Leaky<MachineUnit> unit(new MachineUnit);
  auto machine = createTargetMachine(target);
  if (!machine)
    return machine.takeError();
  unit->machine = std::move(*machine);
  unit->context = std::make_unique<llvm::LLVMContext>();
  for (auto device : module->getOps<mlir::gpu::GPUModuleOp>()) {
    auto translated =
        translateToLLVM(device, *unit->context, target, *unit->machine);
    if (!translated)
      return translated.takeError();
    unit->module = std::move(*translated);
  }
  if (!unit->module)
    return internalError("no kernel was made");
  // MLIR declares dynamic shared memory as a variable of no bytes, which the
  // back end would place and the driver not extend.
  for (llvm::GlobalVariable &variable : unit->module->globals())
    if (variable.getAddressSpace() == 3) {
      variable.setInitializer(nullptr);
      variable.setLinkage(llvm::GlobalValue::ExternalLinkage);
    }
  return unit;
}

/// `text` is a plan, or a schedule of which the best plan is meant.
Status GPUCompilation::setPlan(const std::string &text) {
  if (text.empty())
    return {};
  llvm::StringRef name = text;
  if (name.consume_front("schedule = "))
    return setSchedule(name);
  auto plan = readPlan<conv::GPUPlanAttr>(text, "conv.gpu_plan");
  if (!plan)
    return plan.takeError();
  module->walk([&](conv::ConvolutionOp op) { op.setGpuPlanAttr(*plan); });
  return {};
}

Status GPUCompilation::setSchedule(llvm::StringRef name) {
  std::optional<conv::GPUSchedule> schedule = conv::symbolizeGPUSchedule(name);
  if (!schedule)
    return badInput("plan='schedule = " + name.str() +
                    "'; valid: schedule = direct, simt or mma");
  conv::ConvolutionOp op = convolution();
  for (const GPUCandidate &candidate :
       gpuCandidates(op, chipOf(target.cpu), options.images, options.multiple))
    if (candidate.plan.getSchedule() == *schedule) {
      op.setGpuPlanAttr(candidate.plan);
      return {};
    }
  return badInput("plan='schedule = " + name.str() + "'; " +
                  (*schedule == conv::GPUSchedule::Mma
                       ? whyNoTensorCores(op)
                       : "no plan of that schedule suits this layer"));
}

/// A plan written by hand may ask for what this convolution cannot do.
Status GPUCompilation::readPlanned() {
  conv::ConvolutionOp op = convolution();
  std::string why = whyPlanIsImpossible(op, op.getGpuPlanAttr());
  if (!why.empty())
    return badInput("plan: " + why);
  kernel.plan.clear();
  llvm::raw_string_ostream(kernel.plan) << mlir::Attribute(op.getGpuPlanAttr());
  auto input = llvm::cast<mlir::RankedTensorType>(op.getInput().getType());
  // Of both factors the bits past the tenth are dropped.
  if (op.getGpuPlanAttr().getSchedule() == conv::GPUSchedule::Mma &&
      input.getElementType().isF32())
    kernel.productError = 0x1p-9;
  kernel.imageMultiple = imageMultiple(
      op.getGpuPlanAttr(), input.getElementType(), op.getDimensionNumbers());
  kernel.chip = target.cpu;
  kernel.computeCapability = capabilityOf(target.cpu);
  return {};
}

GPULaunch GPUCompilation::describe(mlir::gpu::GPUFuncOp func) {
  GPULaunch launch;
  launch.entry = options.symbolPrefix + "_" + func.getName().str();
  launch.threads = (*func.getKnownBlockSize())[0];
  auto number = [&](const char *name) -> int64_t {
    auto attribute = func->getAttrOfType<mlir::IntegerAttr>(name);
    return attribute ? attribute.getInt() : 0;
  };
  launch.sharedBytes = number("conv.shared_bytes");
  launch.blocks = number("conv.blocks");
  launch.imagesPerBlock = number("conv.images_per_block");
  for (unsigned i = 0; i < func.getNumArguments(); ++i) {
    auto parameter =
        llvm::StringSwitch<GPUParameter>(
            func.getArgAttrOfType<mlir::StringAttr>(i, "conv.operand")
                .getValue())
            .Case("input", GPUParameter::Input)
            .Case("filter", GPUParameter::Filter)
            .Case("packed", GPUParameter::Packed)
            .Case("bias", GPUParameter::Bias)
            .Case("residual", GPUParameter::Residual)
            .Cases({"scratch", "packed_input"}, GPUParameter::Scratch)
            .Default(GPUParameter::Output);
    // All scratch is one buffer.
    if (parameter != GPUParameter::Scratch ||
        !llvm::is_contained(launch.parameters, parameter))
      launch.parameters.push_back(parameter);
  }
  if (launch.imagesPerBlock)
    launch.parameters.push_back(GPUParameter::Batch);
  return launch;
}

void GPUCompilation::describeLaunches() {
  module->walk([&](mlir::gpu::GPUFuncOp func) {
    if (func->hasAttr("conv.images_per_block")) {
      if (auto bytes =
              func->getAttrOfType<mlir::IntegerAttr>("conv.scratch_bytes"))
        kernel.scratchBytesPerImage = static_cast<size_t>(bytes.getInt());
      return kernel.run.push_back(describe(func));
    }
    kernel.pack = describe(func);
    auto packed = llvm::cast<mlir::MemRefType>(func.getArgumentTypes()[1]);
    kernel.packedWeightBytes = static_cast<size_t>(
        packed.getNumElements() * packed.getElementTypeBitWidth() / 8);
  });
}
