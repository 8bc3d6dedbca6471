//===- Ptxas.cpp - PTX to a GPU's machine code -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Ptxas.h"
#include "Layer.h"

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

using namespace convjit;
using namespace convjit::cli;

namespace {

/// A folder of its own that goes with the object.
struct TemporaryFolder {
  TemporaryFolder() {
    std::error_code error;
    std::filesystem::path base = std::filesystem::temp_directory_path(error);
    std::string name = (base / "convjit-ptxas-XXXXXX").string();
    if (!error && mkdtemp(name.data()))
      path = name;
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    if (!path.empty())
      std::filesystem::remove_all(path, ignored);
  }
  TemporaryFolder(const TemporaryFolder &) = delete;
  TemporaryFolder &operator=(const TemporaryFolder &) = delete;

  std::string path; ///< empty where none could be made
};

std::string contents(const std::string &path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

/// Runs a program with its output in the file `log`; -1 where it cannot be
/// started, which errno explains.
int runProgram(const std::string &program,
               std::initializer_list<std::string> arguments,
               const std::string &log) {
  std::vector<std::string> words = {program};
  words.insert(words.end(), arguments);
  std::vector<char *> argv;
  for (std::string &word : words)
    argv.push_back(word.data());
  argv.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, log.c_str(),
                                   O_WRONLY | O_CREAT | O_TRUNC, 0600);
  posix_spawn_file_actions_adddup2(&actions, STDOUT_FILENO, STDERR_FILENO);
  pid_t child = 0;
  int failure = posix_spawnp(&child, program.c_str(), &actions, nullptr,
                             argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  if (failure) {
    errno = failure;
    return -1;
  }
  int status = 0;
  while (waitpid(child, &status, 0) < 0)
    if (errno != EINTR)
      return -1;
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

} // namespace

Expected<std::string> convjit::cli::assemblePTX(const std::string &ptx,
                                                const std::string &chip) {
  const char *named = std::getenv("PTXAS");
  std::string program = named && *named ? named : "ptxas";
  TemporaryFolder folder;
  if (folder.path.empty())
    return environmentError("no temporary folder for ptxas");
  std::string from = folder.path + "/kernel.ptx";
  std::string to = folder.path + "/kernel.cubin";
  std::string log = folder.path + "/log";
  std::ofstream(from, std::ios::binary) << ptx;
  int status = runProgram(program, {"-arch=" + chip, from, "-o", to}, log);
  if (status < 0)
    return environmentError(
        "--emit=cubin: " + program + ": " + std::strerror(errno) +
        "; valid: ptxas of a CUDA toolkit or of the wheel nvidia-cuda-nvcc, in "
        "the path or named by PTXAS");
  std::string said = contents(log), cubin = contents(to);
  if (status != 0 || cubin.empty())
    return environmentError(
        "--emit=cubin: " + program + " failed with status " +
        std::to_string(status) + ": " +
        (said.empty() ? "it says nothing" : oneLine(said.substr(0, 300))));
  return cubin;
}
