//===- KernelProvider.h - where kernels come from -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Layers and bindings ask for kernels here and need not know whether they are
// compiled, found in a cache or linked in ahead of time.
//
//===----------------------------------------------------------------------===//

#ifndef CONVJIT_KERNELPROVIDER_H
#define CONVJIT_KERNELPROVIDER_H

#include "convjit/Kernel.h"

#include <memory>

namespace convjit {

/// Gives the kernel of a layer. Thread-safe; kernels outlive the provider.
class KernelProvider {
public:
  virtual ~KernelProvider() = default;

  /// Errors: those of the source, for example a layer that the compiler
  /// refuses, or one that no ahead-of-time archive holds.
  virtual Expected<std::shared_ptr<const Kernel>>
  kernel(const Convolution &conv) = 0;
};

} // namespace convjit

#endif // CONVJIT_KERNELPROVIDER_H
