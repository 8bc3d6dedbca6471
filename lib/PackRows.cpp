//===- PackRows.cpp - conv.pack_filter in vectors -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The last axis of a packed filter is a row of lanes. Cut into segments within
// which nothing but the channel changes, a row comes from filter elements at
// one distance. What they are moved with depends on the filter's axis order:
//
//     copies      the distance is 1: [.., i, o], as JAX stores weights
//     transposed  what follows each other in memory are taps or input channels:
//                 [o, i, ..], [.., o, i]. Blocks of lanes of a run of those are
//                 transposed in registers (TransposedMove)
//     elements    neither; phases in the lanes with taps last in memory
//
// An item is the work of one step of the only loop outside; the items of a part
// follow each other.
//
//===----------------------------------------------------------------------===//

#include "IndexMath.h"
#include "LowerPackFilter.h"
#include "TransposedMove.h"
#include "VectorPieces.h"

#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "llvm/ADT/bit.h"

#include <numeric>

using namespace mlir;
using namespace convjit;
using namespace convjit::conv;

namespace {

/// Elements of a copying item: enough that finding its place costs nothing.
constexpr int64_t itemElements = 1024;
/// Places of a transposed run of input channels, whose rows follow each other:
/// two lines of f32.
constexpr int64_t maxRun = 32, minRun = 4;
/// Those of taps lie a power of two apart as often as not, in one set of the
/// first-level cache. No more lines than that has ways are written together,
/// and each line as a whole: of OIDHW filters k 3 packs at 9 GB/s with 27
/// places and four lanes at a time.
constexpr int64_t maxTapRun = 9;

/// A filter axis, or that of the packed filter, with its distance in elements.
SmallVector<int64_t> stridesOf(MemRefType type) {
  SmallVector<int64_t> strides(type.getRank(), 1);
  for (int64_t axis = type.getRank() - 2; axis >= 0; --axis)
    strides[axis] = strides[axis + 1] * type.getDimSize(axis + 1);
  return strides;
}

class RowPacker {
public:
  RowPacker(PackSource &source, OpBuilder &b)
      : source(source), op(source.op), b(b), loc(op.getLoc()), math{b, loc},
        element(source.filter.getElementType()),
        fromStrides(stridesOf(source.filter)),
        toStrides(stridesOf(source.packed)) {}

  void run(Value part, Value parts) {
    weights = flat(op.getFilter());
    packed = flat(op.getPacked());
    if (source.mask)
      mask = flat(source.mask);
    chooseRows();
    chooseRun();
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
  /// One of the numbers that say which item it is: a position on an axis of the
  /// packed filter, or of chunks of it.
  struct Digit {
    int64_t axis, count;
  };
  /// Part of a run: `size` of the elements of a filter axis, which is `axis` of
  /// the packed filter, where it proceeds by `step`.
  struct RunAxis {
    int64_t axis, size, step;
  };

  Value flat(Value buffer) {
    auto type = cast<MemRefType>(buffer.getType());
    SmallVector<ReassociationIndices> all(1);
    for (int64_t axis = 0; axis < type.getRank(); ++axis)
      all.front().push_back(axis);
    return memref::CollapseShapeOp::create(b, loc, buffer, all);
  }

  /// What rows and their segments are.
  void chooseRows() {
    DimensionNumbersAttr numbers = op.getDimensionNumbers();
    const ChannelBlocks &channels = source.channels;
    inputStride = fromStrides[numbers.getKernelInputFeature()];
    int64_t outputStride = fromStrides[numbers.getKernelOutputFeature()];
    row = source.packed.getShape().back();
    if (channels.lanes == Lanes::Reduction) {
      segment = row;
      sizes = {source.reduction};
      laneStride = inputStride;
      return;
    }
    bool acrossGroups =
        channels.lanes == Lanes::Groups && op.getSwappedFilter();
    laneStride = outputStride;
    if (acrossGroups && channels.perGroup == 1)
      laneStride = source.reduction * inputStride;
    else if (acrossGroups || channels.phases > 1)
      segment = std::gcd(row, channels.perGroup);
    if (!segment)
      segment = row;
    // A segment that is not the row lies inside the lanes or outside.
    int64_t tail = segment == row ? channels.tail() : 0;
    hasTail = tail != 0;
    if (channels.hasFullBlock() || !hasTail)
      sizes.push_back(segment);
    if (hasTail)
      sizes.push_back(tail);
  }

  /// The elements that follow each other in the filter, if a transposed move
  /// can use them.
  void chooseRun() {
    if (laneStride == 1)
      return;
    DimensionNumbersAttr numbers = op.getDimensionNumbers();
    bool lanesAreInputs = source.channels.lanes == Lanes::Reduction;
    int64_t product = 1;
    for (int64_t axis = source.rank + 1; axis >= 0; --axis) {
      int64_t size = source.filter.getDimSize(axis), whole = size;
      RunAxis next{0, size, 1};
      if (axis == numbers.getKernelInputFeature()) {
        if (lanesAreInputs)
          break;
        next.axis = source.inputAxis;
        size = source.reduction;
      } else if (axis == numbers.getKernelOutputFeature()) {
        if (size == 1 && !lanesAreInputs)
          continue;
        break;
      } else {
        auto dim = llvm::find(numbers.getKernelSpatial(), axis) -
                   numbers.getKernelSpatial().begin();
        if (source.splits[dim])
          break;
        next.axis = 1 + dim;
        next.step = op.getReversal()[dim] ? -1 : 1;
      }
      if (whole == 1)
        continue;
      if (product == 1)
        scattered = next.axis != source.inputAxis;
      int64_t most = (scattered ? maxTapRun : maxRun) / product;
      // 8 channels are half a line.
      next.size =
          size <= most ? size : int64_t(llvm::bit_floor(uint64_t(most)));
      if (product > 1 && size > most)
        next.size = most;
      if (next.size < 2 && size > 1)
        break;
      runAxes.push_back(next);
      product *= next.size;
      if (next.size != whole)
        break;
    }
    if (product < minRun)
      runAxes.clear();
  }

  int64_t sizeOf(int64_t axis) const { return source.packed.getDimSize(axis); }

  /// Slowest first.
  SmallVector<Digit> itemDigits() {
    int64_t blocks = sizeOf(0), other = source.packed.getRank() - 2;
    SmallVector<Digit> digits;
    if (runAxes.empty() && laneStride != 1) {
      // Taps last: those of one channel are in the lines that were just read.
      digits.push_back({0, blocks});
      digits.push_back({other, sizeOf(other)});
      for (int64_t axis = 1; axis < other; ++axis)
        digits.push_back({axis, sizeOf(axis)});
      return digits;
    }
    if (runAxes.empty()) {
      // Rows of a filter hold all blocks of lanes: those are read one after
      // another.
      chunk = source.channels.lanes == Lanes::Reduction
                  ? 1
                  : std::clamp<int64_t>(itemElements / row, 1, sizeOf(other));
      for (int64_t axis = 1; axis < other; ++axis)
        digits.push_back({axis, sizeOf(axis)});
      digits.push_back(
          {other, int64_t(llvm::divideCeil(sizeOf(other), chunk))});
      digits.push_back({0, blocks});
      return digits;
    }
    digits.push_back({0, blocks});
    for (int64_t axis = 1; axis <= other; ++axis) {
      int64_t each = 1;
      for (RunAxis run : runAxes)
        if (run.axis == axis)
          each = run.size;
      digits.push_back({axis, int64_t(llvm::divideCeil(sizeOf(axis), each))});
    }
    return digits;
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

  int64_t runPlaces() const {
    int64_t product = 1;
    for (RunAxis run : runAxes)
      product *= run.size;
    return product;
  }
  /// Distance in the packed filter of place `j` of a run's whole axes.
  int64_t place(int64_t j) const {
    int64_t offset = 0;
    for (RunAxis run : ArrayRef(runAxes).drop_back()) {
      offset += j % run.size * run.step * toStrides[run.axis];
      j /= run.size;
    }
    return offset;
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

  PackSource &source;
  PackFilterOp op;
  OpBuilder &b;
  Location loc;
  IndexMath math;
  Type element;
  SmallVector<int64_t> fromStrides, toStrides;
  Value weights, packed, mask;
  int64_t row = 0, segment = 0;
  /// Lanes of a segment that exist: a full one, that of the last block.
  SmallVector<int64_t> sizes;
  bool hasTail = false; ///< the last block's lanes are fewer
  int64_t laneStride = 0, inputStride = 0;
  SmallVector<RunAxis> runAxes; ///< fastest in the filter first
  bool scattered = false;       ///< rows of a run do not follow each other
  int64_t chunk = 1;            ///< rows of a copying item
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
