//===- TensorView.cpp - someone else's array, with strides -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "convjit/TensorView.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <numeric>
#include <utility>

using namespace convjit;

TensorView TensorView::contiguous(void *data, DataType dtype,
                                  std::vector<int64_t> shape) {
  TensorView view{data, dtype, std::move(shape), {}};
  view.strides.resize(view.shape.size());
  int64_t stride = 1;
  for (size_t axis = view.shape.size(); axis-- > 0;) {
    view.strides[axis] = stride;
    stride *= view.shape[axis];
  }
  return view;
}

int64_t TensorView::elements() const {
  // The other sizes of an empty tensor may have any product.
  if (std::find(shape.begin(), shape.end(), 0) != shape.end())
    return 0;
  int64_t count = 1;
  for (int64_t size : shape)
    count *= size;
  return count;
}

bool TensorView::isContiguous() const {
  if (elements() == 0)
    return true;
  int64_t expected = 1;
  for (size_t axis = shape.size(); axis-- > 0;) {
    if (shape[axis] != 1 && strides[axis] != expected)
      return false;
    expected *= shape[axis];
  }
  return true;
}

bool TensorView::hasStrides(const std::vector<int64_t> &wanted) const {
  if (wanted.size() != shape.size())
    return false;
  if (elements() == 0)
    return true;
  for (size_t axis = 0; axis < shape.size(); ++axis)
    if (shape[axis] != 1 && strides[axis] != wanted[axis])
      return false;
  return true;
}

TensorView TensorView::permuted(const std::vector<int64_t> &order) const {
  TensorView view{data, dtype, {}, {}};
  for (int64_t axis : order) {
    view.shape.push_back(shape[static_cast<size_t>(axis)]);
    view.strides.push_back(strides[static_cast<size_t>(axis)]);
  }
  return view;
}

TensorView TensorView::sliced(int64_t axis, int64_t begin, int64_t end,
                              int64_t step) const {
  TensorView view = *this;
  auto at = static_cast<size_t>(axis);
  view.data =
      static_cast<std::byte *>(data) + begin * strides[at] * sizeOf(dtype);
  view.shape[at] = (end - begin + step - 1) / step;
  view.strides[at] *= step;
  return view;
}

std::optional<std::vector<int64_t>> TensorView::memoryOrder() const {
  std::vector<int64_t> order(shape.size());
  std::iota(order.begin(), order.end(), 0);
  // Axes of length 1 go first: their strides say nothing.
  auto key = [&](int64_t axis) {
    auto at = static_cast<size_t>(axis);
    return shape[at] == 1 ? INT64_MAX : std::abs(strides[at]);
  };
  // Ties by number, and not by std::stable_sort: libstdc++'s calls a deprecated
  // function, of which Clang warns here.
  std::sort(order.begin(), order.end(), [&](int64_t a, int64_t b) {
    return std::pair(key(b), a) < std::pair(key(a), b);
  });
  if (!permuted(order).isContiguous())
    return std::nullopt;
  return order;
}

//===----------------------------------------------------------------------===//
// Copies and calls
//===----------------------------------------------------------------------===//

static std::string text(const std::vector<int64_t> &shape) {
  std::string result;
  for (int64_t size : shape)
    result += (result.empty() ? "" : "x") + std::to_string(size);
  return result.empty() ? "()" : result;
}

/// One row of `count` elements of `Size` bytes; strides in bytes.
template <size_t Size>
static void copyRow(const std::byte *from, int64_t fromStride, std::byte *to,
                    int64_t toStride, int64_t count) {
  for (int64_t i = 0; i < count; ++i)
    std::memcpy(to + i * toStride, from + i * fromStride, Size);
}

Status convjit::copyElements(const TensorView &from, const TensorView &to) {
  if (from.dtype != to.dtype)
    return badInput(std::string("to has dtype ") + name(to.dtype) +
                    "; valid: from's, " + name(from.dtype));
  if (from.shape != to.shape)
    return badInput("to has shape " + text(to.shape) + "; valid: from's, " +
                    text(from.shape));
  if (from.elements() == 0)
    return {};
  int64_t element = sizeOf(from.dtype);
  const auto *source = static_cast<const std::byte *>(from.data);
  auto *target = static_cast<std::byte *>(to.data);
  if (from.shape.empty()) {
    std::memcpy(target, source, static_cast<size_t>(element));
    return {};
  }
  size_t inner = from.shape.size() - 1;
  // An axis of length 1 may have any stride, which is not to be multiplied.
  auto stride = [&](const TensorView &view, size_t axis) {
    return view.shape[axis] == 1 ? 0 : view.strides[axis] * element;
  };
  std::vector<int64_t> index(inner, 0);
  for (;;) {
    int64_t sourceAt = 0, targetAt = 0;
    for (size_t axis = 0; axis < inner; ++axis) {
      sourceAt += index[axis] * stride(from, axis);
      targetAt += index[axis] * stride(to, axis);
    }
    (element == 4 ? copyRow<4>
                  : copyRow<8>)(source + sourceAt, stride(from, inner),
                                target + targetAt, stride(to, inner),
                                from.shape[inner]);
    size_t axis = inner;
    while (axis > 0 && ++index[axis - 1] == from.shape[axis - 1])
      index[--axis] = 0;
    if (axis == 0)
      return {};
  }
}

/// `strides`: those that it must have; none for a contiguous tensor.
static Status checkTensor(const char *what, const TensorView &view,
                          const std::vector<int64_t> &shape, DataType dtype,
                          const std::vector<int64_t> &strides = {}) {
  if (view.dtype != dtype)
    return badInput(std::string(what) + " has dtype " + name(view.dtype) +
                    "; valid: " + name(dtype));
  if (view.shape != shape)
    return badInput(std::string(what) + " has shape " + text(view.shape) +
                    "; valid: " + text(shape));
  if (view.strides.size() != shape.size())
    return badInput(std::string(what) + " has " +
                    std::to_string(view.strides.size()) +
                    " strides; valid: one for each axis");
  if (!strides.empty() && !view.hasStrides(strides))
    return badInput(std::string(what) + " has strides " + text(view.strides) +
                    "; valid: the convolution's inputStrides, " +
                    text(strides));
  if (strides.empty() && !view.isContiguous())
    return badInput(std::string(what) + " has strides " + text(view.strides) +
                    "; valid: contiguous in the order of the convolution's "
                    "dimension numbers (copyElements, or a convolution with "
                    "other numbers, or of the input inputStrides)");
  return {};
}

Status convjit::runKernel(const Kernel &kernel, const TensorOperands &operands,
                          Executor &executor) {
  const Convolution &conv = kernel.conv;
  auto axis = static_cast<size_t>(conv.numbers.inputBatch);
  if (operands.input.shape.size() != conv.dims.size() + 2)
    return badInput("input has shape " + text(operands.input.shape) +
                    "; valid: " + std::to_string(conv.dims.size() + 2) +
                    " axes");
  int64_t batch = operands.input.shape[axis];
  if (batch % conv.batchGroups)
    return badInput("input has a batch of " + std::to_string(batch) +
                    "; valid: a multiple of the batch groups, " +
                    std::to_string(conv.batchGroups));
  if (Status s = checkTensor("input", operands.input, conv.inputShape(batch),
                             conv.dtype, conv.inputStrides);
      !s)
    return s;
  if (Status s = checkTensor("output", operands.output, conv.outputShape(batch),
                             conv.dtype);
      !s)
    return s;
  if (conv.bias)
    if (Status s =
            checkTensor("bias", operands.bias, {conv.outChannels}, conv.dtype);
        !s)
      return s;
  if (conv.residual)
    if (Status s = checkTensor("residual", operands.residual,
                               conv.outputShape(batch), conv.dtype);
        !s)
      return s;
  return runKernel(kernel,
                   Operands{operands.input.data, operands.packedWeights,
                            operands.bias.data, operands.residual.data,
                            operands.output.data, batch},
                   executor);
}
