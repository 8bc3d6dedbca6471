//===- CacheBackend.h - what caches of kernels share -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef CONVJIT_COMPILER_CACHEBACKEND_H
#define CONVJIT_COMPILER_CACHEBACKEND_H

#include "DiskStore.h"
#include "convjit/KernelCache.h"
#include "convjit/LazyCompiler.h"

#include <mutex>

namespace convjit {

/// Behind a cache in memory: the kernels on disk, a compiler once one is
/// needed, and counts of what was done. Thread-safe.
class CacheBackend {
public:
  explicit CacheBackend(const KernelCacheOptions &options);

  /// The kernels on disk, or null, and diskStatus says why.
  DiskStore *disk() const { return store.get(); }
  const Status &diskStatus() const { return status; }

  /// What is on disk under the key. What goes wrong is counted.
  std::optional<StoredKernel> load(const std::string &key);
  /// Keeps what was compiled, where there is a disk. What goes wrong is
  /// counted.
  void keep(const StoredKernel &kernel);

  /// Starts one where there is none yet.
  Expected<const Compiler *> compiler() { return lazy.get(); }

  void countFound();
  void countCompiled();
  void countFailure(const Error &error);
  /// All but the kernels in memory.
  KernelCacheStats stats() const;

private:
  std::unique_ptr<DiskStore> store;
  Status status;

  LazyCompiler lazy;

  mutable std::mutex counting;
  KernelCacheStats counts;
};

} // namespace convjit

#endif // CONVJIT_COMPILER_CACHEBACKEND_H
