//===- Epilogue.h - storing a tile through its epilogue -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef CONVJIT_LIB_EPILOGUE_H
#define CONVJIT_LIB_EPILOGUE_H

#include "ConvDialect.h"

namespace convjit {

/// A strided view of `source` with its unit axes dropped to give `shape`.
mlir::Value stridedView(mlir::OpBuilder &b, mlir::Location loc,
                        mlir::Value source,
                        llvm::ArrayRef<mlir::OpFoldResult> offsets,
                        llvm::ArrayRef<int64_t> sizes,
                        llvm::ArrayRef<int64_t> strides,
                        llvm::ArrayRef<int64_t> shape);

/// One linalg.generic that adds bias and residual to the accumulators, applies
/// the activation and writes the tile's outputs.
void storeTile(conv::TileOp op, mlir::Value accumulators, mlir::OpBuilder &b);

} // namespace convjit

#endif // CONVJIT_LIB_EPILOGUE_H
