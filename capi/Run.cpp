//===- Run.cpp - calls of kernels through the C interface -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Handles.h"
#include "RoundUp.h"
#include "Tensors.h"
#include "convjit/WeightGradient.h"

#include <optional>
#include <utility>

using namespace convjit;
using namespace convjit::capi;

namespace {

constexpr size_t alignment = Memory::alignment;
static_assert(alignment == partAlignment);

/// The threads of one call: its own, the context's, or the calling one.
class Threads {
public:
  Outcome choose(const Host &host, const convjit_executor *own) {
    if (own) {
      convjit_executor read{};
      if (Outcome o = readExecutor(own, read, "executor"); !o)
        return o;
      threads.emplace(read);
    } else if (host.executor.concurrency) {
      threads.emplace(host.executor);
    } else if (host.pool) {
      pool = host.pool.get();
    }
    return {};
  }
  Executor &get() {
    if (threads)
      return *threads;
    return pool ? *pool : static_cast<Executor &>(caller);
  }
  /// Whether the host's threads did what they were asked for.
  Outcome finish(Status result) {
    if (!result)
      return result;
    return threads ? threads->outcome() : Outcome();
  }

private:
  InlineExecutor caller;
  Executor *pool = nullptr;
  std::optional<HostThreads> threads;
};

/// One call, read and checked: its tensors and where its scratch goes.
class Call {
public:
  explicit Call(const convjit_kernel &kernel)
      : kernel(*kernel.kernel), layer(*kernel.layer), host(*kernel.host) {}

  /// `run`: whether data is looked at.
  Outcome read(const convjit_call *from, bool run) {
    if (Outcome o = readStruct(from, call, "call"); !o)
      return o;
    if (Outcome o = threads.choose(host, call.executor); !o)
      return o;
    if (Outcome o = readTensors(run); !o)
      return o;
    place();
    return {};
  }

  size_t scratchBytes() const {
    // Room to start at a multiple of the alignment.
    return total ? total + alignment - 1 : 0;
  }

  Outcome run() {
    if (!call.scratch) {
      Memory memory(host, total);
      if (total && !memory.get())
        return {CONVJIT_STATUS_OUT_OF_MEMORY,
                "out of memory: " + std::to_string(total) +
                    " bytes of scratch"};
      return runIn(memory.get());
    }
    if (call.scratch_bytes < scratchBytes())
      return invalid("scratch_bytes=" + std::to_string(call.scratch_bytes) +
                     ": valid: what convjit_kernel_scratch_bytes says, " +
                     std::to_string(scratchBytes()));
    auto at = reinterpret_cast<uintptr_t>(call.scratch);
    return runIn(static_cast<std::byte *>(call.scratch) + roundUp(at) - at);
  }

private:
  const Convolution &conv() const { return layer.weighted(); }

  Outcome readTensors(bool run) {
    bool gradient = layer.isWeightGradient();
    const Convolution &c = conv();
    if (Outcome o = readTensor(call.input, "input", input); !o)
      return o;
    size_t rank = c.dims.size() + 2;
    if (input.view.shape.size() != rank)
      return invalid("input has shape " + shapeText(input.view.shape) +
                     "; valid: " + std::to_string(rank) + " axes");
    batch = input.view.shape[static_cast<size_t>(c.numbers.inputBatch)];
    if (Status s = checkImages(c, batch); !s)
      return s;
    if (int64_t images = gradient ? gradientImages(kernel.conv) : 0;
        images && batch != images)
      return invalid("input has " + std::to_string(batch) +
                     " images; valid: " + std::to_string(images) +
                     ", which the kernel was compiled for (options.images)");
    if (Outcome o = check(input, "input", c.inputShape(batch), run); !o)
      return o;
    if (Outcome o = checkStrides(c.inputStrides); !o)
      return o;
    if (Outcome o = optional(call.grad_output, "grad_output", gradient,
                             c.outputShape(batch), gradOutput, run);
        !o)
      return o;
    if (Outcome o = optional(call.bias, "bias", c.bias && !gradient,
                             {c.outChannels}, bias, run);
        !o)
      return o;
    if (Outcome o = optional(call.residual, "residual", c.residual && !gradient,
                             c.outputShape(batch), residual, run);
        !o)
      return o;
    if (Outcome o = optional(call.output, "output", true,
                             gradient ? c.kernelShape() : c.outputShape(batch),
                             output, run);
        !o)
      return o;
    // What packing wrote can be anywhere that its elements can be.
    auto at = reinterpret_cast<uintptr_t>(call.packed_weights);
    if (run && at % static_cast<uintptr_t>(sizeOf(c.dtype)))
      return invalid("packed_weights: is not aligned; valid: a multiple of " +
                     std::to_string(sizeOf(c.dtype)) + " bytes");
    return {};
  }

  Outcome check(Operand &operand, const char *name,
                const std::vector<int64_t> &shape, bool run) {
    if (Outcome o = checkTensor(operand, name, shape, conv().dtype, run); !o)
      return o;
    TensorView &view = operand.view;
    if (view.strides.empty())
      view =
          TensorView::contiguous(view.data, view.dtype, std::move(view.shape));
    auto at = reinterpret_cast<uintptr_t>(view.data);
    operand.copied = !view.isContiguous() ||
                     at % static_cast<uintptr_t>(sizeOf(view.dtype)) != 0;
    return {};
  }

  /// An input that the kernel reads with strides is never copied.
  Outcome checkStrides(const std::vector<int64_t> &strides) {
    if (strides.empty())
      return {};
    TensorView &view = input.view;
    auto size = static_cast<uintptr_t>(sizeOf(view.dtype));
    if (!view.hasStrides(strides))
      return invalid("input has strides " + shapeText(view.strides) +
                     "; valid: the layer's, " + shapeText(strides));
    if (reinterpret_cast<uintptr_t>(view.data) % size)
      return invalid("input: is not aligned; valid: a multiple of " +
                     std::to_string(size) + " bytes");
    input.copied = false;
    return {};
  }

  /// A tensor that is there exactly when the layer has it.
  Outcome optional(const convjit_tensor *from, const char *name, bool wanted,
                   const std::vector<int64_t> &shape, Operand &operand,
                   bool run) {
    if (!wanted)
      return from ? invalid(std::string(name) +
                            ": the layer has none; valid: NULL")
                  : Outcome();
    if (!from)
      return missing(name, "a tensor, which the layer has");
    if (Outcome o = readTensor(from, name, operand); !o)
      return o;
    return check(operand, name, shape, run);
  }

  /// Gives each part of the scratch its place.
  void place() {
    for (Operand *operand : {&input, &gradOutput, &bias, &residual, &output})
      if (operand->copied) {
        operand->offset = total;
        total += roundUp(operand->bytes());
      }
    kernelScratch = total;
    // A weight's gradient has the layer's input channels as its batch.
    kernelScratchSize = kernelScratchBytes(
        kernel, threads.get().concurrency(),
        layer.isWeightGradient() ? conv().inChannels : batch);
    total += kernelScratchSize;
    gradientScratch = total;
    if (layer.isWeightGradient())
      total += roundUp(weightGradientScratchBytes(kernel, conv()));
  }

  Outcome runIn(void *scratch) {
    for (Operand *operand : {&input, &gradOutput, &bias, &residual})
      if (operand->copied)
        if (Status s = copyElements(operand->view, operand->copy(scratch)); !s)
          return s;
    auto at = [&](size_t offset) {
      return static_cast<std::byte *>(scratch) + offset;
    };
    void *own = kernelScratchSize ? at(kernelScratch) : nullptr;
    Status result;
    if (layer.isWeightGradient())
      result = runWeightGradient(kernel, conv(), input.at(scratch),
                                 gradOutput.at(scratch), batch, threads.get(),
                                 output.at(scratch), at(gradientScratch), own);
    else
      result =
          runKernel(kernel,
                    {input.at(scratch), call.packed_weights, bias.at(scratch),
                     residual.at(scratch), output.at(scratch), batch, own},
                    threads.get());
    if (Outcome o = threads.finish(std::move(result)); !o)
      return o;
    if (output.copied)
      return copyElements(output.copy(scratch), output.view);
    return {};
  }

  const Kernel &kernel;
  const Layer &layer;
  const Host &host;
  convjit_call call{};
  Threads threads;
  Operand input, gradOutput, bias, residual, output;
  int64_t batch = 0;
  size_t kernelScratch = 0, kernelScratchSize = 0, gradientScratch = 0,
         total = 0;
};

} // namespace

convjit_status convjit_kernel_scratch_bytes(const convjit_kernel *kernel,
                                            const convjit_call *call,
                                            size_t *bytes,
                                            convjit_error **error) {
  return guarded(error, [&]() -> Outcome {
    if (!bytes)
      return missing("bytes", "where to store the number");
    *bytes = 0;
    if (!kernel)
      return missing("kernel", "a kernel");
    Call read(*kernel);
    if (Outcome o = read.read(call, /*run=*/false); !o)
      return o;
    *bytes = read.scratchBytes();
    return {};
  });
}

convjit_status convjit_kernel_run(const convjit_kernel *kernel,
                                  const convjit_call *call,
                                  convjit_error **error) {
  return guarded(error, [&]() -> Outcome {
    if (!kernel)
      return missing("kernel", "a kernel");
    Call read(*kernel);
    if (Outcome o = read.read(call, /*run=*/true); !o)
      return o;
    return read.run();
  });
}

convjit_status convjit_kernel_run_dense(const convjit_kernel *kernel,
                                        const convjit_kernel_args *args,
                                        const convjit_executor *executor,
                                        convjit_error **error) {
  return guarded(error, [&]() -> Outcome {
    if (!kernel)
      return missing("kernel", "a kernel");
    if (!args)
      return missing("args", "a call's tensors");
    if (kernel->layer->isWeightGradient())
      return invalid(
          "kernel: is a weight's gradient; valid: convjit_kernel_run");
    Threads threads;
    if (Outcome o = threads.choose(*kernel->host, executor); !o)
      return o;
    const Kernel &code = *kernel->kernel;
    // A batch that is no good is runKernel's to refuse.
    size_t bytes = kernelScratchBytes(code, threads.get().concurrency(),
                                      std::max<int64_t>(0, args->batch));
    Memory scratch(*kernel->host, bytes);
    if (bytes && !scratch.get())
      return outOfMemory();
    return threads.finish(
        runKernel(code,
                  {args->input, args->packed_weights, args->bias,
                   args->residual, args->output, args->batch, scratch.get()},
                  threads.get()));
  });
}

convjit_status convjit_kernel_pack(const convjit_kernel *kernel,
                                   const convjit_tensor *weight, void *packed,
                                   size_t packed_bytes, convjit_error **error) {
  return guarded(error, [&]() -> Outcome {
    if (!kernel)
      return missing("kernel", "a kernel");
    if (kernel->layer->isWeightGradient())
      return invalid("kernel: is a weight's gradient, which has no weight to "
                     "pack; valid: convjit_kernel_run alone");
    const Kernel &code = *kernel->kernel;
    if (packed_bytes < code.packedWeightBytes)
      return invalid("packed_bytes=" + std::to_string(packed_bytes) +
                     ": valid: at least " +
                     std::to_string(code.packedWeightBytes));
    if (!packed && code.packedWeightBytes)
      return missing("packed", "memory for the packed weights");
    if (reinterpret_cast<uintptr_t>(packed) %
        static_cast<uintptr_t>(sizeOf(code.conv.dtype)))
      return invalid("packed: is not aligned; valid: a multiple of " +
                     std::to_string(sizeOf(code.conv.dtype)) + " bytes");
    Operand operand;
    if (Outcome o = readTensor(weight, "weight", operand); !o)
      return o;
    if (Outcome o = checkTensor(operand, "weight", code.conv.kernelShape(),
                                code.conv.dtype, /*needed=*/true);
        !o)
      return o;
    TensorView &view = operand.view;
    if (view.strides.empty())
      view = TensorView::contiguous(view.data, view.dtype, view.shape);
    bool aligned = reinterpret_cast<uintptr_t>(view.data) %
                       static_cast<uintptr_t>(sizeOf(view.dtype)) ==
                   0;
    if (aligned && view.isContiguous()) {
      code.pack(view.data, packed);
      return {};
    }
    Memory copy(*kernel->host, operand.bytes());
    if (!copy.get())
      return outOfMemory();
    operand.copied = true;
    if (Status s = copyElements(view, operand.copy(copy.get())); !s)
      return s;
    code.pack(copy.get(), packed);
    return {};
  });
}
