//===- Peak.h - the machine's arithmetic peak, measured -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef CONVJIT_TOOLS_PEAK_H
#define CONVJIT_TOOLS_PEAK_H

#include "convjit/Compiler.h"

namespace convjit::cli {

/// GFLOP/s of one core on independent chains of fused multiply-adds (or, in an
/// instruction set without them, multiplies and adds) in vectors of so many
/// bits: the roof that a kernel made for such a CPU is measured against. The
/// host has these instructions. Takes about 0.1 s.
double measurePeakGflops(DataType dtype, VectorUnits units);

} // namespace convjit::cli

#endif // CONVJIT_TOOLS_PEAK_H
