//===- GroupVectorizer.h - neighbouring groups in a vector -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef CONVJIT_LIB_VECTOR_GROUPVECTORIZER_H
#define CONVJIT_LIB_VECTOR_GROUPVECTORIZER_H

#include "geometry/Geometry.h"
#include "vector/LaneMasks.h"

#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"

namespace convjit {

/// sum + x * weight; where those have fewer lanes, the rest stay.
mlir::Value accumulateLanes(mlir::OpBuilder &b, mlir::Location loc,
                            mlir::Value x, mlir::Value weight, mlir::Value sum);

/// sums(m, n) += input(m * step + j * tap_step, source(n, i)) * weights(j, i,
/// n) with the pixels that `conv.tap_pixels` gives to tap j. Lanes n are
/// channels of several groups, of which each reads its own input channels: a
/// vector of the i-th of every lane is loaded, or shuffled from the pixel's
/// channels, once for all the taps of the row. `sums` has `pieces` for each
/// pixel.
void vectorizeGroupTaps(mlir::linalg::GenericOp op,
                        llvm::MutableArrayRef<mlir::Value> sums,
                        llvm::ArrayRef<LanePiece> pieces, LaneMasks &masks,
                        mlir::OpBuilder &b);

} // namespace convjit

#endif // CONVJIT_LIB_VECTOR_GROUPVECTORIZER_H
