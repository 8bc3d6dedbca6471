//===- ContractTest.cpp - each rule for each of the nine classes -*- C++
//-*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "LayerTesting.h"

#include <functional>

using namespace convjit;
using namespace convjit::nn;

namespace {

template <typename> struct ClassOf;
template <LayerKind layerKind, int layerRank>
struct ClassOf<LayerOf<layerKind, layerRank>> {
  static constexpr LayerKind kind = layerKind;
  static constexpr size_t rank = layerRank;
};

template <typename LayerType> class Contract : public testing::Test {
protected:
  using Arguments = typename LayerType::Arguments;
  static constexpr size_t rank = ClassOf<LayerType>::rank;
  static constexpr bool transposed =
      ClassOf<LayerType>::kind == LayerKind::ConvTranspose;
  /// Each another one, so that axes in the wrong order show.
  static inline const Shape space = {7, 5, 6};

  /// 7 (by 5 (by 6)) of 4 channels to 6, kernel 3; then `change`.
  static Expected<LayerType>
  with(const std::function<void(Arguments &)> &change = [](Arguments &) {}) {
    Arguments arguments;
    arguments.in_size = Shape(space.begin(), space.begin() + rank);
    arguments.in_size.push_back(4);
    arguments.out_channels = 6;
    arguments.kernel_size = 3;
    change(arguments);
    return tryMake<LayerType>(std::move(arguments));
  }
  /// 2, or 2 and 3, or 2, 3 and 4.
  static std::vector<int64_t> counted(size_t count = rank) {
    std::vector<int64_t> values;
    for (size_t i = 0; i < count; ++i)
      values.push_back(static_cast<int64_t>(i) + 2);
    return values;
  }
  static std::vector<int64_t> all(int64_t value) {
    return std::vector<int64_t>(rank, value);
  }
};

using Classes = testing::Types<Conv1d, Conv2d, Conv3d, ConvTranspose1d,
                               ConvTranspose2d, ConvTranspose3d, ScaledWSConv1d,
                               ScaledWSConv2d, ScaledWSConv3d>;
TYPED_TEST_SUITE(Contract, Classes);

/// The length of one dimension by the layer's documentation.
int64_t lengthOf(bool transposed, int64_t n, int64_t k, int64_t s, int64_t d,
                 const std::string &mode, PadPair pad) {
  int64_t ek = (k - 1) * d + 1;
  if (transposed) {
    if (mode == "SAME")
      return n * s;
    if (mode == "VALID")
      return n * s + std::max<int64_t>(ek - s, 0);
    return (n - 1) * s + 2 + pad.lo + pad.hi - ek;
  }
  if (mode == "SAME")
    return (n + s - 1) / s;
  int64_t padded = n + pad.lo + pad.hi;
  return padded < ek ? 0 : (padded - ek) / s + 1;
}

} // namespace

// One number, a list of one, a list of one for each dimension, nothing else.
TYPED_TEST(Contract, SizesOfAnyForm) {
  using Arguments = typename TestFixture::Arguments;
  struct Field {
    const char *name;
    Sizes Arguments::*argument;
    const std::vector<int64_t> &(Layer::*attribute)() const;
  };
  for (Field field :
       {Field{"kernel_size", &Arguments::kernel_size, &Layer::kernel_size},
        Field{"stride", &Arguments::stride, &Layer::stride},
        Field{"rhs_dilation", &Arguments::rhs_dilation,
              &Layer::rhs_dilation}}) {
    auto given = [&](Sizes sizes) {
      return TestFixture::with(
          [&](auto &arguments) { arguments.*field.argument = sizes; });
    };
    EXPECT_EQ((get(given(2)).*field.attribute)(), TestFixture::all(2));
    EXPECT_EQ((get(given({2})).*field.attribute)(), TestFixture::all(2));
    EXPECT_EQ((get(given(TestFixture::counted())).*field.attribute)(),
              TestFixture::counted());
    std::vector<int64_t> tooMany = TestFixture::counted(TestFixture::rank + 1);
    expectBadInput(given(tooMany), {field.name + ("=" + shapeText(tooMany))});
    expectBadInput(given(std::vector<int64_t>{}),
                   {std::string(field.name) + "=()"});
    expectBadInput(given(0), {std::string(field.name) + "=0"});
    expectBadInput(given(-1), {std::string(field.name) + "=-1"});
  }
}

TYPED_TEST(Contract, PaddingOfAnyForm) {
  constexpr size_t rank = TestFixture::rank;
  auto given = [&](Padding padding) {
    return TestFixture::with(
        [&](auto &arguments) { arguments.padding = padding; });
  };
  Padding::Pairs same(rank, {2, 2}), pair(rank, {1, 2}), each, pairs;
  for (int64_t value : TestFixture::counted()) {
    each.push_back({value, value});
    pairs.push_back({value, value - 1});
  }
  EXPECT_EQ(get(given(2)).padding(), same);
  EXPECT_EQ(get(given(TestFixture::counted())).padding(), each);
  EXPECT_EQ(get(given(Padding::Pairs{{1, 2}})).padding(), pair);
  EXPECT_EQ(get(given(pairs)).padding(), pairs);
  EXPECT_STREQ(get(given(pairs)).padding_mode(), "explicit");
  EXPECT_STREQ(get(given("SAME")).padding_mode(), "SAME");
  EXPECT_STREQ(get(given("VALID")).padding_mode(), "VALID");
  for (const char *mode : {"same", "valid", "Same", "FULL", "", "SAME "})
    expectBadInput(given(mode), {"padding='" + std::string(mode) + "'"});
  expectBadInput(given(Padding::Numbers{}), {"padding"});
  expectBadInput(given(Padding::Pairs{}), {"padding"});
  expectBadInput(given(Padding::Numbers(rank + 2, 1)), {"padding"});
  expectBadInput(given(Padding::Pairs(rank + 1, {1, 1})), {"padding"});
}

TYPED_TEST(Contract, LengthsOfTheOutput) {
  for (int64_t k : {1, 2, 3, 4})
    for (int64_t s : {1, 2, 3})
      for (int64_t d : {1, 2})
        for (std::string mode : {"SAME", "VALID", "explicit"}) {
          PadPair pad{mode == "explicit" ? 5 : 0, mode == "explicit" ? 4 : 0};
          TypeParam layer = get(TestFixture::with([&](auto &arguments) {
            arguments.kernel_size = k;
            arguments.stride = s;
            arguments.rhs_dilation = d;
            if (mode == "explicit")
              arguments.padding = Padding::Pairs{pad};
            else
              arguments.padding = mode;
          }));
          Shape wanted;
          for (size_t i = 0; i < TestFixture::rank; ++i)
            wanted.push_back(lengthOf(TestFixture::transposed,
                                      TestFixture::space[i], k, s, d, mode,
                                      pad));
          wanted.push_back(6);
          EXPECT_EQ(layer.out_size(), wanted)
              << "k=" << k << " s=" << s << " d=" << d << " " << mode;
        }
}

TYPED_TEST(Contract, InputDilation) {
  auto given = [&](Sizes sizes) {
    return TestFixture::with([&](auto &arguments) {
      arguments.stride = 2;
      arguments.lhs_dilation = sizes;
      arguments.padding = "VALID";
    });
  };
  EXPECT_TRUE(given(1));
  EXPECT_TRUE(given({2}));
  EXPECT_TRUE(given(TestFixture::all(2)));
  // Its stride dilates a transposed layer's input; anything else is refused.
  if (TestFixture::transposed) {
    EXPECT_EQ(get(given(2)).out_size(), get(given(1)).out_size());
    expectBadInput(given(3), {"lhs_dilation=(3"});
  } else {
    EXPECT_EQ(get(given(3)).out_size()[0], (6 * 3 + 1 - 3) / 2 + 1);
  }
  expectBadInput(given(0), {"lhs_dilation=0"});
  expectBadInput(given(std::vector<int64_t>(TestFixture::rank + 1, 1)),
                 {"lhs_dilation"});
}

TYPED_TEST(Contract, ChannelsAndGroups) {
  constexpr size_t rank = TestFixture::rank;
  auto given = [&](int64_t groups, bool first) {
    return TestFixture::with([&](auto &arguments) {
      arguments.groups = groups;
      arguments.channel_first = first;
      arguments.b_init = 1;
      if (first) {
        arguments.in_size.pop_back();
        arguments.in_size.insert(arguments.in_size.begin(), 4);
      }
    });
  };
  for (bool first : {false, true}) {
    TypeParam layer = get(given(2, first));
    EXPECT_EQ(layer.in_channels(), 4);
    EXPECT_EQ(layer.out_channels(), 6);
    EXPECT_EQ(layer.groups(), 2);
    EXPECT_EQ(layer.channel_first(), first);
    Shape kernel = TestFixture::all(3);
    kernel.insert(kernel.end(), {TestFixture::transposed ? 6 : 2,
                                 TestFixture::transposed ? 2 : 6});
    EXPECT_EQ(layer.kernel_shape(), kernel);
    EXPECT_EQ(layer.weight().shape, kernel);
    Shape bias(rank + (first ? 2 : 1), 1);
    (first ? bias[1] : bias.back()) = 6;
    EXPECT_EQ(layer.bias_shape(), bias);
    EXPECT_EQ(layer.bias()->shape, bias);
    EXPECT_EQ(first ? layer.out_size()[0] : layer.out_size()[rank], 6);
  }
  expectBadInput(given(4, false), {"groups=4", "out_channels=6"});
  expectBadInput(given(3, false), {"groups=3", "in_channels=4"});
  expectBadInput(given(0, false), {"groups=0"});
  expectBadInput(given(-1, false), {"groups=-1"});
}

// As booleans, as numbers of either dtype, as one number, as a callable.
TYPED_TEST(Contract, MasksOfAnyForm) {
  Shape kernel = get(TestFixture::with()).kernel_shape();
  auto size = static_cast<size_t>(zeros(DataType::F64, kernel).elements());
  BoolArray booleans{kernel, std::vector<bool>(size)};
  std::vector<double> numbers(size);
  for (size_t i = 0; i < size; ++i)
    numbers[i] = booleans.values[i] = i % 3 != 1;
  auto mask = [&](Parameter given) {
    TypeParam layer = get(
        TestFixture::with([&](auto &arguments) { arguments.w_mask = given; }));
    EXPECT_TRUE(layer.w_mask());
    EXPECT_EQ(layer.w_mask()->shape, kernel);
    return widened(*layer.w_mask());
  };
  EXPECT_EQ(mask(booleans), numbers);
  EXPECT_EQ(mask(array(kernel, numbers)), numbers);
  EXPECT_EQ(mask(array(kernel, numbers, DataType::F64)), numbers);
  EXPECT_EQ(mask([&](const Shape &shape, DataType dtype) -> Expected<Array> {
              return array(shape, numbers, dtype);
            }),
            numbers);
  EXPECT_THAT(mask(true), testing::Each(1));
  // One for each output channel, which is not the last axis when transposed.
  Shape perChannel{6};
  if (TestFixture::transposed)
    perChannel.push_back(1);
  std::vector<double> channels =
      mask(BoolArray{perChannel, {true, false, true, true, false, true}});
  for (size_t i = 0; i < channels.size(); ++i) {
    size_t channel = TestFixture::transposed ? i / 4 % 6 : i % 6;
    EXPECT_EQ(channels[i], channel != 1 && channel != 4);
  }
  booleans.values.pop_back();
  expectBadInput(
      TestFixture::with([&](auto &arguments) { arguments.w_mask = booleans; }),
      {"w_mask", "bytes of data"});
  expectBadInput(TestFixture::with([&](auto &arguments) {
                   arguments.w_mask = BoolArray{{2}, {true, false}};
                 }),
                 {"w_mask has shape (2,)", shapeText(kernel)});
}

TYPED_TEST(Contract, InputsOfAnotherShape) {
  TypeParam layer = get(TestFixture::with());
  auto given = [&](Shape shape, DataType dtype = DataType::F32) {
    return layer(zeros(dtype, std::move(shape)));
  };
  Shape each = layer.in_size(), batched = each;
  batched.insert(batched.begin(), 2);
  // Good ones get as far as asking for a kernel, which this test has not.
  for (const Shape &shape : {each, batched})
    EXPECT_EQ(given(shape).error().message, "no kernel in this test");
  Shape wrong = each;
  wrong.back() = 5;
  expectBadInput(given(wrong),
                 {"input has shape " + shapeText(wrong), shapeText(each)});
  wrong = batched;
  wrong.insert(wrong.begin(), 1);
  expectBadInput(given(wrong), {"input has shape " + shapeText(wrong)});
  expectBadInput(given({4}), {"input has shape (4,)"});
  expectBadInput(given(each, DataType::F64), {"input has dtype f64", "f32"});
}
