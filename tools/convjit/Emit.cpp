//===- Emit.cpp - convjit emit -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Common.h"

#include <cerrno>
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

/// The C declarations of an object file's kernel.
std::string header(const Layer &layer, const PlanReport &plan) {
  std::ostringstream text;
  text << "/* " << layer.text << "\n * " << plan.target << " */\n"
       << R"(#ifndef CONVJIT_KERNEL_CONVJIT_H
#define CONVJIT_KERNEL_CONVJIT_H
#include <stdint.h>
#ifdef __cplusplus
extern "C" {
#endif
typedef struct {
  const void *input;
  const void *packed_weights;
  const void *bias;     /* or NULL */
  const void *residual; /* or NULL */
  void *output;
  void *scratch; /* NULL */
  int64_t batch;
} convjit_kernel_args;
/* Tasks of one image; run [0, batch * tasks) in any order, on any threads. */
#define CONVJIT_TASKS_PER_IMAGE INT64_C()"
       << plan.tasksPerImage << ")\n#define CONVJIT_PACKED_WEIGHT_BYTES "
       << plan.packedWeightBytes << R"(u
void convjit_pack(const void *weights, void *packed);
void convjit_kernel(const convjit_kernel_args *args, int64_t begin,
                    int64_t end);
#ifdef __cplusplus
}
#endif
#endif
)";
  return text.str();
}

/// A file name that any file system takes.
std::string fileStem(const std::string &problem) {
  std::string stem;
  for (char c : problem.substr(0, 150)) {
    bool plain = std::isalnum(static_cast<unsigned char>(c)) || c == '.' ||
                 c == '-' || c == '_';
    stem += plain ? c : '_';
  }
  return stem;
}

Status writeFile(const std::string &path, const std::string &text) {
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file.write(text.data(), static_cast<std::streamsize>(text.size()));
  file.close();
  if (!file)
    return environmentError(path + ": " + std::strerror(errno));
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
  if (name == "archive" || name == "ptx")
    return badInput("--emit=" + name +
                    ": is not available yet; valid: " + validStages);
  for (const StageName &entry : stageNames)
    if (name == entry.name)
      return compiler.emit(layer.conv, entry.stage, options,
                           layer.problem ? &*layer.problem : nullptr);
  return badInput("--emit=" + name + ": valid: " + validStages);
}

Expected<int> run(const EmitOptions &options) {
  Expected<Layer> layer = readLayer(options.problem);
  if (!layer)
    return layer.takeError();
  std::vector<std::string> names;
  std::stringstream list(options.stages);
  for (std::string name; std::getline(list, name, ',');)
    names.push_back(name);
  if (names.empty())
    return badInput(std::string("--emit names no stage; valid: ") +
                    validStages);
  bool toFiles = !options.folder.empty();
  if (!toFiles && names.size() > 1 && !options.common.json)
    return badInput("--emit=" + options.stages +
                    ": several stages need -o DIR; valid without it: one "
                    "stage");
  if (!toFiles && names[0] == "obj")
    return badInput("--emit=obj: needs -o DIR; valid without it: the stages "
                    "that are text");
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
