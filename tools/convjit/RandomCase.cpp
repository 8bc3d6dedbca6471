//===- RandomCase.cpp - what is checked at random -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Checker.h"
#include "Comparison.h"
#include "Layer.h"
#include "Random.h"

#include <algorithm>
#include <string_view>

using namespace convjit;
using namespace convjit::cli;

/// Runs of channels that begin aligned, which copies to tensor cores move as
/// they are, and more images than the few that all cases run.
static void enlargeGradient(Problem &problem, Random &random) {
  for (int64_t *channels : {&problem.inChannels, &problem.outChannels}) {
    int64_t unit = problem.groups * random.pick<int64_t>({1, 2, 8, 8});
    *channels = (*channels + unit - 1) / unit * unit;
  }
  if (random.chance(50))
    problem.layout = Layout::ChannelsLast;
}

/// Makes each channel a group of its own, in numbers that are read 16 bytes at
/// a time, which chance hardly ever makes.
static void turnToDepthwise(Convolution &conv, Random &random) {
  Convolution made = conv;
  made.groups = made.inChannels = made.outChannels = 8 * random.between(1, 4);
  made.batchGroups = 1;
  if (validate(made) && countMacs(made, 1) <= 2000000)
    conv = made;
}

/// Makes groups of few channels, of which the lanes have several.
static void turnToFewChannels(Problem &problem, Random &random) {
  problem.groups = random.between(4, 40);
  problem.inChannels = problem.groups * random.pick<int64_t>({1, 1, 1, 2, 3});
  problem.outChannels = problem.groups * random.pick<int64_t>({1, 1, 2, 4});
  if (random.chance(70))
    problem.layout = Layout::ChannelsLast;
}

/// Makes a layer the gradient of its input.
static void turnToInputGradient(Problem &problem) {
  problem.bias = problem.residual = false;
  problem.activation = {};
  problem.gradient = Gradient::Input;
}

NamedCase convjit::cli::randomCase(uint64_t seed, int64_t index, bool onGPU,
                                   bool gradients) {
  Random random(seed * 0x9e3779b97f4a7c15 + static_cast<uint64_t>(index));
  // Digits of the index, that no combination is left to chance.
  auto digit = [rest = index]() mutable {
    int64_t low = rest % 4;
    rest /= 4;
    return static_cast<size_t>(low);
  };
  constexpr DataType types[] = {DataType::F32, DataType::F16, DataType::BF16,
                                DataType::F64};
  size_t what = digit(), type = digit(), schedule = digit();
  auto onItsGPU = [&](NamedCase &item) {
    constexpr const char *schedules[] = {"", "direct", "simt", "mma"};
    item.schedule = schedules[schedule];
    if (type == 3 && schedule == 3) // no tensor cores for f64
      item.schedule = "";
    if (!item.schedule.empty() || random.chance(50))
      item.planSeed = random.next() | 1;
  };
  // Some as layers, so that the front end's mappings and gradients are on the
  // way too.
  bool ofWeight = gradients || (onGPU ? what == 3 : random.chance(8));
  bool ofInput = onGPU && !ofWeight && what == 2;
  if (ofWeight || ofInput || random.chance(15))
    for (;;) {
      Problem problem =
          ofWeight ? randomWeightGradient(random) : randomProblem(random);
      if (ofInput)
        turnToInputGradient(problem);
      if (onGPU)
        problem.dtype = types[type];
      if (onGPU && problem.gradient == Gradient::Weight)
        enlargeGradient(problem, random);
      if (!onGPU && problem.gradient == Gradient::Weight && random.chance(30))
        turnToFewChannels(problem, random);
      Expected<Layer> layer = readLayer(printProblem(problem));
      // For one image, of as many as the layer has input channels.
      if (!layer)
        continue;
      int64_t macs = countMacs(layer->conv, layer->conv.batchGroups);
      if (macs > 2000000)
        continue;
      NamedCase item{layer->text, std::move(layer->conv), {}, {}};
      // A kernel made for one number of images is right for any.
      if (!onGPU && random.chance(40))
        item.expected = random.pick<int64_t>({0, 1, 2, 3, 5, 8, 20, 40, 96});
      if (problem.gradient == Gradient::Weight) {
        item.forward = std::move(layer->forward);
        macs *= item.forward->inChannels / item.forward->groups;
        // Seconds on an emulator.
        if (onGPU && macs > 4000000)
          continue;
        if (onGPU && random.chance(50))
          item.images = {random.between(
              2, std::clamp<int64_t>(2000000 / (macs + 1), 2, 40))};
      }
      if (onGPU)
        onItsGPU(item);
      else if (ofWeight && random.chance(40))
        item.planSeed = random.next() | 1;
      return item;
    }
  NamedConvolution named = randomConvolution(random, /*gaps=*/!onGPU);
  if (onGPU) {
    named.conv.dtype = types[type];
    if (schedule == 1 && named.mask.empty() && random.chance(40))
      turnToDepthwise(named.conv, random);
  }
  NamedCase item{describe(named), named.conv, {}, {}};
  if (!onGPU && random.chance(20))
    item.expected = random.pick<int64_t>({1, 2, 3, 5, 8, 20, 40});
  if (onGPU)
    onItsGPU(item);
  else if (random.chance(40))
    item.planSeed = random.next() | 1;
  return item;
}

std::string convjit::cli::randomPlan(std::string plan, uint64_t seed) {
  Random random(seed);
  auto number = [&](const char *field, std::initializer_list<int64_t> values) {
    if (random.chance(60))
      replaceField(plan, field, std::to_string(random.pick(values)));
  };
  number("width", {1, 2, 3, 4, 5, 8, 12, 16, 20, 24, 32, 40, 48, 64});
  number("pixels", {1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 14, 17});
  number("unroll", {1, 2, 3, 4, 5, 8});
  number("chunks", {1, 2, 3, 5});
  if (random.chance(40))
    replaceField(
        plan, "row",
        random.pick({"ranged", "unrolled", "images", "outer", "outer"}));
  // Merged phases often need a width that holds all of them.
  if (random.chance(50))
    replaceField(plan, "merged",
                 std::to_string(random.pick<int64_t>({0, 1, 1, 2, 3})));
  if (random.chance(20)) {
    replaceField(plan, "fold",
                 std::to_string(random.pick<int64_t>({2, 3, 4, 5, 8, 16})));
    replaceField(plan, "merged",
                 std::to_string(random.pick<int64_t>({1, 1, 2, 3})));
    replaceField(plan, "lanes", "channels");
  }
  if (random.chance(30))
    replaceField(plan, "width",
                 std::to_string(random.pick<int64_t>({64, 96, 128, 256})));
  if (random.chance(50))
    replaceField(plan, "strip",
                 std::to_string(random.pick<int64_t>({1, 2, 3})));
  if (random.chance(50))
    replaceField(plan, "stream_from",
                 std::to_string(random.pick<int64_t>({0, 1 << 20})));
  if (random.chance(60))
    replaceField(plan, "prefetch", random.pick({"input", "filter", "both"}));
  if (random.chance(50))
    replaceField(plan, "order",
                 random.pick({"filter", "block", "input", "batch"}));
  if (random.chance(35)) {
    const char *lanes = random.pick(
        {"channels", "groups", "pixels", "images", "reduction", "reduction"});
    replaceField(plan, "lanes", lanes);
    // Vectors of input channels are powers of two.
    if (lanes == std::string_view("reduction"))
      replaceField(plan, "unroll",
                   std::to_string(random.pick<int64_t>({2, 4, 8, 16, 32})));
  }
  return plan;
}
