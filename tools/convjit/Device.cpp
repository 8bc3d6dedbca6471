//===- Device.cpp - what GPU kernels are run on -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Device.h"

#include <algorithm>
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
                                         const GradientLaunch &launch,
                                         DeviceTensors &tensors) {
  if (launch.exchanged)
    std::swap(tensors.input, tensors.weights);
  std::vector<std::byte> result(tensors.output.size());
  if (tensors.batch > 0) {
    tensors.batch = launch.batch;
    if (Status s = device.run(tensors); !s)
      return s;
  } else {
    std::fill(tensors.output.begin(), tensors.output.end(), std::byte());
  }
  finishWeightGradient(layer, tensors.output.data(), result.data(),
                       launch.asStored);
  tensors.output = std::move(result);
  return {};
}
