//===- Reference.h - the plain loop nest that defines the answer -*- C++
//-*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Written from the formula in Convolution.h alone, in double precision, with
// no code in common with the compiler. Every kernel is compared with it.
//
//===----------------------------------------------------------------------===//

#ifndef CONVJIT_REFERENCE_H
#define CONVJIT_REFERENCE_H

#include "convjit/Convolution.h"

#include <vector>

namespace convjit {

/// Double-precision operands in the convolution's own axis orders.
struct ReferenceOperands {
  std::vector<double> input;    ///< inputShape(batch)
  std::vector<double> weights;  ///< kernelShape()
  std::vector<double> bias;     ///< outChannels, or empty
  std::vector<double> residual; ///< outputShape(batch), or empty
};

struct ReferenceResult {
  std::vector<double> output; ///< outputShape(batch)
  /// For each output the sum of the magnitudes of all its terms (products,
  /// bias, residual): a float kernel that sums n terms in any order differs
  /// from `output` by at most about n * eps * magnitude before activation.
  std::vector<double> magnitude;
};

/// Applies the mask, the epilogue and every attribute.
ReferenceResult referenceConvolution(const Convolution &conv,
                                     const ReferenceOperands &operands,
                                     int64_t batch);

/// The activation in double precision.
double applyActivation(const Activation &activation, double value);

/// Largest error a kernel of `conv.dtype` may show on an output with this
/// magnitude: (terms + 4) * eps * magnitude, then through the activation
/// (whose slope is at most 1.13) plus the accuracy of its polynomial.
/// `productError` is the relative error that each product has besides
/// (GPUKernel::productError).
double errorBound(const Convolution &conv, double magnitude,
                  double productError = 0);

} // namespace convjit

#endif // CONVJIT_REFERENCE_H
