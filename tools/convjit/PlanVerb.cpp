//===- PlanVerb.cpp - convjit plan -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Common.h"
#include "Reproducer.h"
#include "convjit/WeightGradient.h"

#include <algorithm>
#include <iostream>

using namespace convjit;
using namespace convjit::cli;

namespace {

struct PlanOptions {
  CommonOptions common;
  std::string problem;
  int64_t batch = 1;
  bool batchGiven = false;
};

/// What runs at once: tasks of a CPU, blocks of a GPU.
std::string tasksText(const PlanReport &report) {
  if (report.launches.empty())
    return "tasks       " + std::to_string(report.tasksPerImage) +
           " an image\n";
  std::string text;
  for (const GPULaunch &launch : report.launches)
    text += "launch      " + launch.entry + ": " +
            std::to_string(launch.blocks) + " blocks for each " +
            (launch.imagesPerBlock == 1
                 ? "image"
                 : std::to_string(launch.imagesPerBlock) + " images") +
            " of " + std::to_string(launch.threads) + " threads with " +
            std::to_string(launch.sharedBytes) + " bytes of shared memory\n";
  return text;
}

Json launchesJson(const PlanReport &report) {
  Json launches = Json::array();
  for (const GPULaunch &launch : report.launches)
    launches.push_back({{"entry", launch.entry},
                        {"blocks", launch.blocks},
                        {"images_per_block", launch.imagesPerBlock},
                        {"threads", launch.threads},
                        {"shared_bytes", launch.sharedBytes}});
  return launches;
}

Expected<int> run(const PlanOptions &options) {
  Expected<Layer> layer = readLayer(options.problem);
  if (!layer)
    return layer.takeError();
  const Convolution &whole =
      layer->isWeightGradient() ? layer->forward : layer->conv;
  if (Status s = checkBatch(whole, options.batch * whole.batchGroups); !s)
    return s.takeError();
  // Of no images, what one would have.
  int64_t images = std::max<int64_t>(options.batch, 1);
  CompileOptions compile = options.common.compile;
  int64_t batch = options.batch * layer->conv.batchGroups;
  if (layer->isWeightGradient() && options.common.isGPU()) {
    // Its images are part of the kernel, which is not made of none.
    Expected<GradientLaunch> launch =
        gradientLaunch(layer->forward, options.batch);
    if (!launch)
      return launch.takeError();
    layer->conv = launch->conv;
    batch = launch->batch;
    compile.setImages(launch->images());
  } else if (layer->isWeightGradient()) {
    Expected<Convolution> sum = lowerWeightGradient(layer->forward, images);
    if (!sum)
      return sum.takeError();
    layer->conv = std::move(*sum);
    batch = layer->forward.inChannels;
    compile.images = layer->outputImages(images);
  } else if (options.batchGiven) {
    compile.images = options.batch;
  }
  const Convolution &conv = layer->conv;
  noteLayer(layer->text, options.common.compile);
  Expected<std::unique_ptr<Compiler>> compiler = Compiler::create();
  if (!compiler)
    return compiler.takeError();
  Expected<PlanReport> report = (*compiler)->plan(conv, compile);
  if (!report)
    return report.takeError();
  Json padding = Json::array();
  std::string paddingText;
  for (const SpatialDim &dim : conv.dims) {
    padding.push_back({dim.padLow, dim.padHigh});
    paddingText +=
        " " + std::to_string(dim.padLow) + ":" + std::to_string(dim.padHigh);
  }
  int64_t flops = flopsOf(*layer, options.batch);
  int64_t bytes = bytesTouched(conv, report->packedWeightBytes, batch);
  double intensity =
      bytes > 0 ? static_cast<double>(flops) / static_cast<double>(bytes) : 0;
  std::vector<int64_t> output = conv.outputShape(batch);
  size_t scratchBytes =
      report->scratchBytes + report->scratchBytesPerImage *
                                 static_cast<size_t>(batch / conv.batchGroups);
  if (options.common.json) {
    Json candidates = Json::array();
    for (const Candidate &candidate : report->candidates)
      candidates.push_back({{"name", candidate.name},
                            {"chosen", candidate.chosen},
                            {"reason", candidate.reason},
                            {"cycles", candidate.cycles}});
    Json document = {{"problem", layer->text},
                     {"batch", options.batch},
                     {"output_shape", output},
                     {"padding", padding},
                     {"flops", flops},
                     {"bytes", bytes},
                     {"intensity", intensity},
                     {"plan", report->plan},
                     {"candidates", candidates},
                     {"tasks_per_image", report->tasksPerImage},
                     {"packed_weight_bytes", report->packedWeightBytes},
                     {"scratch_bytes", scratchBytes},
                     {"target", report->target}};
    if (!report->launches.empty())
      document["launches"] = launchesJson(*report);
    printJson(document);
    return 0;
  }
  std::cout << "layer       " << layer->text << "\n"
            << "output      " << shapeText(output) << "\n"
            << "padding    " << paddingText
            << "  (low:high of each dimension)\n"
            << "work        " << static_cast<double>(flops) * 1e-6
            << " MFLOP over true taps, " << static_cast<double>(bytes) * 1e-6
            << " MB, " << intensity << " FLOP/byte\n"
            << "target      " << report->target << "\n"
            << "plan        " << report->plan << "\n"
            << tasksText(*report) << "memory      " << report->packedWeightBytes
            << " bytes of packed weights, " << scratchBytes << " of scratch\n";
  for (const Candidate &candidate : report->candidates)
    std::cout << (candidate.chosen ? "  chosen    " : "  rejected  ")
              << candidate.name << (candidate.reason.empty() ? "" : ": ")
              << candidate.reason << "\n";
  return 0;
}

} // namespace

Verb convjit::cli::addPlan(CLI::App &parent) {
  auto options = std::make_shared<PlanOptions>();
  CLI::App *app =
      parent.add_subcommand("plan", "say what would be compiled, and why");
  app->add_option("problem", options->problem, "the layer")->required();
  app->add_option("--batch", options->batch, "images")
      ->check(CLI::Range(int64_t(0), int64_t(1) << 20));
  options->common.addTo(*app);
  app->footer("Example: convjit plan convT3d:in=8x16x16x64,oc=32,k=4,s=2");
  return {app, [options, app] {
            options->batchGiven = app->count("--batch") > 0;
            return run(*options);
          }};
}
