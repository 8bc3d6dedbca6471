//===- DeviceKernel.cpp - a GPU kernel loaded on a device -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "convjit/DeviceKernel.h"
#include "DeviceState.h"

#include <algorithm>

using namespace convjit;
using namespace convjit::cuda;

/// An entry of the module and its launch.
struct DeviceKernel::Step {
  GPULaunch launch;
  Function function = nullptr;
};

/// What parameters are taken from.
struct DeviceKernel::Call {
  const DeviceOperands &operands;
  DeviceAddress filter = 0;

  DeviceAddress pointer(GPUParameter parameter) const {
    switch (parameter) {
    case GPUParameter::Input:
      return operands.input;
    case GPUParameter::Filter:
      return filter;
    case GPUParameter::Packed:
      return operands.packedWeights;
    case GPUParameter::Bias:
      return operands.bias;
    case GPUParameter::Residual:
      return operands.residual;
    case GPUParameter::Output:
      return operands.output;
    case GPUParameter::Scratch:
      return operands.scratch;
    case GPUParameter::Batch:
      break;
    }
    return 0;
  }
};

/// An entry has each parameter at most once.
constexpr size_t maxParameters = static_cast<size_t>(GPUParameter::Batch) + 1;
/// What a block has without asking.
constexpr int64_t defaultSharedBytes = 48 << 10;

static const char *nameOf(GPUParameter parameter) {
  switch (parameter) {
  case GPUParameter::Input:
    return "input";
  case GPUParameter::Filter:
    return "weights";
  case GPUParameter::Packed:
    return "packedWeights";
  case GPUParameter::Bias:
    return "bias";
  case GPUParameter::Residual:
    return "residual";
  case GPUParameter::Output:
    return "output";
  case GPUParameter::Scratch:
    return "scratch";
  case GPUParameter::Batch:
    break;
  }
  return "batch";
}

static std::string capabilityText(int capability) {
  return std::to_string(capability / 10) + "." +
         std::to_string(capability % 10);
}

/// Code for sm_90a and the like runs on that capability alone.
static Status checkCapability(const CUDADevice &device,
                              const GPUKernel &kernel) {
  int has = device.properties().computeCapability;
  bool alone = kernel.chip.ends_with('a');
  if (alone ? has == kernel.computeCapability : has >= kernel.computeCapability)
    return {};
  return environmentError(
      device.id() + " (" + device.properties().name +
      ") has compute capability " + capabilityText(has) + "; valid: " +
      capabilityText(kernel.computeCapability) + (alone ? "" : " or later") +
      ", for which the kernel was compiled (" + kernel.chip + ")");
}

Expected<std::shared_ptr<const DeviceKernel>>
DeviceKernel::load(std::shared_ptr<const CUDADevice> device, GPUKernel kernel) {
  if (Status s = checkCapability(*device, kernel); !s)
    return s.takeError();
  auto module = loadModule(device, kernel.ptx);
  if (!module)
    return module.takeError();
  std::shared_ptr<DeviceKernel> made(new DeviceKernel);
  made->on = std::move(device);
  made->module = std::move(*module);
  made->code = std::move(kernel);
  made->steps.resize(made->code.run.size() + 1);
  CurrentContext current(*made->on);
  if (!current.good())
    return current.status().takeError();
  for (size_t i = 0; i < made->steps.size(); ++i)
    if (Status s = made->prepare(made->steps[i], i < made->code.run.size()
                                                     ? made->code.run[i]
                                                     : made->code.pack);
        !s)
      return s.takeError();
  return std::shared_ptr<const DeviceKernel>(std::move(made));
}

DeviceKernel::~DeviceKernel() = default;

Status DeviceKernel::prepare(Step &step, const GPULaunch &launch) {
  const Driver &driver = on->driver();
  const CUDADevice::Properties &limits = on->properties();
  std::string what = on->id() + " (" + limits.name + "): " + launch.entry;
  if (launch.parameters.size() > maxParameters)
    return badInput(launch.entry + ": has " +
                    std::to_string(launch.parameters.size()) +
                    " parameters; valid: each of GPUParameter once");
  step.launch = launch;
  // Lazily loaded modules load the entry here.
  Result result = driver.moduleGetFunction(&step.function, module->module,
                                           launch.entry.c_str());
  if (result != Success)
    return driver.error(result, what + ": cuModuleGetFunction");
  auto attribute = [&](FunctionAttribute name) {
    int value = 0;
    if (result == Success)
      result = driver.funcGetAttribute(&value, name, step.function);
    return value;
  };
  int64_t threads = attribute(FunctionAttribute::MaxThreadsPerBlock);
  Resources uses{launch.entry, attribute(FunctionAttribute::Registers),
                 attribute(FunctionAttribute::LocalBytes),
                 attribute(FunctionAttribute::SharedBytes)};
  if (result != Success)
    return driver.error(result, what + ": cuFuncGetAttribute");
  threads = std::min(threads, limits.maxThreads);
  if (launch.threads < 1 || launch.threads > threads)
    return environmentError(
        what + ": wants blocks of " + std::to_string(launch.threads) +
        " threads, each of " + std::to_string(uses.registers) +
        " registers; valid: at most " + std::to_string(threads));
  int64_t shared = launch.sharedBytes + uses.sharedBytes;
  if (shared > limits.maxSharedBytes)
    return environmentError(what + ": wants " + std::to_string(shared) +
                            " bytes of shared memory; valid: at most " +
                            std::to_string(limits.maxSharedBytes));
  used.push_back(std::move(uses));
  if (shared <= defaultSharedBytes)
    return {};
  result = driver.funcSetAttribute(step.function,
                                   FunctionAttribute::MaxDynamicSharedBytes,
                                   static_cast<int>(launch.sharedBytes));
  if (result != Success)
    return driver.error(result, what + ": cuFuncSetAttribute");
  return {};
}

Status DeviceKernel::check(const Step &step, const Call &call,
                           int64_t &blocks) const {
  blocks = gridBlocks(step.launch, call.operands.batch, code.conv.batchGroups);
  if (blocks > on->properties().maxGridBlocks)
    return badInput("batch=" + std::to_string(call.operands.batch) +
                    ": needs " + std::to_string(blocks) +
                    " blocks; valid: at most " +
                    std::to_string(on->properties().maxGridBlocks));
  if (blocks == 0)
    return {};
  for (GPUParameter parameter : step.launch.parameters) {
    if (parameter == GPUParameter::Batch)
      continue;
    DeviceAddress address = call.pointer(parameter);
    if (address % code.pointerAlignment)
      return badInput(std::string(nameOf(parameter)) +
                      ": is not aligned; valid: a multiple of " +
                      std::to_string(code.pointerAlignment) + " bytes");
    // Scratch may have no bytes, and neither may a tensor.
    if (address)
      continue;
    bool empty = false;
    auto none = [](const std::vector<int64_t> &shape) {
      return std::find(shape.begin(), shape.end(), 0) != shape.end();
    };
    int64_t batch = call.operands.batch;
    if (parameter == GPUParameter::Input)
      empty = none(code.conv.inputShape(batch));
    else if (parameter == GPUParameter::Packed)
      empty = code.packedWeightBytes == 0;
    else if (parameter == GPUParameter::Scratch)
      empty = scratchBytes(code, batch) == 0;
    if (!empty)
      return badInput(std::string(nameOf(parameter)) +
                      "=0: valid: an address of device memory");
  }
  return {};
}

Status DeviceKernel::launch(const Step &step, const Call &call, int64_t blocks,
                            DeviceStream stream) const {
  if (blocks == 0)
    return {};
  uint64_t values[maxParameters];
  void *parameters[maxParameters];
  size_t count = 0;
  for (GPUParameter parameter : step.launch.parameters) {
    values[count] = parameter == GPUParameter::Batch
                        ? static_cast<uint64_t>(call.operands.batch)
                        : call.pointer(parameter);
    parameters[count] = &values[count];
    ++count;
  }
  const Driver &driver = on->driver();
  Result result =
      driver.launchKernel(step.function, static_cast<unsigned>(blocks), 1, 1,
                          static_cast<unsigned>(step.launch.threads), 1, 1,
                          static_cast<unsigned>(step.launch.sharedBytes),
                          static_cast<Stream>(stream), parameters, nullptr);
  if (result == Success)
    return {};
  return driver.error(result, on->id() + ": cuLaunchKernel of " +
                                  step.launch.entry + ", " +
                                  std::to_string(blocks) + " blocks");
}

Status DeviceKernel::pack(DeviceAddress weights, DeviceAddress packed,
                          DeviceStream stream) const {
  DeviceOperands operands;
  operands.packedWeights = packed;
  operands.batch = code.conv.batchGroups;
  Call call{operands, weights};
  int64_t blocks = 0;
  if (Status s = check(steps.back(), call, blocks); !s)
    return s;
  CurrentContext current(*on);
  if (!current.good())
    return current.status();
  return launch(steps.back(), call, blocks, stream);
}

Status DeviceKernel::run(const DeviceOperands &operands,
                         DeviceStream stream) const {
  if (Status s = checkImages(code, operands.batch); !s)
    return s;
  Call call{operands};
  int64_t blocks = 0;
  // All are checked before the first is launched.
  for (size_t i = 0; i + 1 < steps.size(); ++i)
    if (Status s = check(steps[i], call, blocks); !s)
      return s;
  CurrentContext current(*on);
  if (!current.good())
    return current.status();
  for (size_t i = 0; i + 1 < steps.size(); ++i) {
    blocks = gridBlocks(steps[i].launch, operands.batch, code.conv.batchGroups);
    if (Status s = launch(steps[i], call, blocks, stream); !s)
      return s;
  }
  return {};
}
