//===- GPUCostModel.cpp - how long a plan takes on a chip -*- C++ -*-===//
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

const Chip &convjit::chipOf(StringRef name) {
  static constexpr Chip chips[] = {
      {"sm_80", "A100", 108, 1.41, 64, 32, 1555, 64},
      {"sm_86", "A10", 72, 1.70, 128, 2, 600, 64},
      {"sm_89", "L40S", 142, 2.52, 128, 2, 864, 64},
      {"sm_90", "H100 SXM", 132, 1.83, 128, 64, 3350, 64},
      {"sm_100", "B200", 148, 1.85, 128, 64, 8000, 64},
      {"sm_120", "RTX 5090", 170, 2.41, 128, 2, 1792, 64}};
  for (const Chip &chip : chips)
    if (name == chip.name)
      return chip;
  return chips[0];
}

namespace {

/// The numbers of a convolution that every prediction needs.
struct Facts {
  explicit Facts(ConvolutionOp op) {
    auto input = cast<RankedTensorType>(op.getInput().getType());
    auto output = cast<RankedTensorType>(op.getType());
    DimensionNumbersAttr numbers = op.getDimensionNumbers();
    bytes = input.getElementTypeBitWidth() / 8;
    channelsLast = numbers.getInputFeature() == input.getRank() - 1;
    outputLast = numbers.getOutputFeature() == output.getRank() - 1;
    imageBytes = convjit::imageBytes(input) +
                 convjit::imageBytes(output) * (op.getResidual() ? 2 : 1);
  }
  int64_t bytes, imageBytes;
  bool channelsLast, outputLast;
};

} // namespace

/// Taps that an average box of a dimension goes through: border boxes skip
/// those that none of their pixels has.
static double averageTaps(PhaseSplitAttr split, int64_t phases, int64_t size) {
  constexpr int64_t mostBoxes = 256;
  int64_t sum = 0, boxes = 0;
  int64_t step = split.getInputStep(), tapStep = split.getInputTapStep();
  for (int64_t r = 0; r < phases; ++r) {
    int64_t length = phaseLength(split, r), taps = split.getTaps()[r];
    int64_t base = split.getBase()[r];
    for (int64_t at = 0; at < length && boxes < mostBoxes; at += size) {
      int64_t last = std::min(at + size, length) - 1;
      int64_t lo = std::clamp<int64_t>(
          llvm::divideCeilSigned(-(last * step + base), tapStep), 0, taps);
      sum += std::clamp<int64_t>(
                 llvm::divideCeilSigned(split.getInput() - (at * step + base),
                                        tapStep),
                 lo, taps) -
             lo;
      ++boxes;
    }
  }
  return boxes ? static_cast<double>(sum) / static_cast<double>(boxes) : 0;
}

GPUPrediction convjit::predict(ConvolutionOp op, GPUPlanAttr plan,
                               const Chip &chip) {
  Facts facts(op);
  BlockSpace space = blockSpace(op, plan);
  GPUPrediction result;
  auto number = [](int64_t value) { return static_cast<double>(value); };
  // Taps, and pixels of input that all of them read.
  double taps = 1, footprint = number(plan.getBox()[0]);
  for (auto [dim, split] : llvm::enumerate(space.splits)) {
    int64_t size = plan.getBox()[1 + dim];
    double own = averageTaps(split, space.phases(dim), size);
    taps *= own;
    footprint *= number((size - 1) * split.getInputStep()) +
                 std::max(own - 1, 0.0) * number(split.getInputTapStep()) + 1;
  }
  double threads = number(plan.getThreads());
  double warps = std::ceil(threads / 32);
  double words = number(facts.bytes) / 4;
  double lanes = number(facts.bytes == 8 ? chip.doubles : chip.floats);
  double vector = number(plan.getVector());
  double ownPixels = number(plan.getThreadPixels());
  double own = number(plan.getThreadChannels());
  double depth = number(plan.getDepth());
  double pixels = number(plan.getPixels());
  double columns = number(plan.getChannels());

  // Of one step and a whole block, in cycles of an SM: multiply-adds, all
  // instructions (four a cycle), shared memory (128 bytes a cycle), loads.
  double steps, fma, issue, shared = 0, loads;
  // Sectors of 32 bytes that neighbouring threads share.
  double scattered = 1;
  if (!facts.channelsLast)
    scattered = std::max(
        1.0, 32 / (number(plan.getBox().back()) * number(facts.bytes)));
  if (plan.getSchedule() == GPUSchedule::Direct) {
    steps = taps * number(space.reduction);
    double products = threads * ownPixels * own;
    double perThread = own / vector + ownPixels * own / vector + 8;
    fma = products / lanes;
    issue = warps * (ownPixels * own + perThread) / 4;
    loads = products / own * vector * number(facts.bytes) * scattered;
    result.registers =
        static_cast<int64_t>(24 + (2 * ownPixels + 1) * own * words);
  } else {
    double padded = number(paddedReduction(plan, space.reduction));
    steps = std::ceil(taps * padded / depth);
    double products = pixels * columns * depth;
    double fragments = depth * (ownPixels + own) * words / 4;
    double moved = pixels * depth / threads;
    double input = moved / vector, stored = moved;
    double filter = columns * depth * words / 4 / threads;
    double positions = plan.getMixed() ? 12 * input : 8;
    fma = products / lanes;
    issue = warps *
            (ownPixels * own * depth + fragments + 6 * input + stored +
             3 * filter + positions + 16) /
            4;
    // A warp reads its rows and columns once, 4 x 8 threads of them.
    double perWarp = depth * (4 * ownPixels + 8 * own) * number(facts.bytes);
    shared = (warps * perWarp +
              2 * (pixels + columns) * depth * number(facts.bytes)) /
             128;
    loads =
        (pixels * depth * scattered + columns * depth) * number(facts.bytes);
    result.registers = static_cast<int64_t>(
        (ownPixels * own + 2 * (ownPixels + own) + 2 * moved) * words + 36);
  }
  result.registers = std::min<int64_t>(llvm::alignTo(result.registers, 8), 255);
  int64_t sharedBytes =
      convjit::sharedBytes(plan, facts.bytes, facts.channelsLast);
  constexpr int64_t registersOfSM = 65536, threadsOfSM = 2048, blocksOfSM = 32;
  constexpr int64_t sharedOfSM = 100 << 10;
  result.resident = std::max<int64_t>(
      1, std::min({registersOfSM / (result.registers * plan.getThreads()),
                   threadsOfSM / plan.getThreads(), blocksOfSM,
                   sharedBytes ? sharedOfSM / sharedBytes : blocksOfSM}));

  // What an SM does: its share of blocks at the rate of the busiest unit, and
  // for each set of resident blocks the latency of their beginning and end, and
  // of each step as far as too few warps hide it.
  double blocks = number(space.blocksPerImages()) *
                  std::ceil(number(predictedImages) / number(plan.getBox()[0]));
  double share = std::ceil(blocks / number(chip.processors));
  // The first-level cache serves what taps read again.
  double once = footprint * number(space.reduction * facts.bytes) * scattered /
                std::max(steps, 1.0);
  if (plan.getSchedule() == GPUSchedule::Simt)
    once += columns * depth * number(facts.bytes);
  double cache = std::max(loads / 128, once / chip.cache);
  struct {
    const char *name;
    double cycles;
  } units[] = {{"multiply-adds", fma},
               {"instructions", issue},
               {"shared memory", shared},
               {"cache", cache}};
  double most = 0, sum = 0;
  for (auto [name, cycles] : units) {
    sum += cycles;
    if (cycles > most) {
      most = cycles;
      result.bound = name;
    }
  }
  // Units overlap, but not entirely.
  most += 0.2 * (sum - most);
  double together = std::min(number(result.resident), share);
  double stepLatency = plan.getSchedule() == GPUSchedule::Direct ? 200 : 60;
  double perStep = std::max(most * together, stepLatency + most);
  constexpr double blockLatency = 2000;
  double rounds = share / together;
  double cycles = rounds * (steps * perStep + blockLatency);
  result.microseconds = cycles / chip.gigahertz * 1e-3;
  double traffic =
      number(facts.imageBytes * predictedImages) / chip.memory * 1e-3;
  if (traffic > result.microseconds) {
    result.microseconds = traffic;
    result.bound = "memory";
  }
  return result;
}

namespace {

/// Calls `body` for all boxes of `pixels` pixels whose sides are powers of two
/// and no longer than the phases need. Images come in once the image is full.
void forBoxes(ArrayRef<PhaseSplitAttr> splits, int64_t pixels,
              function_ref<void(ArrayRef<int64_t>)> body) {
  SmallVector<int64_t> box(splits.size() + 1, 1), most(splits.size() + 1);
  int64_t all = 1;
  for (auto [dim, split] : llvm::enumerate(splits)) {
    most[1 + dim] = llvm::PowerOf2Ceil(
        static_cast<uint64_t>(std::max<int64_t>(phaseLength(split, 0), 1)));
    all *= most[1 + dim];
  }
  most[0] = std::max<int64_t>(1, pixels / all);
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

} // namespace

SmallVector<GPUCandidate> convjit::gpuCandidates(ConvolutionOp op,
                                                 const Chip &chip) {
  Facts facts(op);
  MLIRContext *context = op.getContext();
  SmallVector<PhaseSplitAttr> splits = *splitConvolution(op, 0);
  int64_t rank = splits.size();
  SmallVector<int64_t> unit(rank + 1, 1);
  BlockSpace space =
      blockSpace(op, GPUPlanAttr::get(context, GPUSchedule::Direct, unit, 1, 1,
                                      1, 1, 1, 1, false));
  int64_t reduction = space.reduction;
  int64_t access = 16 / facts.bytes;
  int64_t vector = 1;
  if (facts.channelsLast && reduction > 0)
    while (vector < access && reduction % (2 * vector) == 0)
      vector *= 2;

  // The best box of each tile.
  using Key =
      std::tuple<int, int64_t, int64_t, int64_t, int64_t, int64_t, bool>;
  std::map<Key, GPUCandidate> best;
  auto consider = [&](GPUSchedule schedule, int64_t pixels, int64_t channels,
                      int64_t depth, int64_t ownPixels, int64_t own,
                      int64_t vector, bool mixed) {
    int64_t threads = pixels / ownPixels * (channels / own);
    if (threads < 32 || threads > 256)
      return;
    forBoxes(splits, pixels, [&](ArrayRef<int64_t> box) {
      bool direct = schedule == GPUSchedule::Direct;
      auto plan =
          GPUPlanAttr::get(context, schedule, box, channels, depth, ownPixels,
                           own, direct ? 1 : 2, vector, mixed);
      if (!whyPlanIsImpossible(op, plan).empty())
        return;
      GPUCandidate candidate{plan, predict(op, plan, chip)};
      Key key{static_cast<int>(schedule),
              pixels,
              channels,
              depth,
              ownPixels,
              own,
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
                         ownPixels / std::max<int64_t>(1, facts.bytes / 8 * 2),
                         own, std::min(vector, depth), mixed);
  bool depthwise = reduction == 1 && space.channels.perGroup == 1 &&
                   op.getBatchGroupCount() == 1;
  for (int64_t own : {int64_t(1), access})
    if (own == 1 || (depthwise && facts.channelsLast))
      for (int64_t lanes : {1, 4, 16, 32})
        for (int64_t ownPixels : {1, 2, 4})
          for (int64_t pixels : {32, 64, 128, 256})
            consider(GPUSchedule::Direct, pixels, lanes * own, 1, ownPixels,
                     own, depthwise ? own : 1, false);
  SmallVector<GPUCandidate> list;
  for (auto &[key, candidate] : best)
    list.push_back(candidate);
  if (list.empty()) {
    unit[rank] = 32;
    auto plan = GPUPlanAttr::get(context, GPUSchedule::Direct, unit, 1, 1, 1, 1,
                                 1, 1, false);
    list.push_back({plan, predict(op, plan, chip)});
  }
  llvm::stable_sort(list, [](const GPUCandidate &a, const GPUCandidate &b) {
    return a.prediction.microseconds < b.prediction.microseconds;
  });
  return list;
}
