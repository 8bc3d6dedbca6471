//===- OuterCost.h - tiles of outer products and their times -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef CONVJIT_LIB_OUTERCOST_H
#define CONVJIT_LIB_OUTERCOST_H

#include "PlanShape.h"

namespace convjit {

/// Adds the plans with `row = outer`, where the batch is not outermost: the
/// gradients of weights. `shape` has no merged phases.
void addOuterCandidates(conv::ConvolutionOp op, const Machine &machine,
                        const PlanShape &shape,
                        llvm::SmallVectorImpl<PlanCandidate> &found);

} // namespace convjit

#endif // CONVJIT_LIB_OUTERCOST_H
