//===- LiveTable.h - the live taps of a masked convolution as tables -*- C++
//-*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef CONVJIT_LIB_SUPPORT_LIVETABLE_H
#define CONVJIT_LIB_SUPPORT_LIVETABLE_H

#include "geometry/Geometry.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"

namespace convjit {

/// A private constant array of index values beside `op`'s function, and a
/// memref<rows x columns x index> of it at the builder.
mlir::Value constantIndexTable(mlir::Operation *op, mlir::OpBuilder &b,
                               llvm::ArrayRef<int64_t> values, int64_t rows,
                               int64_t columns, llvm::StringRef name);

/// values[index] for a table known at compile time: a constant or an affine
/// function where it is one, else a load from a constant array.
mlir::Value lookUp(mlir::Operation *op, mlir::OpBuilder &b,
                   llvm::ArrayRef<int64_t> values, mlir::Value index,
                   llvm::StringRef name);

/// For each channel block and combination of phases, the taps and channels that
/// the union of the block's channels reads. Rows are (j of each dimension...,
/// first channel, last channel), as conv.tile reads them.
class LiveTable {
public:
  LiveTable() = default;
  LiveTable(conv::PhasesOp op, const TaskSpace &space);

  explicit operator bool() const { return columns > 0; }
  mlir::Value rows(mlir::Operation *op, mlir::OpBuilder &b) const;
  /// Row number at which each (block, phase...) starts, and one past the last.
  mlir::Value starts(mlir::Operation *op, mlir::OpBuilder &b) const;

private:
  int64_t columns = 0;
  llvm::SmallVector<int64_t> entries, offsets;
};

} // namespace convjit

#endif // CONVJIT_LIB_SUPPORT_LIVETABLE_H
