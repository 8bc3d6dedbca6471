//===- Views.cpp - strided views of tensors -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "support/Views.h"
#include "geometry/Geometry.h"
#include "support/IndexMath.h"

#include "mlir/Dialect/MemRef/IR/MemRef.h"

using namespace mlir;
using namespace convjit;

Value convjit::tensorView(OpBuilder &b, Location loc, Value tensor,
                          ArrayRef<Value> at, ArrayRef<ViewAxis> axes) {
  IndexMath math{b, loc};
  auto type = cast<MemRefType>(tensor.getType());
  int64_t rank = type.getRank();
  // Strides are `known[axis]` elements, times the dynamic size for the axes
  // before the dynamic one.
  SmallVector<int64_t> known(rank, 1);
  SmallVector<bool> scaled(rank, false);
  Value dynamicSize;
  bool hasGaps = !type.getLayout().isIdentity();
  if (hasGaps)
    known = stridesOf(type);
  for (int64_t axis = rank - 1, stride = 1; axis >= 0 && !hasGaps; --axis) {
    known[axis] = stride;
    scaled[axis] = static_cast<bool>(dynamicSize);
    if (type.isDynamicDim(axis))
      dynamicSize =
          axis ? Value(memref::DimOp::create(b, loc, tensor, axis)) : Value();
    else
      stride *= type.getDimSize(axis);
  }
  auto scale = [&](Value value, int64_t axis) {
    value = math.mul(value, known[axis]);
    return scaled[axis] ? b.createOrFold<arith::MulIOp>(loc, value, dynamicSize)
                        : value;
  };
  Value offset = math.constant(0);
  for (int64_t axis = 0; axis < rank; ++axis)
    offset = math.add(offset, scale(at[axis], axis));

  SmallVector<OpFoldResult> sizes, strides;
  SmallVector<int64_t> shape, strideValues;
  for (ViewAxis axis : axes) {
    shape.push_back(axis.size);
    sizes.push_back(b.getIndexAttr(axis.size));
    if (scaled[axis.axis]) {
      strides.push_back(scale(math.constant(axis.step), axis.axis));
      strideValues.push_back(ShapedType::kDynamic);
    } else {
      strideValues.push_back(known[axis.axis] * axis.step);
      strides.push_back(b.getIndexAttr(strideValues.back()));
    }
  }
  auto layout = StridedLayoutAttr::get(b.getContext(), ShapedType::kDynamic,
                                       strideValues);
  auto result = MemRefType::get(shape, type.getElementType(), layout);
  return memref::ReinterpretCastOp::create(
      b, loc, result, tensor, OpFoldResult(offset), sizes, strides);
}

Value convjit::bytesOf(OpBuilder &b, Location loc, Value buffer) {
  IndexMath math{b, loc};
  auto type = cast<MemRefType>(buffer.getType());
  int64_t bytes = imageBytes(type);
  for (int64_t axis = 0; axis < type.getRank(); ++axis)
    if (type.isDynamicDim(axis))
      return math.mul(memref::DimOp::create(b, loc, buffer, axis), bytes);
  return math.constant(bytes);
}

Value convjit::matrixView(OpBuilder &b, Location loc, Value matrix,
                          OpFoldResult row, OpFoldResult column, int64_t rows,
                          int64_t columns) {
  OpFoldResult one = b.getIndexAttr(1);
  return memref::SubViewOp::create(
      b, loc, matrix, ArrayRef<OpFoldResult>{row, column},
      ArrayRef<OpFoldResult>{b.getIndexAttr(rows), b.getIndexAttr(columns)},
      ArrayRef<OpFoldResult>{one, one});
}

Value convjit::entryBuffer(func::FuncOp func, MemRefType type, StringRef name) {
  Block &entry = func.getBody().front();
  OpBuilder b = OpBuilder::atBlockBegin(&entry);
  auto wanted = b.getStringAttr(name);
  for (auto alloca : func.getOps<memref::AllocaOp>())
    if (alloca.getType() == type && alloca->getAttr("conv.buffer") == wanted)
      return alloca;
  // Vectors that straddle lines cannot be forwarded to the loads that follow:
  // one and a half times the whole layer's time where the stack happens to lie
  // so.
  auto alloca = memref::AllocaOp::create(b, func.getLoc(), type,
                                         b.getI64IntegerAttr(lineBytes));
  alloca->setAttr("conv.buffer", wanted);
  return alloca;
}
