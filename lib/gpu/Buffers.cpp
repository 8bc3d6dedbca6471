//===- Buffers.cpp - elements of contiguous buffers -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Buffers.h"

#include "mlir/Dialect/MemRef/IR/MemRef.h"

using namespace mlir;
using namespace convjit;

Value convjit::strideOf(IndexMath &math, Value buffer, int64_t axis) {
  auto type = cast<MemRefType>(buffer.getType());
  int64_t known = 1;
  Value batch;
  for (int64_t later = axis + 1; later < type.getRank(); ++later)
    if (type.isDynamicDim(later))
      batch = math.cast(memref::DimOp::create(math.b, math.loc, buffer, later));
    else
      known *= type.getDimSize(later);
  return batch ? math.mul(batch, known) : math.constant(known);
}

Value convjit::flatRow(IndexMath &math, Value buffer, Value first) {
  auto type = cast<MemRefType>(buffer.getType());
  OpBuilder &b = math.b;
  Value size = math.constant(1);
  for (int64_t axis = 0; axis < type.getRank(); ++axis)
    size =
        type.isDynamicDim(axis)
            ? math.mul(size, memref::DimOp::create(b, math.loc, buffer, axis))
            : math.mul(size, type.getDimSize(axis));
  return memref::ReinterpretCastOp::create(
      b, math.loc, buffer, OpFoldResult(first), ArrayRef<OpFoldResult>{size},
      ArrayRef<OpFoldResult>{b.getIndexAttr(1)});
}

Value convjit::loadOrZero(IndexMath &math, Value condition, Value row,
                          Value at) {
  OpBuilder &b = math.b;
  Location loc = math.loc;
  auto load = [&]() -> Value {
    return memref::LoadOp::create(b, loc, row, math.cast(at));
  };
  if (!condition)
    return load();
  Type type = cast<MemRefType>(row.getType()).getElementType();
  auto either =
      scf::IfOp::create(b, loc, type, condition, /*withElseRegion=*/true);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(either.thenBlock());
  scf::YieldOp::create(b, loc, load());
  b.setInsertionPointToStart(either.elseBlock());
  Value zero = arith::ConstantOp::create(b, loc, b.getZeroAttr(type));
  scf::YieldOp::create(b, loc, zero);
  return either.getResult(0);
}
