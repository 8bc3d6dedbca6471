//===- Loader.h - objects to callable code -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef CONVJIT_COMPILER_LOADER_H
#define CONVJIT_COMPILER_LOADER_H

#include "convjit/Compiler.h"

namespace convjit {

/// What the functions of a kernel's object start with.
inline constexpr const char *symbolPrefix = "convjit";

/// Links a compiled kernel into this process with JITLink, next to the others,
/// and tells debuggers. Needs nothing of LLVM to be initialized. Thread-safe.
/// Errors: no memory, or an object that is none of ours.
Expected<Kernel> loadKernel(const Convolution &conv, CompiledKernel compiled);

} // namespace convjit

#endif // CONVJIT_COMPILER_LOADER_H
