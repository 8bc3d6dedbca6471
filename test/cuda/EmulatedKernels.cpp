//===- EmulatedKernels.cpp - a driver whose kernels run -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The other half of libcuda-emulated.so: PTX carries the LLVM IR that it was
// made from (CONVJIT_PTX_WITH_IR=1), and the emulator runs that. What it finds
// wrong with a kernel is the launch's error.
//
//===----------------------------------------------------------------------===//

#include "Emulator.h"
#include "FakeDriver.h"

#include "llvm/AsmParser/Parser.h"
#include "llvm/IR/LLVMContext.h"
#include "llvm/IR/Module.h"
#include "llvm/Support/SourceMgr.h"

#include <map>
#include <optional>
#include <sstream>

using namespace convjit;

namespace {

/// A module, and whether each parameter of an entry is a pointer.
struct Compiled {
  std::optional<emulator::Program> program;
  std::map<std::string, std::vector<bool>> pointers;
  std::string error;
};

std::string irOf(const std::string &image) {
  constexpr std::string_view mark = "//convjit.ir ";
  std::string text;
  std::istringstream lines(image);
  for (std::string line; std::getline(lines, line);)
    if (line.starts_with(mark))
      text += line.substr(mark.size()) + "\n";
  return text;
}

Compiled compile(const std::string &image) {
  Compiled made;
  std::string text = irOf(image);
  if (text.empty()) {
    made.error = "the PTX carries no LLVM IR; valid: PTX compiled with "
                 "CONVJIT_PTX_WITH_IR=1";
    return made;
  }
  llvm::LLVMContext context;
  llvm::SMDiagnostic diagnostic;
  std::unique_ptr<llvm::Module> module =
      llvm::parseAssemblyString(text, diagnostic, context);
  if (!module) {
    made.error =
        "LLVM IR that does not parse: " + diagnostic.getMessage().str();
    return made;
  }
  for (const llvm::Function &function : *module)
    for (const llvm::Argument &argument : function.args())
      made.pointers[function.getName().str()].push_back(
          argument.getType()->isPointerTy());
  auto program = emulator::Program::compile(*module);
  if (program)
    made.program.emplace(std::move(*program));
  else
    made.error = program.error().message;
  return made;
}

/// The driver's lock is held.
Compiled &compiledOf(const std::string &image) {
  static auto *known = new std::map<std::string, Compiled>;
  auto at = known->find(image);
  if (at == known->end())
    at = known->emplace(image, compile(image)).first;
  return at->second;
}

std::string run(const fake::Launch &from) {
  Compiled &module = compiledOf(from.image);
  if (!module.error.empty())
    return module.error;
  emulator::Launch launch;
  launch.entry = from.entry;
  launch.grid.x = from.grid;
  launch.block.x = from.block;
  launch.dynamicSharedBytes = from.sharedBytes;
  static uint64_t launches = 0;
  launch.seed = ++launches;
  const std::vector<bool> &pointers = module.pointers[from.entry];
  // One buffer for each allocation, of which several pointers may be.
  std::map<uint64_t, size_t> buffers;
  for (size_t i = 0; i < from.parameterCount; ++i) {
    uint64_t value = from.parameters[i];
    if (i >= pointers.size() || !pointers[i] || value == 0) {
      launch.arguments.push_back(static_cast<int64_t>(value));
      continue;
    }
    size_t bytes = 0;
    if (!from.memory(value, &bytes))
      return std::string(from.entry) + ": parameter " + std::to_string(i) +
             " is no device memory";
    uint64_t base = from.allocation(value);
    auto [at, isNew] = buffers.emplace(base, launch.buffers.size());
    if (isNew) {
      void *data = from.memory(base, &bytes);
      launch.buffers.push_back({data, bytes,
                                emulator::Buffer::Access::ReadWrite,
                                "parameter " + std::to_string(i)});
    }
    launch.arguments.push_back(
        emulator::Pointer{at->second, static_cast<int64_t>(value - base)});
  }
  Expected<emulator::Report> report = module.program->launch(launch);
  if (!report)
    return report.error().message;
  std::string findings = report->text();
  if (findings.empty() && !report->complete)
    findings = "did not come to an end";
  return findings.empty() ? "" : std::string(from.entry) + ": " + findings;
}

[[maybe_unused]] const bool set = (fake::setFirstKernel(run), true);

} // namespace
