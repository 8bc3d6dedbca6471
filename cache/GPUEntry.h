//===- GPUEntry.h - a GPU kernel as bytes -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// What StoredKernel::object holds of a kernel for a GPU: the PTX, and how its
// entries are launched. Only the build that wrote it reads it, whose id is in
// the entry's key: there is no version.
//
//===----------------------------------------------------------------------===//

#ifndef CONVJIT_CACHE_GPUENTRY_H
#define CONVJIT_CACHE_GPUENTRY_H

#include "convjit/GPUKernel.h"

#include <string_view>

namespace convjit {

/// All of a kernel but its convolution, plan and time of compilation, which
/// are known from elsewhere.
std::string encodeGPUKernel(const GPUKernel &kernel);

/// The kernel, without what encodeGPUKernel leaves out. Errors: bytes that are
/// none, numbers that no kernel has. They are not checked against damage:
/// CacheEntry's digest does that.
Expected<GPUKernel> decodeGPUKernel(std::string_view bytes);

} // namespace convjit

#endif // CONVJIT_CACHE_GPUENTRY_H
