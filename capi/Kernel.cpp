//===- Kernel.cpp - kernels of the C interface -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Handles.h"
#include "convjit/WeightGradient.h"

#include <algorithm>
#include <cstddef>

using namespace convjit;
using namespace convjit::capi;

/// A descriptor is checked before anything of it is used.
static Outcome checkDescriptor(const convjit_aot_kernel *aot) {
  if (!aot)
    return missing("aot", "a descriptor that `convjit emit` made");
  constexpr size_t firstSize =
      offsetof(convjit_aot_kernel, run) + sizeof(aot->run);
  if (aot->struct_size < firstSize)
    return invalid("aot.struct_size=" + std::to_string(aot->struct_size) +
                   ": valid: at least " + std::to_string(firstSize));
  if (!aot->problem)
    return missing("aot.problem", "the text of a layer");
  if (!aot->pack || !aot->run)
    return missing(aot->pack ? "aot.run" : "aot.pack", "a function");
  if (aot->tasks_per_image < 0 || aot->batch_groups < 1)
    return invalid(
        "aot.tasks_per_image=" + std::to_string(aot->tasks_per_image) +
        ", aot.batch_groups=" + std::to_string(aot->batch_groups) +
        ": valid: at least 0 and 1");
  // For any number of threads, beside any tensors, below 2^64.
  if (aot->packed_weight_bytes >> 48 || aot->scratch_bytes >> 31)
    return invalid(
        "aot.packed_weight_bytes=" + std::to_string(aot->packed_weight_bytes) +
        ", aot.scratch_bytes=" + std::to_string(aot->scratch_bytes) +
        ": valid: less than 2^48 and 2^31");
  return {};
}

convjit_status convjit_kernel_from_aot(convjit_context *context,
                                       const convjit_aot_kernel *aot,
                                       convjit_kernel **kernel,
                                       convjit_error **error) {
  return guarded(error, [&]() -> Outcome {
    if (!kernel)
      return missing("kernel", "where to store the handle");
    *kernel = nullptr;
    if (Outcome o = checkDescriptor(aot); !o)
      return o;
    // The mask is in the code. Only the weight's gradient is multiplied by it
    // here.
    Expected<Layer> layer = readLayer(aot->problem, Masks::Skip);
    if (layer && layer->isWeightGradient() && !layer->problem->mask.empty())
      layer = readLayer(aot->problem);
    if (!layer)
      return invalid("aot.problem='" + std::string(aot->problem) +
                     "': " + layer.error().message);
    if (layer->conv.batchGroups != aot->batch_groups)
      return invalid("aot.batch_groups=" + std::to_string(aot->batch_groups) +
                     ": valid: the layer's, " +
                     std::to_string(layer->conv.batchGroups));
    auto made = std::make_shared<Kernel>();
    made->conv = layer->conv;
    made->run = aot->run;
    made->pack = aot->pack;
    made->packedWeightBytes = aot->packed_weight_bytes;
    made->scratchBytes = aot->scratch_bytes;
    made->tasksPerImage = aot->tasks_per_image;
    made->plan = aot->plan ? aot->plan : "";
    *kernel = makeIn<convjit_kernel>(
        context ? context->host : std::make_shared<const Host>(),
        std::make_shared<const Layer>(std::move(*layer)), std::move(made));
    return *kernel ? Outcome() : outOfMemory();
  });
}

convjit_kernel *convjit_kernel_retain(convjit_kernel *kernel) {
  if (kernel)
    kernel->references.fetch_add(1, std::memory_order_relaxed);
  return kernel;
}

void convjit_kernel_release(convjit_kernel *kernel) {
  if (kernel && kernel->references.fetch_sub(1, std::memory_order_acq_rel) == 1)
    destroyIn(kernel);
}

convjit_status convjit_kernel_get_info(const convjit_kernel *kernel,
                                       convjit_kernel_info *info,
                                       convjit_error **error) {
  return guarded(error, [&]() -> Outcome {
    if (!kernel)
      return missing("kernel", "a kernel");
    if (!info)
      return missing("info", "a struct to fill in");
    const Kernel &code = *kernel->kernel;
    const Convolution &conv = kernel->layer->weighted();
    bool gradient = kernel->layer->isWeightGradient();
    convjit_kernel_info made{};
    made.rank = conv.rank();
    made.dtype = conv.dtype == DataType::F64 ? CONVJIT_F64 : CONVJIT_F32;
    made.bias = conv.bias && !gradient;
    made.residual = conv.residual && !gradient;
    made.gradient = static_cast<int32_t>(kernel->layer->gradient());
    made.packed_weight_bytes = gradient ? 0 : code.packedWeightBytes;
    made.thread_scratch_bytes = code.scratchBytes;
    made.code_bytes = code.codeBytes;
    made.compile_milliseconds = code.compileMilliseconds;
    made.tasks_per_image = code.tasksPerImage;
    made.batch_groups = conv.batchGroups;
    made.pack = gradient ? nullptr : code.pack;
    made.run = gradient ? nullptr : code.run;
    made.images = gradient ? gradientImages(code.conv) : 0;
    return fillIn(info, made);
  });
}

const char *convjit_kernel_problem(const convjit_kernel *kernel) {
  return kernel ? kernel->layer->text.c_str() : "";
}
const char *convjit_kernel_plan(const convjit_kernel *kernel) {
  return kernel ? kernel->kernel->plan.c_str() : "";
}
