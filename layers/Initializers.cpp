//===- Initializers.cpp - how weights begin -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "convjit/nn/Initializers.h"
#include "Elements.h"
#include "Orthonormal.h"

#include <algorithm>
#include <cmath>

using namespace convjit;
using namespace convjit::nn;

/// The value of `axis`, counted from the end where negative, or an error.
static Expected<size_t> axisOf(const char *name, int axis, const Shape &shape) {
  auto rank = static_cast<int>(shape.size());
  if (axis >= -rank && axis < rank)
    return static_cast<size_t>(axis < 0 ? axis + rank : axis);
  return badInput(std::string(name) + "=" + std::to_string(axis) +
                  ": valid: " + std::to_string(-rank) + " to " +
                  std::to_string(rank - 1) + ", for shape " + shapeText(shape));
}

/// array * factor + offset, each rounded, in the array's own precision.
static void scale(Array &array, double factor, double offset) {
  withType(array.dtype, [&](auto zero) {
    using T = decltype(zero);
    for (T &value : elements<T>(array)) {
      value *= static_cast<T>(factor);
      value += static_cast<T>(offset);
    }
  });
}

Expected<Array> Constant::operator()(const Shape &shape, DataType dtype) const {
  return withinMemory([&]() -> Expected<Array> {
    if (Status s = checkShape("Constant", shape, dtype); !s)
      return s.takeError();
    Array array = zeros(dtype, shape);
    withType(dtype, [&](auto zero) {
      auto values = elements<decltype(zero)>(array);
      std::fill(values.begin(), values.end(),
                static_cast<decltype(zero)>(value));
    });
    return array;
  });
}

Expected<Array> ZeroInit::operator()(const Shape &shape, DataType dtype) const {
  return withinMemory([&]() -> Expected<Array> {
    if (Status s = checkShape("ZeroInit", shape, dtype); !s)
      return s.takeError();
    return zeros(dtype, shape);
  });
}

Expected<Array> Normal::operator()(const Shape &shape, DataType dtype) const {
  if (Status s = checkShape("Normal", shape, dtype); !s)
    return s.takeError();
  Expected<Array> array = normal(seed.next(), shape, dtype);
  if (array)
    ::scale(*array, scale, mean);
  return array;
}

Expected<Array> TruncatedNormal::operator()(const Shape &shape,
                                            DataType dtype) const {
  if (Status s = checkShape("TruncatedNormal", shape, dtype); !s)
    return s.takeError();
  if (!(scale > 0))
    return badInput("scale=" + std::to_string(scale) + ": valid: above 0");
  if (!(lower < upper))
    return badInput("lower=" + std::to_string(lower) +
                    ": valid: below upper=" + std::to_string(upper));
  return truncatedNormal(seed.next(), shape, dtype, {lower, upper, loc, scale});
}

Expected<Array> Uniform::operator()(const Shape &shape, DataType dtype) const {
  if (Status s = checkShape("Uniform", shape, dtype); !s)
    return s.takeError();
  return uniform(seed.next(), shape, dtype, min_val, max_val);
}

/// The factor on the distribution's draws, in T as JAX computes it.
template <typename T>
static T scalingFactor(Distribution distribution, double variance) {
  auto rounded = static_cast<T>(variance);
  switch (distribution) {
  case Distribution::TruncatedNormal:
    // The standard deviation of a normal cut at two of its own.
    return std::sqrt(rounded) / static_cast<T>(.87962566103423978);
  case Distribution::Normal:
    return std::sqrt(rounded);
  case Distribution::Uniform:
    return std::sqrt(3 * rounded);
  }
  return 0;
}

Expected<Array> VarianceScaling::operator()(const Shape &shape,
                                            DataType dtype) const {
  if (Status s = checkShape("VarianceScaling", shape, dtype); !s)
    return s.takeError();
  if (!(scale >= 0))
    return badInput("scale=" + std::to_string(scale) + ": valid: 0 and above");
  Expected<size_t> in = axisOf("in_axis", in_axis, shape);
  if (!in)
    return in.takeError();
  Expected<size_t> out = axisOf("out_axis", out_axis, shape);
  if (!out)
    return out.takeError();
  double elements = 1;
  for (int64_t size : shape)
    elements *= static_cast<double>(size);
  if (elements == 0)
    return zeros(dtype, shape);
  auto inSize = static_cast<double>(shape[*in]);
  auto outSize = static_cast<double>(shape[*out]);
  double field = elements / inSize / outSize;
  double fanIn = inSize * field, fanOut = outSize * field;
  double fan = mode == Fan::In    ? fanIn
               : mode == Fan::Out ? fanOut
                                  : (fanIn + fanOut) / 2;
  Key key = seed.next();
  Expected<Array> array = distribution == Distribution::Uniform
                              ? uniform(key, shape, dtype, -1, 1)
                          : distribution == Distribution::Normal
                              ? normal(key, shape, dtype)
                              : truncatedNormal(key, shape, dtype);
  if (!array)
    return array;
  double variance = scale / fan;
  ::scale(*array,
          dtype == DataType::F32
              ? scalingFactor<float>(distribution, variance)
              : scalingFactor<double>(distribution, variance),
          0);
  return array;
}

Expected<Array> Orthogonal::operator()(const Shape &shape,
                                       DataType dtype) const {
  return withinMemory([&]() -> Expected<Array> {
    if (Status s = checkShape("Orthogonal", shape, dtype); !s)
      return s.takeError();
    Expected<size_t> along = axisOf("axis", axis, shape);
    if (!along)
      return along.takeError();
    Array result = zeros(dtype, shape);
    if (result.elements() == 0)
      return result;
    int64_t rows = shape[*along], columns = result.elements() / rows;
    int64_t tall = std::max(rows, columns), wide = std::min(rows, columns);
    Expected<Array> drawn = normal(seed.next(), {tall, wide}, dtype);
    if (!drawn)
      return drawn;
    std::vector<double> q = widened(*drawn);
    orthonormalize(q, tall, wide);
    // Element (row, column) of the matrix, in the order of the other axes.
    std::vector<double> values(q.size());
    int64_t inner = 1;
    for (size_t i = *along + 1; i < shape.size(); ++i)
      inner *= shape[i];
    for (int64_t row = 0; row < rows; ++row)
      for (int64_t column = 0; column < columns; ++column) {
        int64_t at = (column / inner * rows + row) * inner + column % inner;
        values[at] =
            rows < columns ? q[column * wide + row] : q[row * wide + column];
      }
    result = narrowed(values, dtype, shape);
    ::scale(result, scale, 0);
    return result;
  });
}

Expected<Array> DeltaOrthogonal::operator()(const Shape &shape,
                                            DataType dtype) const {
  return withinMemory([&]() -> Expected<Array> {
    if (shape.size() < 3 || shape.size() > 5)
      return badInput("DeltaOrthogonal: shape " + shapeText(shape) +
                      "; valid: 3 to 5 axes");
    if (Status s = checkShape("DeltaOrthogonal", shape, dtype); !s)
      return s.takeError();
    int64_t in = shape[shape.size() - 2], out = shape.back();
    if (out < in)
      return badInput("DeltaOrthogonal: shape " + shapeText(shape) +
                      "; valid: a last axis no smaller than the one before it");
    Expected<Array> tap = Orthogonal{scale, axis, seed}({in, out}, dtype);
    if (!tap)
      return tap.takeError();
    Array result = zeros(dtype, shape);
    if (result.data.empty())
      return result;
    int64_t middle = 0;
    for (size_t i = 0; i + 2 < shape.size(); ++i)
      middle = middle * shape[i] + (shape[i] - 1) / 2;
    std::copy(tap->data.begin(), tap->data.end(),
              result.data.begin() +
                  middle * static_cast<int64_t>(tap->data.size()));
    return result;
  });
}
