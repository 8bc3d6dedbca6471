//===- Epilogue.h - storing a tile through its epilogue -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef CONVJIT_LIB_TILE_EPILOGUE_H
#define CONVJIT_LIB_TILE_EPILOGUE_H

#include "ConvDialect.h"

namespace convjit {

/// The activation of `x`, a float or a vector of floats.
mlir::Value activate(mlir::OpBuilder &b, mlir::Location loc,
                     conv::EpilogueAttr epilogue, mlir::Value x);

/// One linalg.generic that adds bias and residual to the accumulators, applies
/// the activation and writes the tile's outputs. Accumulators are (pixel,
/// lane), or (channel, pixel) where lanes hold pixels.
void storeTile(conv::TileOp op, mlir::Value accumulators, bool lanesOfPixels,
               mlir::OpBuilder &b);

} // namespace convjit

#endif // CONVJIT_LIB_TILE_EPILOGUE_H
