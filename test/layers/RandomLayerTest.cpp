//===- RandomLayerTest.cpp - random layers against their definition -*- C++
//-*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// A failing case prints one line: CONVJIT_LAYER_SEED=N with the layer, which
// run alone it repeats. CONVJIT_LAYER_CASES=N runs more of them.
//
//===----------------------------------------------------------------------===//

#include "CompilerProvider.h"
#include "DirectLayer.h"
#include "Random.h"

#include <cstdlib>

using namespace convjit;
using namespace convjit::nn;

namespace {

Array integers(Shape shape, DataType dtype, Random &random) {
  Array result = zeros(dtype, std::move(shape));
  std::vector<double> values(static_cast<size_t>(result.elements()));
  for (double &value : values)
    value = static_cast<double>(random.between(-3, 3));
  return narrowed(values, dtype, result.shape);
}

std::vector<int64_t> numbers(int rank, int64_t low, int64_t high,
                             Random &random) {
  std::vector<int64_t> list;
  for (int i = 0; i < rank; ++i)
    list.push_back(random.between(low, high));
  return list;
}

/// One form of padding after another.
Padding randomPadding(int rank, Random &random) {
  switch (random.below(6)) {
  case 0:
    return "SAME";
  case 1:
    return "VALID";
  case 2:
    return random.between(0, 3);
  case 3:
    if (rank > 1)
      return Padding::Numbers(numbers(rank, 0, 3, random));
    [[fallthrough]];
  default: {
    Padding::Pairs pairs;
    int64_t count = random.chance(30) ? 1 : rank;
    for (int64_t i = 0; i < count; ++i)
      pairs.push_back({random.between(-1, 4), random.between(-1, 4)});
    return pairs;
  }
  }
}

ConvArguments randomArguments(int rank, bool transposed, Random &random) {
  int64_t groups = random.pick<int64_t>({1, 1, 1, 2, 3});
  std::vector<int64_t> size = numbers(rank, 1, rank == 3 ? 5 : 9, random);
  ConvArguments args;
  args.channel_first = random.chance(40);
  size.insert(args.channel_first ? size.begin() : size.end(),
              groups * random.between(1, 5));
  args.in_size = size;
  args.out_channels = groups * random.between(1, 5);
  args.kernel_size = numbers(rank, 1, 4, random);
  args.stride = numbers(rank, 1, 3, random);
  args.padding = randomPadding(rank, random);
  args.rhs_dilation =
      random.chance(30) ? Sizes(numbers(rank, 1, 3, random)) : 1;
  if (transposed)
    args.lhs_dilation = random.chance(30) ? args.stride : 1;
  else if (random.chance(30))
    args.lhs_dilation = numbers(rank, 1, 3, random);
  args.groups = groups;
  args.dtype = random.chance(25) ? DataType::F64 : DataType::F32;
  auto draw = [&random](const Shape &shape, DataType dtype) {
    return Expected<Array>(integers(shape, dtype, random));
  };
  args.w_init = draw;
  if (random.chance(50))
    args.b_init = draw;
  if (random.chance(30))
    args.w_mask = [&random](const Shape &shape, DataType dtype) {
      Array mask = zeros(dtype, shape);
      std::vector<double> values(static_cast<size_t>(mask.elements()));
      for (double &value : values)
        value = static_cast<double>(random.below(3));
      return Expected<Array>(narrowed(values, dtype, shape));
    };
  return args;
}

template <typename LayerType>
void checkLayer(const LayerType &layer, Random &random) {
  DirectLayer direct(layer);
  Shape outSize = direct.outSpatial;
  outSize.insert(layer.channel_first() ? outSize.begin() : outSize.end(),
                 layer.out_channels());
  ASSERT_EQ(layer.out_size(), outSize);
  int64_t images = random.between(0, 3);
  bool batched = images > 0 || random.chance(20);
  auto shaped = [&](Shape each) {
    if (batched)
      each.insert(each.begin(), images);
    return each;
  };
  Array x = integers(shaped(layer.in_size()), layer.dtype(), random);
  Array g = integers(shaped(outSize), layer.dtype(), random);

  std::vector<double> xs = widened(x), gs = widened(g);
  std::vector<double> w = widened(layer.weight());
  std::vector<double> mask(w.size(), 1);
  if (layer.w_mask())
    mask = widened(*layer.w_mask());
  std::vector<double> y(gs.size()), dx(xs.size()), dw(w.size()), db;
  for (int64_t image = 0; image < (batched ? images : 1); ++image) {
    int64_t in = image * direct.inputs(), out = image * direct.outputs();
    direct.visit([&](int64_t xi, int64_t wi, int64_t yi) {
      double factor = w[wi] * mask[wi];
      y[out + yi] += xs[in + xi] * factor;
      dx[in + xi] += gs[out + yi] * factor;
      dw[wi] += xs[in + xi] * gs[out + yi] * mask[wi];
    });
  }
  if (layer.bias()) {
    std::vector<double> bias = widened(*layer.bias());
    db.resize(bias.size());
    for (size_t i = 0; i < y.size(); ++i) {
      int64_t channel =
          direct.channelOf(static_cast<int64_t>(i) % direct.outputs());
      y[i] += bias[channel];
      db[channel] += gs[i];
    }
  }

  ThreadPool threads(3);
  EXPECT_TRUE(sameValues(get(layer(x)), narrowed(y, x.dtype, g.shape)));
  EXPECT_TRUE(
      sameValues(get(layer(x, threads)), narrowed(y, x.dtype, g.shape)));
  EXPECT_TRUE(
      sameValues(get(layer.inputGradient(g)), narrowed(dx, x.dtype, x.shape)));
  ParameterGradients gradients = get(layer.parameterGradients(x, g, threads));
  EXPECT_TRUE(sameValues(gradients.weight,
                         narrowed(dw, x.dtype, layer.kernel_shape())));
  EXPECT_EQ(gradients.bias.has_value(), layer.bias().has_value());
  if (gradients.bias)
    EXPECT_TRUE(
        sameValues(*gradients.bias, narrowed(db, x.dtype, layer.bias_shape())));
}

/// One case, whose everything follows from its seed.
template <typename LayerType>
void checkSeed(uint64_t seed, int rank, bool transposed) {
  Random random(seed);
  for (;;) {
    // Too small for the kernel, some have no output; that is one answer too.
    Expected<LayerType> layer = LayerType::create(
        randomArguments(rank, transposed, random), compiled());
    ASSERT_TRUE(layer) << layer.error().message;
    int64_t products = 1;
    for (int64_t size : layer->out_size())
      products *= size;
    for (int64_t size : layer->kernel_shape())
      products *= size;
    if (products > 4000000)
      continue;
    SCOPED_TRACE("CONVJIT_LAYER_SEED=" + std::to_string(seed) + ": " +
                 layer->text());
    checkLayer(*layer, random);
    return;
  }
}

void checkSeed(uint64_t seed) {
  switch (seed % 6) {
  case 0:
    return checkSeed<ConvTranspose1d>(seed, 1, true);
  case 1:
    return checkSeed<ConvTranspose2d>(seed, 2, true);
  case 2:
    return checkSeed<ConvTranspose3d>(seed, 3, true);
  case 3:
    return checkSeed<Conv1d>(seed, 1, false);
  case 4:
    return checkSeed<Conv2d>(seed, 2, false);
  default:
    return checkSeed<Conv3d>(seed, 3, false);
  }
}

} // namespace

TEST(RandomLayer, AgreesWithItsDefinition) {
  if (const char *seed = std::getenv("CONVJIT_LAYER_SEED"))
    return checkSeed(std::strtoull(seed, nullptr, 10));
  const char *more = std::getenv("CONVJIT_LAYER_CASES");
  uint64_t cases = more ? std::strtoull(more, nullptr, 10) : 90;
  for (uint64_t seed = 1; seed <= cases && !HasFailure(); ++seed)
    checkSeed(seed);
}
