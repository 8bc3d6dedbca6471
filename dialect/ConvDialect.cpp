//===- ConvDialect.cpp - registration of the conv dialect -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "ConvDialect.h"

#include "mlir/IR/DialectImplementation.h"

using namespace mlir;
using namespace convjit::conv;

#include "ConvDialect.cpp.inc"
#include "ConvEnums.cpp.inc"

#define GET_OP_CLASSES
#include "ConvOps.cpp.inc"

void ConvDialect::initialize() {
  registerAttributes();
  addOperations<
#define GET_OP_LIST
#include "ConvOps.cpp.inc"
      >();
}
