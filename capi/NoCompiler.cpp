//===- NoCompiler.cpp - what libconvjit_runtime says of itself -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "convjit/convjit.h"

int32_t convjit_has_compiler() { return 0; }
