//===- Executor.cpp - who runs the tasks -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "convjit/Executor.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <deque>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

using namespace convjit;

Executor::~Executor() = default;

namespace {

/// One parallelFor in flight. Helpers hold a reference, so that one which
/// starts after the call has returned finds the counter used up and leaves.
class TaskClaim {
public:
  TaskClaim(int64_t tasks, unsigned threads, const Executor::Body &body)
      : tasks(tasks), body(&body),
        // A few claims a thread, so that an unequal share evens out.
        grain(std::max<int64_t>(1, tasks / (int64_t(threads) * 8))) {}

  /// Claims and runs ranges until none is left. A body that throws ends the
  /// process here: its claim would never be done, and the caller wait for ever.
  void work() noexcept {
    for (;;) {
      // A claim is announced before it is made: the caller, once the counter
      // is used up, waits for announced claims only.
      active.fetch_add(1, std::memory_order_seq_cst);
      int64_t begin = next.fetch_add(grain, std::memory_order_seq_cst);
      bool claimed = begin < tasks;
      if (claimed)
        (*body)(begin, std::min(begin + grain, tasks));
      if (active.fetch_sub(1, std::memory_order_seq_cst) == 1) {
        std::lock_guard lock(mutex);
        idle.notify_all();
      }
      if (!claimed)
        return;
    }
  }

  /// For the caller, after its own work(): until others' claims are done.
  void wait() {
    if (active.load(std::memory_order_seq_cst) == 0)
      return;
    std::unique_lock lock(mutex);
    idle.wait(lock, [&] { return active.load() == 0; });
  }

private:
  const int64_t tasks;
  const Executor::Body *body;
  const int64_t grain;
  std::atomic<int64_t> next{0};
  std::atomic<int64_t> active{0};
  std::mutex mutex;
  std::condition_variable idle;
};

/// Runs `body` with up to `width - 1` helpers from `submit`.
void claimTasks(int64_t tasks, unsigned width, const Executor::Body &body,
                const Submit &submit) {
  if (tasks <= 0)
    return;
  if (width <= 1 || tasks == 1)
    return body(0, tasks);
  std::shared_ptr<TaskClaim> claim;
  int64_t helpers = std::min<int64_t>(width, tasks) - 1;
  try {
    claim = std::make_shared<TaskClaim>(tasks, width, body);
    for (int64_t i = 0; i < helpers; ++i)
      submit([claim] { claim->work(); });
  } catch (...) {
    // Helpers are a favour: without memory or a host that takes them, those
    // that were taken and the caller do the work. Leaving here instead would
    // let helpers call a body that is gone.
  }
  if (!claim)
    return body(0, tasks);
  claim->work();
  claim->wait();
}

} // namespace

void InlineExecutor::parallelFor(int64_t tasks, const Body &body) {
  if (tasks > 0)
    body(0, tasks);
}

HostExecutor::HostExecutor(unsigned concurrency, Submit submit)
    : width(std::max(1u, concurrency)), submit(std::move(submit)) {}

void HostExecutor::parallelFor(int64_t tasks, const Body &body) {
  claimTasks(tasks, width, body, submit);
}

//===----------------------------------------------------------------------===//
// ThreadPool
//===----------------------------------------------------------------------===//

struct ThreadPool::Impl {
  std::mutex mutex;
  std::condition_variable wake;
  std::deque<std::function<void()>> queue;
  std::vector<std::thread> threads;
  bool stopping = false;

  void loop() {
    for (;;) {
      std::function<void()> work;
      {
        std::unique_lock lock(mutex);
        wake.wait(lock, [&] { return stopping || !queue.empty(); });
        if (queue.empty())
          return;
        work = std::move(queue.front());
        queue.pop_front();
      }
      work();
    }
  }
};

ThreadPool::ThreadPool(unsigned threads) : impl(std::make_unique<Impl>()) {
  if (threads == 0)
    threads = std::max(1u, std::thread::hardware_concurrency());
  try {
    for (unsigned i = 1; i < threads; ++i)
      impl->threads.emplace_back([this] { impl->loop(); });
  } catch (const std::exception &) {
    // The system has no more threads to give: fewer do the work.
  }
}

ThreadPool::~ThreadPool() {
  {
    std::lock_guard lock(impl->mutex);
    impl->stopping = true;
  }
  impl->wake.notify_all();
  for (std::thread &thread : impl->threads)
    thread.join();
}

unsigned ThreadPool::concurrency() const {
  return static_cast<unsigned>(impl->threads.size()) + 1;
}

void ThreadPool::parallelFor(int64_t tasks, const Body &body) {
  claimTasks(tasks, concurrency(), body, [&](std::function<void()> work) {
    {
      std::lock_guard lock(impl->mutex);
      impl->queue.push_back(std::move(work));
    }
    impl->wake.notify_one();
  });
}
