//===- PlanReport.h - a plan explained -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef CONVJIT_COMPILER_PLANREPORT_H
#define CONVJIT_COMPILER_PLANREPORT_H

#include "ConvDialect.h"
#include "TargetInfo.h"

namespace convjit {

/// What is wrong with the plan of `op`, as "field = value; valid: ..."; empty
/// when it can be carried out.
std::string whyPlanIsInvalid(conv::ConvolutionOp op);

/// The plan of `op` and the alternatives for `images`, as planCandidates has
/// them, with reasons.
PlanReport reportPlan(conv::ConvolutionOp op, const TargetInfo &target,
                      int64_t images);

} // namespace convjit

#endif // CONVJIT_COMPILER_PLANREPORT_H
