//===- FindingsTest.cpp - kernels broken on purpose -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Each mistake is in one kernel, next to a twin that differs in that alone and
// has to run without a finding. RaceTest.cpp has what is about
// order, DivergenceTest.cpp threads that do not come together.
//
//===----------------------------------------------------------------------===//

#include "Kernels.h"

using namespace convjit::emulator;

using Kind = FindingKind;
using Access = Buffer::Access;

//===----------------------------------------------------------------------===//
// Bounds
//===----------------------------------------------------------------------===//

// y[i] = x[i + OFFSET], 64 elements each
static std::string shifted(int offset, const char *space = "") {
  return kernel("",
                R"(
  %j = add i64 %i, )" +
                    std::to_string(offset) +
                    R"(
  %px = getelementptr i32, ptr )" +
                    space + R"( %x, i64 %j
  %v = load i32, ptr )" +
                    space + R"( %px
  %py = getelementptr i32, ptr )" +
                    space + R"( %y, i64 %i
  store i32 %v, ptr )" +
                    space + R"( %py
)",
                space);
}

TEST(Bounds, OfGlobalMemory) {
  for (const char *space : {"", "addrspace(1)"}) {
    Ran past = runKernel(shifted(1, space));
    expectOnly(past.report, Kind::OutOfBounds);
    EXPECT_EQ(past.report.findings[0].count, 1u);
    EXPECT_EQ(past.report.findings[0].thread.x, 63u);
    EXPECT_NE(past.report.text().find("0 bytes past the end of x (256 bytes)"),
              std::string::npos)
        << past.report.text();
    Ran before = runKernel(shifted(-2, space));
    expectOnly(before.report, Kind::OutOfBounds);
    EXPECT_EQ(before.report.findings[0].count, 2u);
    // Far enough to be in no buffer's neighbourhood, or in another one.
    expectOnly(runKernel(shifted(1 << 20, space)).report, Kind::OutOfBounds);
    expectNone(runKernel(shifted(0, space)).report);
  }
}

// An address computed from one buffer must not reach another.
TEST(Bounds, OfTheBufferThatAnAddressBelongsTo) {
  std::string text = kernel("", R"(
  %a = ptrtoint ptr %x to i64
  %b = ptrtoint ptr %y to i64
  %distance = sub i64 %b, %a
  %px = getelementptr i8, ptr %x, i64 %distance
  store i32 1, ptr %px
)");
  Launch launch = launchOf(1);
  expectOnly(runKernel(text, launch).report, Kind::OutOfBounds);
}

TEST(Bounds, AWriteOutsideGoesNowhere) {
  std::string text = kernel("", R"(
  %j = sub i64 %i, 1
  %py = getelementptr i32, ptr %y, i64 %j
  store i32 %tid, ptr %py
)");
  Ran ran = runKernel(text);
  expectOnly(ran.report, Kind::OutOfBounds);
  EXPECT_EQ(ran.y[0], 1);
  EXPECT_EQ(ran.y[62], 63);
  EXPECT_EQ(ran.y[63], -1); // as the caller had it
}

TEST(Bounds, OfLongVectors) {
  std::string text = kernel("", R"(
  %v = load <32 x i32>, ptr %x, align 4
  %p = getelementptr i32, ptr %x, i64 40
  %w = load <32 x i32>, ptr %p, align 4
  %sum = add <32 x i32> %v, %w
  %s = extractelement <32 x i32> %sum, i32 3
  store i32 %s, ptr %y
)");
  expectOnly(runKernel(text, launchOf(1)).report, Kind::OutOfBounds);
}

// Each thread stores at s[i + OFFSET] of a variable with another one behind it.
static std::string sharedAt(int offset, bool hidden) {
  std::string pointer = hidden ? R"(
  %a = ptrtoint ptr addrspace(3) @s to i64
  %base = inttoptr i64 %a to ptr addrspace(3)
)"
                               : R"(
  %base = getelementptr i8, ptr addrspace(3) @s, i64 0
)";
  return kernel(R"(
@s = internal addrspace(3) global [64 x i32] undef, align 4
@t = internal addrspace(3) global [64 x i32] undef, align 4
)",
                pointer + R"(
  %j = add i64 %i, )" +
                    std::to_string(offset) +
                    R"(
  %ps = getelementptr i32, ptr addrspace(3) %base, i64 %j
  store i32 %tid, ptr addrspace(3) %ps
  %pt = getelementptr i32, ptr addrspace(3) @t, i64 %i
  store i32 %tid, ptr addrspace(3) %pt
)");
}

TEST(Bounds, OfSharedMemory) {
  for (bool hidden : {false, true}) {
    expectNone(runKernel(sharedAt(0, hidden)).report);
    for (int offset : {1, -1, 64 + 32, 1 << 18, -(1 << 18)})
      expectOnly(runKernel(sharedAt(offset, hidden)).report, Kind::OutOfBounds);
  }
  // Right into the next variable: seen where the address's origin is.
  expectOnly(runKernel(sharedAt(64 + 128, false)).report, Kind::OutOfBounds);
}

TEST(Bounds, AReadOnlyBuffer) {
  std::string text = kernel("", R"(
  %px = getelementptr i32, ptr %x, i64 %i
  store i32 5, ptr %px
)");
  Ran ran = runKernel(text);
  expectOnly(ran.report, Kind::ReadOnly);
  EXPECT_EQ(ran.x[3], 3 * 3);
}

//===----------------------------------------------------------------------===//
// Alignment
//===----------------------------------------------------------------------===//

// One thread in four loads four numbers from OFFSET bytes after where it may.
static std::string vectors(int offset, int align) {
  return kernel("", R"(
  %four = and i64 %i, 60
  %px = getelementptr i32, ptr %x, i64 %four
  %qx = getelementptr i8, ptr %px, i64 )" +
                        std::to_string(offset) + R"(
  %v = load <4 x i32>, ptr %qx, align )" +
                        std::to_string(align) + R"(
  %w = extractelement <4 x i32> %v, i32 0
  %py = getelementptr i32, ptr %y, i64 %i
  store i32 %w, ptr %py
)");
}

TEST(Alignment, OfVectorAccesses) {
  expectNone(runKernel(vectors(0, 16)).report);
  Ran eight = runKernel(vectors(-8, 16));
  EXPECT_EQ(countOf(eight.report, Kind::Misaligned), 1) << eight.report.text();
  // Promised less, which makes four instructions of it.
  EXPECT_EQ(countOf(runKernel(vectors(-8, 4)).report, Kind::Misaligned), 0);
  EXPECT_EQ(countOf(runKernel(vectors(-8, 8)).report, Kind::Misaligned), 0);
}

TEST(Alignment, OfSharedVectors) {
  auto text = [](int bytes) {
    return kernel(
        "@s = internal addrspace(3) global [2048 x i8] undef, align 16\n",
        R"(
  %at = mul i64 %i, )" +
            std::to_string(bytes) +
            R"(
  %ps = getelementptr i8, ptr addrspace(3) @s, i64 %at
  store <4 x i32> zeroinitializer, ptr addrspace(3) %ps, align 16
)");
  };
  expectNone(runKernel(text(16)).report);
  Ran broken = runKernel(text(24));
  EXPECT_EQ(countOf(broken.report, Kind::Misaligned), 1)
      << broken.report.text();
}

//===----------------------------------------------------------------------===//
// Memory that nobody wrote
//===----------------------------------------------------------------------===//

static std::string uninitialized(int written) {
  return kernel("@s = internal addrspace(3) global [64 x i32] undef, align 4\n",
                R"(
  %writes = icmp ult i32 %tid, )" +
                    std::to_string(written) +
                    R"(
  br i1 %writes, label %write, label %read
write:
  %ps = getelementptr i32, ptr addrspace(3) @s, i64 %i
  store i32 %tid, ptr addrspace(3) %ps
  br label %read
read:
  call void @llvm.nvvm.barrier.cta.sync.aligned.all(i32 0)
  %j = sub i64 63, %i
  %qs = getelementptr i32, ptr addrspace(3) @s, i64 %j
  %v = load i32, ptr addrspace(3) %qs
  %py = getelementptr i32, ptr %y, i64 %i
  store i32 %v, ptr %py
)");
}

TEST(Uninitialized, SharedMemory) {
  expectNone(runKernel(uninitialized(64)).report);
  Ran broken = runKernel(uninitialized(63));
  expectOnly(broken.report, Kind::Uninitialized);
  EXPECT_EQ(broken.report.findings[0].count, 1u);
  EXPECT_EQ(broken.y[0], -1); // all bits one: NaN, were it a float
}

TEST(Uninitialized, SharedMemoryDoesNotSurviveABlock) {
  // Only the first block writes.
  std::string text =
      kernel("@s = internal addrspace(3) global [64 x i32] undef, align 4\n",
             R"(
  %first = icmp eq i32 %block, 0
  %ps = getelementptr i32, ptr addrspace(3) @s, i64 %i
  br i1 %first, label %write, label %read
write:
  store i32 %tid, ptr addrspace(3) %ps
  br label %read
read:
  %v = load i32, ptr addrspace(3) %ps
  %use = icmp eq i32 %v, 1000
  br i1 %use, label %write, label %end
end:
)");
  Launch launch = launchOf(64);
  launch.grid = {2};
  expectOnly(runKernel(text, launch).report, Kind::Uninitialized);
  launch.grid = {1};
  expectNone(runKernel(text, launch).report);
}

TEST(Uninitialized, Outputs) {
  std::string text = kernel("", R"(
  %py = getelementptr i32, ptr %y, i64 %i
  %v = load i32, ptr %py
  %w = add i32 %v, 1
  store i32 %w, ptr %py
)");
  expectOnly(runKernel(text).report, Kind::Uninitialized);
  Ran twin = runKernel(text, launchOf(64), Access::ReadWrite);
  expectNone(twin.report);
  EXPECT_EQ(twin.y[17], 0);
}

//===----------------------------------------------------------------------===//
// The rest
//===----------------------------------------------------------------------===//

TEST(NoProgress, AThreadThatWaitsForAnotherByReading) {
  std::string text = kernel("", R"(
  br label %loop
loop:
  %v = load volatile i32, ptr %x
  %done = icmp eq i32 %v, 77
  br i1 %done, label %end, label %loop
end:
)");
  Launch launch = launchOf(64);
  launch.maxAccesses = 10000;
  Ran ran = runKernel(text, launch);
  EXPECT_FALSE(ran.report.complete);
  expectOnly(ran.report, Kind::NoProgress);
}

TEST(Findings, AreKeptUpToALimit) {
  std::string body;
  for (int i = 0; i < 10; ++i)
    body += "  %p" + std::to_string(i) + " = getelementptr i32, ptr %y, i64 " +
            std::to_string(1000 + i) + "\n  store i32 0, ptr %p" +
            std::to_string(i) + "\n";
  Launch launch = launchOf(64);
  launch.maxFindings = 3;
  Ran ran = runKernel(kernel("", body), launch);
  EXPECT_EQ(ran.report.findings.size(), 3u);
  EXPECT_EQ(ran.report.findings[0].count, 64u);
  EXPECT_EQ(ran.report.moreFindings, 7u * 64u);
}
