//===- Tensors.cpp - the host's arrays, checked -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Tensors.h"
#include "Handles.h"

using namespace convjit;
using namespace convjit::capi;

/// Bytes from the first element to the last stay below 2^62 either way, so that
/// no address that a copy computes overflows.
static bool reachesTooFar(const TensorView &view) {
  constexpr int64_t limit = int64_t(1) << 62;
  int64_t reach = 0;
  for (size_t axis = 0; axis < view.shape.size(); ++axis) {
    if (view.shape[axis] <= 1)
      continue;
    int64_t stride = view.strides[axis], step;
    if (stride == INT64_MIN ||
        __builtin_mul_overflow(stride < 0 ? -stride : stride,
                               view.shape[axis] - 1, &step) ||
        __builtin_add_overflow(reach, step, &reach))
      return true;
  }
  return reach > limit / sizeOf(view.dtype);
}

Outcome capi::readTensor(const convjit_tensor *from, const char *name,
                         Operand &operand) {
  std::string field = name;
  convjit_tensor tensor{};
  if (Outcome o = readStruct(from, tensor, name); !o)
    return o;
  if (tensor.dtype != CONVJIT_F32 && tensor.dtype != CONVJIT_F64)
    return invalid(field + ".dtype=" + std::to_string(tensor.dtype) +
                   ": valid: CONVJIT_F32, CONVJIT_F64");
  if (tensor.rank < 1 || tensor.rank > CONVJIT_MAX_RANK)
    return invalid(field + ".rank=" + std::to_string(tensor.rank) +
                   ": valid: 1 to 5");
  if (!tensor.shape)
    return missing((field + ".shape").c_str(), "one size for each axis");
  operand.view.data = tensor.data;
  operand.view.dtype = tensor.dtype ? DataType::F64 : DataType::F32;
  operand.view.shape.assign(tensor.shape, tensor.shape + tensor.rank);
  for (int64_t size : operand.view.shape)
    if (size < 0)
      return invalid(field + ".shape=" + shapeText(operand.view.shape) +
                     ": valid: sizes of at least 0");
  if (tensor.strides)
    operand.view.strides.assign(tensor.strides, tensor.strides + tensor.rank);
  return {};
}

Outcome capi::checkTensor(const Operand &operand, const char *name,
                          const std::vector<int64_t> &shape, DataType dtype,
                          bool needed) {
  const TensorView &view = operand.view;
  if (view.dtype != dtype)
    return invalid(std::string(name) + " has dtype " +
                   convjit::name(view.dtype) +
                   "; valid: " + convjit::name(dtype));
  if (view.shape != shape)
    return invalid(std::string(name) + " has shape " + shapeText(view.shape) +
                   "; valid: " + shapeText(shape));
  if (!view.strides.empty() && view.elements() > 0 && reachesTooFar(view))
    return invalid(std::string(name) + " has strides " +
                   shapeText(view.strides) +
                   ": reach over 2^62 bytes; valid: those of memory");
  if (needed && !view.data && view.elements() > 0)
    return invalid(std::string(name) +
                   ".data=NULL: valid: a pointer to the elements");
  return {};
}
