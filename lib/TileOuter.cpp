//===- TileOuter.cpp - tasks and tiles of outer products -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

// Tasks are (taps of the outer dimensions, channel block, image). Those of one
// call run over the pixels piece by piece (OuterPieces.h), all of them on one
// piece before the next: what a piece reads stays in the caches, and the
// outputs keep the sums in between.

#include "TileOuter.h"
#include "IndexMath.h"
#include "LiveTable.h"
#include "OuterPieces.h"
#include "OuterProducts.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"

#include "llvm/ADT/bit.h"
#include "llvm/Support/SaveAndRestore.h"

using namespace mlir;
using namespace convjit;
using namespace convjit::conv;

namespace {

using Predicate = arith::CmpIPredicate;

class OuterTiler {
public:
  OuterTiler(PhasesOp op, OpBuilder &b)
      : op(op), b(b), loc(op.getLoc()), math{b, loc},
        numbers(op.getDimensionNumbers()), plan(op.getPlanAttr()),
        rank(op.getRank()), ofGroups(plan.getLanes() == Lanes::Groups),
        lanesHold(ofGroups ? OuterLanes::Channels : outerLanes(numbers)),
        input(b, loc, op.getInput()), filter(b, loc, op.getFilter()),
        output(b, loc, op.getOutput()) {
    int64_t outputs = cast<MemRefType>(op.getOutput().getType())
                          .getDimSize(numbers.getOutputFeature());
    auto count = static_cast<int64_t>(op.getBatchGroupCount());
    channelsOfGroup = outputs / count;
    // Across groups, blocks are cut like those of one.
    groups = ofGroups ? 1 : count;
    perGroup = outputs / groups;
    auto filterType = cast<MemRefType>(op.getFilter().getType());
    channels = filterType.getDimSize(filterChannelAxis());
    box.push_back({0, std::max<int64_t>(1, channels)});
    for (int64_t dim = 0; dim < rank; ++dim) {
      // Packing reverses.
      dims.emplace_back(op.getSplit(dim),
                        filterType.getDimSize(filterAxis(dim)),
                        !op.getPacked() && op.getReversal()[dim]);
      box.push_back({dims.back().first(), dims.back().last()});
    }
  }

  int64_t run() {
    bool ofImages = lanesHold == OuterLanes::Images;
    int64_t blocks = llvm::divideCeil(perGroup, ofImages ? plan.getPixels()
                                                         : plan.getWidth());
    int64_t tasks = groups * blocks;
    for (int64_t dim = 0; dim + 1 < rank; ++dim)
      tasks *= dims[dim].outputs();
    if (dims.back().outputs() == 0 || tasks == 0)
      return 0;
    images =
        memref::DimOp::create(b, loc, op.getOutput(), numbers.getOutputBatch());
    inputSteps.push_back(input.of(numbers.getInputFeature()));
    filterSteps.push_back(filter.constant(filterChannelAxis()));
    for (int64_t dim = 0; dim < rank; ++dim) {
      inputSteps.push_back(math.mul(input.of(numbers.getInputSpatial()[dim]),
                                    dims[dim].inputStep));
      filterSteps.push_back(filter.constant(filterAxis(dim)) *
                            dims[dim].filterStep);
    }
    forOuterPieces(op, b, box, plan.getChunks(), math.mul(images, tasks),
                   [&](const OuterPiece &here) {
                     piece = here;
                     math.loop(piece.firstTask, piece.lastTask, 1,
                               [&](Value task) { this->task(task, blocks); });
                   });
    return tasks;
  }

private:
  /// Of a packed filter, blocks of channels are outermost and their lanes
  /// innermost.
  int64_t filterAxis(int64_t dim) {
    return op.getPacked() ? 1 + dim : numbers.getKernelSpatial()[dim];
  }
  int64_t filterChannelAxis() {
    return op.getPacked() ? rank + 1 : numbers.getKernelInputFeature();
  }

  void task(Value task, int64_t blocks) {
    Value rest = task, image, which;
    taps.assign(rank, Value());
    auto takeImage = [&] {
      image = b.createOrFold<arith::RemUIOp>(loc, rest, images);
      rest = b.createOrFold<arith::DivUIOp>(loc, rest, images);
    };
    auto takeTaps = [&] {
      for (int64_t dim = rank - 2; dim >= 0; --dim)
        taps[dim] = math.takeDigit(rest, dims[dim].outputs());
    };
    bool ofImages = lanesHold == OuterLanes::Images;
    auto takeBlock = [&] { which = math.takeDigit(rest, blocks); };
    // Innermost what has the scalars, so that the vectors of a piece stay in
    // the nearest cache; or what has the lanes, so that outputs which outgrow
    // the caches are written in the order of memory.
    if (plan.getOrder() == Order::Filter)
      ofImages ? (takeBlock(), takeTaps(), takeImage())
               : (takeImage(), takeTaps(), takeBlock());
    else
      ofImages ? (takeImage(), takeBlock(), takeTaps())
               : (takeBlock(), takeImage(), takeTaps());
    group = rest;
    block = math.add(math.mul(group, blocks), which);
    int64_t size = ofImages ? plan.getPixels() : plan.getWidth();
    channel = math.mul(which, size);
    if (ofGroups)
      return acrossGroups(which, blocks, image);
    // The images of a tile are the work of the first one's task.
    int64_t most = ofImages ? plan.getWidth() : plan.getPixels();
    Value place =
        b.createOrFold<arith::RemUIOp>(loc, image, math.constant(most));
    math.branch(math.compare(Predicate::eq, place, math.constant(0)), [&] {
      enterRow();
      blockVariants(which, blocks, size, [&](int64_t width, int64_t valid) {
        imageVariants(image, most, [&](Value first, int64_t count) {
          firstImage = first;
          if (ofImages)
            tiles(width, count, count);
          else
            tiles(count, width, valid);
        });
      });
    });
  }

  /// Groups of a few channels. If there are as many images of each, one task
  /// has a tile of all of them; else groups go one by one.
  void acrossGroups(Value which, int64_t blocks, Value image) {
    int64_t few = channelsOfGroup;
    auto isImage = [&](Value x, int64_t y) {
      return math.compare(Predicate::eq, x, math.constant(y));
    };
    blockVariants(which, blocks, plan.getWidth(), [&](int64_t, int64_t valid) {
      math.branch(
          isImage(images, few),
          [&] {
            math.branch(isImage(image, 0), [&] {
              firstImage = math.constant(0);
              enterRow();
              // The groups before have so many images each as channels.
              inputRow =
                  math.add(inputRow, math.mul(input.of(numbers.getInputBatch()),
                                              channel));
              tiles(few, lanesAcrossGroups(), valid);
            });
          },
          [&] { groupByGroup(image, valid); });
    });
  }

  /// Whole vectors: a group does not end in the middle of one.
  int64_t lanesAcrossGroups() {
    auto type = cast<MemRefType>(op.getInput().getType());
    return llvm::alignTo(
        plan.getWidth(),
        std::min(lineElements(type.getElementTypeBitWidth()),
                 int64_t(llvm::PowerOf2Ceil(plan.getWidth()))));
  }

  /// The groups of one block, for one image.
  void groupByGroup(Value image, int64_t valid) {
    int64_t few = channelsOfGroup;
    firstImage = image;
    llvm::SaveAndRestore all(ofGroups, false);
    llvm::SaveAndRestore one(perGroup, few);
    Value begin = channel;
    llvm::SaveAndRestore first(channel, math.constant(0));
    llvm::SaveAndRestore own(group);
    int64_t lanes =
        ChannelBlocks{Lanes::Channels, 1, few, plan.getWidth()}.vectorWidth(
            few);
    math.loop(math.constant(0), math.constant(valid / few), 1, [&](Value at) {
      group = math.add(math.floorDiv(begin, few), at);
      enterRow();
      tiles(1, lanes, few);
    });
  }

  /// Whole blocks of channels, and the last.
  void blockVariants(Value which, int64_t blocks, int64_t size,
                     llvm::function_ref<void(int64_t, int64_t)> body) {
    int64_t tail = perGroup % size;
    auto partial = [&] {
      ChannelBlocks lanes{Lanes::Channels, 1, perGroup, size};
      body(lanesHold == OuterLanes::Images ? tail : lanes.vectorWidth(tail),
           tail);
    };
    if (tail == 0)
      return body(size, size);
    if (blocks == 1)
      return partial();
    math.branch(
        math.compare(Predicate::ne, which, math.constant(blocks - 1)),
        [&] { body(size, size); }, partial);
  }

  /// A full tile of images, or the last ones in powers of two.
  void imageVariants(Value image, int64_t most,
                     llvm::function_ref<void(Value, int64_t)> body) {
    Value left = math.sub(images, image);
    math.branch(
        math.compare(Predicate::sge, left, math.constant(most)),
        [&] { body(image, most); },
        [&] {
          Value at = image;
          for (int64_t size = llvm::bit_floor<uint64_t>(most - 1); size;
               size /= 2) {
            Value bit =
                b.createOrFold<arith::AndIOp>(loc, left, math.constant(size));
            math.branch(math.compare(Predicate::ne, bit, math.constant(0)),
                        [&] { body(at, size); });
            at = math.add(at, bit);
          }
        });
  }

  /// Sums of `rows` by `lanes`, in lines of cache: registers, or a few each.
  int64_t vectorsOf(int64_t rows, int64_t lanes) {
    auto type = cast<MemRefType>(op.getInput().getType());
    return rows *
           llvm::divideCeil(lanes, lineElements(type.getElementTypeBitWidth()));
  }

  /// Pixels of a row that fit into one tile: the smaller, the more.
  int64_t pixelsTogether(int64_t rows, int64_t lanes) {
    const OuterDim &row = dims.back();
    bool alike = row.inputStep == 1 || std::abs(row.filterStep) == 1;
    constexpr int64_t mostSpelled = 32;
    int64_t room =
        vectorsOf(plan.getPixels(), plan.getWidth()) / vectorsOf(rows, lanes);
    // With a quarter of the registers a tile hides the latency of FMAs by
    // itself; each tile has code of its own.
    // Across groups, pixels share shuffles.
    int64_t worthwhile = ofGroups ? 2 : 4;
    constexpr int64_t mostTiles = 4;
    if (!alike || row.outputs() > mostSpelled || room < worthwhile)
      return 1;
    int64_t tiles = llvm::divideCeil(row.outputs(), room);
    if (tiles > mostTiles)
      return 1;
    return llvm::divideCeil(row.outputs(), tiles);
  }

  void tiles(int64_t rows, int64_t lanes, int64_t valid) {
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

  /// Where the task's row of outputs has its operands, and its bounds of j.
  void enterRow() {
    inputRow = math.mul(input.of(numbers.getInputBatch()),
                        b.createOrFold<arith::MulIOp>(loc, group, images));
    Value feature = math.add(math.mul(group, perGroup), channel);
    filterRow =
        op.getPacked()
            ? math.mul(block, filter.constant(0))
            : math.mul(feature,
                       filter.constant(numbers.getKernelOutputFeature()));
    outputRow = math.add(
        piece.at, math.mul(output.of(numbers.getOutputFeature()), feature));
    bounds = {piece.ranges[0].first, piece.ranges[0].second};
    if (channels == 0)
      bounds[1] = bounds[0];
    for (int64_t dim = 0; dim + 1 < rank; ++dim)
      enterPixel(dim, inputRow, filterRow, outputRow);
  }

  /// Adds what the output taps[dim] of one dimension means.
  void enterPixel(int64_t dim, Value &inputAt, Value &filterAt,
                  Value &outputAt) {
    const OuterDim &here = dims[dim];
    std::string suffix = std::to_string(dim);
    auto table = [&](ArrayRef<int64_t> values, StringRef name) {
      return lookUp(op, b, values, taps[dim], (name + suffix).str());
    };
    bounds.append(
        {math.max(piece.ranges[dim + 1].first, table(here.lo, "lo")),
         math.min(piece.ranges[dim + 1].second, table(here.hi, "hi"))});
    inputAt =
        math.add(inputAt, math.mul(input.of(numbers.getInputSpatial()[dim]),
                                   table(here.input, "input")));
    filterAt = math.add(filterAt, math.mul(table(here.filter, "filter"),
                                           filter.constant(filterAxis(dim))));
    outputAt =
        math.add(outputAt, math.mul(output.of(numbers.getOutputSpatial()[dim]),
                                    taps[dim]));
  }

  /// One tile of `pixels` outputs from `tap` on; of one, that is taps.back().
  void tile(int64_t rows, int64_t lanes, int64_t valid, int64_t pixels,
            int64_t tap) {
    bool ofImages = lanesHold == OuterLanes::Images;
    Value inputAt = math.add(
        inputRow, math.mul(input.of(numbers.getInputBatch()), firstImage));
    Value filterAt = filterRow;
    Value outputAt = math.add(
        outputRow, math.mul(output.of(numbers.getOutputBatch()), firstImage));
    llvm::SaveAndRestore outer(bounds);
    if (pixels == 1) {
      enterPixel(rank - 1, inputAt, filterAt, outputAt);
    } else {
      bounds.append({piece.ranges.back().first, piece.ranges.back().second});
      outputAt =
          math.add(outputAt,
                   math.mul(output.of(numbers.getOutputSpatial().back()), tap));
    }
    DenseI64ArrayAttr tapRanges, inputTaps, filterTaps;
    if (pixels > 1) {
      const OuterDim &row = dims.back();
      SmallVector<int64_t> spans, in, filterIn;
      for (int64_t t = tap; t < tap + pixels; ++t) {
        spans.append({row.lo[t], row.hi[t]});
        in.push_back(row.input[t]);
        filterIn.push_back(row.filter[t] *
                           filter.constant(filterAxis(rank - 1)));
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
    Value scalarStep =
        ofImages
            ? math.constant(filter.constant(numbers.getKernelOutputFeature()))
            : input.of(numbers.getInputBatch());
    auto made = OuterTileOp::create(
        b, loc, op.getInput(), inputAt, op.getFilter(), filterAt,
        op.getResidual(), piece.output, outputAt, piece.first, bounds,
        inputSteps, input.of(numbers.getInputSpatial().back()), scalarStep,
        ofImages ? channelStep : imageStep, ofImages ? imageStep : channelStep,
        output.of(numbers.getOutputSpatial().back()), dims.back().inputStep,
        b.getDenseI64ArrayAttr(filterSteps), rows, lanes, valid, unroll, copies,
        ofImages, ofGroups, tapRanges, inputTaps, filterTaps);
    // The plan's order says that outputs outgrow the caches.
    if (plan.getOrder() == Order::Block)
      made->setAttr(farSumsAttr, b.getUnitAttr());
  }

  PhasesOp op;
  OpBuilder &b;
  Location loc;
  IndexMath math;
  DimensionNumbersAttr numbers;
  PlanAttr plan;
  int64_t rank;
  bool ofGroups;
  OuterLanes lanesHold;
  TensorStrides input, filter, output;
  int64_t groups, perGroup, channelsOfGroup, channels;
  std::vector<OuterDim> dims;
  /// The j of the channels summed over, and of each spatial dimension.
  SmallVector<std::pair<int64_t, int64_t>> box;
  SmallVector<Value> inputSteps;
  SmallVector<int64_t> filterSteps;
  Value images;

  // The state of the nest at the point of insertion.
  OuterPiece piece;
  SmallVector<Value> taps;
  Value group, block, channel, firstImage;
  Value inputRow, filterRow, outputRow;
  SmallVector<Value> bounds;
};

/// NAME_pack, which copies.
void addCopy(func::FuncOp func, MemRefType type) {
  OpBuilder b(func);
  b.setInsertionPointAfter(func);
  Location loc = func.getLoc();
  auto packer = func::FuncOp::create(b, loc, (func.getName() + "_pack").str(),
                                     b.getFunctionType({type, type}, {}));
  packer->setAttr("conv.pack", b.getUnitAttr());
  Block *body = packer.addEntryBlock();
  b.setInsertionPointToStart(body);
  memref::CopyOp::create(b, loc, body->getArgument(0), body->getArgument(1));
  func::ReturnOp::create(b, loc);
}

} // namespace

int64_t convjit::tileOuterProducts(PhasesOp op, OpBuilder &b) {
  int64_t tasks = OuterTiler(op, b).run();
  if (!op.getPacked())
    addCopy(op->getParentOfType<func::FuncOp>(),
            cast<MemRefType>(op.getFilter().getType()));
  return tasks;
}
