//===- BuildModule.h - a layer as MLIR -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef CONVJIT_COMPILER_BUILDMODULE_H
#define CONVJIT_COMPILER_BUILDMODULE_H

#include "convjit/Convolution.h"

#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/OwningOpRef.h"

namespace convjit {

/// `func.func @layer(input, filter[, bias][, residual]) -> output` around one
/// conv.convolution.
mlir::OwningOpRef<mlir::ModuleOp> buildModule(mlir::MLIRContext *context,
                                              const Convolution &conv);

/// The same around the layer form of `problem`, which has no gradient.
mlir::OwningOpRef<mlir::ModuleOp> buildLayerModule(mlir::MLIRContext *context,
                                                   const Problem &problem,
                                                   const Convolution &conv);

} // namespace convjit

#endif // CONVJIT_COMPILER_BUILDMODULE_H
