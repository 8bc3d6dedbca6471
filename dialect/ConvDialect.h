//===- ConvDialect.h - the conv dialect's C++ interface -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef CONVJIT_DIALECT_CONVDIALECT_H
#define CONVJIT_DIALECT_CONVDIALECT_H

#include "mlir/Bytecode/BytecodeOpInterface.h"
#include "mlir/IR/Attributes.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Dialect.h"
#include "mlir/IR/OpDefinition.h"
#include "mlir/IR/OpImplementation.h"
#include "mlir/Interfaces/InferTypeOpInterface.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"

namespace convjit::conv {

/// An output of this many bytes outgrows a core's own cache: unless a plan says
/// otherwise, its lines go to memory without being read first. 14 MB from one
/// input channel: 2.7 ms by plain stores, 1.3 ms by these (Zen 4); layers bound
/// by FMAs do not change.
inline constexpr int64_t streamingBytes = int64_t(4) << 20;
/// The most that a plan may say.
inline constexpr int64_t maxStreamingBytes = int64_t(1) << 40;

} // namespace convjit::conv

#include "ConvDialect.h.inc"
#include "ConvEnums.h.inc"

#define GET_ATTRDEF_CLASSES
#include "ConvAttrs.h.inc"

#define GET_OP_CLASSES
#include "ConvOps.h.inc"

namespace convjit::conv {

/// Largest stride, dilation or padding; sums and products of a few stay in 64
/// bits.
inline constexpr int64_t maxWindowField = int64_t(1) << 31;

/// The window and axes of a layer form in terms of the general convolution.
/// `spatial` are the input's lengths, `kernel` the filter's.
WindowAttr layerWindow(ConvOp layer);
WindowAttr layerWindow(ConvTransposeOp layer);
DimensionNumbersAttr layerDimensionNumbers(mlir::MLIRContext *context,
                                           int64_t rank, Layout layout,
                                           bool transposed);

/// Shape of the result of a general convolution of these shapes; the batch is
/// dynamic where the input's is. Constraint C25.
llvm::SmallVector<int64_t>
inferConvolutionShape(llvm::ArrayRef<int64_t> input,
                      llvm::ArrayRef<int64_t> filter, WindowAttr window,
                      DimensionNumbersAttr numbers, int64_t featureGroups,
                      int64_t batchGroups, bool swappedFilter);

/// Number of output channels that the filter has.
int64_t filterOutputFeatures(llvm::ArrayRef<int64_t> filter,
                             DimensionNumbersAttr numbers,
                             int64_t featureGroups, bool swappedFilter);
/// Number of input channels that one output channel reads.
int64_t filterInputFeatures(llvm::ArrayRef<int64_t> filter,
                            DimensionNumbersAttr numbers, int64_t featureGroups,
                            bool swappedFilter);

/// What conv.pack_input makes of `input`: axes (batch, spatial..., channels).
mlir::MemRefType packedInputType(mlir::MemRefType input,
                                 DimensionNumbersAttr numbers);

} // namespace convjit::conv

#endif // CONVJIT_DIALECT_CONVDIALECT_H
