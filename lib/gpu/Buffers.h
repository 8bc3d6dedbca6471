//===- Buffers.h - elements of contiguous buffers -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef CONVJIT_LIB_GPU_BUFFERS_H
#define CONVJIT_LIB_GPU_BUFFERS_H

#include "support/IndexMath.h"

namespace convjit {

/// Elements between neighbours on this axis of a contiguous buffer.
mlir::Value strideOf(IndexMath &math, mlir::Value buffer, int64_t axis);
/// The buffer from element `first` on, as one row; an index.
mlir::Value flatRow(IndexMath &math, mlir::Value buffer, mlir::Value first);
/// An element of a row where `condition` holds, else zero; null always holds.
mlir::Value loadOrZero(IndexMath &math, mlir::Value condition, mlir::Value row,
                       mlir::Value at);

} // namespace convjit

#endif // CONVJIT_LIB_GPU_BUFFERS_H
