//===- MergedStore.cpp - storing lanes of several phases -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

// Lanes that hold (phase of each dimension, channel) belong to several places
// of the output: a piece of each row that the phases of the outer dimensions
// reach. The tile passes through a buffer that has the shape of its lanes.
//
//===----------------------------------------------------------------------===//

#include "vector/MergedStore.h"
#include "support/IndexMath.h"
#include "support/Views.h"
#include "vector/Interleave.h"
#include "vector/TransposedMove.h"
#include "vector/VectorPieces.h"

#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace convjit;
using namespace convjit::conv;

MergedLanes::MergedLanes(TileOp op, OpBuilder &b)
    : op(op), b(b), math{b, op.getLoc()}, numbers(op.getDimensionNumbers()),
      phases(*op.getMerged()), clipped(*op.getClipped()),
      perGroup(*op.getChannels()) {
  auto output = cast<MemRefType>(op.getOutput().getType());
  contiguous = mergedLanesAreContiguous(output.getShape(), numbers, perGroup);
  wholeRow = contiguous &&
             llvm::all_of(phases.drop_back(), [](int64_t n) { return n == 1; });
  ofPixels = op.getLanes() == Lanes::Pixels;
}

bool MergedLanes::isPartial(int64_t pixel) {
  return (pixel == 0 && clipped[clipped.size() - 2]) ||
         (pixel == static_cast<int64_t>(op.getPixels()) - 1 && clipped.back());
}

std::pair<int64_t, int64_t> MergedLanes::wholePixels() {
  int64_t first = firstPixel, last = lastPixel;
  while (first < last && isPartial(first))
    ++first;
  while (last > first && isPartial(last - 1))
    --last;
  return {first, last};
}

SmallVector<MergedLanes::Run> MergedLanes::runs(int64_t pixels) {
  if (!wholeRow || ofPixels)
    return {{0, pixels, false}};
  SmallVector<Run> found;
  for (int64_t pixel = 0; pixel < pixels; ++pixel) {
    bool whole = !isPartial(pixel);
    if (found.empty() || found.back().whole != whole)
      found.push_back({pixel, 0, whole});
    ++found.back().count;
  }
  return found;
}

MemRefType MergedLanes::bufferType() {
  auto output = cast<MemRefType>(op.getOutput().getType());
  int64_t lanes = op.getValid(), pixels = op.getPixels();
  if (ofPixels) {
    // Whole vectors from any pixel on.
    int64_t bits = output.getElementTypeBitWidth();
    return MemRefType::get(
        {lanes, paddedPixels(pixels, bits) + lineElements(bits)},
        output.getElementType());
  }
  // The last block of a phase's channels is loaded whole.
  int64_t block = TransposedMove::blockLanes(output.getElementType());
  if (perGroup % block && !contiguous)
    lanes = llvm::divideCeil(lanes + block - 1, block) * block;
  return MemRefType::get({pixels, lanes}, output.getElementType());
}

void MergedLanes::copy(Value tensor, Value lanes, int64_t first, int64_t count,
                       bool store) {
  firstPixel = first;
  lastPixel = first + count;
  int64_t rank = phases.size();
  SmallVector<Value> at(op.getOutputAt());
  std::function<void(int64_t, int64_t)> nest = [&](int64_t dim, int64_t piece) {
    if (dim == rank - 1)
      return copyPiece(tensor, lanes, at, piece, store);
    int64_t axis = numbers.getOutputSpatial()[dim];
    Value start = at[axis];
    for (int64_t phase = 0; phase < phases[dim]; ++phase) {
      at[axis] = math.add(start, phase);
      auto inner = [&] { nest(dim + 1, piece * phases[dim] + phase); };
      if (clipped[dim])
        ifInside(at[axis], axis, inner);
      else
        inner();
    }
    at[axis] = start;
  };
  nest(0, 0);
}

void MergedLanes::ifInside(Value at, int64_t axis,
                           llvm::function_ref<void()> body) {
  int64_t size = cast<MemRefType>(op.getOutput().getType()).getDimSize(axis);
  math.branch(math.compare(arith::CmpIPredicate::sge, at, math.constant(0)),
              [&] {
                math.branch(math.compare(arith::CmpIPredicate::slt, at,
                                         math.constant(size)),
                            body);
              });
}

/// One element or vector, from the tensor to the lanes or the reverse.
void MergedLanes::move(Value tensor, ValueRange tensorAt, Value lanes,
                       ValueRange lanesAt, int64_t count, bool store) {
  Location loc = op.getLoc();
  Value from = store ? lanes : tensor, to = store ? tensor : lanes;
  ValueRange fromAt = store ? lanesAt : tensorAt,
             toAt = store ? tensorAt : lanesAt;
  if (count == 1) {
    Value value = memref::LoadOp::create(b, loc, from, fromAt);
    memref::StoreOp::create(b, loc, value, to, toAt);
    return;
  }
  auto type = VectorType::get(
      {count}, cast<MemRefType>(tensor.getType()).getElementType());
  Value value = vector::LoadOp::create(b, loc, type, from, fromAt);
  vector::StoreOp::create(b, loc, value, to, toAt);
}

void MergedLanes::copyPiece(Value tensor, Value lanes, ArrayRef<Value> at,
                            int64_t piece, bool store) {
  if (ofPixels)
    return copyPixels(tensor, lanes, at, piece, store);
  int64_t rowPhases = phases.back();
  int64_t feature = numbers.getOutputFeature();
  int64_t row = numbers.getOutputSpatial().back();
  int64_t step = op.getOutputStep();
  int64_t count =
      wholeRow ? static_cast<int64_t>(op.getValid()) : rowPhases * perGroup;
  Value firstColumn = math.constant(wholeRow ? 0 : piece * count);
  int64_t rowLength =
      cast<MemRefType>(op.getOutput().getType()).getDimSize(row);
  if (contiguous) {
    // Elements of the row from its start on, rowLength * perGroup of them.
    SmallVector<Value> start(at);
    start[row] = math.constant(0);
    start[feature] = math.constant(0);
    Value line =
        tensorView(b, op.getLoc(), tensor, start,
                   {{rowIsLast() ? row : feature, rowLength * perGroup, 1}});
    Value first = math.mul(at[row], perGroup);
    if (wholeRow)
      first = math.add(first, op.getFirstLane());
    for (int64_t pixel = firstPixel; pixel < lastPixel; ++pixel) {
      Value here = math.add(first, pixel * step * perGroup);
      Value p = math.constant(pixel);
      if (!isPartial(pixel)) {
        for (LanePiece lane : lanePieces(count))
          move(line, math.add(here, lane.first), lanes,
               {p, math.add(firstColumn, lane.first)}, lane.size, store);
        continue;
      }
      Value zero = math.constant(0), end = math.constant(count);
      Value lo = math.clamp(math.sub(zero, here), zero, end);
      Value hi = math.clamp(math.sub(math.constant(rowLength * perGroup), here),
                            zero, end);
      math.loop(lo, hi, 1, [&](Value lane) {
        move(line, math.add(here, lane), lanes,
             {p, math.add(firstColumn, lane)}, 1, store);
      });
    }
    return;
  }
  // Channels apart. Where rows are last, the outputs of all pixels and phases
  // follow each other, and blocks of channels are transposed.
  int64_t first = firstPixel, last = lastPixel;
  auto channel = [&](Value which) {
    SmallVector<Value> element(at);
    element[feature] = math.add(at[feature], which);
    return element;
  };
  int64_t block = TransposedMove::blockLanes(
      cast<MemRefType>(tensor.getType()).getElementType());
  if (row + 1 == cast<MemRefType>(tensor.getType()).getRank() &&
      perGroup >= block) {
    std::tie(first, last) = wholePixels();
    auto blockAt = [&](Value from, int64_t channels) {
      transposeBlock(tensor, lanes, channel(from), math.add(firstColumn, from),
                     {first, last}, channels, store);
    };
    int64_t whole = perGroup / block * block;
    math.loop(math.constant(0), math.constant(whole), block,
              [&](Value from) { blockAt(from, block); });
    if (whole != perGroup)
      blockAt(math.constant(whole), perGroup - whole);
  } else {
    last = first;
  }
  // The other pixels one element at a time.
  if (first == firstPixel && last == lastPixel)
    return;
  math.loop(math.constant(0), math.constant(perGroup), 1, [&](Value which) {
    SmallVector<Value> element = channel(which);
    for (int64_t pixel = firstPixel; pixel < lastPixel; ++pixel) {
      if (first <= pixel && pixel < last)
        continue;
      math.loop(
          math.constant(0), math.constant(rowPhases), 1, [&](Value phase) {
            element[row] = math.add(math.add(at[row], pixel * step), phase);
            Value lane = math.add(math.add(math.mul(phase, perGroup), which),
                                  firstColumn);
            auto one = [&] {
              move(tensor, element, lanes, {math.constant(pixel), lane}, 1,
                   store);
            };
            if (isPartial(pixel))
              ifInside(element[row], row, one);
            else
              one();
          });
    }
  });
}

/// `channels` channels from `at` and `column` on, of pixels [first, last).
void MergedLanes::transposeBlock(Value tensor, Value lanes,
                                 SmallVector<Value> at, Value column,
                                 std::pair<int64_t, int64_t> pixels,
                                 int64_t channels, bool store) {
  Location loc = op.getLoc();
  int64_t rowPhases = phases.back();
  int64_t feature = numbers.getOutputFeature();
  int64_t row = numbers.getOutputSpatial().back();
  auto type = cast<MemRefType>(tensor.getType());
  TransposedMove blocks(b, loc, type.getElementType());
  int64_t block = TransposedMove::blockLanes(type.getElementType());
  auto here = [&](int64_t place) -> SmallVector<Value> {
    return {math.constant(pixels.first + place / rowPhases),
            math.add(column, place % rowPhases * perGroup)};
  };
  auto there = [&](int64_t lane, int64_t place) {
    SmallVector<Value> element(at);
    element[feature] = math.add(at[feature], lane);
    element[row] = math.add(at[row], pixels.first * rowPhases + place);
    return element;
  };
  int64_t count = (pixels.second - pixels.first) * rowPhases;
  if (store)
    return blocks.scatter(
        count, channels,
        [&](int64_t place) {
          return vector::LoadOp::create(
              b, loc, VectorType::get({block}, type.getElementType()), lanes,
              here(place));
        },
        [&](int64_t lane, int64_t place, Value line) {
          vector::StoreOp::create(b, loc, line, tensor, there(lane, place));
        });
  blocks.gather(
      count, channels,
      [&](int64_t lane, int64_t place, VectorType type) {
        return vector::LoadOp::create(b, loc, type, tensor, there(lane, place));
      },
      [&](int64_t place, Value whole) {
        storePieces(b, loc, whole, channels, [&](LanePiece piece, Value part) {
          SmallVector<Value> at = here(place);
          at[1] = math.add(at[1], piece.first);
          vector::StoreOp::create(b, loc, part, lanes, at);
        });
      });
}

/// Rows come last in the output. The vectors of a channel's phases are
/// interleaved; pixels that lack some are moved one element at a time.
void MergedLanes::copyPixels(Value tensor, Value lanes, ArrayRef<Value> at,
                             int64_t piece, bool store) {
  int64_t rowPhases = phases.back();
  int64_t feature = numbers.getOutputFeature();
  int64_t row = numbers.getOutputSpatial().back();
  auto [first, last] = wholePixels();
  math.loop(math.constant(0), math.constant(perGroup), 1, [&](Value channel) {
    SmallVector<Value> element(at);
    element[feature] = math.add(at[feature], channel);
    Value lane = math.add(channel, piece * rowPhases * perGroup);
    if (first < last)
      interleaveRun(tensor, lanes, element, lane, first, last - first, store);
    for (int64_t pixel = firstPixel; pixel < lastPixel; ++pixel) {
      if (first <= pixel && pixel < last)
        continue;
      for (int64_t phase = 0; phase < rowPhases; ++phase) {
        element[row] = math.add(at[row], pixel * rowPhases + phase);
        ifInside(element[row], row, [&] {
          move(tensor, element, lanes,
               {math.add(lane, phase * perGroup), math.constant(pixel)}, 1,
               store);
        });
      }
    }
  });
}

/// Pixels [first, first + count), whose outputs all exist, of the phases whose
/// vectors are `lane` and every perGroup-th one after it.
void MergedLanes::interleaveRun(Value tensor, Value lanes, ArrayRef<Value> at,
                                Value lane, int64_t first, int64_t count,
                                bool store) {
  Location loc = op.getLoc();
  int64_t rowPhases = phases.back();
  int64_t row = numbers.getOutputSpatial().back();
  Type element = cast<MemRefType>(tensor.getType()).getElementType();
  int64_t line = lineElements(element.getIntOrFloatBitWidth());
  for (int64_t done = 0; done < count; done += line) {
    int64_t existing = std::min(line, count - done), pixel = first + done;
    int64_t size = paddedPixels(existing, element.getIntOrFloatBitWidth());
    auto type = VectorType::get({size}, element);
    auto here = [&](int64_t phase) -> SmallVector<Value> {
      return {math.add(lane, phase * perGroup), math.constant(pixel)};
    };
    // Outputs of each vector that exist, and where its pieces are.
    auto existingOf = [&](int64_t which) {
      return std::clamp<int64_t>(existing * rowPhases - which * size, 0, size);
    };
    auto there = [&](int64_t which, LanePiece piece) {
      SmallVector<Value> place(at);
      place[row] =
          math.add(at[row], pixel * rowPhases + which * size + piece.first);
      return place;
    };
    SmallVector<Value> vectors;
    if (!store) {
      for (int64_t which = 0; which < rowPhases; ++which)
        vectors.push_back(
            loadPieces(b, loc, type, existingOf(which), [&](LanePiece piece) {
              return vector::LoadOp::create(
                  b, loc, VectorType::get({piece.size}, element), tensor,
                  there(which, piece));
            }));
      vectors = deinterleaveVectors(b, loc, vectors);
      for (auto [which, value] : llvm::enumerate(vectors))
        vector::StoreOp::create(b, loc, value, lanes, here(which));
      continue;
    }
    for (int64_t which = 0; which < rowPhases; ++which)
      vectors.push_back(
          vector::LoadOp::create(b, loc, type, lanes, here(which)));
    vectors = interleaveVectors(b, loc, vectors);
    for (int64_t which = 0; which < rowPhases; ++which)
      storePieces(b, loc, vectors[which], existingOf(which),
                  [&](LanePiece piece, Value part) {
                    vector::StoreOp::create(b, loc, part, tensor,
                                            there(which, piece));
                  });
  }
}
