//===- LaunchTest.cpp - launches, arguments, variables -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Kernels.h"

#include <cmath>

using namespace convjit::emulator;

using Access = Buffer::Access;

static std::string errorOf(Program &program, const Launch &launch) {
  auto report = program.launch(launch);
  return report ? "" : report.error().message;
}

TEST(Launch, IsRefusedAsADriverWould) {
  auto program = compileText(R"(
@s = external addrspace(3) global [0 x i8], align 16
@t = internal addrspace(3) global [256 x i32] undef
define ptx_kernel void @k(ptr %x, i32 %n, float %f) {
  store i32 0, ptr addrspace(3) @t
  ret void
}
define ptx_kernel void @exact() "nvvm.reqntid"="8,4,1" {
  ret void
}
)");
  ASSERT_TRUE(program);
  std::vector<int32_t> x(4);
  Launch good;
  good.entry = "k";
  good.buffers = {bufferOf(x, Access::Read, "x")};
  good.arguments = {Pointer{0}, int64_t(1), 2.0};
  EXPECT_EQ(errorOf(*program, good), "");
  Launch launch = good;
  launch.entry = "q";
  EXPECT_EQ(errorOf(*program, launch),
            "entry 'q': no such kernel; valid: k exact");
  launch = good;
  launch.block = {32, 33, 1};
  EXPECT_NE(errorOf(*program, launch), "");
  launch = good;
  launch.block = {1, 1, 65};
  EXPECT_NE(errorOf(*program, launch), "");
  launch = good;
  launch.grid = {1, 65536, 1};
  EXPECT_NE(errorOf(*program, launch), "");
  launch = good;
  launch.dynamicSharedBytes = 232448 - 1024;
  EXPECT_EQ(errorOf(*program, launch), "");
  launch.dynamicSharedBytes += 1;
  EXPECT_EQ(errorOf(*program, launch),
            "launch of k: shared memory of 232449 bytes; valid: up to 232448");
  launch = good;
  launch.arguments.pop_back();
  EXPECT_EQ(errorOf(*program, launch),
            "launch of k: 2 arguments; the kernel takes 3");
  launch = good;
  launch.arguments[1] = 1.5;
  EXPECT_EQ(errorOf(*program, launch),
            "launch of k: argument 1 has to be an integer");
  launch = good;
  launch.arguments[0] = Pointer{1};
  EXPECT_NE(errorOf(*program, launch), "");
  launch = good;
  launch.arguments[0] = int64_t(0);
  EXPECT_EQ(errorOf(*program, launch), "");
  launch = {};
  launch.entry = "exact";
  launch.block = {32};
  EXPECT_EQ(errorOf(*program, launch), "");
  launch.block = {16};
  EXPECT_NE(errorOf(*program, launch), "");
}

TEST(Launch, ArgumentsOfEachType) {
  auto program = compileText(R"(
define ptx_kernel void @k(ptr %y, i8 %a, i64 %b, half %h, float %f, double %d, i1 %p) {
  %aw = sext i8 %a to i64
  %ab = add i64 %aw, %b
  %s = sitofp i64 %ab to double
  %hd = fpext half %h to double
  %fd = fpext float %f to double
  %1 = fadd double %s, %hd
  %2 = fadd double %1, %fd
  %3 = fadd double %2, %d
  %4 = select i1 %p, double %3, double 0.0
  store double %4, ptr %y
  ret void
}
)");
  ASSERT_TRUE(program);
  std::vector<double> y(3);
  Launch launch;
  launch.entry = "k";
  launch.buffers = {bufferOf(y, Access::Write, "y")};
  launch.arguments = {Pointer{0, 8}, int64_t(-1), int64_t(1) << 40, 0.5,
                      0.25,          0.125,       int64_t(1)};
  EXPECT_EQ(run(*program, launch).text(), "");
  EXPECT_EQ(y[1], -1 + std::ldexp(1.0, 40) + 0.875);
}

// Tables and counters of the module; each launch starts anew.
TEST(Launch, VariablesOfTheModule) {
  auto program = compileText(R"(
@table = private addrspace(4) constant [3 x i32] [i32 7, i32 8, i32 9]
@plain = internal constant [3 x i32] [i32 1, i32 2, i32 3]
@count = internal addrspace(1) global i32 100
define ptx_kernel void @k(ptr %y, i64 %i) {
  %pt = getelementptr i32, ptr addrspace(4) @table, i64 %i
  %t = load i32, ptr addrspace(4) %pt
  %pp = getelementptr i32, ptr @plain, i64 %i
  %p = load i32, ptr %pp
  %old = atomicrmw add ptr addrspace(1) @count, i32 1 monotonic
  %a = mul i32 %t, 10
  %b = add i32 %a, %p
  %c = mul i32 %b, 1000
  %d = add i32 %c, %old
  store i32 %d, ptr %y
  ret void
}
)");
  ASSERT_TRUE(program);
  std::vector<int32_t> y(1);
  Launch launch;
  launch.entry = "k";
  launch.buffers = {bufferOf(y, Access::Write, "y")};
  for (int i = 0; i < 2; ++i) {
    launch.arguments = {Pointer{0}, int64_t(2)};
    EXPECT_EQ(run(*program, launch).text(), "");
    EXPECT_EQ(y[0], 93100);
  }
  launch.arguments = {Pointer{0}, int64_t(40)};
  Report report = run(*program, launch);
  EXPECT_EQ(countOf(report, FindingKind::OutOfBounds), 2) << report.text();
}

TEST(Launch, LocalVariablesAndFunctions) {
  Ran ran = runKernel(R"(
define internal i32 @fill(ptr %p, i32 %n) noinline {
  store i32 %n, ptr %p
  %q = getelementptr i32, ptr %p, i64 3
  store i32 5, ptr %q
  ret i32 %n
}
)" + kernel("", R"(
  %mine = alloca [4 x i32], align 16
  %own = alloca i32, addrspace(5)
  store i32 1000, ptr addrspace(5) %own
  %n = call i32 @fill(ptr %mine, i32 %tid)
  %a = load i32, ptr %mine
  %q = getelementptr i32, ptr %mine, i64 3
  %b = load i32, ptr %q
  %c = load i32, ptr addrspace(5) %own
  %ab = add i32 %a, %b
  %abc = add i32 %ab, %c
  %py = getelementptr i32, ptr %y, i64 %i
  store i32 %abc, ptr %py
)"));
  expectNone(ran.report);
  EXPECT_EQ(ran.y[3], 1008);
}

TEST(Launch, CopiesOfMemory) {
  const char *text = R"(
  %zero = icmp eq i32 %tid, 0
  br i1 %zero, label %copy, label %end
copy:
  call void @llvm.memcpy.p0.p0.i64(ptr %y, ptr %x, i64 BYTES, i1 false)
  call void @llvm.memset.p0.i64(ptr %y, i8 0, i64 4, i1 false)
  br label %end
end:
)";
  auto with = [&](const char *bytes) {
    std::string result = text;
    return kernel("", result.replace(result.find("BYTES"), 5, bytes));
  };
  Ran ran = runKernel(with("256"));
  expectNone(ran.report);
  EXPECT_EQ(ran.y[0], 0);
  EXPECT_EQ(ran.y[9], 81);
  expectOnly(runKernel(with("257")).report, FindingKind::OutOfBounds);
}

TEST(Launch, ErrorsOfTheModuleAreValues) {
  llvm::LLVMContext context;
  llvm::SMDiagnostic diagnostic;
  for (const char *body : {
           "  %f = load ptr, ptr %x\n  call void %f()\n",
           "  call void @printf()\n",
           "  %v = call <4 x i32> @llvm.masked.load.v4i32.p0(ptr %x, <4 x i1> "
           "zeroinitializer, <4 x i32> zeroinitializer)\n",
       }) {
    auto module = llvm::parseAssemblyString(
        kernel("declare void @printf()\n", body), diagnostic, context);
    ASSERT_TRUE(module) << diagnostic.getMessage().str();
    auto program = Program::compile(*module);
    ASSERT_FALSE(program) << body;
    EXPECT_NE(program.error().message.find("does not model"), std::string::npos)
        << program.error().message;
  }
}

// Findings say where the source is, if the module does.
TEST(Launch, PlacesOfInstructions) {
  auto program = compileText(R"(
define ptx_kernel void @k(ptr %y) !dbg !3 {
  %p = getelementptr i32, ptr %y, i64 5
  store i32 1, ptr %p, !dbg !6
  ret void
}
!llvm.module.flags = !{!0}
!llvm.dbg.cu = !{!1}
!0 = !{i32 2, !"Debug Info Version", i32 3}
!1 = distinct !DICompileUnit(language: DW_LANG_C, file: !2, emissionKind: FullDebug)
!2 = !DIFile(filename: "layer.mlir", directory: ".")
!3 = distinct !DISubprogram(name: "k", file: !2, line: 1, type: !4, unit: !1, spFlags: DISPFlagDefinition)
!4 = !DISubroutineType(types: !5)
!5 = !{}
!6 = !DILocation(line: 42, column: 3, scope: !3)
)");
  ASSERT_TRUE(program);
  std::vector<int32_t> y(5);
  Launch launch;
  launch.entry = "k";
  launch.buffers = {bufferOf(y, Access::Write, "y")};
  launch.arguments = {Pointer{0}};
  Report report = run(*program, launch);
  ASSERT_EQ(report.findings.size(), 1u);
  EXPECT_EQ(report.findings[0].place, "layer.mlir:42");
  EXPECT_EQ(report.text(),
            "out-of-bounds: 4 bytes at 0 bytes past the end of y (20 bytes); "
            "block (0,0,0), thread (0,0,0), at layer.mlir:42: store i32 1, ptr "
            "%p, align 4\n");
}
