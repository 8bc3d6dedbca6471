//===- GPUKernelCache.cpp - GPU kernels found again -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "convjit/GPUKernelCache.h"
#include "ConvolutionText.h"

using namespace convjit;

/// All that a kernel depends on; the text of a convolution names no mask that
/// was given as an array.
static std::string keyOf(const Convolution &conv,
                         const CompileOptions &options) {
  std::string key = describe({conv, ""});
  key += '\n' + options.target.cpu + '\n' + options.plan + '\n' +
         std::to_string(options.images) + '\n' +
         std::to_string(options.imageMultiple) + '\n';
  key.append(reinterpret_cast<const char *>(conv.mask.data()),
             conv.mask.size() * sizeof(double));
  return key;
}

Expected<std::shared_ptr<const GPUKernel>>
GPUKernelCache::kernel(const Compiler &compiler, const Convolution &conv,
                       const CompileOptions &options) {
  std::shared_ptr<Entry> entry;
  {
    std::lock_guard lock(mutex);
    std::shared_ptr<Entry> &known = entries[keyOf(conv, options)];
    if (!known)
      known = std::make_shared<Entry>();
    entry = known;
  }
  std::lock_guard lock(entry->mutex);
  if (entry->kernel)
    return entry->kernel;
  Expected<GPUKernel> made = compiler.compileGPU(conv, options);
  if (!made)
    return made.takeError();
  entry->kernel = std::make_shared<const GPUKernel>(std::move(*made));
  std::lock_guard count(mutex);
  ++compiled;
  return entry->kernel;
}

int64_t GPUKernelCache::compilations() const {
  std::lock_guard lock(mutex);
  return compiled;
}
