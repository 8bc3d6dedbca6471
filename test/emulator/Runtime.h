//===- Runtime.h - what compiled kernels call -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef CONVJIT_TEST_EMULATOR_RUNTIME_H
#define CONVJIT_TEST_EMULATOR_RUNTIME_H

#include <string_view>

namespace convjit::emulator {

/// The address of what a compiled kernel refers to by this name: the emulator's
/// own functions (`convjit_emu_...`), libdevice's (`__nv_expf`), what LLVM's
/// code generator calls (`expf`, `memcpy`, conversions of half). Null if there
/// is none.
void *runtimeFunction(std::string_view name);

} // namespace convjit::emulator

#endif // CONVJIT_TEST_EMULATOR_RUNTIME_H
