//===- Elements.h - arrays as numbers -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef CONVJIT_LAYERS_ELEMENTS_H
#define CONVJIT_LAYERS_ELEMENTS_H

#include "convjit/Npy.h"

#include <new>
#include <span>

namespace convjit::nn {

/// The elements of an array whose dtype is that of T.
template <typename T> std::span<T> elements(Array &array) {
  return {reinterpret_cast<T *>(array.data.data()),
          array.data.size() / sizeof(T)};
}
template <typename T> std::span<const T> elements(const Array &array) {
  return {reinterpret_cast<const T *>(array.data.data()),
          array.data.size() / sizeof(T)};
}

/// `body` with a zero of the dtype's C++ type, to dispatch on.
template <typename Body> auto withType(DataType dtype, Body body) {
  return dtype == DataType::F32 ? body(float()) : body(double());
}

/// `body`, with an error where there is no memory for what it makes.
template <typename Body> auto withinMemory(Body body) -> decltype(body()) {
  try {
    return body();
  } catch (const std::bad_alloc &) {
    return environmentError("no memory for an array");
  }
}

/// An array of zeros.
Array zeros(DataType dtype, std::vector<int64_t> shape);

/// Copies in double precision, and back.
std::vector<double> widened(const Array &array);
Array narrowed(const std::vector<double> &values, DataType dtype,
               std::vector<int64_t> shape);

/// "(4, 8, 16)", as Python shows a shape.
std::string shapeText(const std::vector<int64_t> &shape);

/// A shape that may be allocated: no negative size, at most 2^44 bytes, and
/// the data's length is the shape's. `what` begins the error.
Status checkShape(const std::string &what, const std::vector<int64_t> &shape,
                  DataType dtype);
Status checkArray(const std::string &what, const Array &array);

/// `array` repeated along axes of length 1, and along leading axes it lacks.
/// Errors: not possible; `what` begins the text.
Expected<Array> broadcast(const std::string &what, const Array &array,
                          const std::vector<int64_t> &shape);

/// Axis i of the result is axis order[i] of `array`.
Array transposed(const Array &array, const std::vector<int64_t> &order);

} // namespace convjit::nn

#endif // CONVJIT_LAYERS_ELEMENTS_H
