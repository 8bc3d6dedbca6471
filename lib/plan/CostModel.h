//===- CostModel.h - candidate plans and their predicted times -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef CONVJIT_LIB_PLAN_COSTMODEL_H
#define CONVJIT_LIB_PLAN_COSTMODEL_H

#include "geometry/Geometry.h"
#include "plan/Machine.h"

namespace convjit {

struct PlanCandidate {
  conv::PlanAttr plan;
  double cycles; ///< predicted, for one image on one core
};

/// The best plan of each kind (lanes, merged dimensions, width, order), the
/// fastest first. Never empty. `images` of the output are expected in a batch
/// group where the batch is not outermost; 0: as many as output channels.
llvm::SmallVector<PlanCandidate>
planCandidates(conv::ConvolutionOp op, const Machine &machine, int64_t images);

} // namespace convjit

#endif // CONVJIT_LIB_PLAN_COSTMODEL_H
