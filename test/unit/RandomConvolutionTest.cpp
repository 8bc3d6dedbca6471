//===- RandomConvolutionTest.cpp - the generator of test cases -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "RandomConvolution.h"

#include <gtest/gtest.h>

#include <map>
#include <numeric>

using namespace convjit;

TEST(ConvolutionText, RoundTrip) {
  for (uint64_t seed = 0; seed < 3000; ++seed) {
    Random random(seed);
    NamedConvolution named = randomConvolution(random);
    std::string text = describe(named);
    Expected<NamedConvolution> again = parseConvolution(text);
    ASSERT_TRUE(again) << text << ": " << again.error().message;
    ASSERT_EQ(again->conv, named.conv) << text;
    ASSERT_EQ(describe(*again), text);
    Random same(seed);
    ASSERT_EQ(describe(randomConvolution(same)), text);
  }
}

TEST(ConvolutionText, MalformedTextsAreErrors) {
  for (const char *text :
       {"", "convolution", "convolution:", "convolution:n=8",
        "convolution:n=8x8x8x8,k=1", "convolution:n=8,k=a",
        "convolution:n=8,k=3,ws=1,ld=1,rd=1,pad=1,rev=0,ic=1,oc=1,x=b0f,w=0io,"
        "y=b0f",
        "convolution:n=8,k=3,ws=0,ld=1,rd=1,pad=0:0,rev=0,ic=1,oc=1,x=b0f,"
        "w=0io,y=b0f",
        "convolution:n=8,k=3,ws=1,ld=1,rd=1,pad=0:0,rev=0,ic=1,oc=1,x=bbf,"
        "w=0io,y=b0f",
        "convolution:n=8,k=3,ws=1,ld=1,rd=1,pad=0:0,rev=0,ic=1,oc=1,x=b0f,"
        "w=0io,y=b0f,mask=stripes@1",
        "convolution:n=8,k=3,ws=1,ld=1,rd=1,pad=0:0,rev=0,ic=1,oc=1,x=b0f,"
        "w=0io,y=b0f,act=swish"}) {
    Expected<NamedConvolution> named = parseConvolution(text);
    ASSERT_FALSE(named) << text;
    EXPECT_EQ(named.error().kind, ErrorKind::BadInput);
  }
}

TEST(RandomConvolution, CoversTheSpace) {
  std::map<std::string, int> seen;
  for (uint64_t seed = 0; seed < 3000; ++seed) {
    Random random(seed);
    NamedConvolution named = randomConvolution(random);
    const Convolution &conv = named.conv;
    ++seen["rank " + std::to_string(conv.rank())];
    ++seen[std::string("act ") + name(conv.activation.kind)];
    ++seen[name(conv.dtype)];
    if (!named.mask.empty())
      ++seen["mask " + named.mask.substr(0, named.mask.find('@'))];
    seen["groups"] += conv.groups > 1;
    seen["depthwise"] += conv.groups > 1 && conv.groups == conv.inChannels;
    seen["batch groups"] += conv.batchGroups > 1;
    seen["swapped"] += conv.kernelFeaturesSwapped;
    seen["bias"] += conv.bias;
    seen["residual"] += conv.residual;
    seen["channels first"] += conv.numbers.inputFeature == 1;
    seen["batch not first"] += conv.numbers.inputBatch != 0;
    seen["other axes out"] +=
        conv.numbers.inputBatch != conv.numbers.outputBatch;
    for (const SpatialDim &dim : conv.dims) {
      seen["reversed"] += dim.reversed;
      seen["crop"] += dim.padLow < 0 || dim.padHigh < 0;
      seen["both strides"] += dim.windowStride > 1 && dim.inputDilation > 1;
      seen["kernel larger than input"] +=
          dim.effectiveKernel() > dim.dilatedInput();
      seen["phase without taps"] +=
          std::gcd(dim.inputDilation, dim.kernelDilation) > 1;
      seen["no input"] += dim.input == 0;
      seen["no output"] += dim.output() == 0;
      seen["many phases"] += dim.inputDilation > 8;
      seen["long row"] += dim.output() > 30;
    }
  }
  for (const char *feature : {"rank 1",
                              "rank 2",
                              "rank 3",
                              "act none",
                              "act relu",
                              "act leaky_relu",
                              "act sigmoid",
                              "act tanh",
                              "act silu",
                              "act gelu",
                              "act gelu_tanh",
                              "f32",
                              "f64",
                              "mask taps",
                              "mask causal",
                              "mask blocks",
                              "mask random",
                              "mask factors",
                              "mask none",
                              "groups",
                              "depthwise",
                              "batch groups",
                              "swapped",
                              "bias",
                              "residual",
                              "channels first",
                              "batch not first",
                              "other axes out",
                              "reversed",
                              "crop",
                              "both strides",
                              "kernel larger than input",
                              "phase without taps",
                              "no input",
                              "no output",
                              "many phases",
                              "long row"})
    EXPECT_GE(seen[feature], 10) << feature;
}

TEST(RandomOperands, ExactDataKeepsSumsExact) {
  for (uint64_t seed = 0; seed < 200; ++seed) {
    Random random(seed);
    NamedConvolution named = randomConvolution(random);
    ReferenceOperands data = randomOperands(named.conv, named.conv.batchGroups,
                                            DataKind::Exact, random);
    ReferenceResult result =
        referenceConvolution(named.conv, data, named.conv.batchGroups);
    for (double magnitude : result.magnitude)
      ASSERT_LT(magnitude, 1 << 23) << describe(named); // halves stay exact
  }
}
