//===- Device.cpp - GPUs through the C interface -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Device.h"
#include "Handles.h"
#include "RoundUp.h"

#include <algorithm>

using namespace convjit;
using namespace convjit::capi;

/// What is before a weight gradient's own scratch: an operand, packed.
static size_t packedGradientBytes(const GPUKernel &code) {
  constexpr size_t alignment = 256; // as of cuMemAlloc
  return roundUp(code.packedWeightBytes, alignment);
}

/// Errors for a batch that the kernel does not take.
static Outcome checkBatchOf(const convjit_device_kernel &kernel,
                            int64_t batch) {
  const Convolution &conv = kernel.kernel->kernel().conv;
  if (!kernel.gradient) {
    if (Status s = checkImages(conv, batch); !s)
      return s;
  } else if (batch != gradientImages(conv)) {
    return invalid("batch=" + std::to_string(batch) +
                   ": valid: " + std::to_string(gradientImages(conv)) +
                   ", which the kernel was compiled for (options.images)");
  }
  return {};
}

/// Packs one operand and launches with the other.
static Outcome runGradient(const convjit_device_kernel &kernel,
                           const convjit_device_call &call, void *stream) {
  const GPUKernel &code = kernel.kernel->kernel();
  const Convolution &layer = kernel.layer->forward;
  std::vector<int64_t> shape = layer.inputShape(1);
  bool noInput = std::find(shape.begin(), shape.end(), 0) != shape.end();
  // Here, where they have the names that the caller knows.
  auto check = [&](uint64_t address, const char *name, bool empty) -> Outcome {
    if (address % code.pointerAlignment)
      return invalid(std::string(name) +
                     ": is not aligned; valid: a multiple of " +
                     std::to_string(code.pointerAlignment) + " bytes");
    if (!address && !empty)
      return invalid(std::string(name) +
                     "=0: valid: an address of device memory");
    return {};
  };
  if (Outcome o = check(call.input, "input", noInput); !o)
    return o;
  if (Outcome o = check(call.grad_output, "grad_output", false); !o)
    return o;
  if (packedGradientBytes(code) && !call.scratch)
    return invalid("scratch=0: valid: an address of device memory");
  uint64_t input = call.input, weight = call.grad_output;
  if (kernel.gradient->exchanged)
    std::swap(input, weight);
  if (Status s = kernel.kernel->pack(weight, call.scratch, stream); !s)
    return s;
  return kernel.kernel->run(
      {.input = input,
       .packedWeights = call.scratch,
       .output = call.output,
       .scratch = call.scratch + packedGradientBytes(code),
       .batch = kernel.gradient->batch},
      stream);
}

convjit_status convjit_device_open(const char *name, convjit_device **device,
                                   convjit_error **error) {
  return guarded(error, [&]() -> Outcome {
    if (!device)
      return missing("device", "where to store the handle");
    *device = nullptr;
    if (!name)
      return missing("name", "cuda:0, cuda:1, ...");
    Expected<int> ordinal = CUDADevice::parseName(name);
    if (!ordinal)
      return ordinal.takeError();
    auto opened = CUDADevice::open(*ordinal);
    if (!opened)
      return opened.takeError();
    // Here, where it is clear what is wrong with it.
    int capability = (*opened)->properties().computeCapability;
    if (Expected<std::string> gpu = gpuFor(capability); !gpu)
      return environmentError((*opened)->id() + " (" +
                              (*opened)->properties().name +
                              "): " + gpu.error().message);
    *device = new convjit_device{std::move(*opened)};
    return {};
  });
}

void convjit_device_release(convjit_device *device) { delete device; }

convjit_status convjit_device_get_info(const convjit_device *device,
                                       convjit_device_info *info,
                                       convjit_error **error) {
  return guarded(error, [&]() -> Outcome {
    if (!device)
      return missing("device", "a device");
    if (!info)
      return missing("info", "a struct to fill in");
    const CUDADevice::Properties &facts = device->device->properties();
    convjit_device_info made{};
    made.ordinal = device->device->ordinal();
    made.name = facts.name.c_str();
    made.compute_capability = facts.computeCapability;
    made.multiprocessors = facts.multiprocessors;
    made.clock_mhz = facts.clockMHz;
    return fillIn(info, made);
  });
}

convjit_device_kernel *
convjit_device_kernel_retain(convjit_device_kernel *kernel) {
  if (kernel)
    kernel->references.fetch_add(1, std::memory_order_relaxed);
  return kernel;
}

void convjit_device_kernel_release(convjit_device_kernel *kernel) {
  if (kernel && kernel->references.fetch_sub(1, std::memory_order_acq_rel) == 1)
    delete kernel;
}

convjit_status
convjit_device_kernel_get_info(const convjit_device_kernel *kernel,
                               convjit_device_kernel_info *info,
                               convjit_error **error) {
  return guarded(error, [&]() -> Outcome {
    if (!kernel)
      return missing("kernel", "a kernel");
    if (!info)
      return missing("info", "a struct to fill in");
    const GPUKernel &code = kernel->kernel->kernel();
    convjit_device_kernel_info made{};
    made.rank = code.conv.rank();
    made.dtype = static_cast<int32_t>(code.conv.dtype);
    made.bias = code.conv.bias;
    made.residual = code.conv.residual;
    made.gradient = static_cast<int32_t>(kernel->layer->gradient());
    made.images = kernel->gradient ? gradientImages(code.conv) : 0;
    made.packed_weight_bytes = kernel->gradient ? 0 : code.packedWeightBytes;
    made.pointer_alignment = code.pointerAlignment;
    made.batch_groups = kernel->layer->weighted().batchGroups;
    made.launches = static_cast<int32_t>(code.run.size());
    for (const DeviceKernel::Resources &uses : kernel->kernel->resources()) {
      made.registers = std::max(made.registers, int32_t(uses.registers));
      made.local_bytes = std::max(made.local_bytes, int32_t(uses.localBytes));
    }
    made.compile_milliseconds = code.compileMilliseconds;
    made.target = code.chip.c_str();
    made.ptx = code.ptx.c_str();
    return fillIn(info, made);
  });
}

const char *convjit_device_kernel_problem(const convjit_device_kernel *kernel) {
  return kernel ? kernel->layer->text.c_str() : "";
}
const char *convjit_device_kernel_plan(const convjit_device_kernel *kernel) {
  return kernel ? kernel->kernel->kernel().plan.c_str() : "";
}

convjit_status
convjit_device_kernel_scratch_bytes(const convjit_device_kernel *kernel,
                                    int64_t batch, size_t *bytes,
                                    convjit_error **error) {
  return guarded(error, [&]() -> Outcome {
    if (!kernel)
      return missing("kernel", "a kernel");
    if (!bytes)
      return missing("bytes", "where to store a number");
    const GPUKernel &code = kernel->kernel->kernel();
    if (Outcome o = checkBatchOf(*kernel, batch); !o)
      return o;
    *bytes = kernel->gradient ? packedGradientBytes(code) +
                                    scratchBytes(code, kernel->gradient->batch)
                              : scratchBytes(code, batch);
    return {};
  });
}

convjit_status convjit_device_kernel_pack(const convjit_device_kernel *kernel,
                                          uint64_t weight, uint64_t packed,
                                          void *stream, convjit_error **error) {
  return guarded(error, [&]() -> Outcome {
    if (!kernel)
      return missing("kernel", "a kernel");
    if (kernel->gradient)
      return invalid("kernel: is a weight's gradient, which has no weight to "
                     "pack; valid: convjit_device_kernel_run alone");
    return kernel->kernel->pack(weight, packed, stream);
  });
}

convjit_status convjit_device_kernel_run(const convjit_device_kernel *kernel,
                                         const convjit_device_call *call,
                                         void *stream, convjit_error **error) {
  return guarded(error, [&]() -> Outcome {
    if (!kernel)
      return missing("kernel", "a kernel");
    convjit_device_call own{};
    if (Outcome o = readStruct(call, own, "call"); !o)
      return o;
    if (Outcome o = checkBatchOf(*kernel, own.batch); !o)
      return o;
    if (kernel->gradient)
      return runGradient(*kernel, own, stream);
    return kernel->kernel->run({.input = own.input,
                                .packedWeights = own.packed_weights,
                                .bias = own.bias,
                                .residual = own.residual,
                                .output = own.output,
                                .scratch = own.scratch,
                                .batch = own.batch},
                               stream);
  });
}
