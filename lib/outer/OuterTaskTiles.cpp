//===- OuterTaskTiles.cpp - the tiles of one task of outer products -*- C++
//-*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "outer/OuterTiler.h"
#include "outer/TileOuter.h"
#include "support/LiveTable.h"

#include "llvm/Support/SaveAndRestore.h"

using namespace mlir;
using namespace convjit;
using namespace convjit::conv;

using Predicate = arith::CmpIPredicate;

int64_t OuterTiler::vectorsOf(int64_t rows, int64_t lanes) {
  auto type = cast<MemRefType>(op.getInput().getType());
  return rows *
         llvm::divideCeil(lanes, lineElements(type.getElementTypeBitWidth()));
}

int64_t OuterTiler::room(int64_t rows, int64_t lanes) {
  return vectorsOf(plan.getPixels(), plan.getWidth()) / vectorsOf(rows, lanes);
}

bool OuterTiler::rowsShareLoads() const {
  const OuterDim &row = dims.back();
  return row.inputStep == 1 || std::abs(row.filterStep) == 1;
}

int64_t OuterTiler::pixelsTogether(int64_t rows, int64_t lanes) {
  const OuterDim &row = dims.back();
  constexpr int64_t mostSpelled = 32;
  int64_t room = this->room(rows, lanes);
  // With a quarter of the registers a tile hides the latency of FMAs by
  // itself; each tile has code of its own.
  // Across groups, pixels share shuffles.
  int64_t worthwhile = ofGroups ? 2 : 4;
  constexpr int64_t mostTiles = 4;
  if (unexpected || !rowsShareLoads() || row.outputs() > mostSpelled ||
      room < worthwhile)
    return 1;
  int64_t tiles = llvm::divideCeil(row.outputs(), room);
  if (tiles > mostTiles)
    return 1;
  return llvm::divideCeil(row.outputs(), tiles);
}

void OuterTiler::tiles(int64_t rows, int64_t lanes, int64_t valid) {
  int64_t together = pixelsTogether(rows, lanes);
  const OuterDim &row = dims.back();
  if (together == 1) {
    math.loop(math.constant(0), math.constant(row.outputs()), 1,
              [&](Value tap) {
                taps.back() = tap;
                tile(rows, lanes, valid, 1, 0);
              });
    return;
  }
  for (int64_t tap = 0; tap < row.outputs(); tap += together) {
    taps.back() = math.constant(tap);
    tile(rows, lanes, valid, std::min(together, row.outputs() - tap), tap);
  }
}

bool OuterTiler::joinsPlanes(int64_t rows, int64_t lanes) {
  if (rank < 2 || unexpected || !rowsShareLoads())
    return false;
  const OuterDim &row = dims.back(), &plane = dims[rank - 2];
  if (plane.outputs() < 2 ||
      row.outputs() * plane.outputs() > room(rows, lanes))
    return false;
  // Places are counted in pixels of a row, and outputs follow each other.
  ArrayRef<int64_t> in = numbers.getInputSpatial(),
                    out = numbers.getOutputSpatial();
  return input.ratio(in[rank - 2], in[rank - 1]) != 0 &&
         output.ratio(out[rank - 2], out[rank - 1]) == row.outputs();
}

void OuterTiler::enterRow(int64_t outer) {
  inputRow = packedImages
                 ? packedImages->origin(piece)
                 : math.mul(input.of(numbers.getInputBatch()),
                            b.createOrFold<arith::MulIOp>(loc, group, images));
  Value feature = math.add(math.mul(group, perGroup), channel);
  filterRow = op.getPacked()
                  ? math.mul(block, filter.constant(0))
                  : math.mul(feature,
                             filter.constant(numbers.getKernelOutputFeature()));
  outputRow =
      staged
          ? math.constant(0)
          : math.add(piece.at,
                     math.mul(output.of(numbers.getOutputFeature()), feature));
  bounds = {piece.ranges[0].first, piece.ranges[0].second};
  if (channels == 0)
    bounds[1] = bounds[0];
  for (int64_t dim = 0; dim < outer; ++dim)
    enterPixel(dim, inputRow, filterRow, outputRow);
}

void OuterTiler::enterPixel(int64_t dim, Value &inputAt, Value &filterAt,
                            Value &outputAt) {
  const OuterDim &here = dims[dim];
  std::string suffix = std::to_string(dim);
  auto table = [&](ArrayRef<int64_t> values, StringRef name) {
    return lookUp(op, b, values, taps[dim], (name + suffix).str());
  };
  bounds.append({math.max(piece.ranges[dim + 1].first, table(here.lo, "lo")),
                 math.min(piece.ranges[dim + 1].second, table(here.hi, "hi"))});
  // Packed pixels are the j themselves.
  if (!packedImages)
    inputAt =
        math.add(inputAt, math.mul(input.of(numbers.getInputSpatial()[dim]),
                                   table(here.input, "input")));
  filterAt = math.add(filterAt, math.mul(table(here.filter, "filter"),
                                         filter.constant(filterAxis(dim))));
  outputAt = math.add(outputAt, math.mul(tapStep(dim), taps[dim]));
}

Value OuterTiler::tapStep(int64_t dim) {
  if (!staged)
    return output.of(numbers.getOutputSpatial()[dim]);
  int64_t step = stagedLanes;
  for (int64_t inner = dim + 1; inner < rank; ++inner)
    step *= dims[inner].outputs();
  return math.constant(step);
}

std::pair<Value, Value> OuterTiler::ahead() {
  Prefetch prefetch = plan.getPrefetch();
  bool ofInput = prefetch == Prefetch::Input || prefetch == Prefetch::Both;
  bool ofFilter = prefetch == Prefetch::Filter || prefetch == Prefetch::Both;
  Value inputAhead, filterAhead;
  // The last piece of a dimension asks in vain for what follows there.
  auto dim = static_cast<size_t>(piece.aheadDim);
  if (ofInput)
    inputAhead = math.mul(inputSteps[dim], piece.aheadSize);
  if (ofFilter)
    filterAhead = math.constant(filterSteps[dim] * piece.aheadSize);
  return {inputAhead, filterAhead};
}

void OuterTiler::tile(int64_t rows, int64_t lanes, int64_t valid,
                      int64_t pixels, int64_t tap, bool planes) {
  bool ofImages = lanesHold == OuterLanes::Images;
  Value inputAt = math.add(
      inputRow, math.mul(inputImage, packedImages ? math.sub(firstImage, image)
                                                  : firstImage));
  Value filterAt = filterRow;
  Value outputAt = outputRow;
  if (!staged)
    outputAt = math.add(
        outputAt, math.mul(output.of(numbers.getOutputBatch()), firstImage));
  llvm::SaveAndRestore outer(bounds);
  if (planes)
    bounds.append(
        {piece.ranges[rank - 1].first, piece.ranges[rank - 1].second});
  if (pixels == 1) {
    enterPixel(rank - 1, inputAt, filterAt, outputAt);
  } else {
    bounds.append({piece.ranges.back().first, piece.ranges.back().second});
    outputAt = math.add(outputAt, math.mul(tapStep(rank - 1), tap));
  }
  DenseI64ArrayAttr tapRanges, planeRanges, inputTaps, filterTaps;
  if (pixels > 1) {
    const OuterDim &row = dims.back();
    SmallVector<int64_t> spans, in, filterIn;
    auto add = [&](int64_t t, int64_t inputBefore, int64_t filterBefore) {
      spans.append({row.lo[t], row.hi[t]});
      in.push_back(inputBefore + row.input[t]);
      filterIn.push_back(filterBefore +
                         row.filter[t] * filter.constant(filterAxis(rank - 1)));
    };
    if (planes) {
      const OuterDim &plane = dims[rank - 2];
      SmallVector<int64_t> planeSpans;
      int64_t rowPixels = input.ratio(numbers.getInputSpatial()[rank - 2],
                                      numbers.getInputSpatial()[rank - 1]);
      for (int64_t p = 0; p < plane.outputs(); ++p)
        for (int64_t t = 0; t < row.outputs(); ++t) {
          planeSpans.append({plane.lo[p], plane.hi[p]});
          add(t, plane.input[p] * rowPixels,
              plane.filter[p] * filter.constant(filterAxis(rank - 2)));
        }
      planeRanges = b.getDenseI64ArrayAttr(planeSpans);
    } else {
      for (int64_t t = tap; t < tap + pixels; ++t)
        add(t, 0, 0);
    }
    tapRanges = b.getDenseI64ArrayAttr(spans);
    inputTaps = b.getDenseI64ArrayAttr(in);
    filterTaps = b.getDenseI64ArrayAttr(filterIn);
  }
  // FMAs wait for each other where a tile has few sums.
  int64_t full = vectorsOf(plan.getPixels(), plan.getWidth());
  int64_t copies =
      std::clamp<int64_t>(full / (2 * vectorsOf(rows, lanes) * pixels), 1, 8);
  int64_t unroll = std::max<int64_t>(plan.getUnroll(), copies);
  Value channelStep = output.of(numbers.getOutputFeature());
  Value imageStep = output.of(numbers.getOutputBatch());
  Value rowStep = ofImages ? channelStep : imageStep;
  Value laneStep = ofImages ? imageStep : channelStep;
  Value target = piece.output, residual = op.getResidual(), first = piece.first;
  // What is staged starts from zero in each piece.
  if (staged) {
    rowStep = math.constant(staged->taps() * lanes);
    laneStep = math.constant(1);
    target = staged->buffer();
    residual = Value();
    first = arith::ConstantIntOp::create(b, loc, b.getI1Type(), 1);
  }
  Value scalarStep =
      ofImages
          ? math.constant(filter.constant(numbers.getKernelOutputFeature()))
          : inputImage;
  auto [inputAhead, filterAhead] = ahead();
  auto made = OuterTileOp::create(
      b, loc, packedImages ? packedImages->buffer() : op.getInput(), inputAt,
      op.getFilter(), filterAt, residual, target, outputAt, first, bounds,
      inputSteps, inputPixel, scalarStep, rowStep, laneStep, tapStep(rank - 1),
      inputAhead, filterAhead, dims.back().inputStep,
      b.getDenseI64ArrayAttr(filterSteps), rows, lanes, valid, unroll, copies,
      ofImages, ofGroups ? b.getI64IntegerAttr(channelsOfGroup) : IntegerAttr(),
      tapRanges, planeRanges, inputTaps, filterTaps);
  // The plan's order says that outputs outgrow the caches.
  if (plan.getOrder() == Order::Block && !staged)
    made->setAttr(farSumsAttr, b.getUnitAttr());
}
