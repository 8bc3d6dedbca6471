//===- Kernel.h - a compiled kernel and how it is called -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// A kernel is one function over an argument block and a range of tasks. Tasks
// write disjoint parts of the output, so any executor may run them in any
// order and on any threads; results do not depend on how. Kernels hold no
// state: the same kernel may run on many threads and batches at once.
//
//===----------------------------------------------------------------------===//

#ifndef CONVJIT_KERNEL_H
#define CONVJIT_KERNEL_H

#include "convjit/Convolution.h"
#include "convjit/Error.h"
#include "convjit/Executor.h"
#include "convjit/convjit_aot.h"

#include <cstddef>
#include <memory>
#include <string>

namespace convjit {

/// What generated code reads; its layout is part of the kernel ABI.
using ConvjitKernelArgs = convjit_kernel_args;

extern "C" {
/// Runs tasks [begin, end) of `args`.
typedef void (*ConvjitKernelFn)(const ConvjitKernelArgs *args, int64_t begin,
                                int64_t end);
/// Reorders a weight tensor into the form the kernel reads. `packed` has
/// Kernel::packedWeightBytes bytes and any alignment of the element.
typedef void (*ConvjitPackFn)(const void *weights, void *packed);
/// Part `part` of `parts` of that, 0 <= part < parts < 2^31; parts write
/// disjoint bytes.
typedef void (*ConvjitPackPartFn)(const void *weights, void *packed,
                                  int64_t part, int64_t parts);
} // extern "C"

/// A kernel in memory. Immutable and thread-safe.
class Kernel {
public:
  Convolution conv;
  ConvjitKernelFn run = nullptr;
  ConvjitPackFn pack = nullptr;
  /// Null in kernels that can only pack as a whole.
  ConvjitPackPartFn packPart = nullptr;
  size_t packedWeightBytes = 0;
  /// Memory that each thread needs while it runs tasks; none so far in what
  /// the compiler makes.
  size_t scratchBytes = 0;
  /// Tasks for one image of the output.
  int64_t tasksPerImage = 0;
  /// Pieces of the reduction, whose sums are added in order. With
  /// ConvjitKernelArgs::scratch the tasks of a call are those of all pieces,
  /// the first one's before the next one's, and sums of all but the first piece
  /// go to scratch, one output's size each; `runKernel` adds them up.
  int64_t pieces = 1;
  /// The plan that was compiled, as the text of its attribute.
  std::string plan;
  /// Wall time that making it took, in milliseconds.
  double compileMilliseconds = 0;
  /// Bytes of machine code and constants.
  size_t codeBytes = 0;
  /// Keeps the code mapped; released with the last copy of the kernel.
  std::shared_ptr<void> code;

  /// Whether the kernel reads weights as they are stored: `pack` copies, and a
  /// caller may pass the weights themselves in the place of packed ones. So it
  /// is with the tiles of weight gradients (`row = outer`), where one of their
  /// tensors has channels last.
  bool readsStoredWeights() const;
};

/// One call's tensors. Pointers as in ConvjitKernelArgs, weights not packed.
struct Operands {
  const void *input = nullptr;
  const void *packedWeights = nullptr;
  const void *bias = nullptr;
  const void *residual = nullptr;
  void *output = nullptr;
  int64_t batch = 1;
  /// kernelScratchBytes of the executor and batch, at a multiple of 64; null
  /// where that is 0, or to have it allocated.
  void *scratch = nullptr;
};

/// Bytes of Operands::scratch for `concurrency` threads: a part of
/// Kernel::scratchBytes, rounded up to 64, for each; and sums of pieces, where
/// there are too few tasks for so many threads.
size_t kernelScratchBytes(const Kernel &kernel, unsigned concurrency,
                          int64_t batch);

/// Packs the weights on the executor, small ones on the calling thread.
void packWeights(const Kernel &kernel, const void *weights, void *packed,
                 Executor &executor);

/// Runs the whole layer on the executor; returns when the output is written.
/// Errors: a null tensor that the layer needs, a batch that is negative, not
/// a multiple of batchGroups or so large that tasks cannot be counted, no
/// memory for scratch. A batch of 0 writes nothing.
Status runKernel(const Kernel &kernel, const Operands &operands,
                 Executor &executor);

} // namespace convjit

#endif // CONVJIT_KERNEL_H
