//===- AsyncCopyTest.cpp - cp.async lands at its wait -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Kernels.h"

using namespace convjit::emulator;

using Kind = FindingKind;

static const char *const sharedArray =
    "@s = internal addrspace(3) global [4 x [64 x i32]] undef, align 16\n";

static const char *const commit =
    "  call void @llvm.nvvm.cp.async.commit.group()\n";
static const char *const barrier =
    "  call void @llvm.nvvm.barrier.cta.sync.aligned.all(i32 0)\n";
static std::string wait(int groups) {
  return "  call void @llvm.nvvm.cp.async.wait.group(i32 " +
         std::to_string(groups) + ")\n";
}
static const char *const waitAll =
    "  call void @llvm.nvvm.cp.async.wait.all()\n";

/// Copies x[i] to s[stage][i], under names of its own.
static std::string copyTo(int stage) {
  std::string n = std::to_string(stage);
  return "  %px" + n + " = getelementptr i32, ptr %x, i64 %i\n  %gx" + n +
         " = addrspacecast ptr %px" + n + " to ptr addrspace(1)\n  %ps" + n +
         " = getelementptr [64 x i32], ptr addrspace(3) @s, i64 " + n +
         ", i64 %i\n  call void @llvm.nvvm.cp.async.ca.shared.global.4("
         "ptr addrspace(3) %ps" +
         n + ", ptr addrspace(1) %gx" + n + ")\n";
}

/// y[i] = s[stage][i xor other]
static std::string readFrom(int stage, int other) {
  return R"(
  %j = xor i64 %i, )" +
         std::to_string(other) +
         "\n  %qs = getelementptr [64 x i32], ptr addrspace(3) @s, i64 " +
         std::to_string(stage) + R"(, i64 %j
  %v = load i32, ptr addrspace(3) %qs
  %py = getelementptr i32, ptr %y, i64 %i
  store i32 %v, ptr %py
)";
}

static Ran runParts(const std::string &body) {
  return runKernel(kernel(sharedArray, body));
}

TEST(AsyncCopy, LandsAtTheWait) {
  for (std::string end : {commit + wait(0), std::string(waitAll)}) {
    Ran own = runParts(copyTo(0) + end + readFrom(0, 0));
    expectNone(own.report);
    EXPECT_EQ(own.y[9], 81);
    Ran others = runParts(copyTo(0) + end + barrier + readFrom(0, 5));
    expectNone(others.report);
    EXPECT_EQ(others.y[0], 25);
  }
}

TEST(AsyncCopy, IsNotThereBeforeTheWait) {
  for (std::string end : {"", commit, barrier}) {
    Ran ran = runParts(copyTo(0) + end + readFrom(0, 0) + waitAll);
    expectOnly(ran.report, Kind::AsyncPending);
    EXPECT_EQ(ran.y[9], -1); // neither the old value nor the new one
  }
}

// wait_group counts committed groups: what is not committed is not waited for.
TEST(AsyncCopy, AWaitForGroupsLeavesWhatIsNotCommitted) {
  expectOnly(runParts(copyTo(0) + wait(0) + readFrom(0, 0)).report,
             Kind::AsyncPending);
}

TEST(AsyncCopy, GroupsCompleteInOrder) {
  std::string three =
      copyTo(0) + commit + copyTo(1) + commit + copyTo(2) + commit;
  for (int left = 0; left <= 3; ++left)
    for (int stage = 0; stage < 3; ++stage) {
      Ran ran = runParts(three + wait(left) + readFrom(stage, 0));
      if (stage < 3 - left)
        expectNone(ran.report);
      else
        expectOnly(ran.report, Kind::AsyncPending);
    }
}

TEST(AsyncCopy, EmptyGroupsCount) {
  Ran ran = runParts(copyTo(0) + commit + commit + wait(1) + readFrom(0, 0));
  expectNone(ran.report);
}

// A wait is about the thread's own copies; other threads' need a barrier, too.
TEST(AsyncCopy, OfAnotherThreadWithoutABarrier) {
  Ran ran = runParts(copyTo(0) + commit + wait(0) + readFrom(0, 1));
  EXPECT_GE(countOf(ran.report, Kind::SharedRace) +
                countOf(ran.report, Kind::AsyncPending) +
                countOf(ran.report, Kind::Uninitialized),
            1)
      << ran.report.text();
}

// The next round overwrites a stage that others still read.
TEST(AsyncCopy, OverwritesWhatIsStillRead) {
  auto text = [](const std::string &between) {
    std::string again = copyTo(0);
    for (const char *name : {"%px0", "%gx0", "%ps0"})
      for (size_t at; (at = again.find(name)) != std::string::npos;)
        again.replace(at, 4, std::string(name).substr(0, 3) + "9");
    return copyTo(0) + commit + wait(0) + barrier + readFrom(0, 3) + between +
           again + commit + wait(0);
  };
  expectNone(runParts(text(barrier)).report);
  Ran ran = runParts(text(""));
  EXPECT_GE(countOf(ran.report, Kind::SharedRace) +
                countOf(ran.report, Kind::AsyncPending),
            1)
      << ran.report.text();
}

TEST(AsyncCopy, WritesBesideACopyInFlight) {
  std::string store = "  store i32 1, ptr addrspace(3) %ps0\n";
  expectOnly(runParts(copyTo(0) + store + waitAll).report, Kind::AsyncPending);
  expectNone(runParts(copyTo(0) + waitAll + store).report);
}

/// Thread 0 copies `bytes` of which `source` come from x + `from`.
static std::string sized(int bytes, const std::string &source, int64_t from,
                         int to = 0) {
  std::string cache = bytes == 16 ? "cg" : "ca", n = std::to_string(bytes);
  return R"(
  %zero = icmp eq i32 %tid, 0
  br i1 %zero, label %copy, label %end
copy:
  %px = getelementptr i8, ptr %x, i64 )" +
         std::to_string(from) + R"(
  %gx = addrspacecast ptr %px to ptr addrspace(1)
  %ps = getelementptr i8, ptr addrspace(3) @s, i64 )" +
         std::to_string(to) + R"(
  call void @llvm.nvvm.cp.async.)" +
         cache + ".shared.global." + n +
         R"(.s(ptr addrspace(3) %ps, ptr addrspace(1) %gx, i32 )" + source +
         R"()
  call void @llvm.nvvm.cp.async.wait.all()
  %v = load <4 x i32>, ptr addrspace(3) @s, align 16
  store <4 x i32> %v, ptr %y, align 16
  br label %end
end:
)";
}

static Ran runSized(int bytes, const std::string &source, int64_t from,
                    int to = 0) {
  // What is read beyond the copy has been written before.
  std::string init = R"(
  %first = icmp eq i32 %tid, 0
  br i1 %first, label %init, label %go
init:
  store <4 x i32> <i32 5, i32 5, i32 5, i32 5>, ptr addrspace(3) @s, align 16
  br label %go
go:
)";
  return runParts(init + sized(bytes, source, from, to));
}

TEST(AsyncCopy, FillsWithZeros) {
  Ran all = runSized(16, "16", 16);
  expectNone(all.report);
  EXPECT_EQ(std::vector<int32_t>(all.y.begin(), all.y.begin() + 4),
            (std::vector<int32_t>{16, 25, 36, 49}));
  Ran half = runSized(16, "8", 16);
  expectNone(half.report);
  EXPECT_EQ(std::vector<int32_t>(half.y.begin(), half.y.begin() + 4),
            (std::vector<int32_t>{16, 25, 0, 0}));
  // Nothing is read, so the address does not matter.
  Ran none = runSized(16, "0", 1 << 20);
  expectNone(none.report);
  EXPECT_EQ(std::vector<int32_t>(none.y.begin(), none.y.begin() + 4),
            (std::vector<int32_t>{0, 0, 0, 0}));
  Ran eight = runSized(8, "8", 8);
  expectNone(eight.report);
  EXPECT_EQ(std::vector<int32_t>(eight.y.begin(), eight.y.begin() + 4),
            (std::vector<int32_t>{4, 9, 5, 5}));
}

TEST(AsyncCopy, BoundsAndAlignment) {
  expectNone(runSized(16, "16", 256 - 16).report);
  expectOnly(runSized(16, "4", 256).report, Kind::OutOfBounds);
  expectOnly(runSized(16, "4", -16).report, Kind::OutOfBounds);
  expectOnly(runSized(16, "16", 8).report, Kind::Misaligned);
  expectOnly(runSized(16, "16", 0, 8).report, Kind::Misaligned);
  expectOnly(runSized(16, "16", 0, 4 * 64 * 4).report, Kind::OutOfBounds);
  expectOnly(runSized(8, "16", 0).report, Kind::BadOperand);
}
