//===- Reproducer.cpp - what is left behind by an internal error -*- C++
//-*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Reproducer.h"

#include <csignal>
#include <cstdlib>
#include <cstring>
#include <fstream>

#include <fcntl.h>
#include <unistd.h>

using namespace convjit;
using namespace convjit::cli;

namespace {

/// Ready before anything goes wrong: a signal handler may only copy bytes.
struct Report {
  std::string command;
  std::string layer = "problem: none yet\n";
  std::string path;
  std::string text;
};
Report *report = nullptr; // never freed: the handler may run at any time

constexpr int faults[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT};

std::string hostName() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);)
    if (line.starts_with("model name"))
      return line.substr(line.find(':') + 1);
  return " unknown";
}

void update() {
  report->text = "convjit " CONVJIT_VERSION "\n" + report->layer +
                 "command:" + report->command + "\nerror: ";
}

void put(int file, const char *text, size_t size) {
  while (size > 0) {
    ssize_t written = write(file, text, size);
    if (written <= 0)
      return;
    text += written;
    size -= static_cast<size_t>(written);
  }
}
void put(int file, const char *text) { put(file, text, std::strlen(text)); }

const char *faultName(int signal) {
  switch (signal) {
  case SIGSEGV:
    return "a memory access outside every tensor (SIGSEGV)";
  case SIGBUS:
    return "a bus error (SIGBUS)";
  case SIGILL:
    return "an instruction that this machine lacks (SIGILL)";
  case SIGFPE:
    return "an arithmetic fault (SIGFPE)";
  default:
    return "an abort (SIGABRT)";
  }
}

void onFault(int signal) {
  int file = open(report->path.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
  if (file >= 0) {
    put(file, report->text.data(), report->text.size());
    put(file, faultName(signal));
    put(file, "\n");
    close(file);
  }
  put(STDERR_FILENO, "convjit: error: ");
  put(STDERR_FILENO, faultName(signal));
  if (file >= 0) {
    put(STDERR_FILENO, " (reproducer: ");
    put(STDERR_FILENO, report->path.c_str());
    put(STDERR_FILENO, ")");
  }
  put(STDERR_FILENO, "\n");
  _exit(static_cast<int>(ErrorKind::Internal));
}

} // namespace

void convjit::cli::noteCommand(int argc, char **argv) {
  report = new Report;
  for (int i = 0; i < argc; ++i)
    report->command += std::string(" '") + argv[i] + "'";
  const char *folder = std::getenv("TMPDIR");
  report->path = std::string(folder && *folder ? folder : ".") +
                 "/convjit-reproducer-" + std::to_string(getpid()) + ".txt";
  update();
}

void convjit::cli::noteLayer(const std::string &problem,
                             const CompileOptions &options) {
  const Target &target = options.target;
  report->layer = "problem: " + problem + "\ntarget: ";
  report->layer += target.cpu.empty() ? "host," + hostName() : target.cpu;
  if (!target.features.empty())
    report->layer += " " + target.features;
  report->layer +=
      "\nplan: " + (options.plan.empty() ? "chosen" : options.plan) + "\n";
  update();
}

std::string convjit::cli::writeReproducer(const std::string &message) {
  if (!report)
    return "";
  std::ofstream file(report->path, std::ios::trunc);
  file << report->text << message << "\n";
  file.close();
  return file ? report->path : "";
}

void convjit::cli::catchFaults() {
  // A stack of its own, for the case that the fault is the stack's overflow.
  static char stack[64 * 1024];
  stack_t alternative = {};
  alternative.ss_sp = stack;
  alternative.ss_size = sizeof stack;
  sigaltstack(&alternative, nullptr);
  struct sigaction action = {};
  action.sa_handler = onFault;
  action.sa_flags = SA_ONSTACK | SA_RESETHAND;
  for (int signal : faults)
    sigaction(signal, &action, nullptr);
}

void convjit::cli::leaveFaults() {
  for (int signal : faults)
    std::signal(signal, SIG_DFL);
}
