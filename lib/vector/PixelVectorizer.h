//===- PixelVectorizer.h - taps of a row with pixels in the lanes -*- C++
//-*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef CONVJIT_LIB_VECTOR_PIXELVECTORIZER_H
#define CONVJIT_LIB_VECTOR_PIXELVECTORIZER_H

#include "geometry/Geometry.h"
#include "vector/LaneMasks.h"

#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"

namespace convjit {

/// sums(c, m) += weights(j, k, c) * input(k, m * step + j * tap_step), lanes
/// being pixels m, with the pixels that `conv.tap_pixels` gives to tap j. The
/// row is loaded once and every step-th element of it put together once, for
/// all the taps; a tap takes one shuffle where it begins within a vector.
/// With a load of all elements and a shuffle for each tap depthwise k 5, s 2
/// was at 22 % of the peak, with this it is at 34 %. `sums` has `pieces` for
/// each c.
void vectorizePixelTaps(mlir::linalg::GenericOp op,
                        llvm::MutableArrayRef<mlir::Value> sums,
                        llvm::ArrayRef<LanePiece> pieces, LaneMasks &masks,
                        mlir::OpBuilder &b);

} // namespace convjit

#endif // CONVJIT_LIB_VECTOR_PIXELVECTORIZER_H
