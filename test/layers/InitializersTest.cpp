//===- InitializersTest.cpp - initializers against brainstate's -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "LayerTesting.h"

#include <cmath>

using namespace convjit;
using namespace convjit::nn;

static const NamedArrays &brainstate() {
  static const NamedArrays arrays = golden("initializers");
  return arrays;
}

static void expectGolden(const std::string &name, const Initializer &make) {
  SCOPED_TRACE(name);
  const Array &wanted = brainstate().at(name);
  EXPECT_TRUE(sameBits(get(make(wanted.shape, DataType::F32)), wanted));
}

TEST(Initializers, DefaultsAndDrawsAreBrainstates) {
  expectGolden("KaimingUniform", KaimingUniform{.seed = 11});
  expectGolden("KaimingNormal", KaimingNormal{.seed = 11});
  expectGolden("XavierUniform", XavierUniform{.seed = 11});
  expectGolden("XavierNormal", XavierNormal{.seed = 11});
  expectGolden("LecunUniform", LecunUniform{.seed = 11});
  expectGolden("LecunNormal", LecunNormal{.seed = 11});
  expectGolden("Normal", Normal{.seed = 11});
  expectGolden("TruncatedNormal", TruncatedNormal{.seed = 11});
  expectGolden("Uniform", Uniform{.seed = 11});
}

TEST(Initializers, VarianceScaling) {
  const std::pair<const char *, Fan> fans[] = {
      {"fan_in", Fan::In}, {"fan_out", Fan::Out}, {"fan_avg", Fan::Average}};
  const std::pair<const char *, Distribution> distributions[] = {
      {"truncated_normal", Distribution::TruncatedNormal},
      {"normal", Distribution::Normal},
      {"uniform", Distribution::Uniform}};
  for (auto [fanName, fan] : fans)
    for (auto [distributionName, distribution] : distributions)
      expectGolden(std::string("VarianceScaling_") + fanName + "_" +
                       distributionName,
                   VarianceScaling{.scale = 0.7,
                                   .mode = fan,
                                   .distribution = distribution,
                                   .in_axis = 0,
                                   .out_axis = -2,
                                   .seed = 12});
}

TEST(Initializers, Arguments) {
  expectGolden("Normal_scaled", Normal{.mean = 0.1, .scale = 0.5, .seed = 13});
  expectGolden("Uniform_10_20",
               Uniform{.min_val = 10, .max_val = 20, .seed = 14});
  expectGolden(
      "TruncatedNormal_cut",
      TruncatedNormal{
          .loc = 0.2, .scale = 0.5, .lower = -1, .upper = 1, .seed = 15});
}

TEST(Initializers, AStreamGoesOnAndCopiesShareIt) {
  XavierNormal stream{.seed = 16};
  XavierNormal copy = stream;
  expectGolden("stream_first", stream);
  expectGolden("stream_second", copy);
}

/// Rows or columns, whichever are fewer, of the matrix along `axis`.
static void expectOrthonormal(const Array &array, size_t axis, double scale) {
  std::vector<double> values = widened(array);
  int64_t rows = array.shape[axis], columns = array.elements() / rows;
  int64_t inner = 1;
  for (size_t i = axis + 1; i < array.shape.size(); ++i)
    inner *= array.shape[i];
  auto at = [&](int64_t row, int64_t column) {
    return values[(column / inner * rows + row) * inner + column % inner];
  };
  int64_t few = std::min(rows, columns), many = std::max(rows, columns);
  for (int64_t a = 0; a < few; ++a)
    for (int64_t b = 0; b < few; ++b) {
      double dot = 0;
      for (int64_t i = 0; i < many; ++i)
        dot += rows <= columns ? at(a, i) * at(b, i) : at(i, a) * at(i, b);
      EXPECT_NEAR(dot, a == b ? scale * scale : 0, 1e-6 * scale * scale);
    }
}

TEST(Initializers, Orthogonal) {
  // JAX's QR is LAPACK's in f32.
  auto check = [](const std::string &name, const Initializer &make) {
    SCOPED_TRACE(name);
    Array made = get(make(brainstate().at(name).shape, DataType::F32));
    EXPECT_LT(relativeError(made, brainstate().at(name)), 2e-6);
    return made;
  };
  expectOrthonormal(check("Orthogonal_wide", Orthogonal{.seed = 17}), 3, 1);
  expectOrthonormal(
      check("Orthogonal_tall", Orthogonal{.scale = 2, .axis = 0, .seed = 18}),
      0, 2);
  expectOrthonormal(
      check("Orthogonal_square", Orthogonal{.axis = 1, .seed = 19}), 1, 1);
  check("DeltaOrthogonal_1", DeltaOrthogonal{.seed = 20});
  check("DeltaOrthogonal_2", DeltaOrthogonal{.scale = 0.5, .seed = 21});
  check("DeltaOrthogonal_3", DeltaOrthogonal{.seed = 22});
}

TEST(Initializers, ConstantAndZero) {
  for (double value : {0.0, 1.0, -1.0, 2.5})
    for (const Shape &shape : {Shape{10}, Shape{10, 20}, Shape{3, 0, 2}})
      for (DataType dtype : {DataType::F32, DataType::F64}) {
        Array made = get(Constant{value}(shape, dtype));
        EXPECT_EQ(made.shape, shape);
        EXPECT_EQ(made.dtype, dtype);
        EXPECT_THAT(widened(made), testing::Each(value));
      }
  for (DataType dtype : {DataType::F16, DataType::BF16})
    expectBadInput(Constant{1}({2}, dtype), {name(dtype), "valid: f32, f64"});
  EXPECT_THAT(widened(get(ZeroInit{}({10, 20}))), testing::Each(0));
  EXPECT_THAT(widened(get(Constant{}({2}))), testing::Each(1));
}

// 64 -> 32 channels with 4x4x4 taps: fan_in is 32*64 and fan_out 64*64, as the
// last axis but one of a transposed weight is its output channels.
TEST(Initializers, XavierOfTheDocumentedLayer) {
  Shape shape{4, 4, 4, 32, 64};
  std::vector<double> values =
      widened(get(XavierNormal{.seed = 1}(shape, DataType::F32)));
  double sum = 0, squares = 0, largest = 0;
  for (double value : values) {
    sum += value;
    squares += value * value;
    largest = std::max(largest, std::abs(value));
  }
  auto count = static_cast<double>(values.size());
  // Of the truncated distribution: variance 1/3072, bounds 2 * 0.020511.
  EXPECT_NEAR(std::sqrt(squares / count), std::sqrt(1 / 3072.0), 1e-4);
  EXPECT_NEAR(sum / count, 0, 3e-4);
  EXPECT_LT(largest, 0.0410224);
  EXPECT_GT(largest, 0.0410);
}

TEST(Initializers, DoublePrecision) {
  Array made = get(XavierNormal{.seed = 1}({4, 5}, DataType::F64));
  EXPECT_EQ(made.dtype, DataType::F64);
  expectOrthonormal(get(Orthogonal{.seed = 2}({3, 8}, DataType::F64)), 1, 1);
}

TEST(Initializers, TheDefaultGeneratorIsSeeded) {
  nn::seed(5);
  Array first = get(XavierNormal{}({2, 3, 4}));
  Array second = get(XavierNormal{}({2, 3, 4}));
  nn::seed(5);
  EXPECT_TRUE(sameBits(get(XavierNormal{}({2, 3, 4})), first));
  EXPECT_FALSE(sameBits(first, second));
}

TEST(Initializers, EmptyShapes) {
  for (const Initializer &make :
       {Initializer(XavierNormal{}), Initializer(Orthogonal{.axis = 0}),
        Initializer(Uniform{})}) {
    EXPECT_EQ(get(make({0, 3}, DataType::F32)).elements(), 0);
    EXPECT_EQ(get(make({3, 0}, DataType::F32)).elements(), 0);
  }
}

TEST(Initializers, Errors) {
  expectBadInput(TruncatedNormal{.scale = -1}({3}), {"scale=-1", "above 0"});
  expectBadInput(TruncatedNormal{.lower = 2, .upper = 1}({3}),
                 {"lower=2", "upper=1"});
  expectBadInput(XavierNormal{.scale = -1}({3, 4}), {"scale=-1"});
  expectBadInput(XavierNormal{}({3}), {"in_axis=-2", "(3,)", "-1 to 0"});
  expectBadInput(XavierNormal{.out_axis = 2}({3, 4}), {"out_axis=2"});
  expectBadInput(Orthogonal{.axis = 2}({3, 4}), {"axis=2", "(3, 4)"});
  expectBadInput(DeltaOrthogonal{}({3, 4}), {"(3, 4)", "3 to 5 axes"});
  expectBadInput(DeltaOrthogonal{}({3, 4, 2}), {"(3, 4, 2)", "last axis"});
  expectBadInput(Uniform{}({3, -1}), {"(3, -1)"});
  expectBadInput(Normal{}({int64_t(1) << 40, int64_t(1) << 40}), {"2^44"});
  expectBadInput(Constant{}({int64_t(1) << 62, 4}), {"2^44"});
}
