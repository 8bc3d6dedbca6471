//===- Verify.cpp - convjit verify -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Checker.h"
#include "Common.h"

#include <cstdio>
#include <iostream>
#include <random>

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
  std::vector<int64_t> batches;
  std::vector<unsigned> threads = {1, 2, 5};
};

/// A line that is overwritten, on a terminal only.
void progress(int64_t done, int64_t all) {
  if (!isatty(STDERR_FILENO) || (done % 10 && done != all))
    return;
  std::fprintf(stderr, "\r%lld of %lld cases%s", static_cast<long long>(done),
               static_cast<long long>(all), done == all ? "\n" : "");
}

Expected<int> run(VerifyOptions &options) {
  std::vector<NamedCase> cases;
  for (const std::string &text : options.problems) {
    Expected<Layer> layer = readLayer(text);
    if (!layer)
      return layer.takeError();
    NamedCase item{layer->text, layer->conv, {}};
    if (layer->isWeightGradient())
      item.batches = {layer->problem->inChannels};
    cases.push_back(std::move(item));
  }
  if (cases.empty() && options.random == 0)
    return badInput("no problem; valid: problem strings, or --random N");
  if (!options.seedGiven)
    options.seed = std::random_device()();
  Expected<std::unique_ptr<Compiler>> compiler = Compiler::create();
  if (!compiler)
    return compiler.takeError();
  Checker checker(**compiler, options.common.compile, options.threads);
  Json failures = Json::array();
  std::map<std::string, int64_t> plans;
  int64_t failed = 0;
  int64_t total = static_cast<int64_t>(cases.size()) + options.random;
  if (!options.common.json && options.random)
    std::cout << "seed " << options.seed << std::endl;
  for (int64_t i = 0; i < total; ++i) {
    auto listed = static_cast<int64_t>(cases.size());
    NamedCase item = i < listed ? cases[static_cast<size_t>(i)]
                                : randomCase(options.seed, i - listed);
    if (!options.batches.empty() && item.batches.empty())
      for (int64_t batch : options.batches)
        item.batches.push_back(batch * item.conv.batchGroups);
    Expected<std::optional<Failure>> outcome =
        checker.check(item, options.seed);
    if (!outcome)
      return outcome.takeError();
    if (std::optional<Failure> &failure = *outcome) {
      ++failed;
      failures.push_back({{"problem", item.text},
                          {"batch", failure->batch},
                          {"threads", failure->threads},
                          {"plan", checker.lastPlan()},
                          {"check", failure->check},
                          {"detail", failure->detail}});
      if (!options.common.json)
        std::cout << "FAILED " << item.text << " batch " << failure->batch
                  << " threads " << failure->threads << " seed " << options.seed
                  << " --plan '" << checker.lastPlan()
                  << "': " << failure->check << ": " << failure->detail
                  << std::endl;
    }
    ++plans[checker.lastPlan()];
    progress(i + 1, total);
  }
  if (options.common.json) {
    Json planCounts = Json::object();
    for (const auto &[plan, count] : plans)
      planCounts[plan] = count;
    printJson({{"cases", total},
               {"failed", failed},
               {"worst_error", checker.worstError()},
               {"seed", options.seed},
               {"failures", failures},
               {"plans", planCounts}});
  } else {
    std::cout << total - failed << " of " << total
              << " cases agree with the reference; largest error "
              << checker.worstError() << " of its bound; " << plans.size()
              << " plans\n";
  }
  return failed ? static_cast<int>(ErrorKind::CheckFailed) : 0;
}

} // namespace

Verb convjit::cli::addVerify(CLI::App &parent) {
  auto options = std::make_shared<VerifyOptions>();
  CLI::App *app = parent.add_subcommand(
      "verify", "compare kernels with the double-precision reference");
  app->add_option("problems", options->problems, "layers");
  app->add_option("--random", options->random, "number of random layers")
      ->check(CLI::Range(int64_t(0), int64_t(1) << 40));
  CLI::Option *seed = app->add_option("--seed", options->seed,
                                      "seed of layers and data; fresh without");
  app->add_option("--batch", options->batches, "batches to run")
      ->check(CLI::Range(int64_t(0), int64_t(1) << 20));
  app->add_option("--threads", options->threads, "numbers of threads to use")
      ->check(CLI::Range(1u, 256u));
  options->common.addTo(*app);
  app->footer("Example: convjit verify --random 1000 --seed 1");
  return {app, [options, seed] {
            options->seedGiven = seed->count() > 0;
            return run(*options);
          }};
}
