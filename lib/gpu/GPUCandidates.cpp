//===- GPUCandidates.cpp - plans that a GPU may choose from -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "GPUCostModel.h"

#include "llvm/Support/Format.h"
#include "llvm/Support/MathExtras.h"
#include "llvm/Support/raw_ostream.h"

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
  int tried[2][2] = {};
  size_t whole = list.size();
  for (size_t i = 0; i < whole; ++i) {
    GPUCandidate best = list[i];
    GPUPlanAttr plan = best.plan;
    if (plan.getSchedule() == GPUSchedule::Direct ||
        tried[best.onlyIfAsked][plan.getPackInput()]++ >= most)
      continue;
    int64_t images = llvm::divideCeil(allImages, plan.getBox()[0]);
    int64_t blocks = blockSpace(op, plan).blocksPerImages() * images;
    for (int64_t split = 2;
         split <= 64 && blocks * split <= 2 * chip.processors; split *= 2) {
      auto parts = GPUPlanAttr::get(
          op.getContext(), plan.getSchedule(), plan.getBox(),
          plan.getChannels(), plan.getDepth(), plan.getThreadPixels(),
          plan.getThreadChannels(), plan.getStages(), plan.getVector(),
          plan.getMixed(), split, plan.getPackInput());
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

/// The best box of each tile, with the input as it is or packed.
class Tiles {
public:
  Tiles(ConvolutionOp op, const Chip &chip, int64_t images, int64_t multiple,
        bool packInput);

  void addDirect();
  void addSimt();
  void addMma();
  void appendTo(SmallVectorImpl<GPUCandidate> &list) const {
    for (auto &[key, candidate] : best)
      list.push_back(candidate);
  }

private:
  GPUPlanAttr plan(GPUSchedule schedule, ArrayRef<int64_t> box,
                   int64_t channels, int64_t depth, int64_t ownPixels,
                   int64_t own, int64_t stages, int64_t vector, bool mixed) {
    return GPUPlanAttr::get(op.getContext(), schedule, box, channels, depth,
                            ownPixels, own, stages, vector, mixed, /*split=*/1,
                            packInput);
  }
  bool wouldSpill(GPUPlanAttr plan);
  void consider(GPUSchedule schedule, int64_t pixels, int64_t channels,
                int64_t depth, int64_t ownPixels, int64_t own, int64_t stages,
                int64_t vector, bool mixed);

  ConvolutionOp op;
  const Chip &chip;
  int64_t images, multiple, bytes;
  bool packInput, channelsLast, imagesLast;
  SmallVector<PhaseSplitAttr> splits;
  Type element;
  /// Input channels that an output reads, output channels of a group.
  int64_t reduction, perGroup;
  /// Elements of the widest access; those of one that all rows of the input
  /// begin aligned for.
  int64_t access, vector = 1;

  using Key = std::tuple<int, int64_t, int64_t, int64_t, int64_t, int64_t,
                         int64_t, bool>;
  std::map<Key, GPUCandidate> best;
};

} // namespace

Tiles::Tiles(ConvolutionOp op, const Chip &chip, int64_t images,
             int64_t multiple, bool packInput)
    : op(op), chip(chip), images(images), multiple(multiple),
      packInput(packInput), splits(*splitConvolution(op, 0)) {
  auto input = cast<RankedTensorType>(op.getInput().getType());
  element = input.getElementType();
  bytes = input.getElementTypeBitWidth() / 8;
  access = 16 / bytes;
  GPUPlanAttr any =
      plan(GPUSchedule::Direct, SmallVector<int64_t>(splits.size() + 1, 1), 1,
           1, 1, 1, 1, 1, false);
  DimensionNumbersAttr numbers = readNumbers(any, op.getDimensionNumbers());
  channelsLast = numbers.getInputFeature() == input.getRank() - 1;
  // A weight gradient's images are the layer's channels.
  imagesLast = numbers.getInputBatch() == input.getRank() - 1;
  BlockSpace space = blockSpace(op, any);
  reduction = space.reduction;
  perGroup = space.channels.perGroup;
  if (channelsLast && reduction > 0)
    while (vector < access && reduction % (2 * vector) == 0)
      vector *= 2;
}

/// In its main loop.
bool Tiles::wouldSpill(GPUPlanAttr plan) {
  int64_t depth = plan.getDepth(), pixels = plan.getPixels();
  int64_t threads = plan.getThreads();
  // Where a step mixes taps, each element of the filter has an address and a
  // predicate of its own on its way: 540 bytes spilled with 32 of them beside a
  // tile of 8 by 8 (sm_90). Each pixel that it reads has an address and
  // positions: 24 bytes spilled with 32 of them, whose channels are neighbours
  // (sm_100).
  bool isSimt = plan.getSchedule() == GPUSchedule::Simt;
  int64_t addresses = 0;
  if (isSimt && plan.getMixed()) {
    addresses = 4 * plan.getChannels() * depth / threads;
    if (channelsLast)
      addresses += static_cast<int64_t>(1 + splits.size()) * pixels * depth /
                   (plan.getVector() * threads);
  }
  bool productRows = hasProductRows(plan, element, op.getDimensionNumbers());
  // Of tensor cores' rows of products, too, where they go through registers: 48
  // bytes spilled with 32 of them in three dimensions, which were expected to
  // take 248 registers (sm_80).
  if (productRows && plan.getMixed() && channelsLast)
    addresses = pixels * depth / threads;
  bool mayNotFit = isSimt || productRows;
  return mayNotFit &&
         expectedRegisters(plan, registerFacts(op, plan)) + addresses >=
             mostRegisters;
}

void Tiles::consider(GPUSchedule schedule, int64_t pixels, int64_t channels,
                     int64_t depth, int64_t ownPixels, int64_t own,
                     int64_t stages, int64_t vector, bool mixed) {
  int64_t threads = pixels / ownPixels * (channels / own);
  if (threads < 32 || threads > 256)
    return;
  int64_t neighbours = imagesLast ? images : 1;
  forBoxes(splits, pixels, neighbours, [&](ArrayRef<int64_t> box) {
    GPUPlanAttr made = plan(schedule, box, channels, depth, ownPixels, own,
                            stages, vector, mixed);
    if (!whyPlanIsImpossible(op, made).empty() || wouldSpill(made))
      return;
    // Products of tf32 are not those of f32.
    bool rounds = schedule == GPUSchedule::Mma && bytes == 4;
    GPUCandidate candidate{made, predict(op, made, chip, images), rounds};
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
}

void Tiles::addSimt() {
  int64_t columns = llvm::PowerOf2Ceil(
      static_cast<uint64_t>(std::clamp<int64_t>(perGroup, access, 128)));
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
}

void Tiles::addDirect() {
  bool depthwise =
      reduction == 1 && perGroup == 1 && op.getBatchGroupCount() == 1;
  for (int64_t own : {int64_t(1), access})
    if (own == 1 || (depthwise && channelsLast))
      for (int64_t lanes : {1, 4, 16, 32})
        for (int64_t ownPixels : {1, 2, 4})
          for (int64_t pixels : {32, 64, 128, 256})
            consider(GPUSchedule::Direct, pixels, lanes * own, 1, ownPixels,
                     own, 1, depthwise ? own : 1, false);
}

void Tiles::addMma() {
  // Warps of 16 to 64 pixels by 8 to 64 channels; steps of 64 or 128 bytes.
  int64_t columns = llvm::PowerOf2Ceil(
      static_cast<uint64_t>(std::clamp<int64_t>(perGroup, 8, 256)));
  // What is read in runs of products in any case, in runs of images where those
  // are known to begin aligned, or by the element.
  bool productRows = bytes == 2 && (!channelsLast || vector == 1);
  int64_t run = vector;
  if (productRows && imagesLast)
    while (run < access && multiple % (2 * run) == 0)
      run *= 2;
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
                             ownPixels, own, stages, std::min(run, depth),
                             mixed);
}

/// Packing is chosen for inputs whose pixels are last, which it writes in
/// order. Where images are last it would write short runs far apart: in a
/// weight's gradient as many elements as the layer has images, 16 bytes for
/// eight.
static bool hasPixelsLast(ConvolutionOp op) {
  DimensionNumbersAttr numbers = op.getDimensionNumbers();
  return llvm::is_contained(numbers.getInputSpatial(), numbers.getRank() + 1);
}

SmallVector<GPUCandidate> convjit::gpuCandidates(ConvolutionOp op,
                                                 const Chip &chip,
                                                 int64_t images,
                                                 int64_t multiple) {
  SmallVector<GPUCandidate> list;
  auto sort = [&] {
    llvm::stable_sort(list, [](const GPUCandidate &a, const GPUCandidate &b) {
      return std::tuple(a.onlyIfAsked, a.prediction.microseconds) <
             std::tuple(b.onlyIfAsked, b.prediction.microseconds);
    });
  };
  Tiles tiles(op, chip, images, multiple, /*packInput=*/false);
  tiles.addSimt();
  tiles.addDirect();
  tiles.addMma();
  tiles.appendTo(list);
  if (llvm::all_of(list, [](const auto &one) { return one.onlyIfAsked; })) {
    SmallVector<int64_t> box(op.getDimensionNumbers().getRank() + 1, 1);
    box.back() = 32;
    auto plan =
        GPUPlanAttr::get(op.getContext(), GPUSchedule::Direct, box, 1, 1, 1, 1,
                         1, 1, false, /*split=*/1, /*packInput=*/false);
    list.push_back({plan, predict(op, plan, chip, images)});
  }
  sort();
  // A packed input is for those who read it several times, and for wide copies
  // to tensor cores; only where packing alone does not take as long as the
  // slower of the best plans that read the input as it is.
  if (hasPixelsLast(op)) {
    double slowest = list.front().prediction.microseconds;
    for (const GPUCandidate &one : list)
      if (one.onlyIfAsked) {
        slowest = std::max(slowest, one.prediction.microseconds);
        break;
      }
    if (packMicroseconds(op, chip, images) < slowest) {
      Tiles packed(op, chip, images, multiple, /*packInput=*/true);
      packed.addSimt();
      packed.addMma();
      packed.appendTo(list);
      sort();
    }
  }
  addSplits(op, chip, images, list);
  sort();
  return list;
}

std::string convjit::whyInputIsNotPacked(ConvolutionOp op, const Chip &chip,
                                         int64_t images, double best) {
  if (!hasPixelsLast(op))
    return "pixels are not last in the input";
  std::string why;
  llvm::raw_string_ostream(why)
      << "the launch that packs is predicted to take "
      << llvm::format("%.3g", packMicroseconds(op, chip, images))
      << " us, all of the best plan without it " << llvm::format("%.3g", best);
  return why;
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
