//===- GPUHeader.h - GPU kernels as a C header -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef CONVJIT_TOOLS_GPUHEADER_H
#define CONVJIT_TOOLS_GPUHEADER_H

#include "Common.h"
#include "convjit/GPUKernel.h"
#include "convjit/WeightGradient.h"

#include <optional>

namespace convjit::cli {

/// A kernel and its name in symbols.
struct NamedGPUKernel {
  std::string problem, name;
  GPUKernel kernel;
  std::optional<GradientLaunch> gradient = {}; ///< that it is of a weight
  int64_t summedImages = 0; ///< of the layer, with a gradient
  bool masked = false;      ///< a mask is to multiply the gradient
};

/// Whether each header declares `symbol` itself.
bool isGPUHeaderName(const std::string &symbol);

/// A C header with the PTX and the launches of kernels, for hosts that load
/// them with the CUDA driver themselves. C99 and C++11; needs no other file of
/// ours.
std::string gpuHeader(const std::string &prefix,
                      const std::vector<NamedGPUKernel> &kernels);

} // namespace convjit::cli

#endif // CONVJIT_TOOLS_GPUHEADER_H
