//===- TensorViewTest.cpp - views, copies and checked calls -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "convjit/TensorView.h"

#include <gtest/gtest.h>

#include <numeric>

using namespace convjit;
using Axes = std::vector<int64_t>;

TEST(TensorView, StridesOfContiguousTensors) {
  float data[24];
  TensorView view = TensorView::contiguous(data, DataType::F32, {2, 3, 4});
  EXPECT_EQ(view.strides, (Axes{12, 4, 1}));
  EXPECT_EQ(view.elements(), 24);
  EXPECT_TRUE(view.isContiguous());
  EXPECT_TRUE(TensorView::contiguous(data, DataType::F32, {}).isContiguous());
}

TEST(TensorView, SlicesAndTransposesAreNotContiguous) {
  float data[24];
  TensorView view = TensorView::contiguous(data, DataType::F32, {2, 3, 4});
  EXPECT_FALSE(view.permuted({0, 2, 1}).isContiguous());
  EXPECT_FALSE(view.sliced(2, 0, 3).isContiguous());
  EXPECT_FALSE(view.sliced(0, 0, 2, 2).sliced(1, 0, 3, 2).isContiguous());
  // The first axis may be cut, and single elements have no stride to speak of.
  EXPECT_TRUE(view.sliced(0, 1, 2).isContiguous());
  EXPECT_TRUE(
      view.sliced(2, 1, 2).sliced(1, 1, 2).sliced(0, 0, 1).isContiguous());
  EXPECT_TRUE(view.sliced(1, 2, 2).isContiguous()); // no elements
}

TEST(TensorView, MemoryOrderUndoesATranspose) {
  float data[24];
  TensorView view = TensorView::contiguous(data, DataType::F32, {2, 3, 4});
  for (Axes order : {Axes{0, 1, 2}, Axes{2, 0, 1}, Axes{1, 2, 0}}) {
    TensorView moved = view.permuted(order);
    auto back = moved.memoryOrder();
    ASSERT_TRUE(back);
    EXPECT_EQ(moved.permuted(*back).shape, view.shape);
  }
  // Axes that the strides do not tell apart stay in their order.
  EXPECT_EQ(TensorView::contiguous(data, DataType::F32, {1, 3, 1, 2, 1})
                .permuted({3, 2, 1, 0, 4})
                .memoryOrder(),
            (Axes{1, 3, 4, 2, 0}));
  TensorView empty = TensorView::contiguous(data, DataType::F32, {2, 0, 3, 0});
  EXPECT_EQ(empty.strides, (Axes{0, 0, 0, 1}));
  EXPECT_EQ(empty.memoryOrder(), (Axes{3, 0, 1, 2}));
  EXPECT_FALSE(view.sliced(2, 0, 4, 2).memoryOrder());
  TensorView reversed = view;
  reversed.strides[2] = -1;
  EXPECT_FALSE(reversed.memoryOrder());
  TensorView broadcast = view;
  broadcast.strides[1] = 0;
  EXPECT_FALSE(broadcast.memoryOrder());
}

TEST(TensorView, CopiesFollowStrides) {
  std::vector<double> from(24), to(6);
  std::iota(from.begin(), from.end(), 0);
  TensorView source =
      TensorView::contiguous(from.data(), DataType::F64, {2, 3, 4});
  // [1, 0:3, 3::-2] transposed: elements 15, 19, 23 and 13, 17, 21.
  TensorView part =
      source.sliced(0, 1, 2).sliced(2, 1, 4, 2).permuted({2, 1, 0});
  TensorView target =
      TensorView::contiguous(to.data(), DataType::F64, {2, 3, 1});
  ASSERT_TRUE(copyElements(part, target));
  EXPECT_EQ(to, (std::vector<double>{13, 17, 21, 15, 19, 23}));
  EXPECT_FALSE(copyElements(source, target));
  target.dtype = DataType::F32;
  EXPECT_FALSE(copyElements(part, target));
}

static int64_t tasksRun;
static void fakeKernel(const ConvjitKernelArgs *args, int64_t begin,
                       int64_t end) {
  EXPECT_EQ(args->batch, 4);
  tasksRun += end - begin;
}

TEST(TensorView, CallsAreChecked) {
  Kernel kernel;
  kernel.conv = *lower(*parseProblem("conv1d:in=8x6,oc=4,k=3,bias,residual"));
  kernel.run = fakeKernel;
  kernel.tasksPerImage = 2;
  std::vector<float> data(4 * 8 * 6);
  auto tensor = [&](Axes shape) {
    return TensorView::contiguous(data.data(), DataType::F32, shape);
  };
  TensorOperands good{tensor({4, 8, 6}), tensor({4}), tensor({4, 8, 4}),
                      tensor({4, 8, 4}), data.data()};
  InlineExecutor executor;
  tasksRun = 0;
  ASSERT_TRUE(runKernel(kernel, good, executor));
  EXPECT_EQ(tasksRun, 8);
  auto expectError = [&](const char *names, auto breakIt) {
    TensorOperands operands = good;
    breakIt(operands);
    tasksRun = 0;
    Status status = runKernel(kernel, operands, executor);
    ASSERT_FALSE(status) << names;
    EXPECT_EQ(status.error().kind, ErrorKind::BadInput);
    EXPECT_NE(status.error().message.find(names), std::string::npos)
        << status.error().message;
    EXPECT_EQ(tasksRun, 0);
  };
  using O = TensorOperands &;
  expectError("input has shape 4x8", [](O o) { o.input.shape = {4, 8}; });
  expectError("input has shape 4x8x5", [](O o) { o.input.shape[2] = 5; });
  expectError("output has shape", [](O o) { o.output.shape[0] = 3; });
  expectError("bias has shape", [](O o) { o.bias.shape[0] = 5; });
  expectError("residual has dtype f64",
              [](O o) { o.residual.dtype = DataType::F64; });
  expectError("input has strides", [](O o) { o.input.strides[1] = 12; });
  expectError("input has 2 strides", [](O o) { o.input.strides.pop_back(); });
}

TEST(TensorView, InputsWithGapsGoToKernelsForTheirStrides) {
  Kernel kernel;
  kernel.conv = *lower(*parseProblem("conv1d:in=8x6,oc=4,k=3"));
  // Every second pixel of larger rows.
  kernel.conv.inputStrides = {200, 20, 1};
  ASSERT_TRUE(validate(kernel.conv));
  kernel.run = fakeKernel;
  kernel.tasksPerImage = 2;
  std::vector<float> data(1000);
  TensorOperands operands{
      TensorView{data.data(), DataType::F32, {4, 8, 6}, {200, 20, 1}},
      {},
      {},
      TensorView::contiguous(data.data(), DataType::F32, {4, 8, 4}),
      data.data()};
  InlineExecutor executor;
  tasksRun = 0;
  ASSERT_TRUE(runKernel(kernel, operands, executor));
  EXPECT_EQ(tasksRun, 8);
  auto refused = [&](const char *text) {
    Status status = runKernel(kernel, operands, executor);
    ASSERT_FALSE(status);
    EXPECT_EQ(status.error().message, text);
  };
  operands.input.strides[1] = 10;
  refused("input has strides 200x10x1; valid: the convolution's inputStrides, "
          "200x20x1");
  // Nor does it read what is contiguous.
  operands.input.strides = {48, 6, 1};
  refused("input has strides 48x6x1; valid: the convolution's inputStrides, "
          "200x20x1");
  operands.input.strides = {200, 20, 1};
  operands.output.strides[1] = 8;
  EXPECT_FALSE(runKernel(kernel, operands, executor));
}

TEST(TensorView, AxesOfLengthOneMayHaveAnyStride) {
  TensorView view{nullptr, DataType::F32, {1, 8, 1}, {7, 20, 3}};
  EXPECT_TRUE(view.hasStrides({200, 20, 1}));
  EXPECT_FALSE(view.hasStrides({7, 21, 3}));
  EXPECT_FALSE(view.hasStrides({7, 20}));
  view.shape[1] = 0;
  EXPECT_TRUE(view.hasStrides({1, 1, 1}));
}
