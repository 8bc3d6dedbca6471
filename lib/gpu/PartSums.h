//===- PartSums.h - sums of parts of a reduction -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef CONVJIT_LIB_GPU_PARTSUMS_H
#define CONVJIT_LIB_GPU_PARTSUMS_H

#include "geometry/Geometry.h"

namespace convjit {

/// What products of `stored` are summed in.
mlir::Type sumType(mlir::Type stored);

/// The kernel that adds the parts: its threads, and blocks of an image.
constexpr int64_t addThreads = 256;
int64_t addBlocksPerImage(conv::PhasesOp op);

/// What it does: adds one output's parts, always in the same order, and stores
/// it through the epilogue. `sums` has the images of the first part, then those
/// of the second, and so on.
void addParts(conv::PhasesOp op, mlir::Value sums, mlir::OpBuilder &b);

} // namespace convjit

#endif // CONVJIT_LIB_GPU_PARTSUMS_H
