//===- Common.h - what the verbs of the command line share -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef CONVJIT_TOOLS_COMMON_H
#define CONVJIT_TOOLS_COMMON_H

#include "Device.h"
#include "Layer.h"
#include "convjit/Compiler.h"

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include <functional>

namespace convjit::cli {

using Json = nlohmann::ordered_json;

/// The triple of Target that stands for NVIDIA's GPUs.
constexpr const char *gpuTriple = "nvptx64-nvidia-cuda";

/// Options that every verb has.
struct CommonOptions {
  bool json = false;
  CompileOptions compile;
  bool asksForCPU = false; ///< by --target=cpu

  void addTo(CLI::App &app);
  bool isGPU() const { return compile.target.triple == gpuTriple; }
  /// Errors: --target=cpu, on a device that is a GPU.
  Status checkTargetOf(const std::string &device) const;
};

/// The device of a verb that runs kernels, for one process. Nothing where
/// `name` is empty or cpu; else `options` are completed by what it is. Errors:
/// those of openDevice; a target that is a GPU without one.
Expected<std::unique_ptr<Device>> openDeviceFor(const std::string &name,
                                                CommonOptions &options);

/// A verb: its options, and what it does once they are read. Returns the exit
/// code, or an error that main reports.
struct Verb {
  CLI::App *app = nullptr;
  std::function<Expected<int>()> run;
};
Verb addRun(CLI::App &parent);
Verb addVerify(CLI::App &parent);
Verb addBench(CLI::App &parent);
Verb addPlan(CLI::App &parent);
Verb addEmit(CLI::App &parent);
Verb addCache(CLI::App &parent);

void printJson(const Json &document);

} // namespace convjit::cli

#endif // CONVJIT_TOOLS_COMMON_H
