//===- Engine.cpp - where Python's kernels come from -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Engine.h"
#include "ConvolutionText.h"

#include <mutex>
#include <sched.h>
#include <thread>

using namespace convjit;
using namespace convjit::python;

unsigned convjit::python::usableProcessors() {
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0)
    return static_cast<unsigned>(CPU_COUNT(&set));
  return std::max(1u, std::thread::hardware_concurrency());
}

Expected<const Compiler *> convjit::python::compiler() {
  // Never destroyed: kernels may run while the process ends.
  static auto *created =
      new Expected<std::unique_ptr<Compiler>>(Compiler::create());
  if (!*created)
    return Error(created->error());
  return static_cast<const Compiler *>((*created)->get());
}

namespace {

struct Threads {
  std::mutex mutex;
  std::shared_ptr<Executor> executor;
};
Threads &threads() {
  static auto *state = new Threads;
  return *state;
}

std::shared_ptr<Executor> makeExecutor(unsigned count) {
  if (count == 0)
    count = usableProcessors();
  if (count == 1)
    return std::make_shared<InlineExecutor>();
  return std::make_shared<ThreadPool>(count);
}

} // namespace

Expected<KernelCache *> convjit::python::kernels() {
  static auto *created =
      new Expected<std::unique_ptr<KernelCache>>(KernelCache::create());
  if (!*created)
    return Error(created->error());
  return (*created)->get();
}

Expected<std::shared_ptr<const Kernel>>
convjit::python::kernelOf(std::string_view text, int64_t images) {
  Expected<NamedConvolution> named = parseConvolution(text);
  if (!named)
    return named.takeError();
  Expected<KernelCache *> cache = kernels();
  if (!cache)
    return cache.takeError();
  return (*cache)->kernel(named->conv, images);
}

int64_t convjit::python::compilations() {
  Expected<KernelCache *> cache = kernels();
  return cache ? static_cast<int64_t>((*cache)->stats().compiled) : 0;
}

std::string convjit::python::cachePlace() {
  Expected<KernelCache *> cache = kernels();
  if (!cache)
    return cache.error().message;
  if (Status disk = (*cache)->diskStatus(); !disk)
    return "in memory, for this process (" + disk.error().message + ")";
  return (*cache)->directory() + ", and in memory";
}

std::shared_ptr<Executor> convjit::python::executor() {
  std::lock_guard lock(threads().mutex);
  if (!threads().executor)
    threads().executor = makeExecutor(0);
  return threads().executor;
}

void convjit::python::setThreads(unsigned count) {
  // The old pool ends with the last call that runs on it, outside the lock.
  std::shared_ptr<Executor> next = makeExecutor(count);
  std::lock_guard lock(threads().mutex);
  std::swap(threads().executor, next);
}
