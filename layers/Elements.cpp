//===- Elements.cpp - arrays as numbers -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Elements.h"
#include "convjit/TensorView.h"

#include <algorithm>
#include <cstring>

using namespace convjit;

Array nn::zeros(DataType dtype, std::vector<int64_t> shape) {
  Array array{dtype, std::move(shape), {}};
  array.data.resize(static_cast<size_t>(array.elements() * sizeOf(dtype)));
  return array;
}

std::vector<double> nn::widened(const Array &array) {
  return withType(array.dtype, [&](auto zero) {
    auto values = elements<decltype(zero)>(array);
    return std::vector<double>(values.begin(), values.end());
  });
}

Array nn::narrowed(const std::vector<double> &values, DataType dtype,
                   std::vector<int64_t> shape) {
  Array array = zeros(dtype, std::move(shape));
  withType(dtype, [&](auto zero) {
    using T = decltype(zero);
    std::transform(values.begin(), values.end(), elements<T>(array).begin(),
                   [](double value) { return static_cast<T>(value); });
  });
  return array;
}

std::string nn::shapeText(const std::vector<int64_t> &shape) {
  std::string text = "(";
  for (size_t i = 0; i < shape.size(); ++i)
    text += (i ? ", " : "") + std::to_string(shape[i]);
  return text + (shape.size() == 1 ? ",)" : ")");
}

Status nn::checkShape(const std::string &what,
                      const std::vector<int64_t> &shape, DataType dtype) {
  if (!isForCPUs(dtype))
    return badInput(what + ": dtype " + name(dtype) + "; valid: f32, f64");
  int64_t room = (int64_t(1) << 44) / sizeOf(dtype);
  bool tooLarge = false;
  for (int64_t size : shape) {
    if (size < 0)
      return badInput(what + ": shape " + shapeText(shape) +
                      "; valid: sizes of 0 and above");
    if (size > room)
      tooLarge = true;
    else
      room /= std::max<int64_t>(size, 1);
  }
  if (tooLarge && std::find(shape.begin(), shape.end(), 0) == shape.end())
    return badInput(what + ": shape " + shapeText(shape) +
                    "; valid: at most 2^44 bytes");
  return {};
}

Status nn::checkArray(const std::string &what, const Array &array) {
  if (Status s = checkShape(what, array.shape, array.dtype); !s)
    return s;
  auto wanted = static_cast<size_t>(array.elements() * sizeOf(array.dtype));
  if (array.data.size() != wanted)
    return badInput(what + ": " + std::to_string(array.data.size()) +
                    " bytes of data; valid: " + std::to_string(wanted) +
                    ", for shape " + shapeText(array.shape));
  return {};
}

/// A view of `array` for reading.
static TensorView viewOf(const Array &array) {
  return TensorView::contiguous(const_cast<std::byte *>(array.data.data()),
                                array.dtype, array.shape);
}

Expected<Array> nn::broadcast(const std::string &what, const Array &array,
                              const std::vector<int64_t> &shape) {
  if (Status s = checkArray(what, array); !s)
    return s.takeError();
  TensorView from = viewOf(array);
  size_t rank = shape.size(), own = array.shape.size();
  bool fits = own <= rank;
  std::vector<int64_t> strides(rank, 0);
  for (size_t i = 0; fits && i < own; ++i) {
    size_t axis = rank - own + i;
    if (array.shape[i] == shape[axis])
      strides[axis] = from.strides[i];
    else
      fits = array.shape[i] == 1;
  }
  if (!fits)
    return badInput(what + " has shape " + shapeText(array.shape) +
                    "; valid: " + shapeText(shape) +
                    ", or a shape that broadcasts to it");
  from.shape = shape;
  from.strides = strides;
  Array result = zeros(array.dtype, shape);
  if (Status s = copyElements(from, viewOf(result)); !s)
    return s.takeError();
  return result;
}

Array nn::transposed(const Array &array, const std::vector<int64_t> &order) {
  TensorView from = viewOf(array).permuted(order);
  Array result = zeros(array.dtype, from.shape);
  Status copied = copyElements(from, viewOf(result));
  assert(copied && "a permutation has the same shape and dtype");
  return result;
}
