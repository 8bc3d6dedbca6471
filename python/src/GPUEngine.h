//===- GPUEngine.h - where Python's kernels for GPUs come from -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef CONVJIT_PYTHON_GPUENGINE_H
#define CONVJIT_PYTHON_GPUENGINE_H

#include "Engine.h"
#include "convjit/DeviceKernel.h"
#include "convjit/GPUKernelCache.h"

namespace convjit::python {

/// The process's kernel of a convolution's text for a GPU ("sm_90") and a plan,
/// or the plan that is chosen where that is empty; compiled once, or found on
/// disk. `images`: of
/// the output, in every call; 0: any number.
Expected<std::shared_ptr<const GPUKernel>>
gpuKernelOf(std::string_view convolution, const std::string &gpu,
            const std::string &plan, int64_t images);

/// How many of them the process has compiled.
int64_t gpuCompilations();

/// A kernel on a device of the CUDA driver, loaded once and never unloaded: XLA
/// may let go of an executable whose launches are on their way.
Expected<const DeviceKernel *>
deviceKernelOf(int ordinal, const std::shared_ptr<const GPUKernel> &kernel);

} // namespace convjit::python

#endif // CONVJIT_PYTHON_GPUENGINE_H
