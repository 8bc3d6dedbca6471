//===- Compiler.cpp - from a layer to a kernel -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "convjit/Compiler.h"
#include "BuildModule.h"
#include "CodeGen.h"
#include "Compilation.h"
#include "GPUCompiler.h"
#include "Guard.h"
#include "LibraryBuilder.h"
#include "Loader.h"
#include "Passes.h"
#include "PlanReport.h"
#include "TargetInfo.h"
#include "geometry/Geometry.h"

#include "mlir/Target/LLVMIR/Dialect/Builtin/BuiltinToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Dialect/LLVMIR/LLVMToLLVMIRTranslation.h"
#include "llvm/IR/LLVMContext.h"
#include "llvm/Object/ObjectFile.h"
#include "llvm/Support/raw_ostream.h"

#include <chrono>
#include <numeric>

using namespace convjit;

namespace {

/// A compilation for a CPU.
class CPUCompilation : public Compilation {
public:
  CPUCompilation(const mlir::DialectRegistry &registry, TargetInfo target,
                 int64_t images)
      : Compilation(registry), target(std::move(target)) {
    options.describe(this->target.machine);
    options.images = images;
    options.symbolPrefix = symbolPrefix;
  }

  /// Puts a plan given as text onto the convolution.
  Status setPlan(const std::string &text) {
    if (text.empty())
      return {};
    auto plan = readPlan<conv::PlanAttr>(text, "conv.plan");
    if (!plan)
      return plan.takeError();
    module->walk([&](conv::ConvolutionOp op) { op.setPlanAttr(*plan); });
    return {};
  }

  /// Runs the pipeline up to the form that `stage` shows.
  Status runUntil(Stage stage, const std::string &plan) {
    if (stage == Stage::Conv)
      return {};
    auto step = [&](auto builder) { return run(builder); };
    if (Status s = step([](auto &pm) { pm.addPass(createConvLegalize()); }); !s)
      return s;
    if (Status s = setPlan(plan); !s)
      return s;
    if (Status s = step([&](auto &pm) { buildPlanPipeline(pm, options); }); !s)
      return s;
    if (stage == Stage::General)
      return {};
    if (Status s = checkPlan(); !s)
      return s;
    if (Status s = step([](auto &pm) { buildPhasesPipeline(pm); }); !s)
      return s;
    if (stage == Stage::Phases)
      return {};
    if (Status s = step([](auto &pm) { buildTilePipeline(pm); }); !s)
      return s;
    readTiles();
    if (stage == Stage::Tiles)
      return {};
    if (Status s = step([](auto &pm) { buildLinalgPipeline(pm); }); !s)
      return s;
    if (stage == Stage::Linalg)
      return {};
    if (Status s = step([](auto &pm) { buildVectorPipeline(pm); }); !s)
      return s;
    if (stage == Stage::Vector)
      return {};
    return step([&](auto &pm) { buildLLVMPipeline(pm, options); });
  }

  TargetInfo target;
  CPUPipelineOptions options;
  int64_t tasksPerImage = 0, pieces = 1;
  size_t packedWeightBytes = 0;

private:
  /// A plan written by hand may ask for what this convolution cannot do.
  Status checkPlan() {
    std::string why = whyPlanIsInvalid(convolution());
    return why.empty() ? Status() : badInput("plan: " + why);
  }

  void readTiles() {
    module->walk([&](mlir::func::FuncOp func) {
      if (auto tasks =
              func->getAttrOfType<mlir::IntegerAttr>("conv.tasks_per_image")) {
        tasksPerImage = tasks.getInt();
        if (auto count = func->getAttrOfType<mlir::IntegerAttr>("conv.pieces"))
          pieces = count.getInt();
        auto packed = llvm::cast<mlir::MemRefType>(func.getArgumentTypes()[1]);
        packedWeightBytes =
            packed.getNumElements() * packed.getElementTypeBitWidth() / 8;
      }
    });
  }
};

Expected<Leaky<MachineUnit>> toLLVM(CPUCompilation &compilation) {
  Leaky<MachineUnit> unit(new MachineUnit);
  Expected<std::unique_ptr<llvm::TargetMachine>> machine =
      createTargetMachine(compilation.target);
  if (!machine)
    return machine.takeError();
  unit->machine = std::move(*machine);
  unit->context = std::make_unique<llvm::LLVMContext>();
  auto module = translateToLLVM(*compilation.module, *unit->context,
                                compilation.target, *unit->machine);
  if (!module)
    return module.takeError();
  unit->module = std::move(*module);
  return unit;
}

/// Whether the convolution is one that can be compiled at all.
Status checkConvolution(const Convolution &conv, int64_t images) {
  if (images < 0)
    return badInput("images=" + std::to_string(images) +
                    ": valid: 0, or a number of images");
  if (Status valid = validate(conv); !valid)
    return valid;
  // Each phase of a dimension is described on its own.
  constexpr int64_t maxPhases = int64_t(1) << 16;
  for (const SpatialDim &dim : conv.dims) {
    int64_t phases =
        dim.inputDilation / std::gcd(dim.inputDilation, dim.windowStride);
    if (phases > maxPhases)
      return badInput("stride or input dilation " +
                      std::to_string(dim.inputDilation) + ": makes " +
                      std::to_string(phases) + " output phases; valid: up to " +
                      std::to_string(maxPhases));
  }
  return {};
}

/// The target of a convolution that can be compiled. The host's has been found
/// out already, which takes a quarter of a millisecond.
Expected<TargetInfo> checkedTarget(const Convolution &conv,
                                   const CompileOptions &options,
                                   const TargetInfo &host) {
  if (Status s = checkConvolution(conv, options.images); !s)
    return s.takeError();
  if (!isForCPUs(conv.dtype))
    return badInput(std::string("dtype=") + name(conv.dtype) +
                    "; valid for CPUs: f32, f64; f16 and bf16 need "
                    "--target=nvptx or --device=cuda:0");
  const Target &target = options.target;
  if (target.triple.empty() && target.cpu.empty() && target.features.empty())
    return host;
  return resolveTarget(target);
}

double now() {
  using namespace std::chrono;
  return duration<double, std::milli>(steady_clock::now().time_since_epoch())
      .count();
}

} // namespace

int64_t convjit::plannedImages(const Convolution &conv, int64_t images) {
  return conv.numbers.inputBatch == 0 ? 0 : images;
}

struct Compiler::Impl {
  /// To LLVM IR, with the plan's text or, if that is empty, the model's choice.
  Expected<LoweredKernel> lower(const Convolution &conv,
                                const TargetInfo &target,
                                const CompileOptions &options) const;
  Expected<CompiledKernel> compile(const Convolution &conv,
                                   const CompileOptions &options) const;
  Expected<std::string> emit(const Convolution &conv, Stage stage,
                             const CompileOptions &options,
                             const Problem *problem) const;
  Expected<PlanReport> plan(const Convolution &conv,
                            const CompileOptions &options) const;
  Expected<Library> library(const std::vector<LibraryLayer> &layers,
                            const LibraryOptions &options) const;

  mlir::DialectRegistry registry;
  TargetInfo host;
};

Compiler::Compiler(std::unique_ptr<Impl> impl) : impl(std::move(impl)) {}
Compiler::~Compiler() = default;

Expected<std::unique_ptr<Compiler>> Compiler::create() {
  installErrorHandlers();
  // Also initializes LLVM's targets.
  Expected<TargetInfo> host = resolveTarget({});
  if (!host)
    return host.takeError();
  auto impl = std::make_unique<Impl>();
  impl->host = *host;
  impl->registry.insert<conv::ConvDialect, mlir::arith::ArithDialect,
                        mlir::func::FuncDialect, mlir::linalg::LinalgDialect,
                        mlir::LLVM::LLVMDialect, mlir::math::MathDialect,
                        mlir::memref::MemRefDialect, mlir::scf::SCFDialect,
                        mlir::vector::VectorDialect>();
  mlir::registerBuiltinDialectTranslation(impl->registry);
  mlir::registerLLVMDialectTranslation(impl->registry);
  return std::unique_ptr<Compiler>(new Compiler(std::move(impl)));
}

/// Bytes of code and constants in an object.
static size_t sectionBytes(const std::string &object) {
  auto file = llvm::object::ObjectFile::createObjectFile(
      llvm::MemoryBufferRef(object, "kernel"));
  if (!file) {
    llvm::consumeError(file.takeError());
    return 0;
  }
  size_t bytes = 0;
  for (const llvm::object::SectionRef &section : (*file)->sections())
    if (section.isText() || section.isData())
      bytes += section.getSize();
  return bytes;
}

Expected<Kernel> Compiler::compile(const Convolution &conv,
                                   const CompileOptions &options) const {
  double start = now();
  Expected<CompiledKernel> compiled = compileObject(conv, options);
  if (!compiled)
    return compiled.takeError();
  return guarded([&]() -> Expected<Kernel> {
    Expected<Kernel> kernel = loadKernel(conv, std::move(*compiled));
    if (kernel)
      kernel->compileMilliseconds = now() - start;
    return kernel;
  });
}

Expected<CompiledKernel>
Compiler::compileObject(const Convolution &conv,
                        const CompileOptions &options) const {
  if (Status s = enoughMemory(); !s)
    return s.takeError();
  return guarded([&] { return impl->compile(conv, options); });
}

Expected<LoweredKernel>
Compiler::Impl::lower(const Convolution &conv, const TargetInfo &target,
                      const CompileOptions &options) const {
  Leaky<CPUCompilation> compilation(
      new CPUCompilation(registry, target, options.images));
  compilation->module = buildModule(&compilation->context, conv);
  if (Status s = compilation->runUntil(Stage::General, options.plan); !s)
    return s.takeError();
  LoweredKernel kernel;
  {
    llvm::raw_string_ostream stream(kernel.plan);
    mlir::Attribute(compilation->convolution().getPlanAttr()).print(stream);
  }
  if (Status s = compilation->runUntil(Stage::LLVM, ""); !s)
    return s.takeError();
  Expected<Leaky<MachineUnit>> unit = toLLVM(*compilation);
  if (!unit)
    return unit.takeError();
  kernel.unit = std::move(*unit);
  kernel.tasksPerImage = compilation->tasksPerImage;
  kernel.pieces = compilation->pieces;
  kernel.packedWeightBytes = compilation->packedWeightBytes;
  return kernel;
}

Expected<CompiledKernel>
Compiler::Impl::compile(const Convolution &conv,
                        const CompileOptions &options) const {
  double start = now();
  Expected<TargetInfo> target = checkedTarget(conv, options, host);
  if (!target)
    return target.takeError();
  if (Status s = checkRunsHere(*target); !s)
    return s.takeError();
  Expected<LoweredKernel> lowered = lower(conv, *target, options);
  if (!lowered)
    return lowered.takeError();
  CompiledKernel kernel;
  kernel.plan = std::move(lowered->plan);
  Expected<std::string> object = generateCode(
      *lowered->unit->module, *lowered->unit->machine, /*assembly=*/false);
  if (!object)
    return object.takeError();
  kernel.object = std::move(*object);
  kernel.codeBytes = sectionBytes(kernel.object);
  kernel.packedWeightBytes = lowered->packedWeightBytes;
  kernel.tasksPerImage = lowered->tasksPerImage;
  kernel.pieces = lowered->pieces;
  kernel.compileMilliseconds = now() - start;
  return kernel;
}

Expected<GPUKernel> Compiler::compileGPU(const Convolution &conv,
                                         const CompileOptions &options) const {
  if (Status s = enoughMemory(); !s)
    return s.takeError();
  if (Status s = checkConvolution(conv, options.images); !s)
    return s.takeError();
  if (!isGPU(options.target))
    return badInput("target '" + options.target.triple +
                    "': not a GPU; valid: nvptx64-nvidia-cuda");
  return guarded([&] { return compileForGPU(conv, options); });
}

Expected<std::string> Compiler::emit(const Convolution &conv, Stage stage,
                                     const CompileOptions &options,
                                     const Problem *problem) const {
  if (Status s = enoughMemory(); !s)
    return s.takeError();
  return guarded([&] { return impl->emit(conv, stage, options, problem); });
}

Expected<std::string> Compiler::Impl::emit(const Convolution &conv, Stage stage,
                                           const CompileOptions &options,
                                           const Problem *problem) const {
  if (isGPU(options.target)) {
    if (Status s = checkConvolution(conv, options.images); !s)
      return s.takeError();
    return emitForGPU(conv, stage, options, problem);
  }
  if (stage > Stage::Object)
    return badInput("the stage is one of GPUs; valid without --target=nvptx: "
                    "conv, general, phases, tiles, linalg, vector, llvm, asm");
  Expected<TargetInfo> target = checkedTarget(conv, options, host);
  if (!target)
    return target.takeError();
  Leaky<CPUCompilation> compilation(
      new CPUCompilation(registry, *target, options.images));
  bool layer = problem && problem->gradient == Gradient::None;
  compilation->module =
      layer ? buildLayerModule(&compilation->context, *problem, conv)
            : buildModule(&compilation->context, conv);
  if (Status s = compilation->runUntil(stage, options.plan); !s)
    return s.takeError();
  if (stage < Stage::LLVM) {
    // Shown as people want to read it, not as the pipeline leaves it.
    if (stage >= Stage::Tiles)
      if (Status s = compilation->run(
              [](mlir::PassManager &pm) { addReadabilityPasses(pm); });
          !s)
        return s.takeError();
    return compilation->print(*compilation->module);
  }
  Expected<Leaky<MachineUnit>> unit = toLLVM(*compilation);
  if (!unit)
    return unit.takeError();
  if (stage == Stage::LLVM) {
    std::string text;
    llvm::raw_string_ostream stream(text);
    (*unit)->module->print(stream, nullptr);
    return text;
  }
  return generateCode(*(*unit)->module, *(*unit)->machine, stage == Stage::Asm);
}

Expected<Library> Compiler::library(const std::vector<LibraryLayer> &layers,
                                    const LibraryOptions &options) const {
  if (Status s = enoughMemory(); !s)
    return s.takeError();
  return guarded([&] { return impl->library(layers, options); });
}

Expected<Library>
Compiler::Impl::library(const std::vector<LibraryLayer> &layers,
                        const LibraryOptions &options) const {
  auto compile = [&](const Convolution &conv,
                     const CompileOptions &options) -> Expected<LoweredKernel> {
    Expected<TargetInfo> target = checkedTarget(conv, options, host);
    if (!target)
      return target.takeError();
    return lower(conv, *target, options);
  };
  const std::string prefix = symbolPrefix;
  return buildLibrary(layers, options, prefix + "_kernel", prefix + "_pack",
                      compile);
}

Expected<PlanReport> Compiler::plan(const Convolution &conv,
                                    const CompileOptions &options) const {
  if (Status s = enoughMemory(); !s)
    return s.takeError();
  return guarded([&] { return impl->plan(conv, options); });
}

Expected<PlanReport> Compiler::Impl::plan(const Convolution &conv,
                                          const CompileOptions &options) const {
  if (isGPU(options.target)) {
    if (Status s = checkConvolution(conv, options.images); !s)
      return s.takeError();
    return planForGPU(conv, options);
  }
  Expected<TargetInfo> target = checkedTarget(conv, options, host);
  if (!target)
    return target.takeError();
  Leaky<CPUCompilation> compilation(
      new CPUCompilation(registry, *target, options.images));
  compilation->module = buildModule(&compilation->context, conv);
  if (Status s = compilation->runUntil(Stage::General, options.plan); !s)
    return s.takeError();
  PlanReport report =
      reportPlan(compilation->convolution(), *target, options.images);
  if (Status s = compilation->runUntil(Stage::Tiles, ""); !s)
    return s.takeError();
  report.tasksPerImage = compilation->tasksPerImage;
  report.packedWeightBytes = compilation->packedWeightBytes;
  report.target = target->describe(conv.dtype);
  return report;
}
