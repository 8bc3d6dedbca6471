//===- GPUKernelCache.cpp - GPU kernels found again -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "convjit/GPUKernelCache.h"
#include "CacheBackend.h"
#include "CachePlace.h"
#include "GPUEntry.h"
#include "Guard.h"

#include <algorithm>
#include <ctime>
#include <map>
#include <mutex>
#include <vector>

using namespace convjit;

struct GPUKernelCache::Impl {
  struct Entry {
    std::mutex mutex;
    std::shared_ptr<const GPUKernel> kernel;
    uint64_t lastUse = 0; ///< under the mutex of all entries
  };

  Impl(const KernelCacheOptions &place)
      : backend(place), capacity(place.maxKernels) {}

  Expected<std::shared_ptr<const GPUKernel>> get(const Convolution &conv,
                                                 const CompileOptions &options);
  Expected<GPUKernel> make(const std::string &key, const Convolution &conv,
                           const CompileOptions &options);
  std::optional<GPUKernel> load(const std::string &key);
  std::map<const GPUKernel *, uint64_t> lastUses();
  void evict();

  CacheBackend backend;
  const size_t capacity;
  std::mutex mutex;
  std::map<std::string, std::shared_ptr<Entry>> entries;
  uint64_t clock = 0;
};

GPUKernelCache::GPUKernelCache(const KernelCacheOptions &place)
    : impl(std::make_unique<Impl>(place)) {}
GPUKernelCache::~GPUKernelCache() = default;

/// All of a kernel on disk but its convolution.
std::optional<GPUKernel> GPUKernelCache::Impl::load(const std::string &key) {
  std::optional<StoredKernel> stored = backend.load(key);
  if (!stored)
    return std::nullopt;
  Expected<GPUKernel> kernel = decodeGPUKernel(stored->object);
  if (!kernel) {
    backend.countFailure(kernel.error());
    return std::nullopt;
  }
  kernel->plan = std::move(stored->plan);
  kernel->compileMilliseconds = stored->compileMilliseconds;
  return std::move(*kernel);
}

/// Not in memory: from disk, or compiled.
Expected<GPUKernel> GPUKernelCache::Impl::make(const std::string &key,
                                               const Convolution &conv,
                                               const CompileOptions &options) {
  if (std::optional<GPUKernel> found = load(key)) {
    backend.countFound();
    found->conv = conv;
    return std::move(*found);
  }
  Expected<const Compiler *> compiler = backend.compiler();
  if (!compiler)
    return compiler.takeError();
  Expected<GPUKernel> made = (*compiler)->compileGPU(conv, options);
  if (!made)
    return made.takeError();
  backend.countCompiled();
  if (backend.disk()) {
    StoredKernel kept;
    kept.key = key;
    kept.plan = made->plan;
    kept.object = encodeGPUKernel(*made);
    kept.packedWeightBytes = made->packedWeightBytes;
    kept.codeBytes = made->ptx.size();
    kept.compileMilliseconds = made->compileMilliseconds;
    kept.created = std::time(nullptr);
    backend.keep(kept);
  }
  return made;
}

/// The kernels in memory, and when each was last asked for, under any of its
/// keys. All entries are locked, this thread has none of them.
std::map<const GPUKernel *, uint64_t> GPUKernelCache::Impl::lastUses() {
  std::map<const GPUKernel *, uint64_t> uses;
  for (const auto &[key, entry] : entries)
    if (std::unique_lock made(entry->mutex, std::try_to_lock);
        made && entry->kernel) {
      uint64_t &last = uses[entry->kernel.get()];
      last = std::max(last, entry->lastUse);
    }
  return uses;
}

/// Forgets the kernels that were asked for the longest ago, as far as there are
/// too many. Those that are being made stay.
void GPUKernelCache::Impl::evict() {
  std::vector<std::shared_ptr<Entry>> released; // outlives the lock
  std::lock_guard lock(mutex);
  std::map<const GPUKernel *, uint64_t> uses = lastUses();
  for (; uses.size() > capacity;) {
    auto oldest =
        std::min_element(uses.begin(), uses.end(),
                         [](auto &a, auto &b) { return a.second < b.second; });
    std::erase_if(entries, [&](const auto &item) {
      std::unique_lock made(item.second->mutex, std::try_to_lock);
      if (!made || item.second->kernel.get() != oldest->first)
        return false;
      made.unlock();
      released.push_back(item.second);
      return true;
    });
    uses.erase(oldest);
  }
}

Expected<std::shared_ptr<const GPUKernel>>
GPUKernelCache::Impl::get(const Convolution &conv,
                          const CompileOptions &options) {
  // The key's text is made of valid convolutions only.
  if (Status valid = validate(conv); !valid)
    return valid.takeError();
  std::string key = cacheKey(conv, options);
  std::shared_ptr<Entry> entry;
  {
    std::lock_guard lock(mutex);
    std::shared_ptr<Entry> &known = entries[key];
    if (!known)
      known = std::make_shared<Entry>();
    entry = known;
    entry->lastUse = ++clock;
  }
  std::unique_lock lock(entry->mutex);
  if (entry->kernel)
    return entry->kernel;
  Expected<GPUKernel> made = make(key, conv, options);
  if (!made)
    return made.takeError();
  auto kernel = std::make_shared<const GPUKernel>(std::move(*made));
  entry->kernel = kernel;
  // Who asks next may say the plan: JAX's executables do.
  CompileOptions planned = options;
  planned.plan = kernel->plan;
  auto same = std::make_shared<Entry>();
  same->kernel = kernel;
  {
    std::lock_guard lockEntries(mutex);
    entries.try_emplace(cacheKey(conv, planned), std::move(same));
  }
  lock.unlock();
  if (capacity)
    evict();
  return kernel;
}

Expected<std::shared_ptr<const GPUKernel>>
GPUKernelCache::kernel(const Convolution &conv, const CompileOptions &options) {
  return guarded([&] { return impl->get(conv, options); });
}

KernelCacheStats GPUKernelCache::stats() const {
  KernelCacheStats stats = impl->backend.stats();
  std::lock_guard lock(impl->mutex);
  stats.kernels = impl->lastUses().size();
  return stats;
}

Status GPUKernelCache::diskStatus() const { return impl->backend.diskStatus(); }
