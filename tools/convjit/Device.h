//===- Device.h - what GPU kernels are run on -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef CONVJIT_TOOLS_DEVICE_H
#define CONVJIT_TOOLS_DEVICE_H

#include "convjit/Compiler.h"

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace convjit::cli {

/// One call's tensors in host memory; empty where the layer has none.
struct DeviceTensors {
  std::vector<std::byte> input, weights, bias, residual;
  /// Of the right size; overwritten.
  std::vector<std::byte> output;
  int64_t batch = 0;
};

/// A GPU, or what stands in for one.
class Device {
public:
  virtual ~Device() = default;

  /// Makes a kernel of `compiler` the one to run. `options` are those that it
  /// was compiled with, its plan among them.
  virtual Status load(const Compiler &compiler, const GPUKernel &kernel,
                      const CompileOptions &options) = 0;
  /// Packs the weights, runs the layer, and returns when the output is there.
  /// An error of kind CheckFailed is one that the kernel was seen to make.
  virtual Status run(DeviceTensors &tensors) = 0;
};

/// Makes the device that --device names. Errors: one that this program does not
/// have, or that does not work.
Expected<std::unique_ptr<Device>> openDevice(const std::string &name);

/// Adds devices whose names begin with `prefix`.
using OpenDevice =
    std::function<Expected<std::unique_ptr<Device>>(const std::string &name)>;
bool registerDevice(const std::string &prefix, OpenDevice open);

} // namespace convjit::cli

#endif // CONVJIT_TOOLS_DEVICE_H
