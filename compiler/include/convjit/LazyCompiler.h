//===- LazyCompiler.h - a compiler once one is needed -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef CONVJIT_LAZYCOMPILER_H
#define CONVJIT_LAZYCOMPILER_H

#include "convjit/Compiler.h"

#include <mutex>

namespace convjit {

/// Starts LLVM when something is compiled, not before: kernels that are found
/// need none of it. Thread-safe.
class LazyCompiler {
public:
  /// The same compiler each time; it lives as long as this. Errors: those of
  /// Compiler::create, after which the next call tries again.
  Expected<const Compiler *> get() {
    std::lock_guard lock(mutex);
    if (!compiler) {
      Expected<std::unique_ptr<Compiler>> made = Compiler::create();
      if (!made)
        return made.takeError();
      compiler = std::move(*made);
    }
    return static_cast<const Compiler *>(compiler.get());
  }

private:
  std::mutex mutex;
  std::unique_ptr<Compiler> compiler;
};

} // namespace convjit

#endif // CONVJIT_LAZYCOMPILER_H
