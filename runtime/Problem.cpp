//===- Problem.cpp - names and checks of layers -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "convjit/Problem.h"
#include "convjit/Convolution.h"

#include <cmath>

using namespace convjit;

const char *convjit::name(DataType dtype) {
  switch (dtype) {
  case DataType::F32:
    return "f32";
  case DataType::F64:
    return "f64";
  case DataType::F16:
    return "f16";
  case DataType::BF16:
    return "bf16";
  }
  return "";
}

std::optional<DataType> convjit::dataTypeOf(std::string_view text) {
  for (DataType dtype :
       {DataType::F32, DataType::F64, DataType::F16, DataType::BF16})
    if (text == name(dtype))
      return dtype;
  return {};
}

int64_t convjit::sizeOf(DataType dtype) {
  return dtype == DataType::F64 ? 8 : dtype == DataType::F32 ? 4 : 2;
}

const char *convjit::name(ActivationKind kind) {
  switch (kind) {
  case ActivationKind::None:
    return "none";
  case ActivationKind::Relu:
    return "relu";
  case ActivationKind::LeakyRelu:
    return "leaky_relu";
  case ActivationKind::Sigmoid:
    return "sigmoid";
  case ActivationKind::Tanh:
    return "tanh";
  case ActivationKind::Silu:
    return "silu";
  case ActivationKind::Gelu:
    return "gelu";
  case ActivationKind::GeluTanh:
    return "gelu_tanh";
  }
  return "?";
}

static std::string text(int64_t value) { return std::to_string(value); }

/// Element counts are checked by the general convolution.
static Status checkRange(const char *field, int64_t value, int64_t low,
                         int64_t high = maxProblemField) {
  if (value >= low && value <= high)
    return {};
  return badInput(std::string(field) + "=" + text(value) +
                  ": valid: " + text(low) + " to " + text(high));
}

static Status checkList(const Problem &problem, const char *field,
                        const std::vector<int64_t> &values, int64_t low,
                        int64_t high = maxProblemField) {
  if (static_cast<int>(values.size()) != problem.rank)
    return badInput(std::string(field) + " has " + text(values.size()) +
                    " entries: valid: one number, or one for each of the " +
                    text(problem.rank) + " dimensions");
  for (int64_t value : values)
    if (Status s = checkRange(field, value, low, high); !s)
      return s;
  return {};
}

static Status checkGroups(const Problem &p) {
  if (p.groups > 1 && p.batchGroups > 1)
    return badInput("g=" + text(p.groups) + ",bg=" + text(p.batchGroups) +
                    ": valid: at most one of them above 1");
  auto divides = [](const char *field, int64_t groups, const char *what,
                    int64_t count) -> Status {
    if (count % groups == 0)
      return {};
    return badInput(std::string(field) + "=" + text(groups) +
                    ": does not divide " + what + "=" + text(count) +
                    "; valid: a divisor of it");
  };
  if (Status s = divides("g", p.groups, "the input's channels", p.inChannels);
      !s)
    return s;
  if (Status s = divides("g", p.groups, "oc", p.outChannels); !s)
    return s;
  return divides("bg", p.batchGroups, "oc", p.outChannels);
}

Status convjit::validate(const Problem &p) {
  if (p.rank < 1 || p.rank > 3)
    return badInput("rank=" + text(p.rank) + ": valid: 1, 2 or 3");
  if (Status s = checkList(p, "in", p.inSpatial, 0); !s)
    return s;
  if (Status s = checkRange("in (channels)", p.inChannels, 1); !s)
    return s;
  if (Status s = checkRange("oc", p.outChannels, 1); !s)
    return s;
  if (Status s = checkList(p, "k", p.kernel, 1, maxProblemKernel); !s)
    return s;
  if (Status s = checkList(p, "s", p.stride, 1); !s)
    return s;
  if (Status s = checkList(p, "d", p.dilation, 1); !s)
    return s;
  if (Status s = checkList(p, "ld", p.inputDilation, 1); !s)
    return s;
  if (p.operation == Operation::ConvTranspose)
    for (int64_t dilation : p.inputDilation)
      if (dilation != 1)
        return badInput("ld=" + text(dilation) +
                        ": valid: 1 for a transposed convolution (its stride "
                        "dilates the input)");
  if (Status s = checkRange("g", p.groups, 1); !s)
    return s;
  if (Status s = checkRange("bg", p.batchGroups, 1); !s)
    return s;
  if (p.paddingMode == PaddingMode::Explicit) {
    if (static_cast<int>(p.padding.size()) != p.rank)
      return badInput("pad has " + text(p.padding.size()) +
                      " entries: valid: one pair for each of the " +
                      text(p.rank) + " dimensions");
    for (PadPair pad : p.padding)
      for (int64_t value : {pad.lo, pad.hi})
        if (Status s = checkRange("pad", value, -maxProblemField); !s)
          return s;
  } else if (!p.padding.empty()) {
    return badInput("pad: pairs belong to explicit padding; valid: none with "
                    "same or valid");
  }
  if (Status s = checkGroups(p); !s)
    return s;
  // Only what a problem string can say.
  for (char c : p.mask)
    if (c == ',' || static_cast<unsigned char>(c) < 0x20 || c == 0x7f)
      return badInput("mask: valid: a path without commas and control "
                      "characters");
  if (p.activation.kind == ActivationKind::LeakyRelu &&
      !std::isfinite(p.activation.slope))
    return badInput("act=leaky_relu:" + std::to_string(p.activation.slope) +
                    ": valid: a finite slope");
  std::string gradient =
      p.gradient == Gradient::Input ? "grad=input" : "grad=weight";
  if (p.gradient != Gradient::None &&
      (p.bias || p.residual || p.activation.kind != ActivationKind::None))
    return badInput(gradient + ": valid: without bias, residual and act");
  Problem forward = p;
  forward.gradient = Gradient::None;
  Expected<Convolution> conv = lower(forward);
  return conv ? Status() : Status(conv.takeError());
}
