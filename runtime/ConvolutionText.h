//===- ConvolutionText.h - one-line text of a general convolution -*- C++
//-*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

// For test cases that no problem string can say (other axis orders, reversed
// windows, both dilations):
//
//     convolution:n=9x8,k=3x2,ws=1x2,ld=2x1,rd=1x1,pad=-1:2x0:1,rev=1x0,ic=8,
//         oc=6,g=2,x=b01f,w=01oi,y=b01f,bias,act=relu,mask=causal@17
//
// x, w and y name the axes: b, f for batch and feature of the data, o, i for
// output and input feature of the filter, digits for spatial dimensions. Where
// the input has gaps, xs=5120x512x8x1 are the strides of its axes. A mask is
// named by its kind and seed, see makeMask.
//
//===----------------------------------------------------------------------===//

#ifndef CONVJIT_CONVOLUTIONTEXT_H
#define CONVJIT_CONVOLUTIONTEXT_H

#include "convjit/Convolution.h"

#include <string>
#include <string_view>

namespace convjit {

/// A convolution and the name its mask was made by (empty: no mask).
struct NamedConvolution {
  Convolution conv;
  std::string mask;
};

std::string describe(const NamedConvolution &named);
/// parseConvolution(describe(n)) gives n back.
Expected<NamedConvolution> parseConvolution(std::string_view text);

/// Whether `name` is KIND@SEED with a kind that makeMask knows.
bool isMaskName(std::string_view name);

/// Fills in the mask that `name`, KIND@SEED, says. Kinds: taps (whole taps
/// absent), causal (taps after the middle one absent), blocks (blocks of input
/// and output channels absent), random (single weights absent), factors (random
/// with factors other than 1), none (everything absent).
Status makeMask(Convolution &conv, std::string_view name);

} // namespace convjit

#endif // CONVJIT_CONVOLUTIONTEXT_H
