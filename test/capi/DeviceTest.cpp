//===- DeviceTest.cpp - GPUs through the C interface ----------------------===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

// On a CUDA driver whose kernels the emulator runs. Data are small integers, so
// that results agree bit for bit with the double-precision reference.

#include "../cuda/FakeDriver.h"
#include "LayerText.h"
#include "SmallFloat.h"
#include "convjit/Reference.h"
#include "convjit/convjit.hpp"
#include "cuda/Driver.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <cstring>
#include <thread>

#include <dlfcn.h>

using namespace convjit::host;
namespace cuda = convjit::cuda;
using convjit::DataType;

namespace {

convjit::fake::Controls controls;

/// A function of the driver, as the host calls it.
template <typename T> T driverFunction(const char *name) {
  static void *library = dlopen(CONVJIT_EMULATED_DRIVER, RTLD_NOW | RTLD_LOCAL);
  return reinterpret_cast<T>(dlsym(library, name));
}

/// The host's part: a context, memory and a stream of its own.
struct CudaHost {
  CudaHost() {
    driverFunction<cuda::Result (*)(unsigned)>("cuInit")(0);
    driverFunction<cuda::Result (*)(cuda::Context *, int)>(
        "cuDevicePrimaryCtxRetain")(&context, 0);
    driverFunction<cuda::Result (*)(cuda::Context)>("cuCtxPushCurrent_v2")(
        context);
    driverFunction<cuda::Result (*)(cuda::Stream *, unsigned)>(
        "cuStreamCreate")(&stream, 1);
  }
  ~CudaHost() {
    cuda::Context popped;
    driverFunction<cuda::Result (*)(cuda::Context *)>("cuCtxPopCurrent_v2")(
        &popped);
    driverFunction<cuda::Result (*)(int)>("cuDevicePrimaryCtxRelease_v2")(0);
  }
  uint64_t allocate(size_t bytes) {
    cuda::Address address = 0;
    if (bytes)
      driverFunction<cuda::Result (*)(cuda::Address *, size_t)>(
          "cuMemAlloc_v2")(&address, bytes);
    return address;
  }
  uint64_t upload(const std::vector<std::byte> &data) {
    uint64_t address = allocate(data.size());
    if (address)
      driverFunction<cuda::Result (*)(cuda::Address, const void *, size_t,
                                      cuda::Stream)>("cuMemcpyHtoDAsync_v2")(
          address, data.data(), data.size(), stream);
    // The copy is of the caller's memory.
    EXPECT_EQ(wait(), cuda::Success);
    return address;
  }
  std::vector<std::byte> download(uint64_t address, size_t bytes) {
    std::vector<std::byte> data(bytes);
    driverFunction<cuda::Result (*)(void *, cuda::Address, size_t,
                                    cuda::Stream)>("cuMemcpyDtoHAsync_v2")(
        data.data(), address, bytes, stream);
    EXPECT_EQ(wait(), cuda::Success);
    return data;
  }
  cuda::Result wait() {
    return driverFunction<cuda::Result (*)(cuda::Stream)>(
        "cuStreamSynchronize")(stream);
  }
  static cuda::Context current() {
    cuda::Context context = nullptr;
    driverFunction<cuda::Result (*)(cuda::Context *)>("cuCtxGetCurrent")(
        &context);
    return context;
  }

  cuda::Context context = nullptr;
  cuda::Stream stream = nullptr;
};

std::vector<double> integers(size_t count, unsigned seed) {
  std::vector<double> values(count);
  for (double &value : values) {
    seed = seed * 1664525u + 1013904223u;
    value = static_cast<int>(seed >> 29) - 3;
  }
  return values;
}

std::vector<std::byte> narrowed(const std::vector<double> &values,
                                DataType dtype) {
  auto size = static_cast<size_t>(convjit::sizeOf(dtype));
  std::vector<std::byte> bytes(values.size() * size);
  for (size_t i = 0; i < values.size(); ++i) {
    auto single = static_cast<float>(values[i]);
    uint16_t half = dtype == DataType::F16 ? convjit::floatToHalf(single)
                                           : convjit::floatToBfloat(single);
    const void *from = &half;
    if (dtype == DataType::F32)
      from = &single;
    else if (dtype == DataType::F64)
      from = &values[i];
    std::memcpy(bytes.data() + i * size, from, size);
  }
  return bytes;
}

size_t count(const std::vector<int64_t> &shape) {
  size_t product = 1;
  for (int64_t size : shape)
    product *= static_cast<size_t>(size);
  return product;
}

class DeviceTest : public testing::Test {
protected:
  void SetUp() override {
    controls.reset("devices=2");
    driverFunction<cuda::Result (*)(unsigned)>("cuInit")(0);
    auto options = make<convjit_context_options>();
    options.cache = CONVJIT_CACHE_MEMORY;
    ASSERT_TRUE(call(convjit_context_create, &options, context.out()));
  }
  static Layer layerOf(const char *text) {
    Layer layer;
    Result parsed = call(convjit_layer_parse, text, layer.out());
    EXPECT_TRUE(parsed) << parsed.message();
    return layer;
  }
  Device open(const char *name = "cuda:0") {
    Device device;
    Result opened = call(convjit_device_open, name, device.out());
    EXPECT_TRUE(opened) << opened.message();
    return device;
  }
  DeviceKernel compile(const Layer &layer, const Device &device) {
    DeviceKernel kernel;
    Result made = call(convjit_device_compile, context.get(), layer.get(),
                       nullptr, device.get(), kernel.out());
    EXPECT_TRUE(made) << made.message();
    return kernel;
  }
  static convjit_device_kernel_info infoOf(const DeviceKernel &kernel) {
    auto info = make<convjit_device_kernel_info>();
    EXPECT_TRUE(call(convjit_device_kernel_get_info, kernel.get(), &info));
    return info;
  }

  /// One layer's data on the device.
  struct Data {
    Data(CudaHost &host, const Layer &layer, const DeviceKernel &kernel,
         int64_t batch)
        : conv(convjit::readLayer(convjit_layer_text(layer.get()))->conv),
          operands{
              integers(count(conv.inputShape(batch)), 1),
              integers(count(conv.kernelShape()), 2),
              integers(conv.bias ? size_t(conv.outChannels) : 0, 3),
              integers(conv.residual ? count(conv.outputShape(batch)) : 0, 4)} {
      auto device = [&](const std::vector<double> &values) {
        return host.upload(narrowed(values, conv.dtype));
      };
      size_t scratch = 0;
      EXPECT_TRUE(call(convjit_device_kernel_scratch_bytes, kernel.get(), batch,
                       &scratch));
      info = infoOf(kernel);
      weight = device(operands.weights);
      run = make<convjit_device_call>();
      run.input = device(operands.input);
      run.packed_weights = host.allocate(info.packed_weight_bytes);
      run.bias = device(operands.bias);
      run.residual = device(operands.residual);
      bytes = count(conv.outputShape(batch)) *
              static_cast<size_t>(convjit::sizeOf(conv.dtype));
      run.output = host.allocate(bytes);
      run.scratch = host.allocate(scratch);
      run.batch = batch;
    }
    std::vector<std::byte> wanted() const {
      return narrowed(referenceConvolution(conv, operands, run.batch).output,
                      conv.dtype);
    }

    convjit::Convolution conv;
    convjit::ReferenceOperands operands;
    convjit_device_kernel_info info{};
    convjit_device_call run{};
    uint64_t weight = 0;
    size_t bytes = 0;
  };

  static void expectError(const Result &result, convjit_status status,
                          const std::string &text) {
    EXPECT_EQ(result.status(), status) << result.message();
    EXPECT_NE(std::string(result.message()).find(text), std::string::npos)
        << result.message();
  }

  Context context;
};

TEST_F(DeviceTest, AgreesWithTheReference) {
  CudaHost host;
  Device device = open();
  auto facts = make<convjit_device_info>();
  ASSERT_TRUE(call(convjit_device_get_info, device.get(), &facts));
  EXPECT_STREQ(facts.name, "Fake GPU");
  EXPECT_EQ(facts.compute_capability, 90);
  for (const char *text :
       {"convT3d:in=3x4x5x16,oc=20,k=3x4x2,s=2,bias,residual,act=relu",
        "conv2d:in=3x9x8,oc=8,k=3,s=2,layout=channels_first,dtype=f64",
        "conv2d:in=9x8x16,oc=16,k=3,dtype=f16,bias",
        "convT1d:in=20x8,oc=16,k=4,s=2,dtype=bf16",
        "conv2d:in=9x8x16,oc=8,k=3,s=2,grad=input"}) {
    Layer layer = layerOf(text);
    DeviceKernel kernel = compile(layer, device);
    ASSERT_TRUE(kernel) << text;
    EXPECT_STREQ(convjit_device_kernel_problem(kernel.get()), text);
    Data data(host, layer, kernel, 3);
    EXPECT_STREQ(data.info.target, "sm_90");
    EXPECT_EQ(data.info.registers, 40);
    ASSERT_TRUE(call(convjit_device_kernel_pack, kernel.get(), data.weight,
                     data.run.packed_weights, host.stream));
    Result ran =
        call(convjit_device_kernel_run, kernel.get(), &data.run, host.stream);
    ASSERT_TRUE(ran) << ran.message();
    EXPECT_EQ(host.download(data.run.output, data.bytes), data.wanted())
        << text;
  }
}

TEST_F(DeviceTest, AConvolutionInSixteenBits) {
  CudaHost host;
  convjit_convolution conv;
  convjit_convolution_init(&conv, sizeof conv, 1);
  conv.dtype = CONVJIT_BF16;
  conv.input_channels = conv.output_channels = 8;
  conv.input[0] = 12;
  conv.kernel[0] = 3;
  Layer layer;
  ASSERT_TRUE(call(convjit_layer_create, &conv, layer.out()));
  // Not on a CPU.
  Kernel none;
  expectError(
      call(convjit_compile, context.get(), layer.get(), nullptr, none.out()),
      CONVJIT_STATUS_INVALID_ARGUMENT, "dtype=bf16");
  Device device = open();
  DeviceKernel kernel = compile(layer, device);
  Data data(host, layer, kernel, 2);
  EXPECT_EQ(data.info.dtype, CONVJIT_BF16);
  ASSERT_TRUE(call(convjit_device_kernel_pack, kernel.get(), data.weight,
                   data.run.packed_weights, host.stream));
  ASSERT_TRUE(
      call(convjit_device_kernel_run, kernel.get(), &data.run, host.stream));
  EXPECT_EQ(host.download(data.run.output, data.bytes), data.wanted());
}

TEST_F(DeviceTest, LeavesContextsAsTheyWere) {
  CudaHost host;
  auto own = reinterpret_cast<cuda::Context>(0xabc);
  driverFunction<cuda::Result (*)(cuda::Context)>("cuCtxPushCurrent_v2")(own);
  {
    Device device = open();
    EXPECT_EQ(controls.liveContexts(), 2); // the host's and ours
    Layer layer = layerOf("conv1d:in=8x8,oc=8,k=3");
    DeviceKernel kernel = compile(layer, device);
    EXPECT_EQ(CudaHost::current(), own);
    EXPECT_EQ(controls.liveModules(), 1);
    // Its kernels keep a device.
    device = Device();
    EXPECT_EQ(controls.liveContexts(), 2);
    auto nothing = make<convjit_device_call>();
    EXPECT_TRUE(call(convjit_device_kernel_run, kernel.get(), &nothing,
                     host.stream)); // no images
    EXPECT_EQ(CudaHost::current(), own);
  }
  EXPECT_EQ(CudaHost::current(), own);
  EXPECT_EQ(controls.liveContexts(), 1);
  EXPECT_EQ(controls.liveModules(), 0);
  cuda::Context popped;
  driverFunction<cuda::Result (*)(cuda::Context *)>("cuCtxPopCurrent_v2")(
      &popped);
}

TEST_F(DeviceTest, CallsOnlyLaunch) {
  CudaHost host;
  Device device = open();
  Layer layer = layerOf("conv2d:in=9x8x16,oc=8,k=3,bias");
  DeviceKernel kernel = compile(layer, device);
  Data data(host, layer, kernel, 2);
  ASSERT_EQ(host.wait(), cuda::Success);
  // A stream under capture refuses all but launches.
  controls.capture(true);
  EXPECT_TRUE(call(convjit_device_kernel_pack, kernel.get(), data.weight,
                   data.run.packed_weights, host.stream));
  EXPECT_TRUE(
      call(convjit_device_kernel_run, kernel.get(), &data.run, host.stream));
  controls.capture(false);
  controls.replay();
  EXPECT_EQ(host.download(data.run.output, data.bytes), data.wanted());
}

TEST_F(DeviceTest, ModulesAreLoadedOncePerDevice) {
  Device first = open("cuda:0"), second = open("cuda:1");
  Layer layer = layerOf("conv1d:in=8x8,oc=8,k=3");
  std::vector<DeviceKernel> kernels(8);
  std::vector<std::thread> threads;
  for (size_t i = 0; i < kernels.size(); ++i)
    threads.emplace_back(
        [&, i] { kernels[i] = compile(layer, i % 2 ? second : first); });
  for (std::thread &thread : threads)
    thread.join();
  EXPECT_EQ(controls.calls("cuModuleLoadDataEx"), 2);
  Context other;
  ASSERT_TRUE(call(convjit_context_create, nullptr, other.out()));
  DeviceKernel again;
  ASSERT_TRUE(call(convjit_device_compile, other.get(), layer.get(), nullptr,
                   first.get(), again.out()));
  EXPECT_EQ(controls.calls("cuModuleLoadDataEx"), 2);
  DeviceKernel shared(convjit_device_kernel_retain(again.get()));
  again = DeviceKernel();
  kernels.clear();
  EXPECT_EQ(controls.liveModules(), 1);
  shared = DeviceKernel();
  EXPECT_EQ(controls.liveModules(), 0);
}

TEST_F(DeviceTest, SaysWhatIsWrong) {
  CudaHost host;
  Device device, none;
  auto environment = [&](const char *name, const char *text) {
    expectError(call(convjit_device_open, name, none.out()),
                CONVJIT_STATUS_ENVIRONMENT, text);
    EXPECT_FALSE(none);
  };
  auto badArgument = [&](const Result &result, const char *text) {
    expectError(result, CONVJIT_STATUS_INVALID_ARGUMENT, text);
  };
  environment("cuda:9", "cuda:9: the CUDA driver finds 2 devices; valid: "
                        "cuda:0 to cuda:1");
  badArgument(call(convjit_device_open, "gpu:0", none.out()), "valid: cuda:0");
  badArgument(call(convjit_device_open, nullptr, none.out()), "name=NULL");
  badArgument(call(convjit_device_open, "cuda:0",
                   static_cast<convjit_device **>(nullptr)),
              "device=NULL");
  device = open();
  Layer layer = layerOf("conv2d:in=9x8x16,oc=8,k=3,bias");
  DeviceKernel kernel = compile(layer, device), no;
  Layer gradient = layerOf("conv2d:in=9x8x16,oc=8,k=3,grad=weight");
  badArgument(call(convjit_device_compile, context.get(), gradient.get(),
                   nullptr, device.get(), no.out()),
              "whose input channels are the images");
  auto options = make<convjit_compile_options>();
  options.plan = "schedule = fast";
  badArgument(call(convjit_device_compile, context.get(), layer.get(), &options,
                   device.get(), no.out()),
              "valid: schedule = direct, simt or mma");
  badArgument(call(convjit_device_compile, context.get(), layer.get(), nullptr,
                   static_cast<convjit_device *>(nullptr), no.out()),
              "device=NULL");
  Data data(host, layer, kernel, 2);
  auto refused = [&](auto change, const char *text) {
    convjit_device_call changed = data.run;
    change(changed);
    badArgument(
        call(convjit_device_kernel_run, kernel.get(), &changed, host.stream),
        text);
  };
  refused([](auto &c) { c.struct_size = 3; }, "call.struct_size=3");
  refused([](auto &c) { c.batch = -1; }, "batch=-1");
  refused([](auto &c) { c.batch = int64_t(1) << 60; }, "2^48 bytes");
  refused([](auto &c) { c.bias = 0; }, "bias=0: valid: an address");
  refused([](auto &c) { c.output += 8; }, "output: is not aligned");
  badArgument(call(convjit_device_kernel_run, kernel.get(),
                   static_cast<const convjit_device_call *>(nullptr),
                   static_cast<void *>(nullptr)),
              "call=NULL");
  badArgument(call(convjit_device_kernel_run,
                   static_cast<const convjit_device_kernel *>(nullptr),
                   &data.run, static_cast<void *>(nullptr)),
              "kernel=NULL");
  badArgument(call(convjit_device_kernel_pack, kernel.get(), uint64_t(0),
                   data.run.packed_weights, static_cast<void *>(nullptr)),
              "weights=0");
  size_t bytes = 0;
  badArgument(call(convjit_device_kernel_scratch_bytes, kernel.get(),
                   int64_t(-1), &bytes),
              "batch=-1");
  EXPECT_EQ(controls.calls("cuLaunchKernel"), 0);
  EXPECT_STREQ(convjit_device_kernel_plan(nullptr), "");
  EXPECT_STREQ(convjit_device_kernel_problem(nullptr), "");
  convjit_device_release(nullptr);
  convjit_device_kernel_release(nullptr);
}

TEST_F(DeviceTest, SaysWhatTheMachineLacks) {
  for (auto [machine, text] :
       {std::pair("capability=75", "cuda:0 (Fake GPU): compute capability 7.5: "
                                   "the device is too old; valid: 8.0"),
        std::pair("fail=cuDevicePrimaryCtxRetain:1:2",
                  "cuDevicePrimaryCtxRetain: CUDA_ERROR_OUT_OF_MEMORY (the "
                  "fake driver's text)")}) {
    controls.reset(machine);
    driverFunction<cuda::Result (*)(unsigned)>("cuInit")(0);
    Device none;
    Result opened = call(convjit_device_open, "cuda:0", none.out());
    EXPECT_FALSE(opened);
    EXPECT_NE(std::string(opened.message()).find(text), std::string::npos)
        << opened.message();
    EXPECT_EQ(controls.liveContexts(), 0);
  }
}

TEST_F(DeviceTest, StagesForGPUs) {
  auto options = make<convjit_context_options>();
  options.target_triple = "nvptx64-nvidia-cuda";
  options.target_cpu = "sm_90";
  Context gpu;
  ASSERT_TRUE(call(convjit_context_create, &options, gpu.out()));
  Layer layer = layerOf("conv1d:in=8x8,oc=8,k=3,dtype=f16");
  Text text;
  Result made =
      call(convjit_emit, gpu.get(), layer.get(), nullptr, "ptx", text.out());
  ASSERT_TRUE(made) << made.message();
  EXPECT_NE(std::strstr(convjit_text_data(text.get()), ".target sm_90"),
            nullptr);
}

} // namespace

int main(int argc, char **argv) {
  setenv("CONVJIT_LIBCUDA", CONVJIT_EMULATED_DRIVER, 1);
  setenv("CONVJIT_PTX_WITH_IR", "1", 1);
  controls = *driverFunction<const convjit::fake::Controls *(*)()>(
      "convjit_fake_cuda")();
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
