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
#include "convjit/WeightGradient.h"

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

  /// What it is, for people: its name and its chip.
  virtual std::string description() const = 0;
  /// Fills in what kernels are to be compiled for, where the options leave it
  /// open. Errors: a device that is too old for any.
  virtual Status completeTarget(Target &target) const = 0;
  /// Makes a kernel of `compiler` the one to run. `options` are those that it
  /// was compiled with, its plan among them.
  virtual Status load(const Compiler &compiler, const GPUKernel &kernel,
                      const CompileOptions &options) = 0;
  /// Packs the weights, runs the layer, and returns when the output is there.
  /// An error of kind CheckFailed is one that the kernel was seen to make.
  virtual Status run(DeviceTensors &tensors) = 0;
  /// Milliseconds of each of several runs of the layer, one after the other,
  /// measured by the device, after one that is not counted. Ends after
  /// `milliseconds` of them. Errors: a device without a clock.
  virtual Expected<std::vector<double>> time(const DeviceTensors &tensors,
                                             double milliseconds) = 0;
  /// What of the last run is not as it should be although its results stand:
  /// bank conflicts, of a device that looks for them. Empty without.
  virtual std::string bankConflicts() const { return ""; }
  /// Whether a kernel did what its process cannot recover from: an access to
  /// memory that is not there, for instance.
  virtual bool isLost() const { return false; }
  /// Multiprocessors times cycles a second, 1e9.
  virtual double gigacycles() const { return 0; }
};

/// What the option --device says of itself where any may run kernels.
constexpr const char *deviceHelp = "what kernels run on: cpu; cuda:0 and so "
                                   "on, an NVIDIA GPU; or emulated, GPU "
                                   "kernels on the emulator of the tests, "
                                   "where this program was built with it";

/// The weight's gradient of `layer`, as the layer stores its weight, by the
/// kernel of `launch`, which the device has loaded, in one launch. The tensors
/// are the layer's: weights is its output's gradient, output the result; batch
/// is the launch's images, or 0 for a gradient of zeros.
Status runWeightGradientOn(Device &device, const Convolution &layer,
                           const GradientLaunch &launch,
                           DeviceTensors &tensors);

/// Whether --device may name it, by its name alone: a process that will fork
/// must not open a GPU, for CUDA does not work in a child of one that has.
Status checkDeviceName(const std::string &name);
/// Makes the device of that name. Errors: one that does not work.
Expected<std::unique_ptr<Device>> openDevice(const std::string &name);

/// Adds devices: "emulated" or "emulated:...".
struct DeviceKind {
  std::function<Status(const std::string &name)> check;
  std::function<Expected<std::unique_ptr<Device>>(const std::string &name)>
      open;
};
bool registerDevice(const std::string &kind, DeviceKind how);

} // namespace convjit::cli

#endif // CONVJIT_TOOLS_DEVICE_H
