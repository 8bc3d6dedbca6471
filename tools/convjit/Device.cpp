//===- Device.cpp - what GPU kernels are run on -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Device.h"
#include "Layer.h"
#include "convjit/WeightGradient.h"

#include <cstring>
#include <map>

using namespace convjit;
using namespace convjit::cli;

static std::map<std::string, DeviceKind> &kinds() {
  static std::map<std::string, DeviceKind> map;
  return map;
}

bool convjit::cli::registerDevice(const std::string &kind, DeviceKind how) {
  return kinds().emplace(kind, std::move(how)).second;
}

static const DeviceKind *kindOf(const std::string &name) {
  auto found = kinds().find(name.substr(0, name.find(':')));
  return found == kinds().end() ? nullptr : &found->second;
}

Status convjit::cli::checkDeviceName(const std::string &name) {
  if (const DeviceKind *kind = kindOf(name))
    return kind->check(name);
  std::string valid = "cpu";
  for (const auto &[kind, how] : kinds())
    valid += kind == "cuda" ? ", cuda:0, cuda:1, ..." : ", " + kind;
  return badInput("--device=" + name +
                  ": this program has no such device; valid: " + valid);
}

Expected<std::unique_ptr<Device>>
convjit::cli::openDevice(const std::string &name) {
  if (Status s = checkDeviceName(name); !s)
    return s.takeError();
  return kindOf(name)->open(name);
}

Status convjit::cli::runWeightGradientOn(Device &device,
                                         const Convolution &layer,
                                         const void *input,
                                         const void *gradOutput, int64_t batch,
                                         void *result) {
  auto bytesOf = [&](const std::vector<int64_t> &shape) {
    return static_cast<size_t>(elementCount(shape) * sizeOf(layer.dtype));
  };
  auto copy = [](const void *from, size_t bytes) {
    auto *begin = static_cast<const std::byte *>(from);
    return std::vector<std::byte>(begin, begin + bytes);
  };
  size_t weightBytes = bytesOf(layer.kernelShape());
  auto runImage = [&](const void *image, const void *gradient, const void *sum,
                      void *next) {
    DeviceTensors call{copy(image, bytesOf(layer.inputShape(1))),
                       copy(gradient, bytesOf(layer.outputShape(1))),
                       {},
                       copy(sum, weightBytes),
                       std::vector<std::byte>(weightBytes),
                       layer.inChannels};
    Status done = device.run(call);
    std::memcpy(next, call.output.data(), weightBytes);
    return done;
  };
  return runWeightGradient(layer, input, gradOutput, batch, runImage, result);
}
