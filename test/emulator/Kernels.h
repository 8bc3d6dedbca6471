//===- Kernels.h - small kernels with one thing in them -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef CONVJIT_TEST_EMULATOR_KERNELS_H
#define CONVJIT_TEST_EMULATOR_KERNELS_H

#include "Testing.h"

namespace convjit::emulator {

/// `k(ptr %x, ptr %y)` around a body that falls off its end, with %tid, %block,
/// and %i, the thread as i64.
inline std::string kernel(const std::string &globals, const std::string &body,
                          const std::string &space = "") {
  return globals + "define ptx_kernel void @k(ptr " + space + " %x, ptr " +
         space + R"( %y) {
  %tid = call i32 @llvm.nvvm.read.ptx.sreg.tid.x()
  %block = call i32 @llvm.nvvm.read.ptx.sreg.ctaid.x()
  %i = zext i32 %tid to i64
)" + body +
         "  ret void\n}\n";
}

/// One block of so many threads.
inline Launch launchOf(uint32_t threads) {
  Launch launch;
  launch.entry = "k";
  launch.block = {threads};
  return launch;
}

struct Ran {
  Report report;
  std::vector<int32_t> x, y;
};

/// Runs with x[i] = i * i, which is only read, and y all -1; 64 elements each.
/// Under three schedules, whose findings must be of the same kinds.
inline Ran runKernel(const std::string &text, Launch launch = launchOf(64),
                     Buffer::Access output = Buffer::Access::Write) {
  Ran first;
  auto program = compileText(text);
  if (!program)
    return first;
  for (uint64_t seed : {0, 1, 2}) {
    Ran ran;
    for (int i = 0; i < 64; ++i)
      ran.x.push_back(i * i);
    ran.y.assign(64, -1);
    launch.buffers = {bufferOf(ran.x, Buffer::Access::Read, "x"),
                      bufferOf(ran.y, output, "y")};
    launch.arguments = {Pointer{0}, Pointer{1}};
    launch.seed = seed;
    ran.report = run(*program, launch);
    auto kinds = [](const Report &report) {
      std::map<FindingKind, int> result;
      for (const Finding &finding : report.findings)
        result[finding.kind] = 1;
      return result;
    };
    if (seed == 0)
      first = std::move(ran);
    else
      EXPECT_EQ(kinds(ran.report), kinds(first.report))
          << "seed " << seed << "\n"
          << ran.report.text();
  }
  return first;
}

inline void expectNone(const Report &report) {
  EXPECT_EQ(report.text(), "");
  EXPECT_TRUE(report.complete);
}

/// At least one finding, and all of this kind.
inline void expectOnly(const Report &report, FindingKind kind) {
  EXPECT_GE(report.findings.size(), 1u);
  for (const Finding &finding : report.findings)
    EXPECT_STREQ(toString(finding.kind), toString(kind)) << finding.message;
}

} // namespace convjit::emulator

#endif // CONVJIT_TEST_EMULATOR_KERNELS_H
