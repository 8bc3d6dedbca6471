//===- GPUCostModel.cpp - how long a plan takes on a chip -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "GPUCostModel.h"

#include "llvm/Support/MathExtras.h"

using namespace convjit;
using namespace convjit::conv;
using namespace mlir;

const Chip &convjit::chipOf(StringRef name) {
  static constexpr Chip chips[] = {
      // Tensor cores from sm_90 on do twice that, or four times, by wgmma and
      // tcgen05; what mma.sync does there is taken to be Ampere's.
      {"sm_80", "A100", 108, 1.41, 64, 32, 1024, 164 << 10, 1555, 64},
      {"sm_86", "A10", 72, 1.70, 128, 2, 512, 100 << 10, 600, 64},
      {"sm_89", "L40S", 142, 2.52, 128, 2, 512, 100 << 10, 864, 64},
      {"sm_90", "H100 SXM", 132, 1.83, 128, 64, 1024, 228 << 10, 3350, 64},
      {"sm_100", "B200", 148, 1.85, 128, 64, 1024, 228 << 10, 8000, 64},
      {"sm_120", "RTX 5090", 170, 2.41, 128, 2, 256, 100 << 10, 1792, 64}};
  for (const Chip &chip : chips)
    if (name == chip.name)
      return chip;
  return chips[0];
}

namespace {

/// The numbers of a convolution that every prediction needs.
struct Facts {
  Facts(ConvolutionOp op, GPUPlanAttr plan) {
    auto input = cast<RankedTensorType>(op.getInput().getType());
    auto output = cast<RankedTensorType>(op.getType());
    DimensionNumbersAttr numbers = readNumbers(plan, op.getDimensionNumbers());
    bytes = input.getElementTypeBitWidth() / 8;
    sumBytes = std::max<int64_t>(bytes, 4);
    channelsLast = numbers.getInputFeature() == input.getRank() - 1;
    wide = numbers.getInputBatch() != 0 || numbers.getOutputBatch() != 0;
    imagesLast = numbers.getInputBatch() == input.getRank() - 1;
    outputLast = numbers.getOutputFeature() == output.getRank() - 1;
    outputElements = convjit::imageBytes(output) / bytes;
    imageBytes = convjit::imageBytes(input) +
                 convjit::imageBytes(output) * (op.getResidual() ? 2 : 1);
  }
  bool hasProductRows(GPUPlanAttr plan) const {
    return bytes == 2 && (!channelsLast || plan.getVector() == 1);
  }

  int64_t bytes, sumBytes, imageBytes, outputElements;
  bool channelsLast, imagesLast, outputLast;
  bool wide; ///< positions of 64 bits
};

/// One step of a block, in cycles of an SM and bytes of loads.
struct Step {
  double products, issue, shared = 0, loads;
  /// From its beginning to its end, if the SM has nothing else to do.
  double latency;
};

double number(int64_t value) { return static_cast<double>(value); }

/// Blocks of an SM at a time, as far as registers and threads allow. Each of
/// its four quarters has registers of its own.
int64_t residentBlocks(int64_t threads, int64_t registers) {
  constexpr int64_t quarters = 4, registersOfQuarter = 16384;
  constexpr int64_t threadsOfSM = 2048, blocksOfSM = 32;
  int64_t warps = registersOfQuarter / (32 * registers) * quarters;
  return std::min<int64_t>(
      {warps / ((threads + 31) / 32), threadsOfSM / threads, blocksOfSM});
}

/// Products a cycle of an SM, at most.
double peakProducts(GPUPlanAttr plan, const Facts &facts, const Chip &chip) {
  if (plan.getSchedule() == GPUSchedule::Mma)
    return 2 * number(chip.tensor) / number(facts.bytes);
  return number(facts.bytes == 8 ? chip.doubles : chip.floats);
}

/// Instructions of a step that go into one position in the reduction that is
/// kept digit by digit: what is added, carries, offsets.
double positionCost(GPUPlanAttr plan, const Facts &facts) {
  auto digits = static_cast<double>(plan.getBox().size());
  return (facts.wide ? 15 : 6) * digits;
}

Step directStep(GPUPlanAttr plan, const Facts &facts, const Chip &chip,
                double scattered) {
  Step step;
  double threads = number(plan.getThreads());
  double warps = std::ceil(threads / 32);
  double vector = number(plan.getVector());
  double ownPixels = number(plan.getThreadPixels());
  double own = number(plan.getThreadChannels());
  double products = threads * ownPixels * own;
  double perThread = own / vector + ownPixels * own / vector + 8;
  step.products =
      products / number(facts.bytes == 8 ? chip.doubles : chip.floats);
  step.issue = warps * (ownPixels * own + perThread) / 4;
  step.loads = products / own * vector * number(facts.bytes) * scattered;
  step.latency = 200;
  return step;
}

Step simtStep(GPUPlanAttr plan, const Facts &facts, const Chip &chip,
              double scattered) {
  Step step;
  double threads = number(plan.getThreads());
  double warps = std::ceil(threads / 32);
  double words = number(facts.sumBytes) / 4;
  double vector = number(plan.getVector());
  double ownPixels = number(plan.getThreadPixels());
  double own = number(plan.getThreadChannels());
  double depth = number(plan.getDepth());
  double pixels = number(plan.getPixels());
  double columns = number(plan.getChannels());
  double products = pixels * columns * depth;
  double fragments = depth * (ownPixels + own) * words / 4;
  double moved = pixels * depth / threads;
  double input = moved / vector, stored = moved;
  double filter = columns * depth * words / 4 / threads;
  double positions = 8;
  if (plan.getMixed()) {
    double own = facts.channelsLast ? 1 : std::min(depth, moved);
    positions = (own + filter) * positionCost(plan, facts);
  }
  step.products =
      products / number(facts.bytes == 8 ? chip.doubles : chip.floats);
  step.issue = warps *
               (ownPixels * own * depth + fragments + 6 * input + stored +
                3 * filter + positions + 16) /
               4;
  // Lanes at one word share it within a quarter of a warp, which is what reads
  // 16 bytes each at a time: as the emulator counts.
  double perWarp = 32 * depth * (ownPixels + own) * number(facts.sumBytes);
  step.shared =
      (warps * perWarp + (pixels + columns) * depth * number(facts.sumBytes)) /
      128;
  step.loads =
      (pixels * depth * scattered + columns * depth) * number(facts.bytes);
  step.latency = 60;
  return step;
}

Step mmaStep(GPUPlanAttr plan, const Facts &facts, const Chip &chip,
             double scattered) {
  Step step;
  double threads = number(plan.getThreads()), warps = threads / 32;
  double bytes = number(facts.bytes);
  double down = number(plan.getThreadPixels()) / 2;
  double across = number(plan.getThreadChannels()) / 2;
  double depth = number(plan.getDepth());
  double pixels = number(plan.getPixels());
  double columns = number(plan.getChannels());
  // Products of two chunks of 16 bytes.
  double deep = depth * bytes / 32;
  double inputCopies = pixels * depth / number(plan.getVector()) / threads;
  double filterCopies = columns * depth * bytes / 16 / threads;
  // Each copy has an address of 64 bits on both sides and a condition. Fitted
  // to what ptxas made of bench/layers in f16, within a tenth for most.
  double positions = 12;
  if (plan.getMixed())
    positions = (facts.channelsLast ? 1 : std::min(inputCopies, depth) + 1) *
                positionCost(plan, facts);
  double perCopy = 12;
  if (facts.hasProductRows(plan)) {
    // Elements are loaded, and stored in pairs; each row has its position.
    if (plan.getVector() == 1)
      perCopy = 6;
    if (plan.getMixed())
      positions =
          (std::min(inputCopies, depth) + std::min(filterCopies, depth)) *
          positionCost(plan, facts);
  }
  step.products = pixels * columns * depth / peakProducts(plan, facts, chip);
  double perWarp = deep * (down * across + down + std::max(1.0, across / 2)) +
                   perCopy * inputCopies + 11 * filterCopies + positions + 34;
  step.issue = warps * perWarp / 4;
  step.shared = (warps * deep * 32 * (16 * down + 8 * across) +
                 (pixels + columns) * depth * bytes) /
                128;
  step.loads = (pixels * scattered + columns) * depth * bytes;
  // Copies are stages - 1 steps on their way; then a barrier, fragments and
  // products in turn.
  constexpr double memoryLatency = 700;
  step.latency =
      std::max(memoryLatency / number(plan.getStages() - 1), 60 + 30 * deep);
  return step;
}

} // namespace

RegisterFacts convjit::registerFacts(ConvolutionOp op, GPUPlanAttr plan) {
  Facts facts(op, plan);
  return {facts.bytes, !facts.wide, facts.channelsLast};
}

/// What a launch costs that another one waits for.
static constexpr double launchMicroseconds = 3;

double convjit::packMicroseconds(ConvolutionOp op, const Chip &chip,
                                 int64_t images) {
  auto input = cast<RankedTensorType>(op.getInput().getType());
  double bytes = number(imageBytes(input)) *
                 number(static_cast<int64_t>(op.getBatchGroupCount()) * images);
  // Read and written, both at the rate of memory.
  return launchMicroseconds + 2 * bytes / chip.memory * 1e-3;
}

/// Whether rows of an mma's tiles are products (hasProductRows), of several
/// taps.
static bool hasRowPositions(GPUPlanAttr plan, const RegisterFacts &facts) {
  return plan.getSchedule() == GPUSchedule::Mma && facts.elementBytes == 2 &&
         (!facts.channelsLast || plan.getVector() == 1) && plan.getMixed();
}

int64_t convjit::expectedRegisters(GPUPlanAttr plan,
                                   const RegisterFacts &facts) {
  double words = number(std::max<int64_t>(facts.elementBytes, 4)) / 4;
  double threads = number(plan.getThreads());
  double ownPixels = number(plan.getThreadPixels());
  double own = number(plan.getThreadChannels());
  double moved = number(plan.getPixels() * plan.getDepth()) / threads;
  double registers = 0;
  switch (plan.getSchedule()) {
  case GPUSchedule::Direct:
    registers = 24 + (2 * ownPixels + 1) * own * words;
    break;
  case GPUSchedule::Simt:
    registers =
        (ownPixels * own + 2 * (ownPixels + own) + 2 * moved) * words + 36;
    break;
  case GPUSchedule::Mma:
    registers = ownPixels * own + 4 * ownPixels + 2 * own +
                2 * moved / number(plan.getVector()) + 48;
    // Each row has a position of its own: 52 bytes spilled with 24 of them
    // beside 64 sums, 1,900 with 40 (sm_80).
    if (hasRowPositions(plan, facts)) {
      double depth = number(plan.getDepth());
      double copies = moved / std::max(2.0, number(plan.getVector()));
      double filterCopies = number(plan.getChannels()) * depth / 8 / threads;
      registers += (std::min(copies, depth) + std::min(filterCopies, depth)) *
                   number(int64_t(plan.getBox().size())) *
                   (facts.imagesFirst ? 1 : 2);
    }
    break;
  }
  return std::min<int64_t>(llvm::alignTo(static_cast<int64_t>(registers), 8),
                           mostRegisters);
}

int64_t convjit::leastResident(GPUPlanAttr plan, const RegisterFacts &facts) {
  // ptxas prefers one more block to a few registers, and spills in the main
  // loop. What it took, left alone, was 54 more than expected at most
  // (bench/layers/networks.csv, sm_90). Depthwise k 3 on sm_80 got 32
  // registers, one too few, for 16 blocks of an SM. Of direct it unrolls loops,
  // which spilled at 96 and did not at 128 registers. Of mma it took more than
  // expected only where that makes no difference to the number of blocks.
  constexpr int64_t leastOfDirect = 128;
  int64_t margin = plan.getSchedule() == GPUSchedule::Mma ? 0 : 56;
  int64_t registers =
      std::min(expectedRegisters(plan, facts) + margin, mostRegisters);
  if (plan.getSchedule() == GPUSchedule::Direct)
    registers = std::max(registers, leastOfDirect);
  return std::max<int64_t>(1, residentBlocks(plan.getThreads(), registers));
}

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
                               const Chip &chip, int64_t images) {
  Facts facts(op, plan);
  BlockSpace space = blockSpace(op, plan);
  GPUPrediction result;
  // Taps, and pixels of input that all of them read.
  double taps = 1, footprint = number(plan.getBox()[0]);
  for (auto [dim, split] : llvm::enumerate(space.splits)) {
    int64_t size = plan.getBox()[1 + dim];
    double own = averageTaps(split, space.phases(dim), size);
    taps *= own;
    footprint *= number((size - 1) * split.getInputStep()) +
                 std::max(own - 1, 0.0) * number(split.getInputTapStep()) + 1;
  }
  // Sectors of 32 bytes that neighbouring threads share.
  double scattered = 1;
  if (!facts.channelsLast) {
    double neighbours =
        number(facts.imagesLast ? plan.getBox().front() : plan.getBox().back());
    if (plan.getSchedule() == GPUSchedule::Mma)
      neighbours = std::min(neighbours, 8.0);
    scattered = std::max(1.0, 32 / (neighbours * number(facts.bytes)));
  }
  Step step = [&] {
    switch (plan.getSchedule()) {
    case GPUSchedule::Direct:
      return directStep(plan, facts, chip, scattered);
    case GPUSchedule::Simt:
      return simtStep(plan, facts, chip, scattered);
    case GPUSchedule::Mma:
      return mmaStep(plan, facts, chip, scattered);
    }
    llvm_unreachable("all schedules are listed");
  }();
  double steps = taps * number(space.reduction);
  if (plan.getSchedule() != GPUSchedule::Direct)
    steps = std::ceil(taps * number(paddedReduction(plan, space.reduction)) /
                      number(plan.getDepth()) / number(plan.getSplit()));
  result.registers = expectedRegisters(plan, registerFacts(op, plan));
  int64_t sharedBytes =
      convjit::sharedBytes(plan, facts.bytes, facts.channelsLast);
  result.resident = residentBlocks(plan.getThreads(), result.registers);
  if (sharedBytes)
    result.resident = std::min(result.resident, chip.shared / sharedBytes);
  result.resident = std::max<int64_t>(1, result.resident);

  // What an SM does: its share of blocks at the rate of the busiest unit, and
  // for each set of resident blocks the latency of their beginning and end, and
  // of each step as far as too few warps hide it.
  double blocks = number(space.blocksPerImages()) *
                  std::ceil(number(images) / number(plan.getBox()[0]));
  double share = std::ceil(blocks / number(chip.processors));
  // The first-level cache serves what taps read again.
  double once = footprint * number(space.reduction * facts.bytes) * scattered /
                std::max(steps, 1.0);
  if (plan.getSchedule() != GPUSchedule::Direct)
    once += number(plan.getChannels() * plan.getDepth() * facts.bytes);
  double cache = std::max(step.loads / 128, once / chip.cache);
  result.units = {{{"multiply-adds", step.products},
                   {"instructions", step.issue},
                   {"shared memory", step.shared},
                   {"cache", cache}}};
  double most = 0, sum = 0;
  for (auto [name, cycles] : result.units) {
    sum += cycles;
    if (cycles > most) {
      most = cycles;
      result.bound = name;
    }
  }
  // Units overlap, but not entirely.
  most += 0.2 * (sum - most);
  double together = std::min(number(result.resident), share);
  double perStep = std::max(most * together, step.latency + most);
  constexpr double blockLatency = 2000;
  double rounds = share / together;
  double cycles = rounds * (steps * perStep + blockLatency);
  result.microseconds = cycles / chip.gigahertz * 1e-3;
  // Sums of parts are written, and read by a second launch.
  if (plan.getSplit() > 1) {
    result.microseconds +=
        launchMicroseconds + 2 *
                                 number(plan.getSplit() * facts.outputElements *
                                        facts.sumBytes * images) /
                                 chip.memory * 1e-3;
  }
  double traffic = number(facts.imageBytes * images) / chip.memory * 1e-3;
  result.memoryMicroseconds = traffic;
  if (traffic > result.microseconds) {
    result.microseconds = traffic;
    result.bound = "memory";
  }
  if (plan.getPackInput())
    result.packMicroseconds = packMicroseconds(op, chip, images);
  result.microseconds += result.packMicroseconds;
  double products =
      number(facts.outputElements * images) * number(space.reduction);
  for (auto [dim, split] : llvm::enumerate(space.splits))
    products *= averageTaps(split, space.phases(dim), /*size=*/1);
  double peak = peakProducts(plan, facts, chip) * number(chip.processors);
  double compute = products / peak / chip.gigahertz * 1e-3;
  result.roof = std::max(compute, traffic) / result.microseconds;
  return result;
}
