//===- DeviceKernelTest.cpp - GPU kernels through the CUDA driver ---------===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "DeviceTesting.h"

#include <cstdlib>
#include <new>
#include <thread>

using namespace convjit;
using namespace convjit::devicetest;

// ThreadSanitizer has an operator new of its own, which cannot be replaced.
#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define NO_COUNTED_MEMORY
#endif
#endif

#ifndef NO_COUNTED_MEMORY
/// Allocations of this thread, while they are counted.
static thread_local int64_t allocations = -1;

// Not inlined, so that compilers do not see a free of what new returned.
[[gnu::noinline]] void *operator new(size_t bytes) {
  if (allocations >= 0)
    ++allocations;
  if (void *memory = std::malloc(bytes ? bytes : 1))
    return memory;
  throw std::bad_alloc();
}
[[gnu::noinline]] void operator delete(void *memory) noexcept {
  std::free(memory);
}
[[gnu::noinline]] void operator delete(void *memory, size_t) noexcept {
  std::free(memory);
}
#endif

namespace {

TEST_F(DeviceKernelTest, RunsOnTheCallersStream) {
  auto device = open();
  auto kernel = DeviceKernel::load(device, smallKernel());
  ASSERT_TRUE(kernel) << kernel.error().message;
  EXPECT_EQ((*kernel)->resources()[0].registers, 40);
  auto stream = device->makeStream();
  ASSERT_TRUE(stream);
  Tensors t;
  fill(t, device, 3);
  upload(t, *device, *stream);
  ASSERT_TRUE((*kernel)->pack(t.w.get(), t.p.get(), *stream));
  ASSERT_TRUE((*kernel)->run(t.operands, *stream));
  ASSERT_TRUE(device->download(t.output.data(), t.y.get(), t.output.size() * 4,
                               *stream));
  // All of it waits for the stream, and for no other.
  ASSERT_TRUE(device->synchronize(nullptr));
  EXPECT_EQ(t.output, std::vector<float>(t.output.size()));
  ASSERT_TRUE(device->synchronize(*stream));
  expectOutput(t);
  device->releaseStream(*stream);
}

TEST_F(DeviceKernelTest, LeavesContextsAsTheyWere) {
  auto other = open(1);
  auto hosts = reinterpret_cast<cuda::Context>(0xc1);
  driverFunction<cuda::Result (*)(cuda::Context)>("cuCtxPushCurrent_v2")(hosts);
  {
    auto device = open(0);
    Tensors t;
    fill(t, device, 2);
    auto kernel = DeviceKernel::load(device, smallKernel());
    ASSERT_TRUE(kernel);
    EXPECT_EQ(currentContext(), hosts);
    upload(t, *device, nullptr);
    ASSERT_TRUE((*kernel)->pack(t.w.get(), t.p.get(), nullptr));
    ASSERT_TRUE((*kernel)->run(t.operands, nullptr));
    EXPECT_EQ(currentContext(), hosts);
    EXPECT_FALSE((*kernel)->run({}, nullptr));
    EXPECT_EQ(controls.liveModules(), 1);
    EXPECT_EQ(controls.liveContexts(), 2);
    ASSERT_TRUE(device->synchronize(nullptr));
  }
  EXPECT_EQ(currentContext(), hosts);
  EXPECT_EQ(controls.liveModules(), 0);
  EXPECT_EQ(controls.liveAllocations(), 0);
  EXPECT_EQ(controls.liveContexts(), 1);
  cuda::Context popped = nullptr;
  driverFunction<cuda::Result (*)(cuda::Context *)>("cuCtxPopCurrent_v2")(
      &popped);
  EXPECT_EQ(popped, hosts);
  EXPECT_EQ(currentContext(), nullptr);
  other.reset();
  EXPECT_EQ(controls.liveContexts(), 0);
}

TEST_F(DeviceKernelTest, LoadsOncePerDevice) {
  auto first = open(0), second = open(1);
  EXPECT_EQ(open(0), first);
  std::vector<std::thread> threads;
  std::vector<std::shared_ptr<const DeviceKernel>> kernels(16);
  for (size_t i = 0; i < kernels.size(); i += 2)
    threads.emplace_back([&, i] {
      for (size_t d = 0; d < 2; ++d)
        if (auto made = DeviceKernel::load(d ? second : first, smallKernel()))
          kernels[i + d] = *made;
    });
  for (std::thread &thread : threads)
    thread.join();
  for (const auto &kernel : kernels)
    EXPECT_TRUE(kernel);
  EXPECT_EQ(controls.calls("cuModuleLoadDataEx"), 2);
  kernels.clear();
  EXPECT_EQ(controls.liveModules(), 0);
  // The devices are still open; a module that was unloaded is loaded again.
  EXPECT_TRUE(DeviceKernel::load(first, smallKernel()));
  EXPECT_EQ(controls.calls("cuModuleLoadDataEx"), 3);
}

#ifndef NO_COUNTED_MEMORY
TEST_F(DeviceKernelTest, CallsAllocateNothing) {
  auto device = open();
  auto kernel = DeviceKernel::load(device, smallKernel());
  ASSERT_TRUE(kernel);
  Tensors t;
  fill(t, device, 3);
  controls.setKernel(nullptr);
  for (int round = 0; round < 2; ++round) {
    // The first is the fake's own first call of each function.
    allocations = round ? 0 : -1;
    bool packed = bool((*kernel)->pack(t.w.get(), t.p.get(), nullptr));
    bool ran = bool((*kernel)->run(t.operands, nullptr));
    int64_t made = allocations;
    allocations = -1;
    EXPECT_TRUE(packed && ran);
    EXPECT_EQ(made, round ? 0 : -1);
  }
}
#endif

TEST_F(DeviceKernelTest, CapturedCallsCanBeReplayed) {
  auto device = open();
  auto kernel = DeviceKernel::load(device, smallKernel());
  ASSERT_TRUE(kernel);
  Tensors t;
  fill(t, device, 5);
  upload(t, *device, nullptr);
  ASSERT_TRUE(device->synchronize(nullptr));
  controls.capture(true);
  EXPECT_FALSE(device->synchronize(nullptr)); // the fake does object
  EXPECT_TRUE((*kernel)->pack(t.w.get(), t.p.get(), nullptr));
  EXPECT_TRUE((*kernel)->run(t.operands, nullptr));
  controls.capture(false);
  for (int round = 0; round < 2; ++round) {
    t.input[4] += 1;
    upload(t, *device, nullptr);
    ASSERT_TRUE(device->synchronize(nullptr));
    controls.replay();
    ASSERT_TRUE(device->download(t.output.data(), t.y.get(),
                                 t.output.size() * 4, nullptr));
    ASSERT_TRUE(device->synchronize(nullptr));
    expectOutput(t);
  }
}

} // namespace

int main(int argc, char **argv) {
  setenv("CONVJIT_LIBCUDA", CONVJIT_FAKE_DRIVER, 1);
  controls =
      *driverFunction<const fake::Controls *(*)()>("convjit_fake_cuda")();
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
