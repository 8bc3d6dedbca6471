//===- ProblemText.cpp - problem strings -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Shown.h"
#include "convjit/Problem.h"

#include <algorithm>
#include <charconv>
#include <optional>
#include <set>

using namespace convjit;

namespace {

constexpr const char *validFields =
    "in, oc, k, s, d, ld, g, bg, pad, layout, dtype, grad, bias, residual, "
    "act, mask";

std::vector<std::string_view> split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  for (;;) {
    size_t at = text.find(separator);
    parts.push_back(text.substr(0, at));
    if (at == std::string_view::npos)
      return parts;
    text.remove_prefix(at + 1);
  }
}

Error fieldError(std::string_view field, std::string_view value,
                 const std::string &valid) {
  return badInput(shown(field) + "=" + shown(value) + ": valid: " + valid);
}

/// "an integer from 1 to 16": said for what is no integer too, since one that
/// 64 bits cannot hold is read as none.
std::string integerText(int64_t low, int64_t high) {
  return "an integer from " + std::to_string(low) + " to " +
         std::to_string(high);
}

std::optional<int64_t> parseInteger(std::string_view text) {
  int64_t value = 0;
  auto [end, error] =
      std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size())
    return std::nullopt;
  return value;
}

/// Reads one problem string.
class Parser {
public:
  Expected<Problem> parse(std::string_view text) {
    size_t colon = text.find(':');
    std::string_view operation = text.substr(0, colon);
    if (!setOperation(operation))
      return badInput("operation '" + shown(operation) +
                      "': valid: conv1d, conv2d, conv3d, convT1d, convT2d, "
                      "convT3d, then ':' and fields");
    if (colon == std::string_view::npos)
      return badInput("problem '" + shown(text) +
                      "': valid: a ':' and fields after the operation, for "
                      "example convT3d:in=8x16x16x64,oc=32,k=4,s=2");
    for (std::string_view part : split(text.substr(colon + 1), ','))
      if (Status s = field(part); !s)
        return s.takeError();
    for (const char *required : {"in", "oc", "k"})
      if (!seen.count(required))
        return badInput(std::string(required) +
                        ": is missing; valid: in=, oc= and k= are required");
    if (Status s = finish(); !s)
      return s.takeError();
    if (Status s = validate(problem); !s)
      return s.takeError();
    return problem;
  }

private:
  bool setOperation(std::string_view text) {
    if (!text.starts_with("conv"))
      return false;
    text.remove_prefix(4);
    problem.operation = Operation::Conv;
    if (text.starts_with("T")) {
      problem.operation = Operation::ConvTranspose;
      text.remove_prefix(1);
    }
    if (text.size() != 2 || text[0] < '1' || text[0] > '3' || text[1] != 'd')
      return false;
    problem.rank = text[0] - '0';
    return true;
  }

  Status field(std::string_view part) {
    size_t equals = part.find('=');
    std::string_view key = part.substr(0, equals);
    bool hasValue = equals != std::string_view::npos;
    std::string_view value = hasValue ? part.substr(equals + 1) : "";
    if (!seen.insert(std::string(key)).second)
      return badInput("field '" + shown(key) +
                      "' appears twice; valid: each field once");
    if (key == "bias" || key == "residual") {
      if (hasValue)
        return fieldError(key, value, "the name alone, without a value");
      (key == "bias" ? problem.bias : problem.residual) = true;
      return {};
    }
    if (!isField(key))
      return badInput("field '" + shown(key) + "': valid: " + validFields);
    if (!hasValue || value.empty())
      return badInput("field '" + shown(key) +
                      "' has no value; valid: " + shown(key) + "=...");
    if (key == "in")
      return numbers(key, value, sizes, problem.rank + 1);
    if (key == "k")
      return numbers(key, value, problem.kernel, problem.rank);
    if (key == "s")
      return numbers(key, value, problem.stride, problem.rank);
    if (key == "d")
      return numbers(key, value, problem.dilation, problem.rank);
    if (key == "ld")
      return numbers(key, value, problem.inputDilation, problem.rank);
    if (key == "oc")
      return number(key, value, problem.outChannels);
    if (key == "g")
      return number(key, value, problem.groups);
    if (key == "bg")
      return number(key, value, problem.batchGroups);
    if (key == "pad")
      return padding(value);
    if (key == "act")
      return activation(value);
    if (key == "mask") {
      problem.mask = value;
      return {};
    }
    return word(key, value);
  }

  static bool isField(std::string_view key) {
    static constexpr std::string_view fields[] = {
        "in", "oc",  "k",      "s",     "d",    "ld",  "g",
        "bg", "pad", "layout", "dtype", "grad", "act", "mask"};
    return std::find(std::begin(fields), std::end(fields), key) !=
           std::end(fields);
  }

  Status number(std::string_view key, std::string_view value, int64_t &out) {
    std::optional<int64_t> parsed = parseInteger(value);
    if (!parsed)
      return fieldError(key, value, integerText(1, maxProblemField));
    out = *parsed;
    return {};
  }

  /// `count` integers with 'x' between them, or (but for `in`) one for all.
  Status numbers(std::string_view key, std::string_view value,
                 std::vector<int64_t> &out, int count) {
    std::vector<std::string_view> parts = split(value, 'x');
    bool one = parts.size() == 1 && key != "in";
    std::string valid =
        key == "in"
            ? std::to_string(count) + " integers up to " +
                  std::to_string(maxProblemField) +
                  " with 'x' between them: the spatial sizes (from 0) and the "
                  "channels (from 1), in the order of the layout"
            : integerText(1, key == "k" ? maxProblemKernel : maxProblemField) +
                  ", or " + std::to_string(count) + " with 'x' between them";
    if (!one && static_cast<int>(parts.size()) != count)
      return fieldError(key, value, valid);
    out.clear();
    for (std::string_view part : parts) {
      std::optional<int64_t> parsed = parseInteger(part);
      if (!parsed)
        return fieldError(key, value, valid);
      out.push_back(*parsed);
    }
    if (one)
      out.assign(count, out.front());
    return {};
  }

  Status padding(std::string_view value) {
    if (value == "same" || value == "valid") {
      problem.paddingMode =
          value == "same" ? PaddingMode::Same : PaddingMode::Valid;
      return {};
    }
    problem.paddingMode = PaddingMode::Explicit;
    std::string valid = "same, valid, " +
                        integerText(-maxProblemField, maxProblemField) +
                        ", lo:hi, or " + std::to_string(problem.rank) +
                        " of these with 'x' between them";
    std::vector<std::string_view> parts = split(value, 'x');
    if (parts.size() != 1 && static_cast<int>(parts.size()) != problem.rank)
      return fieldError("pad", value, valid);
    for (std::string_view part : parts) {
      std::vector<std::string_view> pair = split(part, ':');
      std::optional<int64_t> lo = parseInteger(pair.front());
      std::optional<int64_t> hi = parseInteger(pair.back());
      if (pair.size() > 2 || !lo || !hi)
        return fieldError("pad", value, valid);
      problem.padding.push_back({*lo, *hi});
    }
    if (parts.size() == 1)
      problem.padding.assign(problem.rank, PadPair(problem.padding.front()));
    return {};
  }

  Status activation(std::string_view value) {
    size_t colon = value.find(':');
    std::string_view kindName = value.substr(0, colon);
    for (int kind = 0; kind <= static_cast<int>(ActivationKind::GeluTanh);
         ++kind)
      if (kindName == name(static_cast<ActivationKind>(kind))) {
        problem.activation.kind = static_cast<ActivationKind>(kind);
        if (colon == std::string_view::npos)
          return {};
        std::string_view slope = value.substr(colon + 1);
        double parsed = 0;
        auto [end, error] =
            std::from_chars(slope.data(), slope.data() + slope.size(), parsed);
        bool finite = parsed - parsed == 0;
        if (problem.activation.kind != ActivationKind::LeakyRelu ||
            error != std::errc() || end != slope.data() + slope.size() ||
            !finite)
          return fieldError("act", value,
                            "a finite slope after leaky_relu: only");
        problem.activation.slope = parsed;
        return {};
      }
    return fieldError("act", value,
                      "none, relu, leaky_relu, leaky_relu:SLOPE, sigmoid, "
                      "tanh, silu, gelu, gelu_tanh");
  }

  Status word(std::string_view key, std::string_view value) {
    if (key == "layout") {
      if (value != "channels_last" && value != "channels_first")
        return fieldError(key, value, "channels_last, channels_first");
      problem.layout = value == "channels_last" ? Layout::ChannelsLast
                                                : Layout::ChannelsFirst;
    } else if (key == "dtype") {
      std::optional<DataType> dtype = dataTypeOf(value);
      if (!dtype)
        return fieldError(key, value, "f32, f64, and on GPUs f16, bf16");
      problem.dtype = *dtype;
    } else {
      if (value != "input" && value != "weight")
        return fieldError(key, value, "input, weight");
      problem.gradient = value == "input" ? Gradient::Input : Gradient::Weight;
    }
    return {};
  }

  /// Fields that depend on others.
  Status finish() {
    bool last = problem.layout == Layout::ChannelsLast;
    problem.inChannels = last ? sizes.back() : sizes.front();
    if (last)
      problem.inSpatial.assign(sizes.begin(), sizes.end() - 1);
    else
      problem.inSpatial.assign(sizes.begin() + 1, sizes.end());
    for (std::vector<int64_t> *list :
         {&problem.stride, &problem.dilation, &problem.inputDilation})
      if (list->empty())
        list->assign(problem.rank, 1);
    return {};
  }

  Problem problem;
  std::vector<int64_t> sizes;
  std::set<std::string> seen;
};

} // namespace

Expected<Problem> convjit::parseProblem(std::string_view text) {
  return Parser().parse(text);
}

//===----------------------------------------------------------------------===//
// Printing
//===----------------------------------------------------------------------===//

static std::string list(const std::vector<int64_t> &values) {
  bool same = std::all_of(values.begin(), values.end(),
                          [&](int64_t v) { return v == values.front(); });
  std::string text;
  for (size_t i = 0; i < (same ? 1 : values.size()); ++i)
    text += (i ? "x" : "") + std::to_string(values[i]);
  return text;
}

static std::string paddingText(const std::vector<PadPair> &padding) {
  bool same = std::all_of(padding.begin(), padding.end(),
                          [&](PadPair pad) { return pad == padding.front(); });
  std::string text;
  for (size_t i = 0; i < (same ? 1 : padding.size()); ++i) {
    text += (i ? "x" : "") + std::to_string(padding[i].lo);
    if (padding[i].lo != padding[i].hi)
      text += ":" + std::to_string(padding[i].hi);
  }
  return text;
}

/// The shortest text that reads back as the same number.
static std::string slopeText(double slope) {
  char buffer[64];
  auto [end, error] = std::to_chars(buffer, buffer + sizeof buffer, slope);
  return std::string(buffer, end);
}

std::string convjit::printProblem(const Problem &p) {
  std::string text = p.operation == Operation::ConvTranspose ? "convT" : "conv";
  text += std::to_string(p.rank) + "d:in=";
  std::vector<int64_t> sizes = p.inSpatial;
  sizes.insert(p.layout == Layout::ChannelsLast ? sizes.end() : sizes.begin(),
               p.inChannels);
  for (size_t i = 0; i < sizes.size(); ++i)
    text += (i ? "x" : "") + std::to_string(sizes[i]);
  text += ",oc=" + std::to_string(p.outChannels) + ",k=" + list(p.kernel);
  auto optional = [&](const char *field, const std::vector<int64_t> &values) {
    if (std::any_of(values.begin(), values.end(),
                    [](int64_t v) { return v != 1; }))
      text += std::string(",") + field + "=" + list(values);
  };
  optional("s", p.stride);
  optional("d", p.dilation);
  optional("ld", p.inputDilation);
  if (p.groups != 1)
    text += ",g=" + std::to_string(p.groups);
  if (p.batchGroups != 1)
    text += ",bg=" + std::to_string(p.batchGroups);
  if (p.paddingMode == PaddingMode::Valid)
    text += ",pad=valid";
  else if (p.paddingMode == PaddingMode::Explicit)
    text += ",pad=" + paddingText(p.padding);
  if (p.layout == Layout::ChannelsFirst)
    text += ",layout=channels_first";
  if (p.dtype != DataType::F32)
    text += std::string(",dtype=") + name(p.dtype);
  if (p.gradient != Gradient::None)
    text += p.gradient == Gradient::Input ? ",grad=input" : ",grad=weight";
  if (p.bias)
    text += ",bias";
  if (p.residual)
    text += ",residual";
  if (p.activation.kind != ActivationKind::None) {
    text += std::string(",act=") + name(p.activation.kind);
    if (p.activation.kind == ActivationKind::LeakyRelu &&
        p.activation.slope != 0.01)
      text += ":" + slopeText(p.activation.slope);
  }
  if (!p.mask.empty())
    text += ",mask=" + p.mask;
  return text;
}
