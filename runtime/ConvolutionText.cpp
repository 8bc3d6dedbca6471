//===- ConvolutionText.cpp - one-line text of a general convolution -*- C++
//-*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "ConvolutionText.h"
#include "Random.h"
#include "Shown.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>

using namespace convjit;

static std::string list(const Convolution &conv, int64_t SpatialDim::*field) {
  std::string text;
  for (const SpatialDim &dim : conv.dims)
    text += (text.empty() ? "" : "x") + std::to_string(dim.*field);
  return text;
}

static std::string axes(char first, int64_t firstAxis, char second,
                        int64_t secondAxis,
                        const std::vector<int64_t> &spatial) {
  std::string text(spatial.size() + 2, '?');
  text[static_cast<size_t>(firstAxis)] = first;
  text[static_cast<size_t>(secondAxis)] = second;
  for (size_t i = 0; i < spatial.size(); ++i)
    text[static_cast<size_t>(spatial[i])] = static_cast<char>('0' + i);
  return text;
}

/// Of the input; nothing where it is contiguous.
static std::string strides(const std::vector<int64_t> &values) {
  std::string text;
  for (int64_t value : values)
    text += (text.empty() ? ",xs=" : "x") + std::to_string(value);
  return text;
}

std::string convjit::describe(const NamedConvolution &named) {
  const Convolution &conv = named.conv;
  const DimensionNumbers &n = conv.numbers;
  std::string pad, reversed;
  for (const SpatialDim &dim : conv.dims) {
    pad += (pad.empty() ? "" : "x") + std::to_string(dim.padLow) + ":" +
           std::to_string(dim.padHigh);
    reversed += (reversed.empty() ? "" : "x") + std::to_string(dim.reversed);
  }
  std::string text = "convolution:n=" + list(conv, &SpatialDim::input) +
                     ",k=" + list(conv, &SpatialDim::kernel) +
                     ",ws=" + list(conv, &SpatialDim::windowStride) +
                     ",ld=" + list(conv, &SpatialDim::inputDilation) +
                     ",rd=" + list(conv, &SpatialDim::kernelDilation) +
                     ",pad=" + pad + ",rev=" + reversed +
                     ",ic=" + std::to_string(conv.inChannels) +
                     ",oc=" + std::to_string(conv.outChannels);
  if (conv.groups != 1)
    text += ",g=" + std::to_string(conv.groups);
  if (conv.batchGroups != 1)
    text += ",bg=" + std::to_string(conv.batchGroups);
  text +=
      ",x=" + axes('b', n.inputBatch, 'f', n.inputFeature, n.inputSpatial) +
      strides(conv.inputStrides) + ",w=" +
      axes('o', n.kernelOutputFeature, 'i', n.kernelInputFeature,
           n.kernelSpatial) +
      ",y=" + axes('b', n.outputBatch, 'f', n.outputFeature, n.outputSpatial);
  if (conv.kernelFeaturesSwapped)
    text += ",swapped";
  if (conv.dtype != DataType::F32)
    text += std::string(",dtype=") + name(conv.dtype);
  if (conv.bias)
    text += ",bias";
  if (conv.residual)
    text += ",residual";
  if (conv.activation.kind != ActivationKind::None) {
    text += std::string(",act=") + name(conv.activation.kind);
    if (conv.activation.kind == ActivationKind::LeakyRelu) {
      char buffer[64];
      auto [end, error] =
          std::to_chars(buffer, buffer + sizeof buffer, conv.activation.slope);
      text += ":" + std::string(buffer, end);
    }
  }
  if (!named.mask.empty())
    text += ",mask=" + named.mask;
  return text;
}

//===----------------------------------------------------------------------===//
// Parsing
//===----------------------------------------------------------------------===//

namespace {

constexpr std::string_view fieldNames[] = {
    "n",  "k",       "ws",    "ld",   "rd",       "pad", "rev",
    "ic", "oc",      "g",     "bg",   "x",        "xs",  "w",
    "y",  "swapped", "dtype", "bias", "residual", "act", "mask"};

using Fields = std::map<std::string, std::string, std::less<>>;

std::vector<std::string> split(std::string_view text, char separator) {
  std::vector<std::string> parts;
  for (;;) {
    size_t at = text.find(separator);
    parts.emplace_back(text.substr(0, at));
    if (at == std::string_view::npos)
      return parts;
    text.remove_prefix(at + 1);
  }
}

bool integer(std::string_view text, int64_t &value) {
  auto [end, error] =
      std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size();
}

bool integers(const std::string &text, size_t count,
              std::vector<int64_t> &values) {
  values.clear();
  for (const std::string &part : split(text, 'x'))
    if (!integer(part, values.emplace_back()))
      return false;
  return values.size() == count;
}

bool readAxes(const std::string &text, char first, char second,
              int64_t &firstAxis, int64_t &secondAxis,
              std::vector<int64_t> &spatial, size_t rank) {
  if (text.size() != rank + 2)
    return false;
  spatial.assign(rank, -1);
  firstAxis = secondAxis = -1;
  for (size_t axis = 0; axis < text.size(); ++axis) {
    auto at = static_cast<int64_t>(axis);
    if (text[axis] == first)
      firstAxis = at;
    else if (text[axis] == second)
      secondAxis = at;
    else if (text[axis] >= '0' && size_t(text[axis] - '0') < rank)
      spatial[static_cast<size_t>(text[axis] - '0')] = at;
    else
      return false;
  }
  return true;
}

} // namespace

Expected<NamedConvolution> convjit::parseConvolution(std::string_view text) {
  constexpr std::string_view prefix = "convolution:";
  auto fail = [&](std::string_view field) {
    return badInput(
        "convolution: field '" + shown(field) +
        "' is missing, repeated or malformed; valid: n, k, ws, ld, rd, pad, "
        "rev, ic, oc, x, w, y and optionally g, bg, xs, swapped, "
        "dtype, bias, residual, act, mask");
  };
  if (!text.starts_with(prefix))
    return fail("convolution:");
  Fields fields;
  for (const std::string &part : split(text.substr(prefix.size()), ',')) {
    size_t equals = part.find('=');
    std::string key = part.substr(0, equals);
    bool flag = key == "swapped" || key == "bias" || key == "residual";
    if (flag != (equals == std::string::npos) ||
        std::find(std::begin(fieldNames), std::end(fieldNames), key) ==
            std::end(fieldNames) ||
        !fields.emplace(key, flag ? "" : part.substr(equals + 1)).second)
      return fail(key);
  }
  NamedConvolution named;
  Convolution &conv = named.conv;
  size_t rank = split(fields["n"], 'x').size();
  if (rank < 1 || rank > 3)
    return fail("n");
  conv.dims.resize(rank);
  std::pair<const char *, int64_t SpatialDim::*> lists[] = {
      {"n", &SpatialDim::input},
      {"k", &SpatialDim::kernel},
      {"ws", &SpatialDim::windowStride},
      {"ld", &SpatialDim::inputDilation},
      {"rd", &SpatialDim::kernelDilation}};
  std::vector<int64_t> values;
  for (auto [field, member] : lists) {
    if (!integers(fields[field], rank, values))
      return fail(field);
    for (size_t i = 0; i < rank; ++i)
      conv.dims[i].*member = values[i];
  }
  if (!integers(fields["rev"], rank, values))
    return fail("rev");
  for (size_t i = 0; i < rank; ++i) {
    if (values[i] != 0 && values[i] != 1)
      return fail("rev");
    conv.dims[i].reversed = values[i] != 0;
  }
  std::vector<std::string> pads = split(fields["pad"], 'x');
  if (pads.size() != rank)
    return fail("pad");
  for (size_t i = 0; i < rank; ++i) {
    std::vector<std::string> pair = split(pads[i], ':');
    if (pair.size() != 2 || !integer(pair[0], conv.dims[i].padLow) ||
        !integer(pair[1], conv.dims[i].padHigh))
      return fail("pad");
  }
  if (!integer(fields["ic"], conv.inChannels))
    return fail("ic");
  if (!integer(fields["oc"], conv.outChannels))
    return fail("oc");
  if (fields.count("g") && !integer(fields["g"], conv.groups))
    return fail("g");
  if (fields.count("bg") && !integer(fields["bg"], conv.batchGroups))
    return fail("bg");
  DimensionNumbers &n = conv.numbers;
  if (!readAxes(fields["x"], 'b', 'f', n.inputBatch, n.inputFeature,
                n.inputSpatial, rank))
    return fail("x");
  if (fields.count("xs") &&
      !integers(fields["xs"], rank + 2, conv.inputStrides))
    return fail("xs");
  if (!readAxes(fields["w"], 'o', 'i', n.kernelOutputFeature,
                n.kernelInputFeature, n.kernelSpatial, rank))
    return fail("w");
  if (!readAxes(fields["y"], 'b', 'f', n.outputBatch, n.outputFeature,
                n.outputSpatial, rank))
    return fail("y");
  conv.kernelFeaturesSwapped = fields.count("swapped") != 0;
  if (fields.count("dtype")) {
    std::optional<DataType> dtype = dataTypeOf(fields["dtype"]);
    if (!dtype)
      return fail("dtype");
    conv.dtype = *dtype;
  }
  conv.bias = fields.count("bias") != 0;
  conv.residual = fields.count("residual") != 0;
  if (fields.count("act")) {
    std::vector<std::string> parts = split(fields["act"], ':');
    bool known = false;
    for (int kind = 0; kind <= static_cast<int>(ActivationKind::GeluTanh);
         ++kind)
      if (parts[0] == name(static_cast<ActivationKind>(kind))) {
        conv.activation.kind = static_cast<ActivationKind>(kind);
        known = true;
      }
    if (!known)
      return fail("act");
    if (parts.size() > 1) {
      auto [end, error] =
          std::from_chars(parts[1].data(), parts[1].data() + parts[1].size(),
                          conv.activation.slope);
      if (error != std::errc() || parts.size() != 2 ||
          end != parts[1].data() + parts[1].size() ||
          conv.activation.kind != ActivationKind::LeakyRelu ||
          !std::isfinite(conv.activation.slope))
        return fail("act");
    }
  }
  if (Status s = validate(conv); !s)
    return s.takeError();
  named.mask = fields.count("mask") ? fields["mask"] : "";
  if (!named.mask.empty())
    if (Status s = makeMask(conv, named.mask); !s)
      return s.takeError();
  return named;
}

//===----------------------------------------------------------------------===//
// Masks
//===----------------------------------------------------------------------===//

/// Reads KIND@SEED; false when it is something else.
static bool readMaskName(std::string_view name, std::string_view &kind,
                         int64_t &seed) {
  size_t at = name.find('@');
  kind = name.substr(0, at);
  bool known = kind == "taps" || kind == "causal" || kind == "blocks" ||
               kind == "random" || kind == "factors" || kind == "none";
  return known && at != std::string_view::npos &&
         integer(name.substr(at + 1), seed);
}

bool convjit::isMaskName(std::string_view name) {
  std::string_view kind;
  int64_t seed = 0;
  return readMaskName(name, kind, seed);
}

Status convjit::makeMask(Convolution &conv, std::string_view name) {
  int64_t seed = 0;
  std::string_view kind;
  if (!readMaskName(name, kind, seed))
    return badInput("mask=" + shown(name) +
                    ": valid: taps, causal, blocks, random, factors or none, "
                    "then @ and a seed");
  Random random(static_cast<uint64_t>(seed));
  std::vector<int64_t> shape = conv.kernelShape();
  int64_t weights = 1, taps = 1;
  for (int64_t size : shape)
    weights *= size;
  for (const SpatialDim &dim : conv.dims)
    taps *= dim.kernel;
  if (weights > (int64_t(1) << 26))
    return badInput("mask=" + shown(name) + ": the kernel has " +
                    std::to_string(weights) + " weights; valid: at most 2^26");
  std::vector<bool> liveTaps(static_cast<size_t>(taps));
  for (size_t t = 0; t < liveTaps.size(); ++t)
    liveTaps[t] =
        kind == "causal" ? t <= liveTaps.size() / 2 : random.below(2) != 0;
  int64_t block = int64_t(1) << random.below(5);
  conv.mask.resize(static_cast<size_t>(weights));
  for (int64_t index = 0; index < weights; ++index) {
    std::vector<int64_t> position(shape.size());
    int64_t rest = index, tap = 0;
    for (size_t axis = shape.size(); axis-- > 0;) {
      position[axis] = rest % shape[axis];
      rest /= shape[axis];
    }
    for (size_t i = 0; i < conv.dims.size(); ++i)
      tap = tap * conv.dims[i].kernel + position[conv.numbers.kernelSpatial[i]];
    int64_t in = position[conv.numbers.kernelInputFeature];
    int64_t out = position[conv.numbers.kernelOutputFeature];
    double value = 1;
    if (kind == "none")
      value = 0;
    else if (kind == "taps" || kind == "causal")
      value = liveTaps[static_cast<size_t>(tap)];
    else if (kind == "blocks")
      value = ((in / block + out / block) % 2) == 0;
    else if (kind == "random")
      value = random.below(2);
    else
      value = static_cast<double>(random.below(4)) / 2;
    conv.mask[static_cast<size_t>(index)] = value;
  }
  return {};
}
