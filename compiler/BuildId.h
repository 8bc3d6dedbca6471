//===- BuildId.h - which build of the compiler this is -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef CONVJIT_COMPILER_BUILDID_H
#define CONVJIT_COMPILER_BUILDID_H

#include <string>

namespace convjit {

/// The GNU build id, in hexadecimal, of the library or program that holds the
/// compiler: the linker's hash of all that is in it, LLVM included. Empty when
/// it was linked without (-Wl,--build-id).
const std::string &buildId();

} // namespace convjit

#endif // CONVJIT_COMPILER_BUILDID_H
