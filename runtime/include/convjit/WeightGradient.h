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

#include <functional>

namespace convjit {

/// The gradient of `images` images (at least one) as one convolution, for GPUs:
/// `gradient` is that of one image (lowerWeightGradient), whose input channels
/// the images become. It adds to nothing.
Convolution gradientOfImages(Convolution gradient, int64_t images);

/// Writes the weight's gradient of `layer`, as the layer stores its weight, to
/// `result`. `kernel` was compiled from lowerWeightGradient: for one image,
/// which it adds to what those before it gave, or for `batch`. The layer's mask
/// multiplies the sum; where it is zero, so is the gradient. Tensors are
/// contiguous, `batch` is not negative; of no images the gradient is zero.
/// Thread-safe. Errors: those of runKernel;
/// a kernel for another number of images.
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

/// The same by whatever computes the convolution of one image: `run` writes the
/// image's part plus `sum` to `next`, both in the order of its windows.
using RunImage = std::function<Status(const void *input, const void *gradOutput,
                                      const void *sum, void *next)>;
Status runWeightGradient(const Convolution &layer, const void *input,
                         const void *gradOutput, int64_t batch,
                         const RunImage &run, void *result);

/// The same in double precision, straight from the layer's own formula: each
/// product of an output's gradient and the input below a tap goes to that tap's
/// weight. Shares nothing with lowerWeightGradient.
ReferenceResult weightGradientReference(const Convolution &layer,
                                        const std::vector<double> &input,
                                        const std::vector<double> &gradOutput,
                                        int64_t batch);

} // namespace convjit

#endif // CONVJIT_WEIGHTGRADIENT_H
