//===- Verify.cpp - convjit verify -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Common.h"
#include "Device.h"
#include "Reproducer.h"
#include "Workers.h"

#include <algorithm>
#include <cstdio>
#include <iostream>
#include <map>
#include <random>
#include <thread>

#include <unistd.h>

using namespace convjit;
using namespace convjit::cli;

namespace {

struct VerifyOptions {
  CommonOptions common;
  std::vector<std::string> problems;
  int64_t random = 0;
  uint64_t seed = 0;
  bool seedGiven = false;
  unsigned jobs = 0;
  double timeLimit = 0;
  std::string device;
  std::vector<int64_t> batches;
  /// Images that plans are made for.
  std::optional<int64_t> expected;
  std::vector<unsigned> threads = {1, 2, 5};
  bool gradients = false;
};

/// A line that is overwritten, on a terminal only.
void progress(int64_t done, int64_t all) {
  static const bool terminal = isatty(STDERR_FILENO);
  if (!terminal || (done % 10 && done != all))
    return;
  std::fprintf(stderr, "\r%lld of %lld cases%s", static_cast<long long>(done),
               static_cast<long long>(all), done == all ? "\n" : "");
}

/// What all cases together came to.
struct Summary {
  int64_t cases = 0;
  uint64_t seed = 0;
  double worstError = 0;
  std::map<std::string, int64_t> plans;
  /// Of a device: what plans alone do not say.
  std::map<std::string, int64_t> kernels;
  /// By case, so that their order does not depend on the jobs.
  std::map<int64_t, Json> failures;

  Json json() const {
    Json list = Json::array(), counts = Json::object();
    for (const auto &[index, failure] : failures)
      list.push_back(failure);
    for (const auto &[plan, count] : plans)
      counts[plan] = count;
    return {{"cases", cases},
            {"failed", failures.size()},
            {"worst_error", worstError},
            {"seed", seed},
            {"failures", list},
            {"plans", counts},
            {"kernels", kernels}};
  }

  void print() const {
    // The most frequent plans; a thousand random cases reach hundreds.
    std::vector<std::pair<std::string, int64_t>> sorted(plans.begin(),
                                                        plans.end());
    std::sort(sorted.begin(), sorted.end(), [](auto &a, auto &b) {
      return std::pair(-a.second, a.first) < std::pair(-b.second, b.first);
    });
    constexpr size_t shown = 10;
    for (size_t i = 0; i < std::min(shown, sorted.size()); ++i)
      std::printf("%6lld x %s\n", static_cast<long long>(sorted[i].second),
                  sorted[i].first.c_str());
    if (sorted.size() > shown)
      std::printf("       and %zu other plans\n", sorted.size() - shown);
    // Results with bank conflicts are right, only late.
    auto conflicts =
        std::count_if(failures.begin(), failures.end(), [](const auto &one) {
          return one.second["check"] == conflictsCheck;
        });
    std::printf("%lld of %lld cases agree with the reference; largest error "
                "%.3g of its bound\n",
                static_cast<long long>(cases) -
                    (static_cast<long long>(failures.size()) - conflicts),
                static_cast<long long>(cases), worstError);
    if (conflicts)
      std::printf("%lld of %lld cases have bank conflicts\n",
                  static_cast<long long>(conflicts),
                  static_cast<long long>(cases));
  }
};

/// The command that shows a failure again.
std::string again(const NamedCase &item, uint64_t seed, const Failure &failure,
                  const std::string &plan, const std::string &device) {
  std::string command =
      "convjit verify '" + item.text + "' --seed " + std::to_string(seed);
  if (item.expected)
    command += " --images " + std::to_string(*item.expected);
  if (!device.empty())
    command += " --device " + device;
  if (failure.at.threads > 0)
    command += " --batch " + std::to_string(failure.at.images);
  if (!plan.empty())
    command += " --plan '" + plan + "'";
  return command;
}

Expected<std::vector<NamedCase>> readCases(const VerifyOptions &options) {
  std::vector<NamedCase> cases;
  for (const std::string &text : options.problems) {
    Expected<Layer> layer = readLayer(text);
    if (!layer)
      return layer.takeError();
    NamedCase item{layer->text, layer->conv, {}, options.batches};
    if (layer->isWeightGradient())
      item.forward = layer->forward;
    item.expected = options.expected;
    cases.push_back(std::move(item));
  }
  return cases;
}

Expected<int> run(VerifyOptions &options) {
  Expected<std::vector<NamedCase>> listed = readCases(options);
  if (!listed)
    return listed.takeError();
  auto listedCount = static_cast<int64_t>(listed->size());
  Summary summary;
  summary.cases = listedCount + options.random;
  if (summary.cases == 0)
    return badInput("no problem; valid: problem strings, or --random N");
  if (options.random > 0 && !options.common.compile.plan.empty())
    return badInput("--plan='" + options.common.compile.plan +
                    "': valid with problems only; random cases have plans of "
                    "their own");
  Work work;
  work.options = options.common.compile;
  if (options.device != "cpu")
    work.device = options.device;
  if (!work.device.empty()) {
    if (Status s = options.common.checkTargetOf(work.device); !s)
      return s.takeError();
    work.options.target.triple = gpuTriple;
    // The workers open it: nothing of CUDA survives a fork.
    if (Status s = checkDeviceName(work.device); !s)
      return s.takeError();
  } else if (options.common.isGPU()) {
    return badInput("--target=nvptx: kernels for GPUs need a device to run on; "
                    "valid: --device=cuda:0, --device=emulated");
  }
  if (!options.seedGiven)
    options.seed = std::random_device()();
  summary.seed = options.seed;
  if (!options.common.json)
    std::cout << "seed " << options.seed << "\n" << std::flush;
  noteLayer("cases of verify, seed " + std::to_string(options.seed),
            options.common.compile);

  work.cases = summary.cases;
  work.jobs = options.jobs ? options.jobs
                           : std::max(1u, std::thread::hardware_concurrency());
  // Each has a context in the GPU's memory, of some hundred megabytes.
  constexpr unsigned mostContexts = 8;
  if (!options.jobs && work.device.starts_with("cuda"))
    work.jobs = std::min(work.jobs, mostContexts);
  if (static_cast<int64_t>(work.jobs) > summary.cases)
    work.jobs = static_cast<unsigned>(summary.cases);
  work.seed = options.seed;
  work.threads = options.threads;
  work.timeLimit = options.timeLimit;
  work.makeCase = [&](int64_t index) {
    if (index < listedCount)
      return (*listed)[static_cast<size_t>(index)];
    NamedCase item = randomCase(options.seed, index - listedCount,
                                !work.device.empty(), options.gradients);
    if (!options.batches.empty())
      item.images = options.batches;
    if (options.expected)
      item.expected = options.expected;
    return item;
  };
  int64_t done = 0;
  work.done = [&](const Outcome &outcome) {
    if (!outcome.plan.empty())
      ++summary.plans[outcome.plan];
    for (const std::string &kernel : outcome.kernels)
      ++summary.kernels[kernel];
    summary.worstError = std::max(summary.worstError, outcome.worstError);
    if (const std::optional<Failure> &failure = outcome.failure) {
      NamedCase item = work.makeCase(outcome.index);
      summary.failures[outcome.index] = {
          {"problem", item.text},           {"batch", failure->at.images},
          {"threads", failure->at.threads}, {"plan", outcome.plan},
          {"check", failure->at.check},     {"detail", failure->detail}};
      if (!options.common.json)
        std::cout << "FAILED "
                  << again(item, options.seed, *failure, outcome.plan,
                           work.device)
                  << ": " << failure->at.check << ", " << failure->at.threads
                  << " threads: " << failure->detail << "\n"
                  << std::flush;
    }
    progress(++done, summary.cases);
  };
  if (Status s = runCases(work); !s)
    return s.takeError();
  if (options.common.json)
    printJson(summary.json());
  else
    summary.print();
  std::fflush(stdout);
  return summary.failures.empty() ? 0
                                  : static_cast<int>(ErrorKind::CheckFailed);
}

} // namespace

Verb convjit::cli::addVerify(CLI::App &parent) {
  auto options = std::make_shared<VerifyOptions>();
  CLI::App *app = parent.add_subcommand(
      "verify", "compare kernels with the double-precision reference");
  app->add_option("problems", options->problems, "layers");
  app->add_option("--random", options->random, "number of random layers")
      ->check(CLI::Range(int64_t(0), int64_t(1) << 40));
  app->add_flag("--gradients", options->gradients,
                "random layers are gradients of weights alone");
  CLI::Option *seed = app->add_option("--seed", options->seed,
                                      "seed of layers and data; fresh without");
  // One value a flag, so that problems may follow.
  app->add_option("--batch", options->batches,
                  "batches to run, with commas between them; 1,0,3 without")
      ->check(CLI::Range(int64_t(0), int64_t(1) << 20))
      ->delimiter(',')
      ->allow_extra_args(false);
  app->add_option("--images", options->expected,
                  "images of the output that a kernel is made for on CPUs, "
                  "where the batch is not outermost; without, the input "
                  "channels of a weight's gradient")
      ->check(CLI::Range(int64_t(0), int64_t(1) << 40));
  app->add_option("--threads", options->threads,
                  "numbers of threads to run with, with commas between them; "
                  "1,2,5 without")
      ->check(CLI::Range(1u, 256u))
      ->delimiter(',')
      ->allow_extra_args(false);
  app->add_option("--jobs", options->jobs,
                  "cases to check at once, each in a process of its own; one "
                  "for each processor without")
      ->check(CLI::Range(1u, 256u));
  app->add_option(
         "--time-limit", options->timeLimit,
         "seconds that a case may take, then its process is killed and "
         "it has failed; 300 without, and more for large layers")
      ->check(CLI::Range(0.001, 1e9));
  app->add_option("--device", options->device, deviceHelp);
  options->common.addTo(*app);
  app->footer("Example: convjit verify --random 1000 --seed 1");
  return {app, [options, seed] {
            options->seedGiven = seed->count() > 0;
            return run(*options);
          }};
}
