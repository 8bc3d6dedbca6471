//===- Executor.h - who runs the tasks -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Work is a number of tasks. The calling thread claims tasks from a shared
// counter and so do the helpers that happen to start; the caller never waits
// for a helper that has not started, so a call from inside a saturated thread
// pool cannot deadlock. It only waits for tasks already claimed by others.
//
//===----------------------------------------------------------------------===//

#ifndef CONVJIT_EXECUTOR_H
#define CONVJIT_EXECUTOR_H

#include <cstdint>
#include <functional>
#include <memory>

namespace convjit {

/// Runs `body(begin, end)` over disjoint ranges that cover [0, tasks).
class Executor {
public:
  /// Must not throw.
  using Body = std::function<void(int64_t begin, int64_t end)>;

  virtual ~Executor();
  /// Returns when every task has run. Thread-safe and re-entrant.
  virtual void parallelFor(int64_t tasks, const Body &body) = 0;
  /// How many threads can take part, the caller's among them.
  virtual unsigned concurrency() const = 0;
};

/// Everything on the calling thread.
class InlineExecutor final : public Executor {
public:
  void parallelFor(int64_t tasks, const Body &body) override;
  unsigned concurrency() const override { return 1; }
};

/// Schedules `work` to run at any time on any thread, or never. May throw: the
/// exception goes no further and nothing more is submitted in that call, whose
/// tasks the calling thread and the work already scheduled run.
using Submit = std::function<void(std::function<void()> work)>;

/// Helpers come from the host's own pool through `submit`.
class HostExecutor final : public Executor {
public:
  /// `concurrency` counts the caller: at most concurrency-1 pieces of work are
  /// submitted for a call. Work that starts after its call has returned does
  /// nothing.
  HostExecutor(unsigned concurrency, Submit submit);
  void parallelFor(int64_t tasks, const Body &body) override;
  unsigned concurrency() const override { return width; }

private:
  unsigned width;
  Submit submit;
};

/// A small pool of `threads - 1` sleeping threads. Threads block on a
/// condition variable when idle: none spins, none is pinned.
class ThreadPool final : public Executor {
public:
  /// `threads` counts the caller; 0 means one for each processor. The pool has
  /// fewer when the system cannot start so many; see concurrency().
  explicit ThreadPool(unsigned threads = 0);
  ~ThreadPool() override;
  void parallelFor(int64_t tasks, const Body &body) override;
  unsigned concurrency() const override;

private:
  struct Impl;
  std::unique_ptr<Impl> impl;
};

} // namespace convjit

#endif // CONVJIT_EXECUTOR_H
