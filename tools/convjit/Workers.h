//===- Workers.h - cases in processes of their own -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef CONVJIT_TOOLS_WORKERS_H
#define CONVJIT_TOOLS_WORKERS_H

#include "Checker.h"

#include <functional>

namespace convjit::cli {

/// What a worker says about one case.
struct Outcome {
  int64_t index = 0;
  std::string plan; ///< empty where it is not known
  double worstError = 0;
  std::optional<Failure> failure;
  /// Of a device, as DeviceChecker names them.
  std::vector<std::string> kernels;
};

/// Cases to spread over worker processes. A kernel that faults, or a compiler
/// that aborts, ends its worker only: that case failed, and a new worker goes
/// on with the next. A worker that takes too long over a case is killed, to the
/// same effect.
struct Work {
  int64_t cases = 0;
  unsigned jobs = 1;
  uint64_t seed = 0;
  std::vector<unsigned> threads;
  CompileOptions options;
  /// What kernels run on, as --device names it; empty for this CPU.
  std::string device;
  /// Seconds for each case; 0 for secondsAllowed.
  double timeLimit = 0;
  std::function<NamedCase(int64_t index)> makeCase;
  /// Called in this process, in the order of completion.
  std::function<void(const Outcome &)> done;
};

/// Runs all cases; the first error of the options or of memory ends it. The
/// calling process must have one thread only.
Status runCases(const Work &work);

} // namespace convjit::cli

#endif // CONVJIT_TOOLS_WORKERS_H
