//===- CreateLayer.cpp - from arguments to a layer -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Checks come in brainstate's order, so that of two wrong arguments both
// libraries name the same.
//
//===----------------------------------------------------------------------===//

#include "LayerState.h"

#include <algorithm>

using namespace convjit;
using namespace convjit::nn;

namespace {

std::string text(int64_t value) { return std::to_string(value); }

/// Turns arguments into the parts of a layer, one a function.
class Builder {
public:
  Builder(ScaledWSConvArguments &arguments, LayerState &layer)
      : args(arguments), layer(layer), rank(static_cast<size_t>(layer.rank)) {}

  Status build();

private:
  Status inputSize();
  Status sizes(const char *name, const Sizes &given, int64_t most,
               std::vector<int64_t> &each) const;
  Status inputDilation();
  Status padding();
  Status groups();
  Status chooseType();
  Status meaning();
  Status parameters();
  Expected<std::optional<Array>> parameter(const char *name,
                                           const Parameter &given,
                                           const Shape &shape,
                                           DataType dtype) const;

  ScaledWSConvArguments &args;
  LayerState &layer;
  size_t rank;
};

Status Builder::inputSize() {
  std::string shown = "in_size=" + shapeText(args.in_size) + ": ";
  if (args.in_size.size() != rank + 1)
    return badInput(shown + "has " + text(args.in_size.size()) +
                    " entries; valid: " + text(layer.rank + 1) + ", " +
                    text(layer.rank) + " spatial sizes and the channels" +
                    (args.channel_first ? ", channels first" : ""));
  size_t channels = args.channel_first ? 0 : rank;
  for (size_t i = 0; i <= rank; ++i) {
    int64_t least = i == channels ? 1 : 0;
    if (args.in_size[i] < least || args.in_size[i] > maxProblemField)
      return badInput(shown + "valid: sizes of 0 to " + text(maxProblemField) +
                      ", channels of 1 and above");
  }
  layer.inSize = args.in_size;
  layer.inChannels = args.in_size[channels];
  if (args.out_channels < 1 || args.out_channels > maxProblemField)
    return badInput("out_channels=" + text(args.out_channels) +
                    ": valid: 1 to " + text(maxProblemField));
  layer.outChannels = args.out_channels;
  return {};
}

Status Builder::sizes(const char *name, const Sizes &given, int64_t most,
                      std::vector<int64_t> &each) const {
  const std::vector<int64_t> &values = given.values();
  std::string shown = std::string(name) + "=" +
                      (given.isScalar() ? text(values[0]) : shapeText(values)) +
                      ": ";
  if (values.size() == 1)
    each.assign(rank, values[0]);
  else if (values.size() == rank)
    each = values;
  else
    return badInput(shown + "valid: one number" +
                    (rank > 1 ? ", or one for each of the " + text(layer.rank) +
                                    " dimensions"
                              : ""));
  for (int64_t value : each)
    if (value < 1 || value > most)
      return badInput(shown + "valid: numbers of 1 to " + text(most));
  return {};
}

Status Builder::inputDilation() {
  if (Status s = sizes("lhs_dilation", args.lhs_dilation, maxProblemField,
                       layer.lhsDilation);
      !s || !layer.isTransposed())
    return s;
  std::vector<int64_t> ones(rank, 1);
  if (layer.lhsDilation == ones || layer.lhsDilation == layer.stride)
    return {};
  return badInput("lhs_dilation=" + shapeText(layer.lhsDilation) +
                  ": valid: 1, or the stride " + shapeText(layer.stride) +
                  ", by which a transposed layer dilates its input");
}

Status Builder::padding() {
  const auto &form = args.padding.form;
  layer.paddingMode = PaddingMode::Explicit;
  if (const auto *mode = std::get_if<std::string>(&form)) {
    if (*mode != "SAME" && *mode != "VALID")
      return badInput("padding='" + *mode +
                      "': valid: 'SAME', 'VALID', numbers or pairs");
    layer.paddingMode =
        *mode == "SAME" ? PaddingMode::Same : PaddingMode::Valid;
  } else if (const auto *all = std::get_if<int64_t>(&form)) {
    layer.padding.assign(rank, {*all, *all});
  } else if (const auto *numbers = std::get_if<Padding::Numbers>(&form)) {
    if (rank == 1 && numbers->size() == 2)
      layer.padding = {{(*numbers)[0], (*numbers)[1]}};
    else if (numbers->size() == rank)
      for (int64_t value : *numbers)
        layer.padding.push_back({value, value});
    else
      return badInput("padding=" + shapeText(*numbers) + ": has " +
                      text(numbers->size()) + " numbers; valid: " +
                      (rank == 1
                           ? "1, or a low and a high one"
                           : text(layer.rank) + ", one for each dimension"));
  } else {
    const auto &pairs = std::get<Padding::Pairs>(form);
    if (pairs.size() == 1)
      layer.padding.assign(rank, pairs[0]);
    else if (pairs.size() == rank)
      layer.padding = pairs;
    else
      return badInput("padding: has " + text(pairs.size()) +
                      " (low, high) pairs; valid: 1" +
                      (rank == 1 ? "" : " or " + text(layer.rank)));
  }
  for (PadPair pair : layer.padding)
    for (int64_t value : {pair.lo, pair.hi})
      if (value < -maxProblemField || value > maxProblemField)
        return badInput("padding: " + text(value) + "; valid: -" +
                        text(maxProblemField) + " to " + text(maxProblemField));
  return {};
}

Status Builder::groups() {
  std::string shown = "groups=" + text(args.groups) + ": ";
  if (args.groups < 1)
    return badInput(shown + "valid: 1 and above");
  auto divides = [&](const char *what, int64_t channels) -> Status {
    if (channels % args.groups == 0)
      return {};
    return badInput(shown + "does not divide " + what + "=" + text(channels) +
                    "; valid: a divisor of it");
  };
  if (Status s = divides("out_channels", layer.outChannels); !s)
    return s;
  layer.groups = args.groups;
  return divides("in_channels", layer.inChannels);
}

Status Builder::chooseType() {
  const auto *array = std::get_if<Array>(&args.w_init.form);
  layer.dtype = args.dtype.value_or(array ? array->dtype : DataType::F32);
  if (!isForCPUs(layer.dtype))
    return badInput(std::string("dtype ") + name(layer.dtype) +
                    "; valid: f32, f64");
  return {};
}

/// What the layer computes, which gives the padding and the output's shape.
Status Builder::meaning() {
  layer.kernelShape = layer.kernelSize;
  int64_t perGroup = layer.inChannels / layer.groups;
  layer.kernelShape.push_back(layer.isTransposed() ? layer.outChannels
                                                   : perGroup);
  layer.kernelShape.push_back(layer.isTransposed() ? perGroup
                                                   : layer.outChannels);
  layer.biasShape.assign(rank + (layer.channelFirst ? 2 : 1), 1);
  (layer.channelFirst ? layer.biasShape[1] : layer.biasShape.back()) =
      layer.outChannels;
  Problem problem = layer.problem(Gradient::None);
  problem.bias = !args.b_init.isNone();
  // Only sizes are left to be wrong, and they are named there.
  if (Status s = validate(problem); !s)
    return s;
  layer.padding = resolvedPadding(problem);
  Expected<Convolution> conv = lower(problem);
  if (!conv)
    return conv.takeError();
  layer.forward = std::move(*conv);
  layer.outSize = layer.forward.outputShape(1);
  layer.outSize.erase(layer.outSize.begin());
  return {};
}

Expected<std::optional<Array>> Builder::parameter(const char *name,
                                                  const Parameter &given,
                                                  const Shape &shape,
                                                  DataType dtype) const {
  if (given.isNone())
    return std::optional<Array>();
  if (const auto *all = std::get_if<double>(&given.form)) {
    Expected<Array> array = Constant{*all}(shape, dtype);
    if (!array)
      return array.takeError();
    return std::optional<Array>(std::move(*array));
  }
  if (const auto *array = std::get_if<Array>(&given.form)) {
    Expected<Array> fitted = broadcast(name, *array, shape);
    if (!fitted)
      return fitted.takeError();
    return std::optional<Array>(std::move(*fitted));
  }
  Expected<Array> made = std::get<Initializer>(given.form)(shape, dtype);
  if (!made)
    return Error{made.error().kind,
                 std::string(name) + ": " + made.error().message};
  std::string what = std::string(name) + "'s result";
  if (Status s = checkArray(what, *made); !s)
    return s.takeError();
  if (made->shape != shape)
    return badInput(what + " has shape " + shapeText(made->shape) +
                    "; valid: " + shapeText(shape));
  return std::optional<Array>(std::move(*made));
}

Status Builder::parameters() {
  Expected<std::optional<Array>> mask =
      parameter("w_mask", args.w_mask, layer.kernelShape, DataType::F64);
  if (!mask)
    return mask.takeError();
  if (*mask) {
    layer.forward.mask = widened(**mask);
    layer.mask = narrowed(layer.forward.mask, DataType::F64, layer.kernelShape);
  }
  if (args.w_init.isNone())
    return badInput("w_init is none; valid: a number, an array or an "
                    "initializer");
  auto typed = [&](const char *name, const Parameter &given,
                   const Shape &shape) -> Expected<std::optional<Array>> {
    auto made = parameter(name, given, shape, layer.dtype);
    if (made && *made && (**made).dtype != layer.dtype)
      return badInput(
          std::string(name) + " has dtype " + convjit::name((**made).dtype) +
          "; valid: " + convjit::name(layer.dtype) + ", as the layer");
    return made;
  };
  auto weight = typed("w_init", args.w_init, layer.kernelShape);
  if (!weight)
    return weight.takeError();
  layer.weight = std::move(**weight);
  auto bias = typed("b_init", args.b_init, layer.biasShape);
  if (!bias)
    return bias.takeError();
  layer.bias = std::move(*bias);
  if (layer.kind != LayerKind::ScaledWSConv)
    return {};
  if (!(args.eps > 0))
    return badInput("eps=" + std::to_string(args.eps) + ": valid: above 0");
  layer.eps = args.eps;
  if (args.ws_gain) {
    Shape shape(rank + 2, 1);
    shape.back() = layer.outChannels;
    Expected<Array> ones = Constant{1}(shape, layer.dtype);
    if (!ones)
      return ones.takeError();
    layer.gain = std::move(*ones);
  }
  return {};
}

Status Builder::build() {
  layer.channelFirst = args.channel_first;
  layer.name = args.name;
  layer.paramType = args.param_type;
  if (Status s = inputSize(); !s)
    return s;
  if (Status s = sizes("stride", args.stride, maxProblemField, layer.stride);
      !s)
    return s;
  if (Status s = sizes("kernel_size", args.kernel_size, maxProblemKernel,
                       layer.kernelSize);
      !s)
    return s;
  if (Status s = inputDilation(); !s)
    return s;
  if (Status s = sizes("rhs_dilation", args.rhs_dilation, maxProblemField,
                       layer.rhsDilation);
      !s)
    return s;
  if (Status s = padding(); !s)
    return s;
  if (Status s = groups(); !s)
    return s;
  if (Status s = chooseType(); !s)
    return s;
  if (Status s = meaning(); !s)
    return s;
  return parameters();
}

} // namespace

Parameter::Parameter(const BoolArray &array) {
  // Too few or too many values are an error where the shape is checked.
  Array numbers{DataType::F32, array.shape, {}};
  numbers.data.resize(array.values.size() * sizeof(float));
  std::copy(array.values.begin(), array.values.end(),
            elements<float>(numbers).begin());
  form = std::move(numbers);
}

Problem LayerState::problem(Gradient gradient) const {
  Problem problem;
  problem.operation =
      isTransposed() ? Operation::ConvTranspose : Operation::Conv;
  problem.rank = rank;
  auto first = inSize.begin() + (channelFirst ? 1 : 0);
  problem.inSpatial.assign(first, first + rank);
  problem.inChannels = inChannels;
  problem.outChannels = outChannels;
  problem.kernel = kernelSize;
  problem.stride = stride;
  problem.dilation = rhsDilation;
  problem.inputDilation =
      isTransposed() ? std::vector<int64_t>(kernelSize.size(), 1) : lhsDilation;
  problem.groups = groups;
  problem.paddingMode = paddingMode;
  if (paddingMode == PaddingMode::Explicit)
    problem.padding = padding;
  problem.layout = channelFirst ? Layout::ChannelsFirst : Layout::ChannelsLast;
  problem.dtype = dtype;
  problem.gradient = gradient;
  problem.bias = bias.has_value() && gradient == Gradient::None;
  return problem;
}

Expected<Layer> Layer::make(LayerKind kind, int rank,
                            ScaledWSConvArguments arguments,
                            std::shared_ptr<KernelProvider> kernels) {
  if (!kernels)
    return badInput("kernels is null; valid: a KernelProvider");
  return withinMemory([&]() -> Expected<Layer> {
    auto state = std::make_unique<LayerState>();
    state->kind = kind;
    state->rank = rank;
    state->kernels = std::move(kernels);
    if (Status s = Builder(arguments, *state).build(); !s)
      return s.takeError();
    return Layer(std::move(state));
  });
}
