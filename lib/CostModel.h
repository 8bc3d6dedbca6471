//===- CostModel.h - candidate plans and their predicted times -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef CONVJIT_LIB_COSTMODEL_H
#define CONVJIT_LIB_COSTMODEL_H

#include "Geometry.h"

namespace convjit {

/// What the cost model knows of a machine.
struct Machine {
  int64_t vectorBits = 512;
  int64_t registers = 32;
  /// Bits of FMA results a cycle: 1024 are two 512-bit units.
  int64_t fmaBits = 1024;
  int64_t l2Bytes = int64_t(1) << 20;
};

struct PlanCandidate {
  conv::PlanAttr plan;
  double cycles; ///< predicted, for one image on one core
};

/// The best plan of each kind (lanes, merged dimensions, width, order), the
/// fastest first. Never empty.
llvm::SmallVector<PlanCandidate> planCandidates(conv::ConvolutionOp op,
                                                const Machine &machine);

} // namespace convjit

#endif // CONVJIT_LIB_COSTMODEL_H
