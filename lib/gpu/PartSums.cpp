//===- PartSums.cpp - sums of parts of a reduction -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "PartSums.h"
#include "support/IndexMath.h"
#include "tile/Epilogue.h"

#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace convjit;
using namespace convjit::conv;

Type convjit::sumType(Type stored) {
  return stored.getIntOrFloatBitWidth() < 32
             ? Type(Float32Type::get(stored.getContext()))
             : stored;
}

static int64_t elementsPerImage(PhasesOp op) {
  auto type = cast<MemRefType>(op.getOutput().getType());
  return imageBytes(type) * 8 / type.getElementTypeBitWidth();
}

int64_t convjit::addBlocksPerImage(PhasesOp op) {
  return llvm::divideCeil(elementsPerImage(op), addThreads);
}

void convjit::addParts(PhasesOp op, Value sums, OpBuilder &b) {
  Location loc = op.getLoc();
  IndexMath math{b, loc};
  int64_t batch = op.getDimensionNumbers().getOutputBatch();
  int64_t feature = op.getDimensionNumbers().getOutputFeature();
  int64_t parts = op.getGpuPlanAttr().getSplit();
  auto type = cast<MemRefType>(op.getOutput().getType());
  Value image = gpu::BlockIdOp::create(b, loc, gpu::Dimension::x);
  Value number = math.takeDigit(image, addBlocksPerImage(op));
  number = math.add(math.mul(number, addThreads),
                    Value(gpu::ThreadIdOp::create(b, loc, gpu::Dimension::x)));
  Value images = memref::DimOp::create(b, loc, op.getOutput(), batch);
  auto add = [&] {
    // Neighbouring threads have neighbours in memory, but for the batch.
    SmallVector<Value> at(type.getRank());
    Value rest = number;
    for (int64_t axis = type.getRank() - 1; axis >= 0; --axis)
      if (axis != batch)
        at[axis] = math.takeDigit(rest, type.getDimSize(axis));
    at[batch] = image;
    auto load = [&](Value buffer, ValueRange at) -> Value {
      Value value = memref::LoadOp::create(b, loc, buffer, at);
      Type wide = sumType(value.getType());
      if (wide != value.getType())
        value = arith::ExtFOp::create(b, loc, wide, value);
      return value;
    };
    Value sum = load(sums, at);
    for (int64_t part = 1; part < parts; ++part) {
      SmallVector<Value> from(at);
      from[batch] = math.add(image, math.mul(images, part));
      sum = arith::AddFOp::create(b, loc, sum, load(sums, from));
    }
    if (Value bias = op.getBias())
      sum = arith::AddFOp::create(b, loc, sum, load(bias, at[feature]));
    if (Value residual = op.getResidual())
      sum = arith::AddFOp::create(b, loc, sum, load(residual, at));
    if (EpilogueAttr epilogue = op.getEpilogueAttr())
      sum = activate(b, loc, epilogue, sum);
    if (sum.getType() != type.getElementType())
      sum = arith::TruncFOp::create(b, loc, type.getElementType(), sum);
    memref::StoreOp::create(b, loc, sum, op.getOutput(), at);
  };
  int64_t elements = elementsPerImage(op);
  if (elements % addThreads == 0)
    return add();
  math.branch(
      math.compare(arith::CmpIPredicate::slt, number, math.constant(elements)),
      add);
}
