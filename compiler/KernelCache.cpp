//===- KernelCache.cpp - kernels found again -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "convjit/KernelCache.h"
#include "CacheBackend.h"
#include "CachePlace.h"
#include "Guard.h"
#include "KernelTable.h"
#include "Loader.h"
#include "TargetInfo.h"

#include <ctime>

using namespace convjit;

struct KernelCache::Impl {
  Impl(KernelCacheOptions given)
      : options(std::move(given)), table(options.maxKernels), backend(options) {
  }

  /// Kernels that do not depend on the number of images are one.
  KernelKey keyOf(const Convolution &conv, int64_t images) const {
    return {conv,
            plannedImages(conv, images ? images : options.compile.images)};
  }
  Expected<Kernel> make(KernelKey key);
  Expected<Kernel> compile(const Convolution &conv,
                           const CompileOptions &options,
                           const std::string &key);
  Expected<DiskStore *> disk() const {
    if (!backend.disk())
      return backend.diskStatus().error();
    return backend.disk();
  }

  const KernelCacheOptions options;
  KernelTable table;
  CacheBackend backend;
};

KernelCache::KernelCache(std::unique_ptr<Impl> impl) : impl(std::move(impl)) {}
KernelCache::~KernelCache() = default;

Expected<std::unique_ptr<KernelCache>>
KernelCache::create(KernelCacheOptions options) {
  installErrorHandlers();
  const Target &target = options.compile.target;
  // The host is known to be good, and finding out would start LLVM.
  if (!target.cpu.empty() || !target.features.empty() || !target.triple.empty())
    if (Expected<TargetInfo> info = resolveTarget(target); !info)
      return info.takeError();
  return std::unique_ptr<KernelCache>(
      new KernelCache(std::make_unique<Impl>(std::move(options))));
}

/// Not in memory: from disk, or compiled.
Expected<Kernel> KernelCache::Impl::make(KernelKey asked) {
  const Convolution &conv = asked.conv;
  // The key's text is made of valid convolutions only.
  if (Status valid = validate(conv); !valid)
    return valid.takeError();
  CompileOptions own = options.compile;
  own.images = asked.images;
  std::string key;
  if (backend.disk()) {
    key = cacheKey(conv, own);
    if (std::optional<StoredKernel> from = backend.load(key)) {
      Expected<Kernel> kernel = loadKernel(
          conv, {std::move(from->object), std::move(from->plan),
                 static_cast<size_t>(from->packedWeightBytes),
                 static_cast<size_t>(from->scratchBytes), from->tasksPerImage,
                 from->pieces, static_cast<size_t>(from->codeBytes),
                 from->compileMilliseconds});
      if (kernel) {
        backend.countFound();
        return kernel;
      }
      backend.countFailure(kernel.error());
    }
  }
  return compile(conv, own, key);
}

Expected<Kernel> KernelCache::Impl::compile(const Convolution &conv,
                                            const CompileOptions &options,
                                            const std::string &key) {
  Expected<const Compiler *> compiler = backend.compiler();
  if (!compiler)
    return compiler.takeError();
  Expected<CompiledKernel> compiled = (*compiler)->compileObject(conv, options);
  if (!compiled)
    return compiled.takeError();
  if (backend.disk()) {
    StoredKernel kept;
    kept.key = key;
    kept.plan = compiled->plan;
    kept.object = compiled->object;
    kept.packedWeightBytes = compiled->packedWeightBytes;
    kept.scratchBytes = compiled->scratchBytes;
    kept.tasksPerImage = compiled->tasksPerImage;
    kept.pieces = compiled->pieces;
    kept.codeBytes = compiled->codeBytes;
    kept.compileMilliseconds = compiled->compileMilliseconds;
    kept.created = std::time(nullptr);
    backend.keep(kept);
  }
  backend.countCompiled();
  return loadKernel(conv, std::move(*compiled));
}

Expected<std::shared_ptr<const Kernel>>
KernelCache::kernel(const Convolution &conv, int64_t images) {
  return guarded([&] {
    KernelKey key = impl->keyOf(conv, images);
    return impl->table.get(
        key, [&](const Convolution &) { return impl->make(key); });
  });
}

std::shared_ptr<const Kernel> KernelCache::find(const Convolution &conv,
                                                int64_t images) {
  return impl->table.find(impl->keyOf(conv, images));
}

void KernelCache::clearMemory() { impl->table.clear(); }

KernelCacheStats KernelCache::stats() const {
  KernelCacheStats stats = impl->backend.stats();
  stats.kernels = impl->table.size();
  return stats;
}

Status KernelCache::diskStatus() const { return impl->backend.diskStatus(); }

const std::string &KernelCache::directory() const {
  static const std::string none;
  const DiskStore *disk = impl->backend.disk();
  return disk ? disk->directory() : none;
}

uint64_t KernelCache::maxBytes() const {
  const DiskStore *disk = impl->backend.disk();
  return disk ? disk->maxBytes() : 0;
}

Expected<std::vector<CachedKernel>> KernelCache::onDisk() const {
  Expected<DiskStore *> store = impl->disk();
  if (!store)
    return store.takeError();
  Expected<std::vector<StoredFile>> files = (*store)->list();
  if (!files)
    return files.takeError();
  std::vector<CachedKernel> kernels;
  for (const StoredFile &file : *files) {
    CachedKernel kernel;
    kernel.name = file.name;
    kernel.bytes = file.bytes;
    kernel.lastUse = static_cast<double>(file.lastUse) / 1e9;
    if (file.temporary) {
      kernel.damage = "is being written, or its writer was killed";
    } else if (Expected<StoredKernel> read = (*store)->read(file.name)) {
      kernel.layer = keyField(read->key, "layer");
      kernel.target = keyField(read->key, "target");
      if (kernel.target.empty())
        kernel.target = keyField(read->key, "host");
      kernel.compiler = keyField(read->key, "compiler");
      kernel.plan = read->plan;
      kernel.created = static_cast<double>(read->created);
      kernel.compileMilliseconds = read->compileMilliseconds;
      kernel.codeBytes = static_cast<size_t>(read->codeBytes);
    } else {
      kernel.damage = read.takeError().message;
    }
    kernels.push_back(std::move(kernel));
  }
  return kernels;
}

static Expected<CacheRemoval> removalOf(Expected<Collected> gone) {
  if (!gone)
    return gone.takeError();
  return CacheRemoval{gone->files, gone->bytes};
}

Expected<CacheRemoval> KernelCache::clearDisk() {
  Expected<DiskStore *> store = impl->disk();
  if (!store)
    return store.takeError();
  return removalOf((*store)->clear());
}

Expected<CacheRemoval> KernelCache::collectDisk(uint64_t maxBytes) {
  Expected<DiskStore *> store = impl->disk();
  if (!store)
    return store.takeError();
  return removalOf((*store)->collect(maxBytes));
}
