//===- LowerPackFilter.cpp - conv.pack_filter to loops -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "LowerPackFilter.h"
#include "Geometry.h"
#include "IndexMath.h"
#include "LiveTable.h"

#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/SymbolTable.h"

using namespace mlir;
using namespace convjit;
using namespace convjit::conv;

/// The mask as a constant array of the filter's type.
static FailureOr<Value> maskArray(PackFilterOp op, OpBuilder &b) {
  auto mask = dyn_cast<DenseElementsAttr>(*op.getMask());
  if (!mask || !isa<FloatType>(mask.getElementType()))
    return op.emitOpError("mask: valid: dense elements of a float type");
  auto filter = cast<MemRefType>(op.getFilter().getType());
  auto element = cast<FloatType>(filter.getElementType());
  auto values = llvm::map_to_vector(mask.getValues<APFloat>(), [&](APFloat v) {
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
  return Value(
      memref::GetGlobalOp::create(b, op.getLoc(), filter, global.getSymName()));
}

LogicalResult
convjit::lowerPackFilter(PackFilterOp op, OpBuilder &b,
                         function_ref<void(PackElement)> forEach) {
  Location loc = op.getLoc();
  IndexMath math{b, loc};
  DimensionNumbersAttr numbers = op.getDimensionNumbers();
  int64_t rank = numbers.getRank();
  auto filter = cast<MemRefType>(op.getFilter().getType());
  auto packed = cast<MemRefType>(op.getPacked().getType());
  if (packed.getNumElements() == 0)
    return success();
  int64_t groups = op.getGroups();
  int64_t perGroup = filter.getDimSize(numbers.getKernelOutputFeature());
  if (!op.getSwappedFilter())
    perGroup /= groups;
  // The axes of packed lanes and input channels.
  int64_t laneAxis = rank + 2, inputAxis = rank + 1;
  if (op.getLanes() == Lanes::Reduction)
    std::swap(laneAxis, inputAxis);
  int64_t reduction = filter.getDimSize(numbers.getKernelInputFeature());
  if (op.getSwappedFilter())
    reduction /= groups;
  ChannelBlocks channels{op.getLanes(), groups, perGroup,
                         packed.getDimSize(laneAxis)};
  SmallVector<PhaseSplitAttr> splits(rank);
  if (op.getSplits())
    for (auto [dim, split] :
         llvm::enumerate(op.getSplits()->getAsRange<PhaseSplitAttr>()))
      if (split.isMerged()) {
        splits[dim] = split;
        channels.phases *= split.getLanePhases();
      }
  Value mask;
  if (op.getMask()) {
    FailureOr<Value> array = maskArray(op, b);
    if (failed(array))
      return failure();
    mask = *array;
  }
  Value zero =
      arith::ConstantOp::create(b, loc, b.getZeroAttr(filter.getElementType()));

  forEach([&](ArrayRef<Value> to) {
    // The filter element of this packed element.
    Value outer = to[0], lane = to[laneAxis], input = to[inputAxis];
    Value block = math.takeDigit(outer, channels.blocksPerGroup());
    Value inner = math.add(math.mul(block, channels.width), lane);
    Value group = outer, channel = inner;
    if (channels.lanes == Lanes::Groups) {
      group = inner;
      channel = math.takeDigit(group, perGroup);
    }
    Value phases = channel;
    if (channels.phases > 1)
      channel = math.takeDigit(phases, channels.perGroup);
    SmallVector<Value> from(rank + 2);
    Value present;
    auto require = [&](Value condition) {
      present = present ? b.createOrFold<arith::AndIOp>(loc, present, condition)
                        : condition;
    };
    using Predicate = arith::CmpIPredicate;
    if (packed.getDimSize(inputAxis) != reduction)
      require(math.compare(Predicate::slt, input, math.constant(reduction)));
    if (op.getSwappedFilter())
      input = math.add(math.mul(group, reduction), input);
    else
      channel = math.add(math.mul(group, perGroup), channel);
    from[numbers.getKernelInputFeature()] = input;
    from[numbers.getKernelOutputFeature()] = channel;
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
      from[numbers.getKernelSpatial()[dim]] =
          op.getReversal()[dim] ? math.sub(math.constant(last), tap) : tap;
    }
    auto store = [&](Value value) {
      memref::StoreOp::create(b, loc, value, op.getPacked(), to);
    };
    auto existing = [&] {
      Value value = memref::LoadOp::create(b, loc, op.getFilter(), from);
      if (mask) {
        Value factor = memref::LoadOp::create(b, loc, mask, from);
        Value product = arith::MulFOp::create(b, loc, value, factor);
        // Absent, even where the weight is infinite or NaN.
        Value absent = arith::CmpFOp::create(b, loc, arith::CmpFPredicate::OEQ,
                                             factor, zero);
        value = arith::SelectOp::create(b, loc, absent, zero, product);
      }
      store(value);
    };
    if (!present)
      return existing();
    math.branch(present, existing, [&] { store(zero); });
  });
  return success();
}

LogicalResult convjit::lowerPackFilter(PackFilterOp op, OpBuilder &b) {
  IndexMath math{b, op.getLoc()};
  ArrayRef<int64_t> shape =
      cast<MemRefType>(op.getPacked().getType()).getShape();
  return lowerPackFilter(op, b, [&](PackElement pack) {
    SmallVector<Value> to;
    std::function<void()> nest = [&] {
      size_t axis = to.size();
      if (axis == shape.size())
        return pack(to);
      math.loop(math.constant(0), math.constant(shape[axis]), 1, [&](Value i) {
        to.push_back(i);
        nest();
        to.pop_back();
      });
    };
    nest();
  });
}
