//===- Conv.h - convolution layers with their weights -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The layers of brainstate.nn: a weight, perhaps a bias, and the convolution
// that they make.
//
//     std::shared_ptr<KernelProvider> kernels = ...;
//     Expected<ConvTranspose3d> up = ConvTranspose3d::create(
//         {.in_size = {8, 16, 16, 64},
//          .out_channels = 32,
//          .kernel_size = 4,
//          .stride = 2},
//         kernels);
//     Expected<Array> y = (*up)(x); // (4, 8, 16, 16, 64) -> (4, 16, 32, 32,
//     32)
//
// Kernels are asked for when they are first needed; the weight is packed once
// and kept so until it is set again. Calls of const functions may run on any
// number of threads at once; setters need the layer to themselves.
//
//===----------------------------------------------------------------------===//

#ifndef CONVJIT_NN_CONV_H
#define CONVJIT_NN_CONV_H

#include "convjit/KernelProvider.h"
#include "convjit/TensorView.h"
#include "convjit/nn/Arguments.h"
#include "convjit/nn/Weights.h"

namespace convjit::nn {

struct LayerState;

enum class LayerKind { Conv, ConvTranspose, ScaledWSConv };

/// Gradients of the layer's parameters, each in its parameter's shape.
struct ParameterGradients {
  Array weight;
  std::optional<Array> bias, gain;
};

/// What all layers have in common. Created by the classes below; movable.
///
/// Inputs are (batch, in_size...) or in_size alone, then the output is out_size
/// alone. All tensors have the layer's dtype. Errors name the tensor, what it
/// has and what is valid; also those of the KernelProvider.
class Layer {
public:
  Layer(Layer &&) noexcept;
  Layer &operator=(Layer &&) noexcept;
  ~Layer();

  /// The output, on the calling thread or spread over an executor.
  Expected<Array> operator()(const Array &input) const;
  Expected<Array> operator()(const Array &input, Executor &executor) const;
  /// The same into the caller's memory. Strides are free; a tensor that is not
  /// contiguous is copied on the way.
  Status run(const TensorView &input, const TensorView &output,
             Executor &executor) const;
  /// Gets the kernel and packs the weight now rather than in the first call.
  Status prepare() const;

  /// Given the loss's gradient in the output, its gradient in the input.
  Expected<Array> inputGradient(const Array &gradOutput) const;
  Expected<Array> inputGradient(const Array &gradOutput,
                                Executor &executor) const;
  /// ... in the weight, as stored: times the mask, and in a weight-standardized
  /// layer back through the standardization. Summed over the batch.
  Expected<Array> weightGradient(const Array &input,
                                 const Array &gradOutput) const;
  /// ... in the bias: the sum over batch and space, added in double precision.
  /// Errors: a layer without bias.
  Expected<Array> biasGradient(const Array &gradOutput) const;
  /// ... in the gain. Errors: a layer without gain.
  Expected<Array> gainGradient(const Array &input,
                               const Array &gradOutput) const;
  /// ... in all parameters that there are, with one pass for weight and gain.
  Expected<ParameterGradients> parameterGradients(const Array &input,
                                                  const Array &gradOutput,
                                                  Executor &executor) const;

  // The attributes, spelled as brainstate's.
  const Shape &in_size() const;
  const Shape &out_size() const; ///< without batch
  int64_t in_channels() const;
  int64_t out_channels() const;
  const std::vector<int64_t> &kernel_size() const;
  const std::vector<int64_t> &stride() const;
  const std::vector<int64_t> &lhs_dilation() const;
  const std::vector<int64_t> &rhs_dilation() const;
  int64_t groups() const;
  /// A (low, high) pair for each dimension; for SAME and VALID what they come
  /// to, added to the dilated input in a transposed layer.
  const std::vector<PadPair> &padding() const;
  const char *padding_mode() const; ///< "SAME", "VALID" or "explicit"
  /// (k..., in_channels / groups, out_channels), and in a transposed layer
  /// (k..., out_channels, in_channels / groups).
  const Shape &kernel_shape() const;
  /// (1, ..., 1, out_channels), or (1, out_channels, 1, ..., 1) with
  /// channel_first.
  const Shape &bias_shape() const;
  bool channel_first() const;
  const std::string &name() const;
  const std::string &param_type() const;
  DataType dtype() const;
  double eps() const; ///< of a weight-standardized layer, else 0
  LayerKind kind() const;

  const Array &weight() const;
  const std::optional<Array> &bias() const;
  const std::optional<Array> &gain() const;
  /// Factors in kernel_shape, as f64; empty where there is no mask.
  const std::optional<Array> &w_mask() const;

  /// New values for a parameter that the layer has. Errors: another dtype, or a
  /// shape that is not the parameter's; then nothing changes.
  Status setWeight(Array weight);
  Status setBias(Array bias);
  Status setGain(Array gain);

  /// The weight that the convolution uses, before the mask: standardized where
  /// the layer is.
  Expected<Array> effectiveWeight() const;

  /// Parameters by brainstate's names: weight, bias, gain.
  Expected<NamedArrays> parameters() const;
  /// Sets all parameters of the layer. Errors: one is missing, one that the
  /// layer does not have is there, another shape or dtype; then nothing
  /// changes. Arrays of other names are left alone.
  Status setParameters(const NamedArrays &arrays,
                       const WeightSource &source = {});
  /// To and from .npz; a .npy file has the weight alone.
  Status save(const std::string &path) const;
  Status load(const std::string &path, const WeightSource &source = {});

  /// The layer without its mask as a problem string for the command line.
  std::string problem() const;
  /// One line with the class and its arguments, as brainstate prints a layer.
  std::string text() const;

protected:
  static Expected<Layer> make(LayerKind kind, int rank,
                              ScaledWSConvArguments arguments,
                              std::shared_ptr<KernelProvider> kernels);

private:
  explicit Layer(std::unique_ptr<LayerState> state);
  std::unique_ptr<LayerState> state;
};

/// Conv1d/2d/3d and ConvTranspose1d/2d/3d, and ScaledWSConv1d/2d/3d, whose
/// weight is standardized at each call: with mean m and sum of squared
/// differences S over all but the output channel, w becomes
/// gain * (w - m) / sqrt(max(S, eps)).
template <LayerKind layerKind, int rank> class LayerOf : public Layer {
public:
  using Arguments = std::conditional_t<layerKind == LayerKind::ScaledWSConv,
                                       ScaledWSConvArguments, ConvArguments>;

  /// Checks the arguments and makes the parameters: mask, weight and bias, in
  /// this order. Errors name the argument, its value and what is valid.
  static Expected<LayerOf> create(Arguments arguments,
                                  std::shared_ptr<KernelProvider> kernels) {
    Expected<Layer> layer =
        make(layerKind, rank, all(std::move(arguments)), std::move(kernels));
    if (!layer)
      return layer.takeError();
    return LayerOf(std::move(*layer));
  }

private:
  explicit LayerOf(Layer layer) : Layer(std::move(layer)) {}
  static ScaledWSConvArguments all(Arguments arguments) {
    if constexpr (layerKind == LayerKind::ScaledWSConv)
      return arguments;
    else
      return {.in_size = std::move(arguments.in_size),
              .out_channels = arguments.out_channels,
              .kernel_size = std::move(arguments.kernel_size),
              .stride = std::move(arguments.stride),
              .padding = std::move(arguments.padding),
              .lhs_dilation = std::move(arguments.lhs_dilation),
              .rhs_dilation = std::move(arguments.rhs_dilation),
              .groups = arguments.groups,
              .ws_gain = false,
              .eps = 0,
              .w_init = std::move(arguments.w_init),
              .b_init = std::move(arguments.b_init),
              .w_mask = std::move(arguments.w_mask),
              .channel_first = arguments.channel_first,
              .name = std::move(arguments.name),
              .param_type = std::move(arguments.param_type),
              .dtype = arguments.dtype};
  }
};

using Conv1d = LayerOf<LayerKind::Conv, 1>;
using Conv2d = LayerOf<LayerKind::Conv, 2>;
using Conv3d = LayerOf<LayerKind::Conv, 3>;
using ConvTranspose1d = LayerOf<LayerKind::ConvTranspose, 1>;
using ConvTranspose2d = LayerOf<LayerKind::ConvTranspose, 2>;
using ConvTranspose3d = LayerOf<LayerKind::ConvTranspose, 3>;
using ScaledWSConv1d = LayerOf<LayerKind::ScaledWSConv, 1>;
using ScaledWSConv2d = LayerOf<LayerKind::ScaledWSConv, 2>;
using ScaledWSConv3d = LayerOf<LayerKind::ScaledWSConv, 3>;

} // namespace convjit::nn

#endif // CONVJIT_NN_CONV_H
