//===- LayerText.h - layers by name -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef CONVJIT_LAYERTEXT_H
#define CONVJIT_LAYERTEXT_H

#include "convjit/Convolution.h"

#include <optional>
#include <string>
#include <string_view>

namespace convjit {

/// A layer named by a problem string, or by a general convolution's text
/// (ConvolutionText.h).
struct Layer {
  std::string text; ///< canonical
  std::optional<Problem> problem;
  /// What is compiled. For grad=weight the convolution of one image
  /// (lowerWeightGradient).
  Convolution conv;
  /// For grad=weight the layer whose gradient it is; it has the mask, if any.
  Convolution forward;

  Gradient gradient() const {
    return problem ? problem->gradient : Gradient::None;
  }
  bool isWeightGradient() const { return gradient() == Gradient::Weight; }
  /// Images of the output in a batch group, as plans are made for them: those
  /// of a call with so many a group, or, in a weight's gradient, the input
  /// channels.
  int64_t outputImages(int64_t ofCall) const {
    return isWeightGradient() ? forward.inChannels / forward.groups : ofCall;
  }
  /// The convolution whose weight is the layer's.
  const Convolution &weighted() const {
    return isWeightGradient() ? forward : conv;
  }
};

enum class Masks { Read, Skip };

/// A mask is read from its file, or made where the problem has a name of
/// makeMask for a path (a file of such a name is ./KIND@SEED). Errors: those of
/// the text, of the file.
Expected<Layer> readLayer(std::string_view text, Masks masks = Masks::Read);

/// "4x16x32": sizes with 'x' between them; "()" for none.
std::string shapeText(const std::vector<int64_t> &shape);

/// Refuses a batch whose tensors no machine holds (2^48 bytes), so that sizes
/// can be multiplied without a thought.
Status checkBatch(const Convolution &conv, int64_t batch);

} // namespace convjit

#endif // CONVJIT_LAYERTEXT_H
