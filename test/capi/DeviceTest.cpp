//===- DeviceTest.cpp - GPUs through the C interface ----------------------===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

// On a CUDA driver whose kernels the emulator runs. Data are small integers, so
// that results agree bit for bit with the double-precision reference.

#include "DeviceTesting.h"
#include "convjit/WeightGradient.h"

#include <cstdlib>
#include <filesystem>
#include <thread>

using namespace devicetest;

namespace {

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

TEST_F(DeviceTest, WeightGradientsOfAllImages) {
  CudaHost host;
  Device device = open();
  constexpr int64_t images = 3;
  for (const char *text :
       {"conv2d:in=9x8x6,oc=5,k=3,s=2,pad=1,grad=weight",
        "conv2d:in=6x5x8,oc=8,k=3,g=4,dtype=f64,grad=weight",
        "convT3d:in=3x4x5x8,oc=6,k=3x4x2,s=2,grad=weight",
        "convT1d:in=20x8,oc=5,k=4,s=3,d=2,dtype=f16,grad=weight",
        "conv2d:in=9x8x32,oc=32,k=3,dtype=bf16,grad=weight",
        "convT2d:in=4x5x6,oc=3,k=3x1,s=2x3,layout=channels_first,grad="
        "weight"}) {
    Layer layer = layerOf(text);
    DeviceKernel kernel = compile(layer, device, images);
    ASSERT_TRUE(kernel) << text;
    convjit_device_kernel_info info = infoOf(kernel);
    EXPECT_EQ(info.gradient, CONVJIT_GRADIENT_WEIGHT);
    EXPECT_EQ(info.images, images);
    EXPECT_EQ(info.packed_weight_bytes, 0u);
    convjit::Convolution forward =
        convjit::readLayer(convjit_layer_text(layer.get()))->forward;
    auto x = integers(count(forward.inputShape(images)), 1);
    auto g = integers(count(forward.outputShape(images)), 2);
    std::vector<std::byte> wanted = narrowed(
        weightGradientReference(forward, x, g, images).output, forward.dtype);
    size_t scratch = 0;
    ASSERT_TRUE(call(convjit_device_kernel_scratch_bytes, kernel.get(), images,
                     &scratch));
    auto run = make<convjit_device_call>();
    run.input = host.upload(narrowed(x, forward.dtype));
    run.grad_output = host.upload(narrowed(g, forward.dtype));
    run.output = host.allocate(wanted.size());
    run.scratch = host.allocate(scratch);
    run.batch = images;
    // Launches alone, so that a stream under capture takes it.
    ASSERT_EQ(host.wait(), cuda::Success);
    controls.capture(true);
    Result ran =
        call(convjit_device_kernel_run, kernel.get(), &run, host.stream);
    ASSERT_TRUE(ran) << ran.message();
    controls.capture(false);
    controls.replay();
    EXPECT_EQ(host.download(run.output, wanted.size()), wanted) << text;
  }
}

TEST_F(DeviceTest, WeightGradientsSayWhatIsWrong) {
  CudaHost host;
  Device device = open();
  Layer layer = layerOf("convT2d:in=5x4x6,oc=4,k=3,s=2,grad=weight");
  auto refuse = [&](const Layer &layer, int64_t images, const char *text) {
    auto options = make<convjit_compile_options>();
    options.images = images;
    DeviceKernel none;
    expectError(call(convjit_device_compile, context.get(), layer.get(),
                     &options, device.get(), none.out()),
                CONVJIT_STATUS_INVALID_ARGUMENT, text);
  };
  refuse(layer, 0, "options.images=0: valid with grad=weight on a GPU");
  refuse(layer, int64_t(1) << 60, "2^48 bytes");
  refuse(layerOf("convT2d:in=5x4x6,oc=4,k=3,s=2,g=2,grad=weight"), 2, "g=2 in");
  Layer masked = layerOf("conv1d:in=5x1,oc=1,k=2,grad=weight");
  double factors[] = {1, 0};
  ASSERT_TRUE(call(convjit_layer_set_mask, masked.get(), factors, size_t(2)));
  refuse(masked, 2, "mask of 'conv1d:in=5x1");
  DeviceKernel kernel = compile(layer, device, 2);
  size_t bytes = 0;
  expectError(call(convjit_device_kernel_scratch_bytes, kernel.get(),
                   int64_t(3), &bytes),
              CONVJIT_STATUS_INVALID_ARGUMENT, "batch=3: valid: 2");
  expectError(call(convjit_device_kernel_pack, kernel.get(), uint64_t(256),
                   uint64_t(256), static_cast<void *>(nullptr)),
              CONVJIT_STATUS_INVALID_ARGUMENT, "is a weight's gradient");
  auto run = make<convjit_device_call>();
  run.batch = 2;
  run.input = run.grad_output = run.output = run.scratch = 4096;
  auto refused = [&](auto change, const char *text) {
    convjit_device_call changed = run;
    change(changed);
    expectError(
        call(convjit_device_kernel_run, kernel.get(), &changed, host.stream),
        CONVJIT_STATUS_INVALID_ARGUMENT, text);
  };
  refused([](auto &c) { c.batch = 3; }, "batch=3: valid: 2");
  refused([](auto &c) { c.input = 0; }, "input=0: valid: an address");
  refused([](auto &c) { c.grad_output = 0; }, "grad_output=0: valid:");
  refused([](auto &c) { c.grad_output += 8; }, "grad_output: is not aligned");
  refused([](auto &c) { c.scratch = 0; }, "scratch=0: valid: an address");
  EXPECT_EQ(controls.calls("cuLaunchKernel"), 0);
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

TEST_F(DeviceTest, ALaterProcessFindsKernelsOnDisk) {
  namespace fs = std::filesystem;
  for (const char *name : {"CONVJIT_CACHE", "CONVJIT_CACHE_DIR"})
    unsetenv(name);
  std::string directory =
      (fs::temp_directory_path() / "convjit-capi-XXXXXX").string();
  ASSERT_NE(mkdtemp(directory.data()), nullptr);
  auto files = [&] {
    return std::distance(fs::directory_iterator(directory),
                         fs::directory_iterator());
  };
  Device device = open();
  Layer layer = layerOf("conv1d:in=8x8,oc=8,k=3");
  // Milliseconds that are the same to the last bit are those of one
  // compilation.
  auto milliseconds = [&](int32_t cache) {
    auto options = make<convjit_context_options>();
    options.cache = cache;
    options.cache_directory = directory.c_str();
    Context fresh;
    EXPECT_TRUE(call(convjit_context_create, &options, fresh.out()));
    DeviceKernel kernel;
    EXPECT_TRUE(call(convjit_device_compile, fresh.get(), layer.get(), nullptr,
                     device.get(), kernel.out()));
    return infoOf(kernel).compile_milliseconds;
  };
  double first = milliseconds(CONVJIT_CACHE_DEFAULT);
  EXPECT_EQ(files(), 1);
  EXPECT_EQ(milliseconds(CONVJIT_CACHE_DEFAULT), first);
  EXPECT_NE(milliseconds(CONVJIT_CACHE_MEMORY), first);
  EXPECT_EQ(files(), 1);
  fs::remove_all(directory);
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
