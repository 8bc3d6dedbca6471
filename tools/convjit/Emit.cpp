//===- Emit.cpp - convjit emit -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Common.h"
#include "Reproducer.h"

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <sstream>

using namespace convjit;
using namespace convjit::cli;

namespace {

struct EmitOptions {
  CommonOptions common;
  std::string problem, stages, folder;
};

struct StageName {
  const char *name;
  Stage stage;
  const char *extension;
};
constexpr StageName stageNames[] = {{"conv", Stage::Conv, "conv.mlir"},
                                    {"general", Stage::General, "general.mlir"},
                                    {"phases", Stage::Phases, "phases.mlir"},
                                    {"tiles", Stage::Tiles, "tiles.mlir"},
                                    {"linalg", Stage::Linalg, "linalg.mlir"},
                                    {"vector", Stage::Vector, "vector.mlir"},
                                    {"llvm", Stage::LLVM, "ll"},
                                    {"asm", Stage::Asm, "s"},
                                    {"obj", Stage::Object, "o"}};

constexpr const char *validStages =
    "conv, general, phases, tiles, linalg, vector, llvm, asm, obj, header";

/// The C declarations of an object file's kernel; names as in Kernel.h.
std::string header(const Layer &layer, const PlanReport &plan) {
  std::string name = layer.text;
  // A mask's path must not end the comment.
  for (size_t at; (at = name.find("*/")) != std::string::npos;)
    name.replace(at, 2, "* /");
  std::ostringstream text;
  text << "/* " << name << "\n * " << plan.target << " */\n"
       << R"(#ifndef CONVJIT_KERNEL_H
#define CONVJIT_KERNEL_H
#include <stdint.h>
#ifdef __cplusplus
extern "C" {
#endif
/* Tensors are contiguous and aligned to their element at least. */
typedef struct ConvjitKernelArgs {
  const void *input;
  const void *packedWeights; /* as written by convjit_pack */
  const void *bias;          /* or NULL */
  const void *residual;      /* the output's shape, or NULL */
  void *output;
  void *scratch; /* NULL */
  int64_t batch; /* images in the input; a multiple of the batch groups */
} ConvjitKernelArgs;
#define CONVJIT_BATCH_GROUPS INT64_C()"
       << layer.conv.batchGroups << R"()
/* Tasks of one image of the output. */
#define CONVJIT_TASKS_PER_IMAGE INT64_C()"
       << plan.tasksPerImage << R"()
#define CONVJIT_PACKED_WEIGHT_BYTES INT64_C()"
       << plan.packedWeightBytes << R"()
/* Once for each weight. */
void convjit_pack(const void *weights, void *packed);
/* Runs tasks [begin, end) of [0, batch / CONVJIT_BATCH_GROUPS *
   CONVJIT_TASKS_PER_IMAGE); in any order, on any threads. */
void convjit_kernel(const ConvjitKernelArgs *args, int64_t begin, int64_t end);
#ifdef __cplusplus
}
#endif
#endif
)";
  return text.str();
}

/// A file name that any file system takes; of long texts a hash tells them
/// apart.
std::string fileStem(const std::string &problem) {
  std::string stem;
  uint64_t hash = 0xcbf29ce484222325; // FNV-1a
  for (char c : problem) {
    hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3;
    bool plain = std::isalnum(static_cast<unsigned char>(c)) || c == '.' ||
                 c == '-' || c == '_';
    stem += plain ? c : '_';
  }
  if (stem.size() <= 150)
    return stem;
  char digits[20];
  std::snprintf(digits, sizeof digits, "_%016llx",
                static_cast<unsigned long long>(hash));
  return stem.substr(0, 130) + digits;
}

/// The stages that --emit names, or what is wrong with one of them.
Expected<std::vector<std::string>> readStages(const std::string &text) {
  std::vector<std::string> names;
  for (size_t at = 0; at <= text.size();) {
    size_t comma = std::min(text.find(',', at), text.size());
    std::string name = text.substr(at, comma - at);
    at = comma + 1;
    if (name == "archive" || name == "ptx")
      return badInput("--emit=" + name +
                      ": is not available yet; valid: " + validStages);
    bool known = name == "header";
    for (const StageName &entry : stageNames)
      known |= name == entry.name;
    if (!known)
      return badInput("--emit=" + name + ": valid: " + validStages);
    if (std::find(names.begin(), names.end(), name) != names.end())
      return badInput("--emit: names " + name +
                      " twice; valid: each stage once");
    names.push_back(name);
  }
  return names;
}

Status writeFile(const std::string &path, const std::string &text) {
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file.write(text.data(), static_cast<std::streamsize>(text.size()));
  file.close();
  if (!file)
    return environmentError(path + ": " +
                            (errno ? std::strerror(errno) : "cannot write"));
  return {};
}

Expected<std::string> emitOne(const Compiler &compiler, const Layer &layer,
                              const CompileOptions &options,
                              const std::string &name) {
  if (name == "header") {
    Expected<PlanReport> plan = compiler.plan(layer.conv, options);
    if (!plan)
      return plan.takeError();
    return header(layer, *plan);
  }
  for (const StageName &entry : stageNames)
    if (name == entry.name)
      return compiler.emit(layer.conv, entry.stage, options,
                           layer.problem ? &*layer.problem : nullptr);
  return internalError("--emit=" + name + ": is not a stage");
}

Expected<int> run(const EmitOptions &options) {
  Expected<Layer> layer = readLayer(options.problem);
  if (!layer)
    return layer.takeError();
  Expected<std::vector<std::string>> stages = readStages(options.stages);
  if (!stages)
    return stages.takeError();
  const std::vector<std::string> &names = *stages;
  bool toFiles = !options.folder.empty();
  if (!toFiles && names.size() > 1 && !options.common.json)
    return badInput("--emit=" + options.stages +
                    ": several stages need -o DIR; valid without it: one "
                    "stage");
  if (!toFiles && std::find(names.begin(), names.end(), "obj") != names.end())
    return badInput("--emit=obj: needs -o DIR; valid without it: the stages "
                    "that are text");
  noteLayer(layer->text, options.common.compile);
  if (toFiles) {
    std::error_code error;
    std::filesystem::create_directories(options.folder, error);
    if (error)
      return environmentError("-o " + options.folder + ": " + error.message());
  }
  Expected<std::unique_ptr<Compiler>> compiler = Compiler::create();
  if (!compiler)
    return compiler.takeError();
  Json document = {{"problem", layer->text}, {"stages", Json::object()}};
  for (const std::string &name : names) {
    Expected<std::string> text =
        emitOne(**compiler, *layer, options.common.compile, name);
    if (!text)
      return text.takeError();
    if (!toFiles) {
      if (options.common.json)
        document["stages"][name] = *text;
      else
        std::cout << *text;
      continue;
    }
    const char *extension = "h";
    for (const StageName &entry : stageNames)
      if (name == entry.name)
        extension = entry.extension;
    std::string path =
        options.folder + "/" + fileStem(layer->text) + "." + extension;
    if (Status s = writeFile(path, *text); !s)
      return s.takeError();
    if (options.common.json)
      document["stages"][name] = path;
    else
      std::cout << path << "\n";
  }
  if (options.common.json)
    printJson(document);
  return 0;
}

} // namespace

Verb convjit::cli::addEmit(CLI::App &parent) {
  auto options = std::make_shared<EmitOptions>();
  CLI::App *app =
      parent.add_subcommand("emit", "show or write any stage of compilation");
  app->add_option("problem", options->problem, "the layer")->required();
  app->add_option("--emit", options->stages,
                  std::string("stages, with commas between them: ") +
                      validStages)
      ->required();
  app->add_option("-o", options->folder, "folder for files");
  options->common.addTo(*app);
  app->footer("Example: convjit emit convT3d:in=8x16x16x64,oc=32,k=4,s=2 "
              "--emit=linalg");
  return {app, [options] { return run(*options); }};
}
