//===- Testing.h - kernels as text -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef CONVJIT_TEST_EMULATOR_TESTING_H
#define CONVJIT_TEST_EMULATOR_TESTING_H

#include "Emulator.h"

#include "llvm/AsmParser/Parser.h"
#include "llvm/IR/LLVMContext.h"
#include "llvm/IR/Module.h"
#include "llvm/Support/SourceMgr.h"

#include <gtest/gtest.h>
#include <optional>

namespace convjit::emulator {

/// Compiles LLVM IR text; null after a test failure. Intrinsics need no
/// declarations if `text` has them.
inline std::optional<Program> compileText(const std::string &text,
                                          bool measure = false) {
  llvm::LLVMContext context;
  llvm::SMDiagnostic diagnostic;
  std::string whole = "target triple = \"nvptx64-nvidia-cuda\"\n" + text;
  std::unique_ptr<llvm::Module> module =
      llvm::parseAssemblyString(whole, diagnostic, context);
  if (!module) {
    std::string message;
    llvm::raw_string_ostream stream(message);
    diagnostic.print("kernel", stream);
    ADD_FAILURE() << message;
    return std::nullopt;
  }
  Expected<Program> program = Program::compile(*module, {measure});
  if (!program) {
    ADD_FAILURE() << program.error().message;
    return std::nullopt;
  }
  return std::move(*program);
}

/// A launch of a kernel `k` whose arguments are pointers to whole vectors.
template <typename T>
Buffer bufferOf(std::vector<T> &values, Buffer::Access access,
                std::string name) {
  return {values.data(), values.size() * sizeof(T), access, std::move(name)};
}

/// Runs and expects that the launch itself is accepted.
inline Report run(Program &program, const Launch &launch) {
  Expected<Report> report = program.launch(launch);
  if (!report) {
    ADD_FAILURE() << report.error().message;
    return {};
  }
  return std::move(*report);
}

/// How many findings are of a kind.
inline int countOf(const Report &report, FindingKind kind) {
  int count = 0;
  for (const Finding &finding : report.findings)
    count += finding.kind == kind;
  return count;
}

} // namespace convjit::emulator

#endif // CONVJIT_TEST_EMULATOR_TESTING_H
