//===- LimitsTest.cpp - sizes near 32 and 64 bits, run -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "convjit/Reference.h"
#include "convjit/convjit.hpp"

#include <gtest/gtest.h>

#include <sys/mman.h>

using namespace convjit::host;

namespace {

/// Zeros; only pages that are written take memory.
class Sparse {
public:
  explicit Sparse(size_t bytes)
      : bytes(bytes),
        at(mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)) {}
  ~Sparse() { munmap(at, bytes); }
  bool good() const { return at != MAP_FAILED; }
  float &operator[](int64_t i) { return static_cast<float *>(at)[i]; }
  float *data() { return static_cast<float *>(at); }

private:
  size_t bytes;
  void *at;
};

class LimitsTest : public ::testing::Test {
protected:
  void SetUp() override {
    auto options = make<convjit_context_options>();
    options.cache = CONVJIT_CACHE_MEMORY;
    ASSERT_TRUE(call(convjit_context_create, &options, context.out()));
  }
  void compile(const char *problem) {
    Result parsed = call(convjit_layer_parse, problem, layer.out());
    ASSERT_TRUE(parsed) << parsed.message();
    Result made = call(convjit_compile, context.get(), layer.get(), nullptr,
                       kernel.out());
    ASSERT_TRUE(made) << problem << ": " << made.message();
  }
  Result run(Tensor input, Tensor output, std::vector<float> weights) {
    Tensor weight(weights.data(),
                  shapeOf(layer, CONVJIT_TENSOR_WEIGHT, /*batch=*/1));
    std::vector<float> packed(256);
    if (Result done = call(convjit_kernel_pack, kernel.get(), weight.get(),
                           packed.data(), packed.size() * 4);
        !done)
      return done;
    auto now = make<convjit_call>();
    now.input = input.get();
    now.packed_weights = packed.data();
    now.output = output.get();
    return call(convjit_kernel_run, kernel.get(), &now);
  }

  Context context;
  Layer layer;
  Kernel kernel;
};

TEST_F(LimitsTest, OffsetsBeyond32Bits) {
  // Three images of 2^31 elements; the two taps are its first and last pixel.
  constexpr int64_t n = int64_t(1) << 30, image = n * 2;
  compile("conv1d:in=1073741824x2,oc=1,k=2,d=1073741823,pad=valid");
  Sparse x(3 * image * sizeof(float));
  ASSERT_TRUE(x.good());
  for (int64_t b = 0; b < 3; ++b)
    for (int64_t c = 0; c < 2; ++c) {
      x[b * image + c] = static_cast<float>(1 + b + 3 * c);
      x[b * image + (n - 1) * 2 + c] = static_cast<float>(7 + b + 5 * c);
    }
  float y[3] = {};
  Result ran = run({x.data(), {3, n, 2}}, {y, {3, 1, 1}}, {1, 10, 100, 1000});
  ASSERT_TRUE(ran) << ran.message();
  for (int64_t b = 0; b < 3; ++b)
    EXPECT_EQ(y[b],
              float(1 + b + 10 * (4 + b) + 100 * (7 + b) + 1000 * (12 + b)));
}

TEST_F(LimitsTest, StridesBeyond32Bits) {
  constexpr int64_t stride = (int64_t(1) << 32) + 5;
  compile("conv1d:in=4x1,oc=1,k=2,pad=valid");
  Sparse x(4 * stride * sizeof(float)), y(3 * stride * sizeof(float));
  ASSERT_TRUE(x.good() && y.good());
  for (int64_t i = 0; i < 4; ++i)
    x[i * stride] = static_cast<float>(1 + i);
  // Backwards in the output.
  Result ran = run({x.data(), {1, 4, 1}, {INT64_MAX, stride, INT64_MIN}},
                   {&y[2 * stride], {1, 3, 1}, {1, -stride, 1}}, {10, 1});
  ASSERT_TRUE(ran) << ran.message();
  EXPECT_EQ(y[2 * stride], 12);
  EXPECT_EQ(y[stride], 23);
  EXPECT_EQ(y[0], 34);
}

TEST_F(LimitsTest, AttributesAtTheirLargest) {
  for (const char *problem :
       {"conv1d:in=8x1,oc=1,k=3,s=1073741824,pad=1073741824",
        "conv1d:in=7x1,oc=1,k=3,d=536870912,s=536870911,pad=536870912",
        "conv1d:in=3x1,oc=1,k=2,ld=1073741824,s=268435456,pad=1:-1000000000",
        "convT1d:in=3x1,oc=1,k=4,s=65536,pad=-65530",
        "convT1d:in=3x1,oc=1,k=4,s=65536,pad=-65530,grad=input"}) {
    compile(problem);
    std::vector<int64_t> in = shapeOf(layer, CONVJIT_TENSOR_INPUT, 2),
                         out = shapeOf(layer, CONVJIT_TENSOR_OUTPUT, 2);
    auto size = [](const std::vector<int64_t> &shape) {
      return static_cast<size_t>(shape[0] * shape[1] * shape[2]);
    };
    std::vector<float> x(size(in)), y(size(out), -99), w = {1, 10, 100, 1000};
    w.resize(size(shapeOf(layer, CONVJIT_TENSOR_WEIGHT, 1)));
    for (size_t i = 0; i < x.size(); ++i)
      x[i] = static_cast<float>(i % 9 + 1);
    Result ran = run({x.data(), in}, {y.data(), out}, w);
    ASSERT_TRUE(ran) << ran.message();
    std::vector<double> wanted =
        convjit::referenceConvolution(
            *convjit::lower(*convjit::parseProblem(problem)),
            {{x.begin(), x.end()}, {w.begin(), w.end()}, {}, {}}, 2)
            .output;
    ASSERT_EQ(wanted.size(), y.size());
    for (size_t i = 0; i < y.size(); ++i)
      ASSERT_EQ(y[i], wanted[i]) << problem << " " << i;
  }
}

TEST_F(LimitsTest, RefusedBeyondThem) {
  for (int64_t size : {(int64_t(1) << 30) + 1, int64_t(1) << 31,
                       int64_t(1) << 32, int64_t(1) << 62, INT64_MAX})
    for (const char *start : {"s=", "d=", "ld=", "pad=", "pad=-"}) {
      std::string problem =
          "conv1d:in=8x1,oc=1,k=3," + std::string(start) + std::to_string(size);
      Result parsed = call(convjit_layer_parse, problem.c_str(), layer.out());
      EXPECT_EQ(parsed.status(), CONVJIT_STATUS_INVALID_ARGUMENT) << problem;
      EXPECT_NE(std::string(parsed.message()).find(std::to_string(size)),
                std::string::npos)
          << parsed.message();
    }
  // Batches that make a tensor of more than 2^48 bytes, or overflow.
  compile("conv1d:in=4x1,oc=1,k=2,pad=valid");
  float x[4] = {}, y[3] = {};
  for (int64_t batch : {int64_t(1) << 45, int64_t(1) << 62, INT64_MAX}) {
    Result ran = run({x, {batch, 4, 1}, {0, 1, 1}},
                     {y, {batch, 3, 1}, {0, 1, 1}}, {1, 1});
    EXPECT_EQ(ran.status(), CONVJIT_STATUS_INVALID_ARGUMENT) << batch;
    EXPECT_NE(std::string(ran.message()).find("batch"), std::string::npos)
        << ran.message();
  }
}

} // namespace
