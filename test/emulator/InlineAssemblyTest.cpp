//===- InlineAssemblyTest.cpp - PTX as text -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Kernels.h"

using namespace convjit::emulator;

static const char *const store = R"(
  %py = getelementptr i32, ptr %y, i64 %i
  store i32 %v, ptr %py
)";

TEST(InlineAssembly, Conversions) {
  Ran ran = runKernel(kernel("", std::string(R"(
  %f = uitofp i32 %tid to float
  %g = fmul float %f, 0x3FF0008000000000
  %v = call i32 asm "cvt.rna.tf32.f32 $0, $1;", "=r,f"(float %g)
)") + store));
  expectNone(ran.report);
  EXPECT_EQ(ran.y[1], 0x3f800000); // 1 + 2^-17
  ran = runKernel(kernel("", std::string(R"(
  %f = uitofp i32 %tid to float
  %v = call i32 asm "cvt.rn.f16x2.f32 $0, $1, $2;", "=r,f,f"(float 1.0, float %f)
)") + store));
  EXPECT_EQ(ran.y[2], 0x3c004000); // 1 above, 2 below
}

TEST(InlineAssembly, AMatrixProduct) {
  Ran ran = runKernel(kernel("", std::string(R"(
  %one = icmp eq i32 %tid, 5
  %a = select i1 %one, i32 1065353216, i32 0
  %r = call { float, float, float, float } asm sideeffect "mma.sync.aligned.m16n8k4.row.col.f32.tf32.tf32.f32 {$0,$1,$2,$3}, {$4,$5}, {$6}, {$7,$8,$9,$10};", "=f,=f,=f,=f,r,r,r,f,f,f,f"(i32 %a, i32 0, i32 1073741824, float 0.0, float 0.0, float 0.0, float 3.0)
  %d = extractvalue { float, float, float, float } %r, 0
  %v = fptosi float %d to i32
)") + store),
                      launchOf(32));
  expectNone(ran.report);
  // Lane 5 is row 1, and row 1 of the result is in lanes 4 to 7.
  for (int lane = 0; lane < 32; ++lane)
    EXPECT_EQ(ran.y[lane], lane / 4 == 1 ? 2 : 0) << lane;
}

static std::string copies(const char *predicate, const char *wait) {
  return kernel(
      "@s = internal addrspace(3) global [64 x i32] undef, align 16\n",
      std::string(R"(
  %px = getelementptr i32, ptr %x, i64 %i
  %gx = addrspacecast ptr %px to ptr addrspace(1)
  %ps = getelementptr i32, ptr addrspace(3) @s, i64 %i
  store i32 17, ptr addrspace(3) %ps
  %p = icmp ult i32 %tid, 10
  call void asm sideeffect ")") +
          predicate +
          R"( cp.async.ca.shared.global [$0], [$1], 4;", "r,l,b"(ptr addrspace(3) %ps, ptr addrspace(1) %gx, i1 %p)
  call void asm sideeffect "cp.async.commit_group;", ""()
)" + wait +
          R"(
  %v = load i32, ptr addrspace(3) %ps
)" + store);
}

TEST(InlineAssembly, AsynchronousCopiesUnderAPredicate) {
  const char *wait =
      "  call void asm sideeffect \"cp.async.wait_group 0;\", \"\"()\n";
  Ran ran = runKernel(copies("@$2", wait));
  expectNone(ran.report);
  EXPECT_EQ(ran.y[9], 81);
  EXPECT_EQ(ran.y[10], 17);
  ran = runKernel(copies("@!$2", wait));
  expectNone(ran.report);
  EXPECT_EQ(ran.y[9], 17);
  EXPECT_EQ(ran.y[10], 100);
  expectOnly(runKernel(copies("@$2", "")).report, FindingKind::AsyncPending);
}

TEST(InlineAssembly, LoadsOfMatricesAndBarriers) {
  Ran ran = runKernel(
      kernel("@s = internal addrspace(3) global [64 x i32] undef, align 16\n",
             std::string(R"(
  %ps = getelementptr i32, ptr addrspace(3) @s, i64 %i
  store i32 %tid, ptr addrspace(3) %ps
  call void asm sideeffect "bar.sync 0;", "~{memory}"()
  %r = mul i64 %i, 4
  %at = and i64 %r, 31
  %row = getelementptr i32, ptr addrspace(3) @s, i64 %at
  %v = call i32 asm sideeffect "ldmatrix.sync.aligned.m8n8.x1.shared.b16 {$0}, [$1];", "=r,r"(ptr addrspace(3) %row)
)") + store),
      launchOf(32));
  expectNone(ran.report);
  for (int lane = 0; lane < 32; ++lane)
    EXPECT_EQ(ran.y[lane], lane);
}

TEST(InlineAssembly, WhatIsNotModelledIsAnError) {
  llvm::LLVMContext context;
  llvm::SMDiagnostic diagnostic;
  auto errorOf = [&](const std::string &body) {
    auto module =
        llvm::parseAssemblyString(kernel("", body), diagnostic, context);
    EXPECT_TRUE(module) << diagnostic.getMessage().str();
    auto program = Program::compile(*module);
    EXPECT_FALSE(program);
    return program ? "" : program.error().message;
  };
  EXPECT_EQ(errorOf("  call void asm sideeffect \"trap;\", \"\"()\n"),
            "the emulator does not model the inline assembly \"trap;\", in k");
  EXPECT_EQ(errorOf("  %c = call i32 @llvm.nvvm.read.ptx.sreg.pm0()\n"),
            "the emulator does not model the intrinsic "
            "llvm.nvvm.read.ptx.sreg.pm0, in k");
}
