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

/// True when some output of the dimension has no tap on an input element
/// although its window lies inside the dilated input: the strides leave it out.
static bool hasPhaseWithoutTaps(const SpatialDim &dim) {
  for (int64_t o = 0; o < dim.output(); ++o) {
    int64_t first = o * dim.windowStride - dim.padLow;
    if (first < 0 || first + dim.effectiveKernel() > dim.dilatedInput())
      continue;
    bool any = false;
    for (int64_t tap = 0; tap < dim.kernel; ++tap)
      any |= (first + tap * dim.kernelDilation) % dim.inputDilation == 0;
    if (!any)
      return true;
  }
  return false;
}

TEST(RandomConvolution, SameSeedSameCase) {
  for (uint64_t seed = 0; seed < 500; ++seed) {
    Random first(seed), second(seed);
    NamedConvolution named = randomConvolution(first);
    ASSERT_EQ(describe(randomConvolution(second)), describe(named));
    ASSERT_EQ(first.next(), second.next()); // and the same state after it
    ASSERT_EQ(printProblem(randomProblem(first)),
              printProblem(randomProblem(second)));
    for (DataKind kind : {DataKind::Exact, DataKind::Float}) {
      ReferenceOperands a = randomOperands(named.conv, named.conv.batchGroups,
                                           kind, first),
                        b = randomOperands(named.conv, named.conv.batchGroups,
                                           kind, second);
      ASSERT_EQ(a.input, b.input);
      ASSERT_EQ(a.weights, b.weights);
      ASSERT_EQ(a.bias, b.bias);
      ASSERT_EQ(a.residual, b.residual);
    }
  }
}

TEST(RandomConvolution, SeedsMeanTheSameEverywhere) {
  // SplitMix64's published first values for the seed 1234567.
  Random random(1234567);
  EXPECT_EQ(random.next(), 6457827717110365317u);
  EXPECT_EQ(random.next(), 3203168211198807973u);
  EXPECT_EQ(random.next(), 9817491932198370423u);
}

TEST(RandomConvolution, IsValidAndSmall) {
  for (uint64_t seed = 0; seed < 3000; ++seed) {
    Random random(seed);
    NamedConvolution named = randomConvolution(random);
    Status status = validate(named.conv);
    ASSERT_TRUE(status) << describe(named) << ": " << status.error().message;
    ASSERT_LE(countMacs(named.conv, named.conv.batchGroups), 2000000)
        << describe(named);
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
    if (!conv.inputStrides.empty()) {
      const std::vector<int64_t> &strides = conv.inputStrides;
      std::vector<int64_t> shape = conv.inputShape(conv.batchGroups);
      ++seen["gaps"];
      seen["gaps in a vector"] += strides.back() != 1;
      seen["opposite order"] +=
          *std::min_element(strides.begin(), strides.end()) < 0;
      seen["one for all"] +=
          std::find(strides.begin(), strides.end(), 0) != strides.end();
      seen["gaps between rows"] +=
          strides.back() == 1 &&
          strides[strides.size() - 2] > shape[shape.size() - 1];
    }
    seen["channels first"] += conv.numbers.inputFeature == 1;
    seen["batch not first"] += conv.numbers.inputBatch != 0;
    seen["kernel axes not last"] +=
        conv.numbers.kernelInputFeature < conv.rank() &&
        conv.numbers.kernelOutputFeature < conv.rank();
    seen["other axes out"] +=
        conv.numbers.inputBatch != conv.numbers.outputBatch;
    for (const SpatialDim &dim : conv.dims) {
      seen["reversed"] += dim.reversed;
      seen["crop"] += dim.padLow < 0 || dim.padHigh < 0;
      seen["both strides"] += dim.windowStride > 1 && dim.inputDilation > 1;
      seen["kernel larger than input"] +=
          dim.effectiveKernel() > dim.dilatedInput();
      seen["common strides"] +=
          std::gcd(dim.inputDilation, dim.kernelDilation) > 1;
      seen["phase without taps"] +=
          std::gcd(dim.inputDilation, dim.kernelDilation) > 1 &&
          hasPhaseWithoutTaps(dim);
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
                              "gaps",
                              "gaps in a vector",
                              "gaps between rows",
                              "opposite order",
                              "one for all",
                              "channels first",
                              "batch not first",
                              "kernel axes not last",
                              "other axes out",
                              "reversed",
                              "crop",
                              "both strides",
                              "kernel larger than input",
                              "common strides",
                              "phase without taps",
                              "no input",
                              "no output",
                              "many phases",
                              "long row"})
    EXPECT_GE(seen[feature], 10) << feature;
}

TEST(RandomConvolution, LayersHaveMasksAndGradients) {
  std::map<std::string, int> seen;
  for (uint64_t seed = 0; seed < 6000; ++seed) {
    Random random(seed);
    Problem problem = randomProblem(random);
    std::string gradient = problem.gradient == Gradient::None    ? "none"
                           : problem.gradient == Gradient::Input ? "input"
                                                                 : "weight";
    ++seen["gradient " + gradient];
    if (problem.mask.empty())
      continue;
    ASSERT_TRUE(isMaskName(problem.mask)) << problem.mask;
    std::string kind = problem.mask.substr(0, problem.mask.find('@'));
    ++seen["gradient " + gradient + ", mask " + kind];
    // Of a kernel that a mask can be made for.
    problem.gradient = Gradient::None;
    Convolution conv = *lower(problem);
    ASSERT_TRUE(makeMask(conv, problem.mask)) << printProblem(problem);
  }
  for (const char *gradient : {"none", "input", "weight"}) {
    EXPECT_GE(seen[std::string("gradient ") + gradient], 100) << gradient;
    for (const char *kind :
         {"taps", "causal", "blocks", "random", "factors", "none"})
      EXPECT_GE(seen[std::string("gradient ") + gradient + ", mask " + kind],
                10)
          << gradient << " " << kind;
  }
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

TEST(RandomOperands, ExactDataIsSmallerForLongSums) {
  // 512000 terms, more than random cases have: 8 * 8 a term would pass 2^24.
  Convolution conv =
      *lower(*parseProblem("conv1d:in=125x4096,oc=1,k=125,pad=0,bias"));
  Random random(1);
  ReferenceOperands data = randomOperands(conv, 1, DataKind::Exact, random);
  ReferenceResult result = referenceConvolution(conv, data, 1);
  ASSERT_EQ(result.magnitude.size(), 1u);
  EXPECT_LT(result.magnitude[0], 1 << 23);
  EXPECT_GT(result.magnitude[0], 0);
}
