//===- Compilation.h - one module on its way through the passes -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef CONVJIT_COMPILER_COMPILATION_H
#define CONVJIT_COMPILER_COMPILATION_H

#include "ConvDialect.h"
#include "Guard.h"

#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/Diagnostics.h"
#include "mlir/Pass/PassManager.h"

namespace convjit {

/// One compilation: a context of its own, so that any number can run at once,
/// and the module as it moves through a pipeline.
class Compilation {
public:
  explicit Compilation(const mlir::DialectRegistry &registry);

  /// The plan that a user gave as text, an attribute written `#MNEMONIC<...>`.
  template <typename PlanAttr>
  Expected<PlanAttr> readPlan(const std::string &text, const char *mnemonic) {
    auto plan = llvm::dyn_cast_or_null<PlanAttr>(parsePlan(text, mnemonic));
    if (!plan)
      return invalidPlan(text, mnemonic);
    return plan;
  }

  /// Runs the passes that `builder` adds to its argument.
  template <typename Builder> Status run(Builder builder) {
    Leaky<mlir::PassManager> pm(new mlir::PassManager(&context));
    pm->enableVerifier(false);
    builder(*pm);
    if (mlir::failed(pm->run(*module)))
      return internalError("compilation failed: " + takeErrors());
    return {};
  }

  static std::string print(mlir::Operation *op);
  std::string takeErrors() { return std::exchange(errors, {}); }
  conv::ConvolutionOp convolution();

  mlir::MLIRContext context;
  std::string errors;
  mlir::ScopedDiagnosticHandler handler;
  mlir::OwningOpRef<mlir::ModuleOp> module;

private:
  mlir::Attribute parsePlan(const std::string &text, const char *mnemonic);
  Error invalidPlan(const std::string &text, const char *mnemonic);
};

} // namespace convjit

#endif // CONVJIT_COMPILER_COMPILATION_H
