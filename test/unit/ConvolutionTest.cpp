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
      // Plain: ceil(n/s) outputs, the larger half of an odd total last.
      {"conv1d:in=9x8,oc=4,k=3,s=2", 1, 1, 5},
      {"conv1d:in=8x8,oc=4,k=3,s=2", 0, 1, 4},
      {"conv1d:in=7x8,oc=4,k=3,s=1,pad=valid", 0, 0, 5},
      {"conv1d:in=2x8,oc=4,k=5,pad=valid", 0, 0, 0},
      {"conv1d:in=0x8,oc=4,k=1,pad=2", 2, 2, 4},
      {"conv1d:in=5x8,oc=4,k=3,ld=2,pad=0", 0, 0, 7},
      // SAME sees the dilated input: 7 elements, 4 outputs.
      {"conv1d:in=4x8,oc=4,k=3,ld=2,s=2", 1, 1, 4},
      // Strides longer than the kernel need no padding, and crop nothing.
      {"conv1d:in=7x8,oc=4,k=1,s=3", 0, 0, 3},
      {"conv1d:in=6x8,oc=4,k=2,s=4", 0, 0, 2},
      // Cropped to nothing, and beyond.
      {"conv1d:in=5x8,oc=4,k=1,pad=-3:-2", -3, -2, 0},
      {"conv1d:in=5x8,oc=4,k=1,pad=-9:-9", -9, -9, 0},
      {"conv1d:in=5x8,oc=4,k=2,pad=-9:6", -9, 6, 1},
      {"convT1d:in=0x8,oc=4,k=3,s=2", 2, 1, 1}};
  for (const Sizes &item : cases) {
    SpatialDim dim = lowered(item.text).dims[0];
    EXPECT_EQ(dim.padLow, item.lo) << item.text;
    EXPECT_EQ(dim.padHigh, item.hi) << item.text;
    EXPECT_EQ(dim.output(), item.out) << item.text;
  }
}

/// A transposed layer of one dimension as PyTorch or ONNX states it.
struct Foreign {
  int64_t n, k, s, d, before, after, outputPadding, out;
};

/// Both pad by ek-1-p before and ek-1-p+op after; PyTorch's p is on both sides.
static void expectForeign(const Foreign &f) {
  int64_t ek = (f.k - 1) * f.d + 1;
  std::string text = "convT1d:in=" + std::to_string(f.n) +
                     "x2,oc=3,k=" + std::to_string(f.k) +
                     ",s=" + std::to_string(f.s) + ",d=" + std::to_string(f.d) +
                     ",pad=" + std::to_string(ek - 1 - f.before) + ":" +
                     std::to_string(ek - 1 - f.after + f.outputPadding);
  EXPECT_EQ(lowered(text.c_str()).dims[0].output(), f.out) << text;
}

TEST(Convolution, PyTorchOutputLengths) {
  // (n-1)*s - 2p + d*(k-1) + op + 1, worked out by hand.
  for (Foreign f : {Foreign{5, 3, 2, 1, 1, 1, 0, 9},
                    {5, 3, 2, 1, 1, 1, 1, 10},
                    {5, 4, 2, 1, 1, 1, 0, 10},
                    {5, 3, 2, 2, 1, 1, 0, 11},
                    {5, 3, 1, 1, 0, 0, 0, 7},
                    {5, 2, 3, 1, 0, 0, 2, 16},
                    {5, 3, 2, 1, 3, 3, 0, 5},
                    {1, 1, 1, 1, 0, 0, 0, 1},
                    {9, 4, 2, 1, 1, 1, 0, 18}})
    expectForeign(f);
}

TEST(Convolution, OnnxOutputLengths) {
  // (n-1)*s + op + ek - pb - pe; the last two are output_shape = 10 with a
  // total of -1, which SAME_UPPER floors to the front and others to the end.
  for (Foreign f : {Foreign{4, 3, 2, 1, 0, 1, 0, 8},
                    {4, 3, 2, 1, 1, 0, 0, 8},
                    {3, 3, 2, 1, 0, 0, 0, 7},
                    {3, 3, 3, 1, 0, 0, 1, 10},
                    {3, 2, 2, 2, 1, 0, 0, 6},
                    {3, 3, 3, 1, -1, 0, 0, 10},
                    {3, 3, 3, 1, 0, -1, 0, 10}})
    expectForeign(f);
}

TEST(Convolution, EachDimensionHasItsOwnPadding) {
  // ek 5, s 2: 3 and 2. k 2, s 3: 1 and 2. k 5, s 1: 2 and 2.
  Problem p = *parseProblem("convT3d:in=3x4x5x2,oc=2,k=3x2x5,s=2x3x1,d=2x1x1");
  EXPECT_EQ(resolvedPadding(p), (std::vector<PadPair>{{3, 2}, {1, 2}, {2, 2}}));
  EXPECT_EQ(lower(p)->outputShape(2), (std::vector<int64_t>{2, 6, 12, 5, 2}));
  p = *parseProblem("convT2d:in=3x4x2,oc=2,k=3,pad=-1:2x0:5");
  EXPECT_EQ(resolvedPadding(p), (std::vector<PadPair>{{-1, 2}, {0, 5}}));
  p = *parseProblem("conv2d:in=9x8x2,oc=2,k=3x4,s=2,pad=valid");
  EXPECT_EQ(resolvedPadding(p), (std::vector<PadPair>{{0, 0}, {0, 0}}));
  Convolution doc = lowered("convT3d:in=8x16x16x64,oc=32,k=4,s=2");
  EXPECT_EQ(doc.outputShape(1), (std::vector<int64_t>{1, 16, 32, 32, 32}));
  EXPECT_EQ(doc.kernelShape(), (std::vector<int64_t>{4, 4, 4, 32, 64}));
}

TEST(Convolution, TransposedContract) {
  // SAME is n*s, VALID n*s + max(ek-s, 0), explicit (n-1)*s + 2 + lo+hi - ek.
  for (int64_t n = 1; n <= 5; ++n)
    for (int64_t k = 1; k <= 5; ++k)
      for (int64_t s = 1; s <= 5; ++s)
        for (int64_t d = 1; d <= 3; ++d) {
          std::string text = "convT1d:in=" + std::to_string(n) +
                             "x1,oc=1,k=" + std::to_string(k) +
                             ",s=" + std::to_string(s) +
                             ",d=" + std::to_string(d);
          int64_t ek = (k - 1) * d + 1;
          auto out = [&](const char *pad) {
            return lowered((text + pad).c_str()).dims[0].output();
          };
          ASSERT_EQ(out(""), n * s) << text;
          ASSERT_EQ(out(",pad=valid"), n * s + std::max<int64_t>(ek - s, 0))
              << text;
          ASSERT_EQ(out(",pad=3:1"),
                    std::max<int64_t>((n - 1) * s + 2 + 4 - ek, 0))
              << text;
          ASSERT_EQ(out(",pad=-2:1"),
                    std::max<int64_t>((n - 1) * s + 2 - 1 - ek, 0))
              << text;
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
  expect("C1", [](C c) { c.dims.clear(); });
  expect("C3", [](C c) { c.dims[0].windowStride = int64_t(1) << 40; });
  expect("C4", [](C c) { c.dims[1].padLow = INT64_MIN; });
  expect("C12", [](C c) { c.numbers.inputSpatial = {1, 2, 3}; });
  expect("C13", [](C c) { c.numbers.inputBatch = -1; });
  expect("C13", [](C c) { c.numbers.inputFeature = 4; });
  expect("C18", [](C c) { c.numbers.kernelSpatial = {0, 0}; });
  expect("C20", [](C c) { c.numbers.outputSpatial = {1, INT64_MAX}; });
  expect("shape", [](C c) { c.dims[0].input = -1; });
  expect("shape", [](C c) { c.dims[0].kernel = 0; });
  expect("shape", [](C c) { c.inChannels = 0; });
  expect("shape", [](C c) { c.outChannels = int64_t(1) << 40; });
  expect("shape",
         [](C c) { c.dims[0].input = c.dims[1].input = int64_t(1) << 31; });
  expect("mask has 1 elements; valid", [](C c) { c.mask = {1}; });
  // Sizes just inside and at the limit of 2^40.
  Convolution wide = lowered("conv1d:in=1x1,oc=1,k=1,pad=0");
  wide.dims[0].input = int64_t(1) << 20;
  wide.inChannels = int64_t(1) << 20;
  EXPECT_TRUE(validate(wide));
  wide.inChannels += 1;
  EXPECT_FALSE(validate(wide));
}

TEST(Convolution, FieldErrorsNameBothLimits) {
  Convolution good = lowered("conv2d:in=8x9x6,oc=4,k=2x3");
  constexpr int64_t beyond = (int64_t(1) << 31) + 1;
  auto expect = [&](const std::string &message, auto breakIt) {
    Convolution conv = good;
    breakIt(conv);
    Status status = validate(conv);
    ASSERT_FALSE(status) << message;
    EXPECT_EQ(status.error().message, message);
  };
  using C = Convolution &;
  expect("C3: windowStride[1]=0; valid: 1 to 2^31",
         [](C c) { c.dims[1].windowStride = 0; });
  expect("C8: kernelDilation[0]=2147483649; valid: 1 to 2^31",
         [](C c) { c.dims[0].kernelDilation = beyond; });
  expect("C4: padLow[0]=-2147483649; valid: -2^31 to 2^31",
         [](C c) { c.dims[0].padLow = -beyond; });
  expect("shape: input[1]=-1; valid: 0 to 2^31",
         [](C c) { c.dims[1].input = -1; });
  for (int64_t kernel : {int64_t(0), (int64_t(1) << 24) + 1, beyond})
    expect("shape: kernel[0]=" + std::to_string(kernel) + "; valid: 1 to 2^24",
           [&](C c) { c.dims[0].kernel = kernel; });
  for (int64_t value : {int64_t(0), int64_t(-4), beyond}) {
    std::string rest = "=" + std::to_string(value) + "; valid: 1 to 2^31";
    expect("C21: groups" + rest, [&](C c) { c.groups = value; });
    expect("C22: batchGroups" + rest, [&](C c) { c.batchGroups = value; });
    expect("shape: inChannels" + rest, [&](C c) { c.inChannels = value; });
    expect("shape: outChannels" + rest, [&](C c) { c.outChannels = value; });
  }
}

TEST(Convolution, EmptyTensorsHaveBoundedStridesToo) {
  // No elements, but 2^31 * 2^31 of them would be between two images.
  Convolution conv = lowered("conv3d:in=0x1x1x1,oc=1,k=1,pad=0");
  conv.dims[1].input = conv.dims[2].input = int64_t(1) << 31;
  Status status = validate(conv);
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().message,
            "shape: input has more than 2^40 elements, a size of 0 counted as "
            "1; valid: at most 2^40");
  // The limit itself is good, with a size of 0 as without.
  conv.dims[1].input = conv.dims[2].input = int64_t(1) << 20;
  EXPECT_TRUE(validate(conv)) << validate(conv).error().message;
  conv.dims[0].input = 1;
  EXPECT_TRUE(validate(conv));
  // An output can be empty as well.
  conv = lowered("conv2d:in=1x1x1,oc=1,k=2x1,pad=0");
  conv.dims[1].padHigh = int64_t(1) << 31;
  conv.outChannels = 1 << 10;
  ASSERT_EQ(conv.dims[0].output(), 0);
  EXPECT_FALSE(validate(conv));
  conv.outChannels = 1 << 8;
  EXPECT_TRUE(validate(conv));
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

TEST(Convolution, MacsAreCappedBeforeTheyOverflow) {
  constexpr int64_t cap = (int64_t(1) << 62) - 1;
  // About 2^50 pairs of output and tap, for each of 2^14 output channels.
  Convolution conv = lowered("conv1d:in=67108864x1,oc=16384,k=16777216");
  EXPECT_EQ(countMacs(conv, 1), cap);
  EXPECT_EQ(countMacs(conv, 0), 0);
  // By the batch alone; and a count just inside.
  conv = lowered("conv1d:in=4x1,oc=3,k=1");
  EXPECT_EQ(countMacs(conv, int64_t(1) << 61), cap);
  EXPECT_EQ(countMacs(conv, int64_t(1) << 58), 12 * (int64_t(1) << 58));
  // With a mask, the sum over weights; nothing stays nothing.
  conv.mask = {1, 1, 0};
  EXPECT_EQ(countMacs(conv, int64_t(1) << 58), 8 * (int64_t(1) << 58));
  EXPECT_EQ(countMacs(conv, int64_t(1) << 60), cap);
  EXPECT_EQ(countMacs(conv, INT64_MAX), cap);
  conv.mask = {0, 0, 0};
  EXPECT_EQ(countMacs(conv, INT64_MAX), 0);
}

TEST(Convolution, MacsOfEverySmallDimension) {
  Convolution conv = lowered("conv1d:in=1x1,oc=1,k=1");
  SpatialDim &dim = conv.dims[0];
  auto check = [&] {
    int64_t expected = 0;
    for (int64_t o = 0; o < dim.output(); ++o)
      for (int64_t t = 0; t < dim.kernel; ++t) {
        int64_t p = o * dim.windowStride + t * dim.kernelDilation - dim.padLow;
        expected += p >= 0 && p % dim.inputDilation == 0 &&
                    p / dim.inputDilation < dim.input;
      }
    ASSERT_EQ(countMacs(conv, 1), expected) << describe({conv, ""});
  };
  for (dim.input = 0; dim.input <= 5; ++dim.input)
    for (dim.kernel = 1; dim.kernel <= 3; ++dim.kernel)
      for (dim.windowStride = 1; dim.windowStride <= 6; ++dim.windowStride)
        for (dim.inputDilation = 1; dim.inputDilation <= 6; ++dim.inputDilation)
          for (dim.kernelDilation = 1; dim.kernelDilation <= 3;
               ++dim.kernelDilation)
            for (dim.padLow = -3; dim.padLow <= 5; dim.padLow += 2)
              for (dim.padHigh = -3; dim.padHigh <= 5; dim.padHigh += 2)
                ASSERT_NO_FATAL_FAILURE(check());
}

TEST(Convolution, SpanOfAnInputWithGaps) {
  Convolution conv = *lower(*parseProblem("conv2d:in=5x4x6,oc=2,k=3"));
  EXPECT_EQ(conv.stridesOfInput(3), (std::vector<int64_t>{120, 24, 6, 1}));
  EXPECT_EQ(conv.inputSpan(3), (MemorySpan{0, 360}));
  EXPECT_EQ(conv.inputSpan(0).elements(), 0);
  conv.inputStrides = {1000, 100, 10, 1};
  ASSERT_TRUE(validate(conv));
  EXPECT_EQ(conv.stridesOfInput(3), conv.inputStrides);
  EXPECT_EQ(conv.inputSpan(1), (MemorySpan{0, 436}));
  EXPECT_EQ(conv.inputSpan(3), (MemorySpan{0, 2436}));
  // Rows from the last to the first, and one pixel for all of a row.
  conv.inputStrides = {1000, -100, 0, 1};
  ASSERT_TRUE(validate(conv));
  EXPECT_EQ(conv.inputSpan(2), (MemorySpan{-400, 1006}));
  EXPECT_EQ(conv.inputSpan(0), (MemorySpan{0, 0}));
  conv.inputStrides.pop_back();
  Status status = validate(conv);
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().message,
            "inputStrides has 3 entries; valid: one for each of the input's 4 "
            "axes, or none");
  // Gaps are those of the gradient's input too.
  conv.inputStrides = {1000, 100, 10, 1};
  EXPECT_EQ(lowerWeightGradient(conv, 2)->inputStrides, conv.inputStrides);
}
