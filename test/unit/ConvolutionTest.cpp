//===- ConvolutionTest.cpp - sizes, paddings, constraints, work -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "convjit/Convolution.h"
#include "RandomConvolution.h"

#include <gtest/gtest.h>

using namespace convjit;

static Convolution lowered(const char *text) {
  Expected<Problem> problem = parseProblem(text);
  EXPECT_TRUE(problem) << text;
  Expected<Convolution> conv = lower(*problem);
  EXPECT_TRUE(conv) << text << ": " << conv.error().message;
  return *conv;
}

/// Output length and padding of a one-dimensional layer.
struct Sizes {
  const char *text;
  int64_t lo, hi, out;
};

TEST(Convolution, PaddingAndOutputOfLayers) {
  // Worked out by hand from the tables of docs/semantics.md.
  Sizes cases[] = {
      // Transposed, SAME: n*s outputs; the larger half of an odd total first.
      {"convT1d:in=16x8,oc=4,k=4,s=2", 2, 2, 32},
      {"convT1d:in=16x8,oc=4,k=3,s=2", 2, 1, 32},
      {"convT1d:in=16x8,oc=4,k=2,s=2", 1, 1, 32},
      {"convT1d:in=5x8,oc=4,k=5,s=3", 3, 3, 15},
      {"convT1d:in=5x8,oc=4,k=4,s=3", 3, 2, 15},
      // Stride at least the kernel: everything missing is at the end.
      {"convT1d:in=5x8,oc=4,k=2,s=3", 1, 2, 15},
      {"convT1d:in=5x8,oc=4,k=1,s=4", 0, 3, 20},
      // Dilated kernel: k 3, d 2 reaches 5.
      {"convT1d:in=5x8,oc=4,k=3,s=2,d=2", 3, 2, 10},
      // Transposed, VALID: n*s + max(ek-s, 0).
      {"convT1d:in=16x8,oc=4,k=3,s=2,pad=valid", 2, 2, 33},
      {"convT1d:in=4x8,oc=4,k=2,s=3,pad=valid", 1, 2, 12},
      // Explicit padding is added: (n-1)*s + 2 + lo + hi - ek.
      {"convT1d:in=8x8,oc=4,k=3,s=2,pad=1:2", 1, 2, 16},
      {"convT1d:in=8x8,oc=4,k=3,s=2,pad=-1:0", -1, 0, 12},
      // PyTorch: k 4, s 2, p 1 is ek-1-p = 2 on both sides, 2n outputs; with
      // output_padding 1 and k 3, p 1: 1 and 2.
      {"convT1d:in=9x8,oc=4,k=4,s=2,pad=2", 2, 2, 18},
      {"convT1d:in=9x8,oc=4,k=3,s=2,pad=1:2", 1, 2, 18},
      // Plain: ceil(n/s) outputs, the larger half of an odd total last.
      {"conv1d:in=9x8,oc=4,k=3,s=2", 1, 1, 5},
      {"conv1d:in=8x8,oc=4,k=3,s=2", 0, 1, 4},
      {"conv1d:in=7x8,oc=4,k=3,s=1,pad=valid", 0, 0, 5},
      {"conv1d:in=2x8,oc=4,k=5,pad=valid", 0, 0, 0},
      {"conv1d:in=0x8,oc=4,k=1,pad=2", 2, 2, 4},
      {"conv1d:in=5x8,oc=4,k=3,ld=2,pad=0", 0, 0, 7}};
  for (const Sizes &item : cases) {
    SpatialDim dim = lowered(item.text).dims[0];
    EXPECT_EQ(dim.padLow, item.lo) << item.text;
    EXPECT_EQ(dim.padHigh, item.hi) << item.text;
    EXPECT_EQ(dim.output(), item.out) << item.text;
  }
}

TEST(Convolution, AxesOfLayers) {
  Convolution last = lowered("convT2d:in=8x9x6,oc=4,k=2x3");
  EXPECT_EQ(last.inputShape(5), (std::vector<int64_t>{5, 8, 9, 6}));
  EXPECT_EQ(last.kernelShape(), (std::vector<int64_t>{2, 3, 4, 6}));
  EXPECT_EQ(last.outputShape(5), (std::vector<int64_t>{5, 8, 9, 4}));
  EXPECT_TRUE(last.dims[0].reversed);
  Convolution first =
      lowered("conv2d:in=6x8x9,oc=4,k=2x3,g=2,layout=channels_first");
  EXPECT_EQ(first.inputShape(5), (std::vector<int64_t>{5, 6, 8, 9}));
  EXPECT_EQ(first.kernelShape(), (std::vector<int64_t>{2, 3, 3, 4}));
  EXPECT_EQ(first.outputShape(5), (std::vector<int64_t>{5, 4, 8, 9}));
  EXPECT_FALSE(first.dims[0].reversed);
}

TEST(Convolution, BatchGroupsDivideTheBatch) {
  Convolution conv = lowered("conv1d:in=8x6,oc=4,k=3,bg=2");
  EXPECT_EQ(conv.inputShape(6)[0], 6);
  EXPECT_EQ(conv.outputShape(6)[0], 3);
}

TEST(Convolution, ConstraintsByLabel) {
  Convolution good = lowered("conv2d:in=8x9x6,oc=4,k=2x3");
  EXPECT_TRUE(validate(good));
  auto expect = [&](const char *label, auto breakIt) {
    Convolution conv = good;
    breakIt(conv);
    Status status = validate(conv);
    ASSERT_FALSE(status) << label;
    EXPECT_EQ(status.error().kind, ErrorKind::BadInput);
    EXPECT_EQ(status.error().message.rfind(std::string(label) + ":", 0), 0u)
        << status.error().message;
  };
  using C = Convolution &;
  expect("C1", [](C c) { c.dims.resize(4); });
  expect("C3", [](C c) { c.dims[1].windowStride = 0; });
  expect("C4", [](C c) { c.dims[0].padHigh = int64_t(1) << 40; });
  expect("C6", [](C c) { c.dims[0].inputDilation = -1; });
  expect("C8", [](C c) { c.dims[0].kernelDilation = 0; });
  expect("C11", [](C c) { c.groups = 4; });
  expect("C12", [](C c) { c.numbers.inputSpatial = {1}; });
  expect("C13", [](C c) { c.numbers.inputSpatial = {1, 1}; });
  expect("C15", [](C c) { c.batchGroups = 3; });
  expect("C16", [](C c) { c.groups = 3; });
  expect("C17", [](C c) { c.numbers.kernelSpatial = {}; });
  expect("C18", [](C c) { c.numbers.kernelInputFeature = 0; });
  expect("C19", [](C c) { c.numbers.outputSpatial.push_back(4); });
  expect("C20", [](C c) { c.numbers.outputBatch = 7; });
  expect("C21", [](C c) { c.groups = 0; });
  expect("C22", [](C c) { c.batchGroups = -1; });
  expect("C23", [](C c) { c.groups = c.batchGroups = 2; });
}

/// Every product of the definition, counted one by one.
static int64_t countOneByOne(const Convolution &conv, int64_t batch) {
  int64_t total = 0;
  std::vector<int64_t> shape = conv.kernelShape();
  int64_t weights = 1;
  for (int64_t size : shape)
    weights *= size;
  for (int64_t index = 0; index < weights; ++index) {
    if (!conv.mask.empty() && conv.mask[static_cast<size_t>(index)] == 0)
      continue;
    std::vector<int64_t> at(shape.size());
    for (int64_t axis = static_cast<int64_t>(shape.size()) - 1, rest = index;
         axis >= 0; --axis) {
      at[static_cast<size_t>(axis)] = rest % shape[static_cast<size_t>(axis)];
      rest /= shape[static_cast<size_t>(axis)];
    }
    int64_t outputs = batch / conv.batchGroups;
    for (size_t i = 0; i < conv.dims.size(); ++i) {
      const SpatialDim &dim = conv.dims[i];
      int64_t tap = at[static_cast<size_t>(conv.numbers.kernelSpatial[i])];
      if (dim.reversed)
        tap = dim.kernel - 1 - tap;
      int64_t hits = 0;
      for (int64_t o = 0; o < dim.output(); ++o) {
        int64_t p =
            o * dim.windowStride + tap * dim.kernelDilation - dim.padLow;
        hits += p >= 0 && p % dim.inputDilation == 0 &&
                p / dim.inputDilation < dim.input;
      }
      outputs *= hits;
    }
    total += outputs;
  }
  return total;
}

TEST(Convolution, MacsAreTrueTaps) {
  // 1-D, k 4, s 2, SAME: two taps an output, less one at either end.
  EXPECT_EQ(countMacs(lowered("convT1d:in=16x1,oc=1,k=4,s=2"), 1), 2 * 32 - 2);
  // Inserted zeros do not count: VALID k 1 s 4 has one tap in four outputs.
  EXPECT_EQ(countMacs(lowered("convT1d:in=5x3,oc=2,k=1,s=4"), 2),
            2 * 5 * 3 * 2);
  for (uint64_t seed = 0; seed < 300; ++seed) {
    Random random(seed);
    NamedConvolution named = randomConvolution(random);
    int64_t batch = 2 * named.conv.batchGroups;
    ASSERT_EQ(countMacs(named.conv, batch), countOneByOne(named.conv, batch))
        << describe(named);
  }
}
