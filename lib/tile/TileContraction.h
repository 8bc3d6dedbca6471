//===- TileContraction.h - the contractions of one conv.tile -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef CONVJIT_LIB_TILE_TILECONTRACTION_H
#define CONVJIT_LIB_TILE_TILECONTRACTION_H

#include "geometry/Geometry.h"
#include "support/IndexMath.h"

#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"

namespace convjit {

/// The operands of a tile's taps, and linalg operations on them.
class TileContraction {
public:
  TileContraction(conv::TileOp op, mlir::OpBuilder &b);

protected:
  /// The number of taps of a dimension whose phases differ in theirs, else 0.
  int64_t distinctTaps(int64_t dim);

  /// [lo, hi) for each phase of a dimension.
  llvm::ArrayRef<int64_t> activeRanges(int64_t dim);

  /// Which lanes have tap `taps`; none listed if all.
  llvm::SmallVector<bool> activeLanes(llvm::ArrayRef<mlir::Value> taps);

  /// The input's axis along which a tile's pixels follow each other.
  int64_t pixelAxis() {
    return op.getImages() ? numbers.getInputBatch()
                          : numbers.getInputSpatial().back();
  }
  bool channelsAfterPixels();

  /// The input elements of one tap: (pixels, channels), or the reverse where
  /// the channels' axis comes first. With lanes across groups, channels are the
  /// lanes.
  mlir::Value inputRow(llvm::ArrayRef<mlir::Value> taps, int64_t first,
                       int64_t count, int64_t step);

  /// Where the weights of one tap start.
  llvm::SmallVector<mlir::Value> filterAt(llvm::ArrayRef<mlir::Value> taps);

  /// The weights of one tap: (channels, lanes).
  mlir::Value filterRow(llvm::ArrayRef<mlir::Value> taps);

  /// Asks for the weights of channels [at, at + channels) + `filter_ahead`.
  void fetchWeights(mlir::Value weights, mlir::Value at, int64_t channels);
  /// Asks for the lines that `count` pixels have in channels [at, at +
  /// channels) + `input_ahead` of `input`, (channel, pixel).
  void fetchPixels(mlir::Value input, mlir::Value at, int64_t channels,
                   int64_t count);
  /// The lines of `elements` in rows [from, from + channels) of `rows`.
  void fetchAhead(mlir::Value rows, mlir::Value from, int64_t channels,
                  llvm::ArrayRef<int64_t> elements);

  /// sums(m, n) += input(m, k) * weights(k, n) for k in [at, at + channels).
  mlir::linalg::GenericOp contraction(mlir::Value input, mlir::Value weights,
                                      mlir::Value sums, mlir::Value at,
                                      int64_t count, int64_t channels);

  /// sums(m, n) += input(m * step + j * tap_step, n / c * r + i) *
  /// weights(j, i, n), of groups with r input and c output channels, for the
  /// taps j of the row that follow `taps`, tap j in pixels [spans[2j],
  /// spans[2j+1]).
  void groupContraction(llvm::ArrayRef<mlir::Value> taps,
                        llvm::ArrayRef<int64_t> spans);

  /// sums(c, m) += weights(j, k, c) * input(k, m * step + j * tap_step) for
  /// the taps j of the row that follow `taps`, tap j in pixels [spans[2j],
  /// spans[2j+1]), and input channel k = at.
  void pixelTapsContraction(llvm::ArrayRef<mlir::Value> taps,
                            llvm::ArrayRef<int64_t> spans, mlir::Value at);

  /// Elements of the row from the first pixel's first of `taps` to the last
  /// one's last.
  int64_t pixelSpan(int64_t taps = 1);

  /// sums(c, m) += weights(k, c) * input(k, m * step) for k in [at, at +
  /// channels).
  mlir::linalg::GenericOp pixelContraction(mlir::Value input,
                                           mlir::Value weights, mlir::Value at,
                                           int64_t channels);

  /// sums(m, n, l) += input(m * step + j * tap_step, l) * weights(j, n, l) for
  /// the taps j of the row that follow `taps`, tap j in pixels [spans[2j],
  /// spans[2j+1]), and input channels at + l, l in [0, channels).
  void reductionContraction(llvm::ArrayRef<mlir::Value> taps,
                            llvm::ArrayRef<int64_t> spans, mlir::Value at,
                            int64_t channels);

  /// A buffer of (pixels, width) sums, or (1, pixels) with `transposed` and one
  /// output: outputs(m, n) += sums(m, n, l).
  mlir::Value addLanes(bool transposed);

  /// Whether the outputs of a tile with one channel are neighbours in memory.
  bool pixelsAreNeighbours();

  /// sums(d0, d1) += input * weights over loops (d0, d1, reduction d2).
  mlir::linalg::GenericOp
  contract(mlir::Value input, mlir::Value weights, mlir::Value sums,
           llvm::ArrayRef<mlir::AffineExpr> inputExprs,
           llvm::ArrayRef<mlir::AffineExpr> weightExprs);

  conv::TileOp op;
  mlir::OpBuilder &b;
  mlir::Location loc;
  IndexMath math;
  conv::DimensionNumbersAttr numbers;
  int64_t rank, pixels, width;
  int64_t lanePixels; ///< pixels in the lanes, and lanes that are not used
  bool acrossGroups, lanesOfPixels, lanesOfReduction;
  mlir::MemRefType filter;
  int64_t reduction;
  int64_t folded = 1; ///< taps of the row that the reduction takes in
  mlir::Value accumulators;
};

} // namespace convjit

#endif // CONVJIT_LIB_TILE_TILECONTRACTION_H
