//===- MeasureTest.cpp - bank conflicts, sectors, counts -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Measure.h"
#include "Testing.h"

#include <functional>

using namespace convjit::emulator;

//===----------------------------------------------------------------------===//
// Costs of one request, from patterns whose cost is known
//===----------------------------------------------------------------------===//

static RequestCost costOf(bool shared, uint32_t bytes,
                          const std::function<uintptr_t(int)> &address,
                          uint32_t mask = ~uint32_t(0)) {
  std::array<uintptr_t, 32> addresses;
  for (int lane = 0; lane < 32; ++lane)
    addresses[lane] = 0x10000 + address(lane);
  std::span<const uintptr_t, 32> all = addresses;
  return shared ? sharedCost(all, mask, bytes) : globalCost(all, mask, bytes);
}

static void expectCost(RequestCost got, uint64_t cost, uint64_t ideal) {
  EXPECT_EQ(got.cost, cost);
  EXPECT_EQ(got.ideal, ideal);
}

TEST(SharedCost, OfWords) {
  expectCost(costOf(true, 4, [](int l) { return l * 4; }), 1, 1);
  expectCost(costOf(true, 4, [](int) { return 0; }), 1, 1); // one word for all
  expectCost(costOf(true, 4, [](int l) { return (31 - l) * 4; }), 1, 1);
  // A stride of 2^k words: 2^k lanes at a bank.
  for (int k = 1; k <= 5; ++k)
    expectCost(costOf(true, 4, [&](int l) { return l * 4 << k; }), 1 << k, 1);
  expectCost(costOf(true, 4, [](int l) { return l * 33 * 4; }), 1, 1); // padded
  expectCost(costOf(true, 4, [](int l) { return l * 128; }, 0xff), 8, 1);
  expectCost(costOf(true, 2, [](int l) { return l * 2; }), 1, 1);
}

TEST(SharedCost, OfVectors) {
  // Eight bytes by half warps, sixteen by quarters.
  expectCost(costOf(true, 8, [](int l) { return l * 8; }), 2, 2);
  expectCost(costOf(true, 16, [](int l) { return l * 16; }), 4, 4);
  // Rows of 64 bytes: four lanes' rows are all banks, so eight need two passes.
  expectCost(costOf(true, 16, [](int l) { return l * 64; }), 4 * 4, 4);
  expectCost(costOf(true, 16, [](int l) { return l * 128; }), 4 * 8, 4);
  // ... and with the 16-byte pieces of a row swapped by its number, one.
  expectCost(costOf(true, 16, [](int l) { return l * 128 + (l % 8) * 16; }), 4,
             4);
}

TEST(GlobalCost, CountsSectors) {
  expectCost(costOf(false, 4, [](int l) { return l * 4; }), 4, 4);
  expectCost(costOf(false, 16, [](int l) { return l * 16; }), 16, 16);
  expectCost(costOf(false, 4, [](int) { return 8; }), 1, 1);
  expectCost(costOf(false, 4, [](int l) { return l * 4 + 4; }), 5, 4);
  expectCost(costOf(false, 4, [](int l) { return l * 32; }), 32, 4);
  expectCost(costOf(false, 4, [](int l) { return l * 1000; }, 3), 2, 1);
}

//===----------------------------------------------------------------------===//
// Whole kernels
//===----------------------------------------------------------------------===//

// Each thread walks down a column of a shared matrix whose rows are ROW
// numbers.
static std::string columns(int row) {
  return "@s = internal addrspace(3) global [4096 x float] undef, align 16\n"
         R"(
define ptx_kernel void @k(ptr addrspace(1) %x, ptr addrspace(1) %y) {
entry:
  %tid = call i32 @llvm.nvvm.read.ptx.sreg.tid.x()
  %i = zext i32 %tid to i64
  br label %fill
fill:
  %f = phi i64 [ %i, %entry ], [ %f1, %fill ]
  %pf = getelementptr float, ptr addrspace(3) @s, i64 %f
  store float 2.0, ptr addrspace(3) %pf
  %f1 = add i64 %f, 64
  %filling = icmp ult i64 %f1, 4096
  br i1 %filling, label %fill, label %full
full:
  call void @llvm.nvvm.barrier.cta.sync.aligned.all(i32 0)
  %start = mul i64 %i, )" +
         std::to_string(row) + R"(
  br label %loop
loop:
  %n = phi i64 [ 0, %full ], [ %n1, %loop ]
  %sum = phi float [ 0.0, %full ], [ %next, %loop ]
  %at = add i64 %start, %n
  %ps = getelementptr float, ptr addrspace(3) @s, i64 %at
  %v = load float, ptr addrspace(3) %ps
  %next = fadd float %sum, %v
  %n1 = add i64 %n, 1
  %more = icmp ult i64 %n1, 10
  br i1 %more, label %loop, label %end
end:
  %py = getelementptr float, ptr addrspace(1) %y, i64 %i
  store float %next, ptr addrspace(1) %py
  ret void
}
)";
}

static Report measure(const std::string &text, uint64_t seed = 0) {
  auto program = compileText(text, /*measure=*/true);
  if (!program)
    return {};
  std::vector<float> x(64, 1), y(64);
  Launch launch;
  launch.entry = "k";
  launch.block = {64};
  launch.grid = {1};
  launch.seed = seed;
  launch.buffers = {bufferOf(x, Buffer::Access::Read, "x"),
                    bufferOf(y, Buffer::Access::Write, "y")};
  launch.arguments = {Pointer{0}, Pointer{1}};
  Report report = run(*program, launch);
  EXPECT_EQ(report.text(), "");
  return report;
}

static const Profile *profileOf(const Report &report, const std::string &kind) {
  for (const Profile &profile : report.profiles)
    if (profile.kind == kind)
      return &profile;
  ADD_FAILURE() << "nothing of kind " << kind;
  return nullptr;
}

TEST(Measure, ConflictsOfEachInstruction) {
  for (uint64_t seed : {0, 5})
    for (auto [row, perRequest] : {std::pair(32, 32), std::pair(33, 1)}) {
      Report report = measure(columns(row), seed);
      const Profile *load = profileOf(report, "ld.shared");
      ASSERT_TRUE(load);
      EXPECT_EQ(load->threads, 640u);
      EXPECT_EQ(load->requests, 20u); // 10 of each of two warps
      EXPECT_EQ(load->bytes, 2560u);
      EXPECT_EQ(load->wavefronts, 20u * perRequest);
      EXPECT_EQ(load->idealWavefronts, 20u);
      EXPECT_NE(load->instruction.find("load float"), std::string::npos);
      EXPECT_EQ(load->loopDepth, 1u);
      const Profile *store = profileOf(report, "st.shared");
      ASSERT_TRUE(store);
      EXPECT_EQ(store->requests, 128u);
      EXPECT_EQ(store->wavefronts, 128u);
      const Profile *output = profileOf(report, "st.global");
      ASSERT_TRUE(output);
      EXPECT_EQ(output->sectors, 8u);
      EXPECT_EQ(output->idealSectors, 8u);
      EXPECT_EQ(report.executed("fadd"), 640u);
      EXPECT_EQ(report.executed("ret"), 64u);
      const BlockProfile *body = nullptr;
      for (const BlockProfile &block : report.basicBlocks)
        if (block.label == "%loop")
          body = &block;
      ASSERT_TRUE(body);
      EXPECT_EQ(body->threads, 640u);
      EXPECT_EQ(body->loopDepth, 1u);
      EXPECT_EQ(body->opcodes.at("phi"), 2u);
    }
}

// Four aligned bytes at a time are four instructions, sixteen are one.
TEST(Measure, VectorsThatAreNotAligned) {
  for (int align : {4, 8, 16}) {
    Report report = measure(R"(
define ptx_kernel void @k(ptr %x, ptr addrspace(1) %y) {
  %tid = call i32 @llvm.nvvm.read.ptx.sreg.tid.x()
  %w = and i32 %tid, 15
  %at = shl i32 %w, 2
  %px = getelementptr float, ptr %x, i32 %at
  %v = load <4 x float>, ptr %px, align )" +
                            std::to_string(align) + R"(
  %a = extractelement <4 x float> %v, i32 2
  %py = getelementptr float, ptr addrspace(1) %y, i32 %tid
  store float %a, ptr addrspace(1) %py
  ret void
}
)");
    const Profile *load = profileOf(report, "ld.generic");
    ASSERT_TRUE(load);
    EXPECT_EQ(load->requests, 2u * (16 / align));
    EXPECT_EQ(load->bytes, 64u * 16);
  }
}

TEST(Measure, TwoLaunchesDoNotAddUp) {
  auto program = compileText(columns(32), true);
  ASSERT_TRUE(program);
  std::vector<float> x(64, 1), y(64);
  Launch launch;
  launch.entry = "k";
  launch.block = {64};
  launch.grid = {3};
  launch.maxBlocks = 1;
  launch.buffers = {bufferOf(x, Buffer::Access::Read, "x"),
                    bufferOf(y, Buffer::Access::Write, "y")};
  launch.arguments = {Pointer{0}, Pointer{1}};
  for (int i = 0; i < 2; ++i) {
    Report report = run(*program, launch);
    EXPECT_EQ(report.blocks, 1u);
    EXPECT_EQ(report.executed("ret"), 64u);
    EXPECT_EQ(profileOf(report, "ld.shared")->threads, 640u);
  }
}
