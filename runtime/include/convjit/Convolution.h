//===- Convolution.h - the general convolution -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// One operation serves every layer, framework and gradient. Per spatial
// dimension, with input length n, kernel length k, window stride ws, input
// dilation ld, kernel dilation rd and padding (lo, hi) that may be negative:
//
//     ek  = (k-1)*rd + 1                     effective kernel
//     L   = (n-1)*ld + 1 + lo + hi           dilated, then padded; (n = 0:
//     lo+hi) out = max(0, (L - ek) / ws + 1)        0 when L < ek
//
//     y[b,oc,o] = act(bias[oc] + residual[b,oc,o] +
//                 sum over ic < Cin/g and taps t of
//                   w[oc,ic,t'] * P[b, group(oc)*Cin/g + ic, o*ws + t*rd])
//     P[p] = x[(p-lo)/ld]  where p-lo >= 0, divisible by ld, in range; else 0
//     t'   = k-1-t when the window is reversed, else t
//
// This is StableHLO's `convolution` (constraints C1-C34 of its specification)
// with an epilogue.
//
//===----------------------------------------------------------------------===//

#ifndef CONVJIT_CONVOLUTION_H
#define CONVJIT_CONVOLUTION_H

#include "convjit/Problem.h"

#include <vector>

namespace convjit {

/// One spatial dimension of a general convolution. Lengths are in elements.
struct SpatialDim {
  int64_t input = 1;
  int64_t kernel = 1;
  int64_t windowStride = 1;
  int64_t inputDilation = 1;
  int64_t kernelDilation = 1;
  int64_t padLow = 0;
  int64_t padHigh = 0;
  bool reversed = false;

  int64_t effectiveKernel() const { return (kernel - 1) * kernelDilation + 1; }
  int64_t dilatedInput() const {
    return input == 0 ? 0 : (input - 1) * inputDilation + 1;
  }
  int64_t output() const;

  bool operator==(const SpatialDim &) const = default;
};

/// Which axis of each tensor is what, as StableHLO's dimension numbers.
struct DimensionNumbers {
  int64_t inputBatch = 0, inputFeature = 0;
  std::vector<int64_t> inputSpatial;
  int64_t kernelInputFeature = 0, kernelOutputFeature = 0;
  std::vector<int64_t> kernelSpatial;
  int64_t outputBatch = 0, outputFeature = 0;
  std::vector<int64_t> outputSpatial;
  bool operator==(const DimensionNumbers &) const = default;
};

/// Elements [first, last) of memory; first is not positive.
struct MemorySpan {
  int64_t first = 0, last = 0;
  int64_t elements() const { return last - first; }
  bool operator==(const MemorySpan &) const = default;
};

/// The general convolution. The batch is a run-time argument: the input has
/// `batch` images, the output `batch / batchGroups`.
struct Convolution {
  std::vector<SpatialDim> dims;
  int64_t inChannels = 1;
  int64_t outChannels = 1;
  int64_t groups = 1;      ///< feature_group_count
  int64_t batchGroups = 1; ///< batch_group_count
  DimensionNumbers numbers;
  /// Where the input is part of a larger array: elements from one index of each
  /// of its axes to the next, in the order that it is stored in. Of any sign,
  /// or 0; what lies between its elements is not read. Empty: contiguous. A
  /// kernel for some strides reads arrays with these alone; that of an axis of
  /// length 1 says nothing.
  std::vector<int64_t> inputStrides;
  /// The kernel is stored as the layer it is the gradient of stores it: the
  /// axis kernelInputFeature has all inChannels, group after group, and the
  /// axis kernelOutputFeature the output channels of one group. The weight of
  /// output channel oc and its group's input channel ic is at
  /// (group(oc)*channelsPerGroup + ic, oc % (outChannels/groups)).
  bool kernelFeaturesSwapped = false;
  DataType dtype = DataType::F32;
  bool bias = false;
  bool residual = false;
  Activation activation;
  /// Factors on the weight, in the weight's own shape; empty for none. A
  /// weight whose factor is zero is absent: not read, not multiplied.
  std::vector<double> mask;

  int rank() const { return static_cast<int>(dims.size()); }
  /// Input channels each output channel reads.
  int64_t channelsPerGroup() const { return inChannels / groups; }

  /// Shapes in each tensor's own axis order. The bias is (outChannels).
  std::vector<int64_t> inputShape(int64_t batch) const;
  std::vector<int64_t> kernelShape() const;
  std::vector<int64_t> outputShape(int64_t batch) const;

  /// inputStrides, or those of a contiguous input of `batch` images.
  std::vector<int64_t> stridesOfInput(int64_t batch) const;
  /// The elements of memory between the first and the last one that an input
  /// of `batch` images has, relative to that at index 0 of all axes.
  MemorySpan inputSpan(int64_t batch) const;

  bool operator==(const Convolution &) const = default;
};

/// What the layer means: padding modes resolved, axes named, window reversed
/// where the transposed form flips it. `problem` must be valid. The mask's
/// file is not read here; assign `mask` (see readMask in Npy.h).
///
/// Gradient::Input maps to another general convolution whose input is the
/// output's gradient. Its weight, and so its mask, is the layer's as it is.
/// Gradient::Weight is refused here (its contraction runs
/// over the batch): see lowerWeightGradient.
Expected<Convolution> lower(const Problem &problem);

/// The weight gradient of one image as a general convolution: its batch is the
/// layer's input channels (a group's share), its kernel the output's gradient
/// and its output the weight, in window order: where the layer's window is
/// reversed, its spatial axes are to be flipped. The layer's gradient is the
/// sum over images, to which the convolution's residual adds; of a layer with a
/// mask it is this times the mask, and zero where the mask is.
///
/// The layer's inputStrides are its own.
///
/// Of `images` > 0 they are summed over like channels: a kernel for such a
/// batch gives the whole sum, and adds nothing to it.
Expected<Convolution> lowerWeightGradient(const Problem &problem,
                                          int64_t images = 0);
/// The same of the layer whose gradient it is (`lower`).
Expected<Convolution> lowerWeightGradient(const Convolution &layer,
                                          int64_t images = 0);

/// Padding that the layer adds to its (dilated) input, one pair a dimension.
std::vector<PadPair> resolvedPadding(const Problem &problem);

/// Checks StableHLO's constraints; the error starts with the constraint's
/// label, for example "C10: ...".
Status validate(const Convolution &conv);

/// Multiplications by true taps for `batch` images: taps that fall on padding
/// or on an inserted zero are not counted. FLOPs are twice that, which does not
/// overflow: a count ends at 2^62-1. `batch` is not negative.
int64_t countMacs(const Convolution &conv, int64_t batch);

} // namespace convjit

#endif // CONVJIT_CONVOLUTION_H
