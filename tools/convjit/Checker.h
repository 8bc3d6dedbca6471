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
  /// For grad=weight the convolution of one image, and `forward` the layer.
  Convolution conv;
  std::optional<Convolution> forward;
  /// Numbers of images to run, as --batch takes them; empty for a few different
  /// ones, 0 among them.
  std::vector<int64_t> images;
  /// Nonzero: the chosen plan with some of its numbers replaced at random, so
  /// that tiles, row forms and chunks are met that the cost model rarely picks.
  uint64_t planSeed = 0;
  /// Images that the plan is made for (CompileOptions::images), whatever the
  /// numbers that run; without, those of a weight's gradient, else none.
  std::optional<int64_t> expected = std::nullopt;
  /// On a GPU: the schedule of that plan, where one is possible; empty for any.
  std::string schedule = {};
};

/// How long a case may take before it is taken for hanging: five minutes, and
/// for large layers many times what the slowest machine and build would need.
constexpr double leastSecondsAllowed = 300;
double secondsAllowed(const NamedCase &item, size_t threadCounts);

/// Case `index` of the sequence that `seed` starts. `gradients`: one that is a
/// weight's gradient. On a GPU every 64 neighbours in it have each schedule,
/// and the chosen one, with each type of layers and of both gradients.
NamedCase randomCase(uint64_t seed, int64_t index, bool onGPU = false,
                     bool gradients = false);

/// `plan` with some of its fields replaced; a convolution need not allow it.
std::string randomPlan(std::string plan, uint64_t seed);

/// What is being checked; where a process that dies was.
struct Position {
  int64_t images = 0;
  unsigned threads = 0;
  char check[24] = "compile";
  char plan[400] = ""; ///< of the case, where it is known
};

/// Position::check of what is only slower than it should be.
constexpr const char *conflictsCheck = "bank conflicts";

/// What was wrong first.
struct Failure {
  Position at;
  std::string detail;
};

/// Compiles cases and runs each kernel on exact-integer data, where it must
/// agree bit for bit, and on float data, within errorBound; with a protected
/// page right after, then right before, every buffer, then off the alignment of
/// vectors; with each number of threads; with several batches. Inputs must come
/// back unchanged, every output be written, and all runs give the same bits.
/// For grad=weight the whole gradient is held against its own reference too.
class Checker {
public:
  /// `position` is kept up to date while a case runs; it must outlive this.
  Checker(const Compiler &compiler, const CompileOptions &options,
          const std::vector<unsigned> &threads, Position &position);

  /// Nothing when all agrees. An error is one of the options or of memory.
  Expected<std::optional<Failure>> check(const NamedCase &item, uint64_t seed);

  /// A weight's gradient is checked image by image only: where kernels come
  /// ready made, there is none for several images at once.
  void skipKernelsOfAllImages() { kernelsOfAllImages = false; }

  /// Largest error on float data in the last case, as a part of its bound.
  bool kernelsOfAllImages = true;
  double worstError() const { return worst; }

private:
  Expected<Kernel> compileCase(const NamedCase &item);
  Expected<std::optional<Failure>> checkBatch(const Kernel &kernel,
                                              int64_t images, int64_t batch,
                                              uint64_t seed);
  Expected<std::optional<Failure>> checkWeightGradient(const Kernel &kernel,
                                                       const Convolution &layer,
                                                       int64_t images,
                                                       uint64_t seed);
  void enter(const char *check, int64_t images, unsigned threads);
  void setPlan(const std::string &plan);
  Failure fail(const std::string &detail) const;

  const Compiler &compiler;
  const CompileOptions &options;
  Position &position;
  std::vector<std::unique_ptr<Executor>> executors;
  double worst = 0;
  /// Counts batches of a case, to turn which threads meet which placement.
  size_t turn = 0;
};

} // namespace convjit::cli

#endif // CONVJIT_TOOLS_CHECKER_H
