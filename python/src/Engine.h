//===- Engine.h - where Python's kernels come from -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The seam between the bindings and the compiler: one compiler, one source of
// kernels and one pool of threads for the process. Everything is thread-safe
// and made at its first use, so that importing the package starts nothing.
//
//===----------------------------------------------------------------------===//

#ifndef CONVJIT_PYTHON_ENGINE_H
#define CONVJIT_PYTHON_ENGINE_H

#include "convjit/Compiler.h"
#include "convjit/KernelCache.h"

#include <memory>
#include <string>
#include <string_view>

namespace convjit::python {

/// CPUs that this process may run on.
unsigned usableProcessors();

/// The process's compiler. Errors: a host CPU that it cannot compile for.
Expected<const Compiler *> compiler();

/// The process's kernels, in memory and on disk; each is compiled once, whoever
/// asks for it and from however many threads.
Expected<KernelCache *> kernels();
/// Where they are kept, for people.
std::string cachePlace();

/// The kernel of a convolution's text (ConvolutionText.h), for so many images
/// (CompileOptions).
Expected<std::shared_ptr<const Kernel>> kernelOf(std::string_view text,
                                                 int64_t images);

/// How many kernels for CPUs the process has compiled; calls must not add to
/// it.
int64_t compilations();

/// Threads that calls from NumPy share; each call keeps its own reference, so
/// that another number may be set while one runs.
std::shared_ptr<Executor> executor();
/// 0 means one for each processor that the process may use.
void setThreads(unsigned threads);

} // namespace convjit::python

#endif // CONVJIT_PYTHON_ENGINE_H
