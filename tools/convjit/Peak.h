//===- Peak.h - the machine's arithmetic peak, measured -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef CONVJIT_TOOLS_PEAK_H
#define CONVJIT_TOOLS_PEAK_H

#include "convjit/Problem.h"

namespace convjit::cli {

/// GFLOP/s of one core on independent chains of fused multiply-adds (or, on a
/// CPU without them, multiplies and adds) in its widest vectors: the roof that
/// a kernel is measured against. Takes about 0.1 s.
double measurePeakGflops(DataType dtype);

} // namespace convjit::cli

#endif // CONVJIT_TOOLS_PEAK_H
