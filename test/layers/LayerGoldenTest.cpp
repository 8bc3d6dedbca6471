//===- LayerGoldenTest.cpp - layers against brainstate's answers -*- C++
//-*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The layers of make_golden.py, whose data are small integers: outputs and
// gradients have to be equal, but for those with weight standardization.
//
//===----------------------------------------------------------------------===//

#include "CompilerProvider.h"

using namespace convjit;
using namespace convjit::nn;

namespace {

struct GoldenLayer {
  explicit GoldenLayer(std::string name) : name(std::move(name)) {}

  const Array *find(const char *part) const {
    static const NamedArrays arrays = golden("layers");
    auto at = arrays.find(name + "." + part);
    return at == arrays.end() ? nullptr : &at->second;
  }
  const Array &part(const char *part) const {
    const Array *array = find(part);
    EXPECT_TRUE(array) << name << "." << part;
    return *array;
  }

  std::string name;
};

template <typename LayerType>
void check(const char *name, typename LayerType::Arguments arguments,
           double tolerance = 0) {
  SCOPED_TRACE(name);
  GoldenLayer wanted(name);
  arguments.w_init = wanted.part("weight");
  arguments.b_init = wanted.part("bias");
  if (const Array *mask = wanted.find("mask"))
    arguments.w_mask = *mask;
  LayerType layer = makeLayer<LayerType>(std::move(arguments));
  EXPECT_EQ(layer.bias_shape(), wanted.part("bias").shape);
  if (const Array *gain = wanted.find("gain"))
    ASSERT_TRUE(layer.setGain(*gain));
  auto expect = [&](const char *part, const Array &got) {
    SCOPED_TRACE(part);
    if (tolerance == 0)
      EXPECT_TRUE(sameValues(got, wanted.part(part)));
    else
      EXPECT_LT(relativeError(got, wanted.part(part)), tolerance);
  };
  const Array &x = wanted.part("x"), &g = wanted.part("g");
  InlineExecutor here;
  expect("y", get(layer(x)));
  expect("dx", get(layer.inputGradient(g)));
  expect("dweight", get(layer.weightGradient(x, g)));
  expect("dbias", get(layer.biasGradient(g)));
  ParameterGradients all = get(layer.parameterGradients(x, g, here));
  expect("dweight", all.weight);
  expect("dbias", *all.bias);
  if (wanted.find("gain")) {
    expect("dgain", get(layer.gainGradient(x, g)));
    expect("dgain", *all.gain);
  }
}

using Sides = std::initializer_list<PadPair>;

} // namespace

TEST(LayerGolden, ConvTranspose) {
  check<ConvTranspose3d>("doc", {.in_size = {3, 4, 5, 6},
                                 .out_channels = 4,
                                 .kernel_size = 4,
                                 .stride = 2});
  check<ConvTranspose2d>("same_odd", {.in_size = {5, 4, 3},
                                      .out_channels = 2,
                                      .kernel_size = {3, 4},
                                      .stride = {2, 3}});
  check<ConvTranspose1d>("valid_k_below_s", {.in_size = {5, 3},
                                             .out_channels = 4,
                                             .kernel_size = 2,
                                             .stride = 3,
                                             .padding = "VALID"});
  check<ConvTranspose2d>("pairs", {.in_size = {4, 5, 3},
                                   .out_channels = 2,
                                   .kernel_size = {3, 2},
                                   .stride = 2,
                                   .padding = Sides{{1, 2}, {0, 3}},
                                   .rhs_dilation = {2, 1}});
  check<ConvTranspose1d>("cropped", {.in_size = {6, 2},
                                     .out_channels = 3,
                                     .kernel_size = 3,
                                     .stride = 2,
                                     .padding = {-1, 0}});
  check<ConvTranspose2d>("groups", {.in_size = {6, 4, 3},
                                    .out_channels = 4,
                                    .kernel_size = {2, 3},
                                    .stride = 2,
                                    .groups = 2,
                                    .channel_first = true});
  check<ConvTranspose2d>(
      "masked",
      {.in_size = {4, 3, 4}, .out_channels = 3, .kernel_size = 3, .stride = 2});
  check<ConvTranspose3d>("dilated", {.in_size = {2, 3, 2, 2},
                                     .out_channels = 2,
                                     .kernel_size = {1, 2, 3},
                                     .stride = 2,
                                     .padding = "VALID",
                                     .rhs_dilation = 2});
  check<ConvTranspose3d>("unbatched", {.in_size = {2, 2, 3, 4},
                                       .out_channels = 3,
                                       .kernel_size = 2,
                                       .stride = 2});
}

TEST(LayerGolden, Conv) {
  check<Conv2d>("conv_same", {.in_size = {7, 6, 3},
                              .out_channels = 4,
                              .kernel_size = {3, 4},
                              .stride = 2});
  check<Conv1d>("conv_valid", {.in_size = {11, 2},
                               .out_channels = 3,
                               .kernel_size = 4,
                               .stride = 3,
                               .padding = "VALID"});
  check<Conv3d>("conv_pairs", {.in_size = {4, 5, 3, 2},
                               .out_channels = 3,
                               .kernel_size = {2, 3, 1},
                               .stride = {1, 2, 1},
                               .padding = Sides{{1, 0}, {0, 2}, {1, 1}}});
  check<Conv2d>("conv_lhs", {.in_size = {4, 3, 2},
                             .out_channels = 2,
                             .kernel_size = 3,
                             .padding = {2, 1},
                             .lhs_dilation = {2, 3},
                             .rhs_dilation = 2});
  check<Conv2d>("conv_groups", {.in_size = {4, 5, 6},
                                .out_channels = 6,
                                .kernel_size = 3,
                                .padding = 1,
                                .groups = 2,
                                .channel_first = true});
}

/// A layer of ONNX, channels first, with its inputs W and B.
template <typename LayerType>
static void checkOnnx(const std::string &name, ConvArguments arguments) {
  SCOPED_TRACE(name);
  NamedArrays arrays = golden("onnx");
  arguments.b_init = 0;
  arguments.channel_first = true;
  LayerType layer = makeLayer<LayerType>(std::move(arguments));
  ASSERT_TRUE(layer.setParameters(
      arrays, {.layout = WeightLayout::Onnx, .prefix = name + "."}));
  EXPECT_TRUE(
      sameValues(get(layer(arrays.at(name + ".X"))), arrays.at(name + ".Y")));
}

// ONNX's reference evaluator. PyTorch's layers store and pad alike.
TEST(LayerGolden, WeightsOfOnnx) {
  checkOnnx<ConvTranspose2d>(
      "transposed",
      {.in_size = {3, 5, 4},
       .out_channels = 2,
       .kernel_size = {4, 3},
       .stride = {2, 3},
       .padding = get(croppedPadding({{1, 1}, {0, 2}}, {4, 3}, 1, {1, 0}))});
  checkOnnx<ConvTranspose2d>(
      "transposed_groups",
      {.in_size = {4, 4, 3},
       .out_channels = 6,
       .kernel_size = {2, 3},
       .stride = {1, 2},
       .padding = get(croppedPadding({{0, 0}, {0, 0}}, {2, 3})),
       .groups = 2});
  checkOnnx<Conv2d>("plain_groups", {.in_size = {4, 5, 6},
                                     .out_channels = 6,
                                     .kernel_size = {3, 2},
                                     .stride = {2, 1},
                                     .padding = Sides{{1, 0}, {0, 1}},
                                     .groups = 2});
}

// One channel's weights hardly differ: eps takes the place of their variance.
TEST(LayerGolden, WeightStandardization) {
  check<ScaledWSConv2d>("ws",
                        {.in_size = {5, 4, 3},
                         .out_channels = 4,
                         .kernel_size = {3, 2},
                         .eps = 1e-3},
                        2e-6);
  check<ScaledWSConv1d>("ws_no_gain",
                        {.in_size = {9, 4},
                         .out_channels = 4,
                         .kernel_size = 3,
                         .groups = 2,
                         .ws_gain = false},
                        2e-6);
}
