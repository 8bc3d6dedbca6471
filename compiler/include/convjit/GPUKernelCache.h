//===- GPUKernelCache.h - GPU kernels found again -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef CONVJIT_GPUKERNELCACHE_H
#define CONVJIT_GPUKERNELCACHE_H

#include "convjit/KernelCache.h"

namespace convjit {

/// Kernels for GPUs, each compiled once: they are then found in memory, and by
/// later processes on disk, in the directory that
/// KernelCache has and by its rules. The driver keeps, elsewhere, what it makes
/// of their PTX. Thread-safe: who asks for a kernel that another thread is
/// making waits for it, and nobody else does.
class GPUKernelCache {
public:
  /// Of `place` what says whether and where kernels are kept on disk, and how
  /// many in memory; those that leave live on with whoever holds them.
  explicit GPUKernelCache(const KernelCacheOptions &place = {});
  ~GPUKernelCache();

  /// `options.target` names a GPU; its `cpu` says which, sm_80 without. Does
  /// not start a compiler for what is found. Errors, which are not remembered:
  /// those of Compiler::compileGPU.
  Expected<std::shared_ptr<const GPUKernel>>
  kernel(const Convolution &conv, const CompileOptions &options);

  KernelCacheStats stats() const;
  /// Success, or why there is nothing on disk.
  Status diskStatus() const;

private:
  struct Impl;
  std::unique_ptr<Impl> impl;
};

} // namespace convjit

#endif // CONVJIT_GPUKERNELCACHE_H
