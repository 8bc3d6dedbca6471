//===- PackInputs.h - the kernel that packs an input -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef CONVJIT_LIB_GPU_PACKINPUTS_H
#define CONVJIT_LIB_GPU_PACKINPUTS_H

#include "ConvDialect.h"

namespace convjit {

/// Threads of a block of each kernel that packs.
constexpr int64_t packThreads = 256;

/// How an input is cut into tiles that are transposed through shared memory:
/// channels by what is last in the input, which is a run of spatial dimensions
/// that have the same order in both, or images.
struct InputTiles {
  InputTiles(conv::PackInputOp op, int64_t batchGroups);

  /// Blocks for each imagesPerBlock() images of the output.
  int64_t blocks() const;
  int64_t imagesPerBlock() const;
  int64_t sharedBytes() const;
  /// Spatial dimensions outside the run, the last first.
  llvm::SmallVector<int64_t> outerDims() const;

  conv::DimensionNumbersAttr numbers;
  int64_t batchGroups;
  mlir::MemRefType type;
  int64_t bytes;
  bool alongImages;
  /// Spatial dimensions of the run, the last first; their elements.
  llvm::SmallVector<int64_t> run;
  int64_t length = 0;
  int64_t channels, tileChannels, tileLength;
  /// Elements by which a channel's row in shared memory is longer.
  int64_t padding;
};

/// What a block does, of packThreads threads.
void packInput(conv::PackInputOp op, const InputTiles &tiles,
               mlir::OpBuilder &b);

} // namespace convjit

#endif // CONVJIT_LIB_GPU_PACKINPUTS_H
