//===- Speed.cpp - how fast the emulator is -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Prints, for kernels of a kind, what one step of a thread costs:
// convjit-emulator-speed [--measure]. docs/emulator.md quotes it.
//
//===----------------------------------------------------------------------===//

#include "Emulator.h"

#include "llvm/AsmParser/Parser.h"
#include "llvm/IR/LLVMContext.h"
#include "llvm/IR/Module.h"
#include "llvm/Support/SourceMgr.h"

#include <chrono>
#include <cstdio>
#include <cstring>

using namespace convjit;
using namespace convjit::emulator;

namespace {

/// A loop of `steps` around a body that computes %next from %sum.
std::string loop(int steps, const std::string &before,
                 const std::string &body) {
  return R"(
target triple = "nvptx64-nvidia-cuda"
@s = internal addrspace(3) global [1024 x float] undef, align 16
define ptx_kernel void @k(ptr %x, ptr %y) {
entry:
  %tid = call i32 @llvm.nvvm.read.ptx.sreg.tid.x()
  %i = zext i32 %tid to i64
  %px = getelementptr float, ptr %x, i64 %i
  %py = getelementptr float, ptr %y, i64 %i
  %ps = getelementptr float, ptr addrspace(3) @s, i64 %i
  store float 1.0, ptr addrspace(3) %ps
)" + before +
         R"(
  br label %loop
loop:
  %n = phi i32 [ 0, %entry ], [ %n1, %loop ]
  %sum = phi float [ 0.0, %entry ], [ %next, %loop ]
)" + body +
         R"(
  %n1 = add i32 %n, 1
  %more = icmp ult i32 %n1, )" +
         std::to_string(steps) + R"(
  br i1 %more, label %loop, label %end
end:
  store float %next, ptr %py
  ret void
}
)";
}

void time(const char *name, const std::string &text, int steps, bool measure) {
  llvm::LLVMContext context;
  llvm::SMDiagnostic diagnostic;
  auto module = llvm::parseAssemblyString(text, diagnostic, context);
  if (!module) {
    std::fprintf(stderr, "%s: %s\n", name,
                 diagnostic.getMessage().str().c_str());
    return;
  }
  using Clock = std::chrono::steady_clock;
  auto since = [](Clock::time_point start) {
    return std::chrono::duration<double>(Clock::now() - start).count();
  };
  auto start = Clock::now();
  Expected<Program> program = Program::compile(*module, {measure});
  if (!program) {
    std::fprintf(stderr, "%s: %s\n", name, program.error().message.c_str());
    return;
  }
  double compile = since(start);
  std::vector<float> x(4096, 1), y(256);
  Launch launch;
  launch.entry = "k";
  launch.block = {256};
  launch.grid = {1};
  launch.seed = 3;
  launch.buffers = {{x.data(), x.size() * 4, Buffer::Access::Read, "x"},
                    {y.data(), y.size() * 4, Buffer::Access::ReadWrite, "y"}};
  launch.arguments = {Pointer{0}, Pointer{1}};
  double best = 1e9;
  for (int i = 0; i < 5; ++i) {
    start = Clock::now();
    Expected<Report> report = program->launch(launch);
    best = std::min(best, since(start));
    if (!report || !report->findings.empty()) {
      std::fprintf(stderr, "%s: %s\n", name,
                   report ? report->text().c_str()
                          : report.error().message.c_str());
      return;
    }
  }
  std::printf("%-34s %8.1f ns a thread and step, %6.1f ms to compile\n", name,
              best * 1e9 / 256 / steps, compile * 1e3);
}

} // namespace

int main(int argc, char **argv) {
  bool measure = argc > 1 && !std::strcmp(argv[1], "--measure");
  time("global load, FMA", loop(4000, "", R"(
  %v = load float, ptr %px
  %next = call float @llvm.fma.f32(float %v, float 1.0, float %sum)
)"),
       4000, measure);
  time("shared load, FMA", loop(4000, "", R"(
  %v = load float, ptr addrspace(3) %ps
  %next = call float @llvm.fma.f32(float %v, float 1.0, float %sum)
)"),
       4000, measure);
  time("shared load of 16 bytes",
       loop(2000, R"(
  %w = and i64 %i, 252
  %pw = getelementptr float, ptr addrspace(3) @s, i64 %w
  call void @llvm.nvvm.barrier.cta.sync.aligned.all(i32 0)
)",
            R"(
  %v = load <4 x float>, ptr addrspace(3) %pw, align 16
  %next = extractelement <4 x float> %v, i32 1
)"),
       2000, measure);
  time("global store", loop(2000, "", R"(
  store float %sum, ptr %py
  %next = fadd float %sum, 1.0
)"),
       2000, measure);
  time("barrier", loop(2000, "", R"(
  call void @llvm.nvvm.barrier.cta.sync.aligned.all(i32 0)
  %next = fadd float %sum, 1.0
)"),
       2000, measure);
  time("shuffle", loop(2000, "", R"(
  %next = call float @llvm.nvvm.shfl.sync.bfly.f32(i32 -1, float %sum, i32 1, i32 31)
)"),
       2000, measure);
  time("mma.m16n8k16 of f16", loop(1000, "", R"(
  %m = call { float, float, float, float } @llvm.nvvm.mma.m16n8k16.row.col.f32.f32(<2 x half> zeroinitializer, <2 x half> zeroinitializer, <2 x half> zeroinitializer, <2 x half> zeroinitializer, <2 x half> zeroinitializer, <2 x half> zeroinitializer, float %sum, float %sum, float %sum, float %sum)
  %next = extractvalue { float, float, float, float } %m, 0
)"),
       1000, measure);
  time("ldmatrix.x4",
       loop(1000, R"(
  %w = and i64 %i, 31
  %w4 = shl i64 %w, 2
  %row = getelementptr float, ptr addrspace(3) @s, i64 %w4
  call void @llvm.nvvm.barrier.cta.sync.aligned.all(i32 0)
)",
            R"(
  %m = call { i32, i32, i32, i32 } @llvm.nvvm.ldmatrix.sync.aligned.m8n8.x4.b16.p3(ptr addrspace(3) %row)
  %next = fadd float %sum, 1.0
)"),
       1000, measure);
  time("cp.async of 16 bytes, wait",
       loop(1000, R"(
  %w4 = and i64 %i, 1020
  %g = addrspacecast ptr %x to ptr addrspace(1)
  %i16 = shl i64 %i, 2
  %to = getelementptr float, ptr addrspace(3) @s, i64 %i16
  call void @llvm.nvvm.barrier.cta.sync.aligned.all(i32 0)
)",
            R"(
  call void @llvm.nvvm.cp.async.cg.shared.global.16(ptr addrspace(3) %to, ptr addrspace(1) %g)
  call void @llvm.nvvm.cp.async.commit.group()
  call void @llvm.nvvm.cp.async.wait.group(i32 0)
  %next = fadd float %sum, 1.0
)"),
       1000, measure);
  time("one step, so a launch / 256", loop(1, "", R"(
  %next = fadd float %sum, 1.0
)"),
       1, measure);
  return 0;
}
