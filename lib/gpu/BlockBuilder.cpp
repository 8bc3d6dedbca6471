//===- BlockBuilder.cpp - what the schedules of a thread block share -*- C++
//-*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "BlockBuilder.h"
#include "Buffers.h"
#include "PhaseTables.h"
#include "tile/Epilogue.h"

#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"

using namespace mlir;
using namespace convjit;
using namespace convjit::conv;
using Predicate = arith::CmpIPredicate;

/// Whether any position or distance inside an image may need more than 32 bits.
bool BlockBuilder::needsWide() {
  constexpr int64_t most = int64_t(1) << 30;
  // Strides of axes before the batch depend on it.
  if (numbers.getInputBatch() != 0 || numbers.getOutputBatch() != 0)
    return true;
  auto elements = [](MemRefType type) {
    return imageBytes(type) * 8 / type.getElementTypeBitWidth();
  };
  if (elements(inputType) > most || elements(outputType) > most ||
      filterType.getNumElements() > most)
    return true;
  for (auto split : op.getSplits().getAsRange<PhaseSplitAttr>()) {
    int64_t reach = split.getInput() +
                    split.getOutput() / split.getStep() * split.getInputStep();
    for (auto [base, taps] : llvm::zip(split.getBase(), split.getTaps()))
      if (reach + std::abs(base) + taps * split.getInputTapStep() > most)
        return true;
    // The distance of a tap, in elements; may lie outside the image.
    int64_t span = 0;
    for (int64_t taps : split.getTaps())
      span = std::max(span, taps * split.getInputTapStep());
    if ((span + reach) *
            (elements(inputType) / std::max<int64_t>(split.getInput(), 1)) >
        2 * most)
      return true;
  }
  return false;
}

static ChannelBlocks channelsOf(BlockOp op) {
  // Not that of the output, which may be scratch for sums.
  auto filter = cast<MemRefType>(op.getFilter().getType());
  auto output = cast<MemRefType>(op.getOutput().getType());
  int64_t groups = op.getFeatureGroupCount() * op.getBatchGroupCount();
  int64_t outputs =
      output.getDimSize(op.getDimensionNumbers().getOutputFeature());
  return channelBlocks(op.getGpuPlan(), filter.getElementType(),
                       op.getDimensionNumbers(), groups, outputs / groups);
}

BlockBuilder::BlockBuilder(BlockOp op, OpBuilder &b)
    : op(op), b(b), loc(op.getLoc()), math{b, loc}, num{b, loc},
      plan(op.getGpuPlan()), numbers(op.getDimensionNumbers()),
      channels(channelsOf(op)), rank(op.getRank()),
      reduction(op.getReduction()), interior(op.getInterior()),
      inputType(cast<MemRefType>(op.getInput().getType())),
      outputType(cast<MemRefType>(op.getOutput().getType())),
      filterType(cast<MemRefType>(op.getFilter().getType())) {
  stored = inputType.getElementType();
  storedBytes = inputType.getElementTypeBitWidth() / 8;
  element = storedBytes < 4 ? b.getF32Type() : stored;
  elementBytes = std::max<int64_t>(storedBytes, 4);
  inputChannelsLast = numbers.getInputFeature() == rank + 1;
  outputChannelsLast = numbers.getOutputFeature() == rank + 1;
  num.type = needsWide() ? b.getI64Type() : b.getI32Type();
  thread = num.cast(gpu::ThreadIdOp::create(b, loc, gpu::Dimension::x));
  images =
      memref::DimOp::create(b, loc, op.getOutput(), numbers.getOutputBatch());
  if (op.getPart())
    images = b.createOrFold<arith::DivUIOp>(loc, images,
                                            math.constant(plan.getSplit()));
  for (int64_t dim = 0; dim < rank; ++dim) {
    PhaseSplitAttr split = op.getSplit(dim);
    Value phase = op.getPhase()[dim];
    int64_t phases = std::min(split.getStep(), split.getOutput());
    SmallVector<int64_t> lengths;
    for (int64_t r = 0; r < phases; ++r)
      lengths.push_back(phaseLength(split, r));
    auto value = [&](ArrayRef<int64_t> values, StringRef name) {
      return phaseValue(op, num, values.take_front(phases), phase, name);
    };
    base.push_back(value(split.getBase(), "phase_bases"));
    taps.push_back(value(split.getTaps(), "phase_taps"));
    firstTap.push_back(value(split.getFirstTap(), "phase_first_taps"));
    length.push_back(value(lengths, "phase_lengths"));
  }
}

Type BlockBuilder::typeOf(int64_t size) {
  return size == 1 ? element : VectorType::get({size}, element);
}

BlockPixel BlockBuilder::pixel(Value number) {
  BlockPixel result;
  ArrayRef<int64_t> box = plan.getBox();
  result.at.resize(rank);
  // Neighbours of the box are neighbours in memory.
  Value image;
  if (numbers.getInputBatch() == rank + 1)
    image = num.takeDigit(number, box[0]);
  for (int64_t dim = rank - 1; dim >= 0; --dim) {
    Value inside = num.takeDigit(number, box[1 + dim]);
    result.at[dim] = num.add(num.cast(op.getAt()[dim]), inside);
    // A box of one pixel starts inside, or has nothing to do.
    if (!interior && box[1 + dim] > 1)
      result.exists =
          num.both(result.exists,
                   num.compare(Predicate::slt, result.at[dim], length[dim]));
  }
  result.image = op.getImage();
  if (box[0] > 1) {
    result.image = math.add(result.image, math.cast(image ? image : number));
    if (!interior)
      result.exists = num.both(
          result.exists, math.compare(Predicate::slt, result.image, images));
  }
  return result;
}

Value BlockBuilder::stride(Value buffer, int64_t axis, IndexMath &math) {
  return strideOf(math, buffer, axis);
}

Value BlockBuilder::inputBase(const BlockPixel &pixel) {
  Value image = pixel.image, channel;
  if (channels.groups > 1 && plan.getSchedule() != GPUSchedule::Direct) {
    Value group = op.getChannels();
    math.takeDigit(group, channels.blocksPerGroup());
    if (op.getBatchGroupCount() > 1)
      image = math.add(image, math.mul(group, images));
    else
      channel = math.mul(group, reduction);
  }
  Value input = op.getInput();
  Value at = math.mul(image, stride(input, numbers.getInputBatch(), math));
  if (channel)
    at = math.add(
        at, math.mul(channel, stride(input, numbers.getInputFeature(), math)));
  Value inside = num.constant(0);
  for (int64_t dim = 0; dim < rank; ++dim) {
    Value first = num.add(
        num.mul(pixel.at[dim], op.getSplit(dim).getInputStep()), base[dim]);
    inside = num.add(
        inside,
        num.mul(first, stride(input, numbers.getInputSpatial()[dim], num)));
  }
  return math.add(at, math.cast(inside));
}

SmallVector<Value> BlockBuilder::inputAt(const BlockPixel &pixel) {
  SmallVector<Value> result(rank);
  if (interior)
    return result;
  Value exists = pixel.exists;
  for (int64_t dim = 0; dim < rank; ++dim) {
    PhaseSplitAttr split = op.getSplit(dim);
    bool leaves = exists != nullptr;
    for (auto [phase, base] : llvm::enumerate(split.getBase())) {
      int64_t taps = split.getTaps()[phase];
      int64_t last = phaseLength(split, phase) - 1;
      leaves |=
          taps && (base < 0 || base + last * split.getInputStep() +
                                       (taps - 1) * split.getInputTapStep() >=
                                   split.getInput());
    }
    if (!leaves)
      continue;
    result[dim] =
        num.add(num.mul(pixel.at[dim], split.getInputStep()), base[dim]);
    if (exists) {
      int64_t nowhere = -(int64_t(1) << (num.type.isInteger(32) ? 30 : 60));
      result[dim] = num.select(exists, result[dim], num.constant(nowhere));
    }
    // One is enough.
    exists = Value();
  }
  return result;
}

Value BlockBuilder::tapOffset(ArrayRef<Value> tap) {
  Value offset = num.constant(0);
  for (int64_t dim = 0; dim < rank; ++dim)
    offset = num.add(
        offset,
        num.mul(num.mul(tap[dim], op.getSplit(dim).getInputTapStep()),
                stride(op.getInput(), numbers.getInputSpatial()[dim], num)));
  return offset;
}

Value BlockBuilder::isInside(ArrayRef<Value> inputAt, ArrayRef<Value> tap) {
  Value inside;
  for (int64_t dim = 0; dim < rank; ++dim) {
    if (!inputAt[dim])
      continue;
    PhaseSplitAttr split = op.getSplit(dim);
    Value at =
        num.add(inputAt[dim], num.mul(tap[dim], split.getInputTapStep()));
    // A negative one is large as an unsigned number.
    inside = num.both(inside, num.compare(Predicate::ult, at,
                                          num.constant(split.getInput())));
  }
  return inside;
}

std::pair<Value, Value> BlockBuilder::tapRange(int64_t dim) {
  Value zero = num.constant(0);
  if (interior)
    return {zero, taps[dim]};
  PhaseSplitAttr split = op.getSplit(dim);
  Value at = num.cast(op.getAt()[dim]);
  Value end = num.min(num.add(at, plan.getBox()[1 + dim]), length[dim]);
  // Of the last pixel the first tap that reads no less than 0, of the first one
  // the last that reads less than the length.
  Value low =
      num.add(num.mul(num.add(end, -1), split.getInputStep()), base[dim]);
  Value high = num.add(num.mul(at, split.getInputStep()), base[dim]);
  Value first = num.ceilDiv(num.sub(zero, low), split.getInputTapStep());
  Value last = num.ceilDiv(num.sub(num.constant(split.getInput()), high),
                           split.getInputTapStep());
  first = num.clamp(first, zero, taps[dim]);
  return {first, num.clamp(last, first, taps[dim])};
}

Value BlockBuilder::filterTap(ArrayRef<Value> tap) {
  Value row = num.constant(0);
  for (int64_t dim = 0; dim < rank; ++dim)
    row = num.add(num.mul(row, filterType.getDimSize(1 + dim)),
                  num.add(firstTap[dim],
                          num.mul(tap[dim], op.getSplit(dim).getTapStep())));
  return row;
}

Value BlockBuilder::outputBase(const BlockPixel &pixel) {
  Value output = op.getOutput();
  Value inside = num.constant(0);
  for (int64_t dim = 0; dim < rank; ++dim) {
    Value at = num.add(num.mul(pixel.at[dim], op.getSplit(dim).getStep()),
                       num.cast(op.getPhase()[dim]));
    inside = num.add(
        inside,
        num.mul(at, stride(output, numbers.getOutputSpatial()[dim], num)));
  }
  Value image = pixel.image;
  if (Value part = op.getPart())
    image = math.add(math.mul(part, images), image);
  return math.add(
      math.mul(image, stride(output, numbers.getOutputBatch(), math)),
      math.cast(inside));
}

Value BlockBuilder::row(Value buffer, Value first) {
  return flatRow(math, buffer, first);
}

Value BlockBuilder::load(Value row, Value at, int64_t size) {
  Value index = math.cast(at), value;
  if (size == 1)
    value = memref::LoadOp::create(b, loc, row, index);
  else
    value = vector::LoadOp::create(b, loc, VectorType::get({size}, stored), row,
                                   index, /*nontemporal=*/false,
                                   llvm::MaybeAlign(size * storedBytes));
  if (stored == element)
    return value;
  return arith::ExtFOp::create(b, loc, typeOf(size), value);
}

void BlockBuilder::store(Value value, Value row, Value at) {
  Value index = math.cast(at);
  auto type = dyn_cast<VectorType>(value.getType());
  // Sums of a part are kept as they are.
  Type kept = cast<MemRefType>(row.getType()).getElementType();
  int64_t storedBytes = kept.getIntOrFloatBitWidth() / 8;
  if (kept != element)
    value = arith::TruncFOp::create(
        b, loc, type ? Type(type.clone(kept)) : kept, value);
  if (type)
    vector::StoreOp::create(
        b, loc, value, row, index, /*nontemporal=*/false,
        llvm::MaybeAlign(type.getNumElements() * storedBytes));
  else
    memref::StoreOp::create(b, loc, value, row, index);
}

Value BlockBuilder::zero(int64_t size) {
  return arith::ConstantOp::create(b, loc, b.getZeroAttr(typeOf(size)));
}

Value BlockBuilder::loadIf(Value condition, Value row, Value at, int64_t size) {
  if (!condition)
    return load(row, at, size);
  auto either = scf::IfOp::create(b, loc, typeOf(size), condition,
                                  /*withElseRegion=*/true);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(either.thenBlock());
  scf::YieldOp::create(b, loc, load(row, at, size));
  b.setInsertionPointToStart(either.elseBlock());
  scf::YieldOp::create(b, loc, zero(size));
  return either.getResult(0);
}

void BlockBuilder::finish(Value sums, const BlockPixel &pixel, Value outputBase,
                          Value channel, Value existing) {
  auto vector = dyn_cast<VectorType>(sums.getType());
  int64_t size = vector ? vector.getNumElements() : 1;
  Value stride = this->stride(op.getOutput(), numbers.getOutputFeature(), math);
  // One access where channels are neighbours in memory, all of them exist, and
  // every pixel begins aligned. A thread may have several groups of one
  // channel.
  bool together = channels.perGroup % size == 0 ||
                  plan.getSchedule() == GPUSchedule::Direct;
  bool whole = size == 1 || (outputChannelsLast && together &&
                             outputType.getDimSize(rank + 1) % size == 0);
  auto piece = [&](Value value, Value channel, int64_t size) {
    Value at = math.mul(math.cast(channel), stride);
    auto row = [&](Value buffer) { return this->row(buffer, outputBase); };
    if (Value bias = op.getBias())
      value = arith::AddFOp::create(
          b, loc, value,
          load(this->row(bias, math.constant(0)), channel, size));
    if (Value residual = op.getResidual())
      value =
          arith::AddFOp::create(b, loc, value, load(row(residual), at, size));
    if (EpilogueAttr epilogue = op.getEpilogueAttr())
      value = activate(b, loc, epilogue, value);
    store(value, row(op.getOutput()), at);
  };
  if (whole) {
    Value condition = pixel.exists;
    if (existing)
      condition = num.both(
          condition, num.compare(Predicate::sgt, existing, num.constant(0)));
    return math.branch(condition, [&] { piece(sums, channel, size); });
  }
  math.branch(pixel.exists, [&] {
    for (int64_t i = 0; i < size; ++i) {
      Value condition;
      if (existing)
        condition = num.compare(Predicate::sgt, existing, num.constant(i));
      math.branch(condition, [&] {
        Value one = vector::ExtractOp::create(b, loc, sums, i);
        piece(one, num.add(channel, num.constant(i)), 1);
      });
    }
  });
}
