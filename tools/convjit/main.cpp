//===- main.cpp - the command line -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

// convjit VERB: compiles convolution layers and runs, checks, times and shows
// them. docs/command-line.md describes the verbs.
//
//===----------------------------------------------------------------------===//

#include "Common.h"
#include "Reproducer.h"

#include <iostream>
#include <system_error>

using namespace convjit;
using namespace convjit::cli;

static constexpr const char *validVerbs =
    "run, verify, bench, plan, emit, cache";

static int report(const Error &error) {
  std::string message = oneLine(error.message);
  if (error.kind == ErrorKind::Internal) {
    std::string path = writeReproducer(message);
    if (!path.empty())
      message += " (reproducer: " + path + ")";
  }
  std::cerr << "convjit: error: " << message << "\n" << std::flush;
  return static_cast<int>(error.kind);
}

/// What the command line itself is wrong in.
static Error usageError(const CLI::App &app, const std::string &what) {
  std::vector<CLI::App *> verbs = app.get_subcommands();
  if (verbs.empty())
    return badInput(what + "; valid: convjit VERB ..., with VERB one of " +
                    validVerbs);
  return badInput(what + "; valid: see convjit " + verbs.front()->get_name() +
                  " --help");
}

static int runMain(int argc, char **argv) {
  CLI::App app("convjit compiles convolution layers into kernels for this "
               "machine, and runs, checks, times and shows them.",
               "convjit");
  app.require_subcommand(1);
  app.set_version_flag("--version", CONVJIT_VERSION);
  app.footer("Example: convjit bench convT3d:in=8x16x16x64,oc=32,k=4,s=2 "
             "--batch 4");
  Verb verbs[] = {addRun(app),  addVerify(app), addBench(app),
                  addPlan(app), addEmit(app),   addCache(app)};
  if (argc > 1) {
    std::string first = argv[1];
    for (const char *later : {"tune", "roofline", "import"})
      if (first == later)
        return report(
            badInput("verb '" + first +
                     "': is not available yet; valid: " + validVerbs));
    bool known = first.starts_with("-");
    for (const Verb &verb : verbs)
      known |= verb.app->get_name() == first;
    if (!known)
      return report(badInput("verb '" + first + "': valid: " + validVerbs));
  }
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success &success) {
    return app.exit(success); // --help and --version
  } catch (const CLI::ParseError &error) {
    return report(usageError(app, error.what()));
  }
  for (Verb &verb : verbs)
    if (verb.app->parsed()) {
      Expected<int> code = verb.run();
      if (!code)
        return report(code.error());
      // A full disk must not look like success.
      if (!std::cout.flush())
        return report(environmentError("standard output: cannot be written"));
      return *code;
    }
  return report(internalError("no verb was run"));
}

int main(int argc, char **argv) {
  try {
    noteCommand(argc, argv);
    catchFaults();
    return runMain(argc, argv);
  } catch (const std::bad_alloc &) {
    return report(environmentError("not enough memory"));
  } catch (const std::system_error &error) {
    // No more threads, files or processes.
    return report(environmentError(error.what()));
  } catch (const std::exception &error) {
    return report(internalError(error.what()));
  } catch (...) {
    return report(internalError("an exception of unknown type"));
  }
}
