//===- EmulatedDevice.cpp - --device=emulated -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

// Linked into the command line where tests are built; registers itself.
//
//===----------------------------------------------------------------------===//

#include "Emulator.h"

#include "../../tools/convjit/Device.h"
#include "llvm/AsmParser/Parser.h"
#include "llvm/IR/LLVMContext.h"
#include "llvm/IR/Module.h"
#include "llvm/Support/SourceMgr.h"

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <iostream>
#include <optional>

using namespace convjit;
using emulator::Buffer;

namespace {

enum class Measures {
  Nothing,
  Conflicts, ///< bank conflicts of the main loop are an error, too
  Steps      ///< says on standard error what a step of the main loop takes
};

class EmulatedDevice final : public cli::Device {
public:
  explicit EmulatedDevice(Measures measures) : measures(measures) {}

  std::string description() const override { return "the emulator"; }
  Status completeTarget(Target &target) const override { return {}; }
  Expected<std::vector<double>> time(const cli::DeviceTensors &,
                                     double) override {
    return badInput("--device=emulated: has no time; valid: cpu, cuda:0, "
                    "cuda:1, ...");
  }

  Status load(const Compiler &compiler, const GPUKernel &toLoad,
              const CompileOptions &options) override {
    kernel = toLoad;
    Expected<std::string> text =
        compiler.emit(kernel.conv, Stage::LLVM, options);
    if (!text)
      return text.takeError();
    llvm::LLVMContext context;
    llvm::SMDiagnostic diagnostic;
    std::unique_ptr<llvm::Module> module =
        llvm::parseAssemblyString(*text, diagnostic, context);
    if (!module)
      return internalError("LLVM IR that does not parse: " +
                           diagnostic.getMessage().str());
    Expected<emulator::Program> compiled = emulator::Program::compile(
        *module, {.measure = measures != Measures::Nothing});
    if (!compiled)
      return compiled.takeError();
    program.emplace(std::move(*compiled));
    return {};
  }

  Status run(cli::DeviceTensors &tensors) override {
    if (Status s = checkImages(kernel, tensors.batch); !s)
      return s;
    found.clear();
    packed.assign(kernel.packedWeightBytes, std::byte(0xff));
    if (Status s = launch(kernel.pack, tensors); !s)
      return s;
    scratch.assign(scratchBytes(kernel, tensors.batch), std::byte(0xff));
    // What is not written comes back as NaN.
    std::memset(tensors.output.data(), 0xff, tensors.output.size());
    for (const GPULaunch &step : kernel.run)
      if (Status s = launch(step, tensors); !s)
        return s;
    return {};
  }

  std::string bankConflicts() const override { return found; }

private:
  Status launch(const GPULaunch &step, cli::DeviceTensors &tensors) {
    int64_t blocks = gridBlocks(step, tensors.batch, kernel.conv.batchGroups);
    if (blocks == 0)
      return {};
    emulator::Launch launch;
    launch.entry = step.entry;
    launch.grid.x = static_cast<uint32_t>(blocks);
    launch.block.x = static_cast<uint32_t>(step.threads);
    launch.dynamicSharedBytes = static_cast<size_t>(step.sharedBytes);
    launch.seed = ++launches;
    for (GPUParameter parameter : step.parameters) {
      if (parameter == GPUParameter::Batch) {
        launch.arguments.push_back(tensors.batch);
        continue;
      }
      launch.arguments.push_back(emulator::Pointer{launch.buffers.size(), 0});
      launch.buffers.push_back(buffer(parameter, step, tensors));
    }
    Expected<emulator::Report> report = program->launch(launch);
    if (!report)
      return Error{ErrorKind::CheckFailed, report.error().message};
    if (!report->findings.empty() || !report->complete)
      return Error{ErrorKind::CheckFailed, step.entry + ": " + report->text()};
    if (measures == Measures::Steps)
      std::cerr << steps(step.entry, *report);
    if (measures == Measures::Conflicts)
      if (std::string why = conflicts(*report); !why.empty())
        found += step.entry + ": " + why;
    return {};
  }

  /// The depth of the loops that go through shared memory; 0 without any.
  static unsigned mainLoopOf(const emulator::Report &report) {
    unsigned deepest = 0;
    for (const emulator::Profile &profile : report.profiles)
      if (profile.wavefronts)
        deepest = std::max(deepest, profile.loopDepth);
    return deepest;
  }

  /// What the main loop did, by step of a block; of an entry without one, by
  /// block. Empty where there is no shared memory.
  static std::string steps(const std::string &entry,
                           const emulator::Report &report) {
    unsigned depth = mainLoopOf(report);
    // Each step has one barrier.
    uint64_t barriers = 0, passes = 0, fewestPasses = 0, sectors = 0,
             fewestSectors = 0;
    for (const emulator::Profile &profile : report.profiles) {
      if (profile.loopDepth != depth)
        continue;
      if (profile.kind == "barrier")
        barriers += profile.threads;
      passes += profile.wavefronts;
      fewestPasses += profile.idealWavefronts;
      sectors += profile.sectors;
      fewestSectors += profile.idealSectors;
    }
    if (passes == 0)
      return "";
    double all = depth ? static_cast<double>(barriers) /
                             static_cast<double>(report.threads / report.blocks)
                       : static_cast<double>(report.blocks);
    std::string steps =
        depth ? std::to_string(static_cast<int64_t>(all)) + " steps of " : "";
    char text[400];
    auto each = [&](uint64_t count) {
      return static_cast<double>(count) / all;
    };
    std::snprintf(text, sizeof text,
                  "%s: %s%llu blocks, of each %.6g passes of shared "
                  "memory (%.6g would do), %.6g sectors of global memory (%.6g "
                  "would do)\n",
                  entry.c_str(), steps.c_str(),
                  static_cast<unsigned long long>(report.blocks), each(passes),
                  each(fewestPasses), each(sectors), each(fewestSectors));
    return text;
  }

  /// Accesses to shared memory in the innermost loops, or anywhere in an entry
  /// without a loop that has some, that take more passes through the banks than
  /// they must.
  static std::string conflicts(const emulator::Report &report) {
    unsigned deepest = mainLoopOf(report);
    std::string text;
    for (const emulator::Profile &profile : report.profiles)
      if (profile.loopDepth == deepest &&
          profile.wavefronts > profile.idealWavefronts)
        text += "bank conflicts: " + std::to_string(profile.wavefronts) +
                " passes where " + std::to_string(profile.idealWavefronts) +
                " would do: " + profile.instruction + "\n";
    return text;
  }

  Buffer buffer(GPUParameter parameter, const GPULaunch &step,
                cli::DeviceTensors &tensors) {
    auto of = [](std::vector<std::byte> &bytes, Buffer::Access access,
                 const char *name) {
      return Buffer{bytes.data(), bytes.size(), access, name};
    };
    using enum Buffer::Access;
    switch (parameter) {
    case GPUParameter::Input:
      return of(tensors.input, Read, "input");
    case GPUParameter::Filter:
      return of(tensors.weights, Read, "filter");
    case GPUParameter::Packed:
      return of(packed, &step == &kernel.pack ? Write : Read, "packed");
    case GPUParameter::Bias:
      return of(tensors.bias, Read, "bias");
    case GPUParameter::Residual:
      return of(tensors.residual, Read, "residual");
    case GPUParameter::Scratch:
      return of(scratch, ReadWrite, "scratch");
    case GPUParameter::Output:
    case GPUParameter::Batch:
      break;
    }
    return of(tensors.output, Write, "output");
  }

  Measures measures;
  GPUKernel kernel;
  std::optional<emulator::Program> program;
  std::vector<std::byte> packed, scratch;
  /// Bank conflicts of the last run.
  std::string found;
  /// Each launch has a schedule of its own.
  uint64_t launches = 0;
};

[[maybe_unused]] const bool registered = cli::registerDevice(
    "emulated",
    {[](const std::string &name) -> Status {
       if (name == "emulated" || name == "emulated:conflicts" ||
           name == "emulated:steps")
         return {};
       return badInput("--device=" + name +
                       ": valid: emulated, emulated:conflicts, "
                       "emulated:steps");
     },
     [](const std::string &name) -> Expected<std::unique_ptr<cli::Device>> {
       Measures measures = name == "emulated:conflicts" ? Measures::Conflicts
                           : name == "emulated:steps"   ? Measures::Steps
                                                        : Measures::Nothing;
       return std::unique_ptr<cli::Device>(new EmulatedDevice(measures));
     }});

} // namespace
