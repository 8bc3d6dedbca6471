//===- SumLines.cpp - lines of sums on their way to memory -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "outer/SumLines.h"
#include "outer/OuterPieces.h"
#include "vector/VectorPieces.h"

#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace convjit;

SumLines::SumLines(OpBuilder &b, Location loc, Value target, Value first,
                   Value residual)
    : b(b), loc(loc), math{b, loc},
      element(cast<MemRefType>(target.getType()).getElementType()),
      target(flatBuffer(b, loc, target)), first(first) {
  if (residual)
    addend = math.select(first, flatBuffer(b, loc, residual), this->target);
  else if (!getConstantIntValue(first))
    addend = this->target;
  clears = addend && !residual;
}

void SumLines::start(function_ref<void()> clear) {
  if (clears)
    math.branch(first, clear);
}

void SumLines::zero(Value at, int64_t count) {
  int64_t most = lineElements(element.getIntOrFloatBitWidth());
  auto zeros = [&](Value from, int64_t size) {
    auto type = VectorType::get(
        {static_cast<int64_t>(llvm::bit_ceil<uint64_t>(size))}, element);
    Value none = arith::ConstantOp::create(b, loc, b.getZeroAttr(type));
    storePieces(b, loc, none, size, [&](LanePiece piece, Value part) {
      vector::StoreOp::create(b, loc, part, target,
                              math.add(from, piece.first));
    });
  };
  int64_t whole = count / most * most;
  math.loop(math.constant(0), math.constant(whole), most,
            [&](Value i) { zeros(math.add(at, i), most); });
  if (whole < count)
    zeros(math.add(at, whole), count - whole);
}

void SumLines::put(Value line, Value at) {
  if (addend)
    line = arith::AddFOp::create(
        b, loc,
        vector::LoadOp::create(b, loc, cast<VectorType>(line.getType()), addend,
                               at),
        line);
  vector::StoreOp::create(b, loc, line, target, at);
}
