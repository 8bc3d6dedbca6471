//===- Convolution.cpp - shapes and checks of the general convolution -*- C++
//-*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "convjit/Convolution.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <utility>

using namespace convjit;

int64_t SpatialDim::output() const {
  int64_t padded = dilatedInput() + padLow + padHigh;
  if (padded < effectiveKernel())
    return 0;
  return (padded - effectiveKernel()) / windowStride + 1;
}

std::vector<int64_t> Convolution::inputShape(int64_t batch) const {
  std::vector<int64_t> shape(dims.size() + 2);
  shape[numbers.inputBatch] = batch;
  shape[numbers.inputFeature] = inChannels;
  for (size_t i = 0; i < dims.size(); ++i)
    shape[numbers.inputSpatial[i]] = dims[i].input;
  return shape;
}

std::vector<int64_t> Convolution::kernelShape() const {
  std::vector<int64_t> shape(dims.size() + 2);
  shape[numbers.kernelInputFeature] =
      kernelFeaturesSwapped ? inChannels : channelsPerGroup();
  shape[numbers.kernelOutputFeature] =
      kernelFeaturesSwapped ? outChannels / groups : outChannels;
  for (size_t i = 0; i < dims.size(); ++i)
    shape[numbers.kernelSpatial[i]] = dims[i].kernel;
  return shape;
}

std::vector<int64_t> Convolution::outputShape(int64_t batch) const {
  std::vector<int64_t> shape(dims.size() + 2);
  shape[numbers.outputBatch] = batch / batchGroups;
  shape[numbers.outputFeature] = outChannels;
  for (size_t i = 0; i < dims.size(); ++i)
    shape[numbers.outputSpatial[i]] = dims[i].output();
  return shape;
}

std::vector<int64_t> Convolution::stridesOfInput(int64_t batch) const {
  if (!inputStrides.empty())
    return inputStrides;
  std::vector<int64_t> shape = inputShape(batch), strides(shape.size());
  int64_t stride = 1;
  for (size_t axis = shape.size(); axis-- > 0;) {
    strides[axis] = stride;
    stride *= shape[axis];
  }
  return strides;
}

MemorySpan Convolution::inputSpan(int64_t batch) const {
  std::vector<int64_t> shape = inputShape(batch);
  if (std::find(shape.begin(), shape.end(), 0) != shape.end())
    return {};
  std::vector<int64_t> strides = stridesOfInput(batch);
  MemorySpan span{0, 1};
  for (size_t axis = 0; axis < shape.size(); ++axis)
    if (shape[axis] > 1)
      (strides[axis] < 0 ? span.first : span.last) +=
          (shape[axis] - 1) * strides[axis];
  return span;
}

//===----------------------------------------------------------------------===//
// Constraints
//===----------------------------------------------------------------------===//

static std::string text(int64_t value) { return std::to_string(value); }

/// Each axis 0 to rank+1 must be named once.
static bool isPermutation(int64_t first, int64_t second,
                          std::vector<int64_t> axes) {
  axes.push_back(first);
  axes.push_back(second);
  std::sort(axes.begin(), axes.end());
  for (size_t i = 0; i < axes.size(); ++i)
    if (axes[i] != static_cast<int64_t>(i))
      return false;
  return true;
}

/// Largest length, stride, padding or count; products of a few stay in 64 bits.
static constexpr int64_t maxField = int64_t(1) << 31;
static constexpr int64_t maxKernel = maxProblemKernel;
static constexpr int64_t maxElements = int64_t(1) << 40;

/// `name`, which starts with the constraint's label, is from low to high.
static Status checkRange(const std::string &name, int64_t value, int64_t low,
                         int64_t high) {
  if (value >= low && value <= high)
    return {};
  auto bound = [](int64_t limit) -> std::string {
    if (limit == maxKernel)
      return "2^24";
    if (limit == maxField)
      return "2^31";
    return limit == -maxField ? "-2^31" : text(limit);
  };
  return badInput(name + "=" + text(value) + "; valid: " + bound(low) + " to " +
                  bound(high));
}

static Status checkNumbers(const Convolution &conv) {
  const DimensionNumbers &n = conv.numbers;
  auto list = [&](const char *label, const char *field,
                  const std::vector<int64_t> &axes, int64_t first,
                  int64_t second, const char *uniqueLabel) -> Status {
    if (axes.size() != conv.dims.size())
      return badInput(std::string(label) + ": " + field + " names " +
                      text(axes.size()) +
                      " axes; valid: " + text(conv.dims.size()));
    if (!isPermutation(first, second, axes))
      return badInput(std::string(uniqueLabel) + ": " + field +
                      ": axes are not unique and complete; valid: each of 0 "
                      "to " +
                      text(conv.dims.size() + 1) + " once");
    return {};
  };
  if (Status s = list("C12", "inputSpatial", n.inputSpatial, n.inputBatch,
                      n.inputFeature, "C13");
      !s)
    return s;
  if (Status s = list("C17", "kernelSpatial", n.kernelSpatial,
                      n.kernelInputFeature, n.kernelOutputFeature, "C18");
      !s)
    return s;
  return list("C19", "outputSpatial", n.outputSpatial, n.outputBatch,
              n.outputFeature, "C20");
}

static Status checkDims(const Convolution &conv) {
  if (conv.rank() < 1 || conv.rank() > 3)
    return badInput("C1: rank=" + text(conv.rank()) + "; valid: 1, 2 or 3");
  for (int i = 0; i < conv.rank(); ++i) {
    const SpatialDim &dim = conv.dims[i];
    auto check = [&](const char *label, const char *field, int64_t value,
                     int64_t low, int64_t high = maxField) {
      return checkRange(std::string(label) + ": " + field + "[" + text(i) + "]",
                        value, low, high);
    };
    if (Status s = check("C3", "windowStride", dim.windowStride, 1); !s)
      return s;
    if (Status s = check("C6", "inputDilation", dim.inputDilation, 1); !s)
      return s;
    if (Status s = check("C8", "kernelDilation", dim.kernelDilation, 1); !s)
      return s;
    if (Status s = check("C4", "padLow", dim.padLow, -maxField); !s)
      return s;
    if (Status s = check("C4", "padHigh", dim.padHigh, -maxField); !s)
      return s;
    if (Status s = check("shape", "input", dim.input, 0); !s)
      return s;
    if (Status s = check("shape", "kernel", dim.kernel, 1, maxKernel); !s)
      return s;
  }
  return {};
}

/// Of an input with no more than 2^40 elements.
static Status checkStrides(const Convolution &conv) {
  if (conv.inputStrides.empty())
    return {};
  if (conv.inputStrides.size() != conv.dims.size() + 2)
    return badInput("inputStrides has " +
                    text(static_cast<int64_t>(conv.inputStrides.size())) +
                    " entries; valid: one for each of the input's " +
                    text(conv.rank() + 2) + " axes, or none");
  std::vector<int64_t> shape = conv.inputShape(conv.batchGroups);
  // That of axes of length 1 is of no meaning; arithmetic that it gets into
  // has to stay in 64 bits even so.
  double span = 1;
  for (size_t axis = 0; axis < shape.size(); ++axis) {
    int64_t stride = conv.inputStrides[axis];
    if (stride < -maxElements || stride > maxElements)
      return badInput("inputStrides[" + text(static_cast<int64_t>(axis)) +
                      "]=" + text(stride) + "; valid: -2^40 to 2^40");
    span += std::abs(static_cast<double>(stride)) *
            static_cast<double>(std::max<int64_t>(shape[axis] - 1, 0));
  }
  if (span > static_cast<double>(maxElements))
    return badInput("inputStrides: the input spans more than 2^40 elements; "
                    "valid: at most 2^40");
  return {};
}

/// The largest finite number.
static double largest(DataType dtype) {
  switch (dtype) {
  case DataType::F32:
    return std::numeric_limits<float>::max();
  case DataType::F64:
    break;
  case DataType::F16:
    return 65504;
  case DataType::BF16:
    return 0x1.fep127;
  }
  return std::numeric_limits<double>::max();
}

Status convjit::validate(const Convolution &conv) {
  if (Status s = checkDims(conv); !s)
    return s;
  if (Status s = checkNumbers(conv); !s)
    return s;
  auto positive = [](const char *label, const char *field, int64_t value) {
    return checkRange(std::string(label) + ": " + field, value, 1, maxField);
  };
  if (Status s = positive("C21", "groups", conv.groups); !s)
    return s;
  if (Status s = positive("C22", "batchGroups", conv.batchGroups); !s)
    return s;
  if (Status s = positive("shape", "inChannels", conv.inChannels); !s)
    return s;
  if (Status s = positive("shape", "outChannels", conv.outChannels); !s)
    return s;
  if (conv.groups > 1 && conv.batchGroups > 1)
    return badInput("C23: groups=" + text(conv.groups) +
                    " and batchGroups=" + text(conv.batchGroups) +
                    "; valid: at most one of them above 1");
  if (conv.inChannels % conv.groups)
    return badInput(
        "C11: groups=" + text(conv.groups) +
        "; valid: a divisor of inChannels=" + text(conv.inChannels));
  if (conv.outChannels % conv.batchGroups)
    return badInput(
        "C15: batchGroups=" + text(conv.batchGroups) +
        "; valid: a divisor of outChannels=" + text(conv.outChannels));
  if (conv.outChannels % conv.groups)
    return badInput(
        "C16: groups=" + text(conv.groups) +
        "; valid: a divisor of outChannels=" + text(conv.outChannels));
  auto count = [&](const char *tensor,
                   const std::vector<int64_t> &shape) -> Status {
    // A size of 0 counts as 1: strides are products of the other sizes, and
    // have to stay in 64 bits for a tensor without elements as well.
    double elements = 1;
    bool empty = false;
    for (int64_t size : shape) {
      elements *= static_cast<double>(std::max<int64_t>(size, 1));
      empty |= size == 0;
    }
    if (elements <= static_cast<double>(maxElements))
      return {};
    return badInput(
        std::string("shape: ") + tensor + " has more than 2^40 elements" +
        (empty ? ", a size of 0 counted as 1" : "") + "; valid: at most 2^40");
  };
  if (Status s = count("input", conv.inputShape(conv.batchGroups)); !s)
    return s;
  if (Status s = count("output", conv.outputShape(conv.batchGroups)); !s)
    return s;
  if (Status s = count("kernel", conv.kernelShape()); !s)
    return s;
  if (Status s = checkStrides(conv); !s)
    return s;
  int64_t weights = 1;
  for (int64_t size : conv.kernelShape())
    weights *= size;
  if (!conv.mask.empty() && static_cast<int64_t>(conv.mask.size()) != weights)
    return badInput("mask has " + text(static_cast<int64_t>(conv.mask.size())) +
                    " elements; valid: the kernel's, " + text(weights));
  for (double factor : conv.mask)
    if (!std::isfinite(factor) || std::abs(factor) > largest(conv.dtype))
      return badInput("mask has a factor of " + std::to_string(factor) +
                      "; valid: finite numbers of the layer's dtype");
  return {};
}

//===----------------------------------------------------------------------===//
// Work
//===----------------------------------------------------------------------===//

/// Quotient rounded down, and up; b > 0.
static int64_t floorDiv(int64_t a, int64_t b) {
  return a / b - (a % b != 0 && a < 0);
}
static int64_t ceilDiv(int64_t a, int64_t b) { return -floorDiv(-a, b); }

/// x with a*x = 1 (mod m); a and m have no common divisor, m >= 1.
static int64_t inverse(int64_t a, int64_t m) {
  int64_t r0 = m, r1 = a % m, x0 = 0, x1 = 1;
  while (r1 != 0) {
    int64_t q = r0 / r1;
    r0 = std::exchange(r1, r0 - q * r1);
    x0 = std::exchange(x1, x0 - q * x1);
  }
  return ((x0 % m) + m) % m;
}

/// For each tap of a dimension, how many outputs it contributes to: those o
/// with o*ws = lo - t*rd (mod ld) whose tap reads inside the input.
static std::vector<int64_t> outputsOfTaps(const SpatialDim &dim) {
  int64_t ws = dim.windowStride, ld = dim.inputDilation;
  int64_t common = std::gcd(ws, ld), period = ld / common;
  int64_t step = inverse(ws / common, period);
  int64_t out = dim.output();
  std::vector<int64_t> counts(static_cast<size_t>(dim.kernel), 0);
  for (int64_t t = 0; t < dim.kernel; ++t) {
    int64_t offset = dim.padLow - t * dim.kernelDilation;
    if (dim.input == 0 || offset % common != 0)
      continue;
    // The outputs are first, first + period, ...
    int64_t residue = ((offset / common) % period + period) % period;
    auto first =
        static_cast<int64_t>(static_cast<__int128>(residue) * step % period);
    int64_t lo = std::max<int64_t>(0, ceilDiv(offset, ws));
    int64_t hi = std::min(out - 1, floorDiv(offset + (dim.input - 1) * ld, ws));
    int64_t count =
        floorDiv(hi - first, period) - floorDiv(lo - 1 - first, period);
    counts[static_cast<size_t>(t)] = hi < lo ? 0 : count;
  }
  return counts;
}

// Counts stop at 2^62-1: the sizes of a valid convolution allow for more, and
// twice a count (its FLOPs) is to be a number as well.
static constexpr int64_t maxMacs = (int64_t(1) << 62) - 1;

/// Product and sum of counts from 0 to maxMacs.
static int64_t cappedProduct(int64_t a, int64_t b) {
  auto product = static_cast<__int128>(a) * b;
  return product < maxMacs ? static_cast<int64_t>(product) : maxMacs;
}
static int64_t cappedSum(int64_t a, int64_t b) {
  return a < maxMacs - b ? a + b : maxMacs;
}

int64_t convjit::countMacs(const Convolution &conv, int64_t batch) {
  int64_t images = cappedProduct(batch / conv.batchGroups, 1);
  std::vector<std::vector<int64_t>> counts;
  for (const SpatialDim &dim : conv.dims)
    counts.push_back(outputsOfTaps(dim));
  if (conv.mask.empty()) {
    int64_t product = cappedProduct(conv.outChannels, conv.channelsPerGroup());
    for (const std::vector<int64_t> &dim : counts) {
      int64_t sum = 0;
      for (int64_t count : dim)
        sum = cappedSum(sum, count);
      product = cappedProduct(product, sum);
    }
    return cappedProduct(product, images);
  }
  // With a mask, each weight that is there counts for itself.
  std::vector<int64_t> shape = conv.kernelShape();
  int64_t total = 0;
  for (size_t index = 0; index < conv.mask.size(); ++index) {
    if (conv.mask[index] == 0)
      continue;
    size_t rest = index;
    std::vector<int64_t> at(shape.size());
    for (size_t axis = shape.size(); axis-- > 0;) {
      at[axis] = static_cast<int64_t>(rest) % shape[axis];
      rest /= static_cast<size_t>(shape[axis]);
    }
    int64_t product = images;
    for (size_t i = 0; i < conv.dims.size(); ++i) {
      int64_t stored = at[conv.numbers.kernelSpatial[i]];
      const SpatialDim &dim = conv.dims[i];
      product = cappedProduct(
          product, counts[i][dim.reversed ? dim.kernel - 1 - stored : stored]);
    }
    total = cappedSum(total, product);
  }
  return total;
}
