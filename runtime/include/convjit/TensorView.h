//===- TensorView.h - someone else's array, with strides -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Kernels read tensors that are contiguous in the axis order of their dimension
// numbers. Any order will do, so a transposed array needs no copy: memoryOrder
// says which order it has, and the convolution names its axes accordingly. Nor
// does an input with gaps (a slice): Convolution::inputStrides are its strides.
// Other tensors with gaps are copied by the caller, with copyElements; nothing
// here copies behind the caller's back.
//
//===----------------------------------------------------------------------===//

#ifndef CONVJIT_TENSORVIEW_H
#define CONVJIT_TENSORVIEW_H

#include "convjit/Kernel.h"

#include <optional>
#include <vector>

namespace convjit {

/// Does not own its elements. Strides are in elements and may be zero or
/// negative. A null `data` stands for a tensor that is not there.
struct TensorView {
  void *data = nullptr;
  DataType dtype = DataType::F32;
  std::vector<int64_t> shape;
  std::vector<int64_t> strides;

  /// Row-major, without gaps.
  static TensorView contiguous(void *data, DataType dtype,
                               std::vector<int64_t> shape);

  int64_t elements() const;
  /// Row-major without gaps; axes of length 1, and tensors without elements,
  /// may have any stride.
  bool isContiguous() const;
  /// Whether these are its strides, with the same reserve.
  bool hasStrides(const std::vector<int64_t> &wanted) const;
  /// Axis i of the result is axis order[i] of this; `order` is a permutation.
  TensorView permuted(const std::vector<int64_t> &order) const;
  /// Elements begin, begin + step, ... before end along one axis; step > 0,
  /// 0 <= begin <= end <= shape[axis].
  TensorView sliced(int64_t axis, int64_t begin, int64_t end,
                    int64_t step = 1) const;
  /// The permutation that makes this contiguous, slowest axis first; nothing
  /// when there is none.
  std::optional<std::vector<int64_t>> memoryOrder() const;
};

/// Copies elements of `from` to those of `to`, which must not overlap. Errors:
/// shapes or dtypes that differ.
Status copyElements(const TensorView &from, const TensorView &to);

/// A call's tensors with their shapes. `bias` and `residual` are null where the
/// layer has none.
struct TensorOperands {
  TensorView input, bias, residual, output;
  const void *packedWeights = nullptr;
};

/// runKernel with every shape, dtype and stride checked against the kernel's
/// convolution; the batch is the input's. Errors name the tensor, what it has
/// and what is valid. Thread-safe.
Status runKernel(const Kernel &kernel, const TensorOperands &operands,
                 Executor &executor);

} // namespace convjit

#endif // CONVJIT_TENSORVIEW_H
