//===- LowerPackFilter.h - conv.pack_filter to loops -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef CONVJIT_LIB_LOWERPACKFILTER_H
#define CONVJIT_LIB_LOWERPACKFILTER_H

#include "ConvDialect.h"

namespace convjit {

/// Packs the element of these indices of the packed filter.
using PackElement = llvm::function_ref<void(llvm::ArrayRef<mlir::Value>)>;

/// Builds code before `op` that packs; `forEach` builds what runs its argument
/// for each packed element. Fails on a mask that is not dense.
mlir::LogicalResult
lowerPackFilter(conv::PackFilterOp op, mlir::OpBuilder &b,
                llvm::function_ref<void(PackElement)> forEach);

/// Builds the loops of `op` before it; the caller erases it. Fails on a mask
/// that is not dense.
mlir::LogicalResult lowerPackFilter(conv::PackFilterOp op, mlir::OpBuilder &b);

} // namespace convjit

#endif // CONVJIT_LIB_LOWERPACKFILTER_H
