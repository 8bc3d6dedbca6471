//===- RegisterTile.h - pixels by lanes in registers -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef CONVJIT_LIB_PLAN_REGISTERTILE_H
#define CONVJIT_LIB_PLAN_REGISTERTILE_H

#include "plan/PlanShape.h"

namespace convjit {

/// The register tiles of `width` lanes that a convolution can have.
class RegisterTiles {
public:
  RegisterTiles(const PlanShape &shape, int64_t width);

  struct Tile {
    int64_t pixels;
    int64_t unroll; ///< input channels in an iteration
    double cycles;  ///< of one row, of one block of channels on average
    bool unrolled;  ///< whether the code of a whole row is short enough
  };
  /// The best of them; none where no sum has a register.
  std::optional<Tile> best() const;

private:
  const PlanShape &shape;
  int64_t width;
  int64_t vectors;   ///< registers of sums for each pixel
  int64_t registers; ///< that sums, weights and pixels may take
  bool ofPixels, ofReduction;

  /// Pixels of the longest row.
  int64_t longest() const;
  /// Pixels for whose sums there are registers; 0 if for none.
  int64_t mostPixels() const;
  int64_t unroll(int64_t pixels) const;
  /// FMAs, and what takes as long, in the code of a row; `epilogueOps` for each
  /// vector of sums.
  int64_t code(int64_t pixels, int64_t epilogueOps) const;
};

} // namespace convjit

#endif // CONVJIT_LIB_PLAN_REGISTERTILE_H
