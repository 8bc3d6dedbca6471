//===- MemoryTest.cpp - no memory is an error value -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "LayerTesting.h"

#include <filesystem>
#include <sys/resource.h>
#include <unistd.h>

using namespace convjit;
using namespace convjit::nn;

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define NO_LIMITS
#endif
#endif

#ifndef NO_LIMITS
namespace {

/// Whether it failed for the lack of memory, and says so.
template <typename Result> bool lacksMemory(const Result &result) {
  return !result && result.error().kind == ErrorKind::Environment &&
         result.error().message.find("no memory") != std::string::npos;
}

/// Runs `body` in a child whose address space may grow by 256 MiB.
template <typename Body> void withLittleMemory(Body body) {
  EXPECT_EXIT(
      {
        rlimit limit{};
        getrlimit(RLIMIT_AS, &limit);
        long pages = 0;
        if (FILE *file = std::fopen("/proc/self/statm", "r")) {
          if (std::fscanf(file, "%ld", &pages) != 1)
            pages = 0;
          std::fclose(file);
        }
        limit.rlim_cur =
            static_cast<rlim_t>(pages) * static_cast<rlim_t>(getpagesize()) +
            (rlim_t(256) << 20);
        setrlimit(RLIMIT_AS, &limit);
        std::_Exit(body() ? 0 : 1);
      },
      testing::ExitedWithCode(0), "");
}

} // namespace

TEST(LayerMemory, Initializers) {
  Shape large{int64_t(1) << 15, int64_t(1) << 14};
  withLittleMemory([&] {
    return lacksMemory(Constant{}(large)) && lacksMemory(ZeroInit{}(large)) &&
           lacksMemory(Normal{}(large)) &&
           lacksMemory(XavierUniform{}(large)) &&
           lacksMemory(TruncatedNormal{}(large)) &&
           lacksMemory(Orthogonal{}(large)) &&
           lacksMemory(DeltaOrthogonal{}({1, 1 << 14, 1 << 14})) &&
           lacksMemory(uniform(prngKey(1), large, DataType::F32));
  });
}

TEST(LayerMemory, Layers) {
  withLittleMemory([] {
    return lacksMemory(tryMake<Conv1d>(
        {.in_size = {8, 1 << 14}, .out_channels = 1 << 14, .kernel_size = 2}));
  });
}

TEST(LayerMemory, Files) {
  std::string path = (std::filesystem::temp_directory_path() /
                      ("convjit-memory-" + std::to_string(getpid()) + ".npz"))
                         .string();
  {
    NamedArrays arrays{{"weight", zeros(DataType::F32, {1 << 13, 1 << 13})}};
    ASSERT_TRUE(writeNpz(path, arrays));
  }
  withLittleMemory([&] { return lacksMemory(readNpz(path)); });
  std::filesystem::remove(path);
}
#endif
