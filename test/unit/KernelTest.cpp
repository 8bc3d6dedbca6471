//===- KernelTest.cpp - calls of kernels -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "convjit/Kernel.h"

#include <gtest/gtest.h>

#include <atomic>
#include <cstring>
#include <thread>
#include <vector>

using namespace convjit;

/// What the fake kernel saw. Function pointers carry no state, so it is here.
static std::vector<std::atomic<int>> taskCounts(1000);
static std::atomic<int64_t> calls;
static std::atomic<bool> argumentsAsGiven;
static ConvjitKernelArgs expectedArgs;

static void fakeKernel(const ConvjitKernelArgs *args, int64_t begin,
                       int64_t end) {
  ++calls;
  if (args->input != expectedArgs.input ||
      args->packed_weights != expectedArgs.packed_weights ||
      args->bias != expectedArgs.bias ||
      args->residual != expectedArgs.residual ||
      args->output != expectedArgs.output || args->scratch ||
      args->batch != expectedArgs.batch || begin >= end)
    argumentsAsGiven = false;
  for (int64_t task = begin; task < end; ++task)
    ++taskCounts[static_cast<size_t>(task)];
}

/// Three pieces of one task each, whose sums are told apart by their bits: the
/// residual or 0, plus 1, 2 or 4 for each piece.
static void piecesKernel(const ConvjitKernelArgs *args, int64_t begin,
                         int64_t end) {
  auto *output = static_cast<float *>(args->output);
  auto *scratch = static_cast<float *>(args->scratch);
  const auto *residual = static_cast<const float *>(args->residual);
  constexpr int64_t elements = 4;
  int64_t first = scratch ? begin : 0, last = scratch ? end : 3;
  for (int64_t piece = first; piece < last; ++piece)
    for (int64_t i = 0; i < elements; ++i) {
      auto sum = static_cast<float>(1 << piece);
      if (piece == 0)
        output[i] = (residual ? residual[i] : 0) + sum;
      else if (!scratch)
        output[i] += sum;
      else if (residual)
        scratch[(piece - 1) * elements + i] += sum;
      else
        scratch[(piece - 1) * elements + i] = sum;
    }
  ++calls;
}

namespace {

class KernelTest : public ::testing::Test {
protected:
  static Kernel kernelOf(const char *text, int64_t tasksPerImage) {
    Kernel kernel;
    kernel.conv = *lower(*parseProblem(text));
    kernel.run = fakeKernel;
    kernel.tasksPerImage = tasksPerImage;
    return kernel;
  }

  /// Runs and says whether exactly the tasks [0, tasks) ran, once each.
  static void expectTasks(const Kernel &kernel, const Operands &operands,
                          Executor &executor, int64_t tasks) {
    for (std::atomic<int> &count : taskCounts)
      count = 0;
    calls = 0;
    argumentsAsGiven = true;
    expectedArgs = {operands.input,    operands.packedWeights, operands.bias,
                    operands.residual, operands.output,        nullptr,
                    operands.batch};
    Status status = runKernel(kernel, operands, executor);
    ASSERT_TRUE(status) << status.error().message;
    EXPECT_TRUE(argumentsAsGiven);
    for (size_t task = 0; task < taskCounts.size(); ++task)
      ASSERT_EQ(taskCounts[task], static_cast<int64_t>(task) < tasks)
          << "task " << task << " of " << tasks;
  }

  /// Runs and expects an error that starts with `start`, before any task ran.
  static void expectError(const Kernel &kernel, const Operands &operands,
                          const std::string &start) {
    InlineExecutor executor;
    calls = 0;
    Status status = runKernel(kernel, operands, executor);
    ASSERT_FALSE(status) << start;
    EXPECT_EQ(status.error().kind, ErrorKind::BadInput);
    EXPECT_EQ(status.error().message.rfind(start, 0), 0u)
        << status.error().message;
    EXPECT_NE(status.error().message.find("valid:"), std::string::npos)
        << status.error().message;
    EXPECT_EQ(status.error().message.find('\n'), std::string::npos);
    EXPECT_EQ(calls, 0);
  }

  float input[1] = {}, weights[1] = {}, bias[1] = {}, residual[1] = {},
        output[1] = {};
};

TEST_F(KernelTest, PiecesAreToldOutAndAdded) {
  for (const char *text :
       {"conv1d:in=4x1,oc=1,k=1", "conv1d:in=4x1,oc=1,k=1,residual"}) {
    Kernel kernel = kernelOf(text, 1);
    kernel.run = piecesKernel;
    kernel.pieces = 3;
    ThreadPool four(4);
    InlineExecutor one;
    EXPECT_EQ(kernelScratchBytes(kernel, 1, 1), 0u);
    // Two pieces of 16 bytes, rounded up.
    EXPECT_EQ(kernelScratchBytes(kernel, 4, 1), 64u);
    // As many tasks as threads could want; more than there is room for.
    EXPECT_EQ(kernelScratchBytes(kernel, 4, 128), 0u);
    EXPECT_EQ(kernelScratchBytes(kernel, 1000, 31000), 992000u);
    EXPECT_EQ(kernelScratchBytes(kernel, 10000, 310000), 0u);
    for (Executor *executor : {(Executor *)&one, (Executor *)&four}) {
      std::vector<float> input(4), weights(1), residual(4, 100), output(4, -1);
      alignas(64) float scratch[16];
      std::fill(std::begin(scratch), std::end(scratch), 1000.f);
      for (void *memory : {(void *)nullptr, (void *)scratch}) {
        calls = 0;
        Operands operands{input.data(),    weights.data(), nullptr,
                          residual.data(), output.data(),  1,
                          memory};
        if (!kernel.conv.residual)
          operands.residual = nullptr;
        ASSERT_TRUE(runKernel(kernel, operands, *executor));
        float wanted = kernel.conv.residual ? 107 : 7;
        EXPECT_EQ(output, std::vector<float>(4, wanted));
        EXPECT_EQ(calls, executor == &one ? 1 : 3);
      }
    }
  }
}

} // namespace

TEST_F(KernelTest, EveryTaskRunsOnceOnEveryExecutor) {
  Kernel kernel = kernelOf("conv1d:in=8x6,oc=4,k=3", 7);
  InlineExecutor alone;
  ThreadPool one(1), two(2), five(5);
  HostExecutor never(4, [](std::function<void()>) {});
  HostExecutor atOnce(4, [](std::function<void()> work) { work(); });
  Executor *executors[] = {&alone, &one, &two, &five, &never, &atOnce};
  for (Executor *executor : executors)
    for (int64_t batch : {0, 1, 2, 3, 100})
      expectTasks(kernel, {input, weights, nullptr, nullptr, output, batch},
                  *executor, 7 * batch);
}

TEST_F(KernelTest, BatchGroupsDivideTheTasks) {
  Kernel kernel = kernelOf("conv1d:in=8x6,oc=4,k=3,bg=2,bias,residual", 5);
  ThreadPool pool(3);
  expectTasks(kernel, {input, weights, bias, residual, output, 6}, pool, 15);
}

TEST_F(KernelTest, OneThreadIsOneCall) {
  Kernel kernel = kernelOf("conv1d:in=8x6,oc=4,k=3", 7);
  InlineExecutor alone;
  expectTasks(kernel, {input, weights, nullptr, nullptr, output, 3}, alone, 21);
  EXPECT_EQ(calls, 1);
}

TEST_F(KernelTest, MissingTensorsAndBadBatches) {
  Kernel kernel = kernelOf("conv1d:in=8x6,oc=4,k=3,bg=2,bias,residual", 5);
  const Operands good{input, weights, bias, residual, output, 6};
  auto broken = [&](auto change) {
    Operands operands = good;
    change(operands);
    return operands;
  };
  using O = Operands &;
  expectError(kernel, broken([](O o) { o.input = nullptr; }), "input=null");
  expectError(kernel, broken([](O o) { o.packedWeights = nullptr; }),
              "packedWeights=null");
  expectError(kernel, broken([](O o) { o.bias = nullptr; }), "bias=null");
  expectError(kernel, broken([](O o) { o.residual = nullptr; }),
              "residual=null");
  expectError(kernel, broken([](O o) { o.output = nullptr; }), "output=null");
  expectError(kernel, broken([](O o) { o.batch = 5; }), "batch=5");
  expectError(kernel, broken([](O o) { o.batch = -2; }), "batch=-2");
  expectError(kernel, broken([](O o) { o.batch = INT64_MIN; }), "batch=-");
}

TEST_F(KernelTest, WhatTheLayerDoesNotReadMayBeNull) {
  Kernel kernel = kernelOf("conv1d:in=8x6,oc=4,k=3", 1);
  InlineExecutor alone;
  expectTasks(kernel, {input, weights, nullptr, nullptr, output, 1}, alone, 1);
  // No images: nothing is read and nothing written.
  expectTasks(kernel, {nullptr, nullptr, nullptr, nullptr, nullptr, 0}, alone,
              0);
  // No output: only the input, which has elements, must be there.
  Kernel empty = kernelOf("conv1d:in=2x6,oc=4,k=3,pad=valid,bias", 0);
  expectTasks(empty, {input, nullptr, nullptr, nullptr, nullptr, 4}, alone, 0);
  // No input: the output is the bias.
  Kernel padding = kernelOf("conv1d:in=0x6,oc=4,k=3,pad=2,bias", 2);
  expectTasks(padding, {nullptr, weights, bias, nullptr, output, 4}, alone, 8);
}

TEST_F(KernelTest, LargeBatchIsCheckedWithoutOverflow) {
  // 2^62 images: no product of sizes may be formed before the tensors that are
  // missing are reported.
  Kernel kernel = kernelOf("conv2d:in=64x64x6,oc=4,k=3", 7);
  expectError(kernel,
              {nullptr, weights, nullptr, nullptr, output, int64_t(1) << 62},
              "input=null");
}

static std::atomic<int64_t> stressSum;
static void addTasks(const ConvjitKernelArgs *args, int64_t begin,
                     int64_t end) {
  for (int64_t task = begin; task < end; ++task)
    stressSum += task * args->batch;
}

TEST_F(KernelTest, OneKernelOnManyThreadsAndBatches) {
  Kernel kernel = kernelOf("conv1d:in=8x6,oc=4,k=3", 3);
  kernel.run = addTasks;
  ThreadPool pool(3);
  stressSum = 0;
  std::vector<std::thread> callers;
  for (int64_t batch = 1; batch <= 6; ++batch)
    callers.emplace_back([&, batch] {
      for (int round = 0; round < 50; ++round)
        EXPECT_TRUE(runKernel(
            kernel, {input, weights, nullptr, nullptr, output, batch}, pool));
    });
  for (std::thread &caller : callers)
    caller.join();
  int64_t expected = 0;
  for (int64_t batch = 1; batch <= 6; ++batch)
    expected += 50 * batch * (3 * batch * (3 * batch - 1) / 2);
  EXPECT_EQ(stressSum, expected);
}

TEST_F(KernelTest, CodeLivesAsLongAsTheLastCopy) {
  bool released = false;
  {
    Kernel copy;
    {
      Kernel kernel = kernelOf("conv1d:in=8x6,oc=4,k=3", 1);
      kernel.code = std::shared_ptr<void>(
          &released, [](void *flag) { *static_cast<bool *>(flag) = true; });
      copy = kernel;
    }
    EXPECT_FALSE(released);
  }
  EXPECT_TRUE(released);
}
