//===- GradientData.h - weight gradients to be checked -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef CONVJIT_TOOLS_GRADIENTDATA_H
#define CONVJIT_TOOLS_GRADIENTDATA_H

#include "Comparison.h"

namespace convjit::cli {

/// What a layer's weight gradient is checked with: some images, and what the
/// layer's own formula makes of them.
class GradientData {
public:
  /// `specialWeights`: of a special round, whether the output's gradient may be
  /// infinite as well.
  GradientData(const Convolution &layer, int64_t images,
               const CheckRound &round, bool specialWeights, Random &random);

  std::vector<std::byte> inputBytes() const { return bytesOf(input); }
  std::vector<std::byte> outputGradientBytes() const {
    return bytesOf(outputGradient);
  }
  size_t resultBytes() const;

  /// As compareOutputs, with the gradient as the layer stores its weight.
  std::string compare(const std::byte *result, double &worst,
                      double productError = 0) const;

  std::vector<double> input, outputGradient;

private:
  std::vector<std::byte> bytesOf(const std::vector<double> &values) const;

  DataKind kind;
  /// All images at once, which says how many terms a sum has.
  Convolution conv;
  ReferenceResult wanted;
};

} // namespace convjit::cli

#endif // CONVJIT_TOOLS_GRADIENTDATA_H
