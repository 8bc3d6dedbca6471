//===- BasicTest.cpp - kernels without mistakes -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Testing.h"

using namespace convjit::emulator;

using Access = Buffer::Access;

// y[i] = i * 1000 + block * 10 + size
static const char *const places = R"(
declare i32 @llvm.nvvm.read.ptx.sreg.tid.x()
declare i32 @llvm.nvvm.read.ptx.sreg.ctaid.x()
declare i32 @llvm.nvvm.read.ptx.sreg.ntid.x()
define ptx_kernel void @k(ptr addrspace(1) %y, i32 %scale) {
  %tid = call i32 @llvm.nvvm.read.ptx.sreg.tid.x()
  %block = call i32 @llvm.nvvm.read.ptx.sreg.ctaid.x()
  %size = call i32 @llvm.nvvm.read.ptx.sreg.ntid.x()
  %first = mul i32 %block, %size
  %i = add i32 %first, %tid
  %a = mul i32 %tid, %scale
  %b = mul i32 %block, 10
  %c = add i32 %a, %b
  %d = add i32 %c, %size
  %wide = zext i32 %i to i64
  %p = getelementptr i32, ptr addrspace(1) %y, i64 %wide
  store i32 %d, ptr addrspace(1) %p
  ret void
}
)";

TEST(Emulator, ThreadsKnowTheirPlace) {
  auto program = compileText(places);
  ASSERT_TRUE(program);
  for (uint64_t seed : {0, 1, 2}) {
    std::vector<int32_t> y(5 * 40, -1);
    Launch launch;
    launch.entry = "k";
    launch.grid = {5};
    launch.block = {40};
    launch.buffers = {bufferOf(y, Access::Write, "y")};
    launch.arguments = {Pointer{0}, int64_t(1000)};
    launch.seed = seed;
    Report report = run(*program, launch);
    EXPECT_EQ(report.text(), "");
    EXPECT_EQ(report.blocks, 5u);
    EXPECT_EQ(report.threads, 200u);
    for (int i = 0; i < 200; ++i)
      EXPECT_EQ(y[i], i % 40 * 1000 + i / 40 * 10 + 40) << i;
  }
}

// Reverses 64 numbers through shared memory, static or dynamic.
static std::string reverse(bool dynamic, bool barrier) {
  std::string shared =
      dynamic
          ? "@s = external addrspace(3) global [0 x i32], align 16\n"
          : "@s = internal addrspace(3) global [64 x i32] undef, align 16\n";
  return shared + R"(
declare i32 @llvm.nvvm.read.ptx.sreg.tid.x()
declare void @llvm.nvvm.barrier.cta.sync.aligned.all(i32)
define ptx_kernel void @k(ptr %x, ptr %y) {
  %tid = call i32 @llvm.nvvm.read.ptx.sreg.tid.x()
  %i = zext i32 %tid to i64
  %px = getelementptr i32, ptr %x, i64 %i
  %v = load i32, ptr %px
  %ps = getelementptr i32, ptr addrspace(3) @s, i64 %i
  store i32 %v, ptr addrspace(3) %ps
)" +
         (barrier
              ? "  call void @llvm.nvvm.barrier.cta.sync.aligned.all(i32 0)\n"
              : "") +
         R"(
  %j = sub i64 63, %i
  %qs = getelementptr i32, ptr addrspace(3) @s, i64 %j
  %w = load i32, ptr addrspace(3) %qs
  %py = getelementptr i32, ptr %y, i64 %i
  store i32 %w, ptr %py
  ret void
}
)";
}

static Report runReverse(Program &program, size_t dynamicBytes, uint64_t seed,
                         bool check) {
  std::vector<int32_t> x(64), y(64);
  for (int i = 0; i < 64; ++i)
    x[i] = i * i;
  Launch launch;
  launch.entry = "k";
  launch.block = {64};
  launch.dynamicSharedBytes = dynamicBytes;
  launch.buffers = {bufferOf(x, Access::Read, "x"),
                    bufferOf(y, Access::Write, "y")};
  launch.arguments = {Pointer{0}, Pointer{1}};
  launch.seed = seed;
  Report report = run(program, launch);
  for (int i = 0; check && i < 64; ++i)
    EXPECT_EQ(y[i], (63 - i) * (63 - i));
  return report;
}

TEST(Emulator, SharedMemoryAndBarriers) {
  for (bool dynamic : {false, true}) {
    auto program = compileText(reverse(dynamic, true));
    ASSERT_TRUE(program);
    for (uint64_t seed = 0; seed < 4; ++seed)
      EXPECT_EQ(runReverse(*program, dynamic ? 256 : 0, seed, true).text(), "");
  }
}

TEST(Emulator, AMissingBarrierIsARace) {
  auto program = compileText(reverse(false, false));
  ASSERT_TRUE(program);
  for (uint64_t seed = 0; seed < 4; ++seed) {
    Report report = runReverse(*program, 0, seed, false);
    EXPECT_GE(countOf(report, FindingKind::SharedRace), 1) << report.text();
  }
}

TEST(Emulator, DynamicMemoryThatIsTooSmall) {
  auto program = compileText(reverse(true, true));
  ASSERT_TRUE(program);
  Report report = runReverse(*program, 252, 0, false);
  EXPECT_EQ(countOf(report, FindingKind::OutOfBounds), 2) << report.text();
}
