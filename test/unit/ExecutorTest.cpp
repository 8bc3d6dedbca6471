//===- ExecutorTest.cpp - every task once, nobody waits -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "convjit/Executor.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <set>
#include <stdexcept>
#include <thread>
#include <vector>

using namespace convjit;

/// Runs `tasks` tasks and expects ranges that are not empty, inside [0, tasks)
/// and cover every task once. Plain integers for the counts: two threads on one
/// task would be a data race for ThreadSanitizer to find.
static void expectEachTaskOnce(Executor &executor, int64_t tasks) {
  std::vector<int> counts(static_cast<size_t>(tasks));
  std::atomic<bool> inside = true;
  executor.parallelFor(tasks, [&](int64_t begin, int64_t end) {
    if (begin < 0 || begin >= end || end > tasks) {
      inside = false;
      return;
    }
    for (int64_t i = begin; i < end; ++i)
      ++counts[static_cast<size_t>(i)];
  });
  ASSERT_TRUE(inside) << tasks << " tasks";
  for (int64_t i = 0; i < tasks; ++i)
    ASSERT_EQ(counts[static_cast<size_t>(i)], 1)
        << "task " << i << " of " << tasks;
}

TEST(Executor, PoolRunsEachTaskOnce) {
  for (unsigned threads : {1u, 2u, 5u}) {
    ThreadPool pool(threads);
    EXPECT_EQ(pool.concurrency(), threads);
    for (int64_t tasks = 0; tasks <= 1000; ++tasks)
      expectEachTaskOnce(pool, tasks);
    expectEachTaskOnce(pool, 100000);
  }
}

TEST(Executor, InlineRunsEachTaskOnceInOneCall) {
  InlineExecutor executor;
  EXPECT_EQ(executor.concurrency(), 1u);
  for (int64_t tasks = 0; tasks <= 1000; ++tasks)
    expectEachTaskOnce(executor, tasks);
  int calls = 0;
  std::thread::id caller = std::this_thread::get_id();
  executor.parallelFor(1000, [&](int64_t begin, int64_t end) {
    ++calls;
    EXPECT_EQ(begin, 0);
    EXPECT_EQ(end, 1000);
    EXPECT_EQ(std::this_thread::get_id(), caller);
  });
  EXPECT_EQ(calls, 1);
}

TEST(Executor, NoTasksAreNoCalls) {
  ThreadPool pool(3);
  InlineExecutor alone;
  int submitted = 0;
  HostExecutor host(3, [&](std::function<void()>) { ++submitted; });
  Executor *executors[] = {&pool, &alone, &host};
  for (Executor *executor : executors)
    for (int64_t tasks : {int64_t(0), int64_t(-1), INT64_MIN})
      executor->parallelFor(tasks, [](int64_t, int64_t) { FAIL(); });
  EXPECT_EQ(submitted, 0);
}

TEST(Executor, ConcurrencyIsAtLeastOne) {
  EXPECT_GE(ThreadPool().concurrency(), 1u);
  EXPECT_GE(ThreadPool(0).concurrency(), 1u);
  HostExecutor none(0, [](std::function<void()>) { FAIL(); });
  EXPECT_EQ(none.concurrency(), 1u);
  expectEachTaskOnce(none, 50);
}

/// Each task waits until `threads` distinct threads are in a task.
TEST(Executor, PoolUsesItsThreads) {
  ThreadPool pool(3);
  std::mutex mutex;
  std::condition_variable changed;
  std::set<std::thread::id> threads;
  pool.parallelFor(3, [&](int64_t, int64_t) {
    std::unique_lock lock(mutex);
    threads.insert(std::this_thread::get_id());
    changed.notify_all();
    changed.wait_for(lock, std::chrono::seconds(60),
                     [&] { return threads.size() == 3; });
  });
  EXPECT_EQ(threads.size(), 3u);
}

TEST(Executor, NestedCallsFinish) {
  for (unsigned threads : {1u, 2u, 5u}) {
    ThreadPool pool(threads);
    std::atomic<int64_t> count = 0;
    pool.parallelFor(20, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i)
        pool.parallelFor(20, [&](int64_t b, int64_t e) {
          for (int64_t j = b; j < e; ++j)
            pool.parallelFor(5, [&](int64_t c, int64_t d) { count += d - c; });
        });
    });
    EXPECT_EQ(count, 20 * 20 * 5);
  }
}

/// A pool all of whose threads call back into it: helpers can never start, so
/// each caller has to finish alone.
TEST(Executor, CallsFromASaturatedHostPoolFinish) {
  ThreadPool host(4);
  std::mutex mutex;
  std::vector<std::function<void()>> queue;
  HostExecutor executor(4, [&](std::function<void()> work) {
    std::lock_guard lock(mutex);
    queue.push_back(std::move(work));
  });
  host.parallelFor(4, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
      expectEachTaskOnce(executor, 100);
  });
  EXPECT_EQ(queue.size(), 4u * 3u);
  for (std::function<void()> &work : queue)
    work();
}

TEST(Executor, ManyCallersAtOnce) {
  ThreadPool pool(3);
  std::vector<std::thread> callers;
  for (int64_t caller = 0; caller < 6; ++caller)
    callers.emplace_back([&, caller] {
      for (int64_t round = 0; round < 200; ++round)
        expectEachTaskOnce(pool, 1 + (round * 7 + caller) % 60);
    });
  for (std::thread &caller : callers)
    caller.join();
}

TEST(Executor, CallerFinishesAloneWhenNoHelperStarts) {
  HostExecutor executor(8, [](std::function<void()>) {});
  EXPECT_EQ(executor.concurrency(), 8u);
  std::thread::id caller = std::this_thread::get_id();
  for (int64_t tasks : {0, 1, 2, 7, 8, 9, 1000})
    expectEachTaskOnce(executor, tasks);
  executor.parallelFor(1000, [&](int64_t, int64_t) {
    EXPECT_EQ(std::this_thread::get_id(), caller);
  });
}

TEST(Executor, AtMostOneHelperLessThanThreadsAndTasks) {
  for (unsigned width : {1u, 2u, 8u})
    for (int64_t tasks = 0; tasks <= 20; ++tasks) {
      int64_t submitted = 0;
      HostExecutor executor(width, [&](std::function<void()>) { ++submitted; });
      expectEachTaskOnce(executor, tasks);
      EXPECT_LE(submitted, static_cast<int64_t>(width) - 1);
      EXPECT_LE(submitted, std::max<int64_t>(tasks - 1, 0));
    }
}

TEST(Executor, LateHelpersDoNothing) {
  std::vector<std::function<void()>> late;
  {
    HostExecutor executor(8, [&](std::function<void()> work) {
      late.push_back(std::move(work));
    });
    // On the heap, so that a body called late would be a use after free.
    auto calls = std::make_unique<int>(0);
    auto body = std::make_unique<Executor::Body>(
        [counter = calls.get()](int64_t, int64_t) { ++*counter; });
    executor.parallelFor(1000, *body);
    EXPECT_GT(*calls, 0);
    int before = *calls;
    late.front()(); // while the body is there: still nothing
    EXPECT_EQ(*calls, before);
  }
  EXPECT_EQ(late.size(), 7u);
  for (int round = 0; round < 2; ++round)
    for (std::function<void()> &work : late)
      work();
}

TEST(Executor, HelpersMayRunWithinSubmit) {
  HostExecutor executor(4, [](std::function<void()> work) { work(); });
  for (int64_t tasks : {0, 1, 2, 3, 4, 5, 1000})
    expectEachTaskOnce(executor, tasks);
}

/// A helper that holds a claim when the caller runs out of tasks: the call must
/// not return before it is done.
TEST(Executor, CallerWaitsForClaimedTasks) {
  std::vector<std::thread> helpers;
  HostExecutor executor(2, [&](std::function<void()> work) {
    helpers.emplace_back(std::move(work));
  });
  std::thread::id caller = std::this_thread::get_id();
  for (int round = 0; round < 20; ++round) {
    std::atomic<int> entered = 0, done = 0;
    executor.parallelFor(2, [&](int64_t begin, int64_t end) {
      // Both tasks are claimed before either goes on (or time is up).
      entered += static_cast<int>(end - begin);
      for (int i = 0; i < 2000 && entered < 2; ++i)
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
      if (std::this_thread::get_id() != caller)
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
      done += static_cast<int>(end - begin);
    });
    EXPECT_EQ(done, 2);
    helpers.back().join();
  }
}

/// Helpers that start at about the time when the call returns.
TEST(Executor, StressOfHelpersThatRaceWithTheReturn) {
  std::mutex mutex;
  std::condition_variable wake;
  std::vector<std::function<void()>> queue;
  bool stop = false;
  std::vector<std::thread> workers;
  for (int i = 0; i < 2; ++i)
    workers.emplace_back([&] {
      for (;;) {
        std::function<void()> work;
        {
          std::unique_lock lock(mutex);
          wake.wait(lock, [&] { return stop || !queue.empty(); });
          if (queue.empty())
            return;
          work = std::move(queue.back());
          queue.pop_back();
        }
        work();
      }
    });
  HostExecutor executor(3, [&](std::function<void()> work) {
    {
      std::lock_guard lock(mutex);
      queue.push_back(std::move(work));
    }
    wake.notify_one();
  });
  for (int64_t round = 0; round < 5000; ++round)
    expectEachTaskOnce(executor, round % 9);
  {
    std::lock_guard lock(mutex);
    stop = true;
  }
  wake.notify_all();
  for (std::thread &worker : workers)
    worker.join();
}

TEST(Executor, SubmitMayThrow) {
  // At the first piece, or after some have been taken; these start at once, in
  // a thread, late or never.
  for (int64_t accepted : {0, 1, 3}) {
    std::vector<std::function<void()>> kept;
    std::vector<std::thread> helpers;
    int64_t calls = 0;
    HostExecutor executor(8, [&](std::function<void()> work) {
      if (calls++ % (accepted + 1) == accepted)
        throw std::runtime_error("the pool is full");
      if (kept.size() % 2)
        helpers.emplace_back(work);
      kept.push_back(std::move(work));
    });
    for (int64_t tasks : {2, 7, 8, 1000}) {
      calls = 0;
      EXPECT_NO_THROW(expectEachTaskOnce(executor, tasks));
      // After a refusal the pool is not asked again in the same call.
      EXPECT_LE(calls, accepted + 1);
    }
    for (std::thread &helper : helpers)
      helper.join();
    for (std::function<void()> &work : kept)
      work();
  }
}

TEST(Executor, SubmitMayKeepTheWorkAndThrow) {
  std::vector<std::function<void()>> kept;
  HostExecutor executor(4, [&](std::function<void()> work) {
    kept.push_back(std::move(work));
    throw 1; // not even an exception of the library
  });
  auto body = std::make_shared<Executor::Body>([](int64_t, int64_t) {});
  EXPECT_NO_THROW(executor.parallelFor(100, *body));
  ASSERT_EQ(kept.size(), 1u);
  body.reset();
  kept[0]();
}

TEST(Executor, SubmitThatIsMissingIsNoHelp) {
  HostExecutor executor(4, nullptr);
  EXPECT_NO_THROW(expectEachTaskOnce(executor, 100));
}

TEST(Executor, PoolsComeAndGo) {
  for (int round = 0; round < 100; ++round) {
    ThreadPool pool(4);
    if (round % 2)
      expectEachTaskOnce(pool, round);
  }
}
