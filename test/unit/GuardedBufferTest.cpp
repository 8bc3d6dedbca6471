//===- GuardedBufferTest.cpp - faults where they should be -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "GuardedBuffer.h"

#include <gtest/gtest.h>

#include <cstring>
#include <limits>

#include <unistd.h>

using namespace convjit;
using Side = GuardedBuffer::Side;

static const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));

static GuardedBuffer buffer(size_t bytes, Side side) {
  Expected<GuardedBuffer> made = GuardedBuffer::create(bytes, side);
  EXPECT_TRUE(made) << made.error().message;
  return std::move(*made);
}

/// Accesses that the compiler keeps. Not instrumented: a sanitizer must not
/// find the fault first.
#if defined(__clang__)
__attribute__((no_sanitize("address", "undefined", "thread"), noinline))
#endif
static void touch(std::byte *at, bool write) {
  volatile std::byte *byte = at;
  if (write)
    *byte = std::byte(1);
  else
    (void)*byte;
}

TEST(GuardedBuffer, AllBytesInsideAreUsable) {
  for (size_t bytes : {size_t(1), size_t(7), size_t(100), page - 1, page,
                       page + 1, 3 * page, 3 * page + 5})
    for (Side side : {Side::Start, Side::End}) {
      GuardedBuffer memory = buffer(bytes, side);
      ASSERT_EQ(memory.size(), bytes);
      // Fresh memory is zero.
      for (size_t i = 0; i < bytes; ++i)
        ASSERT_EQ(memory.data()[i], std::byte(0)) << i;
      for (size_t i = 0; i < bytes; ++i)
        memory.data()[i] = static_cast<std::byte>(i % 251);
      for (size_t i = 0; i < bytes; ++i)
        ASSERT_EQ(memory.data()[i], static_cast<std::byte>(i % 251)) << i;
    }
}

TEST(GuardedBuffer, BytesTouchTheirSide) {
  for (size_t bytes : {size_t(0), size_t(1), size_t(100), page, page + 1}) {
    GuardedBuffer start = buffer(bytes, Side::Start);
    GuardedBuffer end = buffer(bytes, Side::End);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(start.data()) % page, 0u);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(end.data() + bytes) % page, 0u);
  }
}

TEST(GuardedBufferDeathTest, OneByteOutsideFaults) {
  GTEST_FLAG_SET(death_test_style, "fast");
  for (size_t bytes : {size_t(1), size_t(100), page, page + 904}) {
    GuardedBuffer start = buffer(bytes, Side::Start);
    GuardedBuffer end = buffer(bytes, Side::End);
    for (bool write : {false, true}) {
      EXPECT_DEATH(touch(end.data() + bytes, write), "") << bytes;
      EXPECT_DEATH(touch(start.data() - 1, write), "") << bytes;
      // A whole page is out of reach on either side.
      EXPECT_DEATH(touch(end.data() + bytes + page - 1, write), "") << bytes;
      EXPECT_DEATH(touch(start.data() - page, write), "") << bytes;
    }
    // The last and the first byte do not.
    touch(end.data() + bytes - 1, true);
    touch(start.data(), true);
  }
}

TEST(GuardedBufferDeathTest, NothingInsideAnEmptyBuffer) {
  GTEST_FLAG_SET(death_test_style, "fast");
  for (Side side : {Side::Start, Side::End}) {
    GuardedBuffer empty = buffer(0, side);
    EXPECT_DEATH(touch(empty.data(), false), "");
    EXPECT_DEATH(touch(empty.data() - 1, false), "");
  }
}

TEST(GuardedBuffer, MovesKeepTheMemory) {
  GuardedBuffer first = buffer(100, Side::End);
  std::memset(first.data(), 7, 100);
  std::byte *data = first.data();
  GuardedBuffer second = std::move(first);
  EXPECT_EQ(second.data(), data);
  EXPECT_EQ(second.size(), 100u);
  GuardedBuffer third = buffer(5, Side::Start);
  third = std::move(second);
  EXPECT_EQ(third.data(), data);
  EXPECT_EQ(third.data()[99], std::byte(7));
}

TEST(GuardedBuffer, TooMuchMemoryIsAnError) {
  size_t most = std::numeric_limits<size_t>::max();
  for (size_t bytes : {most, most - page, most - 2 * page, most / 2}) {
    Expected<GuardedBuffer> made = GuardedBuffer::create(bytes, Side::End);
    ASSERT_FALSE(made) << bytes;
    EXPECT_EQ(made.error().kind, ErrorKind::Environment);
    EXPECT_EQ(made.error().message.find('\n'), std::string::npos);
  }
}
