//===- SpecialFunctions.h - erf and its inverse as XLA has them -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef CONVJIT_LAYERS_SPECIALFUNCTIONS_H
#define CONVJIT_LAYERS_SPECIALFUNCTIONS_H

namespace convjit::nn {

/// XLA's erf in f32: a rational function in x^2.
float erfXla(float x);
/// XLA's erf_inv in f32: M. Giles, "Approximating the erfinv function" (GPU
/// Computing Gems 2, 2010), in w = -log1p(-x*x).
float erfInvXla(float x);
/// The inverse of std::erf in f64, to its last bits.
double erfInv(double x);

} // namespace convjit::nn

#endif // CONVJIT_LAYERS_SPECIALFUNCTIONS_H
