//===- main.cpp - the command line -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

// convjit VERB: compiles convolution layers and runs, checks, times and shows
// them. docs/command-line.md has a page for each verb.
//
//===----------------------------------------------------------------------===//

#include "Common.h"

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iostream>

#include <unistd.h>

using namespace convjit;
using namespace convjit::cli;

/// One line, whatever the message holds.
static std::string oneLine(std::string message) {
  while (!message.empty() && message.back() == '\n')
    message.pop_back();
  for (char &c : message)
    if (c == '\n')
      c = ' ';
  return message;
}

/// Leaves what is needed to see an internal error again; returns its path.
static std::string writeReproducer(int argc, char **argv,
                                   const std::string &message) {
  const char *folder = std::getenv("TMPDIR");
  std::string path = std::string(folder ? folder : "/tmp") +
                     "/convjit-reproducer-" + std::to_string(getpid()) + ".txt";
  std::ofstream file(path);
  file << "convjit " << CONVJIT_VERSION << "\nerror: " << message
       << "\ncommand:";
  for (int i = 0; i < argc; ++i)
    file << " '" << argv[i] << "'";
  file << "\n";
  return file ? path : "";
}

static int report(const Error &error, int argc, char **argv) {
  std::string message = oneLine(error.message);
  if (error.kind == ErrorKind::Internal) {
    std::string path = writeReproducer(argc, argv, message);
    if (!path.empty())
      message += " (reproducer: " + path + ")";
  }
  std::cerr << "convjit: error: " << message << "\n";
  return static_cast<int>(error.kind);
}

static int runMain(int argc, char **argv) {
  CLI::App app("convjit compiles convolution layers into kernels for this "
               "machine, and runs, checks, times and shows them.",
               "convjit");
  app.require_subcommand(1);
  app.set_version_flag("--version", CONVJIT_VERSION);
  app.footer("Example: convjit bench convT3d:in=8x16x16x64,oc=32,k=4,s=2 "
             "--batch 4");
  Verb verbs[] = {addRun(app), addVerify(app), addBench(app), addPlan(app),
                  addEmit(app)};
  if (argc > 1)
    for (const char *later : {"tune", "roofline", "cache", "import"})
      if (std::string(argv[1]) == later)
        return report(badInput(std::string("verb '") + later +
                               "' is not available yet; valid: run, verify, "
                               "bench, plan, emit"),
                      argc, argv);
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success &success) {
    return app.exit(success); // --help and --version
  } catch (const CLI::ParseError &error) {
    std::string hint = app.get_subcommands().empty()
                           ? "; valid: convjit run|verify|bench|plan|emit ..., "
                             "see convjit --help"
                           : "; see convjit " +
                                 app.get_subcommands().front()->get_name() +
                                 " --help";
    return report(badInput(oneLine(error.what()) + hint), argc, argv);
  }
  for (Verb &verb : verbs)
    if (verb.app->parsed()) {
      Expected<int> code = verb.run();
      return code ? *code : report(code.error(), argc, argv);
    }
  return report(internalError("no verb was run"), argc, argv);
}

int main(int argc, char **argv) {
  try {
    return runMain(argc, argv);
  } catch (const std::bad_alloc &) {
    return report(environmentError("not enough memory"), argc, argv);
  } catch (const std::exception &error) {
    return report(internalError(error.what()), argc, argv);
  }
}
