//===- OuterPieces.cpp - the pixels of outer products, piece by piece -*- C++
//-*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "outer/OuterPieces.h"
#include "outer/OuterProducts.h"
#include "support/IndexMath.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"

using namespace mlir;
using namespace convjit;
using namespace convjit::conv;

TensorStrides::TensorStrides(OpBuilder &b, Location loc, Value tensor)
    : b(b), loc(loc) {
  auto type = cast<MemRefType>(tensor.getType());
  int64_t rank = type.getRank();
  known.assign(rank, 1);
  scaled.assign(rank, false);
  if (!type.getLayout().isIdentity()) {
    known = stridesOf(type);
    return;
  }
  for (int64_t axis = rank - 1; axis >= 0; --axis) {
    known[axis] = all;
    scaled[axis] = static_cast<bool>(size);
    if (type.isDynamicDim(axis))
      size = memref::DimOp::create(b, loc, tensor, axis);
    else
      all *= type.getDimSize(axis);
  }
}

Value TensorStrides::of(int64_t axis) {
  IndexMath math{b, loc};
  Value stride = math.constant(known[axis]);
  return scaled[axis] ? math.mul(size, stride) : stride;
}

Value TensorStrides::elements() {
  IndexMath math{b, loc};
  return size ? math.mul(size, all) : math.constant(all);
}

/// One more argument of the operation's function, before the range of tasks.
static Value addScratch(PhasesOp op) {
  auto func = op->getParentOfType<func::FuncOp>();
  OpBuilder b(func);
  auto output = cast<MemRefType>(op.getOutput().getType());
  unsigned at = func.getNumArguments() - 2;
  LogicalResult inserted = func.insertArgument(
      at, MemRefType::get({ShapedType::kDynamic}, output.getElementType()),
      b.getDictionaryAttr(
          b.getNamedAttr("conv.operand", b.getStringAttr("scratch"))),
      op.getLoc());
  assert(succeeded(inserted) && "a function of this file's caller");
  (void)inserted;
  return func.getArgument(at);
}

Value convjit::flatBuffer(OpBuilder &b, Location loc, Value buffer) {
  IndexMath math{b, loc};
  auto layout =
      StridedLayoutAttr::get(b.getContext(), ShapedType::kDynamic, {1});
  auto type = MemRefType::get(
      {ShapedType::kDynamic},
      cast<MemRefType>(buffer.getType()).getElementType(), layout);
  OpFoldResult zero = math.constant(0), size = math.constant(1),
               one = b.getIndexAttr(1);
  return memref::ReinterpretCastOp::create(b, loc, type, buffer, zero, size,
                                           one);
}

static OuterBlock pieceOf(ArrayRef<int64_t> extents, int64_t chunks) {
  int64_t all = 1;
  for (int64_t extent : extents)
    all *= extent;
  return outerBlock(extents, llvm::divideCeil(all, chunks));
}

static SmallVector<int64_t>
extentsOf(ArrayRef<std::pair<int64_t, int64_t>> box) {
  return llvm::map_to_vector(box,
                             [](std::pair<int64_t, int64_t> range) -> int64_t {
                               return range.second - range.first;
                             });
}

SmallVector<int64_t>
convjit::pieceExtents(ArrayRef<std::pair<int64_t, int64_t>> box,
                      int64_t chunks) {
  SmallVector<int64_t> extents = extentsOf(box);
  OuterBlock block = pieceOf(extents, chunks);
  std::fill_n(extents.begin(), block.dim, 1);
  extents[block.dim] = block.size;
  return extents;
}

void convjit::forOuterPieces(
    PhasesOp op, OpBuilder &b, ArrayRef<std::pair<int64_t, int64_t>> box,
    int64_t chunks, Value tasks,
    llvm::function_ref<void(const OuterPiece &)> body) {
  using Predicate = arith::CmpIPredicate;
  Location loc = op.getLoc();
  IndexMath math{b, loc};
  auto dims = static_cast<int64_t>(box.size());
  SmallVector<int64_t> extents = extentsOf(box);
  OuterBlock block = pieceOf(extents, chunks);
  int64_t count = llvm::divideCeil(extents[block.dim], block.size);
  for (int64_t dim = 0; dim < block.dim; ++dim)
    count *= extents[dim];
  op->getParentOfType<func::FuncOp>()->setAttr("conv.pieces",
                                               b.getI64IntegerAttr(count));

  OuterPiece piece;
  piece.aheadDim = block.dim;
  piece.aheadSize = block.size;
  for (auto [lo, hi] : box)
    piece.ranges.push_back({math.constant(lo), math.constant(hi)});
  piece.firstTask = op.getFirstTask();
  piece.lastTask = op.getLastTask();
  piece.output = op.getOutput();
  piece.at = math.constant(0);
  if (count == 1) {
    piece.first = arith::ConstantIntOp::create(b, loc, b.getI1Type(), 1);
    return body(piece);
  }

  Value scratch = addScratch(op);
  Value address =
      memref::ExtractAlignedPointerAsIndexOp::create(b, loc, scratch);
  Value zero = math.constant(0);
  Value isShared = math.compare(Predicate::ne, address, zero);
  // Of no images there is no task; divisions want one.
  Value each = math.max(tasks, math.constant(1));
  auto quotient = [&](Value x) {
    return b.createOrFold<arith::DivUIOp>(loc, x, each);
  };
  Value begin = math.select(isShared, quotient(op.getFirstTask()), zero);
  Value end = math.select(
      isShared,
      quotient(math.add(op.getLastTask(), math.sub(each, math.constant(1)))),
      math.constant(count));
  Value outputs = flatBuffer(b, loc, op.getOutput()),
        sums = flatBuffer(b, loc, scratch);
  Value elements = TensorStrides(b, loc, op.getOutput()).elements();
  math.loop(begin, end, 1, [&](Value number) {
    Value before = math.mul(number, each);
    auto own = [&](Value task) {
      return math.select(isShared,
                         math.clamp(math.sub(task, before), zero, each), task);
    };
    piece.firstTask = own(op.getFirstTask());
    piece.lastTask = own(op.getLastTask());
    piece.first = math.compare(Predicate::eq, number, zero);
    // What is told out starts anew, unless that would repeat the residual:
    // then scratch holds zeros.
    if (!op.getResidual())
      piece.first = b.createOrFold<arith::OrIOp>(loc, piece.first, isShared);
    // The sums of the first piece are the output's.
    Value apart = b.createOrFold<arith::AndIOp>(
        loc, isShared, math.compare(Predicate::ne, number, zero));
    piece.output = math.select(apart, sums, outputs);
    piece.at = math.select(
        apart, math.mul(math.sub(number, math.constant(1)), elements), zero);
    Value rest = number;
    for (int64_t dim = std::min(block.dim, dims - 1); dim >= 0; --dim) {
      int64_t size = dim == block.dim ? block.size : 1;
      auto [lo, hi] = box[dim];
      Value digit = math.takeDigit(rest, llvm::divideCeil(hi - lo, size));
      Value from = math.add(math.mul(digit, size), lo);
      piece.ranges[dim] = {from,
                           math.min(math.add(from, size), math.constant(hi))};
    }
    body(piece);
  });
}
