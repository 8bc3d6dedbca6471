//===- KernelSource.cpp - kernels that a context has, or compiles -*- C++
//-*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "KernelSource.h"

#include "convjit/KernelCache.h"

using namespace convjit;
using namespace convjit::capi;

namespace {

class CacheSource final : public KernelSource {
public:
  explicit CacheSource(std::unique_ptr<KernelCache> cache)
      : cache(std::move(cache)) {}

  std::shared_ptr<const Kernel> find(const Convolution &conv,
                                     int64_t images) override {
    return cache->find(conv, images);
  }
  Expected<std::shared_ptr<const Kernel>>
  kernel(const Convolution &conv) override {
    return cache->kernel(conv);
  }
  Expected<std::shared_ptr<const Kernel>> kernel(const Convolution &conv,
                                                 int64_t images) override {
    return cache->kernel(conv, images);
  }

private:
  std::unique_ptr<KernelCache> cache;
};

} // namespace

Expected<std::unique_ptr<KernelSource>>
capi::makeKernelSource(SourceOptions options) {
  Expected<std::unique_ptr<KernelCache>> cache = KernelCache::create(
      {std::move(options.compile), options.disk, std::move(options.directory),
       options.maxBytes, static_cast<size_t>(options.maxKernels)});
  if (!cache)
    return cache.takeError();
  return std::unique_ptr<KernelSource>(
      std::make_unique<CacheSource>(std::move(*cache)));
}
