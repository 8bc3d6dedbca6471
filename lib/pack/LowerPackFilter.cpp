//===- LowerPackFilter.cpp - conv.pack_filter by elements -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "pack/LowerPackFilter.h"
#include "support/IndexMath.h"
#include "support/LiveTable.h"

#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/SymbolTable.h"

using namespace mlir;
using namespace convjit;
using namespace convjit::conv;

PackSource::PackSource(PackFilterOp op)
    : op(op), filter(cast<MemRefType>(op.getFilter().getType())),
      packed(cast<MemRefType>(op.getPacked().getType())),
      rank(op.getDimensionNumbers().getRank()), laneAxis(rank + 2),
      inputAxis(rank + 1), splits(rank) {
  DimensionNumbersAttr numbers = op.getDimensionNumbers();
  int64_t groups = op.getGroups();
  int64_t perGroup = filter.getDimSize(numbers.getKernelOutputFeature());
  if (!op.getSwappedFilter())
    perGroup /= groups;
  if (op.getLanes() == Lanes::Reduction)
    std::swap(laneAxis, inputAxis);
  reduction = filter.getDimSize(numbers.getKernelInputFeature());
  if (op.getSwappedFilter())
    reduction /= groups;
  channels = {op.getLanes(), groups, perGroup, packed.getDimSize(laneAxis)};
  if (op.getSplits())
    for (auto [dim, split] :
         llvm::enumerate(op.getSplits()->getAsRange<PhaseSplitAttr>()))
      if (split.isMerged()) {
        splits[dim] = split;
        channels.phases *= split.getLanePhases();
      }
}

LogicalResult PackSource::makeMask(OpBuilder &b) {
  if (!op.getMask())
    return success();
  auto dense = dyn_cast<DenseElementsAttr>(*op.getMask());
  if (!dense || !isa<FloatType>(dense.getElementType()))
    return op.emitOpError("mask: valid: dense elements of a float type");
  auto element = cast<FloatType>(filter.getElementType());
  auto values = llvm::map_to_vector(dense.getValues<APFloat>(), [&](APFloat v) {
    bool losesInfo;
    v.convert(element.getFloatSemantics(), APFloat::rmNearestTiesToEven,
              &losesInfo);
    return v;
  });
  Operation *module = op->getParentWithTrait<OpTrait::SymbolTable>();
  OpBuilder outer(module->getContext());
  auto global = memref::GlobalOp::create(
      outer, op.getLoc(), "mask", outer.getStringAttr("private"), filter,
      DenseElementsAttr::get(RankedTensorType::get(filter.getShape(), element),
                             values),
      /*constant=*/true, /*alignment=*/IntegerAttr());
  SymbolTable(module).insert(global, module->getRegion(0).front().begin());
  mask =
      memref::GetGlobalOp::create(b, op.getLoc(), filter, global.getSymName());
  return success();
}

Value PackSource::masked(Value weight, Value factor, OpBuilder &b,
                         Location loc) {
  Value product = arith::MulFOp::create(b, loc, weight, factor);
  // Absent, even where the weight is infinite or NaN.
  Value zero =
      arith::ConstantOp::create(b, loc, b.getZeroAttr(weight.getType()));
  Value absent =
      arith::CmpFOp::create(b, loc, arith::CmpFPredicate::OEQ, factor, zero);
  return arith::SelectOp::create(b, loc, absent, zero, product);
}

PackSource::Place PackSource::of(ArrayRef<Value> to, OpBuilder &b) const {
  Location loc = PackFilterOp(op).getLoc();
  PackFilterOp op = this->op;
  IndexMath math{b, loc};
  DimensionNumbersAttr numbers = op.getDimensionNumbers();
  Place place;
  auto require = [&](Value condition) {
    if (getConstantIntValue(condition) == 1)
      return;
    place.present = math.both(place.present, condition);
  };
  using Predicate = arith::CmpIPredicate;

  Value outer = to[0], lane = to[laneAxis], input = to[inputAxis];
  Value block = math.takeDigit(outer, channels.blocksPerGroup());
  Value inner = math.add(math.mul(block, channels.width), lane);
  Value group = outer, channel = inner;
  if (channels.lanes == Lanes::Groups) {
    group = inner;
    channel = math.takeDigit(group, channels.perGroup);
  }
  Value phases = channel;
  if (channels.phases > 1)
    channel = math.takeDigit(phases, channels.perGroup);
  if (packed.getDimSize(inputAxis) != reduction)
    require(math.compare(Predicate::slt, input, math.constant(reduction)));
  if (op.getSwappedFilter())
    input = math.add(math.mul(group, reduction), input);
  else
    channel = math.add(math.mul(group, channels.perGroup), channel);
  place.from.resize(rank + 2);
  place.from[numbers.getKernelInputFeature()] = input;
  place.from[numbers.getKernelOutputFeature()] = channel;
  if (channels.tail() != 0)
    require(math.compare(Predicate::slt, inner,
                         math.constant(channels.lanesInRun())));
  for (int64_t dim = rank - 1; dim >= 0; --dim) {
    Value tap = to[1 + dim];
    int64_t last = filter.getDimSize(numbers.getKernelSpatial()[dim]) - 1;
    if (PhaseSplitAttr split = splits[dim]) {
      Value phase = math.takeDigit(phases, split.getLanePhases());
      tap = math.add(
          math.mul(tap, split.getLaneTapStep()),
          lookUp(op, b, split.getLaneFirstTap(), phase, "lane_first_tap"));
      if (!hasUniformLanes(split)) {
        SmallVector<int64_t> first, end;
        for (int64_t lane = 0; lane < split.getLanePhases(); ++lane) {
          auto [lo, hi] = split.laneTapRange(lane);
          first.push_back(lo);
          end.push_back(hi);
        }
        require(math.compare(Predicate::sge, to[1 + dim],
                             lookUp(op, b, first, phase, "lane_tap_lo")));
        require(math.compare(Predicate::slt, to[1 + dim],
                             lookUp(op, b, end, phase, "lane_tap_hi")));
      }
    }
    place.from[numbers.getKernelSpatial()[dim]] =
        op.getReversal()[dim] ? math.sub(math.constant(last), tap) : tap;
  }
  return place;
}

LogicalResult
convjit::lowerPackFilter(PackFilterOp op, OpBuilder &b,
                         function_ref<void(PackElement)> forEach) {
  Location loc = op.getLoc();
  PackSource source(op);
  if (source.packed.getNumElements() == 0)
    return success();
  if (failed(source.makeMask(b)))
    return failure();
  forEach([&](ArrayRef<Value> to) {
    PackSource::Place place = source.of(to, b);
    auto store = [&](Value value) {
      memref::StoreOp::create(b, loc, value, op.getPacked(), to);
    };
    auto existing = [&] {
      Value value = memref::LoadOp::create(b, loc, op.getFilter(), place.from);
      if (source.mask)
        value = PackSource::masked(
            value, memref::LoadOp::create(b, loc, source.mask, place.from), b,
            loc);
      store(value);
    };
    IndexMath{b, loc}.branch(place.present, existing, [&] {
      store(arith::ConstantOp::create(
          b, loc, b.getZeroAttr(source.filter.getElementType())));
    });
  });
  return success();
}
