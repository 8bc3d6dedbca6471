//===- RegisterTiles.h - tiles through registers to shared memory -*- C++
//-*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef CONVJIT_LIB_GPU_REGISTERTILES_H
#define CONVJIT_LIB_GPU_REGISTERTILES_H

#include "Reduction.h"

namespace convjit {

/// The tiles of input and filter of the steps that are being multiplied and
/// being brought, in shared memory: f32 or f64, whatever the buffers have. A
/// thread loads its elements of a step into registers, and stores them when the
/// place is free. The reduction is outermost, so that a thread reads
/// neighbouring pixels, and neighbouring channels, with one access.
class RegisterTiles {
public:
  explicit RegisterTiles(BlockBuilder &block);

  /// Steps of the main loop, and where in the reduction the first one is. A
  /// position is a list of values that a loop can carry.
  mlir::Value steps() const { return reduction.steps(); }
  llvm::SmallVector<mlir::Value> start();
  llvm::SmallVector<mlir::Value> next(mlir::ValueRange position);

  /// This thread's elements of the step at `position`, from global memory;
  /// where `condition` does not hold, zeros.
  llvm::SmallVector<mlir::Value> loadIf(mlir::Value condition,
                                        mlir::ValueRange position);
  /// Puts what loadIf gave to place `stage` (an index).
  void store(llvm::ArrayRef<mlir::Value> values, mlir::Value stage);

  /// [stage][depth][pixel or channel].
  mlir::Value inputTile() const { return input; }
  mlir::Value filterTile() const { return filter; }

private:
  void placeInput();
  void placeFilter();
  void openShared();
  llvm::SmallVector<mlir::Value> load(mlir::ValueRange position);
  void loadInput(llvm::ArrayRef<ReductionPosition> positions,
                 llvm::SmallVectorImpl<mlir::Value> &values);
  void loadFilter(llvm::ArrayRef<ReductionPosition> positions,
                  llvm::SmallVectorImpl<mlir::Value> &values);

  BlockBuilder &block;
  mlir::OpBuilder &b;
  mlir::Location loc;
  IndexMath &math, &num;
  conv::GPUPlanAttr plan;
  Reduction reduction;
  int64_t pixels, depth, columns, threads;
  int64_t access; ///< elements of 16 bytes
  bool mixed;

  // Slots of the input: (pixel, first product) with `vector` products each.
  int64_t inputSlots;
  mlir::Value inputActive; ///< null where every thread has them
  llvm::SmallVector<mlir::Value> slotPixel, slotDepth; ///< distinct ones
  llvm::SmallVector<std::pair<int64_t, int64_t>> slotOf;
  llvm::SmallVector<mlir::Value> pixelRow;
  llvm::SmallVector<llvm::SmallVector<mlir::Value>> pixelInputAt;

  int64_t filterSlots;
  mlir::Value filterActive, filterRow;
  llvm::SmallVector<mlir::Value> filterDepth, filterColumn;

  mlir::Value input, filter;
};

} // namespace convjit

#endif // CONVJIT_LIB_GPU_REGISTERTILES_H
