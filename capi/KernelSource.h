//===- KernelSource.h - kernels that a context has, or compiles -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef CONVJIT_CAPI_KERNELSOURCE_H
#define CONVJIT_CAPI_KERNELSOURCE_H

#include "convjit/Compiler.h"
#include "convjit/KernelProvider.h"

namespace convjit::capi {

/// A provider that can also say what it has at once.
class KernelSource : public KernelProvider {
public:
  /// The kernel for so many images (CompileOptions) if it is in memory, else
  /// null. Never waits.
  virtual std::shared_ptr<const Kernel> find(const Convolution &conv,
                                             int64_t images) = 0;
  using KernelProvider::kernel;
  virtual Expected<std::shared_ptr<const Kernel>>
  kernel(const Convolution &conv, int64_t images) = 0;
};

struct SourceOptions {
  CompileOptions compile;
  bool disk = true;
  std::string directory; ///< empty: the default
  uint64_t maxBytes = 0, maxKernels = 0;
};

/// Does not start a compiler before a kernel is found nowhere.
Expected<std::unique_ptr<KernelSource>> makeKernelSource(SourceOptions options);

} // namespace convjit::capi

#endif // CONVJIT_CAPI_KERNELSOURCE_H
