//===- Kernel.cpp - calling a kernel -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "convjit/Kernel.h"

#include <algorithm>

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

Status convjit::runKernel(const Kernel &kernel, const Operands &operands,
                          Executor &executor) {
  if (Status valid = checkOperands(kernel.conv, operands); !valid)
    return valid;
  ConvjitKernelArgs args = {operands.input,  operands.packedWeights,
                            operands.bias,   operands.residual,
                            operands.output, nullptr,
                            operands.batch};
  int64_t images = operands.batch / kernel.conv.batchGroups;
  int64_t tasks = kernel.tasksPerImage * images;
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
