//===- Arguments.h - what a layer is made from -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The arguments of brainstate.nn's convolution layers, in C++. They keep
// brainstate's spelling, as do the layers' attributes, so that a layer can be
// carried over word by word, and errors name what both know:
//
//     ConvArguments{.in_size = {8, 16, 16, 64},
//                   .out_channels = 32,
//                   .kernel_size = 4,
//                   .stride = 2,
//                   .padding = {{1, 2}, {0, 1}, {1, 1}},
//                   .b_init = 0.0}
//
//===----------------------------------------------------------------------===//

#ifndef CONVJIT_NN_ARGUMENTS_H
#define CONVJIT_NN_ARGUMENTS_H

#include "convjit/nn/Initializers.h"

#include <concepts>
#include <initializer_list>
#include <optional>
#include <string>
#include <variant>

namespace convjit::nn {

/// One number for every dimension, or a list: of one number, which is the same,
/// or of one for each dimension.
class Sizes {
public:
  template <std::integral T>
  Sizes(T all) : list{static_cast<int64_t>(all)}, scalar(true) {}
  Sizes(std::initializer_list<int64_t> each) : list(each) {}
  Sizes(std::vector<int64_t> each) : list(std::move(each)) {}

  const std::vector<int64_t> &values() const { return list; }
  bool isScalar() const { return scalar; }

private:
  std::vector<int64_t> list;
  bool scalar = false;
};

/// 'SAME' or 'VALID'; one number for all sides; one for each dimension (in one
/// dimension two numbers are its low and high side); one (low, high) pair, or
/// one for each dimension. A transposed layer adds explicit padding to its
/// dilated input.
class Padding {
public:
  using Numbers = std::vector<int64_t>;
  using Pairs = std::vector<PadPair>;

  Padding(const char *mode) : form(std::string(mode)) {}
  Padding(std::string mode) : form(std::move(mode)) {}
  template <std::integral T> Padding(T all) : form(static_cast<int64_t>(all)) {}
  Padding(std::initializer_list<int64_t> each) : form(Numbers(each)) {}
  Padding(std::initializer_list<PadPair> each) : form(Pairs(each)) {}
  Padding(Numbers each) : form(std::move(each)) {}
  Padding(Pairs each) : form(std::move(each)) {}

  std::variant<std::string, int64_t, Numbers, Pairs> form;
};

/// An array of booleans in row-major order, for masks: true is a factor of 1,
/// false an absent weight. A file of them is read with readMask (Npy.h).
struct BoolArray {
  Shape shape;
  std::vector<bool> values;
};

/// What a parameter is made from: nothing, one number for all elements, an
/// array whose shape is the parameter's or broadcasts to it, or a callable.
class Parameter {
public:
  Parameter() = default;
  Parameter(std::nullopt_t) {}
  template <typename T>
    requires std::is_arithmetic_v<T>
  Parameter(T all) : form(static_cast<double>(all)) {}
  Parameter(Array array) : form(std::move(array)) {}
  /// Zeros and ones in f32.
  Parameter(const BoolArray &array);
  template <typename F>
    requires std::is_invocable_r_v<Expected<Array>, F &, const Shape &,
                                   DataType>
  Parameter(F callable) : form(Initializer(std::move(callable))) {}

  bool isNone() const { return form.index() == 0; }

  std::variant<std::monostate, double, Array, Initializer> form;
};

/// The arguments of Conv1d/2d/3d and ConvTranspose1d/2d/3d, in brainstate's
/// order. in_size, out_channels and kernel_size have no default.
struct ConvArguments {
  /// Spatial sizes and channels of the input, without batch; channels first
  /// where channel_first is set.
  std::vector<int64_t> in_size;
  int64_t out_channels = 0;
  Sizes kernel_size = 0;
  Sizes stride = 1;
  Padding padding = "SAME";
  /// A transposed layer, whose stride dilates its input, takes 1 or the stride.
  Sizes lhs_dilation = 1;
  Sizes rhs_dilation = 1;
  int64_t groups = 1;
  Parameter w_init = XavierNormal{};
  /// None for a layer without bias.
  Parameter b_init = {};
  /// Multiplies the weight at each call, in the weight's stored layout; numbers
  /// of either dtype, or booleans. Where it is zero the weight is absent: it is
  /// not read, and its gradient is zero.
  Parameter w_mask = {};
  bool channel_first = false;
  std::string name = {};
  std::string param_type = "ParamState";
  /// Of input, weight, bias and output; by default that of an array given as
  /// w_init, else f32.
  std::optional<DataType> dtype = {};
};

/// The arguments of ScaledWSConv1d/2d/3d: those above, and the last two of its
/// weight standardization.
struct ScaledWSConvArguments {
  std::vector<int64_t> in_size;
  int64_t out_channels = 0;
  Sizes kernel_size = 0;
  Sizes stride = 1;
  Padding padding = "SAME";
  Sizes lhs_dilation = 1;
  Sizes rhs_dilation = 1;
  int64_t groups = 1;
  /// Whether each output channel has a gain, 1 to begin with.
  bool ws_gain = true;
  /// Least sum of squares that a channel's weights are divided by the root of.
  double eps = 1e-4;
  Parameter w_init = XavierNormal{};
  Parameter b_init = {};
  Parameter w_mask = {};
  bool channel_first = false;
  std::string name = {};
  std::string param_type = "ParamState";
  std::optional<DataType> dtype = {};
};

} // namespace convjit::nn

#endif // CONVJIT_NN_ARGUMENTS_H
