//===- Layer.cpp - layers by name, and their tensors -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Layer.h"

#include <algorithm>
#include <cstring>

using namespace convjit;
using namespace convjit::cli;

/// Gives `conv`, whose weight is the layer's, the mask of the problem.
static Status readMaskOf(const Problem &problem, Convolution &conv) {
  if (problem.mask.empty())
    return {};
  if (isMaskName(problem.mask))
    return makeMask(conv, problem.mask);
  Expected<std::vector<double>> mask = readMask(problem.mask, conv);
  if (!mask)
    return mask.takeError();
  conv.mask = std::move(*mask);
  return {};
}

Expected<Layer> convjit::cli::readLayer(const std::string &text) {
  Layer layer;
  if (text.starts_with("convolution:")) {
    Expected<NamedConvolution> named = parseConvolution(text);
    if (!named)
      return named.takeError();
    layer.conv = std::move(named->conv);
    layer.mask = named->mask;
    layer.text = describe({layer.conv, layer.mask});
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
  // The weight's gradient does not read the weight: its mask comes after.
  if (Status s = readMaskOf(*problem, layer.isWeightGradient() ? layer.forward
                                                               : layer.conv);
      !s)
    return s.takeError();
  return layer;
}

std::unique_ptr<Executor> convjit::cli::makeExecutor(unsigned threads) {
  if (threads == 1)
    return std::make_unique<InlineExecutor>();
  return std::make_unique<ThreadPool>(threads);
}

std::string convjit::cli::shapeText(const std::vector<int64_t> &shape) {
  std::string text;
  for (int64_t size : shape)
    text += (text.empty() ? "" : "x") + std::to_string(size);
  return text.empty() ? "()" : text;
}

int64_t convjit::cli::elementCount(const std::vector<int64_t> &shape) {
  int64_t count = 1;
  for (int64_t size : shape)
    count *= size;
  return count;
}

Status convjit::cli::checkBatch(const Convolution &conv, int64_t batch) {
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

int64_t convjit::cli::flopsOf(const Layer &layer, int64_t images) {
  const Convolution &conv =
      layer.isWeightGradient() ? layer.forward : layer.conv;
  return 2 * countMacs(conv, images * conv.batchGroups);
}

int64_t convjit::cli::bytesTouched(const Convolution &conv,
                                   size_t packedWeightBytes, int64_t batch) {
  int64_t output = elementCount(conv.outputShape(batch));
  int64_t elements = elementCount(conv.inputShape(batch)) + output +
                     (conv.residual ? output : 0) +
                     (conv.bias ? conv.outChannels : 0);
  return elements * sizeOf(conv.dtype) +
         static_cast<int64_t>(packedWeightBytes);
}

std::string convjit::cli::oneLine(std::string message) {
  while (!message.empty() && message.back() == '\n')
    message.pop_back();
  for (char &c : message)
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f)
      c = ' ';
  return message;
}

void convjit::cli::narrow(const std::vector<double> &values, DataType dtype,
                          void *to) {
  auto *bytes = static_cast<char *>(to);
  for (size_t i = 0; i < values.size(); ++i)
    if (dtype == DataType::F32) {
      auto value = static_cast<float>(values[i]);
      std::memcpy(bytes + 4 * i, &value, 4);
    } else {
      std::memcpy(bytes + 8 * i, &values[i], 8);
    }
}

double convjit::cli::elementAt(const void *from, DataType dtype, size_t index) {
  const auto *bytes = static_cast<const char *>(from);
  if (dtype == DataType::F32) {
    float value;
    std::memcpy(&value, bytes + 4 * index, 4);
    return value;
  }
  double value;
  std::memcpy(&value, bytes + 8 * index, 8);
  return value;
}
