//===- Common.cpp - what the verbs of the command line share -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Common.h"

#include <iostream>

using namespace convjit;
using namespace convjit::cli;

void CommonOptions::addTo(CLI::App &app) {
  app.add_flag("--json", json, "print one JSON document and nothing else");
  app.add_option_function<std::string>(
         "--target",
         [this](const std::string &name) {
           compile.target.triple = name == "nvptx" ? gpuTriple : "";
           asksForCPU = name == "cpu";
         },
         "what to compile for: cpu, or nvptx, NVIDIA's GPUs")
      ->check(CLI::IsMember({"cpu", "nvptx"}));
  app.add_option(
      "--target-cpu", compile.target.cpu,
      "compile for this CPU (LLVM's name) instead of the host's; with "
      "--target=nvptx for this chip: sm_80 (also without), sm_86, sm_89, "
      "sm_90, sm_100, sm_120");
  app.add_option("--target-features", compile.target.features,
                 "features added to the CPU's, such as +avx2,-fma");
  app.add_option("--plan", compile.plan,
                 "a plan as `convjit plan` prints it, instead of the cost "
                 "model's");
}

Expected<std::unique_ptr<Device>>
convjit::cli::openDeviceFor(const std::string &name, CommonOptions &options) {
  if (name.empty() || name == "cpu") {
    if (options.isGPU())
      return badInput("--target=nvptx: kernels for GPUs need a device to run "
                      "on; valid: --device=cuda:0");
    return std::unique_ptr<Device>();
  }
  if (Status s = options.checkTargetOf(name); !s)
    return s.takeError();
  options.compile.target.triple = gpuTriple;
  auto device = openDevice(name);
  if (device)
    if (Status s = (*device)->completeTarget(options.compile.target); !s)
      return s.takeError();
  return device;
}

Status CommonOptions::checkTargetOf(const std::string &device) const {
  if (!asksForCPU)
    return {};
  return badInput("--target=cpu: --device=" + device +
                  " runs kernels for GPUs; valid: --target=nvptx, or neither");
}

void convjit::cli::printJson(const Json &document) {
  // A path in it need not be UTF-8.
  std::cout << document.dump(2, ' ', false, Json::error_handler_t::replace)
            << "\n";
}
