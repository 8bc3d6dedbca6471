//===- ExecutorTest.cpp - every task once, and no waiting for the unstarted -*-
//C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "convjit/Executor.h"
#include "convjit/Kernel.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

using namespace convjit;

static void expectEachTaskOnce(Executor &executor, int64_t tasks) {
  std::vector<std::atomic<int>> counts(static_cast<size_t>(tasks));
  executor.parallelFor(tasks, [&](int64_t begin, int64_t end) {
    ASSERT_LE(begin, end);
    for (int64_t i = begin; i < end; ++i)
      ++counts[static_cast<size_t>(i)];
  });
  for (auto &count : counts)
    ASSERT_EQ(count, 1) << tasks << " tasks";
}

TEST(Executor, EachTaskOnce) {
  for (unsigned threads : {1u, 2u, 5u}) {
    ThreadPool pool(threads);
    EXPECT_EQ(pool.concurrency(), threads);
    for (int64_t tasks = 0; tasks < 200; ++tasks)
      expectEachTaskOnce(pool, tasks);
    expectEachTaskOnce(pool, 100000);
  }
  InlineExecutor inlineExecutor;
  expectEachTaskOnce(inlineExecutor, 0);
  expectEachTaskOnce(inlineExecutor, 17);
}

TEST(Executor, NestedCallsFinish) {
  ThreadPool pool(3);
  std::atomic<int> count = 0;
  pool.parallelFor(20, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
      pool.parallelFor(
          20, [&](int64_t b, int64_t e) { count += static_cast<int>(e - b); });
  });
  EXPECT_EQ(count, 400);
}

TEST(Executor, ManyCallersAtOnce) {
  ThreadPool pool(3);
  std::vector<std::thread> callers;
  for (int i = 0; i < 6; ++i)
    callers.emplace_back([&] {
      for (int round = 0; round < 50; ++round)
        expectEachTaskOnce(pool, 37);
    });
  for (std::thread &caller : callers)
    caller.join();
}

TEST(Executor, CallerFinishesAloneWhenNoHelperStarts) {
  HostExecutor executor(8, [](std::function<void()>) {});
  expectEachTaskOnce(executor, 1000);
}

TEST(Executor, LateHelpersDoNothing) {
  std::vector<std::function<void()>> late;
  {
    HostExecutor executor(8, [&](std::function<void()> work) {
      late.push_back(std::move(work));
    });
    expectEachTaskOnce(executor, 1000);
  }
  EXPECT_EQ(late.size(), 7u);
  for (auto &work : late)
    work(); // the body is gone: it must not be called
}

TEST(Executor, HelpersStartWithinSubmit) {
  HostExecutor executor(4, [](std::function<void()> work) { work(); });
  expectEachTaskOnce(executor, 1000);
}

//===----------------------------------------------------------------------===//
// runKernel
//===----------------------------------------------------------------------===//

static std::atomic<int64_t> tasksRun;
static void fakeKernel(const ConvjitKernelArgs *, int64_t begin, int64_t end) {
  tasksRun += end - begin;
}

TEST(Kernel, RunsAllTasksAndChecksOperands) {
  Kernel kernel;
  kernel.conv = *lower(*parseProblem("conv1d:in=8x6,oc=4,k=3,bg=2,bias"));
  kernel.run = fakeKernel;
  kernel.tasksPerImage = 5;
  float data[1] = {};
  Operands good{data, data, data, nullptr, data, 6};
  ThreadPool pool(3);
  InlineExecutor alone;
  for (Executor *executor :
       {static_cast<Executor *>(&pool), static_cast<Executor *>(&alone)}) {
    tasksRun = 0;
    EXPECT_TRUE(runKernel(kernel, good, *executor));
    EXPECT_EQ(tasksRun, 15); // 6 images of input are 3 of output
  }
  auto expectError = [&](const char *field, auto breakIt) {
    Operands operands = good;
    breakIt(operands);
    tasksRun = 0;
    Status status = runKernel(kernel, operands, alone);
    ASSERT_FALSE(status);
    EXPECT_EQ(status.error().kind, ErrorKind::BadInput);
    EXPECT_EQ(status.error().message.rfind(field, 0), 0u)
        << status.error().message;
    EXPECT_EQ(tasksRun, 0);
  };
  expectError("batch=5", [](Operands &o) { o.batch = 5; });
  expectError("batch=-2", [](Operands &o) { o.batch = -2; });
  expectError("input", [](Operands &o) { o.input = nullptr; });
  expectError("packedWeights", [](Operands &o) { o.packedWeights = nullptr; });
  expectError("bias", [](Operands &o) { o.bias = nullptr; });
  expectError("output", [](Operands &o) { o.output = nullptr; });
  Operands empty{nullptr, nullptr, nullptr, nullptr, nullptr, 0};
  tasksRun = 0;
  EXPECT_TRUE(runKernel(kernel, empty, alone));
  EXPECT_EQ(tasksRun, 0);
}
