//===- BlockWork.cpp - which part of the work a thread block has -*- C++
//-*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "BlockWork.h"
#include "PhaseTables.h"
#include "support/IndexMath.h"

#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace convjit;
using namespace convjit::conv;

void convjit::buildBlock(PhasesOp op, const BlockSpace &space, Value output,
                         OpBuilder &b) {
  Location loc = op.getLoc();
  IndexMath math{b, loc}, narrow{b, loc, b.getI32Type()};
  int64_t rank = op.getRank();
  DimensionNumbersAttr numbers = op.getDimensionNumbers();
  // Fewer than 2^31 blocks: digits by arithmetic in 32 bits.
  Value number = narrow.cast(gpu::BlockIdOp::create(b, loc, gpu::Dimension::x));
  auto digit = [&](int64_t radix) {
    return math.cast(narrow.takeDigit(number, radix));
  };
  Value channels = digit(space.channels.blocks());
  Value part =
      space.plan.getSplit() > 1 ? digit(space.plan.getSplit()) : Value();
  SmallVector<Value> phase(rank), at(rank);
  for (int64_t dim = rank - 1; dim >= 0; --dim)
    phase[dim] = digit(space.phases(dim));
  ArrayRef<int64_t> box = space.plan.getBox();
  for (int64_t dim = rank - 1; dim >= 0; --dim)
    at[dim] = math.mul(digit(space.boxes(dim)), box[1 + dim]);
  Value image = math.mul(math.cast(number), box[0]);
  Value images =
      memref::DimOp::create(b, loc, output, numbers.getOutputBatch());
  if (part)
    images = b.createOrFold<arith::DivUIOp>(
        loc, images, math.constant(space.plan.getSplit()));

  using Predicate = arith::CmpIPredicate;
  Value exists, interior;
  auto both = [&](Value &all, Value condition) {
    all = math.both(all, condition);
  };
  if (box[0] > 1)
    both(interior,
         math.compare(Predicate::sle, math.add(image, box[0]), images));
  for (int64_t dim = 0; dim < rank; ++dim) {
    PhaseSplitAttr split = space.splits[dim];
    int64_t size = box[1 + dim], phases = space.phases(dim);
    SmallVector<int64_t> lengths, lowest, highest;
    for (int64_t r = 0; r < phases; ++r) {
      lengths.push_back(phaseLength(split, r));
      // The first and the last pixel that reads only the input.
      int64_t base = split.getBase()[r], taps = split.getTaps()[r];
      int64_t reach =
          base + std::max<int64_t>(taps - 1, 0) * split.getInputTapStep();
      int64_t step = split.getInputStep();
      int64_t lo = taps ? llvm::divideCeilSigned(-base, step) : 0;
      int64_t hi =
          taps ? llvm::divideFloorSigned(split.getInput() - 1 - reach, step)
               : lengths.back() - 1;
      lowest.push_back(std::max<int64_t>(lo, 0));
      highest.push_back(std::min(hi, lengths.back() - 1));
    }
    Value first = at[dim], last = math.add(first, size - 1);
    // Phases differ by one pixel in length, so that a box of one of them may
    // have nothing to do.
    int64_t boxed = (space.boxes(dim) - 1) * size;
    if (llvm::any_of(lengths, [&](int64_t n) { return n <= boxed; }))
      both(exists, math.compare(Predicate::slt, first,
                                phaseValue(op, math, lengths, phase[dim],
                                           "phase_lengths")));
    int64_t end = boxed + size - 1;
    if (llvm::any_of(lowest, [&](int64_t lo) { return lo > 0; }))
      both(interior, math.compare(Predicate::sge, first,
                                  phaseValue(op, math, lowest, phase[dim],
                                             "interior_lowest")));
    if (llvm::any_of(highest, [&](int64_t hi) { return hi < end; }))
      both(interior, math.compare(Predicate::sle, last,
                                  phaseValue(op, math, highest, phase[dim],
                                             "interior_highest")));
  }
  // Sums of parts are all that is stored; the rest is for who adds them.
  Value bias = part ? Value() : op.getBias();
  Value residual = part ? Value() : op.getResidual();
  EpilogueAttr epilogue = part ? EpilogueAttr() : op.getEpilogueAttr();
  auto work = [&](bool isInterior) {
    BlockOp::create(b, loc, op.getInput(), op.getFilter(), bias, residual,
                    output, image, phase, at, channels, op.getSplitsAttr(),
                    numbers, op.getFeatureGroupCount(), op.getBatchGroupCount(),
                    part, space.reduction, isInterior, epilogue,
                    op.getGpuPlanAttr());
  };
  math.branch(exists, [&] {
    math.branch(interior, [&] { work(true); }, [&] { work(false); });
  });
}
