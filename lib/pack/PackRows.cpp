//===- PackRows.cpp - conv.pack_filter in vectors -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "pack/PackShape.h"
#include "support/IndexMath.h"
#include "vector/TransposedMove.h"
#include "vector/VectorPieces.h"

#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace convjit;
using namespace convjit::conv;

namespace {

class RowPacker : PackShape {
public:
  RowPacker(PackSource &source, OpBuilder &b)
      : PackShape(source), b(b), loc(op.getLoc()), math{b, loc},
        element(source.filter.getElementType()) {}

  void run(Value part, Value parts) {
    weights = flat(op.getFilter());
    packed = flat(op.getPacked());
    if (source.mask)
      mask = flat(source.mask);
    SmallVector<Digit> digits = itemDigits();
    int64_t items = 1;
    for (Digit digit : digits)
      items *= digit.count;
    auto bound = [&](Value of) {
      return b.createOrFold<arith::DivUIOp>(loc, math.mul(of, items), parts);
    };
    Value end = bound(math.add(part, 1));
    math.loop(bound(part), end, 1, [&](Value number) {
      SmallVector<Value> to(source.packed.getRank(), math.constant(0));
      for (Digit digit : llvm::reverse(digits))
        to[digit.axis] = math.takeDigit(number, digit.count);
      item(to);
    });
  }

private:
  Value flat(Value buffer) {
    auto type = cast<MemRefType>(buffer.getType());
    SmallVector<ReassociationIndices> all(1);
    for (int64_t axis = 0; axis < type.getRank(); ++axis)
      all.front().push_back(axis);
    return memref::CollapseShapeOp::create(b, loc, buffer, all);
  }

  Value linear(ArrayRef<Value> at, ArrayRef<int64_t> strides) {
    Value sum = math.constant(0);
    for (auto [index, stride] : llvm::zip(at, strides))
      sum = math.add(sum, math.mul(index, stride));
    return sum;
  }

  /// `to` has the item's digits at their axes.
  void item(SmallVector<Value> to) {
    if (runAxes.empty()) {
      int64_t other = source.packed.getRank() - 2;
      Value first = math.mul(to[other], chunk);
      Value count = math.min(math.constant(chunk),
                             math.sub(math.constant(sizeOf(other)), first));
      if (sizeOf(other) % chunk == 0)
        count = math.constant(chunk);
      to[other] = first;
      return segments(to, [&](Value from, Value at, Value lanes) {
        math.loop(math.constant(0), count, 1, [&](Value i) {
          oneRow(math.add(from, math.mul(i, inputStride)),
                 math.add(at, math.mul(i, toStrides[other])), lanes);
        });
      });
    }
    // The last axis of the run may be cut: its last piece is shorter.
    RunAxis cut = runAxes.back();
    int64_t size = sizeOf(cut.axis), rest = size % cut.size;
    Value first = math.mul(to[cut.axis], cut.size);
    for (RunAxis run : runAxes)
      to[run.axis] = math.constant(run.step < 0 ? sizeOf(run.axis) - 1 : 0);
    to[cut.axis] =
        cut.step < 0 ? math.sub(math.constant(size - 1), first) : first;
    auto places = [&](int64_t count) {
      SmallVector<int64_t> offsets;
      for (int64_t i = 0; i < count; ++i)
        for (int64_t j = 0, inner = runPlaces() / cut.size; j < inner; ++j)
          offsets.push_back(i * cut.step * toStrides[cut.axis] + place(j));
      segments(to, [&](Value from, Value at, Value lanes) {
        transposed(from, at, lanes, offsets);
      });
    };
    if (rest == 0)
      return places(cut.size);
    math.branch(
        math.compare(arith::CmpIPredicate::sle, first,
                     math.constant(size - cut.size)),
        [&] { places(cut.size); }, [&] { places(rest); });
  }

  /// For each segment of the rows at `to`: body(first filter element, first
  /// packed element, lanes that exist).
  void segments(ArrayRef<Value> to,
                function_ref<void(Value, Value, Value)> body) {
    math.loop(math.constant(0), math.constant(row / segment), 1, [&](Value i) {
      SmallVector<Value> first(to);
      first.back() = math.mul(i, segment);
      PackSource::Place place = source.of(first, b);
      Value lanes = math.constant(sizes.front());
      if (sizes.size() == 2) {
        Value block = to.front();
        Value within = math.takeDigit(block, source.channels.blocksPerGroup());
        Value isLast =
            math.compare(arith::CmpIPredicate::eq, within,
                         math.constant(source.channels.blocksPerGroup() - 1));
        lanes = math.select(isLast, math.constant(sizes.back()), lanes);
      }
      // A block always has its first lane.
      if (place.present && !hasTail)
        lanes = math.select(place.present, lanes, math.constant(0));
      Value from = linear(place.from, fromStrides);
      body(from, linear(first, toStrides), lanes);
    });
  }

  /// For each number of lanes that there may be: body(number).
  void forSizes(Value lanes, function_ref<void(int64_t)> body) {
    if (getConstantIntValue(lanes))
      return body(*getConstantIntValue(lanes));
    for (int64_t size : sizes)
      math.branch(
          math.compare(arith::CmpIPredicate::eq, lanes, math.constant(size)),
          [&] { body(size); });
  }

  /// The weight or weights at `from`.
  Value load(Value from, Type type) {
    auto read = [&](Value buffer) -> Value {
      if (auto vector = dyn_cast<VectorType>(type))
        return vector::LoadOp::create(b, loc, vector, buffer, from);
      return memref::LoadOp::create(b, loc, buffer, from);
    };
    Value value = read(weights);
    return mask ? PackSource::masked(value, read(mask), b, loc) : value;
  }
  VectorType vectorOf(int64_t lanes) {
    return VectorType::get({lanes}, element);
  }

  /// Zeros for the lanes of rows at `places` from `lanes` on.
  void pad(Value at, Value lanes, ArrayRef<int64_t> places) {
    if (std::optional<int64_t> known = getConstantIntValue(lanes))
      if (*known == segment)
        return;
    Value zero = arith::ConstantOp::create(b, loc, b.getZeroAttr(element));
    math.loop(lanes, math.constant(segment), 1, [&](Value lane) {
      for (int64_t place : places)
        memref::StoreOp::create(b, loc, zero, packed,
                                math.add(math.add(at, lane), place));
    });
  }

  void oneRow(Value from, Value at, Value lanes) {
    if (laneStride == 1)
      forSizes(lanes, [&](int64_t size) {
        for (LanePiece piece :
             lanePieces(size, lineElements(element.getIntOrFloatBitWidth())))
          vector::StoreOp::create(
              b, loc, load(math.add(from, piece.first), vectorOf(piece.size)),
              packed, math.add(at, piece.first));
      });
    else
      math.loop(math.constant(0), lanes, 1, [&](Value lane) {
        memref::StoreOp::create(
            b, loc, load(math.add(from, math.mul(lane, laneStride)), element),
            packed, math.add(at, lane));
      });
    pad(at, lanes, {0});
  }

  /// `places` of rows, whose elements follow each other in the filter.
  void transposed(Value from, Value at, Value lanes, ArrayRef<int64_t> places) {
    int64_t block = TransposedMove::blockLanes(element);
    auto move = [&](Value first, int64_t count) {
      Value read = math.add(from, math.mul(first, laneStride));
      Value write = math.add(at, first);
      TransposedMove(b, loc, element)
          .gather(
              places.size(), count,
              [&](int64_t lane, int64_t place, VectorType type) {
                return load(math.add(read, lane * laneStride + place), type);
              },
              [&](int64_t place, Value value) {
                storePieces(b, loc, value, count,
                            [&](LanePiece piece, Value some) {
                              vector::StoreOp::create(
                                  b, loc, some, packed,
                                  math.add(write, places[place] + piece.first));
                            });
              });
    };
    Value done = math.constant(0);
    auto forBlocks = [&](int64_t blocks) {
      int64_t size = blocks * block;
      Value end = math.mul(
          b.createOrFold<arith::DivUIOp>(loc, lanes, math.constant(size)),
          size);
      math.loop(done, end, size, [&](Value first) {
        for (int64_t i = 0; i < blocks; ++i)
          move(math.add(first, i * block), block);
      });
      done = end;
    };
    constexpr int64_t blocksOfLine = lineBytes / 16;
    if (scattered && segment >= blocksOfLine * block)
      forBlocks(blocksOfLine);
    forBlocks(1);
    bool ragged = llvm::any_of(sizes, [&](int64_t n) { return n % block; });
    if (ragged)
      forSizes(lanes, [&](int64_t size) {
        if (size % block)
          move(math.constant(size / block * block), size % block);
      });
    pad(at, lanes, places);
  }

  OpBuilder &b;
  Location loc;
  IndexMath math;
  Type element;
  Value weights, packed, mask;
};

} // namespace

LogicalResult convjit::lowerPackFilter(PackFilterOp op, OpBuilder &b,
                                       Value part, Value parts) {
  PackSource source(op);
  if (source.packed.getNumElements() == 0)
    return success();
  if (failed(source.makeMask(b)))
    return failure();
  RowPacker(source, b).run(part, parts);
  return success();
}
