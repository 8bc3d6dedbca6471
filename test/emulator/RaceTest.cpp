//===- RaceTest.cpp - accesses that nothing orders -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Kernels.h"

using namespace convjit::emulator;

using Kind = FindingKind;

static const char *const barrier =
    "  call void @llvm.nvvm.barrier.cta.sync.aligned.all(i32 0)\n";
static const char *const warpSync =
    "  call void @llvm.nvvm.bar.warp.sync(i32 -1)\n";
static const char *const sharedArray =
    "@s = internal addrspace(3) global [64 x i32] undef, align 4\n";

/// s[i] = 0; barrier; s[i] = i; BETWEEN; y[i] = s[i xor OTHER]; AFTER; s[i] = 7
static std::string exchange(const std::string &between, int other,
                            const std::string &after) {
  return kernel(sharedArray, R"(
  %ps = getelementptr i32, ptr addrspace(3) @s, i64 %i
  store i32 0, ptr addrspace(3) %ps
  call void @llvm.nvvm.barrier.cta.sync.aligned.all(i32 0)
  store i32 %tid, ptr addrspace(3) %ps
)" + between + R"(
  %j = xor i64 %i, )" + std::to_string(other) +
                                 R"(
  %qs = getelementptr i32, ptr addrspace(3) @s, i64 %j
  %v = load i32, ptr addrspace(3) %qs
  %py = getelementptr i32, ptr %y, i64 %i
  store i32 %v, ptr %py
)" + after + R"(
  store i32 7, ptr addrspace(3) %ps
)");
}

TEST(SharedRace, AReadAfterAWrite) {
  expectNone(runKernel(exchange(barrier, 1, barrier)).report);
  expectOnly(runKernel(exchange("", 1, barrier)).report, Kind::SharedRace);
}

TEST(SharedRace, AWriteAfterARead) {
  Ran ran = runKernel(exchange(barrier, 33, ""));
  expectOnly(ran.report, Kind::SharedRace);
  EXPECT_NE(ran.report.text().find("a write of byte"), std::string::npos)
      << ran.report.text();
}

TEST(SharedRace, AThreadDoesNotRaceWithItself) {
  expectNone(runKernel(exchange("", 0, "")).report);
}

TEST(SharedRace, AWarpsSynchronizationOrdersItsLanes) {
  expectNone(runKernel(exchange(warpSync, 1, warpSync)).report);
  expectNone(runKernel(exchange(warpSync, 31, warpSync)).report);
  // It does not order other warps, and a shuffle orders nothing.
  expectOnly(runKernel(exchange(warpSync, 32, warpSync)).report,
             Kind::SharedRace);
  expectOnly(runKernel(exchange("  %z = call i32 @llvm.nvvm.shfl.sync.idx.i32("
                                "i32 -1, i32 0, i32 0, i32 31)\n",
                                1, barrier))
                 .report,
             Kind::SharedRace);
}

TEST(SharedRace, ASynchronizationOfAPartOfTheWarp) {
  // Lanes 0 to 15 and 16 to 31 apart.
  const char *halves = R"(
  %half = and i32 %tid, 16
  %mask = shl i32 65535, %half
  call void @llvm.nvvm.bar.warp.sync(i32 %mask)
)";
  std::string again = halves;
  for (size_t at; (at = again.find("%half")) != std::string::npos;)
    again.replace(at, 5, "%hal2");
  for (size_t at; (at = again.find("%mask")) != std::string::npos;)
    again.replace(at, 5, "%mas2");
  expectNone(runKernel(exchange(halves, 15, again)).report);
  expectOnly(runKernel(exchange(halves, 16, again)).report, Kind::SharedRace);
}

TEST(SharedRace, ABarrierOfAPartOfTheBlock) {
  // Warps of 128 threads in pairs: 0 with 1, 2 with 3.
  auto text = [](int other) {
    return kernel(
        "@s = internal addrspace(3) global [128 x i32] undef\n", R"(
  %pair = lshr i32 %tid, 6
  %id = add i32 %pair, 1
  %ps = getelementptr i32, ptr addrspace(3) @s, i64 %i
  store i32 0, ptr addrspace(3) %ps
  call void @llvm.nvvm.barrier.cta.sync.aligned.all(i32 0)
  store i32 %tid, ptr addrspace(3) %ps
  call void @llvm.nvvm.barrier.cta.sync.aligned.count(i32 %id, i32 64)
  %j = xor i64 %i, )" + std::to_string(other) +
                                                                     R"(
  %qs = getelementptr i32, ptr addrspace(3) @s, i64 %j
  %v = load i32, ptr addrspace(3) %qs
  %use = icmp eq i32 %v, 1000
  br i1 %use, label %never, label %end
never:
  store i32 0, ptr %y
  br label %end
end:
)");
  };
  expectNone(runKernel(text(63), launchOf(128)).report);
  expectOnly(runKernel(text(64), launchOf(128)).report, Kind::SharedRace);
}

TEST(SharedRace, AProducerThatOnlyArrives) {
  // The first warp writes and goes on, the second one waits and reads.
  auto text = [](const char *arrive) {
    return kernel(sharedArray, std::string(R"(
  %produces = icmp ult i32 %tid, 32
  %lane = and i64 %i, 31
  %ps = getelementptr i32, ptr addrspace(3) @s, i64 %lane
  br i1 %produces, label %produce, label %consume
produce:
)") + arrive + R"(
  br label %end
consume:
  call void @llvm.nvvm.barrier.cta.sync.aligned.count(i32 3, i32 64)
  %v = load i32, ptr addrspace(3) %ps
  %py = getelementptr i32, ptr %y, i64 %i
  store i32 %v, ptr %py
  br label %end
end:
)");
  };
  const char *right = R"(
  store i32 %tid, ptr addrspace(3) %ps
  call void @llvm.nvvm.barrier.cta.arrive.aligned.count(i32 3, i32 64)
)";
  const char *wrong = R"(
  call void @llvm.nvvm.barrier.cta.arrive.aligned.count(i32 3, i32 64)
  store i32 %tid, ptr addrspace(3) %ps
)";
  expectNone(runKernel(text(right)).report);
  Ran ran = runKernel(text(wrong));
  EXPECT_GE(countOf(ran.report, Kind::SharedRace), 1) << ran.report.text();
}

TEST(SharedRace, TwoWriters) {
  auto text = [](const char *shift) {
    return kernel(sharedArray, std::string("  %j = lshr i64 %i, ") + shift + R"(
  %ps = getelementptr i32, ptr addrspace(3) @s, i64 %j
  store i32 %tid, ptr addrspace(3) %ps
)");
  };
  expectNone(runKernel(text("0")).report);
  expectOnly(runKernel(text("1")).report, Kind::SharedRace);
}

// Parts of one word belong to who writes them.
TEST(SharedRace, BytesOfAWord) {
  auto text = [](const char *type, int bytes, int step) {
    return kernel(sharedArray, R"(
  %at = mul i64 %i, )" + std::to_string(step) +
                                   R"(
  %ps = getelementptr i8, ptr addrspace(3) @s, i64 %at
  store )" + type + R"( 1, ptr addrspace(3) %ps, align )" +
                                   std::to_string(bytes) + "\n");
  };
  expectNone(runKernel(text("i16", 2, 2)).report);
  expectNone(runKernel(text("i8", 1, 1)).report);
  expectOnly(runKernel(text("i16", 1, 1)).report, Kind::SharedRace);
}

TEST(SharedRace, AtomicsDoNotRaceWithEachOther) {
  auto text = [](const char *more) {
    return kernel(sharedArray, std::string(R"(
  %zero = icmp eq i32 %tid, 0
  br i1 %zero, label %init, label %go
init:
  store i32 0, ptr addrspace(3) @s
  br label %go
go:
  call void @llvm.nvvm.barrier.cta.sync.aligned.all(i32 0)
  %old = atomicrmw add ptr addrspace(3) @s, i32 %tid monotonic
)") + more + R"(
  %v = load i32, ptr addrspace(3) @s
  %py = getelementptr i32, ptr %y, i64 %i
  store i32 %v, ptr %py
)");
  };
  Ran twin = runKernel(text(barrier));
  expectNone(twin.report);
  EXPECT_EQ(twin.y[5], 63 * 64 / 2);
  expectOnly(runKernel(text("")).report, Kind::SharedRace);
}

//===----------------------------------------------------------------------===//
// Global memory
//===----------------------------------------------------------------------===//

static Launch blocks(uint32_t count, uint32_t threads) {
  Launch launch = launchOf(threads);
  launch.grid = {count};
  return launch;
}

/// y[block * STRIDE + i] = i
static std::string outputs(int stride) {
  return kernel("", R"(
  %first = mul i32 %block, )" +
                        std::to_string(stride) +
                        R"(
  %at = add i32 %first, %tid
  %wide = zext i32 %at to i64
  %py = getelementptr i32, ptr %y, i64 %wide
  store i32 %tid, ptr %py
)");
}

TEST(GlobalRace, TwoBlocksWriteOneOutput) {
  expectNone(runKernel(outputs(16), blocks(4, 16)).report);
  Ran ran = runKernel(outputs(15), blocks(4, 16));
  expectOnly(ran.report, Kind::GlobalRace);
  EXPECT_NE(ran.report.text().find("of another block"), std::string::npos);
  EXPECT_EQ(ran.report.findings[0].count, 3u);
}

// A barrier orders a block's own accesses only.
TEST(GlobalRace, ABlockReadsWhatAnotherWrites) {
  auto text = [](int other) {
    return kernel("", R"(
  %first = mul i32 %block, 16
  %at = add i32 %first, %tid
  %wide = zext i32 %at to i64
  %py = getelementptr i32, ptr %y, i64 %wide
  store i32 %tid, ptr %py
  call void @llvm.nvvm.barrier.cta.sync.aligned.all(i32 0)
  %j = xor i64 %wide, )" + std::to_string(other) +
                          R"(
  %qy = getelementptr i32, ptr %y, i64 %j
  %v = load i32, ptr %qy
  call void @llvm.nvvm.barrier.cta.sync.aligned.all(i32 0)
  store i32 %v, ptr %py
)");
  };
  using Access = Buffer::Access;
  expectNone(runKernel(text(1), blocks(4, 16), Access::ReadWrite).report);
  expectOnly(runKernel(text(17), blocks(4, 16), Access::ReadWrite).report,
             Kind::GlobalRace);
}

TEST(GlobalRace, AtomicsAcrossBlocks) {
  std::string text = kernel("", R"(
  %old = atomicrmw add ptr %y, i32 1 monotonic
)");
  Ran ran = runKernel(text, blocks(4, 16), Buffer::Access::ReadWrite);
  expectNone(ran.report);
  EXPECT_EQ(ran.y[0], 63);
}

TEST(GlobalRace, WithinABlock) {
  auto text = [](const char *between) {
    return kernel("", std::string(R"(
  %py = getelementptr i32, ptr %y, i64 %i
  store i32 %tid, ptr %py
)") + between + R"(
  %j = xor i64 %i, 1
  %qy = getelementptr i32, ptr %y, i64 %j
  %v = load i32, ptr %qy
  %use = icmp eq i32 %v, 1000
  br i1 %use, label %never, label %end
never:
  store i32 0, ptr %py
  br label %end
end:
)");
  };
  using Access = Buffer::Access;
  expectNone(runKernel(text(barrier)).report);
  expectOnly(runKernel(text(""), launchOf(64), Access::ReadWrite).report,
             Kind::GlobalRace);
}
