//===- FindingsTest.cpp - kernels broken on purpose -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Each mistake is in one kernel, next to a twin that differs in that alone and
// has to run without a finding. RaceTest.cpp has what is about order.
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
// Barriers
//===----------------------------------------------------------------------===//

TEST(DivergentBarrier, AThreadThatHasEnded) {
  auto text = [](int staying) {
    return kernel("", R"(
  %stays = icmp ult i32 %tid, )" +
                          std::to_string(staying) +
                          R"(
  br i1 %stays, label %stay, label %leave
leave:
  ret void
stay:
  call void @llvm.nvvm.barrier.cta.sync.aligned.all(i32 0)
)");
  };
  expectNone(runKernel(text(64)).report);
  expectOnly(runKernel(text(63)).report, Kind::DivergentBarrier);
  expectOnly(runKernel(text(32)).report, Kind::DivergentBarrier);
}

static std::string branches(const char *left, const char *right, int limit) {
  return kernel("", R"(
  %goes = icmp ult i32 %tid, )" +
                        std::to_string(limit) +
                        R"(
  br i1 %goes, label %left, label %right
left:
)" + left + R"(
  br label %join
right:
)" + right + R"(
  br label %join
join:
)");
}

TEST(DivergentBarrier, AtDifferentInstructions) {
  const char *barrier =
      "  call void @llvm.nvvm.barrier.cta.sync.aligned.all(i32 0)\n";
  expectOnly(runKernel(branches(barrier, barrier, 20)).report,
             Kind::DivergentBarrier);
  // Whole warps apart, which PTX allows and CUDA's __syncthreads does not.
  expectOnly(runKernel(branches(barrier, barrier, 32)).report,
             Kind::DivergentBarrier);
  expectNone(runKernel(branches(barrier, barrier, 64)).report);
  expectNone(runKernel(branches(barrier, barrier, 0)).report);
}

TEST(DivergentBarrier, ThatNeverCompletes) {
  const char *zero =
      "  call void @llvm.nvvm.barrier.cta.sync.aligned.all(i32 0)\n";
  const char *one =
      "  call void @llvm.nvvm.barrier.cta.sync.aligned.all(i32 1)\n";
  Ran ran = runKernel(branches(zero, one, 32));
  EXPECT_FALSE(ran.report.complete);
  EXPECT_GE(countOf(ran.report, Kind::DivergentBarrier), 1)
      << ran.report.text();
  expectNone(runKernel(branches(zero, one, 64)).report);
}

TEST(DivergentBarrier, OfAPartOfTheBlock) {
  const char *half =
      "  call void @llvm.nvvm.barrier.cta.sync.aligned.count(i32 1, i32 32)\n";
  // Each warp has a barrier of its own.
  const char *other =
      "  call void @llvm.nvvm.barrier.cta.sync.aligned.count(i32 2, i32 32)\n";
  expectNone(runKernel(branches(half, other, 32)).report);
  Ran broken = runKernel(branches(half, other, 31));
  EXPECT_FALSE(broken.report.complete);
}

// Two half warps are not a warp.
TEST(DivergentBarrier, OfLanesFromTwoWarps) {
  auto text = [](const char *condition) {
    return kernel("", std::string(condition) + R"(
  br i1 %goes, label %wait, label %end
wait:
  call void @llvm.nvvm.barrier.cta.sync.aligned.count(i32 1, i32 32)
  br label %end
end:
)");
  };
  expectNone(runKernel(text("  %goes = icmp ult i32 %tid, 32\n")).report);
  Ran broken = runKernel(text(R"(
  %lane = and i32 %tid, 31
  %goes = icmp ult i32 %lane, 16
)"));
  EXPECT_GE(countOf(broken.report, Kind::DivergentBarrier), 1)
      << broken.report.text();
}

//===----------------------------------------------------------------------===//
// Warps
//===----------------------------------------------------------------------===//

TEST(DivergentWarp, AShuffleThatNotAllLanesReach) {
  const char *shuffle = "  %s = call i32 @llvm.nvvm.shfl.sync.idx.i32(i32 -1, "
                        "i32 %tid, i32 0, i32 31)\n";
  Ran broken = runKernel(branches(shuffle,
                                  "  call void "
                                  "@llvm.nvvm.barrier.cta.sync."
                                  "aligned.all(i32 0)\n",
                                  40));
  EXPECT_FALSE(broken.report.complete);
  EXPECT_GE(countOf(broken.report, Kind::DivergentWarp), 1)
      << broken.report.text();
  expectNone(runKernel(branches(shuffle, "", 64)).report);
  // Lanes that have ended are not waited for.
  expectNone(
      runKernel(branches(shuffle, "  ret void\nunreached:\n", 40)).report);
}

TEST(DivergentWarp, AnMmaWithoutAllLanes) {
  const char *mma =
      "  %m = call { double, double } @llvm.nvvm.mma.m8n8k4.row.col.f64("
      "double 1.0, double 1.0, double 0.0, double 0.0)\n";
  expectNone(runKernel(branches(mma, "", 64)).report);
  expectOnly(runKernel(branches(mma, "  ret void\nunreached:\n", 40)).report,
             Kind::DivergentWarp);
  // Half a warp does not exist.
  Launch launch = launchOf(48);
  expectOnly(runKernel(branches(mma, "", 64), launch).report,
             Kind::DivergentWarp);
}

TEST(DivergentWarp, AShuffleFromALaneThatTakesNoPart) {
  const char *shuffle = "  %s = call i32 @llvm.nvvm.shfl.sync.idx.i32(i32 255, "
                        "i32 %tid, i32 9, i32 31)\n";
  expectOnly(runKernel(branches(shuffle, "", 8)).report, Kind::DivergentWarp);
  const char *inside = "  %s = call i32 @llvm.nvvm.shfl.sync.idx.i32(i32 255, "
                       "i32 %tid, i32 7, i32 31)\n";
  expectNone(runKernel(branches(inside, "", 8)).report);
}

TEST(BadOperand, AMaskWithoutTheLaneItself) {
  const char *vote =
      "  %s = call i1 @llvm.nvvm.vote.any.sync(i32 254, i1 true)\n";
  Ran ran = runKernel(branches(vote, "", 1));
  EXPECT_GE(countOf(ran.report, Kind::BadOperand), 1) << ran.report.text();
}

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
