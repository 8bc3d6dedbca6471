//===- Compilation.cpp - one module on its way through the passes -*- C++
//-*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Compilation.h"

#include "mlir/AsmParser/AsmParser.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/raw_ostream.h"

using namespace convjit;

/// MLIR's parser recurses as brackets nest, so that long texts are refused.
static constexpr size_t longestPlan = 1024;

Compilation::Compilation(const mlir::DialectRegistry &registry)
    : context(registry, mlir::MLIRContext::Threading::DISABLED),
      handler(&context, [this](mlir::Diagnostic &diagnostic) {
        if (diagnostic.getSeverity() == mlir::DiagnosticSeverity::Error)
          errors += (errors.empty() ? "" : "; ") + diagnostic.str();
      }) {
  context.loadAllAvailableDialects();
}

mlir::Attribute Compilation::parsePlan(const std::string &text,
                                       const char *mnemonic) {
  llvm::StringRef trimmed = llvm::StringRef(text).trim();
  // The parser would read other attributes too.
  if (!trimmed.starts_with("#" + std::string(mnemonic) + "<") ||
      trimmed.size() > longestPlan)
    return {};
  return mlir::parseAttribute(trimmed, &context);
}

Error Compilation::invalidPlan(const std::string &text, const char *mnemonic) {
  // Of the parser's messages those that our verifiers wrote; others speak of
  // C++ types.
  std::string why = takeErrors();
  if (why.find("::") != std::string::npos)
    why.clear();
  else if (!why.empty())
    why = " (" + why + ")";
  std::string shown =
      llvm::StringRef(text).trim().take_front(longestPlan).str();
  for (char &c : shown)
    c = llvm::isPrint(c) ? c : ' ';
  return badInput("plan='" + shown + "'" + why +
                  "; valid: the text that `convjit plan` prints, #" + mnemonic +
                  "<...>");
}

std::string Compilation::print(mlir::Operation *op) {
  std::string text;
  llvm::raw_string_ostream stream(text);
  op->print(stream);
  stream << "\n";
  return text;
}

conv::ConvolutionOp Compilation::convolution() {
  conv::ConvolutionOp found;
  module->walk([&](conv::ConvolutionOp op) { found = op; });
  return found;
}
