//===- Checker.h - a kernel held against the reference -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef CONVJIT_TOOLS_CHECKER_H
#define CONVJIT_TOOLS_CHECKER_H

#include "RandomConvolution.h"
#include "convjit/Compiler.h"

#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace convjit::cli {

/// A convolution to check, by a text that names it again.
struct NamedCase {
  std::string text;
  Convolution conv;
  /// Batches to run; empty for a few different ones, 0 among them.
  std::vector<int64_t> batches;
  /// Nonzero: the chosen plan with some of its numbers replaced at random, so
  /// that tiles, row forms and chunks are met that the cost model rarely picks.
  uint64_t planSeed = 0;
};

/// Case `index` of the sequence that `seed` starts.
NamedCase randomCase(uint64_t seed, int64_t index);

/// What was wrong first.
struct Failure {
  int64_t batch = 0;
  unsigned threads = 1;
  std::string check, detail;
};

/// Compiles cases and runs each kernel on exact-integer data, where it must
/// agree bit for bit, and on float data, within errorBound; with a protected
/// page right after, then right before, every buffer; off natural alignment;
/// with each number of threads; with several batches. Inputs must come back
/// unchanged and every output be written.
class Checker {
public:
  Checker(const Compiler &compiler, const CompileOptions &options,
          const std::vector<unsigned> &threads);

  /// Nothing when all agrees. An error is one of compilation or memory.
  Expected<std::optional<Failure>> check(const NamedCase &item, uint64_t seed);

  /// Largest error on float data so far, as a part of its bound.
  double worstError() const { return worst; }
  const std::string &lastPlan() const { return plan; }

private:
  Expected<Kernel> compileCase(const NamedCase &item);
  Expected<std::optional<Failure>> checkBatch(const Kernel &kernel,
                                              int64_t batch, uint64_t seed);

  const Compiler &compiler;
  const CompileOptions &options;
  std::vector<std::unique_ptr<Executor>> executors;
  double worst = 0;
  std::string plan;
};

} // namespace convjit::cli

#endif // CONVJIT_TOOLS_CHECKER_H
