//===- ProblemErrorsTest.cpp - what is wrong with a problem -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "convjit/Problem.h"

#include <gtest/gtest.h>

#include <cmath>

using namespace convjit;

namespace {
struct Malformed {
  const char *text;
  const char *names; ///< what the message must mention
};
} // namespace

static const Malformed malformed[] = {
    {"", "operation"},
    {":", "operation"},
    {"conv", "operation"},
    {"conv3d", "problem"},
    {"conv4d:in=8x8,oc=4,k=3", "operation"},
    {"conv0d:in=8x8,oc=4,k=3", "operation"},
    {"Conv3d:in=8x8x8x8,oc=4,k=3", "operation"},
    {"convt3d:in=8x8x8x8,oc=4,k=3", "operation"},
    {"convT3D:in=8x8x8x8,oc=4,k=3", "operation"},
    {"deconv3d:in=8x8x8x8,oc=4,k=3", "operation"},
    {" conv1d:in=8x8,oc=4,k=3", "operation"},
    {"conv1d :in=8x8,oc=4,k=3", "operation"},
    {"conv1d:", "''"},
    {"conv1d:in=8x8", "oc"},
    {"conv1d:in=8x8,oc=4", "k"},
    {"conv1d:oc=4,k=3", "in"},
    {"conv1d:in=8x8,oc=4,k=3,", "''"},
    {"conv1d:in=8x8,,oc=4,k=3", "''"},
    {"conv1d:in=8x8,oc=4,k=3,oc=4", "oc"},
    {"conv1d:in=8x8,oc=4,k=3,bias,bias", "bias"},
    {"conv1d:in=8x8,oc=4,k=3,in=8x8", "in"},
    {"conv1d:in=8x8,oc=4,k=3,stride=2", "stride"},
    {"conv1d:in=8x8,oc=4,k=3,S=2", "S"},
    {"conv1d:in=8x8,oc=4,k=3,groups=2", "groups"},
    {"conv1d:in=8x8,oc=4,k=3,batch=2", "batch"},
    {"conv1d:in=8x8,oc=4,k=3,dilation=2", "dilation"},
    {"conv1d:in=8x8,oc=4,k=3,relu", "relu"},
    {"conv1d:in=8x8,oc=4,k=3, s=2", " s"},
    {"conv1d:in =8x8,oc=4,k=3", "in "},
    {"conv1d:in=,oc=4,k=3", "in"},
    {"conv1d:in,oc=4,k=3", "in"},
    {"conv1d:in=8,oc=4,k=3", "in"},
    {"conv1d:in=8x8x8,oc=4,k=3", "in"},
    {"conv3d:in=8x8x8,oc=4,k=3", "in"},
    {"conv1d:in=8X8,oc=4,k=3", "in"},
    {"conv1d:in=8*8,oc=4,k=3", "in"},
    {"conv1d:in=8xx8,oc=4,k=3", "in"},
    {"conv1d:in=x8,oc=4,k=3", "in"},
    {"conv1d:in=8x,oc=4,k=3", "in"},
    {"conv1d:in=8.5x8,oc=4,k=3", "in"},
    {"conv1d:in=0x10x8,oc=4,k=3", "in"},
    {"conv1d:in=-1x8,oc=4,k=3", "in"},
    {"conv1d:in=8x0,oc=4,k=3", "in"},
    {"conv1d:in=8x-4,oc=4,k=3", "in"},
    {"conv1d:in=axb,oc=4,k=3", "in"},
    {"conv1d:in=99999999999999999999x8,oc=4,k=3", "in"},
    {"conv1d:in=9223372036854775807x8,oc=4,k=3", "in"},
    {"conv3d:in=1048576x1048576x1048576x8,oc=4,k=3", "input"},
    {"conv1d:in=8x8,oc=0,k=3", "oc"},
    {"conv1d:in=8x8,oc=-4,k=3", "oc"},
    {"conv1d:in=8x8,oc=,k=3", "oc"},
    {"conv1d:in=8x8,oc,k=3", "oc"},
    {"conv1d:in=8x8,oc=four,k=3", "oc"},
    {"conv1d:in=8x8,oc=4x4,k=3", "oc"},
    {"conv1d:in=8x8,oc=1e3,k=3", "oc"},
    {"conv1d:in=8x8,oc=+4,k=3", "oc"},
    {"conv1d:in=8x8,oc=0x10,k=3", "oc"},
    {"conv1d:in=8x8,oc=99999999999999999999,k=3", "oc"},
    {"conv1d:in=8x8,oc=4,k=0", "k"},
    {"conv1d:in=8x8,oc=4,k=-3", "k"},
    {"conv1d:in=8x8,oc=4,k=3x3", "k"},
    {"conv2d:in=8x8x8,oc=4,k=3x3x3", "k"},
    {"conv2d:in=8x8x8,oc=4,k=3x", "k"},
    {"conv2d:in=8x8x8,oc=4,k=3x0", "k"},
    {"conv2d:in=8x8x8,oc=4,k=3,3", "3"},
    {"conv1d:in=8x8,oc=4,k=99999999999", "k"},
    {"conv1d:in=8x8,oc=4,k=3,s=0", "s"},
    {"conv1d:in=8x8,oc=4,k=3,s=-1", "s"},
    {"conv1d:in=8x8,oc=4,k=3,s=2x2", "s"},
    {"conv1d:in=8x8,oc=4,k=3,s=1.5", "s"},
    {"conv1d:in=8x8,oc=4,k=3,s=", "s"},
    {"conv1d:in=8x8,oc=4,k=3,d=0", "d"},
    {"conv1d:in=8x8,oc=4,k=3,d=-2", "d"},
    {"conv1d:in=8x8,oc=4,k=3,ld=0", "ld"},
    {"convT1d:in=8x8,oc=4,k=3,ld=2", "ld"},
    {"conv1d:in=8x8,oc=4,k=3,g=0", "g"},
    {"conv1d:in=8x8,oc=4,k=3,g=-2", "g"},
    {"conv1d:in=8x8,oc=4,k=3,g=3", "g=3"},
    {"conv1d:in=9x9,oc=4,k=3,g=3", "g=3"},
    {"conv1d:in=8x8,oc=6,k=3,g=4", "g=4"},
    {"conv1d:in=8x8,oc=4,k=3,g=2x2", "g"},
    {"conv1d:in=8x8,oc=4,k=3,bg=0", "bg"},
    {"conv1d:in=8x8,oc=4,k=3,bg=3", "bg=3"},
    {"conv1d:in=8x8,oc=4,k=3,g=2,bg=2", "bg=2"},
    {"conv1d:in=8x8,oc=4,k=3,pad=SAME", "pad"},
    {"conv1d:in=8x8,oc=4,k=3,pad=Valid", "pad"},
    {"conv1d:in=8x8,oc=4,k=3,pad=full", "pad"},
    {"conv1d:in=8x8,oc=4,k=3,pad=", "pad"},
    {"conv1d:in=8x8,oc=4,k=3,pad=1x1", "pad"},
    {"conv1d:in=8x8,oc=4,k=3,pad=1:2:3", "pad"},
    {"conv1d:in=8x8,oc=4,k=3,pad=1:", "pad"},
    {"conv1d:in=8x8,oc=4,k=3,pad=:1", "pad"},
    {"conv2d:in=8x8x8,oc=4,k=3,pad=1x1x1", "pad"},
    {"conv2d:in=8x8x8,oc=4,k=3,pad=1xsame", "pad"},
    {"conv1d:in=8x8,oc=4,k=3,pad=1.5", "pad"},
    {"conv1d:in=8x8,oc=4,k=3,pad=9999999999", "pad"},
    {"conv1d:in=8x8,oc=4,k=3,layout=nhwc", "layout"},
    {"conv1d:in=8x8,oc=4,k=3,layout=channel_first", "layout"},
    {"conv1d:in=8x8,oc=4,k=3,layout=", "layout"},
    {"conv1d:in=8x8,oc=4,k=3,dtype=f8", "dtype"},
    {"conv1d:in=8x8,oc=4,k=3,dtype=float32", "dtype"},
    {"conv1d:in=8x8,oc=4,k=3,grad=bias", "grad"},
    {"conv1d:in=8x8,oc=4,k=3,grad=none", "grad"},
    {"conv1d:in=8x8,oc=4,k=3,grad=input,bias", "grad"},
    {"conv1d:in=8x8,oc=4,k=3,grad=weight,act=relu", "grad"},
    {"conv1d:in=8x8,oc=4,k=3,act=Relu", "act"},
    {"conv1d:in=8x8,oc=4,k=3,act=swish", "act"},
    {"conv1d:in=8x8,oc=4,k=3,act=relu:0.1", "act"},
    {"conv1d:in=8x8,oc=4,k=3,act=leaky_relu:", "act"},
    {"conv1d:in=8x8,oc=4,k=3,act=leaky_relu:x", "act"},
    {"conv1d:in=8x8,oc=4,k=3,act=leaky_relu:nan", "act"},
    {"conv1d:in=8x8,oc=4,k=3,act=leaky_relu:inf", "act"},
    {"conv1d:in=8x8,oc=4,k=3,bias=1", "bias"},
    {"conv1d:in=8x8,oc=4,k=3,bias=true", "bias"},
    {"conv1d:in=8x8,oc=4,k=3,residual=yes", "residual"},
    {"conv1d:in=8x8,oc=4,k=3,mask", "mask"},
    {"conv1d:in=8x8,oc=4,k=3,mask=a\nb", "mask"},
    {"conv1d:in=8x8,oc=4,k=3,residual,grad=input", "grad=input"},
    {"conv1d:in=8x8,oc=4,k=3,mask=", "mask"},
    {"conv1d:in=8x8,oc=4,k=3\n", "k"},
    {"conv1d:in=8x8\n,oc=4,k=3", "in"},
    {"conv1d:in=8x8,oc=4,k=3,\x01=2", "?"},
};

TEST(Problem, MalformedStringsSayWhatIsValid) {
  EXPECT_GE(std::size(malformed), 100u);
  for (const Malformed &item : malformed) {
    Expected<Problem> problem = parseProblem(item.text);
    ASSERT_FALSE(problem) << item.text;
    const Error &error = problem.error();
    EXPECT_EQ(error.kind, ErrorKind::BadInput) << item.text;
    // The field comes before what is valid, which may list every field.
    size_t valid = error.message.find("valid:");
    ASSERT_NE(valid, std::string::npos) << item.text << ": " << error.message;
    EXPECT_LT(error.message.find(item.names), valid)
        << item.text << ": " << error.message;
    EXPECT_EQ(error.message.find('\n'), std::string::npos) << item.text;
    EXPECT_TRUE(!error.message.ends_with('.') || error.message.ends_with("..."))
        << error.message;
  }
}

TEST(Problem, FieldErrorsNameBothLimits) {
  auto expect = [](const std::string &field, const std::string &message) {
    Expected<Problem> problem = parseProblem("conv1d:in=8x8,oc=4,k=3," + field);
    if (field.starts_with("in="))
      problem = parseProblem("conv1d:oc=4,k=3," + field);
    else if (field.starts_with("oc="))
      problem = parseProblem("conv1d:in=8x8,k=3," + field);
    else if (field.starts_with("k="))
      problem = parseProblem("conv1d:in=8x8,oc=4," + field);
    ASSERT_FALSE(problem) << field;
    EXPECT_EQ(problem.error().message, message);
  };
  // Outside the limits, and what is no 64-bit integer at all.
  for (const char *field : {"s", "d", "ld", "g", "bg", "oc"}) {
    std::string start = std::string(field) + "=";
    expect(start + "0", start + "0: valid: 1 to 1073741824");
    expect(start + "1073741825", start + "1073741825: valid: 1 to 1073741824");
  }
  for (const char *field : {"g", "bg", "oc"}) {
    std::string start = std::string(field) + "=";
    expect(start + "99999999999999999999",
           start + "99999999999999999999: valid: an integer from 1 to "
                   "1073741824");
  }
  expect("s=99999999999999999999",
         "s=99999999999999999999: valid: an integer from 1 to 1073741824, or 1 "
         "with 'x' between them");
  // A kernel's limit is the general convolution's.
  expect("k=0", "k=0: valid: 1 to 16777216");
  expect("k=16777217", "k=16777217: valid: 1 to 16777216");
  expect("k=9999999999", "k=9999999999: valid: 1 to 16777216");
  expect("k=three", "k=three: valid: an integer from 1 to 16777216, or 1 with "
                    "'x' between them");
  expect("in=-1x8", "in=-1: valid: 0 to 1073741824");
  expect("in=8x0", "in (channels)=0: valid: 1 to 1073741824");
  expect("in=8x99999999999999999999",
         "in=8x99999999999999999999: valid: 2 integers up to 1073741824 with "
         "'x' between them: the spatial sizes (from 0) and the channels (from "
         "1), in the order of the layout");
  expect("pad=-1073741825",
         "pad=-1073741825: valid: -1073741824 to 1073741824");
  expect("pad=99999999999999999999",
         "pad=99999999999999999999: valid: same, valid, an integer from "
         "-1073741824 to 1073741824, lo:hi, or 1 of these with 'x' between "
         "them");
}

TEST(Problem, MessagesAreShortAndPrintable) {
  std::string longText(100000, 'x'), nul("a\0b", 3);
  for (const std::string &text :
       {longText, "conv1d:" + longText, "conv1d:in=" + longText,
        "conv1d:in=8x8,oc=4,k=3,act=" + longText,
        "conv1d:in=8x8,oc=4,k=3,layout=" + longText, "conv1d:" + nul,
        "conv1d:in=8x8,oc=4,k=3,dtype=" + nul,
        std::string("conv1d:in=8x8,oc=4,k=3,act=\x1b[31m\xff"),
        std::string("conv1d\n:in=8x8,oc=4,k=3")}) {
    Expected<Problem> problem = parseProblem(text);
    ASSERT_FALSE(problem);
    EXPECT_LT(problem.error().message.size(), 300u);
    for (char c : problem.error().message)
      ASSERT_TRUE(c >= 0x20 && c < 0x7f) << problem.error().message;
  }
}

TEST(Problem, ValidateChecksWhatTextCannotSay) {
  EXPECT_FALSE(validate(Problem()));
  Problem good = *parseProblem("conv2d:in=8x9x4,oc=6,k=3,g=2");
  ASSERT_TRUE(validate(good));
  auto expect = [&](const char *names, auto breakIt) {
    Problem problem = good;
    breakIt(problem);
    Status status = validate(problem);
    ASSERT_FALSE(status) << names;
    EXPECT_EQ(status.error().kind, ErrorKind::BadInput);
    EXPECT_EQ(status.error().message.rfind(names, 0), 0u)
        << status.error().message;
    EXPECT_NE(status.error().message.find("valid:"), std::string::npos)
        << status.error().message;
  };
  using P = Problem &;
  expect("rank=0", [](P p) { p.rank = 0; });
  expect("rank=4", [](P p) { p.rank = 4; });
  expect("in has 1", [](P p) { p.inSpatial.pop_back(); });
  expect("k has 3", [](P p) { p.kernel.push_back(1); });
  expect("s has 0", [](P p) { p.stride.clear(); });
  expect("d has 1", [](P p) { p.dilation.pop_back(); });
  expect("ld has 1", [](P p) { p.inputDilation.pop_back(); });
  expect("pad has 0", [](P p) { p.paddingMode = PaddingMode::Explicit; });
  expect("pad:", [](P p) { p.padding = {{1, 1}, {1, 1}}; });
  // What is printed must read back the same.
  expect("mask:", [](P p) { p.mask = "a,bias"; });
  expect("mask:", [](P p) { p.mask = "a\nb"; });
  expect("act=",
         [](P p) { p.activation = {ActivationKind::LeakyRelu, std::nan("")}; });
  expect("act=",
         [](P p) { p.activation = {ActivationKind::LeakyRelu, HUGE_VAL}; });
}
