//===- CacheBackend.cpp - what caches of kernels share -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "CacheBackend.h"
#include "CachePlace.h"

using namespace convjit;

CacheBackend::CacheBackend(const KernelCacheOptions &options) {
  Expected<std::unique_ptr<DiskStore>> opened = openStore(options);
  if (opened)
    store = std::move(*opened);
  else
    status = opened.takeError();
}

std::optional<StoredKernel> CacheBackend::load(const std::string &key) {
  if (!store)
    return std::nullopt;
  Expected<std::optional<StoredKernel>> stored = store->load(key);
  if (stored)
    return std::move(*stored);
  countFailure(stored.error());
  return std::nullopt;
}

void CacheBackend::keep(const StoredKernel &kernel) {
  if (!store)
    return;
  if (Status s = store->store(kernel); !s)
    countFailure(s.error());
}

void CacheBackend::countFound() {
  std::unique_lock lock(counting);
  ++counts.found;
}

void CacheBackend::countCompiled() {
  std::unique_lock lock(counting);
  ++counts.compiled;
}

void CacheBackend::countFailure(const Error &error) {
  std::unique_lock lock(counting);
  ++counts.diskFailures;
  counts.lastFailure = error.message;
}

KernelCacheStats CacheBackend::stats() const {
  std::unique_lock lock(counting);
  return counts;
}
