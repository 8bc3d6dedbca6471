//===- DeviceTesting.h - kernels on a driver that needs no GPU
//-------------===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef CONVJIT_TEST_CUDA_DEVICETESTING_H
#define CONVJIT_TEST_CUDA_DEVICETESTING_H

#include "FakeDriver.h"
#include "convjit/DeviceKernel.h"
#include "convjit/Reference.h"
#include "cuda/Driver.h"

#include <gtest/gtest.h>

#include <dlfcn.h>

namespace convjit::devicetest {

inline fake::Controls controls;

/// Calls of the driver that a test makes itself.
template <typename T> T driverFunction(const char *name) {
  static void *library = dlopen(CONVJIT_FAKE_DRIVER, RTLD_NOW | RTLD_LOCAL);
  return reinterpret_cast<T>(dlsym(library, name));
}
inline cuda::Context currentContext() {
  cuda::Context context = nullptr;
  driverFunction<cuda::Result (*)(cuda::Context *)>("cuCtxGetCurrent")(
      &context);
  return context;
}

inline constexpr const char *ptx = R"(
.visible .entry layer(.param .u64 a, .param .u64 b, .param .u64 c, .param .u64 d, .param .u64 e)
.visible .entry reorder(.param .u64 a, .param .u64 b)
)";

inline Convolution smallLayer() {
  return *lower(*parseProblem("conv1d:in=9x3,oc=5,k=4,s=2,bias"));
}

/// Parameters in an order of its own, which the fake's kernel knows.
inline GPUKernel smallKernel() {
  GPUKernel kernel;
  kernel.conv = smallLayer();
  kernel.ptx = ptx;
  using enum GPUParameter;
  kernel.run = {{"layer",
                 {Output, Batch, Packed, Input, Bias},
                 64,
                 50 << 10,
                 /*blocks=*/3,
                 /*imagesPerBlock=*/2}};
  kernel.pack = {"reorder", {Packed, Filter}, 32, 0, 1, 0};
  kernel.packedWeightBytes = 4 * 3 * 5 * sizeof(float);
  kernel.chip = "sm_80";
  return kernel;
}

inline std::vector<double> read(const fake::Launch &launch, size_t index,
                                size_t count) {
  size_t bytes = 0;
  auto *from =
      static_cast<float *>(launch.memory(launch.parameters[index], &bytes));
  EXPECT_TRUE(from && bytes >= count * sizeof(float)) << "parameter " << index;
  if (!from || bytes < count * sizeof(float))
    return std::vector<double>(count);
  return {from, from + count};
}
inline void write(const fake::Launch &launch, size_t index,
                  const std::vector<double> &values) {
  size_t bytes = 0;
  auto *to =
      static_cast<float *>(launch.memory(launch.parameters[index], &bytes));
  ASSERT_TRUE(to && bytes >= values.size() * sizeof(float));
  for (size_t i = 0; i < values.size(); ++i)
    to[i] = static_cast<float>(values[i]);
}

/// Packing turns the weight's order around.
inline std::string fakeKernel(const fake::Launch &launch) {
  Convolution conv = smallLayer();
  if (std::string(launch.entry) == "reorder") {
    EXPECT_EQ(launch.grid, 1u);
    EXPECT_EQ(launch.block, 32u);
    std::vector<double> weights = read(launch, 1, 60);
    write(launch, 0, {weights.rbegin(), weights.rend()});
    return "";
  }
  auto batch = static_cast<int64_t>(launch.parameters[1]);
  EXPECT_EQ(launch.grid, static_cast<unsigned>((batch + 1) / 2 * 3));
  EXPECT_EQ(launch.block, 64u);
  EXPECT_EQ(launch.sharedBytes, 50u << 10);
  std::vector<double> packed = read(launch, 2, 60);
  ReferenceOperands operands;
  operands.weights.assign(packed.rbegin(), packed.rend());
  operands.input = read(launch, 3, static_cast<size_t>(batch) * 27);
  operands.bias = read(launch, 4, 5);
  write(launch, 0, referenceConvolution(conv, operands, batch).output);
  return "";
}

class DeviceKernelTest : public testing::Test {
protected:
  void SetUp() override {
    controls.reset("devices=2");
    // The driver of the process is found once; each test has a machine anew.
    driverFunction<cuda::Result (*)(unsigned)>("cuInit")(0);
    controls.setKernel(fakeKernel);
  }

  std::shared_ptr<CUDADevice> open(int ordinal = 0) {
    auto device = CUDADevice::open(ordinal);
    EXPECT_TRUE(device) << device.error().message;
    return device ? *device : nullptr;
  }
  static void expectError(const Error &error, ErrorKind kind,
                          const std::string &text) {
    EXPECT_EQ(error.kind, kind) << error.message;
    EXPECT_NE(error.message.find(text), std::string::npos) << error.message;
  }

  /// Tensors of a call on the device.
  struct Tensors {
    std::vector<float> input, weights, bias, output;
    DeviceMemory x, w, p, b, y;
    DeviceOperands operands;
  };
  static DeviceMemory memory(const std::shared_ptr<CUDADevice> &device,
                             size_t bytes) {
    auto made = DeviceMemory::allocate(device, bytes);
    EXPECT_TRUE(made);
    return std::move(*made);
  }
  static void fill(Tensors &tensors, const std::shared_ptr<CUDADevice> &device,
                   int64_t batch) {
    auto values = [](size_t count, int step) {
      std::vector<float> made(count);
      for (size_t i = 0; i < count; ++i)
        made[i] = static_cast<float>(static_cast<int>(i * step) % 7 - 3);
      return made;
    };
    Tensors &t = tensors;
    t.input = values(static_cast<size_t>(batch) * 27, 3);
    t.weights = values(60, 5);
    t.bias = values(5, 2);
    t.output.resize(elementCount(smallLayer().outputShape(batch)));
    t.x = memory(device, t.input.size() * 4);
    t.w = memory(device, t.weights.size() * 4);
    t.p = memory(device, t.weights.size() * 4);
    t.b = memory(device, t.bias.size() * 4);
    t.y = memory(device, t.output.size() * 4);
    t.operands = {.input = t.x.get(),
                  .packedWeights = t.p.get(),
                  .bias = t.b.get(),
                  .output = t.y.get(),
                  .batch = batch};
  }
  static size_t elementCount(const std::vector<int64_t> &shape) {
    size_t count = 1;
    for (int64_t size : shape)
      count *= static_cast<size_t>(size);
    return count;
  }
  static void upload(Tensors &t, const CUDADevice &device,
                     DeviceStream stream) {
    for (auto [to, from] :
         {std::pair(&t.x, &t.input), {&t.w, &t.weights}, {&t.b, &t.bias}})
      ASSERT_TRUE(
          device.upload(to->get(), from->data(), from->size() * 4, stream));
  }
  static void expectOutput(const Tensors &t) {
    ReferenceOperands operands{{t.input.begin(), t.input.end()},
                               {t.weights.begin(), t.weights.end()},
                               {t.bias.begin(), t.bias.end()},
                               {}};
    auto wanted =
        referenceConvolution(smallLayer(), operands, t.operands.batch);
    for (size_t i = 0; i < t.output.size(); ++i)
      ASSERT_EQ(t.output[i], wanted.output[i]) << i;
  }
};

} // namespace convjit::devicetest

#endif // CONVJIT_TEST_CUDA_DEVICETESTING_H
