//===- TensorsTest.cpp - strides and errors of the C interface's tensors -*- C++
//-*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "ScaledKernel.h"

namespace {

class TensorsTest : public RuntimeTest {};

TEST_F(TensorsTest, AnyStridesInCallersScratch) {
  Counted memory;
  convjit_allocator allocator = memory.allocator();
  auto options = make<convjit_context_options>();
  options.allocator = &allocator;
  Context context;
  ASSERT_TRUE(call(convjit_context_create, &options, context.out()));
  build(scaled(), context.get());
  // Every other element, the rows from the last to the first.
  std::vector<float> wide(batch * 12, -5), back(batch * 12, -7);
  for (int64_t b = 0; b < batch; ++b)
    for (int64_t r = 0; r < 2; ++r)
      for (int64_t c = 0; c < 3; ++c)
        wide[b * 12 + (1 - r) * 6 + c * 2] = x[b * 6 + r * 3 + c];
  Tensor input(wide.data() + 6, {batch, 2, 3, 1}, {12, -6, 2, 1000});
  Tensor output(back.data() + 6, {batch, 2, 3, 1}, {12, -6, 2, 1});
  auto now = make<convjit_call>();
  now.input = input.get();
  now.packed_weights = &weight;
  now.output = output.get();
  size_t bytes = 0;
  ASSERT_TRUE(call(convjit_kernel_scratch_bytes, kernel.get(), &now, &bytes));
  EXPECT_GE(bytes, 2 * x.size() * 4);
  std::vector<char> scratch(bytes + 1);
  for (size_t misaligned : {0, 1}) {
    std::fill(back.begin(), back.end(), -7.f);
    now.scratch = scratch.data() + misaligned;
    now.scratch_bytes = bytes;
    int64_t before = memory.calls;
    ASSERT_TRUE(call(convjit_kernel_run, kernel.get(), &now));
    EXPECT_EQ(memory.calls, before);
    for (int64_t i = 0; i < batch * 12; ++i) {
      int64_t b = i / 12, r = 1 - i % 12 / 6, c = i % 6 / 2;
      ASSERT_EQ(back[i], i % 2 ? -7 : 3 * x[b * 6 + r * 3 + c]) << i;
    }
  }
  now.scratch_bytes = bytes - 1;
  Result small = call(convjit_kernel_run, kernel.get(), &now);
  EXPECT_EQ(small.status(), CONVJIT_STATUS_INVALID_ARGUMENT);
  EXPECT_NE(std::string(small.message()).find("scratch_bytes"),
            std::string::npos);
  // Without: the host's memory, which may have none left.
  now.scratch = nullptr;
  ASSERT_TRUE(call(convjit_kernel_run, kernel.get(), &now));
  memory.left = 0;
  EXPECT_EQ(call(convjit_kernel_run, kernel.get(), &now).status(),
            CONVJIT_STATUS_OUT_OF_MEMORY);
  convjit_kernel *none = kernel.get();
  convjit_aot_kernel aot = scaled();
  EXPECT_EQ(convjit_kernel_from_aot(context.get(), &aot, &none, nullptr),
            CONVJIT_STATUS_OUT_OF_MEMORY);
  EXPECT_EQ(none, nullptr);
  kernel = Kernel();
  context = Context();
  EXPECT_EQ(memory.blocks, 0);
}

TEST_F(TensorsTest, MisalignedTensorsAreCopied) {
  build(scaled(), nullptr);
  std::vector<char> bytes(x.size() * 4 + 1);
  std::memcpy(bytes.data() + 1, x.data(), x.size() * 4);
  Tensor input(reinterpret_cast<float *>(bytes.data() + 1), {batch, 2, 3, 1});
  Tensor output(y.data(), {batch, 2, 3, 1});
  auto now = make<convjit_call>();
  now.input = input.get();
  now.packed_weights = &weight;
  now.output = output.get();
  ASSERT_TRUE(call(convjit_kernel_run, kernel.get(), &now));
  expectScaled();
}

TEST_F(TensorsTest, TensorErrorsNameTheField) {
  build(scaled(), nullptr);
  auto refused = [&](Tensor input, Tensor output, const char *text) {
    auto now = make<convjit_call>();
    now.input = input.get();
    now.packed_weights = &weight;
    now.output = output.get();
    Result result = call(convjit_kernel_run, kernel.get(), &now);
    EXPECT_EQ(result.status(), CONVJIT_STATUS_INVALID_ARGUMENT);
    EXPECT_NE(std::string(result.message()).find(text), std::string::npos)
        << result.message();
  };
  float *in = x.data(), *out = y.data();
  std::vector<double> other(6);
  Tensor good(out, {2, 2, 3, 1});
  refused({in, {2, 3, 3, 1}}, good, "input has shape 2x3x3x1; valid: 2x2x3x1");
  refused({in, {2, 6}}, good, "input has shape 2x6; valid: 4 axes");
  refused({in, {2, -2, 3, 1}}, good, "input.shape=2x-2x3x1");
  refused({in, {}}, good, "input.rank=0");
  refused({other.data(), {2, 2, 3, 1}}, good,
          "input has dtype f64; valid: f32");
  refused({static_cast<float *>(nullptr), {2, 2, 3, 1}}, good,
          "input.data=NULL");
  refused({in, {2, 2, 3, 1}}, {out, {1, 2, 3, 1}}, "output has shape");
  constexpr int64_t huge = INT64_MAX / 2;
  refused({in, {2, 2, 3, 1}, {huge, huge, huge, 1}}, good, "input has strides");
  refused({in, {2, 2, 3, 1}, {-(int64_t(1) << 61), 3, 1, 1}}, good,
          "input has strides");
  refused({in, {2, 2, 3, 1}, {INT64_MIN, 3, 1, 1}}, good, "input has strides");
  refused({in, {int64_t(1) << 50, 2, 3, 1}}, good, "batch=1125899906842624");
}

TEST_F(TensorsTest, HugeStridesOfAxesThatDoNotMoveAreFine) {
  build(scaled(), nullptr);
  Tensor input(x.data(), {1, 2, 3, 1}, {INT64_MAX, 3, 1, INT64_MIN});
  Tensor output(y.data(), {1, 2, 3, 1});
  auto now = make<convjit_call>();
  now.input = input.get();
  now.packed_weights = &weight;
  now.output = output.get();
  ASSERT_TRUE(call(convjit_kernel_run, kernel.get(), &now));
  EXPECT_EQ(y[5], 18);
}

} // namespace
