//===- CudaDevice.cpp - --device=cuda:0 -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Device.h"
#include "Layer.h"

#include "convjit/DeviceKernel.h"

using namespace convjit;
using namespace convjit::cli;

namespace {

/// A stream of its own, given back.
class OwnStream {
public:
  static Expected<OwnStream> create(std::shared_ptr<CUDADevice> device) {
    Expected<DeviceStream> stream = device->makeStream();
    if (!stream)
      return stream.takeError();
    OwnStream made;
    made.device = std::move(device);
    made.stream = *stream;
    return made;
  }
  OwnStream(OwnStream &&other) noexcept
      : device(std::move(other.device)), stream(other.stream) {}
  ~OwnStream() {
    if (device)
      device->releaseStream(stream);
  }
  DeviceStream get() const { return stream; }

private:
  OwnStream() = default;
  std::shared_ptr<CUDADevice> device;
  DeviceStream stream = nullptr;
};

/// One call's tensors in device memory.
struct Uploaded {
  DeviceMemory input, weights, packed, bias, residual, output, scratch;

  DeviceOperands operands(int64_t batch) const {
    return {.input = input.get(),
            .packedWeights = packed.get(),
            .bias = bias.get(),
            .residual = residual.get(),
            .output = output.get(),
            .scratch = scratch.get(),
            .batch = batch};
  }
};

class CudaDevice final : public Device {
public:
  CudaDevice(std::shared_ptr<CUDADevice> device, OwnStream stream)
      : device(std::move(device)), stream(std::move(stream)) {}

  std::string description() const override {
    const CUDADevice::Properties &facts = device->properties();
    return device->id() + ": " + facts.name + ", compute capability " +
           std::to_string(facts.computeCapability / 10) + "." +
           std::to_string(facts.computeCapability % 10) + ", " +
           std::to_string(facts.multiprocessors) + " SMs at " +
           std::to_string(facts.clockMHz) + " MHz";
  }

  Status completeTarget(Target &target) const override {
    if (!target.cpu.empty())
      return {};
    Expected<std::string> gpu = gpuFor(device->properties().computeCapability);
    if (!gpu)
      return environmentError(device->id() + " (" + device->properties().name +
                              "): " + gpu.error().message);
    target.cpu = std::move(*gpu);
    return {};
  }

  Status load(const Compiler &, const GPUKernel &code,
              const CompileOptions &) override {
    auto loaded = DeviceKernel::load(device, code);
    if (!loaded)
      return loaded.takeError();
    kernel = std::move(*loaded);
    return {};
  }

  Status run(DeviceTensors &tensors) override {
    Expected<Uploaded> memory = upload(tensors);
    if (!memory)
      return memory.takeError();
    // What no thread writes comes back as NaN.
    std::vector<std::byte> &output = tensors.output;
    std::fill(output.begin(), output.end(), std::byte(0xff));
    if (Status s = device->upload(memory->output.get(), output.data(),
                                  output.size(), stream.get());
        !s)
      return s;
    if (Status s = kernel->run(memory->operands(tensors.batch), stream.get());
        !s)
      return s;
    if (Status s = device->download(output.data(), memory->output.get(),
                                    output.size(), stream.get());
        !s)
      return s;
    return finish();
  }

  bool isLost() const override { return lost; }

  Expected<std::vector<double>> time(const DeviceTensors &tensors,
                                     double milliseconds) override {
    Expected<Uploaded> memory = upload(tensors);
    if (!memory)
      return memory.takeError();
    auto timer = DeviceTimer::create(device);
    if (!timer)
      return timer.takeError();
    DeviceOperands operands = memory->operands(tensors.batch);
    std::vector<double> times;
    double total = 0;
    // The first warms up and is not counted.
    for (int call = 0; call < 3 || total < milliseconds; ++call) {
      if (Status s = timer->start(stream.get()); !s)
        return s.takeError();
      if (Status s = kernel->run(operands, stream.get()); !s)
        return s.takeError();
      if (Status s = timer->stop(stream.get()); !s)
        return s.takeError();
      Expected<double> ms = timer->milliseconds();
      if (!ms)
        return ms.takeError();
      if (call == 0)
        continue;
      times.push_back(*ms);
      // The clock's step, so that empty layers come to an end.
      total += std::max(*ms, 1e-3);
    }
    return times;
  }

  double gigacycles() const override {
    const CUDADevice::Properties &facts = device->properties();
    return facts.multiprocessors * (facts.clockMHz * 1e-3);
  }

private:
  /// All but the output's values, with the weights packed.
  Expected<Uploaded> upload(const DeviceTensors &tensors) {
    Uploaded made;
    auto place = [&](DeviceMemory &to, size_t bytes,
                     const std::byte *from) -> Status {
      Expected<DeviceMemory> memory = DeviceMemory::allocate(device, bytes);
      if (!memory)
        return memory.takeError();
      to = std::move(*memory);
      return from ? device->upload(to.get(), from, bytes, stream.get())
                  : Status();
    };
    auto copy = [&](DeviceMemory &to, const std::vector<std::byte> &from) {
      return place(to, from.size(), from.data());
    };
    const GPUKernel &code = kernel->kernel();
    for (const Status &s :
         {copy(made.input, tensors.input), copy(made.weights, tensors.weights),
          copy(made.bias, tensors.bias), copy(made.residual, tensors.residual),
          place(made.output, tensors.output.size(), nullptr),
          place(made.packed, code.packedWeightBytes, nullptr),
          place(made.scratch, scratchBytes(code, tensors.batch), nullptr)})
      if (!s)
        return Error(s.error());
    if (Status s =
            kernel->pack(made.weights.get(), made.packed.get(), stream.get());
        !s)
      return s.takeError();
    // The copies are of the caller's memory.
    if (Status s = finish(); !s)
      return s.takeError();
    return made;
  }

  /// Waits for the kernels, and says what they did wrong.
  Status finish() {
    Status done = device->synchronize(stream.get());
    if (done)
      return {};
    // Every later call of this process fails, too.
    lost = true;
    return Error{ErrorKind::CheckFailed, done.error().message};
  }

  std::shared_ptr<CUDADevice> device;
  std::shared_ptr<const DeviceKernel> kernel;
  OwnStream stream;
  bool lost = false;
};

Status checkName(const std::string &name) {
  Expected<int> ordinal = CUDADevice::parseName(name);
  if (ordinal)
    return {};
  return badInput("--device=" + name + ": valid: cuda:0, cuda:1, ...");
}

Expected<std::unique_ptr<Device>> openCuda(const std::string &name) {
  auto device = CUDADevice::open(*CUDADevice::parseName(name));
  if (!device) {
    const std::string &why = device.error().message;
    return environmentError("--device=" +
                            (why.starts_with(name) ? why : name + ": " + why));
  }
  Expected<OwnStream> stream = OwnStream::create(*device);
  if (!stream)
    return stream.takeError();
  return std::unique_ptr<Device>(
      new CudaDevice(std::move(*device), std::move(*stream)));
}

[[maybe_unused]] const bool registered =
    registerDevice("cuda", {checkName, openCuda});

} // namespace
