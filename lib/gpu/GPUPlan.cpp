//===- GPUPlan.cpp - the plan of a convolution on a GPU -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "GPUPasses.h"
#include "BlockSpace.h"

#include "llvm/Support/MathExtras.h"

namespace convjit {
#define GEN_PASS_DEF_CONVGPUPLAN
#include "GPUPasses.h.inc"
} // namespace convjit

using namespace mlir;
using namespace convjit;
using namespace convjit::conv;

namespace {

/// A box of `pixels` pixels that wastes little of the phase's space: the
/// innermost dimensions first.
SmallVector<int64_t> boxOf(ArrayRef<PhaseSplitAttr> splits, int64_t pixels) {
  SmallVector<int64_t> box(splits.size() + 1, 1);
  for (int64_t dim = splits.size() - 1; dim >= 0 && pixels > 1; --dim) {
    int64_t length = std::max<int64_t>(phaseLength(splits[dim], 0), 1);
    int64_t size = std::min<int64_t>(
        pixels, llvm::PowerOf2Ceil(static_cast<uint64_t>(length)));
    box[1 + dim] = size;
    pixels /= size;
  }
  box[0] = pixels;
  return box;
}

GPUPlanAttr choose(ConvolutionOp op) {
  DimensionNumbersAttr numbers = op.getDimensionNumbers();
  auto input = cast<RankedTensorType>(op.getInput().getType());
  MLIRContext *context = op.getContext();
  int64_t bytes = input.getElementTypeBitWidth() / 8;
  auto splits = *splitConvolution(op, 0);
  auto trial = GPUPlanAttr::get(context, GPUSchedule::Direct,
                                boxOf(splits, 32), 4, 1, 1, 1, 1, 1, false);
  BlockSpace space = blockSpace(op, trial);
  int64_t perGroup = space.channels.perGroup, reduction = space.reduction;
  bool channelsLast = numbers.getInputFeature() == input.getRank() - 1;
  int64_t access = 16 / bytes;
  if (space.channels.groups > 1 && perGroup < 16) {
    int64_t own = 1;
    if (reduction == 1 && perGroup == 1 && channelsLast &&
        space.channels.groups % access == 0)
      own = access;
    int64_t all = space.channels.groups * perGroup;
    int64_t lanes = std::min<int64_t>(
        32, llvm::PowerOf2Ceil(static_cast<uint64_t>(llvm::divideCeil(all, own))));
    return GPUPlanAttr::get(context, GPUSchedule::Direct,
                            boxOf(splits, 128 / lanes), lanes * own, 1, 1, own,
                            1, own > 1 && reduction == 1 ? own : 1, false);
  }
  int64_t channels = std::clamp<int64_t>(
      llvm::PowerOf2Ceil(static_cast<uint64_t>(std::max<int64_t>(perGroup, 1))),
      access, 64);
  int64_t own = std::min<int64_t>(channels / access, 8 / (bytes / 4));
  own = std::max<int64_t>(own, 1);
  int64_t vector = 1;
  if (channelsLast)
    while (vector < access && reduction % (2 * vector) == 0)
      vector *= 2;
  constexpr int64_t depth = 8;
  bool mixed = reduction % depth != 0 && reduction < 4 * depth;
  return GPUPlanAttr::get(context, GPUSchedule::Simt, boxOf(splits, 128),
                          channels, depth, 8 / (bytes / 4), own, 2, vector, mixed);
}

struct ConvGPUPlanPass : convjit::impl::ConvGPUPlanBase<ConvGPUPlanPass> {
  void runOnOperation() override {
    getOperation()->walk([&](ConvolutionOp op) {
      if (!op.getGpuPlan())
        op.setGpuPlanAttr(choose(op));
    });
  }
};

} // namespace
