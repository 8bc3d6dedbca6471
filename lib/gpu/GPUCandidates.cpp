//===- GPUCandidates.cpp - plans that a GPU may choose from -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "GPUCostModel.h"

#include "llvm/Support/MathExtras.h"

#include <map>

using namespace convjit;
using namespace convjit::conv;
using namespace mlir;

namespace {

/// Calls `body` for all boxes of `pixels` pixels whose sides are powers of two
/// and no longer than the phases need. Images come in once the image is full,
/// but for `images` of them that are neighbours in memory.
void forBoxes(ArrayRef<PhaseSplitAttr> splits, int64_t pixels, int64_t images,
              function_ref<void(ArrayRef<int64_t>)> body) {
  SmallVector<int64_t> box(splits.size() + 1, 1), most(splits.size() + 1);
  int64_t all = 1;
  for (auto [dim, split] : llvm::enumerate(splits)) {
    most[1 + dim] = llvm::PowerOf2Ceil(
        static_cast<uint64_t>(std::max<int64_t>(phaseLength(split, 0), 1)));
    all *= most[1 + dim];
  }
  auto neighbours =
      static_cast<int64_t>(llvm::PowerOf2Ceil(static_cast<uint64_t>(images)));
  most[0] = std::max({int64_t(1), pixels / all, neighbours});
  std::function<void(size_t, int64_t)> fill = [&](size_t axis, int64_t left) {
    if (axis == box.size()) {
      if (left == 1)
        body(box);
      return;
    }
    for (int64_t size = 1; size <= std::min(left, most[axis]); size *= 2) {
      box[axis] = size;
      fill(axis + 1, left / size);
    }
  };
  fill(0, pixels);
}

/// The better plans again with their reduction in parts, where their blocks
/// would not occupy the chip. Large tiles, of which there are few, gain most.
void addSplits(ConvolutionOp op, const Chip &chip, int64_t allImages,
               SmallVectorImpl<GPUCandidate> &list) {
  constexpr int most = 64;
  int tried[2] = {0, 0};
  size_t whole = list.size();
  for (size_t i = 0; i < whole; ++i) {
    GPUCandidate best = list[i];
    GPUPlanAttr plan = best.plan;
    if (plan.getSchedule() == GPUSchedule::Direct ||
        tried[best.onlyIfAsked]++ >= most)
      continue;
    int64_t images = llvm::divideCeil(allImages, plan.getBox()[0]);
    int64_t blocks = blockSpace(op, plan).blocksPerImages() * images;
    for (int64_t split = 2;
         split <= 64 && blocks * split <= 2 * chip.processors; split *= 2) {
      auto parts = GPUPlanAttr::get(op.getContext(), plan.getSchedule(),
                                    plan.getBox(), plan.getChannels(),
                                    plan.getDepth(), plan.getThreadPixels(),
                                    plan.getThreadChannels(), plan.getStages(),
                                    plan.getVector(), plan.getMixed(), split);
      GPUPrediction prediction = predict(op, parts, chip, allImages);
      if (prediction.microseconds < best.prediction.microseconds) {
        best.plan = parts;
        best.prediction = prediction;
      }
    }
    if (best.plan != plan)
      list.push_back(best);
  }
}

} // namespace

SmallVector<GPUCandidate> convjit::gpuCandidates(ConvolutionOp op,
                                                 const Chip &chip,
                                                 int64_t images,
                                                 int64_t multiple) {
  MLIRContext *context = op.getContext();
  auto input = cast<RankedTensorType>(op.getInput().getType());
  int64_t bytes = input.getElementTypeBitWidth() / 8;
  bool channelsLast =
      op.getDimensionNumbers().getInputFeature() == input.getRank() - 1;
  // A weight gradient's images are the layer's channels.
  DimensionNumbersAttr numbers = op.getDimensionNumbers();
  bool imagesLast = numbers.getInputBatch() == input.getRank() - 1;
  bool imagesFirst =
      numbers.getInputBatch() == 0 && numbers.getOutputBatch() == 0;
  int64_t neighbours = imagesLast ? images : 1;
  SmallVector<PhaseSplitAttr> splits = *splitConvolution(op, 0);
  int64_t rank = splits.size();
  SmallVector<int64_t> unit(rank + 1, 1);
  BlockSpace space =
      blockSpace(op, GPUPlanAttr::get(context, GPUSchedule::Direct, unit, 1, 1,
                                      1, 1, 1, 1, false, 1));
  int64_t reduction = space.reduction;
  int64_t access = 16 / bytes;
  int64_t vector = 1;
  if (channelsLast && reduction > 0)
    while (vector < access && reduction % (2 * vector) == 0)
      vector *= 2;

  // The best box of each tile.
  using Key = std::tuple<int, int64_t, int64_t, int64_t, int64_t, int64_t,
                         int64_t, bool>;
  std::map<Key, GPUCandidate> best;
  auto consider = [&](GPUSchedule schedule, int64_t pixels, int64_t channels,
                      int64_t depth, int64_t ownPixels, int64_t own,
                      int64_t stages, int64_t vector, bool mixed) {
    int64_t threads = pixels / ownPixels * (channels / own);
    if (threads < 32 || threads > 256)
      return;
    forBoxes(splits, pixels, neighbours, [&](ArrayRef<int64_t> box) {
      auto plan = GPUPlanAttr::get(context, schedule, box, channels, depth,
                                   ownPixels, own, stages, vector, mixed, 1);
      if (!whyPlanIsImpossible(op, plan).empty())
        return;
      // It would spill in the main loop. Where a step mixes taps, each element
      // of the filter has an address and a predicate of its own on its way: 540
      // bytes spilled with 32 of them beside a tile of 8 by 8 (sm_90).
      // Each pixel that it reads has an address and positions: 24 bytes spilled
      // with 32 of them, whose channels are neighbours (sm_100).
      bool isSimt = schedule == GPUSchedule::Simt;
      int64_t addresses = 0;
      if (isSimt && mixed) {
        addresses = 4 * channels * depth / threads;
        if (channelsLast)
          addresses += (1 + rank) * pixels * depth / (vector * threads);
      }
      bool productRows = hasProductRows(plan, input.getElementType(), numbers);
      // Of tensor cores' rows of products, too, where they go through
      // registers: 48 bytes spilled with 32 of them in three dimensions, which
      // were expected to take 248 registers (sm_80).
      if (productRows && mixed && channelsLast)
        addresses = pixels * depth / threads;
      bool mayNotFit = isSimt || productRows;
      if (mayNotFit &&
          expectedRegisters(plan, {bytes, imagesFirst, channelsLast}) +
                  addresses >=
              mostRegisters)
        return;
      // Products of tf32 are not those of f32.
      bool rounds = schedule == GPUSchedule::Mma && bytes == 4;
      GPUCandidate candidate{plan, predict(op, plan, chip, images), rounds};
      Key key{static_cast<int>(schedule),
              pixels,
              channels,
              depth,
              ownPixels,
              own,
              stages,
              mixed};
      auto [it, isNew] = best.try_emplace(key, candidate);
      // Of equal ones the widest rows, which come first.
      if (!isNew && candidate.prediction.microseconds <
                        it->second.prediction.microseconds * 0.999)
        it->second = candidate;
    });
  };
  int64_t columns = llvm::PowerOf2Ceil(static_cast<uint64_t>(
      std::clamp<int64_t>(space.channels.perGroup, access, 128)));
  // Where one tap's channels would mostly be padding, steps hold several taps.
  for (bool mixed : {false, true})
    for (int64_t depth : {8, 16})
      if (mixed == (reduction % depth != 0 && reduction < 4 * depth))
        for (int64_t pixels : {32, 64, 128, 256})
          for (int64_t channels = access; channels <= columns; channels *= 2)
            for (int64_t ownPixels : {4, 8})
              for (int64_t own : {2, 4, 8})
                consider(GPUSchedule::Simt, pixels, channels, depth,
                         ownPixels / std::max<int64_t>(1, bytes / 8 * 2), own,
                         2, std::min(vector, depth), mixed);
  bool depthwise = reduction == 1 && space.channels.perGroup == 1 &&
                   op.getBatchGroupCount() == 1;
  for (int64_t own : {int64_t(1), access})
    if (own == 1 || (depthwise && channelsLast))
      for (int64_t lanes : {1, 4, 16, 32})
        for (int64_t ownPixels : {1, 2, 4})
          for (int64_t pixels : {32, 64, 128, 256})
            consider(GPUSchedule::Direct, pixels, lanes * own, 1, ownPixels,
                     own, 1, depthwise ? own : 1, false);
  // Warps of 16 to 64 pixels by 8 to 64 channels; steps of 64 or 128 bytes.
  columns = llvm::PowerOf2Ceil(static_cast<uint64_t>(
      std::clamp<int64_t>(space.channels.perGroup, 8, 256)));
  // What is read in runs of products in any case, in runs of images where those
  // are known to begin aligned, or by the element.
  bool productRows = bytes == 2 && (!channelsLast || vector == 1);
  if (productRows && imagesLast)
    while (vector < access && multiple % (2 * vector) == 0)
      vector *= 2;
  auto holdsTaps = [&](int64_t depth, bool mixed) {
    bool padded = reduction % depth != 0 && reduction < 2 * depth;
    // With a row for each product each has a position of its own: more than
    // half a step of padding costs less.
    if (productRows && padded && !mixed)
      return 2 * reduction >= depth;
    return mixed == padded;
  };
  SmallVector<int64_t> depths = {64 / bytes, 128 / bytes};
  if (productRows)
    depths.insert(depths.begin(), 16);
  for (bool mixed : {false, true})
    for (int64_t depth : depths)
      if (holdsTaps(depth, mixed))
        for (int64_t pixels : {32, 64, 128, 256})
          for (int64_t channels = 8; channels <= columns; channels *= 2)
            for (int64_t ownPixels : {2, 4, 8})
              for (int64_t own : {2, 4, 8, 16})
                for (int64_t stages : {3, 4})
                  if (ownPixels * own <= 64 && 4 * own <= channels &&
                      8 * ownPixels <= pixels)
                    consider(GPUSchedule::Mma, pixels, channels, depth,
                             ownPixels, own, stages, std::min(vector, depth),
                             mixed);
  SmallVector<GPUCandidate> list;
  for (auto &[key, candidate] : best)
    list.push_back(candidate);
  if (llvm::all_of(list, [](const auto &one) { return one.onlyIfAsked; })) {
    unit[rank] = 32;
    auto plan = GPUPlanAttr::get(context, GPUSchedule::Direct, unit, 1, 1, 1, 1,
                                 1, 1, false, 1);
    list.push_back({plan, predict(op, plan, chip, images)});
  }
  auto sort = [&] {
    llvm::stable_sort(list, [](const GPUCandidate &a, const GPUCandidate &b) {
      return std::tuple(a.onlyIfAsked, a.prediction.microseconds) <
             std::tuple(b.onlyIfAsked, b.prediction.microseconds);
    });
  };
  sort();
  addSplits(op, chip, images, list);
  sort();
  return list;
}

std::string convjit::whyNoTensorCores(ConvolutionOp op) {
  auto input = cast<RankedTensorType>(op.getInput().getType());
  Type element = input.getElementType();
  if (element.isF64())
    return "tensor cores multiply no f64 here; valid: f16, bf16, and f32 with "
           "products of "
           "tf32";
  return "no tile of it is possible";
}
