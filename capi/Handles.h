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
#include "convjit/Convolution.h"
#include "convjit/Kernel.h"

#include <mutex>
#include <optional>

namespace convjit::capi {

/// A layer as the caller means it. Immutable once it is shared.
struct Layer {
  std::string text; ///< canonical
  std::optional<Problem> problem;
  /// What is compiled: for grad=weight, the convolution of one image.
  Convolution conv;
  /// For grad=weight the layer whose gradient it is; it has the mask, if any.
  Convolution forward;

  Gradient gradient() const {
    return problem ? problem->gradient : Gradient::None;
  }
  bool isWeightGradient() const { return gradient() == Gradient::Weight; }
  /// The convolution whose weight is the layer's.
  const Convolution &weighted() const {
    return isWeightGradient() ? forward : conv;
  }
};

/// From a problem string or a convolution's text. `readMasks`: whether to read
/// the mask's file.
Expected<Layer> parseLayer(std::string_view text, bool readMasks);

/// Errors for a batch that is negative, no multiple of the batch groups, or
/// makes a tensor larger than 2^48 bytes: products of sizes then stay in range.
Status checkBatch(const Convolution &conv, int64_t batch);

/// "4x16x32".
std::string shapeText(const std::vector<int64_t> &shape);

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
  /// Made by the first function that needs it. Calls in flight share it.
  std::mutex mutex{};
  std::shared_ptr<convjit::capi::CompilerState> compiler{};
};

struct convjit_layer {
  std::shared_ptr<const convjit::capi::Layer> layer;
};

struct convjit_kernel {
  std::shared_ptr<const convjit::capi::Host> host;
  std::shared_ptr<const convjit::capi::Layer> layer;
  std::shared_ptr<const convjit::Kernel> kernel;
  std::atomic<int64_t> references{1};
};

struct convjit_text {
  std::string bytes;
};

#endif // CONVJIT_CAPI_HANDLES_H
