//===- WarpTest.cpp - what 32 lanes do together -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Kernels.h"

#include <cstring>
#include <functional>

using namespace convjit::emulator;

using Kind = FindingKind;

/// y[i] = VALUE, an i32, computed by `body` from %tid and %i.
static std::vector<int32_t> valuesOf(const std::string &body,
                                     const std::string &value) {
  Ran ran = runKernel(kernel("", body +
                                     "  %py = getelementptr i32, ptr %y, i64 "
                                     "%i\n  store i32 " +
                                     value + ", ptr %py\n"));
  expectNone(ran.report);
  return ran.y;
}

/// What `expected` gives for each lane, in both warps.
static void expectLanes(const std::vector<int32_t> &values,
                        const std::function<int32_t(int)> &expected) {
  for (int i = 0; i < 64; ++i)
    EXPECT_EQ(values[i], expected(i)) << "thread " << i;
}

static std::string shuffle(const std::string &mode, const std::string &b,
                           int c) {
  return "  %z = mul i32 %tid, 10\n  %v = call i32 @llvm.nvvm.shfl.sync." +
         mode + ".i32(i32 -1, i32 %z, i32 " + b + ", i32 " + std::to_string(c) +
         ")\n";
}

// Clamps as CUDA's __shfl_sync passes them: (32 - width) << 8, and 31 but for
// up.
TEST(Shuffle, WholeWarps) {
  expectLanes(valuesOf(shuffle("idx", "7", 31), "%v"),
              [](int i) { return i / 32 * 320 + 70; });
  expectLanes(valuesOf(shuffle("bfly", "5", 31), "%v"),
              [](int i) { return (i ^ 5) * 10; });
  expectLanes(valuesOf(shuffle("up", "3", 0), "%v"),
              [](int i) { return (i % 32 < 3 ? i : i - 3) * 10; });
  expectLanes(valuesOf(shuffle("down", "4", 31), "%v"),
              [](int i) { return (i % 32 > 27 ? i : i + 4) * 10; });
}

TEST(Shuffle, PartsOfAWarp) {
  int eight = (32 - 8) << 8;
  expectLanes(valuesOf(shuffle("idx", "2", eight | 31), "%v"),
              [](int i) { return (i / 8 * 8 + 2) * 10; });
  expectLanes(valuesOf(shuffle("up", "1", eight), "%v"),
              [](int i) { return (i % 8 ? i - 1 : i) * 10; });
  expectLanes(valuesOf(shuffle("down", "1", eight | 31), "%v"),
              [](int i) { return (i % 8 == 7 ? i : i + 1) * 10; });
}

TEST(Shuffle, SaysWhetherTheSourceIsInRange) {
  std::string body = R"(
  %r = call { i32, i1 } @llvm.nvvm.shfl.sync.down.i32p(i32 -1, i32 %tid, i32 1, i32 31)
  %p = extractvalue { i32, i1 } %r, 1
  %v = zext i1 %p to i32
)";
  expectLanes(valuesOf(body, "%v"), [](int i) { return i % 32 != 31; });
}

TEST(Shuffle, Floats) {
  std::string body = R"(
  %f = uitofp i32 %tid to float
  %g = call float @llvm.nvvm.shfl.sync.bfly.f32(i32 -1, float %f, i32 1, i32 31)
  %v = fptosi float %g to i32
)";
  expectLanes(valuesOf(body, "%v"), [](int i) { return i ^ 1; });
}

// Each lane calls from its own branch; the mask says who belongs together.
TEST(Shuffle, LanesFromTwoInstructions) {
  std::string body = R"(
  %odd = and i32 %tid, 1
  %isodd = icmp eq i32 %odd, 1
  br i1 %isodd, label %a, label %b
a:
  %va = call i32 @llvm.nvvm.shfl.sync.bfly.i32(i32 -1, i32 %tid, i32 1, i32 31)
  br label %join
b:
  %vb = call i32 @llvm.nvvm.shfl.sync.bfly.i32(i32 -1, i32 %tid, i32 1, i32 31)
  br label %join
join:
  %v = phi i32 [ %va, %a ], [ %vb, %b ]
)";
  expectLanes(valuesOf(body, "%v"), [](int i) { return i ^ 1; });
}

static std::string vote(const std::string &mode, const std::string &limit) {
  bool ballot = mode == "ballot";
  return "  %p = icmp ult i32 %tid, " + limit + "\n  %r = call " +
         (ballot ? "i32" : "i1") + " @llvm.nvvm.vote." + mode +
         ".sync(i32 -1, i1 %p)\n  %v = " +
         (ballot ? "add i32 %r, 0\n" : "zext i1 %r to i32\n");
}

TEST(Vote, AllAnyUniformBallot) {
  expectLanes(valuesOf(vote("all", "40"), "%v"), [](int i) { return i < 32; });
  expectLanes(valuesOf(vote("any", "40"), "%v"), [](int) { return 1; });
  expectLanes(valuesOf(vote("any", "20"), "%v"), [](int i) { return i < 32; });
  expectLanes(valuesOf(vote("uni", "40"), "%v"), [](int i) { return i < 32; });
  expectLanes(valuesOf(vote("ballot", "37"), "%v"),
              [](int i) { return i < 32 ? -1 : 31; });
}

TEST(Match, AnyAndAll) {
  std::string any = R"(
  %key = and i32 %tid, 3
  %v = call i32 @llvm.nvvm.match.any.sync.i32(i32 -1, i32 %key)
)";
  expectLanes(valuesOf(any, "%v"),
              [](int i) { return static_cast<int>(0x11111111u << (i & 3)); });
  std::string all = R"(
  %key = lshr i32 %tid, 5
  %r = call { i32, i1 } @llvm.nvvm.match.all.sync.i32p(i32 -1, i32 %key)
  %v = extractvalue { i32, i1 } %r, 0
)";
  expectLanes(valuesOf(all, "%v"), [](int) { return -1; });
}

TEST(Redux, AddAndMinimum) {
  auto body = [](const std::string &mode) {
    return "  %n = sub i32 10, %tid\n  %v = call i32 @llvm.nvvm.redux.sync." +
           mode + "(i32 %n, i32 -1)\n";
  };
  expectLanes(valuesOf(body("add"), "%v"), [](int i) {
    return i < 32 ? 320 - 31 * 16 : 320 - (32 + 63) * 16;
  });
  expectLanes(valuesOf(body("min"), "%v"),
              [](int i) { return i < 32 ? -21 : -53; });
  expectLanes(valuesOf(body("umin"), "%v"),
              [](int i) { return i < 32 ? 0 : -53; });
}

TEST(Barrier, Reductions) {
  std::string p = "  %p = icmp ult i32 %tid, 50\n";
  expectLanes(valuesOf(p + "  %v = call i32 @llvm.nvvm.barrier.cta.red.popc."
                           "aligned.all(i32 0, i1 %p)\n",
                       "%v"),
              [](int) { return 50; });
  expectLanes(valuesOf(p + "  %r = call i1 @llvm.nvvm.barrier.cta.red.and."
                           "aligned.all(i32 0, i1 %p)\n  %v = zext i1 %r to "
                           "i32\n",
                       "%v"),
              [](int) { return 0; });
  expectLanes(valuesOf(p + "  %r = call i1 @llvm.nvvm.barrier.cta.red.or."
                           "aligned.all(i32 0, i1 %p)\n  %v = zext i1 %r to "
                           "i32\n",
                       "%v"),
              [](int) { return 1; });
}

//===----------------------------------------------------------------------===//
// Matrices
//===----------------------------------------------------------------------===//

/// Fills s with 16-bit numbers 0, 1, 2, ..., loads matrices by `rows`, which
/// sets %row to the lane's address, and stores register REGISTER.
static std::string matrix(int count, bool transposed, int which,
                          const std::string &rows) {
  std::string types = "i32";
  for (int i = 1; i < count; ++i)
    types += ", i32";
  std::string result = count == 1 ? "i32" : "{ " + types + " }";
  return kernel("@s = internal addrspace(3) global [1024 x i16] undef, align "
                "16\n",
                R"(
  %lane = call i32 @llvm.nvvm.read.ptx.sreg.laneid()
  br label %loop
loop:
  %k = phi i32 [ %lane, %0 ], [ %next, %loop ]
  %value = trunc i32 %k to i16
  %pv = getelementptr i16, ptr addrspace(3) @s, i32 %k
  store i16 %value, ptr addrspace(3) %pv
  %next = add i32 %k, 32
  %more = icmp ult i32 %next, 1024
  br i1 %more, label %loop, label %filled
filled:
  call void @llvm.nvvm.barrier.cta.sync.aligned.all(i32 0)
)" + rows + "  %m = call " +
                    result + " @llvm.nvvm.ldmatrix.sync.aligned.m8n8.x" +
                    std::to_string(count) + (transposed ? ".trans" : "") +
                    ".b16.p3(ptr addrspace(3) %row)\n" +
                    (count == 1 ? "  %v = add i32 %m, 0\n"
                                : "  %v = extractvalue " + result + " %m, " +
                                      std::to_string(which) + "\n") +
                    R"(
  %py = getelementptr i32, ptr %y, i64 %i
  store i32 %v, ptr %py
)");
}

// Lane l points to row l % 8 of matrix l / 8; a row is 8 numbers, rows are 24
// numbers apart, and matrices 200.
static const char *const plainRows = R"(
  %r = and i32 %lane, 7
  %j = lshr i32 %lane, 3
  %ro = mul i32 %r, 24
  %jo = mul i32 %j, 200
  %at = add i32 %ro, %jo
  %row = getelementptr i16, ptr addrspace(3) @s, i32 %at
)";

TEST(LdMatrix, GivesEachLaneItsElements) {
  for (int count : {1, 2, 4})
    for (bool transposed : {false, true})
      for (int which = 0; which < count; ++which) {
        SCOPED_TRACE("x" + std::to_string(count) +
                     (transposed ? " trans" : "") + " register " +
                     std::to_string(which));
        Ran ran = runKernel(matrix(count, transposed, which, plainRows),
                            launchOf(32));
        expectNone(ran.report);
        for (int lane = 0; lane < 32; ++lane) {
          auto element = [&](int row, int column) {
            return which * 200 + row * 24 + column;
          };
          int row = lane / 4, column = lane % 4 * 2;
          int low = transposed ? element(column, row) : element(row, column);
          int high =
              transposed ? element(column + 1, row) : element(row, column + 1);
          EXPECT_EQ(ran.y[lane], low | high << 16) << "lane " << lane;
        }
      }
}

TEST(LdMatrix, LanesWhoseAddressesAreNotUsed) {
  // Lanes from 8 on point nowhere, which matters from two matrices on.
  const char *rows = R"(
  %r = mul i32 %lane, 8
  %used = icmp ult i32 %lane, 8
  %at = select i1 %used, i32 %r, i32 100000000
  %row = getelementptr i16, ptr addrspace(3) @s, i32 %at
)";
  expectNone(runKernel(matrix(1, false, 0, rows), launchOf(32)).report);
  expectOnly(runKernel(matrix(2, false, 0, rows), launchOf(32)).report,
             Kind::OutOfBounds);
}

TEST(LdMatrix, RowsThatAreNotAligned) {
  const char *rows = R"(
  %ro = mul i32 %lane, 12
  %row = getelementptr i16, ptr addrspace(3) @s, i32 %ro
)";
  expectOnly(runKernel(matrix(1, false, 0, rows), launchOf(32)).report,
             Kind::Misaligned);
}

TEST(LdMatrix, UnderACondition) {
  const char *rows = R"(
  %ro = mul i32 %lane, 8
  %row = getelementptr i16, ptr addrspace(3) @s, i32 %ro
  %some = icmp ult i32 %lane, 31
  br i1 %some, label %all, label %rest
rest:
  ret void
all:
)";
  expectOnly(runKernel(matrix(1, false, 0, rows), launchOf(32)).report,
             Kind::DivergentWarp);
}

TEST(StMatrix, IsLdMatrixBackwards) {
  std::string text =
      kernel("@s = internal addrspace(3) global [256 x i16] undef, align 16\n",
             R"(
  %ro = mul i32 %tid, 8
  %row = getelementptr i16, ptr addrspace(3) @s, i32 %ro
  %t2 = add i32 %tid, 1000
  call void @llvm.nvvm.stmatrix.sync.aligned.m8n8.x2.b16.p3(ptr addrspace(3) %row, i32 %tid, i32 %t2)
  %m = call { i32, i32 } @llvm.nvvm.ldmatrix.sync.aligned.m8n8.x2.b16.p3(ptr addrspace(3) %row)
  %a = extractvalue { i32, i32 } %m, 0
  %b = extractvalue { i32, i32 } %m, 1
  %v = add i32 %a, %b
  %py = getelementptr i32, ptr %y, i64 %i
  store i32 %v, ptr %py
)");
  Ran ran = runKernel(text, launchOf(32));
  expectNone(ran.report);
  for (int lane = 0; lane < 32; ++lane)
    EXPECT_EQ(ran.y[lane], 2 * lane + 1000);
}
