//===- FragmentTest.cpp - mma's fragments against the documentation -*- C++
//-*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The PTX ISA states each shape's fragments on its own; the functions below are
// those statements one by one, in its words (section "Matrix fragments for
// mma", version 8.7), and share nothing with the emulator's one formula for all
// of them. A second source are the layouts that CUTLASS uses
// (mma_traits_sm80.hpp): strides into matrices stored by columns, B as n x k.
//
//===----------------------------------------------------------------------===//

#include "Mma.h"

#include <gtest/gtest.h>
#include <set>
#include <vector>

using namespace convjit::emulator;

namespace {

struct Place {
  int row, column;
  bool operator==(const Place &) const = default;
  auto operator<=>(const Place &) const = default;
};
using Statement = Place (*)(int groupId, int threadInGroup, int i);

/// One operand of one shape: how many elements a lane holds, and where they
/// are.
struct Case {
  const char *intrinsic;
  MmaOperand operand;
  int elements;
  Statement statement;
  // The layout in CUTLASS: strides of the thread's position in its group of
  // four and of its group, then of the bits of i with their sizes; none if it
  // has none.
  std::vector<int> threadStrides;
  std::vector<std::pair<int, int>> valueStrides;
};

} // namespace

// Accumulators of every m16n8 shape:
//   row = groupID for ci where i < 2, groupID + 8 for ci where i >= 2
//   col = (threadID_in_group * 2) + (i & 0x1)
static Place accumulator16(int g, int t, int i) {
  return {i < 2 ? g : g + 8, t * 2 + (i & 1)};
}
// Accumulators of every m8n8 shape:
//   row = groupID, col = (threadID_in_group * 2) + i
static Place accumulator8(int g, int t, int i) { return {g, t * 2 + i}; }

// m16n8k16, .f16 and .bf16
static Place a16x16(int g, int t, int i) {
  int row = (0 <= i && i < 2) || (4 <= i && i < 6) ? g : g + 8;
  int column = i < 4 ? t * 2 + (i & 1) : t * 2 + (i & 1) + 8;
  return {row, column};
}
static Place b16x8(int g, int t, int i) {
  return {i < 2 ? t * 2 + (i & 1) : t * 2 + (i & 1) + 8, g};
}

// m16n8k8, .f16 and .bf16
static Place a16x8(int g, int t, int i) {
  return {i == 0 || i == 1 ? g : g + 8, t * 2 + (i & 1)};
}
static Place b8x8(int g, int t, int i) { return {t * 2 + i, g}; }

// m16n8k4, .tf32 and .f64
static Place a16x4(int g, int t, int i) { return {i == 0 ? g : g + 8, t}; }
static Place b4x8(int g, int t, int) { return {t, g}; }

// m16n8k8, .tf32 and .f64
static Place a16x8tf32(int g, int t, int i) {
  return {i == 0 || i == 2 ? g : g + 8, i == 0 || i == 1 ? t : t + 4};
}
static Place b8x8tf32(int g, int t, int i) { return {i == 0 ? t : t + 4, g}; }

// m16n8k16, .f64
static Place a16x16f64(int g, int t, int i) {
  return {i % 2 == 0 ? g : g + 8, i % 2 == 0 ? i * 2 + t : i * 2 - 2 + t};
}
static Place b16x8f64(int g, int t, int i) { return {t + i * 4, g}; }

// m8n8k4, .f64
static Place a8x4(int g, int t, int) { return {g, t}; }

// m8n8k16, .s8 and .u8
static Place a8x16s8(int g, int t, int i) { return {g, t * 4 + i}; }
static Place b16x8s8(int g, int t, int i) { return {t * 4 + i, g}; }

// m16n8k16, .s8 and .u8
static Place a16x16s8(int g, int t, int i) {
  return {i < 4 ? g : g + 8, t * 4 + (i & 3)};
}

// m16n8k32, .s8 and .u8
static Place a16x32s8(int g, int t, int i) {
  return {(0 <= i && i < 4) || (8 <= i && i < 12) ? g : g + 8,
          i < 8 ? t * 4 + (i & 3) : t * 4 + (i & 3) + 16};
}
static Place b32x8s8(int g, int t, int i) {
  return {i < 4 ? t * 4 + (i & 3) : t * 4 + (i & 3) + 16, g};
}

static std::vector<Case> allCases() {
  using O = MmaOperand;
  const char *f16k16 = "llvm.nvvm.mma.m16n8k16.row.col.f32.f32";
  const char *f16k8 = "llvm.nvvm.mma.m16n8k8.row.col.f16.f16";
  const char *bf16k16 = "llvm.nvvm.mma.m16n8k16.row.col.bf16";
  const char *tf32k4 = "llvm.nvvm.mma.m16n8k4.row.col.tf32";
  const char *tf32k8 = "llvm.nvvm.mma.m16n8k8.row.col.tf32";
  const char *f64 = "llvm.nvvm.mma.m8n8k4.row.col.f64";
  const char *f64k4 = "llvm.nvvm.mma.m16n8k4.row.col.f64";
  const char *f64k8 = "llvm.nvvm.mma.m16n8k8.row.col.f64";
  const char *f64k16 = "llvm.nvvm.mma.m16n8k16.row.col.f64";
  const char *s8small = "llvm.nvvm.mma.m8n8k16.row.col.s8";
  const char *s8k16 = "llvm.nvvm.mma.m16n8k16.row.col.u8.s8";
  const char *s8k32 = "llvm.nvvm.mma.m16n8k32.row.col.satfinite.s8";
  std::vector<std::pair<int, int>> none;
  return {
      {f16k16, O::A, 8, a16x16, {32, 1}, {{2, 16}, {2, 8}, {2, 128}}},
      {f16k16, O::B, 4, b16x8, {16, 1}, {{2, 8}, {2, 64}}},
      {f16k16, O::C, 4, accumulator16, {32, 1}, {{2, 16}, {2, 8}}},
      {bf16k16, O::A, 8, a16x16, {32, 1}, {{2, 16}, {2, 8}, {2, 128}}},
      {bf16k16, O::B, 4, b16x8, {16, 1}, {{2, 8}, {2, 64}}},
      {bf16k16, O::D, 4, accumulator16, {32, 1}, {{2, 16}, {2, 8}}},
      {f16k8, O::A, 4, a16x8, {32, 1}, {{2, 16}, {2, 8}}},
      {f16k8, O::B, 2, b8x8, {16, 1}, {{2, 8}}},
      {f16k8, O::D, 4, accumulator16, {32, 1}, {{2, 16}, {2, 8}}},
      {tf32k4, O::A, 2, a16x4, {16, 1}, {{2, 8}}},
      {tf32k4, O::B, 1, b4x8, {8, 1}, none},
      {tf32k4, O::C, 4, accumulator16, {32, 1}, {{2, 16}, {2, 8}}},
      {tf32k8, O::A, 4, a16x8tf32, {16, 1}, {{2, 8}, {2, 64}}},
      {tf32k8, O::B, 2, b8x8tf32, {8, 1}, {{2, 32}}},
      {tf32k8, O::C, 4, accumulator16, {32, 1}, {{2, 16}, {2, 8}}},
      {f64, O::A, 1, a8x4, {8, 1}, none},
      {f64, O::B, 1, b4x8, {8, 1}, none},
      {f64, O::C, 2, accumulator8, {16, 1}, {{2, 8}}},
      {f64k4, O::A, 2, a16x4, {}, none},
      {f64k4, O::B, 1, b4x8, {}, none},
      {f64k8, O::A, 4, a16x8tf32, {}, none},
      {f64k8, O::B, 2, b8x8tf32, {}, none},
      {f64k16, O::A, 8, a16x16f64, {}, none},
      {f64k16, O::B, 4, b16x8f64, {}, none},
      {f64k16, O::D, 4, accumulator16, {}, none},
      {s8small, O::A, 4, a8x16s8, {32, 1}, {{4, 8}}},
      {s8small, O::B, 4, b16x8s8, {32, 1}, {{4, 8}}},
      {s8small, O::C, 2, accumulator8, {16, 1}, {{2, 8}}},
      {s8k16, O::A, 8, a16x16s8, {64, 1}, {{4, 16}, {2, 8}}},
      {s8k16, O::B, 4, b16x8s8, {32, 1}, {{4, 8}}},
      {s8k16, O::C, 4, accumulator16, {32, 1}, {{2, 16}, {2, 8}}},
      {s8k32, O::A, 16, a16x32s8, {64, 1}, {{4, 16}, {2, 8}, {2, 256}}},
      {s8k32, O::B, 8, b32x8s8, {32, 1}, {{4, 8}, {2, 128}}},
      {s8k32, O::D, 4, accumulator16, {32, 1}, {{2, 16}, {2, 8}}},
  };
}

static std::string nameOf(const Case &test) {
  return std::string(test.intrinsic) + " operand " +
         "ABCD"[static_cast<int>(test.operand)];
}

TEST(Fragments, AreAsThePtxIsaStates) {
  for (const Case &test : allCases()) {
    SCOPED_TRACE(nameOf(test));
    std::optional<MmaShape> shape = parseMma(test.intrinsic);
    ASSERT_TRUE(shape);
    ASSERT_EQ(elementsPerLane(*shape, test.operand), test.elements);
    for (int lane = 0; lane < 32; ++lane)
      for (int i = 0; i < test.elements; ++i) {
        MatrixPlace place = placeOf(*shape, test.operand, lane, i);
        EXPECT_EQ((Place{place.row, place.column}),
                  test.statement(lane >> 2, lane % 4, i))
            << "lane " << lane << ", element " << i;
      }
  }
}

TEST(Fragments, AreAsCutlassHasThem) {
  for (const Case &test : allCases()) {
    if (test.threadStrides.empty())
      continue;
    SCOPED_TRACE(nameOf(test));
    std::optional<MmaShape> shape = parseMma(test.intrinsic);
    ASSERT_TRUE(shape);
    bool isB = test.operand == MmaOperand::B;
    int rows = isB ? shape->n : shape->m;
    for (int lane = 0; lane < 32; ++lane)
      for (int i = 0; i < test.elements; ++i) {
        int index =
            lane % 4 * test.threadStrides[0] + lane / 4 * test.threadStrides[1];
        int rest = i;
        for (auto [size, stride] : test.valueStrides) {
          index += rest % size * stride;
          rest /= size;
        }
        Place expected{index % rows, index / rows};
        if (isB)
          std::swap(expected.row, expected.column);
        MatrixPlace place = placeOf(*shape, test.operand, lane, i);
        EXPECT_EQ((Place{place.row, place.column}), expected)
            << "lane " << lane << ", element " << i;
      }
  }
}

// Each element of a matrix has one holder.
TEST(Fragments, CoverTheirMatrices) {
  for (const Case &test : allCases()) {
    std::optional<MmaShape> shape = parseMma(test.intrinsic);
    ASSERT_TRUE(shape);
    std::set<Place> places;
    for (int lane = 0; lane < 32; ++lane)
      for (int i = 0; i < test.elements; ++i) {
        MatrixPlace place = placeOf(*shape, test.operand, lane, i);
        places.insert({place.row, place.column});
      }
    EXPECT_EQ(places.size(), 32u * test.elements) << nameOf(test);
  }
}

TEST(Fragments, NamesThatAreNotModelled) {
  for (const char *name : {
           "llvm.nvvm.mma.m8n8k4.row.col.f32.f32", // of Volta, four at once
           "llvm.nvvm.mma.m16n8k16.col.row.f32.f32",
           "llvm.nvvm.mma.m16n8k64.row.col.s4",
           "llvm.nvvm.mma.m16n8k32.row.col.f32.e4m3.e4m3.f32",
           "llvm.nvvm.wmma.m16n16k16.mma.row.col.f32.f32",
       })
    EXPECT_FALSE(parseMma(name)) << name;
}

TEST(Fragments, InlineAssemblyNamesTheSameShapes) {
  auto shape = parseMmaInstruction(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32");
  ASSERT_TRUE(shape);
  EXPECT_EQ(shape->k, 16);
  EXPECT_EQ(shape->a, MmaType::BF16);
  EXPECT_EQ(shape->d, MmaType::F32);
  EXPECT_FALSE(parseMmaInstruction("mma.sync.aligned.m16n8k16.row.col.f32"));
}
