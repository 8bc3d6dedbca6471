//===- Guard.cpp - LLVM's ways of ending a process, as errors -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Guard.h"

#include "llvm/Support/ErrorHandling.h"
#include "llvm/Support/PrettyStackTrace.h"

#include <cstdint>
#include <cstdio>
#include <mutex>
#include <sys/resource.h>
#include <unistd.h>

using namespace convjit;

void convjit::installErrorHandlers() {
  static std::once_flag once;
  std::call_once(once, [] {
    llvm::install_bad_alloc_error_handler(
        [](void *, const char *, bool) { throw std::bad_alloc(); });
    llvm::install_fatal_error_handler([](void *, const char *reason, bool) {
      throw FatalError{reason ? reason : "fatal error"};
    });
  });
}

ThreadState::ThreadState() : prettyStack(llvm::SavePrettyStackState()) {}
void ThreadState::restore() const {
  llvm::RestorePrettyStackState(prettyStack);
}

/// Bytes of address space that this process has; 0 when it cannot be known.
static uint64_t addressSpaceInUse() {
  std::FILE *file = std::fopen("/proc/self/statm", "re");
  if (!file)
    return 0;
  unsigned long long pages = 0;
  int read = std::fscanf(file, "%llu", &pages);
  std::fclose(file);
  return read == 1 ? pages * static_cast<uint64_t>(sysconf(_SC_PAGESIZE)) : 0;
}

Status convjit::enoughMemory() {
  // No layer of bench/layers takes 10 MiB.
  constexpr uint64_t needed = uint64_t(32) << 20;
  rlimit limit;
  if (getrlimit(RLIMIT_AS, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY)
    return {};
  uint64_t used = addressSpaceInUse();
  if (limit.rlim_cur >= used && limit.rlim_cur - used >= needed)
    return {};
  uint64_t left = limit.rlim_cur > used ? limit.rlim_cur - used : 0;
  return environmentError(
      "not enough memory to compile: the limit on this process (ulimit -v) "
      "leaves " +
      std::to_string(left >> 20) + " MiB; valid: at least " +
      std::to_string(needed >> 20));
}
