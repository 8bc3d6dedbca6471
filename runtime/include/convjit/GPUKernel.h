//===- GPUKernel.h - a kernel for a GPU and how it is launched -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

//
// A GPU kernel is the text of one PTX module with two entries: one runs the
// layer, one packs a weight into the order in which the first reads it.
//
// Calling convention. An entry takes its parameters in the order of
// GPULaunch::parameters: for each tensor a pointer to device memory (64 bits,
// a generic address), at a multiple of GPUKernel::pointerAlignment, and the
// batch as a signed 64-bit integer. Tensors are contiguous in the layer's axis
// order and do not overlap, but for the residual, which may be the output
// itself. Entries read nothing else, keep no state, and write every element of
// their output; blocks may run in any order.
//
// Launch. The grid is one-dimensional, gridBlocks(launch, batch) blocks; a
// block is one-dimensional, `threads` threads, with `sharedBytes` bytes of
// dynamic shared memory, which begin at a multiple of 16. Beyond 48 KB the
// entry's attribute for it must be raised first. A grid of 0 blocks has nothing
// to do and must not be launched; one of 2^31 or more cannot be.
//
//===----------------------------------------------------------------------===//

#ifndef CONVJIT_GPUKERNEL_H
#define CONVJIT_GPUKERNEL_H

#include "convjit/Convolution.h"
#include "convjit/Error.h"

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace convjit {

/// What a parameter of an entry is.
enum class GPUParameter {
  Input,    ///< pointer: inputShape(batch)
  Filter,   ///< pointer: kernelShape()
  Packed,   ///< pointer: GPUKernel::packedWeightBytes bytes
  Bias,     ///< pointer: outChannels elements
  Residual, ///< pointer: outputShape(batch)
  Output,   ///< pointer: outputShape(batch)
  Scratch,  ///< pointer: scratchBytes(kernel, batch) bytes
  Batch     ///< int64_t: images in the input, a multiple of batchGroups
};

/// One entry of the module and the shape of its launch.
struct GPULaunch {
  std::string entry;
  std::vector<GPUParameter> parameters;
  int64_t threads = 1;     ///< of a block
  int64_t sharedBytes = 0; ///< dynamic shared memory of a block
  /// Blocks for each `imagesPerBlock` images of the output, or in all where
  /// that is 0.
  int64_t blocks = 0;
  int64_t imagesPerBlock = 0;

  bool operator==(const GPULaunch &) const = default;
};

/// Code for a GPU. Plain data; thread-safe as such.
struct GPUKernel {
  Convolution conv;
  /// PTX, zero-terminated as std::string is.
  std::string ptx;
  /// Runs the layer: these in turn, on one stream.
  std::vector<GPULaunch> run;
  /// Packs a weight: once for each weight.
  GPULaunch pack;
  size_t packedWeightBytes = 0;
  /// Relative error of each product, where factors lose bits that their type
  /// has: tf32's, which a plan has to ask for.
  double productError = 0;
  /// Device memory besides the tensors: in all, and for each output image.
  size_t scratchBytes = 0, scratchBytesPerImage = 0;
  /// Pointers are multiples of this many bytes.
  size_t pointerAlignment = 16;
  /// Images of the output that a call has a multiple of: where images are
  /// neighbours in memory, the plan may read several with one access.
  int64_t imageMultiple = 1;
  /// LLVM's name of the chip that the code was made for, and the least compute
  /// capability that runs it, as 10 * major + minor.
  std::string chip;
  int computeCapability = 80;
  /// The plan that was compiled, as the text of its attribute.
  std::string plan;
  double compileMilliseconds = 0;
};

/// Blocks of the grid for `batch` images in the input; `batchGroups` are the
/// convolution's.
inline int64_t gridBlocks(const GPULaunch &launch, int64_t batch,
                          int64_t batchGroups) {
  if (launch.imagesPerBlock == 0)
    return launch.blocks;
  int64_t images = batch / batchGroups;
  int64_t boxes =
      images / launch.imagesPerBlock + (images % launch.imagesPerBlock != 0);
  // More than can be launched, without overflow.
  constexpr int64_t most = INT64_MAX;
  if (launch.blocks > 0 && boxes > most / launch.blocks)
    return most;
  return boxes * launch.blocks;
}

/// Errors: a number of images in the input that the kernel does not take.
inline Status checkImages(const GPUKernel &kernel, int64_t batch) {
  int64_t multiple = kernel.conv.batchGroups * kernel.imageMultiple;
  if (batch >= 0 && batch % multiple == 0)
    return {};
  return badInput("batch=" + std::to_string(batch) +
                  ": valid: at least 0, and a multiple of " +
                  std::to_string(multiple));
}

/// Bytes of GPUParameter::Scratch for `batch` images in the input.
inline size_t scratchBytes(const GPUKernel &kernel, int64_t batch) {
  return kernel.scratchBytes +
         kernel.scratchBytesPerImage *
             static_cast<size_t>(batch / kernel.conv.batchGroups);
}

} // namespace convjit

#endif // CONVJIT_GPUKERNEL_H
