//===- DeviceKernelTest.cpp - GPU kernels through the CUDA driver ---------===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "convjit/DeviceKernel.h"
#include "FakeDriver.h"
#include "convjit/Reference.h"
#include "cuda/Driver.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <cstring>
#include <new>
#include <thread>

#include <dlfcn.h>

using namespace convjit;

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

fake::Controls controls;

/// Calls of the driver that a test makes itself.
template <typename T> T driverFunction(const char *name) {
  static void *library = dlopen(CONVJIT_FAKE_DRIVER, RTLD_NOW | RTLD_LOCAL);
  return reinterpret_cast<T>(dlsym(library, name));
}
cuda::Context currentContext() {
  cuda::Context context = nullptr;
  driverFunction<cuda::Result (*)(cuda::Context *)>("cuCtxGetCurrent")(
      &context);
  return context;
}

constexpr const char *ptx = R"(
.visible .entry layer(.param .u64 a, .param .u64 b, .param .u64 c, .param .u64 d, .param .u64 e)
.visible .entry reorder(.param .u64 a, .param .u64 b)
)";

Convolution smallLayer() {
  return *lower(*parseProblem("conv1d:in=9x3,oc=5,k=4,s=2,bias"));
}

/// Parameters in an order of its own, which the fake's kernel knows.
GPUKernel smallKernel() {
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

std::vector<double> read(const fake::Launch &launch, size_t index,
                         size_t count) {
  size_t bytes = 0;
  auto *from =
      static_cast<float *>(launch.memory(launch.parameters[index], &bytes));
  EXPECT_TRUE(from && bytes >= count * sizeof(float)) << "parameter " << index;
  if (!from || bytes < count * sizeof(float))
    return std::vector<double>(count);
  return {from, from + count};
}
void write(const fake::Launch &launch, size_t index,
           const std::vector<double> &values) {
  size_t bytes = 0;
  auto *to =
      static_cast<float *>(launch.memory(launch.parameters[index], &bytes));
  ASSERT_TRUE(to && bytes >= values.size() * sizeof(float));
  for (size_t i = 0; i < values.size(); ++i)
    to[i] = static_cast<float>(values[i]);
}

/// Packing turns the weight's order around.
std::string fakeKernel(const fake::Launch &launch) {
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
  EXPECT_EQ(*CUDADevice::parseName("cuda"), 0);
  EXPECT_EQ(*CUDADevice::parseName("cuda:12"), 12);
  for (const char *bad : {"cuda:", "cuda:-1", "cuda:1x", "cuda1", "rocm:0"})
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

int main(int argc, char **argv) {
  setenv("CONVJIT_LIBCUDA", CONVJIT_FAKE_DRIVER, 1);
  controls =
      *driverFunction<const fake::Controls *(*)()>("convjit_fake_cuda")();
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
