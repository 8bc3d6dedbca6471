//===- Views.h - strided views of tensors -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef CONVJIT_LIB_SUPPORT_VIEWS_H
#define CONVJIT_LIB_SUPPORT_VIEWS_H

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/BuiltinTypes.h"

namespace convjit {

/// One axis of a view: `size` elements, `step` apart along axis `axis` of the
/// tensor.
struct ViewAxis {
  int64_t axis, size, step;
};

/// The elements of a contiguous tensor from index `at` on, along `axes`; the
/// other axes are dropped. A memref.reinterpret_cast with the offset spelled
/// out: memref.subview would have to guess from strides which unit axes were
/// dropped, and cannot when several strides depend on the batch.
mlir::Value tensorView(mlir::OpBuilder &b, mlir::Location loc,
                       mlir::Value tensor, llvm::ArrayRef<mlir::Value> at,
                       llvm::ArrayRef<ViewAxis> axes);

/// Bytes of all of a buffer, gaps not counted, of which one axis at most is
/// dynamic.
mlir::Value bytesOf(mlir::OpBuilder &b, mlir::Location loc, mlir::Value buffer);

/// Rows [first, first + rows) and columns [at, at + columns) of a matrix.
mlir::Value matrixView(mlir::OpBuilder &b, mlir::Location loc,
                       mlir::Value matrix, mlir::OpFoldResult row,
                       mlir::OpFoldResult column, int64_t rows,
                       int64_t columns);

/// A buffer on the stack, the same one for each request of this name and type
/// in `func`.
mlir::Value entryBuffer(mlir::func::FuncOp func, mlir::MemRefType type,
                        llvm::StringRef name);

} // namespace convjit

#endif // CONVJIT_LIB_SUPPORT_VIEWS_H
