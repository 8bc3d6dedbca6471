//===- Layer.cpp - a layer's attributes and parameters -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "LayerState.h"

#include <algorithm>

using namespace convjit;
using namespace convjit::nn;

Layer::Layer(std::unique_ptr<LayerState> state) : state(std::move(state)) {}
Layer::Layer(Layer &&) noexcept = default;
Layer &Layer::operator=(Layer &&) noexcept = default;
Layer::~Layer() = default;

const Shape &Layer::in_size() const { return state->inSize; }
const Shape &Layer::out_size() const { return state->outSize; }
int64_t Layer::in_channels() const { return state->inChannels; }
int64_t Layer::out_channels() const { return state->outChannels; }
const std::vector<int64_t> &Layer::kernel_size() const {
  return state->kernelSize;
}
const std::vector<int64_t> &Layer::stride() const { return state->stride; }
const std::vector<int64_t> &Layer::lhs_dilation() const {
  return state->lhsDilation;
}
const std::vector<int64_t> &Layer::rhs_dilation() const {
  return state->rhsDilation;
}
int64_t Layer::groups() const { return state->groups; }
const std::vector<PadPair> &Layer::padding() const { return state->padding; }
const char *Layer::padding_mode() const {
  switch (state->paddingMode) {
  case PaddingMode::Same:
    return "SAME";
  case PaddingMode::Valid:
    return "VALID";
  case PaddingMode::Explicit:
    break;
  }
  return "explicit";
}
const Shape &Layer::kernel_shape() const { return state->kernelShape; }
const Shape &Layer::bias_shape() const { return state->biasShape; }
bool Layer::channel_first() const { return state->channelFirst; }
const std::string &Layer::name() const { return state->name; }
const std::string &Layer::param_type() const { return state->paramType; }
DataType Layer::dtype() const { return state->dtype; }
double Layer::eps() const { return state->eps; }
LayerKind Layer::kind() const { return state->kind; }
const Array &Layer::weight() const { return state->weight; }
const std::optional<Array> &Layer::bias() const { return state->bias; }
const std::optional<Array> &Layer::gain() const { return state->gain; }
const std::optional<Array> &Layer::w_mask() const { return state->mask; }

/// Whether `value` may take the place of `old`.
static Status checkParameter(const std::string &what, const Array &value,
                             const Array &old) {
  if (value.dtype != old.dtype)
    return badInput(what + " has dtype " + name(value.dtype) +
                    "; valid: " + name(old.dtype));
  if (value.shape != old.shape)
    return badInput(what + " has shape " + shapeText(value.shape) +
                    "; valid: " + shapeText(old.shape));
  return checkArray(what, value);
}

Status Layer::setWeight(Array weight) {
  if (Status s = checkParameter("weight", weight, state->weight); !s)
    return s;
  state->weight = std::move(weight);
  state->forgetPacked();
  return {};
}

Status Layer::setBias(Array bias) {
  if (!state->bias)
    return badInput("bias: the layer has none; valid: a layer made with "
                    "b_init");
  if (Status s = checkParameter("bias", bias, *state->bias); !s)
    return s;
  state->bias = std::move(bias);
  return {};
}

Status Layer::setGain(Array gain) {
  if (!state->gain)
    return badInput("gain: the layer has none; valid: a ScaledWSConv layer "
                    "made with ws_gain");
  if (Status s = checkParameter("gain", gain, *state->gain); !s)
    return s;
  state->gain = std::move(gain);
  state->forgetPacked();
  return {};
}

Expected<Array> Layer::effectiveWeight() const {
  return withinMemory([&]() -> Expected<Array> {
    Array storage;
    return state->effective(storage);
  });
}

Expected<NamedArrays> Layer::parameters() const {
  return withinMemory([&]() -> Expected<NamedArrays> {
    NamedArrays arrays;
    arrays.emplace("weight", state->weight);
    if (state->bias)
      arrays.emplace("bias", *state->bias);
    if (state->gain)
      arrays.emplace("gain", *state->gain);
    return arrays;
  });
}

/// A vector of channels takes the shape of `like`, which has one more or less
/// ones around the channels.
static Array channelsLike(Array array, const Array &like) {
  if (array.elements() != like.elements())
    return array;
  int64_t longest = 1;
  for (int64_t size : array.shape)
    longest = std::max(longest, size);
  if (longest == like.elements())
    array.shape = like.shape;
  return array;
}

Status Layer::setParameters(const NamedArrays &arrays,
                            const WeightSource &source) {
  return withinMemory([&]() -> Status {
    bool onnx = source.layout == WeightLayout::Onnx;
    auto named = [&](const std::string &given, const char *usual) {
      return source.prefix + (given.empty() ? usual : given);
    };
    std::string weightName = named(source.weight, onnx ? "W" : "weight");
    std::string biasName = named(source.bias, onnx ? "B" : "bias");
    std::string gainName = named(source.gain, "gain");
    auto found = arrays.find(weightName);
    if (found == arrays.end())
      return badInput(weightName +
                      " is not there; valid: an array of that name, "
                      "the weight");
    Expected<Array> weight =
        weightFrom(source.layout, found->second, state->kernelShape,
                   state->isTransposed(), state->groups, weightName);
    if (!weight)
      return weight.takeError();
    if (Status s = checkParameter(weightName, *weight, state->weight); !s)
      return s;

    // All are checked before any is set.
    auto vector = [&](const std::string &what, const std::optional<Array> &old,
                      const char *how) -> Expected<std::optional<Array>> {
      auto at = arrays.find(what);
      if (!old) {
        if (at != arrays.end())
          return badInput(what +
                          " is there, but the layer has none; valid: a "
                          "layer made with " +
                          how);
        return std::optional<Array>();
      }
      if (at == arrays.end())
        return badInput(what +
                        " is not there; valid: an array of that name, as "
                        "the layer was made with " +
                        how);
      Array value = channelsLike(at->second, *old);
      if (Status s = checkParameter(what, value, *old); !s)
        return s.takeError();
      return std::optional<Array>(std::move(value));
    };
    auto bias = vector(biasName, state->bias, "b_init");
    if (!bias)
      return bias.takeError();
    auto gain = vector(gainName, state->gain, "ws_gain");
    if (!gain)
      return gain.takeError();
    state->weight = std::move(*weight);
    state->bias = std::move(*bias);
    state->gain = std::move(*gain);
    state->forgetPacked();
    return {};
  });
}

static bool isNpy(const std::string &path) { return path.ends_with(".npy"); }

/// Also whatever else ends otherwise is an error.
static Status checkEnding(const std::string &path) {
  if (isNpy(path) || path.ends_with(".npz"))
    return {};
  return badInput(path + ": valid: a name that ends in .npz or .npy");
}

Status Layer::save(const std::string &path) const {
  if (Status s = checkEnding(path); !s)
    return s;
  if (!isNpy(path)) {
    Expected<NamedArrays> arrays = parameters();
    return arrays ? writeNpz(path, *arrays) : Status(arrays.takeError());
  }
  if (state->bias || state->gain)
    return badInput(path + ": holds the weight alone, but the layer has " +
                    (state->bias ? "a bias" : "a gain") +
                    "; valid: a name that ends in .npz");
  return writeNpy(path, state->weight);
}

Status Layer::load(const std::string &path, const WeightSource &source) {
  return withinMemory([&]() -> Status {
    if (Status s = checkEnding(path); !s)
      return s;
    if (!isNpy(path)) {
      Expected<NamedArrays> arrays = readNpz(path);
      if (!arrays)
        return arrays.takeError();
      Status set = setParameters(*arrays, source);
      if (set)
        return set;
      return Error{set.error().kind, path + ": " + set.error().message};
    }
    Expected<Array> array = readNpy(path);
    if (!array)
      return array.takeError();
    Expected<Array> weight =
        weightFrom(source.layout, *array, state->kernelShape,
                   state->isTransposed(), state->groups, path);
    if (!weight)
      return weight.takeError();
    if (Status s = checkParameter(path, *weight, state->weight); !s)
      return s;
    return setWeight(std::move(*weight));
  });
}

std::string Layer::problem() const {
  return printProblem(state->problem(Gradient::None));
}

std::string Layer::text() const {
  const char *const names[] = {"Conv", "ConvTranspose", "ScaledWSConv"};
  auto flag = [](bool value) { return value ? "True" : "False"; };
  std::string pads;
  for (PadPair pair : state->padding)
    pads += (pads.empty() ? "" : ", ") + shapeText({pair.lo, pair.hi});
  std::string shownPadding = state->paddingMode == PaddingMode::Explicit
                                 ? "(" + pads + (state->rank == 1 ? ",)" : ")")
                                 : std::string("'") + padding_mode() + "'";
  std::string text =
      names[static_cast<int>(state->kind)] + std::to_string(state->rank) +
      "d(name='" + state->name + "', in_size=" + shapeText(state->inSize) +
      ", out_size=" + shapeText(state->outSize) +
      ", in_channels=" + std::to_string(state->inChannels) +
      ", out_channels=" + std::to_string(state->outChannels) +
      ", kernel_size=" + shapeText(state->kernelSize) +
      ", stride=" + shapeText(state->stride) + ", padding=" + shownPadding +
      ", lhs_dilation=" + shapeText(state->lhsDilation) +
      ", rhs_dilation=" + shapeText(state->rhsDilation) +
      ", groups=" + std::to_string(state->groups) +
      ", channel_first=" + flag(state->channelFirst) +
      ", bias=" + flag(state->bias.has_value()) +
      ", w_mask=" + flag(state->mask.has_value());
  if (state->kind == LayerKind::ScaledWSConv)
    text += std::string(", ws_gain=") + flag(state->gain.has_value()) +
            ", eps=" + std::to_string(state->eps);
  return text + ", dtype=" + convjit::name(state->dtype) +
         ", param_type=" + state->paramType + ")";
}
