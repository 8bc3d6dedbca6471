//===- Orthonormal.h - the Q of a matrix -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef CONVJIT_LAYERS_ORTHONORMAL_H
#define CONVJIT_LAYERS_ORTHONORMAL_H

#include <cstdint>
#include <vector>

namespace convjit::nn {

/// Replaces a row-major matrix, at least as many rows as columns, by the Q of
/// its QR decomposition times the sign of R's diagonal, so that R's would be
/// positive and Q is the only one. A column that depends on those before it
/// becomes zero.
void orthonormalize(std::vector<double> &matrix, int64_t rows, int64_t columns);

} // namespace convjit::nn

#endif // CONVJIT_LAYERS_ORTHONORMAL_H
