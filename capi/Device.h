//===- Device.h - handles of GPUs -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef CONVJIT_CAPI_DEVICE_H
#define CONVJIT_CAPI_DEVICE_H

#include "LayerText.h"
#include "convjit/Compiler.h"
#include "convjit/DeviceKernel.h"
#include "convjit/WeightGradient.h"
#include "convjit/convjit.h"

#include <atomic>
#include <optional>

struct convjit_device {
  std::shared_ptr<convjit::CUDADevice> device;
};

struct convjit_device_kernel {
  std::shared_ptr<const convjit::Layer> layer;
  std::shared_ptr<const convjit::DeviceKernel> kernel;
  /// Of a weight.
  std::optional<convjit::GradientLaunch> gradient{};
  std::atomic<int64_t> references{1};
};

#endif // CONVJIT_CAPI_DEVICE_H
