//===- WeightGradient.h - the gradient of a layer's weight -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef CONVJIT_WEIGHTGRADIENT_H
#define CONVJIT_WEIGHTGRADIENT_H

#include "convjit/Kernel.h"
#include "convjit/Reference.h"

namespace convjit {

/// Images that a kernel of lowerWeightGradient sums in one call, 0 where it
/// adds one after the other.
inline int64_t gradientImages(const Convolution &gradient) {
  return gradient.residual ? 0 : gradient.inChannels;
}

/// The weight's gradient as one launch of a GPU computes it, of all images.
struct GradientLaunch {
  Convolution conv;
  int64_t batch = 0; ///< of `conv`
  /// What `conv` calls its input is the output's gradient, and what it calls
  /// its weight the layer's input; else the other way round.
  bool exchanged = false;
  /// Whether the result lies as the layer stores its weight; else its spatial
  /// axes are to be reversed where the layer's window is. The mask is to
  /// multiply it in either case.
  bool asStored = true;

  /// Images of the output, as CompileOptions has them.
  int64_t images() const { return batch / conv.batchGroups; }
};

/// Of `images` images, at least one. `stored`: with the operands exchanged
/// where that makes a window which is reversed, as transposed layers have it,
/// come out as it is stored, which it does without groups. Few output channels
/// then make narrow boxes. Errors: those of lowerWeightGradient.
Expected<GradientLaunch> gradientLaunch(const Convolution &layer,
                                        int64_t images, bool stored = false);

/// Makes the layer's gradient of what a kernel of lowerWeightGradient, or of a
/// launch, has written: reverses the axes that are to be, unless `asStored`,
/// and multiplies by the mask. `sum` may be `result` where nothing is reversed;
/// else they do not overlap.
void finishWeightGradient(const Convolution &layer, const void *sum,
                          void *result, bool asStored = false);

/// Writes the weight's gradient of `layer`, as the layer stores its weight, to
/// `result`. `kernel` was compiled from lowerWeightGradient: for one image at a
/// time, which it adds to what those before it gave, or for `batch`. The
/// layer's mask multiplies the sum; where it is zero, so is the gradient.
/// Tensors are contiguous, the input as layer.inputStrides say; `batch` is not
/// negative; of no images the gradient is zero. Thread-safe. Errors: those of
/// runKernel; a kernel for another number of images, or for other strides.
Status runWeightGradient(const Kernel &kernel, const Convolution &layer,
                         const void *input, const void *gradOutput,
                         int64_t batch, Executor &executor, void *result);

/// The same in the caller's memory: weightGradientScratchBytes bytes at
/// `scratch`, aligned to the element (64 is faster), and, where the kernel has
/// scratch of its own, that of Operands. Allocates nothing that grows with the
/// tensors.
Status runWeightGradient(const Kernel &kernel, const Convolution &layer,
                         const void *input, const void *gradOutput,
                         int64_t batch, Executor &executor, void *result,
                         void *scratch, void *kernelScratch = nullptr);
size_t weightGradientScratchBytes(const Kernel &kernel,
                                  const Convolution &layer);

/// The same in double precision, straight from the layer's own formula: each
/// product of an output's gradient and the input below a tap goes to that tap's
/// weight. Shares nothing with lowerWeightGradient.
ReferenceResult weightGradientReference(const Convolution &layer,
                                        const std::vector<double> &input,
                                        const std::vector<double> &gradOutput,
                                        int64_t batch);

} // namespace convjit

#endif // CONVJIT_WEIGHTGRADIENT_H
