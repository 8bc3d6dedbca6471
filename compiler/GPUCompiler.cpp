//===- GPUCompiler.cpp - from a layer to a kernel for a GPU -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "GPUCompiler.h"
#include "BuildModule.h"
#include "GPUCompilation.h"
#include "GPUCostModel.h"

#include "llvm/Support/raw_ostream.h"

#include <chrono>

using namespace convjit;

bool convjit::isGPU(const Target &target) {
  return llvm::Triple(target.triple).isNVPTX();
}

int64_t convjit::gpuProductsPerCycle(const std::string &gpu, DataType dtype,
                                     const std::string &plan) {
  const Chip &chip = chipOf(gpu);
  if (plan.find("schedule = mma") != std::string::npos)
    return chip.tensor * 2 / sizeOf(dtype);
  return dtype == DataType::F64 ? chip.doubles : chip.floats;
}

/// What a driver cannot know of PTX and a test's stand-in for one needs: LLVM
/// IR, as comments, which every driver skips.
static std::string asComments(const llvm::Module &module) {
  std::string text, result;
  llvm::raw_string_ostream(text) << module;
  llvm::SmallVector<llvm::StringRef> lines;
  llvm::StringRef(text).split(lines, '\n');
  for (llvm::StringRef line : lines)
    result += ("//convjit.ir " + line + "\n").str();
  return result;
}

bool convjit::ptxCarriesIR() {
  const char *value = secure_getenv("CONVJIT_PTX_WITH_IR");
  return value && llvm::StringRef(value) == "1";
}

Expected<GPUKernel> convjit::compileForGPU(const Convolution &conv,
                                           const CompileOptions &options) {
  using namespace std::chrono;
  auto start = steady_clock::now();
  Expected<TargetInfo> target = resolveGPU(options.target, conv);
  if (!target)
    return target.takeError();
  Leaky<GPUCompilation> compilation(new GPUCompilation(*target, options));
  compilation->module = buildModule(&compilation->context, conv);
  if (Status s = compilation->runUntil(Stage::NVVM, options.plan); !s)
    return s.takeError();
  Expected<Leaky<MachineUnit>> unit = compilation->toLLVM();
  if (!unit)
    return unit.takeError();
  // Generating code changes the module.
  std::string comments = ptxCarriesIR() ? asComments(*(*unit)->module) : "";
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
  Expected<TargetInfo> target = resolveGPU(options.target, conv);
  if (!target)
    return target.takeError();
  for (Stage other :
       {Stage::Tiles, Stage::Linalg, Stage::Vector, Stage::Asm, Stage::Object})
    if (stage == other)
      return badInput("the stage is one of CPUs; valid with --target=nvptx: "
                      "conv, general, phases, blocks, gpu, nvvm, llvm, ptx");
  Leaky<GPUCompilation> compilation(new GPUCompilation(*target, options));
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
