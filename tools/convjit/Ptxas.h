//===- Ptxas.h - PTX to a GPU's machine code -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef CONVJIT_TOOLS_PTXAS_H
#define CONVJIT_TOOLS_PTXAS_H

#include "convjit/Error.h"

#include <string>

namespace convjit::cli {

/// The cubin that NVIDIA's assembler makes of a module: the one that the
/// environment's PTXAS names, or the path's `ptxas`. Errors: there is none, or
/// what it says.
Expected<std::string> assemblePTX(const std::string &ptx,
                                  const std::string &chip);

} // namespace convjit::cli

#endif // CONVJIT_TOOLS_PTXAS_H
