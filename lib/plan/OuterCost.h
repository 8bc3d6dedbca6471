//===- OuterCost.h - tiles of outer products and their times -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef CONVJIT_LIB_PLAN_OUTERCOST_H
#define CONVJIT_LIB_PLAN_OUTERCOST_H

#include "plan/PlanShape.h"

namespace convjit {

/// Adds the plans with `row = outer`, where the batch is not outermost: the
/// gradients of weights. `images` are those that a batch group is expected to
/// have, or 0; `shape` has no merged phases.
void addOuterCandidates(conv::ConvolutionOp op, const Machine &machine,
                        int64_t images, const PlanShape &shape,
                        llvm::SmallVectorImpl<PlanCandidate> &found);

/// Cycles of packing the filter of a weight's gradient, the gradient of the
/// output, for each of `images`.
double filterPackingCycles(conv::ConvolutionOp op, const Machine &machine,
                           int64_t images, bool merged);

} // namespace convjit

#endif // CONVJIT_LIB_PLAN_OUTERCOST_H
