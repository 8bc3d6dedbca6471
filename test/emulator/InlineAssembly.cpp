//===- InlineAssembly.cpp - PTX in inline assembly -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Rewrite.h"

#include "llvm/IR/InlineAsm.h"

using namespace convjit;
using namespace convjit::emulator;

Status FunctionRewriter::assembly(llvm::CallInst &call) {
  auto *text = llvm::cast<llvm::InlineAsm>(call.getCalledOperand());
  return badInput(("the emulator does not model the inline assembly \"" +
                   text->getAsmString() + "\", in " + function.getName())
                      .str());
}
