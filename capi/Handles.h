//===- Handles.h - what is behind the opaque handles -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef CONVJIT_CAPI_HANDLES_H
#define CONVJIT_CAPI_HANDLES_H

#include "Host.h"
#include "LayerText.h"
#include "convjit/Convolution.h"
#include "convjit/Kernel.h"

#include <mutex>

namespace convjit::capi {

/// Errors for a batch that is negative, no multiple of the batch groups, or
/// makes a tensor too large (checkBatch).
Status checkImages(const Convolution &conv, int64_t batch);

/// What a context has of a compiler; libconvjit_runtime has none.
class CompilerState {
public:
  virtual ~CompilerState() = default;
};

} // namespace convjit::capi

struct convjit_context {
  std::shared_ptr<const convjit::capi::Host> host;
  /// Copies of the options; empty for the default.
  std::string triple, cpu, features, cacheDirectory;
  int32_t cache = CONVJIT_CACHE_DEFAULT;
  uint64_t cacheMaxBytes = 0, cacheMaxKernels = 0;
  /// Made by the first function that needs it, under the mutex; then `ready`.
  std::mutex mutex{};
  std::unique_ptr<convjit::capi::CompilerState> compiler{};
  std::atomic<convjit::capi::CompilerState *> ready{nullptr};
};

struct convjit_layer {
  std::shared_ptr<const convjit::Layer> layer;
};

struct convjit_kernel {
  std::shared_ptr<const convjit::capi::Host> host;
  std::shared_ptr<const convjit::Layer> layer;
  std::shared_ptr<const convjit::Kernel> kernel;
  std::atomic<int64_t> references{1};
};

struct convjit_text {
  std::string bytes;
};

#endif // CONVJIT_CAPI_HANDLES_H
