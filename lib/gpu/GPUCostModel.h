//===- GPUCostModel.h - how long a plan takes on a chip -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef CONVJIT_LIB_GPU_GPUCOSTMODEL_H
#define CONVJIT_LIB_GPU_GPUCOSTMODEL_H

#include "geometry/BlockSpace.h"

#include <array>

namespace convjit {

/// A chip as the cost model sees it: vendors' data sheets.
struct Chip {
  const char *name;    ///< LLVM's
  const char *product; ///< whose numbers these are
  int64_t processors;  ///< SMs
  double gigahertz;    ///< boost clock
  int64_t floats;      ///< f32 multiply-adds a cycle and SM
  int64_t doubles;     ///< f64 multiply-adds a cycle and SM
  int64_t tensor;      ///< 16-bit multiply-adds of mma.sync a cycle and SM
  int64_t shared;      ///< bytes of shared memory of an SM
  double memory;       ///< bytes of DRAM a second, 1e9
  double cache;        ///< bytes of L2 a cycle and SM
};

/// The chip of that name, or the one before it; never fails.
const Chip &chipOf(llvm::StringRef name);

/// A thread has no more registers.
constexpr int64_t mostRegisters = 255;

/// What of a convolution a thread's registers depend on.
struct RegisterFacts {
  int64_t elementBytes;
  bool imagesFirst;  ///< in input and output; else positions have 64 bits
  bool channelsLast; ///< in the input
};

/// Registers that a thread of a plan is expected to need, up to mostRegisters.
int64_t expectedRegisters(conv::GPUPlanAttr plan, const RegisterFacts &facts);

/// Blocks that an SM is to have room for, which bounds a thread's registers; 0
/// leaves it to the assembler.
int64_t leastResident(conv::GPUPlanAttr plan, const RegisterFacts &facts);

/// The plan's, for an operation.
RegisterFacts registerFacts(conv::ConvolutionOp op, conv::GPUPlanAttr plan);

/// Microseconds of the launch that packs the input of `images` images of the
/// output (conv.pack_input).
double packMicroseconds(conv::ConvolutionOp op, const Chip &chip,
                        int64_t images);

/// What a plan is predicted to do.
struct GPUPrediction {
  double microseconds = 0;
  /// The part of it that products or memory alone would take: products over
  /// true taps at the peak of the units that the schedule uses, and each tensor
  /// moved once.
  double roof = 0;
  /// What the time is bound by.
  const char *bound = "";
  /// Registers of a thread, blocks of an SM at a time.
  int64_t registers = 0, resident = 0;
  /// Cycles of an SM that one step of a block's main loop takes of each unit.
  struct Unit {
    const char *name = "";
    double cycles = 0;
  };
  std::array<Unit, 4> units;
  /// The time in which memory moves each tensor once.
  double memoryMicroseconds = 0;
  /// The part of the time that packs the input.
  double packMicroseconds = 0;
};

struct GPUCandidate {
  conv::GPUPlanAttr plan;
  GPUPrediction prediction;
  /// Computes something else than was asked for: only for those who ask for it.
  bool onlyIfAsked = false;
};

/// Images that predictions are made for where the batch is not known.
constexpr int64_t usualImages = 8;

/// `images` are those of the output.
GPUPrediction predict(conv::ConvolutionOp op, conv::GPUPlanAttr plan,
                      const Chip &chip, int64_t images);

/// The best plan of each schedule and tile, the fastest first, then those that
/// are only for who asks. The first is never one of those. The images of every
/// call are a multiple of `multiple`.
llvm::SmallVector<GPUCandidate> gpuCandidates(conv::ConvolutionOp op,
                                              const Chip &chip, int64_t images,
                                              int64_t multiple);

/// Why no plan of schedule = mma is among them.
std::string whyNoTensorCores(conv::ConvolutionOp op);
/// Why no plan of pack_input = true is among them, the fastest of which is
/// predicted to take `best` microseconds.
std::string whyInputIsNotPacked(conv::ConvolutionOp op, const Chip &chip,
                                int64_t images, double best);

} // namespace convjit

#endif // CONVJIT_LIB_GPU_GPUCOSTMODEL_H
