//===- CachePlace.h - where kernels lie on disk -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef CONVJIT_COMPILER_CACHEPLACE_H
#define CONVJIT_COMPILER_CACHEPLACE_H

#include "DiskStore.h"
#include "convjit/KernelCache.h"

namespace convjit {

/// Opens the store that the options and the environment (CONVJIT_CACHE,
/// CONVJIT_CACHE_DIR, CONVJIT_CACHE_SIZE) say. Errors: it is turned off, there
/// is no place for it, a variable's value is none that is known.
Expected<std::unique_ptr<DiskStore>>
openStore(const KernelCacheOptions &options);

/// What a kernel on disk is found by: the layer, the CPU or GPU, this build of
/// the compiler and what else was asked for, one a line. `conv` is valid.
std::string cacheKey(const Convolution &conv, const CompileOptions &options);

/// The part of a key after `field` and a space, up to the line's end.
std::string keyField(const std::string &key, const std::string &field);

} // namespace convjit

#endif // CONVJIT_COMPILER_CACHEPLACE_H
