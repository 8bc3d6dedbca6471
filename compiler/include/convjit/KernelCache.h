//===- KernelCache.h - kernels found again -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// A kernel is compiled once: it is then found in memory, and by later processes
// on disk. docs/cache.md has the figures and the whole story.
//
//===----------------------------------------------------------------------===//

#ifndef CONVJIT_KERNELCACHE_H
#define CONVJIT_KERNELCACHE_H

#include "convjit/Compiler.h"
#include "convjit/KernelProvider.h"

#include <cstdint>

namespace convjit {

struct KernelCacheOptions {
  /// Target and plan of every kernel of this cache.
  CompileOptions compile;
  /// Whether to look on disk. The environment's CONVJIT_CACHE=off wins.
  bool disk = true;
  /// An absolute path, made where it is missing, that must be this user's alone
  /// (mode 0700). Empty: CONVJIT_CACHE_DIR, or convjit below XDG_CACHE_HOME or
  /// ~/.cache.
  std::string directory;
  /// What the directory may hold; the least recently used kernels go. 0:
  /// CONVJIT_CACHE_SIZE (bytes, or with K, M, G after it), or 1 GiB.
  uint64_t maxBytes = 0;
  /// Kernels kept in memory, the least recently used go; 0 for all.
  size_t maxKernels = 0;
};

/// Reads "1000000", "512K", "300M" or "2G".
Expected<uint64_t> parseCacheSize(const std::string &text);

/// What a cache has done since it was made.
struct KernelCacheStats {
  size_t kernels = 0;        ///< in memory now
  uint64_t compiled = 0;     ///< by this cache
  uint64_t found = 0;        ///< on disk
  uint64_t diskFailures = 0; ///< entries refused, reads and writes that failed
  std::string lastFailure;   ///< the last of these, or empty
};

/// A kernel on disk.
struct CachedKernel {
  std::string name; ///< of its file
  uint64_t bytes = 0;
  double lastUse = 0; ///< seconds since 1970
  /// Why it will not be used, or empty. Then what follows is empty too.
  std::string damage;
  std::string layer, target, compiler, plan;
  double created = 0; ///< seconds since 1970
  double compileMilliseconds = 0;
  size_t codeBytes = 0;
};

struct CacheRemoval {
  size_t kernels = 0;
  uint64_t bytes = 0;
};

/// Thread-safe. Kernels outlive the cache.
class KernelCache final : public KernelProvider {
public:
  /// Does not start the compiler: the first kernel that is found nowhere does.
  /// A disk that cannot be used is no error, see diskStatus. Errors: options
  /// that name no CPU, feature or triple.
  static Expected<std::unique_ptr<KernelCache>>
  create(KernelCacheOptions options = {});
  ~KernelCache() override;

  /// From memory (below a microsecond), from disk (below a millisecond), or
  /// compiled on this thread. Threads that ask for a kernel that is being made
  /// wait for it. What goes wrong with the disk costs time, never a result.
  /// Errors: those of Compiler::compile; they are not remembered.
  Expected<std::shared_ptr<const Kernel>>
  kernel(const Convolution &conv) override {
    return kernel(conv, 0);
  }
  /// A kernel for so many images of the output in a batch group, where the
  /// batch is not outermost; 0: those of the options.
  Expected<std::shared_ptr<const Kernel>> kernel(const Convolution &conv,
                                                 int64_t images);

  /// The kernel if it is in memory, else null: neither waits nor compiles, so a
  /// caller may run on with something else while another thread makes it.
  std::shared_ptr<const Kernel> find(const Convolution &conv,
                                     int64_t images = 0);

  /// Forgets the kernels in memory; those in use live on.
  void clearMemory();

  KernelCacheStats stats() const;

  /// Success, or why there is nothing on disk: turned off, no directory, or one
  /// that is not this user's alone.
  Status diskStatus() const;
  /// Of the kernels on disk; empty without.
  const std::string &directory() const;
  uint64_t maxBytes() const;

  /// Kernels on disk, latest used first. Errors: those of diskStatus, a
  /// directory that cannot be read.
  Expected<std::vector<CachedKernel>> onDisk() const;
  Expected<CacheRemoval> clearDisk();
  /// Keeps `maxBytes`, and removes what killed processes left.
  Expected<CacheRemoval> collectDisk(uint64_t maxBytes);

private:
  struct Impl;
  explicit KernelCache(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl;
};

} // namespace convjit

#endif // CONVJIT_KERNELCACHE_H
