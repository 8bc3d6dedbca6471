//===- GPUCompiler.cpp - from a layer to a kernel for a GPU -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "GPUCompiler.h"
#include "BuildModule.h"
#include "CodeGen.h"
#include "Compilation.h"
#include "GPUCostModel.h"
#include "GPUPasses.h"
#include "Geometry.h"
#include "LibraryBuilder.h"
#include "TargetInfo.h"

#include "mlir/Target/LLVMIR/Dialect/Builtin/BuiltinToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Dialect/GPU/GPUToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Dialect/LLVMIR/LLVMToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Dialect/NVVM/NVVMToLLVMIRTranslation.h"
#include "llvm/ADT/StringSwitch.h"
#include "llvm/IR/LLVMContext.h"
#include "llvm/Support/Format.h"
#include "llvm/Support/raw_ostream.h"

#include <chrono>
#include <map>

using namespace convjit;

bool convjit::isGPU(const Target &target) {
  return llvm::Triple(target.triple).isNVPTX();
}

namespace {

/// CPUs' contexts do without these dialects: to load them takes milliseconds.
const mlir::DialectRegistry &dialects() {
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
constexpr std::pair<const char *, int> gpus[] = {
    {"sm_80", 80}, {"sm_86", 86},   {"sm_89", 89},
    {"sm_90", 90}, {"sm_100", 100}, {"sm_120", 120}};

/// The least compute capability of a chip's name, or 0.
int capabilityOf(llvm::StringRef chip) {
  for (auto [name, capability] : gpus)
    if (chip == name)
      return capability;
  return 0;
}

Expected<TargetInfo> resolveGPU(const Target &target) {
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

int64_t imagesOf(const CompileOptions &options) {
  return options.images > 0 ? options.images : usualImages;
}

class GPUCompilation : public Compilation {
public:
  GPUCompilation(TargetInfo target, int64_t images)
      : Compilation(dialects()), target(std::move(target)) {
    options.chip = this->target.cpu;
    options.images = images;
  }

  /// Runs the pipeline up to the form that `stage` shows.
  Status runUntil(Stage stage, const std::string &plan) {
    auto step = [&](auto builder) { return run(builder); };
    if (stage == Stage::Conv)
      return {};
    if (Status s = step([](auto &pm) { pm.addPass(createConvLegalize()); }); !s)
      return s;
    if (Status s = setPlan(plan); !s)
      return s;
    if (Status s = step([&](auto &pm) { buildGPUPlanPipeline(pm, options); });
        !s)
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

  Expected<Leaky<MachineUnit>> toLLVM() {
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

  /// The kernel as far as the stages that have run say; all but its code.
  GPUKernel kernel;

private:
  /// `text` is a plan, or a schedule of which the best plan is meant.
  Status setPlan(const std::string &text) {
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

  Status setSchedule(llvm::StringRef name) {
    std::optional<conv::GPUSchedule> schedule =
        conv::symbolizeGPUSchedule(name);
    if (!schedule)
      return badInput("plan='schedule = " + name.str() +
                      "'; valid: schedule = direct, simt or mma");
    conv::ConvolutionOp op = convolution();
    for (const GPUCandidate &candidate :
         gpuCandidates(op, chipOf(target.cpu), options.images))
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
  Status readPlanned() {
    conv::ConvolutionOp op = convolution();
    std::string why = whyPlanIsImpossible(op, op.getGpuPlanAttr());
    if (!why.empty())
      return badInput("plan: " + why);
    kernel.plan.clear();
    llvm::raw_string_ostream(kernel.plan)
        << mlir::Attribute(op.getGpuPlanAttr());
    auto input = llvm::cast<mlir::RankedTensorType>(op.getInput().getType());
    // Of both factors the bits past the tenth are dropped.
    if (op.getGpuPlanAttr().getSchedule() == conv::GPUSchedule::Mma &&
        input.getElementType().isF32())
      kernel.productError = 0x1p-9;
    kernel.chip = target.cpu;
    kernel.computeCapability = capabilityOf(target.cpu);
    return {};
  }

  GPULaunch describe(mlir::gpu::GPUFuncOp func) {
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
    for (unsigned i = 0; i < func.getNumArguments(); ++i)
      launch.parameters.push_back(
          llvm::StringSwitch<GPUParameter>(
              func.getArgAttrOfType<mlir::StringAttr>(i, "conv.operand")
                  .getValue())
              .Case("input", GPUParameter::Input)
              .Case("filter", GPUParameter::Filter)
              .Case("packed", GPUParameter::Packed)
              .Case("bias", GPUParameter::Bias)
              .Case("residual", GPUParameter::Residual)
              .Case("scratch", GPUParameter::Scratch)
              .Default(GPUParameter::Output));
    if (launch.imagesPerBlock)
      launch.parameters.push_back(GPUParameter::Batch);
    return launch;
  }

  void describeLaunches() {
    module->walk([&](mlir::gpu::GPUFuncOp func) {
      if (func->hasAttr("conv.images_per_block")) {
        if (auto split = func->getAttrOfType<mlir::IntegerAttr>("conv.split"))
          kernel.scratchBytesPerImage = static_cast<size_t>(
              split.getInt() * imageBytes(llvm::cast<mlir::MemRefType>(
                                   func.getArgumentTypes().back())));
        return kernel.run.push_back(describe(func));
      }
      kernel.pack = describe(func);
      auto packed = llvm::cast<mlir::MemRefType>(func.getArgumentTypes()[1]);
      kernel.packedWeightBytes = static_cast<size_t>(
          packed.getNumElements() * packed.getElementTypeBitWidth() / 8);
    });
  }

  TargetInfo target;
  GPUPipelineOptions options;
};

/// What a driver cannot know of PTX and a test's stand-in for one needs: LLVM
/// IR, as comments, which every driver skips.
std::string asComments(const llvm::Module &module) {
  std::string text, result;
  llvm::raw_string_ostream(text) << module;
  llvm::SmallVector<llvm::StringRef> lines;
  llvm::StringRef(text).split(lines, '\n');
  for (llvm::StringRef line : lines)
    result += ("//convjit.ir " + line + "\n").str();
  return result;
}

bool wantsIR() {
  const char *value = secure_getenv("CONVJIT_PTX_WITH_IR");
  return value && llvm::StringRef(value) == "1";
}

} // namespace

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

int64_t convjit::gpuProductsPerCycle(const std::string &gpu, DataType dtype,
                                     const std::string &plan) {
  const Chip &chip = chipOf(gpu);
  if (plan.find("schedule = mma") != std::string::npos)
    return chip.tensor * 2 / sizeOf(dtype);
  return dtype == DataType::F64 ? chip.doubles : chip.floats;
}

Expected<GPUKernel> convjit::compileForGPU(const Convolution &conv,
                                           const CompileOptions &options) {
  using namespace std::chrono;
  auto start = steady_clock::now();
  Expected<TargetInfo> target = resolveGPU(options.target);
  if (!target)
    return target.takeError();
  Leaky<GPUCompilation> compilation(
      new GPUCompilation(*target, imagesOf(options)));
  compilation->module = buildModule(&compilation->context, conv);
  if (Status s = compilation->runUntil(Stage::NVVM, options.plan); !s)
    return s.takeError();
  Expected<Leaky<MachineUnit>> unit = compilation->toLLVM();
  if (!unit)
    return unit.takeError();
  // Generating code changes the module.
  std::string comments = wantsIR() ? asComments(*(*unit)->module) : "";
  Expected<std::string> ptx =
      generateCode(*(*unit)->module, *(*unit)->machine, /*assembly=*/true);
  if (!ptx)
    return ptx.takeError();
  GPUKernel kernel = std::move(compilation->kernel);
  kernel.conv = conv;
  kernel.ptx = std::move(*ptx) + comments;
  kernel.compileMilliseconds =
      duration<double, std::milli>(steady_clock::now() - start).count();
  return kernel;
}

Expected<std::string> convjit::emitForGPU(const Convolution &conv, Stage stage,
                                          const CompileOptions &options,
                                          const Problem *problem) {
  Expected<TargetInfo> target = resolveGPU(options.target);
  if (!target)
    return target.takeError();
  for (Stage other :
       {Stage::Tiles, Stage::Linalg, Stage::Vector, Stage::Asm, Stage::Object})
    if (stage == other)
      return badInput("the stage is one of CPUs; valid with --target=nvptx: "
                      "conv, general, phases, blocks, gpu, nvvm, llvm, ptx");
  Leaky<GPUCompilation> compilation(
      new GPUCompilation(*target, imagesOf(options)));
  bool layer = problem && problem->gradient == Gradient::None;
  compilation->module =
      layer ? buildLayerModule(&compilation->context, *problem, conv)
            : buildModule(&compilation->context, conv);
  bool isText = stage == Stage::LLVM || stage == Stage::PTX;
  if (Status s =
          compilation->runUntil(isText ? Stage::NVVM : stage, options.plan);
      !s)
    return s.takeError();
  if (!isText) {
    // Shown as people want to read it.
    if (stage == Stage::Blocks || stage == Stage::GPU)
      if (Status s = compilation->run(
              [](mlir::PassManager &pm) { addReadabilityPasses(pm); });
          !s)
        return s.takeError();
    return Compilation::print(*compilation->module);
  }
  Expected<Leaky<MachineUnit>> unit = compilation->toLLVM();
  if (!unit)
    return unit.takeError();
  if (stage == Stage::PTX)
    return generateCode(*(*unit)->module, *(*unit)->machine, /*assembly=*/true);
  std::string text;
  llvm::raw_string_ostream stream(text);
  (*unit)->module->print(stream, nullptr);
  return text;
}

/// What the prediction is made of.
static std::string breakdown(const GPUPrediction &prediction) {
  std::string text;
  llvm::raw_string_ostream stream(text);
  const char *separator = "; cycles of a step: ";
  for (auto [name, cycles] : prediction.units) {
    stream << separator << llvm::format("%.4g ", cycles) << name;
    separator = ", ";
  }
  stream << "; " << llvm::format("%.3g", prediction.memoryMicroseconds)
         << " us of memory";
  return text;
}

/// The best plans of each schedule, and the plan at hand wherever it came from.
static void addCandidates(conv::ConvolutionOp op, const Chip &chip,
                          int64_t images, PlanReport &report) {
  conv::GPUPlanAttr chosen = op.getGpuPlanAttr();
  auto add = [&](conv::GPUPlanAttr plan, const GPUPrediction &prediction) {
    Candidate candidate;
    llvm::raw_string_ostream(candidate.name) << mlir::Attribute(plan);
    candidate.chosen = plan == chosen;
    candidate.cycles = prediction.microseconds * 1e3 * chip.gigahertz /
                       static_cast<double>(images);
    llvm::raw_string_ostream(candidate.reason)
        << llvm::format("%.3g", prediction.microseconds) << " us predicted for "
        << images << " images, bound by " << prediction.bound << "; "
        << llvm::format("%.0f", 100 * prediction.roof) << " % of the roof; "
        << prediction.registers << " registers a thread, "
        << prediction.resident << " blocks an SM";
    if (candidate.chosen)
      candidate.reason += breakdown(prediction);
    report.candidates.push_back(std::move(candidate));
  };
  constexpr int shown = 4;
  std::map<conv::GPUSchedule, int> count;
  bool listed = false;
  for (const GPUCandidate &candidate : gpuCandidates(op, chip, images)) {
    bool isChosen = candidate.plan == chosen;
    if (count[candidate.plan.getSchedule()]++ >= shown && !isChosen)
      continue;
    listed |= isChosen;
    add(candidate.plan, candidate.prediction);
    if (candidate.onlyIfAsked && !isChosen)
      report.candidates.back().reason +=
          "; products of tf32, only where a plan asks for them";
  }
  if (!listed)
    add(chosen, predict(op, chosen, chip, images));
  if (!count.contains(conv::GPUSchedule::Mma))
    report.candidates.push_back(
        {"schedule = mma", false, whyNoTensorCores(op), 0});
  // What these chips have besides, at two to four times the rate.
  constexpr std::pair<const char *, const char *> later[] = {
      {"sm_90", "wgmma"}, {"sm_100", "tcgen05"}};
  for (auto [name, own] : later)
    if (llvm::StringRef(chip.name) == name)
      report.candidates.push_back(
          {std::string("schedule = ") + own, false, "not implemented yet", 0});
}

Expected<PlanReport> convjit::planForGPU(const Convolution &conv,
                                         const CompileOptions &options) {
  Expected<TargetInfo> target = resolveGPU(options.target);
  if (!target)
    return target.takeError();
  Leaky<GPUCompilation> compilation(
      new GPUCompilation(*target, imagesOf(options)));
  compilation->module = buildModule(&compilation->context, conv);
  if (Status s = compilation->runUntil(Stage::General, options.plan); !s)
    return s.takeError();
  PlanReport report;
  addCandidates(compilation->convolution(), chipOf(target->cpu),
                imagesOf(options), report);
  if (Status s = compilation->runUntil(Stage::Blocks, ""); !s)
    return s.takeError();
  const GPUKernel &kernel = compilation->kernel;
  report.plan = kernel.plan;
  report.packedWeightBytes = kernel.packedWeightBytes;
  report.scratchBytes = kernel.scratchBytes;
  report.target =
      target->triple + ": " + target->cpu + ", " + chipOf(target->cpu).product;
  report.launches = kernel.run;
  return report;
}
