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

#include <ctime>
#include <map>
#include <mutex>
#include <set>

using namespace convjit;

struct GPUKernelCache::Impl {
  struct Entry {
    std::mutex mutex;
    std::shared_ptr<const GPUKernel> kernel;
  };

  Impl(const KernelCacheOptions &place) : backend(place) {}

  Expected<std::shared_ptr<const GPUKernel>> get(const Convolution &conv,
                                                 const CompileOptions &options);
  Expected<GPUKernel> make(const std::string &key, const Convolution &conv,
                           const CompileOptions &options);
  std::optional<GPUKernel> load(const std::string &key);

  CacheBackend backend;
  std::mutex mutex;
  std::map<std::string, std::shared_ptr<Entry>> entries;
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
  }
  std::lock_guard lock(entry->mutex);
  if (entry->kernel)
    return entry->kernel;
  Expected<GPUKernel> made = make(key, conv, options);
  if (!made)
    return made.takeError();
  entry->kernel = std::make_shared<const GPUKernel>(std::move(*made));
  // Who asks next may say the plan: JAX's executables do.
  CompileOptions planned = options;
  planned.plan = entry->kernel->plan;
  auto same = std::make_shared<Entry>();
  same->kernel = entry->kernel;
  std::lock_guard lockEntries(mutex);
  entries.try_emplace(cacheKey(conv, planned), std::move(same));
  return entry->kernel;
}

Expected<std::shared_ptr<const GPUKernel>>
GPUKernelCache::kernel(const Convolution &conv, const CompileOptions &options) {
  return guarded([&] { return impl->get(conv, options); });
}

KernelCacheStats GPUKernelCache::stats() const {
  KernelCacheStats stats = impl->backend.stats();
  std::lock_guard lock(impl->mutex);
  std::set<const GPUKernel *> kernels;
  for (const auto &[key, entry] : impl->entries)
    if (std::unique_lock made(entry->mutex, std::try_to_lock);
        made && entry->kernel)
      kernels.insert(entry->kernel.get());
  stats.kernels = kernels.size();
  return stats;
}

Status GPUKernelCache::diskStatus() const { return impl->backend.diskStatus(); }
