//===- Host.cpp - what the host provides -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Host.h"

#include <algorithm>
#include <cstdlib>

using namespace convjit;
using namespace convjit::capi;

void *Host::allocate(size_t bytes, size_t alignment) const noexcept {
  if (bytes > PTRDIFF_MAX)
    return nullptr;
  if (allocator.allocate)
    return allocator.allocate(allocator.user, bytes, alignment);
  void *memory = nullptr;
  if (posix_memalign(&memory, std::max(alignment, sizeof(void *)), bytes))
    return nullptr;
  return memory;
}

void Host::release(void *memory, size_t bytes,
                   size_t alignment) const noexcept {
  if (allocator.allocate)
    allocator.release(allocator.user, memory, bytes, alignment);
  else
    std::free(memory);
}

void Host::write(int32_t level, const std::string &message) const noexcept {
  if (logs(level))
    log(logUser, level, message.c_str());
}

//===----------------------------------------------------------------------===//
// Threads
//===----------------------------------------------------------------------===//

Outcome capi::readExecutor(const convjit_executor *from, convjit_executor &to,
                           const char *name) {
  if (Outcome o = readStruct(from, to, name); !o)
    return o;
  if (to.concurrency == 0)
    return invalid(std::string(name) +
                   ".concurrency=0: valid: the number of threads, at least 1");
  if (!to.parallel_for == !to.submit)
    return invalid(std::string(name) + ": has " +
                   (to.submit ? "both" : "neither") +
                   " of parallel_for and submit; valid: one of them");
  return {};
}

void HostThreads::parallelFor(int64_t tasks, const Body &body) {
  if (tasks <= 0)
    return;
  if (host.parallel_for)
    throughParallelFor(tasks, body);
  else
    throughSubmit(tasks, body);
}

namespace {

/// One parallelFor at the host's.
struct Loop {
  const Executor::Body &body;
  int64_t tasks;
  std::atomic<int64_t> ran{0};
  std::atomic<bool> outside{false};

  static void run(void *data, int64_t begin, int64_t end) {
    auto &loop = *static_cast<Loop *>(data);
    // A kernel does not check its range.
    if (begin < 0 || end > loop.tasks || begin > end) {
      loop.outside = true;
      return;
    }
    if (begin == end)
      return;
    loop.body(begin, end);
    loop.ran += end - begin;
  }
};

} // namespace

void HostThreads::throughParallelFor(int64_t tasks, const Body &body) {
  Loop loop{body, tasks};
  try {
    if (host.parallel_for(host.user, tasks, Loop::run, &loop) != 0)
      failed = true;
  } catch (...) {
    failed = true;
  }
  if (loop.outside || loop.ran != tasks) {
    failed = true;
    ran = loop.ran;
    wanted = tasks;
  }
}

static void runWork(void *data) {
  std::unique_ptr<std::function<void()>> work(
      static_cast<std::function<void()> *>(data));
  (*work)();
}

void HostThreads::throughSubmit(int64_t tasks, const Body &body) {
  // Not taken, for whatever reason, is no failure: the caller works as well.
  struct NotTaken {};
  HostExecutor(concurrency(), [this](std::function<void()> work) {
    auto owned = std::make_unique<std::function<void()>>(std::move(work));
    if (host.submit(host.user, runWork, owned.get()) != 0)
      throw NotTaken();
    (void)owned.release();
  }).parallelFor(tasks, body);
}

Outcome HostThreads::outcome() const {
  if (!failed)
    return {};
  std::string message = "executor: parallel_for failed";
  if (ran != wanted)
    message = "executor: parallel_for ran " + std::to_string(ran) + " of " +
              std::to_string(wanted) + " tasks; valid: each once";
  return {CONVJIT_STATUS_EXECUTOR, message};
}
