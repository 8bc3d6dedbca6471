//===- GPUPlanReport.cpp - a GPU's plans and their predictions -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "BuildModule.h"
#include "GPUCompilation.h"
#include "GPUCompiler.h"
#include "GPUCostModel.h"

#include "llvm/Support/Format.h"
#include "llvm/Support/raw_ostream.h"

#include <map>

using namespace convjit;

/// What the prediction is made of.
static std::string breakdown(const GPUPrediction &prediction) {
  std::string text;
  llvm::raw_string_ostream stream(text);
  const char *separator = "; cycles of a step: ";
  for (auto [name, cycles] : prediction.units) {
    stream << separator << llvm::format("%.4g ", cycles) << name;
    separator = ", ";
  }
  stream << "; " << llvm::format("%.3g", prediction.memoryMicroseconds)
         << " us of memory";
  if (prediction.packMicroseconds > 0)
    stream << "; " << llvm::format("%.3g", prediction.packMicroseconds)
           << " us of packing the input";
  return text;
}

/// The best plans of each schedule, and the plan at hand wherever it came from.
static void addCandidates(conv::ConvolutionOp op, const Chip &chip,
                          const CompileOptions &options, PlanReport &report) {
  int64_t images = imagesOf(options);
  conv::GPUPlanAttr chosen = op.getGpuPlanAttr();
  auto add = [&](conv::GPUPlanAttr plan, const GPUPrediction &prediction) {
    Candidate candidate;
    llvm::raw_string_ostream(candidate.name) << mlir::Attribute(plan);
    candidate.chosen = plan == chosen;
    candidate.cycles = prediction.microseconds * 1e3 * chip.gigahertz /
                       static_cast<double>(images);
    llvm::raw_string_ostream(candidate.reason)
        << llvm::format("%.3g", prediction.microseconds) << " us predicted for "
        << images << " images, bound by " << prediction.bound << "; "
        << llvm::format("%.0f", 100 * prediction.roof) << " % of the roof; "
        << prediction.registers << " registers a thread, "
        << prediction.resident << " blocks an SM";
    if (candidate.chosen)
      candidate.reason += breakdown(prediction);
    report.candidates.push_back(std::move(candidate));
  };
  constexpr int shown = 4;
  std::map<conv::GPUSchedule, int> count, countPacked;
  bool listed = false;
  double best = 0;
  for (const GPUCandidate &candidate :
       gpuCandidates(op, chip, images, options.imageMultiple)) {
    bool isChosen = candidate.plan == chosen;
    if (best == 0)
      best = candidate.prediction.microseconds;
    auto &counted = candidate.plan.getPackInput() ? countPacked : count;
    if (counted[candidate.plan.getSchedule()]++ >= shown && !isChosen)
      continue;
    listed |= isChosen;
    add(candidate.plan, candidate.prediction);
    if (candidate.onlyIfAsked && !isChosen)
      report.candidates.back().reason +=
          "; products of tf32, only where a plan asks for them";
  }
  if (!listed)
    add(chosen, predict(op, chosen, chip, images));
  if (!count.contains(conv::GPUSchedule::Mma))
    report.candidates.push_back(
        {"schedule = mma", false, whyNoTensorCores(op), 0});
  if (countPacked.empty())
    report.candidates.push_back({"pack_input = true", false,
                                 whyInputIsNotPacked(op, chip, images, best),
                                 0});
  // What these chips have besides, at two to four times the rate.
  constexpr std::pair<const char *, const char *> later[] = {
      {"sm_90", "wgmma"}, {"sm_100", "tcgen05"}};
  for (auto [name, own] : later)
    if (llvm::StringRef(chip.name) == name)
      report.candidates.push_back(
          {std::string("schedule = ") + own, false, "not implemented yet", 0});
}

Expected<PlanReport> convjit::planForGPU(const Convolution &conv,
                                         const CompileOptions &options) {
  Expected<TargetInfo> target = resolveGPU(options.target, conv);
  if (!target)
    return target.takeError();
  Leaky<GPUCompilation> compilation(new GPUCompilation(*target, options));
  compilation->module = buildModule(&compilation->context, conv);
  if (Status s = compilation->runUntil(Stage::General, options.plan); !s)
    return s.takeError();
  PlanReport report;
  addCandidates(compilation->convolution(), chipOf(target->cpu), options,
                report);
  if (Status s = compilation->runUntil(Stage::Blocks, ""); !s)
    return s.takeError();
  const GPUKernel &kernel = compilation->kernel;
  report.plan = kernel.plan;
  report.packedWeightBytes = kernel.packedWeightBytes;
  report.scratchBytes = kernel.scratchBytes;
  report.scratchBytesPerImage = kernel.scratchBytesPerImage;
  report.target =
      target->triple + ": " + target->cpu + ", " + chipOf(target->cpu).product;
  report.launches = kernel.run;
  return report;
}
