//===- CodeArenaTest.cpp - pages for code -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "CodeArena.h"

#include <gtest/gtest.h>

#include <cstring>
#include <fstream>
#include <random>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>
#include <vector>

using namespace convjit;

namespace {

size_t mappings() {
  std::ifstream maps("/proc/self/maps");
  size_t lines = 0;
  for (std::string line; std::getline(maps, line);)
    ++lines;
  return lines;
}

/// "r-xp" and so on of the mapping that holds `address`.
std::string protectionOf(const void *address) {
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);) {
    unsigned long from = 0, to = 0;
    char mode[8] = {};
    if (std::sscanf(line.c_str(), "%lx-%lx %4s", &from, &to, mode) == 3 &&
        reinterpret_cast<unsigned long>(address) >= from &&
        reinterpret_cast<unsigned long>(address) < to)
      return mode;
  }
  return "";
}

CodePages filled(CodeArena &arena, size_t bytes, char value) {
  Expected<CodePages> pages = arena.allocate(bytes);
  if (!pages || pages->bytes < bytes)
    std::abort();
  std::memset(pages->begin, value, pages->bytes);
  if (!arena.seal(*pages))
    std::abort();
  return *pages;
}

TEST(CodeArena, IsNeverWritableAndExecutable) {
  CodeArena arena;
  Expected<CodePages> pages = arena.allocate(100);
  ASSERT_TRUE(pages);
  EXPECT_EQ(protectionOf(pages->begin), "rw-p");
  ASSERT_TRUE(arena.seal(*pages));
  EXPECT_EQ(protectionOf(pages->begin), "r-xp");
  char *begin = pages->begin;
  arena.release(*pages);
  EXPECT_EQ(protectionOf(begin), "---p");
}

TEST(CodeArena, ThousandsOfKernelsTakeFewMappings) {
#if defined(__has_feature)
#if __has_feature(thread_sanitizer) || __has_feature(address_sanitizer)
  GTEST_SKIP() << "a sanitizer has mappings of its own";
#endif
#endif
  CodeArena arena;
  size_t before = mappings();
  std::vector<CodePages> all;
  for (int i = 0; i < 24000; ++i)
    all.push_back(filled(arena, 4096 + 4096 * (i % 2), static_cast<char>(i)));
  EXPECT_LT(mappings(), before + 200);
  for (size_t i = 0; i < all.size(); ++i)
    ASSERT_EQ(all[i].begin[all[i].bytes - 1], static_cast<char>(i));
  for (CodePages pages : all)
    arena.release(pages);
  EXPECT_LT(mappings(), before + 10);
  EXPECT_EQ(arena.usage().usedBytes, 0u);
  EXPECT_EQ(arena.usage().slabs, 1u);
}

TEST(CodeArena, RandomLifetimesKeepTheirBytes) {
  CodeArena arena;
  std::mt19937 random(7);
  struct Live {
    CodePages pages;
    char value;
  };
  std::vector<Live> live;
  size_t used = 0;
  for (int round = 0; round < 3000; ++round) {
    if (live.size() < 60 && random() % 3) {
      size_t bytes = 1 + random() % (round % 50 ? 40'000 : 5'000'000);
      live.push_back({filled(arena, bytes, char(round)), char(round)});
      used += live.back().pages.bytes;
    } else if (!live.empty()) {
      size_t at = random() % live.size();
      Live last = live[at];
      ASSERT_EQ(last.pages.begin[0], last.value);
      ASSERT_EQ(last.pages.begin[last.pages.bytes - 1], last.value);
      used -= last.pages.bytes;
      arena.release(last.pages);
      live[at] = live.back();
      live.pop_back();
    }
    ASSERT_EQ(arena.usage().usedBytes, used);
  }
  for (Live &last : live)
    arena.release(last.pages);
  EXPECT_EQ(arena.usage().slabs, 1u);
}

TEST(CodeArena, ManyThreads) {
  CodeArena arena;
  std::vector<std::thread> pool;
  for (int t = 0; t < 8; ++t)
    pool.emplace_back([&, t] {
      for (int i = 0; i < 200; ++i) {
        CodePages a = filled(arena, 5000, char(t)), b = filled(arena, 1, 'b');
        EXPECT_EQ(a.begin[4999], char(t));
        arena.release(a);
        EXPECT_EQ(b.begin[0], 'b');
        arena.release(b);
      }
    });
  for (std::thread &thread : pool)
    thread.join();
  EXPECT_EQ(arena.usage().usedBytes, 0u);
}

TEST(CodeArena, AForkedChildHasCodeOfItsOwn) {
  CodeArena arena;
  CodePages pages = filled(arena, 4096, 'p');
  pid_t child = fork();
  if (child == 0) {
    arena.release(pages);
    CodePages other = filled(arena, 4096, 'c');
    _exit(other.begin[0] == 'c' ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  EXPECT_EQ(pages.begin[0], 'p');
  arena.release(pages);
}

TEST(CodeArena, ReportsWhatItCannotHave) {
  CodeArena arena;
  EXPECT_FALSE(arena.allocate(0));
  EXPECT_FALSE(arena.allocate(size_t(1) << 60));
}

} // namespace
