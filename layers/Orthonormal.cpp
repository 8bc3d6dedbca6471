//===- Orthonormal.cpp - the Q of a matrix -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Householder's reflections: column j is mapped onto its j-th axis by
// I - 2 v v^T, |v| = 1; Q is their product's first columns.
//
//===----------------------------------------------------------------------===//

#include "Orthonormal.h"

#include <cmath>

using namespace convjit;

namespace {

/// Reflects all columns of `matrix` from `first` on, in rows from `row` on.
void reflect(const std::vector<double> &v, std::vector<double> &matrix,
             int64_t columns, int64_t row, int64_t first) {
  auto count = static_cast<int64_t>(v.size());
  // Row by row, as the matrix lies in memory.
  std::vector<double> dots(static_cast<size_t>(columns - first));
  for (int64_t i = 0; i < count; ++i) {
    const double *from = &matrix[(row + i) * columns + first];
    for (size_t c = 0; c < dots.size(); ++c)
      dots[c] += v[i] * from[c];
  }
  for (int64_t i = 0; i < count; ++i) {
    double *to = &matrix[(row + i) * columns + first];
    for (size_t c = 0; c < dots.size(); ++c)
      to[c] -= 2 * dots[c] * v[i];
  }
}

} // namespace

void nn::orthonormalize(std::vector<double> &matrix, int64_t rows,
                        int64_t columns) {
  std::vector<std::vector<double>> reflections;
  std::vector<double> signs;
  for (int64_t j = 0; j < columns; ++j) {
    std::vector<double> v;
    double square = 0;
    for (int64_t i = j; i < rows; ++i) {
      v.push_back(matrix[i * columns + j]);
      square += v.back() * v.back();
    }
    // Onto the axis' far side, so that nothing cancels; R's entry is `onto`.
    double onto = std::copysign(std::sqrt(square), -v[0]);
    signs.push_back(onto > 0 ? 1 : onto < 0 ? -1 : 0);
    v[0] -= onto;
    double length = std::sqrt(2 * onto * (onto - (v[0] + onto)));
    if (length > 0)
      for (double &value : v)
        value /= length;
    reflect(v, matrix, columns, j, j);
    reflections.push_back(std::move(v));
  }
  matrix.assign(matrix.size(), 0);
  for (int64_t j = 0; j < columns; ++j)
    matrix[j * columns + j] = signs[j];
  for (int64_t j = columns; j-- > 0;)
    reflect(reflections[j], matrix, columns, j, 0);
}
