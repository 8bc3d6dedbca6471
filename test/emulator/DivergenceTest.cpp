//===- DivergenceTest.cpp - threads that do not come together -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Kernels.h"

using namespace convjit::emulator;

using Kind = FindingKind;

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
