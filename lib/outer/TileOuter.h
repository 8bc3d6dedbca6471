//===- TileOuter.h - tasks and tiles of outer products -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef CONVJIT_LIB_OUTER_TILEOUTER_H
#define CONVJIT_LIB_OUTER_TILEOUTER_H

#include "ConvDialect.h"

namespace convjit {

/// On a conv.outer_tile: its sums come from far and go there.
constexpr llvm::StringLiteral farSumsAttr = "conv.far_sums";

/// Replaces a conv.phases whose plan says `row = outer` by loops around
/// conv.outer_tile, and adds a function that copies the filter, which is read
/// as it is, for callers that pack. Returns the tasks for one image.
int64_t tileOuterProducts(conv::PhasesOp op, mlir::OpBuilder &b);

} // namespace convjit

#endif // CONVJIT_LIB_OUTER_TILEOUTER_H
