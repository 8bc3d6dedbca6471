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

/// Builds the loops of `op` before it; the caller erases it. Fails on a mask
/// that is not dense.
mlir::LogicalResult lowerPackFilter(conv::PackFilterOp op, mlir::OpBuilder &b);

} // namespace convjit

#endif // CONVJIT_LIB_LOWERPACKFILTER_H
