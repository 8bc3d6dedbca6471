//===- LowerPackFilter.h - conv.pack_filter to loops -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef CONVJIT_LIB_PACK_LOWERPACKFILTER_H
#define CONVJIT_LIB_PACK_LOWERPACKFILTER_H

#include "geometry/Geometry.h"

#include "mlir/IR/Builders.h"

namespace convjit {

/// Where the elements of a packed filter come from.
class PackSource {
public:
  explicit PackSource(conv::PackFilterOp op);

  /// Indices of the filter's element that goes to `to` of the packed filter,
  /// and whether it exists: null where it always does.
  struct Place {
    llvm::SmallVector<mlir::Value> from;
    mlir::Value present;
  };
  Place of(llvm::ArrayRef<mlir::Value> to, mlir::OpBuilder &b) const;

  /// The mask as a constant array of the filter's type, if there is one; made
  /// once. Fails on a mask that is not dense.
  mlir::LogicalResult makeMask(mlir::OpBuilder &b);
  /// What a weight becomes: `weight` and `factor`, the mask's element, are
  /// elements or vectors of them.
  static mlir::Value masked(mlir::Value weight, mlir::Value factor,
                            mlir::OpBuilder &b, mlir::Location loc);

  conv::PackFilterOp op;
  mlir::MemRefType filter, packed;
  int64_t rank;
  ChannelBlocks channels;
  int64_t reduction; ///< input channels of a group
  /// Axes of the packed filter: output lanes, input channels.
  int64_t laneAxis, inputAxis;
  /// Of the dimensions that have their phases in the lanes; null for others.
  llvm::SmallVector<conv::PhaseSplitAttr> splits;
  mlir::Value mask;
};

/// Packs the element of these indices of the packed filter.
using PackElement = llvm::function_ref<void(llvm::ArrayRef<mlir::Value>)>;

/// Builds code before `op` that packs element by element; `forEach` builds what
/// runs its argument for each packed element. Fails on a mask that is not
/// dense.
mlir::LogicalResult
lowerPackFilter(conv::PackFilterOp op, mlir::OpBuilder &b,
                llvm::function_ref<void(PackElement)> forEach);

/// Builds before `op` what packs part `part` of `parts`, in vectors where the
/// filter's axis order lets it; the caller erases `op`. Fails on a mask that is
/// not dense.
mlir::LogicalResult lowerPackFilter(conv::PackFilterOp op, mlir::OpBuilder &b,
                                    mlir::Value part, mlir::Value parts);

} // namespace convjit

#endif // CONVJIT_LIB_PACK_LOWERPACKFILTER_H
