//===- Common.cpp - what the verbs of the command line share -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Common.h"

#include <cstring>
#include <iostream>

using namespace convjit;
using namespace convjit::cli;

void CommonOptions::addTo(CLI::App &app) {
  app.add_flag("--json", json, "print one JSON document and nothing else");
  app.add_option("--target-cpu", compile.target.cpu,
                 "compile for this CPU (LLVM's name) instead of the host's");
  app.add_option("--target-features", compile.target.features,
                 "features added to the CPU's, such as +avx2,-fma");
  app.add_option("--plan", compile.plan,
                 "a plan as `convjit plan` prints it, instead of the cost "
                 "model's");
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
  if (!problem->mask.empty()) {
    Expected<std::vector<double>> mask = readMask(problem->mask, layer.conv);
    if (!mask)
      return mask.takeError();
    layer.conv.mask = std::move(*mask);
  }
  return layer;
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

int64_t convjit::cli::bytesTouched(const Convolution &conv, int64_t batch) {
  int64_t output = elementCount(conv.outputShape(batch));
  int64_t elements = elementCount(conv.inputShape(batch)) +
                     elementCount(conv.kernelShape()) + output +
                     (conv.residual ? output : 0) +
                     (conv.bias ? conv.outChannels : 0);
  return elements * sizeOf(conv.dtype);
}

void convjit::cli::printJson(const Json &document) {
  std::cout << document.dump(2) << "\n";
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
