//===- ConvolutionTextTest.cpp - convolutions as one line of text -*- C++
//-*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "ConvolutionText.h"
#include "RandomConvolution.h"

#include <gtest/gtest.h>

#include <algorithm>

using namespace convjit;

TEST(ConvolutionText, RoundTripOfRandomConvolutions) {
  for (uint64_t seed = 0; seed < 5000; ++seed) {
    Random random(seed);
    NamedConvolution named = randomConvolution(random);
    std::string text = describe(named);
    ASSERT_EQ(text.find_first_of(" \n\t"), std::string::npos) << text;
    Expected<NamedConvolution> again = parseConvolution(text);
    ASSERT_TRUE(again) << text << ": " << again.error().message;
    ASSERT_EQ(again->mask, named.mask) << text;
    ASSERT_EQ(again->conv, named.conv) << text; // the mask's values included
    ASSERT_EQ(describe(*again), text);
  }
}

static const std::string plain =
    "convolution:n=8,k=3,ws=1,ld=1,rd=1,pad=0:0,rev=0,ic=4,oc=6,x=b0f,w=0io,"
    "y=b0f";

TEST(ConvolutionText, EveryFieldIsRead) {
  Expected<NamedConvolution> named = parseConvolution(
      "convolution:n=9x8,k=3x2,ws=1x2,ld=2x1,rd=1x3,pad=-1:2x0:1,rev=1x0,ic=8,"
      "oc=6,g=2,x=b1f0,w=1oi0,y=f01b,swapped,dtype=f64,bias,residual,"
      "act=leaky_relu:-0.5,mask=causal@17");
  ASSERT_TRUE(named) << named.error().message;
  const Convolution &conv = named->conv;
  ASSERT_EQ(conv.rank(), 2);
  EXPECT_EQ(conv.dims[0], (SpatialDim{9, 3, 1, 2, 1, -1, 2, true}));
  EXPECT_EQ(conv.dims[1], (SpatialDim{8, 2, 2, 1, 3, 0, 1, false}));
  EXPECT_EQ(conv.inChannels, 8);
  EXPECT_EQ(conv.outChannels, 6);
  EXPECT_EQ(conv.groups, 2);
  EXPECT_EQ(conv.batchGroups, 1);
  EXPECT_EQ(conv.numbers.inputBatch, 0);
  EXPECT_EQ(conv.numbers.inputFeature, 2);
  EXPECT_EQ(conv.numbers.inputSpatial, (std::vector<int64_t>{3, 1}));
  EXPECT_EQ(conv.numbers.kernelOutputFeature, 1);
  EXPECT_EQ(conv.numbers.kernelInputFeature, 2);
  EXPECT_EQ(conv.numbers.kernelSpatial, (std::vector<int64_t>{3, 0}));
  EXPECT_EQ(conv.numbers.outputBatch, 3);
  EXPECT_EQ(conv.numbers.outputFeature, 0);
  EXPECT_EQ(conv.numbers.outputSpatial, (std::vector<int64_t>{1, 2}));
  EXPECT_TRUE(conv.kernelFeaturesSwapped);
  EXPECT_EQ(conv.dtype, DataType::F64);
  EXPECT_TRUE(conv.bias);
  EXPECT_TRUE(conv.residual);
  EXPECT_EQ(conv.activation.kind, ActivationKind::LeakyRelu);
  EXPECT_EQ(conv.activation.slope, -0.5);
  EXPECT_EQ(named->mask, "causal@17");
  EXPECT_EQ(conv.mask.size(), 3u * 2 * 8 * 3);
  // Swapped: all inputs, and the outputs of a group.
  EXPECT_EQ(conv.kernelShape(), (std::vector<int64_t>{2, 3, 8, 3}));
}

TEST(ConvolutionText, EveryType) {
  for (DataType dtype : {DataType::F64, DataType::F16, DataType::BF16}) {
    std::string text = std::string(plain) + ",dtype=" + name(dtype);
    Expected<NamedConvolution> named = parseConvolution(text);
    ASSERT_TRUE(named) << named.error().message;
    EXPECT_EQ(named->conv.dtype, dtype);
    EXPECT_EQ(describe(*named), text);
  }
}

TEST(ConvolutionText, StridesOfTheInput) {
  std::string text = plain;
  text.insert(text.find(",w="), ",xs=-640x0x1");
  Expected<NamedConvolution> named = parseConvolution(text);
  ASSERT_TRUE(named) << named.error().message;
  EXPECT_EQ(named->conv.inputStrides, (std::vector<int64_t>{-640, 0, 1}));
  EXPECT_EQ(describe(*named), text);
}

TEST(ConvolutionText, DefaultsAreLeftOut) {
  Expected<NamedConvolution> named = parseConvolution(plain);
  ASSERT_TRUE(named) << named.error().message;
  EXPECT_EQ(named->conv.groups, 1);
  EXPECT_EQ(named->conv.batchGroups, 1);
  EXPECT_EQ(named->conv.dtype, DataType::F32);
  EXPECT_EQ(describe(*named), plain);
}

TEST(ConvolutionText, MalformedTextsNameTheField) {
  auto without = [](std::string field) {
    size_t at = plain.find(field);
    std::string text = plain;
    return text.replace(at, plain.find(',', at) - at + 1, "");
  };
  auto with = [](std::string field, std::string other) {
    size_t at = plain.find(field);
    std::string text = plain;
    return text.replace(at, field.size(), other);
  };
  std::pair<std::string, std::string> cases[] = {
      {"", "'convolution:'"},
      {"convolution", "'convolution:'"},
      {"convolution:", "''"},
      {"conv1d:in=8x8,oc=4,k=3", "'convolution:'"},
      {plain + ",", "''"},
      {plain + ",stride=2", "'stride'"},
      {plain + ",ic=4", "'ic'"},
      {plain + ",bias,bias", "'bias'"},
      {plain + ",bias=1", "'bias'"},
      {plain + ",swapped=", "'swapped'"},
      {plain + ",g", "'g'"},
      {plain + ",g=2x1", "'g'"},
      {plain + ",bg=two", "'bg'"},
      {plain + ",xs=", "'xs'"},
      {plain + ",xs=8x1", "'xs'"},
      {plain + ",xs=32x4x1x1", "'xs'"},
      {plain + ",xs=32x4x1.5", "'xs'"},
      {plain + ",xs=32x4x1099511627777",
       "inputStrides[2]=1099511627777; valid: -2^40 to 2^40"},
      {plain + ",xs=32x157073089683x1", "more than 2^40 elements"},
      {plain + ",dtype=f8", "'dtype'"},
      {plain + ",act=swish", "'act'"},
      {plain + ",act=relu:0.5", "'act'"},
      {plain + ",act=leaky_relu:", "'act'"},
      {plain + ",act=leaky_relu:1x", "'act'"},
      {plain + ",act=leaky_relu:1:2", "'act'"},
      {plain + ",act=leaky_relu:nan", "'act'"},
      {plain + ",act=leaky_relu:inf", "'act'"},
      {plain + ",mask=stripes@1", "mask=stripes@1"},
      {plain + ",mask=taps", "mask=taps"},
      {plain + ",mask=taps@", "mask=taps@"},
      {plain + ",mask=taps@x", "mask=taps@x"},
      {plain + ",mask=ta\nps@1", "mask=ta?ps@1"},
      {plain + ",a\nb=1", "'a?b'"},
      {without("n="), "'n'"},
      {without("k="), "'k'"},
      {without("ws="), "'ws'"},
      {without("ld="), "'ld'"},
      {without("rd="), "'rd'"},
      {without("pad="), "'pad'"},
      {without("rev="), "'rev'"},
      {without("ic="), "'ic'"},
      {without("oc="), "'oc'"},
      {without("x="), "'x'"},
      {without("w=0"), "'w'"},
      {plain.substr(0, plain.size() - 6), "'y'"},
      {with("n=8", "n=8x8x8x8"), "'n'"},
      {with("n=8", "n=8x8"), "'k'"},
      {with("n=8", "n=a"), "'n'"},
      {with("n=8", "n=99999999999999999999"), "'n'"},
      {with("k=3", "k=3x3"), "'k'"},
      {with("pad=0:0", "pad=0"), "'pad'"},
      {with("pad=0:0", "pad=0:0:0"), "'pad'"},
      {with("pad=0:0", "pad=0:0x0:0"), "'pad'"},
      {with("rev=0", "rev=2"), "'rev'"},
      {with("x=b0f", "x=b0"), "'x'"},
      {with("x=b0f", "x=b1f"), "'x'"},
      {with("x=b0f", "x=o0f"), "'x'"},
      {with("x=b0f", "x=bbf"), "C13:"},
      {with("w=0io", "w=iio"), "C18:"},
      {with("y=b0f", "y=ff0"), "C20:"},
      {with("ws=1", "ws=0"), "C3:"},
      {with("k=3", "k=0"), "kernel[0]=0"},
      {with("ic=4", "ic=0"), "inChannels=0"},
      {with("k=3", "k=10000000") + ",mask=taps@1", "mask=taps@1"}};
  for (const auto &[text, names] : cases) {
    Expected<NamedConvolution> named = parseConvolution(text);
    ASSERT_FALSE(named) << text;
    const Error &error = named.error();
    EXPECT_EQ(error.kind, ErrorKind::BadInput);
    EXPECT_NE(error.message.find(names), std::string::npos)
        << text << ": " << error.message;
    EXPECT_NE(error.message.find("valid:"), std::string::npos) << error.message;
    EXPECT_EQ(error.message.find('\n'), std::string::npos) << error.message;
    EXPECT_LT(error.message.size(), 300u);
  }
}

//===----------------------------------------------------------------------===//
// Masks
//===----------------------------------------------------------------------===//

/// The mask of a convolution with k 3x3, 8 inputs and 16 outputs, as
/// (tap, input, output).
static std::vector<double> maskOf(const std::string &name) {
  Expected<NamedConvolution> named = parseConvolution(
      "convolution:n=8x8,k=3x3,ws=1x1,ld=1x1,rd=1x1,pad=0:0x0:0,rev=0x0,ic=8,"
      "oc=16,x=b01f,w=01io,y=b01f,mask=" +
      name);
  EXPECT_TRUE(named) << named.error().message;
  EXPECT_EQ(named->conv.mask.size(), 9u * 8 * 16);
  return named->conv.mask;
}

static bool isConstantByTap(const std::vector<double> &mask) {
  for (size_t i = 0; i < mask.size(); ++i)
    if (mask[i] != mask[i / 128 * 128])
      return false;
  return true;
}

TEST(Mask, Names) {
  for (const char *name : {"taps@0", "causal@17", "blocks@-3", "random@999",
                           "factors@1", "none@2"})
    EXPECT_TRUE(isMaskName(name)) << name;
  for (const char *name :
       {"", "@", "taps", "taps@", "@1", "taps@x", "taps@1.npy", "stripes@1",
        "./taps@1", "Taps@1", "taps@1@2", "taps@99999999999999999999"})
    EXPECT_FALSE(isMaskName(name)) << name;
}

TEST(Mask, KindsMeanWhatTheySay) {
  for (int seed = 0; seed < 20; ++seed) {
    std::string at = "@" + std::to_string(seed);
    std::vector<double> causal = maskOf("causal" + at);
    for (size_t i = 0; i < causal.size(); ++i)
      ASSERT_EQ(causal[i], i / 128 <= 4) << i; // the middle tap is the fifth
    std::vector<double> taps = maskOf("taps" + at);
    EXPECT_TRUE(isConstantByTap(taps));
    std::vector<double> blocks = maskOf("blocks" + at);
    for (size_t i = 0; i < blocks.size(); ++i)
      ASSERT_EQ(blocks[i], blocks[i % 128]) << i; // the same at each tap
    for (const char *kind : {"taps", "causal", "blocks", "random"})
      for (double value : maskOf(kind + at))
        ASSERT_TRUE(value == 0 || value == 1) << kind;
    std::vector<double> random = maskOf("random" + at);
    EXPECT_FALSE(isConstantByTap(random));
    EXPECT_NEAR(std::count(random.begin(), random.end(), 0), 576, 120);
    std::vector<double> factors = maskOf("factors" + at);
    for (double value : {0.0, 0.5, 1.0, 1.5})
      EXPECT_GT(std::count(factors.begin(), factors.end(), value), 100);
    std::vector<double> none = maskOf("none" + at);
    EXPECT_EQ(std::count(none.begin(), none.end(), 0), 9 * 8 * 16);
  }
  EXPECT_EQ(maskOf("random@3"), maskOf("random@3"));
  EXPECT_NE(maskOf("random@3"), maskOf("random@4"));
}
