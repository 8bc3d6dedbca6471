//===- Emit.cpp - convjit emit -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Common.h"
#include "GPUHeader.h"
#include "LayerList.h"
#include "LibraryText.h"
#include "Ptxas.h"
#include "Reproducer.h"
#include "convjit/WeightGradient.h"

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <optional>

using namespace convjit;
using namespace convjit::cli;

namespace {

struct EmitOptions {
  CommonOptions common;
  std::vector<std::string> problems, names;
  std::string file, stages, folder, prefix = "convjit";
  int64_t batch = 1;
  bool batchGiven = false;
};

/// A stage of one layer's compilation; the others are parts of a library.
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
                                    {"blocks", Stage::Blocks, "blocks.mlir"},
                                    {"gpu", Stage::GPU, "gpu.mlir"},
                                    {"nvvm", Stage::NVVM, "nvvm.mlir"},
                                    {"ptx", Stage::PTX, "ptx"},
                                    {"cubin", Stage::PTX, "cubin"}};
constexpr const char *validStages =
    "conv, general, phases, tiles, linalg, vector, llvm, asm, obj, header, "
    "archive, manifest";
constexpr const char *validGPUStages =
    "conv, general, phases, blocks, gpu, nvvm, llvm, ptx, cubin, header";

const StageName *stageOf(const std::string &name) {
  for (const StageName &entry : stageNames)
    if (name == entry.name)
      return &entry;
  return nullptr;
}

std::vector<std::string> splitAtCommas(const std::string &text) {
  std::vector<std::string> parts;
  for (size_t at = 0; at <= text.size();) {
    size_t comma = std::min(text.find(',', at), text.size());
    parts.push_back(text.substr(at, comma - at));
    at = comma + 1;
  }
  return parts;
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

/// Whether `name` is one of a list with commas.
bool isOneOf(const std::string &name, const std::string &list) {
  return !name.empty() &&
         (", " + list + ",").find(", " + name + ",") != std::string::npos;
}

/// The stages that --emit names, or what is wrong with one of them.
Expected<std::vector<std::string>> readStages(const std::string &text,
                                              bool gpu) {
  std::vector<std::string> names;
  for (const std::string &name : splitAtCommas(text)) {
    const char *valid = gpu ? validGPUStages : validStages;
    if (!isOneOf(name, valid)) {
      const char *where = "";
      if (isOneOf(name, gpu ? validStages : validGPUStages))
        where = gpu ? " with --target=nvptx" : " without --target=nvptx";
      return badInput("--emit=" + name + ": valid" + where + ": " + valid);
    }
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

/// A layer's name in symbols where the user gives none.
std::string symbolName(const std::string &problem) {
  std::string name = fileStem(problem);
  for (char &c : name)
    if (!std::isalnum(static_cast<unsigned char>(c)))
      c = '_';
  return name;
}

/// What one call emits, read and checked.
class Emitter {
public:
  explicit Emitter(const EmitOptions &options) : options(options) {}

  Expected<int> run() {
    for (Status (Emitter::*step)() :
         {&Emitter::readRequest, &Emitter::readLayers, &Emitter::prepare,
          &Emitter::emitStages, &Emitter::emitLibrary})
      if (Status s = (this->*step)(); !s)
        return s.takeError();
    if (options.common.json)
      printJson(document);
    return 0;
  }

private:
  bool wants(const char *name) const {
    return std::find(names.begin(), names.end(), name) != names.end();
  }
  bool wantsStage() const {
    return std::any_of(names.begin(), names.end(),
                       [](const std::string &name) { return stageOf(name); });
  }
  bool wantsLibrary() const {
    return std::any_of(names.begin(), names.end(),
                       [](const std::string &name) { return !stageOf(name); });
  }

  Status readRequest() {
    Expected<std::vector<std::string>> read =
        readStages(options.stages, options.common.isGPU());
    if (!read)
      return read.takeError();
    names = std::move(*read);
    toFiles = !options.folder.empty();
    if (!toFiles && names.size() > 1 && !options.common.json)
      return badInput("--emit=" + options.stages +
                      ": several stages need -o DIR; valid without it: one "
                      "stage");
    for (const char *binary : {"obj", "archive", "cubin"})
      if (!toFiles && wants(binary))
        return badInput(std::string("--emit=") + binary +
                        ": needs -o DIR; valid without it: the stages that are "
                        "text");
    if (options.batchGiven && !options.common.isGPU())
      return badInput("--batch=" + std::to_string(options.batch) +
                      ": valid with --target=nvptx only");
    const CompileOptions &compile = options.common.compile;
    for (const std::string &cpu : splitAtCommas(compile.target.cpu)) {
      targets.push_back(compile.target);
      targets.back().cpu = cpu == "native" ? "" : cpu;
    }
    if (targets.size() > 1 && (wantsStage() || options.common.isGPU()))
      return badInput("--target-cpu=" + compile.target.cpu +
                      ": names several CPUs; valid with these stages: one");
    return {};
  }

  Status addLayer(const std::string &problem, const std::string &name) {
    Expected<Layer> layer = readLayer(problem);
    if (!layer)
      return layer.takeError();
    LibraryLayer item;
    item.problem = layer->text;
    item.name = name.empty() ? symbolName(layer->text) : name;
    // CPUs add image to image, a GPU's launch takes all of them.
    std::optional<GradientLaunch> gradient;
    if (layer->isWeightGradient() && options.common.isGPU()) {
      Expected<GradientLaunch> launch =
          gradientLaunch(layer->forward, options.batch);
      if (!launch)
        return launch.takeError();
      layer->conv = launch->conv;
      gradient = std::move(*launch);
    }
    gradients.push_back(std::move(gradient));
    item.conv = layer->conv;
    item.images = layer->outputImages(0);
    if (layer->isWeightGradient())
      item.mask = layer->forward.mask;
    layers.push_back(std::move(*layer));
    items.push_back(std::move(item));
    return {};
  }

  Status readLayers() {
    if (options.names.size() > options.problems.size())
      return badInput("--name=" + options.names.back() +
                      ": more names than the " +
                      std::to_string(options.problems.size()) +
                      " of the problems before --file; valid: a name for each, "
                      "in their order");
    for (size_t i = 0; i < options.problems.size(); ++i)
      if (Status s = addLayer(options.problems[i],
                              i < options.names.size() ? options.names[i] : "");
          !s)
        return s;
    if (!options.file.empty()) {
      Expected<std::vector<ListedLayer>> listed = readLayerList(options.file);
      if (!listed)
        return listed.takeError();
      for (const ListedLayer &layer : *listed)
        if (Status s = addLayer(layer.problem, layer.name); !s)
          return s;
    }
    if (layers.empty())
      return badInput("problem: none is given; valid: one or more layers, or "
                      "--file");
    if (layers.size() > 1 && !toFiles && wantsStage())
      return badInput("problem: " + std::to_string(layers.size()) +
                      " layers need -o DIR; valid without it: one");
    return {};
  }

  Status prepare() {
    noteLayer(layers[0].text, options.common.compile);
    document = layers.size() == 1 ? Json{{"problem", layers[0].text}}
                                  : Json{{"problems", Json::array()}};
    if (layers.size() > 1)
      for (const Layer &layer : layers)
        document["problems"].push_back(layer.text);
    document["stages"] = Json::object();
    if (toFiles) {
      std::error_code error;
      std::filesystem::create_directories(options.folder, error);
      if (error)
        return environmentError("-o " + options.folder + ": " +
                                error.message());
    }
    Expected<std::unique_ptr<Compiler>> made = Compiler::create();
    if (!made)
      return made.takeError();
    compiler = std::move(*made);
    return {};
  }

  /// Prints the text of a stage, or writes it to a file of the folder.
  Status give(const std::string &stage, const std::string &file,
              const std::string &text) {
    Json &entry = document["stages"][stage];
    std::string shown = text;
    if (toFiles) {
      shown = options.folder + "/" + file;
      if (Status s = writeFile(shown, text); !s)
        return s;
    }
    if (!options.common.json)
      std::cout << shown << (toFiles ? "\n" : "");
    else if (stage == "obj" || (stageOf(stage) && layers.size() > 1))
      entry.push_back(shown);
    else
      entry = shown;
    return {};
  }

  Status emitStages() {
    CompileOptions compile = options.common.compile;
    compile.target = targets[0];
    for (const std::string &name : names)
      if (const StageName *stage = stageOf(name))
        for (size_t i = 0; i < layers.size(); ++i) {
          const Layer &layer = layers[i];
          noteLayer(layer.text, compile);
          expectImages(compile, i);
          Expected<std::string> text =
              compiler->emit(layer.conv, stage->stage, compile,
                             layer.problem ? &*layer.problem : nullptr);
          if (text && name == "cubin")
            text = assemblePTX(*text, compile.target.cpu.empty()
                                          ? "sm_80"
                                          : compile.target.cpu);
          if (!text)
            return text.takeError();
          if (Status s = give(
                  name, fileStem(layer.text) + "." + stage->extension, *text);
              !s)
            return s;
        }
    return {};
  }

  Status emitLibrary() {
    if (!wantsLibrary())
      return {};
    if (options.common.isGPU())
      return emitGPUHeader();
    LibraryOptions how;
    how.prefix = options.prefix;
    how.targets = targets;
    how.plan = options.common.compile.plan;
    Expected<Library> library = compiler->library(items, how);
    if (!library)
      return library.takeError();
    if (wants("obj"))
      for (const LibraryObject &object : library->objects)
        if (Status s = give("obj", object.name, object.bytes); !s)
          return s;
    if (wants("header"))
      if (Status s = give("header", headerName(*library),
                          libraryHeader(*library, layers));
          !s)
        return s;
    if (wants("archive"))
      if (Status s = give("archive", archiveName(*library), library->archive);
          !s)
        return s;
    // An archive is never without.
    if (wants("manifest") || wants("archive"))
      return give("manifest", manifestName(*library),
                  libraryManifest(*library, layers)
                          .dump(2, ' ', false, Json::error_handler_t::replace) +
                      "\n");
    return {};
  }

  Status emitGPUHeader() {
    if (Status s = checkLibraryNames(options.prefix, items); !s)
      return s;
    for (const LibraryLayer &item : items)
      if (std::string symbol = options.prefix + "_" + item.name;
          isGPUHeaderName(symbol))
        return badInput("name=" + item.name + ": " + symbol +
                        " is a type or function of every header; valid: "
                        "another name or --prefix");
    CompileOptions compile = options.common.compile;
    compile.target = targets[0];
    std::vector<NamedGPUKernel> kernels;
    for (size_t i = 0; i < items.size(); ++i) {
      const LibraryLayer &item = items[i];
      noteLayer(item.problem, compile);
      expectImages(compile, i);
      Expected<GPUKernel> kernel = compiler->compileGPU(item.conv, compile);
      if (!kernel)
        return kernel.takeError();
      kernels.push_back({item.problem, item.name, std::move(*kernel),
                         gradients[i], gradients[i] ? options.batch : 0,
                         !item.mask.empty()});
    }
    return give("header", options.prefix + "_gpu_kernels.h",
                gpuHeader(options.prefix, kernels));
  }

  /// What a plan is made for: of a weight gradient, images are channels.
  void expectImages(CompileOptions &compile, size_t layer) const {
    compile.images =
        layers[layer].outputImages(options.batchGiven ? options.batch : 0);
    compile.imageMultiple = 1;
    if (gradients[layer])
      compile.setImages(gradients[layer]->images());
  }

  const EmitOptions &options;
  std::vector<std::string> names;
  bool toFiles = false;
  std::vector<Target> targets;
  std::vector<Layer> layers;
  std::vector<LibraryLayer> items;
  /// Of each layer, where it is a weight's gradient on a GPU.
  std::vector<std::optional<GradientLaunch>> gradients;
  std::unique_ptr<Compiler> compiler;
  Json document;
};

} // namespace

Verb convjit::cli::addEmit(CLI::App &parent) {
  auto options = std::make_shared<EmitOptions>();
  CLI::App *app =
      parent.add_subcommand("emit", "show or write any stage of compilation");
  app->add_option("problem", options->problems, "the layers");
  app->add_option(
      "--file", options->file,
      "CSV file with more layers: columns problem and perhaps name");
  app->add_option("--emit", options->stages,
                  std::string("stages, with commas between them: ") +
                      validStages + "; with --target=nvptx: " + validGPUStages)
      ->required();
  app->add_option("-o", options->folder, "folder for files");
  app->add_option("--prefix", options->prefix,
                  "what the symbols and files of a library begin with");
  app->add_option("--name", options->names,
                  "a layer's name in symbols; once for each layer, in order")
      ->allow_extra_args(false)
      ->take_all();
  app->add_option("--batch", options->batch,
                  "images that a GPU's plan is made for, eight without; those "
                  "that a launch sums a weight's gradient over, one without")
      ->check(CLI::Range(int64_t(1), int64_t(1) << 20));
  options->common.addTo(*app);
  app->get_option("--target-cpu")
      ->description("compile for this CPU (LLVM's name) instead of the host's; "
                    "for a library several, with commas or given again; native "
                    "is the host's; with --target=nvptx one chip: sm_80 (also "
                    "without), sm_86, sm_89, sm_90, sm_100, sm_120")
      ->multi_option_policy(CLI::MultiOptionPolicy::Join)
      ->delimiter(',');
  app->footer("Example: convjit emit convT3d:in=8x16x16x64,oc=32,k=4,s=2 "
              "--emit=linalg\n"
              "         convjit emit conv1d:in=64x16,oc=16,k=3 --name up "
              "--emit=archive,header --prefix net "
              "--target-cpu=x86-64-v2,haswell,znver4 -o kernels");
  return {app, [options, app] {
            options->batchGiven = app->count("--batch") > 0;
            return Emitter(*options).run();
          }};
}
