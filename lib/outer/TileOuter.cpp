//===- TileOuter.cpp - tasks of outer products -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

// Tasks are (taps of the outer dimensions, channel block, image). Those of one
// call run over the pixels piece by piece (OuterPieces.h), all of them on one
// piece before the next: what a piece reads stays in the caches, and the
// outputs keep the sums in between. Where the input is packed
// (PackedImages.h), the tasks of one tile of images follow each other, and the
// first packs. Where the taps come last in the output, a task has all of them
// (StagedSums.h).

#include "outer/TileOuter.h"
#include "outer/OuterTiler.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"

#include "llvm/ADT/bit.h"
#include "llvm/Support/SaveAndRestore.h"

using namespace mlir;
using namespace convjit;
using namespace convjit::conv;

using Predicate = arith::CmpIPredicate;

OuterTiler::OuterTiler(PhasesOp op, OpBuilder &b)
    : op(op), b(b), loc(op.getLoc()), math{b, loc},
      numbers(op.getDimensionNumbers()), plan(op.getPlanAttr()),
      rank(op.getRank()), ofGroups(plan.getLanes() == Lanes::Groups),
      lanesHold(ofGroups ? OuterLanes::Channels : outerLanes(numbers, plan)),
      input(b, loc, op.getInput()), filter(b, loc, op.getFilter()),
      output(b, loc, op.getOutput()) {
  int64_t outputs = cast<MemRefType>(op.getOutput().getType())
                        .getDimSize(numbers.getOutputFeature());
  auto count = static_cast<int64_t>(op.getBatchGroupCount());
  channelsOfGroup = outputs / count;
  if (auto known = op->getAttrOfType<IntegerAttr>(imagesAttr))
    expected = known.getInt();
  // Across groups, blocks are cut like those of one.
  groups = ofGroups ? 1 : count;
  perGroup = outputs / groups;
  auto filterType = cast<MemRefType>(op.getFilter().getType());
  channels = filterType.getDimSize(filterChannelAxis());
  box.push_back({0, std::max<int64_t>(1, channels)});
  for (int64_t dim = 0; dim < rank; ++dim) {
    // Packing reverses.
    dims.emplace_back(op.getSplit(dim), filterType.getDimSize(filterAxis(dim)),
                      !op.getPacked() && op.getReversal()[dim]);
    box.push_back({dims.back().first(), dims.back().last()});
  }
}

int64_t OuterTiler::run() {
  bool ofImages = lanesHold == OuterLanes::Images;
  int64_t blocks =
      llvm::divideCeil(perGroup, ofImages ? plan.getPixels() : plan.getWidth());
  if (stagesSums(cast<MemRefType>(op.getOutput().getType()), numbers, plan))
    staged.emplace(op, b, outputTaps(dims), plan.getPixels(), plan.getWidth());
  // For the images that calls mostly have.
  ofPlanes = ofGroups && joinsPlanes(expected ? expected : channelsOfGroup,
                                     lanesAcrossGroups());
  int64_t tasks = groups * blocks * tapTasks();
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
  inputImage = input.of(numbers.getInputBatch());
  inputPixel = input.of(numbers.getInputSpatial().back());
  if (plan.getLanes() == Lanes::Images) {
    packedImages.emplace(op, b, input, box, plan.getWidth());
    inputSteps.clear();
    for (int64_t step : packedImages->steps())
      inputSteps.push_back(math.constant(step));
    inputImage = math.constant(1);
    inputPixel = inputSteps.back();
  }
  forOuterPieces(op, b, box, plan.getChunks(), math.mul(images, tasks),
                 [&](const OuterPiece &here) {
                   piece = here;
                   math.loop(piece.firstTask, piece.lastTask, 1,
                             [&](Value task) { this->task(task, blocks); });
                 });
  return tasks;
}

void OuterTiler::takeDigits(Value rest, int64_t blocks) {
  taps.assign(rank, Value());
  auto takeImage = [&] {
    image = b.createOrFold<arith::RemUIOp>(loc, rest, images);
    rest = b.createOrFold<arith::DivUIOp>(loc, rest, images);
  };
  auto takeTaps = [&] {
    for (int64_t dim = taskDims() - 1; dim >= 0; --dim)
      taps[dim] = math.takeDigit(rest, dims[dim].outputs());
  };
  bool ofImages = lanesHold == OuterLanes::Images;
  auto takeBlock = [&] { which = math.takeDigit(rest, blocks); };
  // Innermost what has the scalars, so that the vectors of a piece stay in
  // the nearest cache; or what has the lanes, so that outputs which outgrow
  // the caches are written in the order of memory.
  if (plan.getOrder() == Order::Filter || packedImages)
    ofImages ? (takeBlock(), takeTaps(), takeImage())
             : (takeImage(), takeTaps(), takeBlock());
  else
    ofImages ? (takeImage(), takeBlock(), takeTaps())
             : (takeBlock(), takeImage(), takeTaps());
  group = rest;
  block = math.add(math.mul(group, blocks), which);
}

void OuterTiler::task(Value task, int64_t blocks) {
  takeDigits(task, blocks);
  bool ofImages = lanesHold == OuterLanes::Images;
  int64_t size = ofImages ? plan.getPixels() : plan.getWidth();
  channel = math.mul(which, size);
  if (ofGroups)
    return acrossGroups(blocks);
  // The images of a tile are the work of the first one's task.
  int64_t most = ofImages ? plan.getWidth() : plan.getPixels();
  auto isZero = [&](Value x) {
    return math.compare(Predicate::eq, x, math.constant(0));
  };
  Value place = b.createOrFold<arith::RemUIOp>(loc, image, math.constant(most));
  math.branch(isZero(place), [&] {
    packOnce(task, blocks);
    if (!staged)
      enterRow();
    blockVariants(blocks, size, [&](int64_t width, int64_t valid) {
      imageVariants(most, [&](Value first, int64_t count) {
        firstImage = first;
        if (!ofImages)
          return taskTiles(count, width, valid);
        if (!leavesLanes(numbers, count))
          return taskTiles(width, lanesOfImages(count), count);
        llvm::SaveAndRestore ofChannels(lanesHold, OuterLanes::Channels);
        taskTiles(count, lanesOfImages(valid), valid);
      });
    });
  });
}

int64_t OuterTiler::taskDims() const {
  return staged ? 0 : ofPlanes ? rank - 2 : rank - 1;
}

int64_t OuterTiler::tapTasks() {
  int64_t tasks = 1;
  for (int64_t dim = 0; dim < taskDims(); ++dim)
    tasks *= dims[dim].outputs();
  return tasks;
}

void OuterTiler::packOnce(Value task, int64_t blocks) {
  if (!packedImages)
    return;
  Value rest = task;
  Value ofImage = math.takeDigit(rest, blocks * tapTasks());
  Value begins = b.createOrFold<arith::OrIOp>(
      loc, math.compare(Predicate::eq, task, piece.firstTask),
      math.compare(Predicate::eq, ofImage, math.constant(0)));
  math.branch(begins, [&] {
    Value at = math.add(math.mul(group, images), image);
    packedImages->pack(
        piece, math.mul(at, input.of(numbers.getInputBatch())),
        math.min(math.constant(plan.getWidth()), math.sub(images, image)));
  });
}

void OuterTiler::taskTiles(int64_t rows, int64_t lanes, int64_t valid) {
  if (!staged)
    return tiles(rows, lanes, valid);
  llvm::SaveAndRestore ofLanes(stagedLanes, lanes);
  std::function<void(int64_t)> nest = [&](int64_t dim) {
    if (dim < rank - 1)
      return math.loop(math.constant(0), math.constant(dims[dim].outputs()), 1,
                       [&](Value tap) {
                         taps[dim] = tap;
                         nest(dim + 1);
                       });
    enterRow();
    tiles(rows, lanes, valid);
  };
  nest(0);
  bool ofImages = lanesHold == OuterLanes::Images;
  Value channelStep = output.of(numbers.getOutputFeature());
  Value imageStep = output.of(numbers.getOutputBatch());
  Value feature = math.add(math.mul(group, perGroup), channel);
  Value at = math.add(math.add(piece.at, math.mul(channelStep, feature)),
                      math.mul(imageStep, firstImage));
  staged->store({piece.output, at, ofImages ? channelStep : imageStep,
                 ofImages ? imageStep : channelStep},
                piece.first, op.getResidual(), rows, lanes, valid);
}

void OuterTiler::forTapsOfTask(llvm::function_ref<void()> body) {
  auto row = [&] {
    enterRow();
    body();
  };
  if (!ofPlanes)
    return row();
  math.loop(math.constant(0), math.constant(dims[rank - 2].outputs()), 1,
            [&](Value tap) {
              taps[rank - 2] = tap;
              row();
            });
}

void OuterTiler::acrossGroups(int64_t blocks) {
  int64_t few = channelsOfGroup;
  auto isImage = [&](Value x, int64_t y) {
    return math.compare(Predicate::eq, x, math.constant(y));
  };
  blockVariants(blocks, plan.getWidth(), [&](int64_t, int64_t valid) {
    // One task has the tile of all images.
    auto together = [&](int64_t ofGroup) {
      math.branch(isImage(image, 0), [&] {
        firstImage = math.constant(0);
        // The groups before have so many images each.
        Value before = math.mul(math.floorDiv(channel, few), ofGroup);
        auto afterThem = [&] {
          inputRow = math.add(
              inputRow, math.mul(input.of(numbers.getInputBatch()), before));
        };
        int64_t lanes = lanesAcrossGroups();
        if (ofPlanes && joinsPlanes(ofGroup, lanes)) {
          enterRow(rank - 2);
          afterThem();
          return tile(ofGroup, lanes, valid,
                      dims[rank - 2].outputs() * dims.back().outputs(), 0,
                      /*planes=*/true);
        }
        forTapsOfTask([&] {
          afterThem();
          tiles(ofGroup, lanes, valid);
        });
      });
    };
    SmallVector<int64_t> counts = imagesAcrossGroups(few);
    if (expected)
      counts.assign(expected <= maxChannelsOfOuterGroups ? 1 : 0, expected);
    std::function<void(size_t)> choose = [&](size_t at) {
      if (at == counts.size())
        return groupByGroup(valid);
      math.branch(
          isImage(images, counts[at]), [&] { together(counts[at]); },
          [&] { choose(at + 1); });
    };
    choose(0);
  });
}

int64_t OuterTiler::lanesAcrossGroups() {
  auto type = cast<MemRefType>(op.getInput().getType());
  return llvm::alignTo(plan.getWidth(),
                       std::min(lineElements(type.getElementTypeBitWidth()),
                                int64_t(llvm::PowerOf2Ceil(plan.getWidth()))));
}

void OuterTiler::groupByGroup(int64_t valid) {
  int64_t few = channelsOfGroup;
  firstImage = image;
  llvm::SaveAndRestore all(ofGroups, false);
  llvm::SaveAndRestore one(perGroup, few);
  Value begin = channel;
  llvm::SaveAndRestore first(channel, math.constant(0));
  llvm::SaveAndRestore own(group);
  int64_t lanes =
      ChannelBlocks{Lanes::Channels, 1, few, plan.getWidth()}.vectorWidth(few);
  math.loop(math.constant(0), math.constant(valid / few), 1, [&](Value at) {
    group = math.add(math.floorDiv(begin, few), at);
    forTapsOfTask([&] { tiles(1, lanes, few); });
  });
}

void OuterTiler::blockVariants(
    int64_t blocks, int64_t size,
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

void OuterTiler::imageVariants(int64_t most,
                               llvm::function_ref<void(Value, int64_t)> body) {
  Value left = math.sub(images, image);
  if (expected) {
    Value count = math.min(left, math.constant(most));
    SmallVector<int64_t> sizes = imageTiles(expected, most);
    std::function<void(size_t)> choose = [&](size_t at) {
      // The only one that there can be.
      if (at < sizes.size() && most == 1)
        return body(image, 1);
      if (at < sizes.size())
        return math.branch(
            math.compare(Predicate::eq, count, math.constant(sizes[at])),
            [&] { body(image, sizes[at]); }, [&] { choose(at + 1); });
      llvm::SaveAndRestore others(unexpected, true);
      math.loop(math.constant(0), count, 1,
                [&](Value i) { body(math.add(image, i), 1); });
    };
    return choose(0);
  }
  auto any = [&] {
    math.branch(
        math.compare(Predicate::sge, left, math.constant(most)),
        [&] { body(image, most); },
        [&] {
          math.powersOfTwo(image, left, llvm::bit_floor<uint64_t>(most - 1),
                           body);
        });
  };
  // Groups mostly have as many images as channels.
  if (groups == 1 || perGroup >= most || llvm::isPowerOf2_64(perGroup))
    return any();
  math.branch(
      math.compare(Predicate::eq, images, math.constant(perGroup)),
      [&] { body(image, perGroup); }, any);
}

/// NAME_pack, which copies.
static void addCopy(func::FuncOp func, MemRefType type) {
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

int64_t convjit::tileOuterProducts(PhasesOp op, OpBuilder &b) {
  int64_t tasks = OuterTiler(op, b).run();
  if (!op.getPacked())
    addCopy(op->getParentOfType<func::FuncOp>(),
            cast<MemRefType>(op.getFilter().getType()));
  return tasks;
}
