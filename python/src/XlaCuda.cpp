//===- XlaCuda.cpp - the handler that XLA calls on a GPU -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "XlaCuda.h"
#include "GPUEngine.h"
#include "XlaBuffers.h"

#include <array>
#include <atomic>
#include <mutex>

using namespace convjit;
using namespace convjit::python;
namespace ffi = xla::ffi;

namespace {

/// What one custom call of one executable keeps, for every device that the
/// executable runs on.
struct CudaCall {
  static ffi::TypeId id;
  static ffi::TypeInfo info;
  static constexpr size_t maxDevices = 64;

  std::shared_ptr<const GPUKernel> kernel;
  /// By ordinal. The kernels themselves live as long as the process.
  std::array<std::atomic<const DeviceKernel *>, maxDevices> loaded{};
};
ffi::TypeId CudaCall::id = XLA_FFI_UNKNOWN_TYPE_ID;
ffi::TypeInfo CudaCall::info = ffi::MakeTypeInfo<CudaCall>();

ffi::Error noMemory(const std::exception &thrown) {
  return ffi::Error(ffi::ErrorCode::kResourceExhausted,
                    std::string("convjit: ") + thrown.what());
}

ffi::ErrorOr<std::unique_ptr<CudaCall>>
instantiate(std::string_view convolution, std::string_view gpu,
            std::string_view plan, int64_t images) {
  try {
    auto kernel =
        gpuKernelOf(convolution, std::string(gpu), std::string(plan), images);
    if (!kernel)
      return ffi::Unexpected(xlaError(kernel.error()));
    auto call = std::make_unique<CudaCall>();
    call->kernel = std::move(*kernel);
    return call;
  } catch (const std::exception &thrown) {
    return ffi::Unexpected(noMemory(thrown));
  }
}

ffi::Error initialize(CudaCall *call, int32_t ordinal, ffi::RemainingArgs,
                      ffi::RemainingRets, std::string_view, std::string_view,
                      std::string_view, int64_t) {
  try {
    if (ordinal < 0 || static_cast<size_t>(ordinal) >= CudaCall::maxDevices)
      return xlaError(badInput("device " + std::to_string(ordinal) +
                               ": valid: 0 to " +
                               std::to_string(CudaCall::maxDevices - 1)));
    auto &place = call->loaded[static_cast<size_t>(ordinal)];
    if (place.load(std::memory_order_acquire))
      return ffi::Error::Success();
    Expected<const DeviceKernel *> loaded =
        deviceKernelOf(ordinal, call->kernel);
    if (!loaded)
      return xlaError(loaded.error());
    place.store(*loaded, std::memory_order_release);
    return ffi::Error::Success();
  } catch (const std::exception &thrown) {
    return noMemory(thrown);
  }
}

Status run(const CudaCall &call, void *stream, int32_t ordinal,
           const ffi::AnyBuffer &input, const ffi::AnyBuffer &weights,
           ffi::AnyBuffer &output, ffi::Buffer<ffi::U8> &packed,
           ffi::Buffer<ffi::U8> &scratch) {
  const DeviceKernel *loaded = nullptr;
  if (ordinal >= 0 && static_cast<size_t>(ordinal) < CudaCall::maxDevices)
    loaded = call.loaded[static_cast<size_t>(ordinal)].load(
        std::memory_order_acquire);
  if (!loaded)
    return internalError("device " + std::to_string(ordinal) +
                         ": executed before the initialize stage");
  const GPUKernel &code = *call.kernel;
  Expected<int64_t> batch = checkBuffers(code.conv, input, weights, output);
  if (!batch)
    return batch.takeError();
  for (auto [what, has, needs] :
       {std::tuple("packed weights", packed.element_count(),
                   code.packedWeightBytes),
        std::tuple("scratch", scratch.element_count(),
                   scratchBytes(code, *batch))})
    if (has < needs)
      return badInput(std::string(what) + ": " + std::to_string(has) +
                      " bytes; valid: " + std::to_string(needs));
  auto address = [](const auto &buffer) {
    return reinterpret_cast<DeviceAddress>(buffer.untyped_data());
  };
  if (Status s = loaded->pack(address(weights), address(packed), stream); !s)
    return s;
  return loaded->run({.input = address(input),
                      .packedWeights = address(packed),
                      .output = address(output),
                      .scratch = address(scratch),
                      .batch = *batch},
                     stream);
}

ffi::Error execute(CudaCall *call, void *stream, int32_t ordinal,
                   ffi::AnyBuffer input, ffi::AnyBuffer weights,
                   ffi::Result<ffi::AnyBuffer> output,
                   ffi::ResultBuffer<ffi::U8> packed,
                   ffi::ResultBuffer<ffi::U8> scratch, std::string_view,
                   std::string_view, std::string_view, int64_t) {
  try {
    Status done =
        run(*call, stream, ordinal, input, weights, *output, *packed, *scratch);
    return done ? ffi::Error::Success() : xlaError(done.error());
  } catch (const std::exception &thrown) {
    return noMemory(thrown);
  }
}

XLA_FFI_DEFINE_HANDLER(instantiateHandler, instantiate,
                       ffi::Ffi::BindInstantiate()
                           .Attr<std::string_view>("convolution")
                           .Attr<std::string_view>("gpu")
                           .Attr<std::string_view>("plan")
                           .Attr<int64_t>("images"));
XLA_FFI_DEFINE_HANDLER(initializeHandler, initialize,
                       ffi::Ffi::BindInitialize()
                           .Ctx<ffi::State<CudaCall>>()
                           .Ctx<ffi::DeviceOrdinal>()
                           .RemainingArgs()
                           .RemainingRets()
                           .Attr<std::string_view>("convolution")
                           .Attr<std::string_view>("gpu")
                           .Attr<std::string_view>("plan")
                           .Attr<int64_t>("images"));
XLA_FFI_DEFINE_HANDLER(executeHandler, execute,
                       ffi::Ffi::Bind()
                           .Ctx<ffi::State<CudaCall>>()
                           .Ctx<ffi::PlatformStream<void *>>()
                           .Ctx<ffi::DeviceOrdinal>()
                           .Arg<ffi::AnyBuffer>()
                           .Arg<ffi::AnyBuffer>()
                           .Ret<ffi::AnyBuffer>()
                           .Ret<ffi::Buffer<ffi::U8>>()
                           .Ret<ffi::Buffer<ffi::U8>>()
                           .Attr<std::string_view>("convolution")
                           .Attr<std::string_view>("gpu")
                           .Attr<std::string_view>("plan")
                           .Attr<int64_t>("images"),
                       {ffi::Traits::kCmdBufferCompatible});

/// The type of the state is made known by the first call, XLA's question about
/// the handler: see Xla.cpp. CUDA's XLA is another one than the CPU's, in a
/// plugin, and so is this type.
XLA_FFI_Error *instantiateEntry(XLA_FFI_CallFrame *frame) {
  static std::once_flag once;
  XLA_FFI_Error *error = nullptr;
  std::call_once(once, [&] {
    error = ffi::Ffi::RegisterTypeId(frame->api, "convjit.jax.cuda_call",
                                     &CudaCall::id, &CudaCall::info);
  });
  return error ? error : instantiateHandler(frame);
}

} // namespace

XlaCudaEntryPoints convjit::python::xlaCudaEntryPoints() {
  return {reinterpret_cast<void *>(instantiateEntry),
          reinterpret_cast<void *>(initializeHandler),
          reinterpret_cast<void *>(executeHandler)};
}
