//===- Device.cpp - what GPU kernels are run on -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Device.h"

#include <map>

using namespace convjit;
using namespace convjit::cli;

static std::map<std::string, OpenDevice> &devices() {
  static std::map<std::string, OpenDevice> map;
  return map;
}

bool convjit::cli::registerDevice(const std::string &prefix, OpenDevice open) {
  return devices().emplace(prefix, std::move(open)).second;
}

Expected<std::unique_ptr<Device>>
convjit::cli::openDevice(const std::string &name) {
  std::string valid;
  for (const auto &[prefix, open] : devices()) {
    if (name.starts_with(prefix))
      return open(name);
    valid += (valid.empty() ? "" : ", ") + prefix;
  }
  return badInput(
      "--device=" + name + ": this program has no such device; " +
      (valid.empty() ? "it was built without any" : "valid: cpu, " + valid));
}
