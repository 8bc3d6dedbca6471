//===- Comparison.cpp - outputs held against the reference -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Comparison.h"
#include "Layer.h"

#include <cmath>
#include <cstdio>
#include <limits>

using namespace convjit;
using namespace convjit::cli;

std::vector<int64_t> convjit::cli::imagesOf(const NamedCase &item) {
  return item.images.empty() ? std::vector<int64_t>{1, 0, 3} : item.images;
}

bool convjit::cli::isExact(const Activation &activation) {
  switch (activation.kind) {
  case ActivationKind::None:
  case ActivationKind::Relu:
    return true;
  case ActivationKind::LeakyRelu: {
    int exponent;
    return std::abs(std::frexp(activation.slope, &exponent)) == 0.5;
  }
  default:
    return false;
  }
}

static std::string difference(size_t index, double got, double wanted,
                              double bound) {
  char text[200];
  std::snprintf(text, sizeof text,
                "element %zu is %.9g%s, the reference says %.9g, allowed %.3g",
                index, got, std::isnan(got) ? " (never written?)" : "", wanted,
                bound);
  return text;
}

void convjit::cli::makeSpecial(std::vector<double> &values, Random &random) {
  if (values.empty())
    return;
  constexpr double inf = std::numeric_limits<double>::infinity();
  for (double value : {inf, -inf, std::numeric_limits<double>::quiet_NaN()})
    if (random.chance(50))
      values[static_cast<size_t>(
          random.below(static_cast<int64_t>(values.size())))] = value;
}

static void roundTo(DataType dtype, std::vector<double> &values) {
  for (double &value : values)
    value = rounded(value, dtype);
}

/// body(which element in the order of inputShape, where it lies in the span).
template <typename Body>
static void eachInput(const Convolution &conv, int64_t batch, Body body) {
  std::vector<int64_t> shape = conv.inputShape(batch),
                       strides = conv.stridesOfInput(batch),
                       at(shape.size(), 0);
  int64_t place = -conv.inputSpan(batch).first;
  size_t which = 0;
  for (;;) {
    body(which++, static_cast<size_t>(place));
    size_t axis = shape.size();
    for (; axis > 0; --axis) {
      place += strides[axis - 1];
      if (++at[axis - 1] < shape[axis - 1])
        break;
      place -= at[axis - 1] * strides[axis - 1];
      at[axis - 1] = 0;
    }
    if (axis == 0)
      return;
  }
}

/// The batch of an input of so many elements; 0 where it has none.
static int64_t batchOf(const Convolution &conv, size_t elements) {
  size_t image = 1;
  for (int64_t size : conv.inputShape(1))
    image *= static_cast<size_t>(size);
  return image ? static_cast<int64_t>(elements / image) : 0;
}

std::vector<double>
convjit::cli::spreadInput(const Convolution &conv,
                          const std::vector<double> &values) {
  int64_t batch = batchOf(conv, values.size());
  if (conv.inputStrides.empty() || batch == 0)
    return values;
  std::vector<double> span(
      static_cast<size_t>(conv.inputSpan(batch).elements()),
      std::numeric_limits<double>::quiet_NaN());
  eachInput(conv, batch,
            [&](size_t which, size_t place) { span[place] = values[which]; });
  return span;
}

void convjit::cli::roundOperands(const Convolution &conv,
                                 ReferenceOperands &operands) {
  if (int64_t batch = batchOf(conv, operands.input.size());
      batch > 0 && !conv.inputStrides.empty()) {
    std::vector<double> span = spreadInput(conv, operands.input);
    eachInput(conv, batch, [&](size_t which, size_t place) {
      operands.input[which] = span[place];
    });
  }
  for (auto *values :
       {&operands.input, &operands.weights, &operands.bias, &operands.residual})
    roundTo(conv.dtype, *values);
  for (size_t i = 0; i < conv.mask.size(); ++i)
    if (conv.mask[i] == 0)
      operands.weights[i] = std::numeric_limits<double>::quiet_NaN();
}

std::string convjit::cli::compareOutputs(const Convolution &conv,
                                         const ReferenceResult &wanted,
                                         const std::byte *got, DataKind kind,
                                         double &worst, double productError) {
  bool exact = kind == DataKind::Exact && isExact(conv.activation);
  for (size_t i = 0; i < wanted.output.size(); ++i) {
    double value = elementAt(got, conv.dtype, i);
    double reference = wanted.output[i];
    if (exact)
      reference = rounded(reference, conv.dtype);
    double bound =
        exact ? 0 : errorBound(conv, wanted.magnitude[i], productError);
    if (exact && !std::isfinite(reference)) {
      if (std::isnan(reference) ? std::isnan(value) : value == reference)
        continue;
      return difference(i, value, reference, 0);
    }
    double error = std::abs(value - reference);
    if (!(error <= bound)) // also when it is no number
      return difference(i, value, reference, bound);
    if (kind == DataKind::Float && bound > 0)
      worst = std::max(worst, error / bound);
  }
  return "";
}

void convjit::cli::replaceField(std::string &plan, const std::string &field,
                                const std::string &value) {
  size_t at = plan.find(field + " = ");
  if (at == std::string::npos) {
    plan.insert(plan.size() - 1, ", " + field + " = " + value);
    return;
  }
  at += field.size() + 3;
  plan.replace(at, plan.find_first_of(",>", at) - at, value);
}

/// All of a random plan but whether the input is packed.
static std::string randomTile(std::string plan, const Convolution &conv,
                              const std::string &schedule, Random &random) {
  auto number = [&](const char *field, std::initializer_list<int64_t> values) {
    if (random.chance(60))
      replaceField(plan, field, std::to_string(random.pick(values)));
  };
  auto has = [&](const char *name) {
    return plan.find(std::string("schedule = ") + name) != std::string::npos;
  };
  bool direct = has("direct"), mma = has("mma");
  // The last fields; those that are added come before them.
  for (const char *field : {", split = ", ", pack_input = "})
    if (size_t at = plan.find(field); at != std::string::npos)
      plan.erase(at, plan.find('>', at) - at);
  if (!schedule.empty() || random.chance(50)) {
    bool tensorCores = conv.dtype != DataType::F64;
    direct = schedule.empty() ? random.chance(tensorCores ? 25 : 50)
                              : schedule == "direct";
    mma = schedule.empty() ? !direct && tensorCores && random.chance(70)
                           : schedule == "mma";
    replaceField(plan, "schedule", direct ? "direct" : mma ? "mma" : "simt");
    replaceField(plan, "stages", direct ? "1" : mma ? "3" : "2");
    replaceField(plan, "vector", "1");
    const char *own = direct ? "1" : mma ? "2" : "4";
    replaceField(plan, "thread_channels", own);
    replaceField(plan, "thread_pixels", own);
    if (!direct)
      replaceField(plan, "depth", "8");
    if (mma)
      replaceField(plan, "channels", "16");
  }
  if (random.chance(70)) {
    std::string box;
    int64_t pixels = direct ? 32 : random.pick<int64_t>({32, 64, 128});
    for (int dim = conv.rank(); dim > 0; --dim) {
      int64_t size = random.pick<int64_t>({1, 2, 4, 8, 16, 32});
      size = std::min(size, pixels);
      pixels /= size;
      box = ", " + std::to_string(size) + box;
    }
    box = "[" + std::to_string(pixels) + box + "]";
    size_t at = plan.find("box = ") + 6;
    plan.replace(at, plan.find(']', at) + 1 - at, box);
  }
  if (direct) {
    number("channels", {1, 2, 4, 8, 16, 32});
    number("thread_pixels", {1, 2, 4});
    // 16 bytes of neighbours, each of them a group.
    if (conv.channelsPerGroup() == 1 && conv.outChannels == conv.groups &&
        random.chance(50)) {
      int64_t own = 16 / sizeOf(conv.dtype);
      replaceField(plan, "thread_channels", std::to_string(own));
      replaceField(plan, "vector", std::to_string(own));
      replaceField(plan, "channels",
                   std::to_string(own * random.pick<int64_t>({1, 2, 4})));
    }
    return plan;
  }
  if (random.chance(50))
    replaceField(plan, "mixed", random.pick({"true", "false"}));
  if (random.chance(30))
    replaceField(plan, "split",
                 std::to_string(random.pick<int64_t>({1, 2, 3, 5})));
  if (mma) {
    number("channels", {8, 16, 32, 64, 128});
    number("depth", {8, 16, 32, 64});
    number("thread_pixels", {2, 4, 8});
    number("thread_channels", {2, 4, 8});
    number("stages", {3, 4, 5});
    number("vector", {1, 2, 4, 8});
    return plan;
  }
  number("channels", {4, 8, 16, 32, 64, 128});
  number("depth", {4, 8, 16});
  number("thread_pixels", {1, 2, 4, 8});
  number("thread_channels", {1, 2, 4, 8});
  number("vector", {1, 1, 2, 4});
  return plan;
}

std::string convjit::cli::randomGPUPlan(std::string plan,
                                        const Convolution &conv,
                                        const std::string &schedule,
                                        Random &random) {
  plan = randomTile(std::move(plan), conv, schedule, random);
  if (conv.numbers.inputFeature != conv.rank() + 1 && random.chance(40))
    replaceField(plan, "pack_input", "true");
  return plan;
}
