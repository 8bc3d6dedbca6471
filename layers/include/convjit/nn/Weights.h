//===- Weights.h - weights from files and frameworks -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// How others lay out the weight of a convolution with I input and O output
// channels in g groups:
//
//                  plain layers          transposed layers
//     brainstate   (k..., I/g, O)        (k..., O, I/g)
//     PyTorch      (O, I/g, k...)        (I, O/g, k...)
//     ONNX         as PyTorch            as PyTorch
//
// In all of them a transposed layer's kernel is stored as a plain layer's whose
// gradient it is, so no layout is flipped in space against another.
//
//===----------------------------------------------------------------------===//

#ifndef CONVJIT_NN_WEIGHTS_H
#define CONVJIT_NN_WEIGHTS_H

#include "convjit/nn/Arguments.h"
#include "convjit/nn/Npz.h"

namespace convjit::nn {

enum class WeightLayout { Brainstate, PyTorch, Onnx };

/// Where a layer's parameters are in a file, and how they are laid out.
struct WeightSource {
  WeightLayout layout = WeightLayout::Brainstate;
  /// Before each name, as in a state_dict: "decoder.up." for
  /// decoder.up.weight.
  std::string prefix = {};
  /// Names without prefix; by default weight, bias and gain, and for ONNX the
  /// inputs' names W and B.
  std::string weight = {}, bias = {}, gain = {};
};

/// The `padding` argument that does what PyTorch's and ONNX's paddings do to a
/// transposed layer, which is to crop: (ek-1-low, ek-1-high+output_padding) in
/// each dimension, with ek = (kernel_size-1)*rhs_dilation + 1. PyTorch's
/// padding p is the pair (p, p). Errors: lists of other lengths than `crop`.
Expected<Padding> croppedPadding(const std::vector<PadPair> &crop,
                                 const Sizes &kernel_size,
                                 const Sizes &rhs_dilation = 1,
                                 const Sizes &output_padding = 0);

/// `weight`, given in `layout`, in brainstate's layout. `kernelShape` is the
/// layer's and `transposed` says of which kind that is. Errors: a shape that is
/// not the layout's for this layer; `what` begins the text.
Expected<Array> weightFrom(WeightLayout layout, const Array &weight,
                           const Shape &kernelShape, bool transposed,
                           int64_t groups, const std::string &what);

} // namespace convjit::nn

#endif // CONVJIT_NN_WEIGHTS_H
