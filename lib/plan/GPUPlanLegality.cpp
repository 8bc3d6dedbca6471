//===- GPUPlanLegality.cpp - which plans a GPU can carry out -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "geometry/BlockSpace.h"

#include "llvm/Support/MathExtras.h"

using namespace convjit;
using namespace convjit::conv;
using namespace mlir;

/// schedule = direct.
static std::string whyDirectIsImpossible(ConvolutionOp op,
                                         const BlockSpace &space) {
  GPUPlanAttr plan = space.plan;
  int64_t vector = plan.getVector();
  if (plan.getSplit() > 1)
    return "split = " + std::to_string(plan.getSplit()) +
           "; valid with schedule = direct: 1";
  int64_t last = plan.getBox().back();
  if (last % plan.getThreadPixels())
    return "thread_pixels = " + std::to_string(plan.getThreadPixels()) +
           "; valid with schedule = direct: a divisor of the box's last, " +
           std::to_string(last);
  int64_t own = plan.getThreadChannels();
  // Batch groups are in images of their own, not side by side.
  bool depthwise = space.reduction == 1 && space.channels.perGroup == 1 &&
                   op.getBatchGroupCount() == 1;
  if (own > 1 && !depthwise && space.channels.perGroup % own)
    return "thread_channels = " + std::to_string(own) +
           "; valid with schedule = direct: a divisor of the group's " +
           std::to_string(space.channels.perGroup);
  if (vector > 1 &&
      (!depthwise || vector != own || space.channels.groups % own))
    return "vector = " + std::to_string(vector) +
           "; valid with schedule = direct: 1, or thread_channels where each "
           "channel is a group and they divide their number";
  if (own > 1 && depthwise && vector != own)
    return "thread_channels = " + std::to_string(own) +
           "; valid where each channel is a group: the vector";
  return "";
}

/// schedule = simt and mma: what each thread does is a power of two.
static std::string whyProductIsImpossible(const BlockSpace &space,
                                          bool productRows) {
  GPUPlanAttr plan = space.plan;
  std::string schedule = stringifyGPUSchedule(plan.getSchedule()).str();
  for (auto [field, size] :
       {std::pair("pixels of the box", plan.getPixels()),
        std::pair("channels", plan.getChannels()),
        std::pair("depth", plan.getDepth()),
        std::pair("thread_pixels", plan.getThreadPixels()),
        std::pair("thread_channels", plan.getThreadChannels())})
    if (!llvm::isPowerOf2_64(size))
      return std::string(field) + " = " + std::to_string(size) +
             "; valid with schedule = " + schedule + ": a power of two";
  if (plan.getThreads() < 32)
    return "makes " + std::to_string(plan.getThreads()) +
           " threads; valid: at least a warp, 32";
  int64_t vector = plan.getVector();
  if (productRows) {
    if (plan.getBox()[0] % vector)
      return "vector = " + std::to_string(vector) +
             "; valid where images are last in the input: a divisor of the "
             "box's " +
             std::to_string(plan.getBox()[0]);
  } else if (plan.getDepth() % vector || space.reduction % vector)
    return "vector = " + std::to_string(vector) +
           "; valid: a divisor of the depth and of the " +
           std::to_string(space.reduction) + " channels that an output reads";
  return "";
}

static std::string whySimtIsImpossible(GPUPlanAttr plan, int64_t bytes) {
  if (plan.getStages() != 2)
    return "stages = " + std::to_string(plan.getStages()) +
           "; valid with schedule = simt: 2";
  if (plan.getChannels() * std::max<int64_t>(bytes, 4) < 16)
    return "channels = " + std::to_string(plan.getChannels()) +
           "; valid: at least 16 bytes";
  return "";
}

static std::string whyMmaIsImpossible(GPUPlanAttr plan, Type element) {
  auto field = [](const char *name, int64_t value, const std::string &valid) {
    return std::string(name) + " = " + std::to_string(value) +
           "; valid with schedule = mma: " + valid;
  };
  if (element.isF64())
    return "schedule = mma; valid for f16, bf16, and f32 with products of tf32";
  int64_t bytes = element.getIntOrFloatBitWidth() / 8;
  int64_t row = plan.getDepth() * bytes;
  if (row < 32 || row > 256)
    return field("depth", plan.getDepth(), "32 to 256 bytes");
  if (plan.getStages() < 3)
    return field("stages", plan.getStages(), "3 to 8");
  if (plan.getThreadPixels() < 2)
    return field("thread_pixels", plan.getThreadPixels(), "2 to 16");
  if (plan.getThreadChannels() < 2)
    return field("thread_channels", plan.getThreadChannels(), "2 to 16");
  if (int64_t warp = 8 * plan.getThreadPixels(); plan.getPixels() % warp)
    return "box has " + std::to_string(plan.getPixels()) +
           " pixels; valid with schedule = mma: a multiple of a warp's " +
           std::to_string(warp) + ", 8 * thread_pixels";
  if (int64_t warp = 4 * plan.getThreadChannels(); plan.getChannels() % warp)
    return field("channels", plan.getChannels(),
                 "a multiple of a warp's " + std::to_string(warp) +
                     ", 4 * thread_channels");
  return "";
}

std::string convjit::whyPlanIsImpossible(ConvolutionOp op, GPUPlanAttr plan) {
  if (op.getInputStrides())
    return "the input has input_strides; valid for a GPU: a contiguous one";
  DimensionNumbersAttr numbers = op.getDimensionNumbers();
  auto input = cast<RankedTensorType>(op.getInput().getType());
  int64_t bytes = input.getElementTypeBitWidth() / 8;
  bool channelsLast = numbers.getInputFeature() == input.getRank() - 1;
  if (plan.getPackInput() && channelsLast)
    return "pack_input = true; valid where channels are not last in the input";
  numbers = readNumbers(plan, numbers);
  channelsLast |= plan.getPackInput();
  if (static_cast<int64_t>(plan.getBox().size()) != numbers.getRank() + 1)
    return "box has " + std::to_string(plan.getBox().size()) +
           " entries; valid: " + std::to_string(numbers.getRank() + 1) +
           ", images and each spatial dimension";
  if (op.getLive())
    return "valid for a GPU: a mask, not the list of what it leaves";
  BlockSpace space = blockSpace(op, plan);
  if (space.blocksPerImages() > std::numeric_limits<int32_t>::max())
    return "makes " + std::to_string(space.blocksPerImages()) +
           " blocks; valid: less than 2^31";
  bool productRows = hasProductRows(plan, input.getElementType(), numbers);
  int64_t vector = plan.getVector();
  if (vector > 1) {
    if (!llvm::isPowerOf2_64(vector) || vector * bytes > 16)
      return "vector = " + std::to_string(vector) +
             "; valid: a power of two of at most 16 bytes";
    bool imagesLast = numbers.getInputBatch() == input.getRank() - 1;
    if (!channelsLast && !(productRows && imagesLast))
      return "vector = " + std::to_string(vector) +
             "; valid: 1 where channels are not last in the input, or images "
             "with schedule = mma in 16 bits";
  }
  switch (plan.getSchedule()) {
  case GPUSchedule::Direct:
    return whyDirectIsImpossible(op, space);
  case GPUSchedule::Simt:
  case GPUSchedule::Mma:
    break;
  }
  if (std::string why = whyProductIsImpossible(space, productRows);
      !why.empty())
    return why;
  bool mma = plan.getSchedule() == GPUSchedule::Mma;
  std::string why = mma ? whyMmaIsImpossible(plan, input.getElementType())
                        : whySimtIsImpossible(plan, bytes);
  if (!why.empty())
    return why;
  // What each block has on every chip, and what the least of them allow a
  // launch that asks (sm_86, sm_89, sm_120).
  int64_t mostShared = mma ? 99 << 10 : 48 << 10;
  if (int64_t need = sharedBytes(plan, bytes, channelsLast); need > mostShared)
    return "needs " + std::to_string(need) +
           " bytes of shared memory; valid: at most " +
           std::to_string(mostShared);
  return "";
}
