//===- GPUKernelCache.h - GPU kernels found again -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef CONVJIT_GPUKERNELCACHE_H
#define CONVJIT_GPUKERNELCACHE_H

#include "convjit/Compiler.h"

#include <map>
#include <mutex>

namespace convjit {

/// Kernels for GPUs in memory, each compiled once, for a process's life. The
/// driver keeps on disk what it makes of their PTX; the PTX itself is not kept.
/// Thread-safe: who asks for a kernel that another thread is compiling waits
/// for it, and nobody else does.
class GPUKernelCache {
public:
  /// `options.target.cpu` says which GPU; sm_80 without. Errors, which are not
  /// remembered: those of Compiler::compileGPU.
  Expected<std::shared_ptr<const GPUKernel>>
  kernel(const Compiler &compiler, const Convolution &conv,
         const CompileOptions &options);

  /// Kernels compiled so far.
  int64_t compilations() const;

private:
  struct Entry {
    std::mutex mutex;
    std::shared_ptr<const GPUKernel> kernel;
  };
  mutable std::mutex mutex;
  std::map<std::string, std::shared_ptr<Entry>> entries;
  int64_t compiled = 0;
};

} // namespace convjit

#endif // CONVJIT_GPUKERNELCACHE_H
