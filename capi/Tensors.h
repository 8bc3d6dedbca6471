//===- Tensors.h - the host's arrays, checked -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef CONVJIT_CAPI_TENSORS_H
#define CONVJIT_CAPI_TENSORS_H

#include "Outcome.h"
#include "convjit/TensorView.h"

namespace convjit::capi {

/// A tensor of a call and where kernels find it: in place, or a copy.
struct Operand {
  TensorView view;
  bool copied = false;
  size_t offset = 0; ///< of the copy, in the scratch

  size_t bytes() const {
    return static_cast<size_t>(view.elements() * sizeOf(view.dtype));
  }
  /// What the kernel gets, with the call's scratch.
  void *at(void *scratch) const {
    return copied ? static_cast<std::byte *>(scratch) + offset : view.data;
  }
  TensorView copy(void *scratch) const {
    return TensorView::contiguous(at(scratch), view.dtype, view.shape);
  }
};

/// The caller's tensor `name`. Errors: a shape or strides that no memory has.
Outcome readTensor(const convjit_tensor *from, const char *name,
                   Operand &operand);

/// Errors: another dtype or shape than these; no data, where it is `needed`.
Outcome checkTensor(const Operand &operand, const char *name,
                    const std::vector<int64_t> &shape, DataType dtype,
                    bool needed);

} // namespace convjit::capi

#endif // CONVJIT_CAPI_TENSORS_H
