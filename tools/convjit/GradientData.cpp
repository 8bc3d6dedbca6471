//===- GradientData.cpp - weight gradients to be checked -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "GradientData.h"
#include "Layer.h"
#include "convjit/WeightGradient.h"

#include <algorithm>

using namespace convjit;
using namespace convjit::cli;

GradientData::GradientData(const Convolution &layer, int64_t images,
                           const CheckRound &round, bool specialWeights,
                           Random &random)
    : kind(round.kind) {
  // Of a layer that could be lowered.
  conv = std::move(*lowerWeightGradient(layer, std::max<int64_t>(images, 1)));
  ReferenceOperands operands =
      randomOperands(conv, layer.inChannels, kind, random);
  if (round.special) {
    makeSpecial(operands.input, random);
    if (specialWeights)
      makeSpecial(operands.weights, random);
  }
  roundOperands(conv, operands);
  if (images > 0) {
    input = std::move(operands.input);
    // What the convolution calls its weight.
    outputGradient = std::move(operands.weights);
  }
  // The mask multiplies what has been rounded, and rounds again.
  Convolution unmasked = layer;
  unmasked.mask.clear();
  bool twice = sizeOf(layer.dtype) == 2 && kind == DataKind::Exact;
  wanted = weightGradientReference(twice ? unmasked : layer, input,
                                   outputGradient, images);
  if (twice)
    for (size_t i = 0; i < layer.mask.size(); ++i) {
      double &value = wanted.output[i];
      value =
          layer.mask[i] == 0 ? 0 : rounded(value, layer.dtype) * layer.mask[i];
    }
  conv.mask = layer.mask;
}

std::vector<std::byte>
GradientData::bytesOf(const std::vector<double> &values) const {
  std::vector<std::byte> bytes(values.size() *
                               static_cast<size_t>(sizeOf(conv.dtype)));
  narrow(values, conv.dtype, bytes.data());
  return bytes;
}

size_t GradientData::resultBytes() const {
  return wanted.output.size() * static_cast<size_t>(sizeOf(conv.dtype));
}

std::string GradientData::compare(const std::byte *result, double &worst,
                                  double productError) const {
  return compareOutputs(conv, wanted, result, kind, worst, productError);
}
