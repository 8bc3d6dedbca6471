//===- WeightsTest.cpp - weights from files and frameworks -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "LayerTesting.h"

#include <filesystem>
#include <fstream>
#include <unistd.h>

using namespace convjit;
using namespace convjit::nn;

namespace {

/// A folder for one test.
class WeightFiles : public testing::Test {
protected:
  void SetUp() override {
    folder = std::filesystem::temp_directory_path() /
             ("convjit-weights-" + std::to_string(getpid()));
    std::filesystem::create_directories(folder);
  }
  void TearDown() override { std::filesystem::remove_all(folder); }
  std::string path(const std::string &name) const {
    return (folder / name).string();
  }
  std::filesystem::path folder;
};

Array counted(Shape shape) {
  Array result = zeros(DataType::F32, std::move(shape));
  std::span<float> values = elements<float>(result);
  for (size_t i = 0; i < values.size(); ++i)
    values[i] = static_cast<float>(i);
  return result;
}

ConvTranspose2d transposedLayer(Parameter weight = 0, Parameter bias = {}) {
  return get(tryMake<ConvTranspose2d>({.in_size = {5, 5, 6},
                                       .out_channels = 4,
                                       .kernel_size = {2, 3},
                                       .groups = 2,
                                       .w_init = std::move(weight),
                                       .b_init = std::move(bias)}));
}
Conv2d plainLayer(Parameter weight = 0, Parameter bias = {}) {
  return get(tryMake<Conv2d>({.in_size = {5, 5, 6},
                              .out_channels = 4,
                              .kernel_size = {2, 3},
                              .groups = 2,
                              .w_init = std::move(weight),
                              .b_init = std::move(bias)}));
}

} // namespace

TEST(WeightLayout, PyTorchTransposed) {
  // PyTorch: (I, O/g, k...) = (6, 2, 2, 3); here (2, 3, 4, 3).
  Array theirs = counted({6, 2, 2, 3});
  Array ours = get(weightFrom(WeightLayout::PyTorch, theirs, {2, 3, 4, 3},
                              /*transposed=*/true, 2, "w"));
  EXPECT_EQ(ours.shape, (Shape{2, 3, 4, 3}));
  std::vector<double> values = widened(ours), from = widened(theirs);
  for (int64_t a = 0; a < 2; ++a)
    for (int64_t b = 0; b < 3; ++b)
      for (int64_t oc = 0; oc < 4; ++oc)
        for (int64_t i = 0; i < 3; ++i) {
          int64_t group = oc / 2, ic = group * 3 + i;
          EXPECT_EQ(values[((a * 3 + b) * 4 + oc) * 3 + i],
                    from[((ic * 2 + oc % 2) * 2 + a) * 3 + b]);
        }
}

TEST(WeightLayout, PyTorchPlain) {
  // PyTorch: (O, I/g, k...) = (4, 3, 2, 3); here (2, 3, 3, 4).
  Array theirs = counted({4, 3, 2, 3});
  for (WeightLayout layout : {WeightLayout::PyTorch, WeightLayout::Onnx}) {
    Array ours = get(weightFrom(layout, theirs, {2, 3, 3, 4},
                                /*transposed=*/false, 2, "w"));
    std::vector<double> values = widened(ours), from = widened(theirs);
    for (int64_t a = 0; a < 2; ++a)
      for (int64_t b = 0; b < 3; ++b)
        for (int64_t i = 0; i < 3; ++i)
          for (int64_t oc = 0; oc < 4; ++oc)
            EXPECT_EQ(values[((a * 3 + b) * 3 + i) * 4 + oc],
                      from[((oc * 3 + i) * 2 + a) * 3 + b]);
  }
}

TEST(WeightLayout, Errors) {
  expectBadInput(weightFrom(WeightLayout::PyTorch, counted({6, 4, 2, 3}),
                            {2, 3, 4, 3}, true, 2, "w"),
                 {"w has shape (6, 4, 2, 3)", "(6, 2, 2, 3)"});
  expectBadInput(weightFrom(WeightLayout::Onnx, counted({3, 4, 2, 3}),
                            {2, 3, 3, 4}, false, 2, "w"),
                 {"w has shape (3, 4, 2, 3)", "(4, 3, 2, 3)"});
  expectBadInput(weightFrom(WeightLayout::Brainstate, counted({4}),
                            {2, 3, 3, 4}, false, 2, "w"),
                 {"(2, 3, 3, 4)"});
}

TEST(WeightLayout, PaddingThatCrops) {
  // nn.ConvTranspose2d(..., kernel_size=(4, 3), stride=2, padding=1,
  //                    output_padding=1): out = (n-1)*2 - 2 + k + 1.
  Padding padding = get(croppedPadding({{1, 1}, {1, 1}}, {4, 3}, 1, 1));
  ConvTranspose2d layer = get(tryMake<ConvTranspose2d>({.in_size = {5, 6, 3},
                                                        .out_channels = 2,
                                                        .kernel_size = {4, 3},
                                                        .stride = 2,
                                                        .padding = padding}));
  EXPECT_EQ(layer.padding(), (std::vector<PadPair>{{2, 3}, {1, 2}}));
  EXPECT_EQ(layer.out_size(), (Shape{11, 12, 2}));
  Padding dilated = get(croppedPadding({{0, 1}}, 3, 2));
  EXPECT_EQ(std::get<Padding::Pairs>(dilated.form), (Padding::Pairs{{4, 3}}));
  expectBadInput(croppedPadding({{0, 0}}, {3, 3}), {"kernel_size=(3, 3)"});
  expectBadInput(croppedPadding({{0, 0}}, 3, {1, 1}), {"rhs_dilation"});
  expectBadInput(croppedPadding({{0, 0}}, 3, 1, {1, 1}), {"output_padding"});
}

TEST_F(WeightFiles, ALayerComesBack) {
  ScaledWSConvArguments arguments{.in_size = {7, 3},
                                  .out_channels = 4,
                                  .kernel_size = 3,
                                  .w_init = XavierNormal{.seed = 1},
                                  .b_init = Uniform{.seed = 2}};
  ScaledWSConv1d first = get(tryMake<ScaledWSConv1d>(arguments));
  ASSERT_TRUE(first.setGain(array({1, 1, 4}, {1, 2, 3, 4})));
  ASSERT_TRUE(first.save(path("layer.npz")));
  ScaledWSConv1d second = get(tryMake<ScaledWSConv1d>(arguments));
  EXPECT_FALSE(sameBits(second.weight(), first.weight()));
  ASSERT_TRUE(second.load(path("layer.npz")));
  EXPECT_TRUE(sameBits(second.weight(), first.weight()));
  EXPECT_TRUE(sameBits(*second.bias(), *first.bias()));
  EXPECT_TRUE(sameBits(*second.gain(), *first.gain()));
}

TEST_F(WeightFiles, ANpyFileHasTheWeightAlone) {
  Conv2d first = plainLayer(XavierNormal{.seed = 1});
  ASSERT_TRUE(first.save(path("w.npy")));
  Conv2d second = plainLayer(0, 3);
  ASSERT_TRUE(second.load(path("w.npy")));
  EXPECT_TRUE(sameBits(second.weight(), first.weight()));
  EXPECT_THAT(widened(*second.bias()), testing::Each(3));
  expectBadInput(second.save(path("v.npy")), {"v.npy", "a bias", ".npz"});
  EXPECT_FALSE(std::filesystem::exists(path("v.npy")));
  ASSERT_TRUE(writeNpy(path("torch.npy"), counted({4, 3, 2, 3})));
  ASSERT_TRUE(
      second.load(path("torch.npy"), {.layout = WeightLayout::PyTorch}));
  EXPECT_EQ(widened(second.weight())[1], 18);
  expectBadInput(second.load(path("torch.npy")),
                 {"torch.npy has shape (4, 3, 2, 3)", "(2, 3, 3, 4)"});
}

TEST_F(WeightFiles, AStateDict) {
  NamedArrays state{{"enc.weight", counted({1})},
                    {"dec.up.weight", counted({6, 2, 2, 3})},
                    {"dec.up.bias", counted({4})}};
  ASSERT_TRUE(writeNpz(path("model.npz"), state));
  ConvTranspose2d layer = transposedLayer(0, 0);
  WeightSource source{.layout = WeightLayout::PyTorch, .prefix = "dec.up."};
  ASSERT_TRUE(layer.load(path("model.npz"), source));
  EXPECT_THAT(widened(*layer.bias()), testing::ElementsAre(0, 1, 2, 3));
  EXPECT_EQ(layer.bias()->shape, (Shape{1, 1, 4}));
  EXPECT_EQ(widened(layer.weight())[1], 12);
  expectBadInput(transposedLayer().load(path("model.npz"), source),
                 {"model.npz: dec.up.bias is there", "b_init"});
  expectBadInput(layer.load(path("model.npz"), {.prefix = "dec.down."}),
                 {"dec.down.weight is not there"});
}

TEST_F(WeightFiles, OnnxInputs) {
  NamedArrays inputs{{"W", counted({6, 2, 2, 3})}, {"B", counted({4})}};
  ConvTranspose2d layer = transposedLayer(0, 0);
  ASSERT_TRUE(layer.setParameters(inputs, {.layout = WeightLayout::Onnx}));
  EXPECT_EQ(widened(*layer.bias())[3], 3);
  NamedArrays named{{"conv_w", counted({6, 2, 2, 3})}, {"B", counted({4})}};
  ASSERT_TRUE(layer.setParameters(
      named, {.layout = WeightLayout::Onnx, .weight = "conv_w"}));
}

TEST_F(WeightFiles, NothingChangesOnAnError) {
  ConvTranspose2d layer = transposedLayer(1, 1);
  NamedArrays wrong{{"weight", counted({2, 3, 4, 3})}, {"bias", counted({5})}};
  expectBadInput(layer.setParameters(wrong), {"bias has shape (5,)"});
  EXPECT_THAT(widened(layer.weight()), testing::Each(1));
  wrong.erase("bias");
  expectBadInput(layer.setParameters(wrong), {"bias is not there", "b_init"});
  wrong["bias"] = array({4}, {1, 2, 3, 4}, DataType::F64);
  expectBadInput(layer.setParameters(wrong), {"bias has dtype f64"});
  wrong["bias"] = array({2, 2}, {1, 2, 3, 4});
  expectBadInput(layer.setParameters(wrong), {"bias has shape (2, 2)"});
}

TEST_F(WeightFiles, Errors) {
  Conv2d layer = plainLayer();
  expectBadInput(layer.load(path("w.pt")), {"w.pt", ".npz or .npy"});
  expectBadInput(layer.save(path("w.bin")), {"w.bin", ".npz or .npy"});
  for (const char *file : {"none.npz", "none.npy"}) {
    Status loaded = layer.load(path(file));
    ASSERT_FALSE(loaded);
    EXPECT_EQ(loaded.error().kind, ErrorKind::Environment);
    EXPECT_THAT(loaded.error().message, testing::HasSubstr(file));
  }
  Status saved = layer.save(path("no/such/folder.npz"));
  ASSERT_FALSE(saved);
  EXPECT_EQ(saved.error().kind, ErrorKind::Environment);
}
