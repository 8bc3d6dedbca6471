//===- DeviceTesting.h - the C interface on a GPU that is none
//-------------===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

// A host's side of CUDA, on a driver whose kernels the emulator runs.
//
//===----------------------------------------------------------------------===//

#ifndef CONVJIT_TEST_CAPI_DEVICETESTING_H
#define CONVJIT_TEST_CAPI_DEVICETESTING_H

#include "../cuda/FakeDriver.h"
#include "LayerText.h"
#include "SmallFloat.h"
#include "convjit/Reference.h"
#include "convjit/convjit.hpp"
#include "cuda/Driver.h"

#include <gtest/gtest.h>

#include <cstring>

#include <dlfcn.h>

namespace devicetest {

using namespace convjit::host;
namespace cuda = convjit::cuda;
using convjit::DataType;

inline convjit::fake::Controls controls;

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

inline std::vector<double> integers(size_t count, unsigned seed) {
  std::vector<double> values(count);
  for (double &value : values) {
    seed = seed * 1664525u + 1013904223u;
    value = static_cast<int>(seed >> 29) - 3;
  }
  return values;
}

inline std::vector<std::byte> narrowed(const std::vector<double> &values,
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

inline size_t count(const std::vector<int64_t> &shape) {
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
  DeviceKernel compile(const Layer &layer, const Device &device,
                       int64_t images = 0) {
    DeviceKernel kernel;
    auto options = make<convjit_compile_options>();
    options.images = images;
    Result made = call(convjit_device_compile, context.get(), layer.get(),
                       images ? &options : nullptr, device.get(), kernel.out());
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

} // namespace devicetest

#endif // CONVJIT_TEST_CAPI_DEVICETESTING_H
