//===- CacheCost.cpp - what an order of tasks reads again -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

// What does not survive in the second-level cache from one task to the next
// that needs it comes from the third, or from memory: weights for each row, or
// the input for each block of channels and phase.
//
//===----------------------------------------------------------------------===//

#include "plan/PlanShape.h"

using namespace mlir;
using namespace convjit;
using namespace convjit::conv;

double PlanShape::taskInputBytes(const TaskSpace &space) const {
  double bytes = inputBytes / space.chunks;
  for (PhaseSplitAttr split : ArrayRef(splits).drop_back())
    bytes *=
        std::min(1.0, static_cast<double>(*llvm::max_element(split.getTaps())) /
                          std::max<int64_t>(1, split.getInput()));
  return bytes;
}

double PlanShape::partsOfOutputs(int64_t width, Order order,
                                 bool rowByRow) const {
  // Groups of a pixel share lines, and come back to them one after another.
  if (channels.groups > 1 && channels.lanes == Lanes::Channels && !rowByRow &&
      outputBytes > nearBytes())
    return outputBytes * (lineBytes - 1) /
           static_cast<double>(channels.perGroup * elementBytes) /
           machine.memoryRate;
  // Parts of pixels that go to memory, if the others' turn is far away.
  // Depthwise, transposed, k 7 s 3, 384 channels at 105 x 158, 64 of them a
  // block: by blocks 26.6 ms, by rows 15.5; k 3 s 2 d 4, 768 at 16 x 32 x 16,
  // 64.5 and 46.9.
  constexpr double partRate = 5.4;
  if (channels.lanes == Lanes::Groups && width < channels.lanesInRun() &&
      outputBytes > sharedCache && order != Order::Input)
    return outputBytes / partRate;
  return 0;
}

double PlanShape::farCycles(const TaskSpace &space, int64_t width, Order order,
                            double images, double nearCycles) const {
  // Pieces of rows that the weights survive, or not.
  double taps = 1, rows = space.chunks, phases = 1;
  for (size_t dim = 0; dim < splits.size(); ++dim) {
    PhaseSplitAttr split = splits[dim];
    double sum = 0;
    for (int64_t count : split.getTaps())
      sum += count ? tapsInside(split, count) : 0;
    taps *= sum;
    if (dim + 1 < splits.size()) {
      rows *= space.rows(dim);
      phases *= space.phases(dim);
    }
  }
  double blocks = space.channels.blocks();
  double blockBytes = taps * reduction * width * elementBytes;
  double near = nearBytes();
  // What comes back to the input after all images, or after one.
  auto rateOf = [&](double bytes) {
    return bytes < near          ? 1e9
           : bytes < sharedCache ? machine.l3Rate
                                 : machine.memoryRate;
  };
  double imageRate = rateOf(inputBytes);
  // Parts of pixels, in a single row, are not seen coming. Depthwise, k 7 s 2,
  // 64 channels at 300000, 16, 32 and 64 of them a block: 5.1, 5.2 and 4.1 ms.
  // In more dimensions they are asked for a row ahead.
  double run = channels.lanesInRun();
  if (channels.lanes == Lanes::Groups && splits.size() == 1 && width < run)
    imageRate /= 1 + 0.8 * (1 - width / run);
  double batchRate = rateOf(images * inputBytes);
  // `reused`: the bytes that stay while `uses` images go by, if they fit.
  auto weights = [&](double reused, double times, double uses) {
    // Steps whose weights stream from the third-level cache have counted them,
    // beside their FMAs. 320 to 320 channels, k 3, at 4 x 4 x 4: counted twice,
    // 16 channels by 4 pixels were picked, 75 % of the peak; 64 by 4 are at
    // 94 %. From memory (33 MB) they do not keep up.
    // The next row of the same block has some of them nearer: 1024 to 128
    // channels, k 3 d 3, at 4 x 4 x 4, Emerald Rapids, 1.5 ms by blocks, 2.3;
    // on Zen 4 ten such layers take 1 to 3 % longer.
    if (tileWeights(width) >= near && blocks * blockBytes < 2 * sharedCache)
      return order == Order::Input && machine.hasMesh() ? 0.01 * nearCycles
                                                        : 0.0;
    double bytes = blocks * blockBytes;
    if (reused < near)
      return bytes / uses / machine.l3Rate;
    // FMAs hide what comes from the third level and does not take longer than
    // they do, the less of it the better. Zen 4, 16 x 16 x 16 with 256 to 128
    // channels, k 2 s 2, all 1 MB of weights for each row, in lanes of both
    // phases 19.8 ms, a row for each block 21.5; the other way about 8 MB, 32 x
    // 32 with 512 to 256 channels, k 4 s 2, 43.9 and 40.0; 3 of 21 MB, 8 x 8 x
    // 8 with 768 to 256, k 3, 37 and 41; 1 and 4 of 33 MB, 4 x 4 x 4 with 512
    // to 256, k 4 s 2, 64 images, 472 and 571.
    double all = times * bytes / machine.l3Rate;
    // Not all, or what waits for itself would seem to cost nothing: 4 x 2 with
    // 1024 to 512, k 4 d 2, 64 lanes 0.49 ms, 16 lanes 0.98.
    constexpr double most = 0.9;
    double hidden = machine.l3Overlap * most * nearCycles *
                    std::max(0.0, 1 - reused / sharedCache);
    return std::max(bytes / machine.l3Rate, all - hidden);
  };
  // Each group reads its part of every pixel, and of lines that it shares.
  double groupShare = 1.0 / channels.groups;
  if (inputChannelsLast)
    groupShare = std::min(
        1.0, groupShare * (1 + (lineBytes - 1.0) / (reduction * elementBytes)));
  double taskInput = taskInputBytes(space);
  // Blocks of groups read parts of the same lines, unless they begin lines.
  // From memory, passes of strided lines take as long as parts: 64 channels at
  // 400 x 400, k 3, by rows 4.7 ms, by blocks of 32 5.7.
  if (channels.lanes == Lanes::Groups) {
    int64_t bytes = width * elementBytes;
    bool lines = bytes % lineBytes == 0 && pixelBytes % lineBytes == 0 &&
                 inputBytes < sharedCache;
    groupShare = std::min(1.0, (lines ? 1 : 2) / blocks);
  }
  // Across groups nothing hides what does not quite stay: 320 channels at 32 x
  // 32 x 16, k 5 s 2, whose rows are 0.5 MB, by rows 14.3 ms, by blocks 11.0;
  // 768 at 16 x 32 x 16, transposed, k 3 s 2 d 4, 0.44 MB, 46.9 and 64.5.
  double room = channels.lanes == Lanes::Groups ? 0.75 * near : near;
  // The input rows that one row of output reads survive the blocks between.
  bool rowByRow = order == Order::Input && taskInput < room;
  double inputPasses = rowByRow ? 1 : blocks * groupShare;
  // Few products hide what the first of several phases asks for, and those of
  // the others come too late. 32 to 1 channels, k 3 s 2, at 97 x 128 x 256: all
  // phases in a tile 68 ms, four apart 79; from the second level the other way
  // about (16 x 16 x 16, us): 72 and 65.
  double late = channels.lanes == Lanes::Reduction ? 2 - 1 / phases : 1;
  // What the next block reads is in the third level, at least. Across groups
  // those are other lines, but the next row's, of the same block, are gone.
  double againRate =
      taskInput < sharedCache ? std::max(imageRate, machine.l3Rate) : imageRate;
  double inputAgain = (inputPasses - 1) * inputBytes / againRate;
  // What is asked for ahead hides half. Depthwise, k 3 s 1 x 2 x 2, 54 channels
  // at 16 x 112 x 112, haswell: rows for each block 11.1 ms, blocks for each
  // row 7.3; k 5 s 2, 320 at 32 x 32 x 16, 4 images, 11.6 and 14.5.
  if (channels.lanes == Lanes::Groups && !rowByRow)
    inputAgain = std::max(0.0, rows * taskInput - inputBytes) / (2 * againRate);
  double shared = partsOfOutputs(width, order, rowByRow);
  // Taps of one row: where the input is tiny, each row has its own.
  double rowShare = 1;
  for (PhaseSplitAttr split : ArrayRef(splits).drop_back())
    rowShare *= std::min<double>(
        1, static_cast<double>(split.getInput()) /
               std::max<int64_t>(1, *llvm::max_element(split.getTaps())));
  // All weights, from one image to the next.
  double whole = blocks * blockBytes < near ? images : 1;
  switch (order) {
  case Order::Batch: {
    // The images meet the taps of one row before those of the next; of a tiny
    // input each row has taps of its own.
    double passes = rows * rowShare;
    return shared +
           weights(blockBytes / phases * rowShare, passes, images / passes) +
           blocks * phases * groupShare * rows * taskInput / batchRate;
  }
  case Order::Filter:
    return shared + weights(blockBytes / phases, rows, images) +
           blocks * phases * groupShare * inputBytes / batchRate;
  case Order::Block:
    return shared + weights(blockBytes, rows, whole) +
           late * blocks * groupShare * inputBytes / imageRate;
  case Order::Input:
    return shared + weights(blockBytes * blocks, rows, whole) +
           late * (inputBytes / imageRate + inputAgain);
  }
  llvm_unreachable("unknown order");
}
