//===- DeviceChecker.h - a GPU kernel held against the reference -*- C++
//-*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef CONVJIT_TOOLS_DEVICECHECKER_H
#define CONVJIT_TOOLS_DEVICECHECKER_H

#include "Checker.h"
#include "Device.h"

namespace convjit::cli {

/// Compiles cases for a GPU and runs each kernel on a device, on exact-integer
/// data, where it must agree bit for bit, and on float data, within errorBound.
/// The counterpart of Checker.
class DeviceChecker {
public:
  DeviceChecker(const Compiler &compiler, const CompileOptions &options,
                Device &device, Position &position)
      : compiler(compiler), options(options), device(device),
        position(position) {}

  /// Nothing when all agrees. An error is one of the options or of the device.
  Expected<std::optional<Failure>> check(const NamedCase &item, uint64_t seed);

  /// Largest error on float data in the last case, as a part of its bound.
  double worstError() const { return worst; }

  /// The kernels of the last case: type, what of, which axis of the input is
  /// the last in memory, plan.
  const std::vector<std::string> &kernels() const { return loaded; }

private:
  Expected<GPUKernel> load(const NamedCase &item,
                           const CompileOptions &options);
  Expected<GPUKernel> compileCase(const NamedCase &item,
                                  CompileOptions options);
  Expected<std::optional<Failure>> checkBatch(const GPUKernel &kernel,
                                              int64_t images, int64_t batch,
                                              uint64_t seed);
  std::optional<Failure> bankConflicts();
  Expected<std::optional<Failure>>
  checkWeightGradient(const GPUKernel &kernel, const Convolution &layer,
                      const GradientLaunch &launch, int64_t images,
                      uint64_t seed);
  Expected<std::optional<Failure>> failed(Error error) const;
  void setPlan(const std::string &plan);

  const Compiler &compiler;
  const CompileOptions &options;
  Device &device;
  Position &position;
  double worst = 0;
  std::vector<std::string> loaded;
};

} // namespace convjit::cli

#endif // CONVJIT_TOOLS_DEVICECHECKER_H
