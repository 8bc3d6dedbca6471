//===- LayerText.cpp - layers by name -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "LayerText.h"
#include "ConvolutionText.h"
#include "convjit/Npy.h"

#include <algorithm>

using namespace convjit;

/// Gives `conv`, whose weight is the layer's, the mask of that name.
static Status readMaskOf(const std::string &name, Convolution &conv) {
  if (name.empty())
    return {};
  if (isMaskName(name))
    return makeMask(conv, name);
  Expected<std::vector<double>> mask = readMask(name, conv);
  if (!mask)
    return mask.takeError();
  conv.mask = std::move(*mask);
  return {};
}

Expected<Layer> convjit::readLayer(std::string_view text, Masks masks) {
  Layer layer;
  if (text.starts_with("convolution:")) {
    Expected<NamedConvolution> named = parseConvolution(text);
    if (!named)
      return named.takeError();
    layer.text = describe(*named);
    layer.conv = std::move(named->conv);
    return layer;
  }
  Expected<Problem> problem = parseProblem(text);
  if (!problem)
    return problem.takeError();
  layer.problem = *problem;
  layer.text = printProblem(*problem);
  Expected<Convolution> conv = layer.isWeightGradient()
                                   ? lowerWeightGradient(*problem)
                                   : lower(*problem);
  if (!conv)
    return conv.takeError();
  layer.conv = std::move(*conv);
  if (layer.isWeightGradient()) {
    Problem forward = *problem;
    forward.gradient = Gradient::None;
    Expected<Convolution> lowered = lower(forward);
    if (!lowered)
      return lowered.takeError();
    layer.forward = std::move(*lowered);
  }
  if (masks == Masks::Skip)
    return layer;
  // The weight's gradient does not read the weight: its mask comes after.
  if (Status s = readMaskOf(
          problem->mask, layer.isWeightGradient() ? layer.forward : layer.conv);
      !s)
    return s.takeError();
  return layer;
}

std::string convjit::shapeText(const std::vector<int64_t> &shape) {
  std::string text;
  for (int64_t size : shape)
    text += (text.empty() ? "" : "x") + std::to_string(size);
  return text.empty() ? "()" : text;
}

Status convjit::checkBatch(const Convolution &conv, int64_t batch) {
  constexpr double limit = 0x1p48;
  auto bytes = [&](const std::vector<int64_t> &shape) {
    auto count = static_cast<double>(sizeOf(conv.dtype));
    // As validate counts: no product of sizes may overflow before it meets a 0.
    for (int64_t size : shape)
      count *= static_cast<double>(std::max<int64_t>(size, 1));
    return count;
  };
  if (bytes(conv.inputShape(batch)) <= limit &&
      bytes(conv.outputShape(batch)) <= limit)
    return {};
  return badInput("batch=" + std::to_string(batch) +
                  ": a tensor would have more than 2^48 bytes; valid: fewer "
                  "images, or a smaller layer");
}
