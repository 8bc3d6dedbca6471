//===- RandomConvolution.h - random test cases -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef CONVJIT_RANDOMCONVOLUTION_H
#define CONVJIT_RANDOMCONVOLUTION_H

#include "ConvolutionText.h"
#include "Random.h"
#include "convjit/Reference.h"

namespace convjit {

/// A convolution over the whole space: rank, strides, both dilations, padding
/// of either sign, groups, batch groups, reversal, axis orders, epilogues,
/// masks, zero sizes, f32 and f64, with about 2 million products at most.
/// Asymmetric kernels and odd totals are the usual case. `gaps`: some inputs
/// are parts of larger arrays.
NamedConvolution randomConvolution(Random &random, bool gaps = true);

/// A layer as a problem string says it, or a gradient of one; valid. A mask is
/// one of makeMask's.
Problem randomProblem(Random &random);

/// The gradient of a weight with enough channels and pixels for several blocks
/// and pieces of the kernels that sum outer products; valid.
Problem randomWeightGradient(Random &random);

/// Data for a convolution with `batch` images. `Exact`: small integers, so that
/// every sum is exact in f32 and results compare bit for bit in any order of
/// summation. `Float`: uniform in [-1, 1).
enum class DataKind { Exact, Float };
ReferenceOperands randomOperands(const Convolution &conv, int64_t batch,
                                 DataKind kind, Random &random);

} // namespace convjit

#endif // CONVJIT_RANDOMCONVOLUTION_H
