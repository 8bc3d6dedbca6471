//===- MmaTest.cpp - matrix products by kernels -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Each kernel loads its registers from memory, multiplies once and stores its
// registers. The test fills registers from whole matrices and compares with a
// plain product; FragmentTest.cpp says that the places are PTX's.
//
//===----------------------------------------------------------------------===//

#include "Mma.h"
#include "SmallFloat.h"
#include "Testing.h"

#include <bit>
#include <cmath>
#include <cstring>

using namespace convjit;
using namespace convjit::emulator;

namespace {

struct Product {
  const char *intrinsic;
  const char *inputRegister, *accumulator; ///< LLVM types of registers
};

/// Bytes of a matrix's element, in registers.
int bytesOf(MmaType type) { return bitsOf(type) / 8; }

void put(std::vector<uint8_t> &to, size_t at, MmaType type, double value) {
  auto copy = [&](auto bits) { memcpy(&to[at], &bits, sizeof bits); };
  auto single = static_cast<float>(value);
  switch (type) {
  case MmaType::F16:
    return copy(floatToHalf(single));
  case MmaType::BF16:
    return copy(floatToBfloat(single));
  case MmaType::TF32:
  case MmaType::F32:
    return copy(single);
  case MmaType::F64:
    return copy(value);
  case MmaType::S8:
    return copy(static_cast<int8_t>(value));
  case MmaType::U8:
    return copy(static_cast<uint8_t>(value));
  case MmaType::S32:
    return copy(static_cast<int32_t>(value));
  }
}

double get(const std::vector<uint8_t> &from, size_t at, MmaType type) {
  auto as = [&](auto value) {
    memcpy(&value, &from[at], sizeof value);
    return value;
  };
  switch (type) {
  case MmaType::F16:
    return halfToFloat(as(uint16_t()));
  case MmaType::F64:
    return as(double());
  case MmaType::S32:
    return as(int32_t());
  default:
    return as(float());
  }
}

/// `define void @k(ptr %in, ptr %out)`, with one lane's registers after the
/// other's.
std::string kernelText(const Product &product, const MmaShape &shape) {
  auto registers = [&](MmaOperand operand, MmaType type) {
    int bytes = elementsPerLane(shape, operand) * bytesOf(type);
    return type == MmaType::F64 ? bytes / 8 : bytes / 4;
  };
  int inputs =
      registers(MmaOperand::A, shape.a) + registers(MmaOperand::B, shape.b);
  int accumulators = registers(MmaOperand::C, shape.c);
  int results = registers(MmaOperand::D, shape.d);
  int width = shape.a == MmaType::F64 ? 8 : 4;
  std::string types, loads, operands, stores;
  for (int i = 0; i < inputs + accumulators; ++i) {
    std::string type = i < inputs ? product.inputRegister : product.accumulator;
    std::string n = std::to_string(i);
    loads += "  %p" + n + " = getelementptr i8, ptr %mine, i64 " +
             std::to_string(i * width) + "\n  %r" + n + " = load " + type +
             ", ptr %p" + n + ", align " + std::to_string(width) + "\n";
    operands += (i ? ", " : "") + type + " %r" + n;
  }
  for (int i = 0; i < results; ++i) {
    std::string n = std::to_string(i);
    types += (i ? ", " : "") + std::string(product.accumulator);
    stores += "  %d" + n + " = extractvalue {RESULT} %d, " + n + "\n  %q" + n +
              " = getelementptr i8, ptr %its, i64 " +
              std::to_string(i * width) + "\n  store " + product.accumulator +
              " %d" + n + ", ptr %q" + n + ", align " + std::to_string(width) +
              "\n";
  }
  std::string text = R"(
define ptx_kernel void @k(ptr %in, ptr %out) {
  %lane = call i32 @llvm.nvvm.read.ptx.sreg.laneid()
  %a = mul i32 %lane, INBYTES
  %mine = getelementptr i8, ptr %in, i32 %a
  %b = mul i32 %lane, OUTBYTES
  %its = getelementptr i8, ptr %out, i32 %b
)" + loads + "  %d = call {RESULT} @" +
                     product.intrinsic + "(" + operands + ")\n" + stores +
                     "  ret void\n}\n";
  auto replace = [&](const std::string &what, const std::string &with) {
    for (size_t at; (at = text.find(what)) != std::string::npos;)
      text.replace(at, what.size(), with);
  };
  replace("{RESULT}", "{ " + types + " }");
  replace("INBYTES", std::to_string((inputs + accumulators) * width));
  replace("OUTBYTES", std::to_string(results * width));
  return text;
}

/// Matrices through registers, the kernel, and back.
struct Multiplication {
  MmaShape shape;
  std::vector<double> a, b, c, d;
  Report report;
};

void multiplyByKernel(Multiplication &run, Program &program) {
  const MmaShape &s = run.shape;
  size_t aBytes = elementsPerLane(s, MmaOperand::A) * bytesOf(s.a);
  size_t bBytes = elementsPerLane(s, MmaOperand::B) * bytesOf(s.b);
  size_t cBytes = elementsPerLane(s, MmaOperand::C) * bytesOf(s.c);
  size_t dBytes = elementsPerLane(s, MmaOperand::D) * bytesOf(s.d);
  size_t each = aBytes + bBytes + cBytes;
  std::vector<uint8_t> in(32 * each), out(32 * dBytes);
  for (int lane = 0; lane < 32; ++lane) {
    size_t at = lane * each;
    auto fill = [&](MmaOperand operand, MmaType type,
                    const std::vector<double> &matrix, int columns) {
      for (int i = 0; i < elementsPerLane(s, operand); ++i) {
        MatrixPlace place = placeOf(s, operand, lane, i);
        put(in, at, type, matrix[place.row * columns + place.column]);
        at += bytesOf(type);
      }
    };
    fill(MmaOperand::A, s.a, run.a, s.k);
    fill(MmaOperand::B, s.b, run.b, s.n);
    fill(MmaOperand::C, s.c, run.c, s.n);
  }
  Launch launch;
  launch.entry = "k";
  launch.block = {32};
  launch.buffers = {bufferOf(in, Buffer::Access::Read, "in"),
                    bufferOf(out, Buffer::Access::Write, "out")};
  launch.arguments = {Pointer{0}, Pointer{1}};
  launch.seed = 5;
  run.report = convjit::emulator::run(program, launch);
  run.d.resize(s.m * s.n);
  for (int lane = 0; lane < 32; ++lane)
    for (int i = 0; i < elementsPerLane(s, MmaOperand::D); ++i) {
      MatrixPlace place = placeOf(s, MmaOperand::D, lane, i);
      run.d[place.row * s.n + place.column] =
          get(out, lane * dBytes + i * bytesOf(s.d), s.d);
    }
}

const Product products[] = {
    {"llvm.nvvm.mma.m16n8k8.row.col.f16.f16", "<2 x half>", "<2 x half>"},
    {"llvm.nvvm.mma.m16n8k8.row.col.f32.f32", "<2 x half>", "float"},
    {"llvm.nvvm.mma.m16n8k16.row.col.f16.f16", "<2 x half>", "<2 x half>"},
    {"llvm.nvvm.mma.m16n8k16.row.col.f32.f32", "<2 x half>", "float"},
    {"llvm.nvvm.mma.m16n8k8.row.col.bf16", "i32", "float"},
    {"llvm.nvvm.mma.m16n8k16.row.col.bf16", "i32", "float"},
    {"llvm.nvvm.mma.m16n8k4.row.col.tf32", "i32", "float"},
    {"llvm.nvvm.mma.m16n8k8.row.col.tf32", "i32", "float"},
    {"llvm.nvvm.mma.m8n8k4.row.col.f64", "double", "double"},
    {"llvm.nvvm.mma.m16n8k8.row.col.f64", "double", "double"},
    {"llvm.nvvm.mma.m8n8k16.row.col.s8", "i32", "i32"},
    {"llvm.nvvm.mma.m16n8k16.row.col.u8.s8", "i32", "i32"},
    {"llvm.nvvm.mma.m16n8k32.row.col.s8", "i32", "i32"},
    {"llvm.nvvm.mma.m16n8k32.row.col.satfinite.u8", "i32", "i32"},
};

class Products : public testing::TestWithParam<Product> {};

} // namespace

TEST_P(Products, OfSmallIntegersAreExact) {
  Multiplication run;
  run.shape = parseMma(GetParam().intrinsic).value();
  const MmaShape &s = run.shape;
  auto program = compileText(kernelText(GetParam(), s));
  ASSERT_TRUE(program);
  bool isUnsigned = s.a == MmaType::U8 || s.b == MmaType::U8;
  // Different in each place, and asymmetric.
  for (int i = 0; i < s.m * s.k; ++i)
    run.a.push_back(i * 7 % 11 - (isUnsigned ? 0 : 5));
  for (int i = 0; i < s.k * s.n; ++i)
    run.b.push_back(i * 5 % 13 - (isUnsigned ? 0 : 4));
  for (int i = 0; i < s.m * s.n; ++i)
    run.c.push_back(i % 17 - 8);
  multiplyByKernel(run, *program);
  EXPECT_EQ(run.report.text(), "");
  for (int row = 0; row < s.m; ++row)
    for (int column = 0; column < s.n; ++column) {
      double sum = run.c[row * s.n + column];
      for (int k = 0; k < s.k; ++k)
        sum += run.a[row * s.k + k] * run.b[k * s.n + column];
      EXPECT_EQ(run.d[row * s.n + column], sum) << row << ", " << column;
    }
}

INSTANTIATE_TEST_SUITE_P(Mma, Products, testing::ValuesIn(products),
                         [](const auto &info) {
                           std::string name =
                               info.param.intrinsic + strlen("llvm.nvvm.mma.");
                           for (char &c : name)
                             if (c == '.')
                               c = '_';
                           return name;
                         });

// A tf32 operand's low 13 bits do not take part.
TEST(Mma, Tf32IgnoresTheLowBits) {
  Multiplication run;
  run.shape = parseMma("llvm.nvvm.mma.m16n8k8.row.col.tf32").value();
  auto program = compileText(kernelText(products[7], run.shape));
  ASSERT_TRUE(program);
  run.a.assign(16 * 8, 0);
  run.b.assign(8 * 8, 0);
  run.c.assign(16 * 8, 0);
  run.a[0] = std::bit_cast<float>(0x3f801fffu); // 1 and all the ignored bits
  run.b[0] = 3;
  multiplyByKernel(run, *program);
  EXPECT_EQ(run.d[0], 3);
}

TEST(Mma, IntegersWrapOrSaturate) {
  for (bool saturate : {false, true}) {
    Product product = {saturate ? "llvm.nvvm.mma.m16n8k32.row.col.satfinite.s8"
                                : "llvm.nvvm.mma.m16n8k32.row.col.s8",
                       "i32", "i32"};
    Multiplication run;
    run.shape = parseMma(product.intrinsic).value();
    auto program = compileText(kernelText(product, run.shape));
    ASSERT_TRUE(program);
    run.a.assign(16 * 32, 127);
    run.b.assign(32 * 8, 127);
    run.c.assign(16 * 8, 2147483647.0 - 1000);
    multiplyByKernel(run, *program);
    double sum = 2147483647.0 - 1000 + 32 * 127 * 127;
    EXPECT_EQ(run.d[0], saturate ? 2147483647.0 : sum - 4294967296.0);
  }
}

TEST(Mma, InfinitiesAndNansReachTheirRowsOnly) {
  Multiplication run;
  run.shape = parseMma("llvm.nvvm.mma.m16n8k16.row.col.f32.f32").value();
  auto program = compileText(kernelText(products[3], run.shape));
  ASSERT_TRUE(program);
  run.a.assign(16 * 16, 1);
  run.b.assign(16 * 8, 1);
  run.c.assign(16 * 8, 0);
  run.a[3 * 16 + 5] = INFINITY;
  run.a[9 * 16 + 2] = NAN;
  multiplyByKernel(run, *program);
  for (int row = 0; row < 16; ++row)
    for (int column = 0; column < 8; ++column) {
      double value = run.d[row * 8 + column];
      if (row == 3)
        EXPECT_EQ(value, INFINITY);
      else if (row == 9)
        EXPECT_TRUE(std::isnan(value));
      else
        EXPECT_EQ(value, 16);
    }
}

// Conversions against the compiler's, all 16-bit values and around each.
TEST(SmallFloat, HalvesConvertAsTheCompilersDo) {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    auto half = std::bit_cast<_Float16>(static_cast<uint16_t>(bits));
    auto expected = static_cast<float>(half);
    float got = halfToFloat(static_cast<uint16_t>(bits));
    if (std::isnan(expected)) {
      EXPECT_TRUE(std::isnan(got));
      continue;
    }
    ASSERT_EQ(std::bit_cast<uint32_t>(got), std::bit_cast<uint32_t>(expected));
    if (std::isinf(expected))
      continue;
    // The value itself, and what lies between it and the next: ties, too.
    for (uint32_t low : {0u, 1u, 0xfffu, 0x1000u, 0x1001u, 0x1fffu}) {
      float value = std::bit_cast<float>(std::bit_cast<uint32_t>(got) | low);
      auto rounded = static_cast<_Float16>(value);
      ASSERT_EQ(floatToHalf(value), std::bit_cast<uint16_t>(rounded)) << value;
    }
  }
}
