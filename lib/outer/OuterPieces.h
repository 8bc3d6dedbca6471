//===- OuterPieces.h - the pixels of outer products, piece by piece -*- C++
//-*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The sums of a piece start at zero and are added to those of the pieces before
// it, in order. So a call may have its pieces one after another, all its tasks
// on one before the next, or tell them out to threads that keep the sums of
// each in scratch until the caller adds them: the bits are the same.
//
//===----------------------------------------------------------------------===//

#ifndef CONVJIT_LIB_OUTER_OUTERPIECES_H
#define CONVJIT_LIB_OUTER_OUTERPIECES_H

#include "ConvDialect.h"

namespace convjit {

/// A contiguous tensor of which one axis may be dynamic, or an input with gaps,
/// whose strides are all known.
class TensorStrides {
public:
  TensorStrides(mlir::OpBuilder &b, mlir::Location loc, mlir::Value tensor);

  /// Elements from one index of `axis` to the next.
  mlir::Value of(int64_t axis);
  /// Of an axis of a tensor without dynamic ones.
  int64_t constant(int64_t axis) const { return known[axis]; }
  /// How many steps of `inner` one of `outer` is, where it does not depend on
  /// the dynamic axis and is whole; else 0.
  int64_t ratio(int64_t outer, int64_t inner) const {
    bool whole = scaled[outer] == scaled[inner] && known[inner] != 0 &&
                 known[outer] % known[inner] == 0;
    return whole ? known[outer] / known[inner] : 0;
  }
  /// Elements of the whole tensor, which is contiguous.
  mlir::Value elements();

private:
  mlir::OpBuilder &b;
  mlir::Location loc;
  llvm::SmallVector<int64_t> known;
  llvm::SmallVector<bool> scaled;
  int64_t all = 1;
  mlir::Value size;
};

/// What the tasks of one piece have in common.
struct OuterPiece {
  /// Of j: the channels summed over, then each spatial dimension.
  llvm::SmallVector<std::pair<mlir::Value, mlir::Value>> ranges;
  /// Whether sums start here, with the residual.
  mlir::Value first;
  mlir::Value firstTask, lastTask;
  /// The next piece follows so many j later in this dimension.
  int64_t aheadDim = 0, aheadSize = 0;
  /// Where sums go: the output, or scratch from `at` on.
  mlir::Value output, at;
};

/// Of a whole piece in each dimension of `box`.
llvm::SmallVector<int64_t>
pieceExtents(llvm::ArrayRef<std::pair<int64_t, int64_t>> box, int64_t chunks);

/// The elements of a buffer, as a type that all have.
mlir::Value flatBuffer(mlir::OpBuilder &b, mlir::Location loc,
                       mlir::Value buffer);

/// Builds body(piece) for all pieces of `box`, the j of any output. A piece has
/// at most about 1/chunks of them, and its tasks are [0, tasks). A function of
/// several pieces gets an argument more, the scratch; where a call has some,
/// its range of tasks counts those of all pieces.
void forOuterPieces(conv::PhasesOp op, mlir::OpBuilder &b,
                    llvm::ArrayRef<std::pair<int64_t, int64_t>> box,
                    int64_t chunks, mlir::Value tasks,
                    llvm::function_ref<void(const OuterPiece &)> body);

} // namespace convjit

#endif // CONVJIT_LIB_OUTER_OUTERPIECES_H
