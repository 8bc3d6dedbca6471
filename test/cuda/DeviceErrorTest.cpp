//===- DeviceErrorTest.cpp - what a GPU or its driver refuses
//--------------===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "DeviceTesting.h"

#include <cstdlib>

using namespace convjit;
using namespace convjit::devicetest;

namespace {

TEST_F(DeviceKernelTest, RefusesBadCalls) {
  auto device = open();
  auto made = DeviceKernel::load(device, smallKernel());
  ASSERT_TRUE(made);
  const DeviceKernel &kernel = **made;
  Tensors t;
  fill(t, device, 1);
  auto refused = [&](auto change, const char *text) {
    DeviceOperands operands = t.operands;
    change(operands);
    Status s = kernel.run(operands, nullptr);
    ASSERT_FALSE(s);
    expectError(s.error(), ErrorKind::BadInput, text);
  };
  refused([](auto &o) { o.input = 0; }, "input=0: valid: an address");
  refused([](auto &o) { o.bias += 4; },
          "bias: is not aligned; valid: a multiple "
          "of 16");
  refused([](auto &o) { o.batch = -1; }, "batch=-1");
  refused([](auto &o) { o.batch = int64_t(1) << 40; }, "at most 2147483647");
  EXPECT_EQ(controls.calls("cuLaunchKernel"), 0);
  EXPECT_TRUE(kernel.run({.batch = 0}, nullptr));
  EXPECT_EQ(controls.calls("cuLaunchKernel"), 0);
  EXPECT_FALSE(kernel.pack(0, t.p.get(), nullptr));
}

TEST_F(DeviceKernelTest, RefusesImagesThatItCannotReadTogether) {
  auto device = open();
  GPUKernel code = smallKernel();
  code.imageMultiple = 4;
  auto made = DeviceKernel::load(device, code);
  ASSERT_TRUE(made);
  Status s = (*made)->run({.batch = 6}, nullptr);
  ASSERT_FALSE(s);
  expectError(s.error(), ErrorKind::BadInput,
              "batch=6: valid: at least 0, and a multiple of 4");
  EXPECT_EQ(controls.calls("cuLaunchKernel"), 0);
}

TEST_F(DeviceKernelTest, SaysWhatTheMachineLacks) {
  auto device = open();
  auto refused = [&](auto change, const char *text) {
    GPUKernel kernel = smallKernel();
    change(kernel);
    auto made = DeviceKernel::load(device, kernel);
    ASSERT_FALSE(made);
    expectError(made.error(), ErrorKind::Environment, text);
  };
  refused([](auto &k) { k.computeCapability = 100; },
          "cuda:0 (Fake GPU) has compute capability 9.0; valid: 10.0 or later");
  refused([](auto &k) { k.chip = "sm_80a"; }, "valid: 8.0, for which");
  refused([](auto &k) { k.ptx = "nothing"; },
          "CUDA_ERROR_INVALID_PTX (the fake driver's text): line 1: no entry");
  refused([](auto &k) { k.run[0].entry = "other"; }, "other: cuModuleGetFunct");
  refused([](auto &k) { k.run[0].threads = 2048; }, "at most 1024");
  refused([](auto &k) { k.run[0].sharedBytes = 1 << 20; }, "at most 232448");
  auto missing = CUDADevice::open(2);
  ASSERT_FALSE(missing);
  expectError(
      missing.error(), ErrorKind::Environment,
      "cuda:2: the CUDA driver finds 2 devices; valid: cuda:0 to cuda:1");
  auto memory = DeviceMemory::allocate(device, size_t(1) << 40);
  ASSERT_FALSE(memory);
  expectError(memory.error(), ErrorKind::Environment, "not enough memory: ");
}

TEST_F(DeviceKernelTest, ReportsALaunchThatFails) {
  controls.reset("fail=cuLaunchKernel:1:719");
  driverFunction<cuda::Result (*)(unsigned)>("cuInit")(0);
  auto device = open();
  auto kernel = DeviceKernel::load(device, smallKernel());
  ASSERT_TRUE(kernel);
  Tensors t;
  fill(t, device, 1);
  Status s = (*kernel)->run(t.operands, nullptr);
  ASSERT_FALSE(s);
  expectError(s.error(), ErrorKind::Environment,
              "cuda:0: cuLaunchKernel of layer, 3 blocks: "
              "CUDA_ERROR_LAUNCH_FAILED");
  EXPECT_EQ(currentContext(), nullptr);
}

TEST_F(DeviceKernelTest, MeasuresAStream) {
  auto device = open();
  auto stream = device->makeStream();
  ASSERT_TRUE(stream);
  {
    auto timer = DeviceTimer::create(device);
    ASSERT_TRUE(timer);
    EXPECT_TRUE(timer->start(*stream));
    EXPECT_TRUE(timer->stop(*stream));
    auto ms = timer->milliseconds();
    ASSERT_TRUE(ms);
    EXPECT_EQ(*ms, 2); // what the fake says of any two events
    DeviceTimer moved = std::move(*timer);
    EXPECT_EQ(controls.calls("cuEventDestroy_v2"), 0);
  }
  EXPECT_EQ(controls.calls("cuEventCreate"), 2);
  EXPECT_EQ(controls.calls("cuEventDestroy_v2"), 2);
  EXPECT_EQ(currentContext(), nullptr);
}

/// A kernel that goes wrong corrupts the context: all is an error from there.
TEST_F(DeviceKernelTest, SaysWhatAKernelDid) {
  auto device = open();
  auto kernel = DeviceKernel::load(device, smallKernel());
  ASSERT_TRUE(kernel);
  controls.setKernel(
      [](const fake::Launch &) { return std::string("at address 0x10"); });
  Tensors t;
  fill(t, device, 1);
  auto timer = DeviceTimer::create(device);
  ASSERT_TRUE(timer);
  ASSERT_TRUE(timer->start(nullptr));
  ASSERT_TRUE((*kernel)->run(t.operands, nullptr)); // only queued
  ASSERT_TRUE(timer->stop(nullptr));
  auto ms = timer->milliseconds();
  ASSERT_FALSE(ms);
  expectError(ms.error(), ErrorKind::Environment,
              "cuda:0: cuEventElapsedTime: CUDA_ERROR_LAUNCH_FAILED (at "
              "address 0x10)");
  Status later = device->synchronize(nullptr);
  ASSERT_FALSE(later);
  expectError(later.error(), ErrorKind::Environment, "at address 0x10");
  EXPECT_FALSE(DeviceMemory::allocate(device, 16));
}

/// Each call of the driver, failing: an error with its name and the device's.
TEST_F(DeviceKernelTest, NamesTheCallThatFails) {
  auto failing = [&](const char *function) {
    controls.reset(("fail=" + std::string(function) + ":1:719").c_str());
    driverFunction<cuda::Result (*)(unsigned)>("cuInit")(0);
    return open();
  };
  char byte = 0;
  auto refused = [&](Status s, const char *text) {
    ASSERT_FALSE(s);
    expectError(s.error(), ErrorKind::Environment, text);
  };
  auto device = failing("cuMemcpyHtoDAsync_v2");
  auto memory = DeviceMemory::allocate(device, 1);
  ASSERT_TRUE(memory);
  refused(device->upload(memory->get(), &byte, 1, nullptr),
          "cuda:0: cuMemcpyHtoDAsync: CUDA_ERROR_LAUNCH_FAILED");
  memory = DeviceMemory();
  device.reset();
  device = failing("cuMemcpyDtoHAsync_v2");
  memory = DeviceMemory::allocate(device, 1);
  ASSERT_TRUE(memory);
  refused(device->download(&byte, memory->get(), 1, nullptr),
          "cuda:0: cuMemcpyDtoHAsync: CUDA_ERROR_LAUNCH_FAILED");
  memory = DeviceMemory();
  device.reset();
  device = failing("cuStreamSynchronize");
  refused(device->synchronize(nullptr), "cuda:0: cuStreamSynchronize: CUDA");
  device.reset();
  device = failing("cuStreamCreate");
  auto stream = device->makeStream();
  ASSERT_FALSE(stream);
  expectError(stream.error(), ErrorKind::Environment, "cuda:0: cuStreamCreate");
  device.reset();
  device = failing("cuEventCreate");
  EXPECT_FALSE(DeviceTimer::create(device));
  device.reset();
  device = failing("cuEventRecord");
  auto timer = DeviceTimer::create(device);
  ASSERT_TRUE(timer);
  refused(timer->start(nullptr), "cuEventRecord");
  EXPECT_EQ(currentContext(), nullptr);
}

TEST(CUDADeviceTest, Names) {
  EXPECT_EQ(*CUDADevice::parseName("cuda:0"), 0);
  EXPECT_EQ(*CUDADevice::parseName("cuda:12"), 12);
  for (const char *bad : {"cuda", "cuda:", "cuda:00", "cuda:01", "cuda:-1",
                          "cuda:-0", "cuda:1x", "cuda1", "rocm:0"})
    EXPECT_FALSE(CUDADevice::parseName(bad)) << bad;
}

} // namespace

/// The driver is found once in a process, so what fails first is tried here.
static void expectNoDriver(const char *library, const char *machine,
                           const char *text) {
  setenv("CONVJIT_LIBCUDA", library, 1);
  controls.reset(machine);
  auto device = CUDADevice::open(0);
  ASSERT_FALSE(device);
  EXPECT_EQ(device.error().kind, ErrorKind::Environment);
  EXPECT_NE(device.error().message.find(text), std::string::npos)
      << device.error().message;
}

TEST(CUDADeviceDeathTest, NoDriver) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(
      {
        expectNoDriver("no-such-library.so", "",
                       "'no-such-library.so' cannot be");
        expectNoDriver("libm.so.6", "", "has no cuInit; valid: a driver for");
        expectNoDriver(CONVJIT_FAKE_DRIVER, "devices=0", "finds no device");
        std::exit(testing::Test::HasFailure());
      },
      testing::ExitedWithCode(0), "");
}
