//===- OuterTimes.h - times of tiles of outer products -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef CONVJIT_LIB_PLAN_OUTERTIMES_H
#define CONVJIT_LIB_PLAN_OUTERTIMES_H

#include "outer/OuterProducts.h"
#include "plan/PlanShape.h"

namespace convjit {

/// Values of j: those of one output on average, and of the whole box.
struct Pixels {
  double each = 1, box = 1, row = 1;
};

/// Of the first-level cache, what the vectors of a piece may fill, so that they
/// stay for all tiles that read them.
constexpr double vectorCache = 18 << 10;
/// Cycles around the loops of a tile.
constexpr double tileStart = 60;

/// The tiles of one convolution.
class OuterTimes {
public:
  OuterTimes(conv::ConvolutionOp op, const Machine &machine, int64_t expected,
             const PlanShape &shape,
             llvm::SmallVectorImpl<PlanCandidate> &found);

  void addAcrossGroups();
  /// Lanes of what is in place, or of the filter once it is packed.
  void add();
  /// Lanes of images that tiles pack.
  void addPackedImages();

private:
  struct Form {
    conv::Lanes lanes;
    bool ofImages;
    /// Where the output has the lanes and the rows.
    int64_t lanesAxis, rowsAxis;
    /// Bytes from one scalar of a step to the next: of planes, many.
    int64_t scalarBytes;
    /// Cycles of packing, for one image.
    double packing;
  };
  void add(const Form &form);
  /// The best number of pieces for tiles of `rows` by `width`.
  void add(const Form &form, int64_t rows, int64_t width);
  /// The tiles of up to `most` images that there are for each image, by the
  /// images that they have.
  struct Share {
    int64_t count;
    double tiles;
  };
  llvm::SmallVector<Share> imageTiles(int64_t most) const;
  int64_t scalarBytes(bool ofImages);
  bool isPlane(const Form &form) const {
    return form.scalarBytes > shape.elementBytes;
  }
  /// Bytes of the lines that hold so many channels of a pixel, where channels
  /// are last in memory.
  double lines(bool ofInput, double elements) const;
  /// How much longer a step takes where the vectors of a piece of `size`
  /// pixels, or in Order::Block both its operands, outgrow the nearest cache.
  double place(const Form &form, double size, int64_t rows, int64_t width,
               bool isNear) const;
  /// Whether the lines of a step's planes push each other out of the
  /// first-level cache, before the next pixels read them again. 64 to 32
  /// channels, k 2 s 2, at 32^3, channels first: 16 planes 21.9 ms, 8 12.7; at
  /// 31^3 11.7 both.
  static bool planesMeet(const Form &form, int64_t rows);
  /// What a piece asks for of the next, where operands come from beyond the
  /// second-level cache: a core does not foresee the vectors of every second
  /// pixel, row and plane. 64 to 32 channels, k 2 s 2, at 32^3: 14.2 ms
  /// without, 11.2 with. Planes it does foresee; and where sums outgrow the
  /// caches there is more to do for each of them.
  conv::Prefetch prefetch(int64_t chunks, bool isNear) const;
  /// Cycles a sum takes more where those of the lanes, or also those of the
  /// rows, are apart in the output.
  double sumApart(const Form &form, conv::PlanAttr plan, bool areLanes,
                  int64_t rows);

  conv::ConvolutionOp op;
  const Machine &machine;
  const PlanShape &shape;
  llvm::SmallVectorImpl<PlanCandidate> &found;
  conv::DimensionNumbersAttr numbers;
  int64_t last, perGroup, groups;
  /// Of a group: those that are known, or 0, and as many as it has channels.
  int64_t expected, images;
  Pixels pixels;
  double outputs = 1, outputBytes, pixelBytes, filterElements;
  /// Of the last dimension, and of the one before it.
  double rowOutputs = 1, planeOutputs = 1;
  /// Of the box of all j.
  llvm::SmallVector<int64_t> extents;
  /// Elements from the pixel of one j to that of the next in its row.
  int64_t inputPixel = 1, filterPixel = 1;
};

} // namespace convjit

#endif // CONVJIT_LIB_PLAN_OUTERTIMES_H
