//===- BlockWork.h - which part of the work a thread block has -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef CONVJIT_LIB_GPU_BLOCKWORK_H
#define CONVJIT_LIB_GPU_BLOCKWORK_H

#include "geometry/BlockSpace.h"

namespace convjit {

/// Finds out which part of the work this block has, and does it; with the
/// interior, where nothing needs a predicate, apart.
/// `output` is the operation's, or scratch for sums of parts.
void buildBlock(conv::PhasesOp op, const BlockSpace &space, mlir::Value output,
                mlir::OpBuilder &b);

} // namespace convjit

#endif // CONVJIT_LIB_GPU_BLOCKWORK_H
