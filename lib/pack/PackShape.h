//===- PackShape.h - how a filter is packed in vectors -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The last axis of a packed filter is a row of lanes. Cut into segments within
// which nothing but the channel changes, a row comes from filter elements at
// one distance. What they are moved with depends on the filter's axis order:
//
//     copies      the distance is 1: [.., i, o], as JAX stores weights
//     transposed  what follows each other in memory are taps or input channels:
//                 [o, i, ..], [.., o, i]. Blocks of lanes of a run of those are
//                 transposed in registers (TransposedMove)
//     elements    neither; phases in the lanes with taps last in memory
//
// An item is the work of one step of the only loop outside; the items of a part
// follow each other.
//
//===----------------------------------------------------------------------===//

#ifndef CONVJIT_LIB_PACK_PACKSHAPE_H
#define CONVJIT_LIB_PACK_PACKSHAPE_H

#include "pack/LowerPackFilter.h"

namespace convjit {

/// What there is to move, with what, and in which order.
class PackShape {
protected:
  explicit PackShape(PackSource &source);

  /// One of the numbers that say which item it is: a position on an axis of the
  /// packed filter, or of chunks of it.
  struct Digit {
    int64_t axis, count;
  };
  /// Part of a run: `size` of the elements of a filter axis, which is `axis` of
  /// the packed filter, where it proceeds by `step`.
  struct RunAxis {
    int64_t axis, size, step;
  };

  int64_t sizeOf(int64_t axis) const { return source.packed.getDimSize(axis); }
  /// Slowest first.
  llvm::SmallVector<Digit> itemDigits() const;
  int64_t runPlaces() const {
    int64_t product = 1;
    for (RunAxis run : runAxes)
      product *= run.size;
    return product;
  }
  /// Distance in the packed filter of place `j` of a run's whole axes.
  int64_t place(int64_t j) const {
    int64_t offset = 0;
    for (RunAxis run : llvm::ArrayRef(runAxes).drop_back()) {
      offset += j % run.size * run.step * toStrides[run.axis];
      j /= run.size;
    }
    return offset;
  }

  PackSource &source;
  conv::PackFilterOp op;
  llvm::SmallVector<int64_t> fromStrides, toStrides;
  int64_t row = 0, segment = 0;
  /// Lanes of a segment that exist: a full one, that of the last block.
  llvm::SmallVector<int64_t> sizes;
  bool hasTail = false; ///< the last block's lanes are fewer
  int64_t laneStride = 0, inputStride = 0;
  llvm::SmallVector<RunAxis> runAxes; ///< fastest in the filter first
  bool scattered = false; ///< rows of a run do not follow each other
  int64_t chunk = 1;      ///< rows of a copying item

private:
  void chooseRows();
  void chooseRun();
};

} // namespace convjit

#endif // CONVJIT_LIB_PACK_PACKSHAPE_H
