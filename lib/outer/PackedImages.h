//===- PackedImages.h - a piece of the input, images in the lanes -*- C++
//-*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Where pixels, not images, follow each other in the input, one tile's images
// of one piece of the pixels are copied, transposed in registers, to the stack:
// [channel][pixel of the piece][image]. All taps and blocks of channels read
// them there. A transposed layer's input has stride^rank times fewer pixels
// than its output's gradient, the operand packed otherwise.
//
//===----------------------------------------------------------------------===//

#ifndef CONVJIT_LIB_OUTER_PACKEDIMAGES_H
#define CONVJIT_LIB_OUTER_PACKEDIMAGES_H

#include "outer/OuterPieces.h"
#include "outer/OuterProducts.h"
#include "support/IndexMath.h"

namespace convjit {

class PackedImages {
  using Value = mlir::Value;

public:
  /// Of pieces of `box`, `lanes` images at a time.
  PackedImages(conv::PhasesOp op, mlir::OpBuilder &b, TensorStrides &input,
               llvm::ArrayRef<std::pair<int64_t, int64_t>> box, int64_t lanes);

  /// Copies `count` images, of which the first begins at element `first` of the
  /// input.
  void pack(const OuterPiece &piece, Value first, Value count);

  Value buffer() const { return packed; }
  /// Elements from one j of each dimension to the next.
  llvm::ArrayRef<int64_t> steps() const { return packedSteps; }
  /// Where the first image has j = 0, which the piece may not have.
  Value origin(const OuterPiece &piece);

private:
  /// `length` pixels that follow each other.
  void run(Value from, Value to, Value length, Value count);
  void transposed(Value from, Value to, int64_t pixels, Value count);

  mlir::OpBuilder &b;
  mlir::Location loc;
  IndexMath math;
  mlir::Type element;
  Value source, packed, image;
  int64_t lanes;
  llvm::SmallVector<Value> inputSteps;
  llvm::SmallVector<int64_t> packedSteps;
  /// Dimensions from this one on are one run of pixels; of those after it, the
  /// product.
  int64_t runDim = 0, runInner = 1;
};

} // namespace convjit

#endif // CONVJIT_LIB_OUTER_PACKEDIMAGES_H
