//===- Kernel.cpp - calling a kernel -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "convjit/Kernel.h"
#include "RoundUp.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <new>
#include <thread>

using namespace convjit;

static Status checkOperands(const Convolution &conv, const Operands &operands) {
  if (operands.batch < 0 || operands.batch % conv.batchGroups != 0)
    return badInput("batch=" + std::to_string(operands.batch) +
                    ": valid: 0 or a multiple of the batch groups, " +
                    std::to_string(conv.batchGroups));
  if (operands.batch == 0)
    return {};
  auto missing = [](const char *tensor) {
    return badInput(std::string(tensor) +
                    "=null: valid: a pointer to the tensor's elements");
  };
  // Not by the product, which a large batch could make overflow.
  auto hasElements = [](const std::vector<int64_t> &shape) {
    return std::find(shape.begin(), shape.end(), 0) == shape.end();
  };
  if (!operands.input && hasElements(conv.inputShape(operands.batch)))
    return missing("input");
  bool writes = hasElements(conv.outputShape(operands.batch));
  if (!operands.packedWeights && writes && hasElements(conv.kernelShape()))
    return missing("packedWeights");
  if (!operands.output && writes)
    return missing("output");
  if (!operands.bias && conv.bias && writes)
    return missing("bias");
  if (!operands.residual && conv.residual && writes)
    return missing("residual");
  return {};
}

bool Kernel::readsStoredWeights() const {
  // Without channels last the lanes are made by packing; that of the input is
  // the kernel's own (lib/outer/OuterProducts.h).
  int64_t last = conv.rank() + 1;
  return plan.find("row = outer") != std::string::npos &&
         (plan.find("lanes = images") != std::string::npos ||
          conv.numbers.inputBatch == last ||
          conv.numbers.kernelOutputFeature == last);
}

/// What a thread packs in some 10 us, which is what waking one costs.
constexpr size_t packPartBytes = 128 << 10;
/// Enough for the largest machines; claims are cheap, but not free.
constexpr size_t maxPackParts = 1024;

/// Elements of the output; -1 if they cannot be counted.
static int64_t outputElements(const Convolution &conv, int64_t batch) {
  int64_t elements = 1;
  for (int64_t size : conv.outputShape(batch))
    if (__builtin_mul_overflow(elements, size, &elements))
      return -1;
  return elements;
}

/// Bytes of the sums of all pieces but the first, where these are told out to
/// threads: the tasks alone would leave some idle, and adding what the pieces
/// give takes no time to speak of. The bits do not depend on it.
static size_t pieceSumBytes(const Kernel &kernel, unsigned concurrency,
                            int64_t batch) {
  // Of a tile of images only the first one's task does something.
  constexpr int64_t tasksPerThread = 32;
  constexpr int64_t mostBytes = 4 << 20;
  int64_t images = batch / kernel.conv.batchGroups, tasks;
  if (kernel.pieces < 2 || concurrency < 2 ||
      __builtin_mul_overflow(kernel.tasksPerImage, images, &tasks) ||
      tasks < 1 || tasks >= tasksPerThread * int64_t(concurrency))
    return 0;
  int64_t bytes = outputElements(kernel.conv, batch);
  if (bytes < 0 ||
      __builtin_mul_overflow(bytes, sizeOf(kernel.conv.dtype), &bytes) ||
      __builtin_mul_overflow(bytes, kernel.pieces - 1, &bytes) ||
      bytes > mostBytes)
    return 0;
  return static_cast<size_t>(bytes);
}

size_t convjit::kernelScratchBytes(const Kernel &kernel, unsigned concurrency,
                                   int64_t batch) {
  return std::max(roundUp(kernel.scratchBytes) * concurrency,
                  roundUp(pieceSumBytes(kernel, concurrency, batch)));
}

namespace {

/// Parts of the scratch, of which each range of tasks holds one while it runs.
class ScratchParts {
public:
  ScratchParts(const Kernel &kernel, unsigned count, void *memory)
      : bytes(roundUp(kernel.scratchBytes)), taken(count),
        memory(static_cast<std::byte *>(memory)) {}

  size_t take() {
    // An executor runs no more ranges at once than it has threads: a part is
    // free, or about to be.
    for (size_t part = 0;; part = (part + 1) % taken.size()) {
      if (!taken[part].exchange(true, std::memory_order_acquire))
        return part;
      if (part + 1 == taken.size())
        std::this_thread::yield();
    }
  }
  void *at(size_t part) const { return memory + part * bytes; }
  void put(size_t part) { taken[part].store(false, std::memory_order_release); }

private:
  size_t bytes;
  std::vector<std::atomic<bool>> taken;
  std::byte *memory;
};

struct AlignedDelete {
  void operator()(void *memory) const {
    ::operator delete(memory, std::align_val_t(64));
  }
};

/// Adds to `output`, in their order, the sums of the pieces after the first.
template <typename T>
void addPieces(T *output, const T *sums, int64_t pieces, int64_t elements,
               Executor &executor) {
  // Stays in the nearest cache for all pieces.
  constexpr int64_t block = 1024;
  executor.parallelFor((elements + block - 1) / block, [&](int64_t begin,
                                                           int64_t end) {
    for (; begin < end; ++begin) {
      int64_t first = begin * block, last = std::min(first + block, elements);
      for (int64_t piece = 0; piece + 1 < pieces; ++piece)
        for (int64_t i = first; i < last; ++i)
          output[i] += sums[piece * elements + i];
    }
  });
}

} // namespace

/// runKernel with the pieces of the reduction told out to the threads.
static void runPieces(const Kernel &kernel, ConvjitKernelArgs args,
                      void *memory, int64_t tasks, Executor &executor) {
  // The others start from nothing.
  if (kernel.conv.residual)
    std::memset(memory, 0,
                pieceSumBytes(kernel, executor.concurrency(), args.batch));
  args.scratch = memory;
  executor.parallelFor(tasks * kernel.pieces, [&](int64_t begin, int64_t end) {
    kernel.run(&args, begin, end);
  });
  int64_t elements = outputElements(kernel.conv, args.batch);
  if (kernel.conv.dtype == DataType::F32)
    addPieces(static_cast<float *>(args.output), static_cast<float *>(memory),
              kernel.pieces, elements, executor);
  else
    addPieces(static_cast<double *>(args.output), static_cast<double *>(memory),
              kernel.pieces, elements, executor);
}

/// runKernel for a call that needs scratch.
static Status runWithScratch(const Kernel &kernel, ConvjitKernelArgs args,
                             void *memory, int64_t tasks, Executor &executor) {
  unsigned width = std::max(1u, executor.concurrency());
  std::unique_ptr<void, AlignedDelete> owned;
  if (!memory) {
    owned.reset(::operator new(kernelScratchBytes(kernel, width, args.batch),
                               std::align_val_t(64), std::nothrow));
    memory = owned.get();
    if (!memory)
      return environmentError("not enough memory for scratch");
  }
  if (kernel.scratchBytes == 0) {
    runPieces(kernel, args, memory, tasks, executor);
    return {};
  }
  ScratchParts parts(kernel, width, memory);
  executor.parallelFor(tasks, [&](int64_t begin, int64_t end) {
    size_t part = parts.take();
    ConvjitKernelArgs own = args;
    own.scratch = parts.at(part);
    kernel.run(&own, begin, end);
    parts.put(part);
  });
  return {};
}

void convjit::packWeights(const Kernel &kernel, const void *weights,
                          void *packed, Executor &executor) {
  auto parts = static_cast<int64_t>(
      std::min<size_t>(kernel.packedWeightBytes / packPartBytes, maxPackParts));
  if (!kernel.packPart || parts < 2 || executor.concurrency() == 1)
    return kernel.pack(weights, packed);
  executor.parallelFor(parts, [&](int64_t begin, int64_t end) {
    for (int64_t part = begin; part < end; ++part)
      kernel.packPart(weights, packed, part, parts);
  });
}

Status convjit::runKernel(const Kernel &kernel, const Operands &operands,
                          Executor &executor) {
  if (Status valid = checkOperands(kernel.conv, operands); !valid)
    return valid;
  ConvjitKernelArgs args = {operands.input,  operands.packedWeights,
                            operands.bias,   operands.residual,
                            operands.output, nullptr,
                            operands.batch};
  int64_t images = operands.batch / kernel.conv.batchGroups;
  int64_t tasks;
  if (__builtin_mul_overflow(kernel.tasksPerImage, images, &tasks))
    return badInput("batch=" + std::to_string(operands.batch) +
                    ": makes more than 2^63 tasks; valid: fewer images");
  if (tasks > 0 &&
      kernelScratchBytes(kernel, executor.concurrency(), operands.batch) > 0)
    return runWithScratch(kernel, args, operands.scratch, tasks, executor);
  if (executor.concurrency() == 1) {
    // No std::function on the path that small layers take.
    if (tasks > 0)
      kernel.run(&args, 0, tasks);
    return {};
  }
  executor.parallelFor(tasks, [&](int64_t begin, int64_t end) {
    kernel.run(&args, begin, end);
  });
  return {};
}
