//===- RunLayer.cpp - a layer's output and gradients -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "LayerState.h"
#include "convjit/WeightGradient.h"

using namespace convjit;
using namespace convjit::nn;

Shape LayerState::Batch::shape(const Shape &each) const {
  Shape result = each;
  if (batched)
    result.insert(result.begin(), images);
  return result;
}

Expected<LayerState::Batch> LayerState::batchOf(const char *what,
                                                const Shape &shape,
                                                DataType given,
                                                const Shape &each) const {
  if (given != dtype)
    return badInput(std::string(what) + " has dtype " + convjit::name(given) +
                    "; valid: " + convjit::name(dtype) + ", as the weight");
  auto axes = static_cast<int>(shape.size());
  std::string shown = std::string(what) + " has shape " + shapeText(shape);
  if (axes != rank + 1 && axes != rank + 2)
    return badInput(shown + ", " + std::to_string(axes) +
                    " axes; valid: " + std::to_string(rank + 2) + ", or " +
                    std::to_string(rank + 1) + " without batch");
  Batch batch;
  batch.batched = axes == rank + 2;
  if (Shape(shape.begin() + (batch.batched ? 1 : 0), shape.end()) != each)
    return badInput(shown + "; valid: " + shapeText(each) +
                    ", with or without a batch before it");
  if (batch.batched)
    batch.images = shape[0];
  // Neither side may be too large to address.
  for (const Shape &side : {inSize, outSize})
    if (Status s = checkShape(what, batch.shape(side), dtype); !s)
      return s.takeError();
  return batch;
}

const Array &LayerState::effective(Array &storage) const {
  if (kind != LayerKind::ScaledWSConv)
    return weight;
  return storage = standardized(weight, gain ? &*gain : nullptr, eps);
}

void LayerState::forgetPacked() {
  forwardKernel.forget();
  inputGradientKernel.forget();
}

Expected<std::shared_ptr<const PackedKernel>> LayerState::forwardPacked() {
  Array storage;
  return forwardKernel.get(
      *kernels, forward, [&]() -> const Array & { return effective(storage); });
}

Expected<std::shared_ptr<const PackedKernel>>
LayerState::inputGradientPacked() {
  Expected<Convolution> conv = lower(problem(Gradient::Input));
  if (!conv)
    return conv.takeError();
  conv->mask = forward.mask;
  Array storage;
  return inputGradientKernel.get(
      *kernels, *conv, [&]() -> const Array & { return effective(storage); });
}

Status LayerState::runPacked(const PackedKernel &packed, const void *input,
                             void *output, int64_t images, bool withBias,
                             Executor &executor) const {
  Operands call;
  call.input = input;
  call.packedWeights = packed.weight.data();
  call.bias = withBias && bias ? bias->data.data() : nullptr;
  call.output = output;
  call.batch = images;
  return runKernel(*packed.kernel, call, executor);
}

Expected<Array> LayerState::effectiveGradient(const Array &input,
                                              const Array &gradOutput,
                                              Executor &executor) {
  Expected<Batch> batch = batchOf("input", input.shape, input.dtype, inSize);
  if (!batch)
    return batch.takeError();
  Expected<Batch> other =
      batchOf("gradOutput", gradOutput.shape, gradOutput.dtype, outSize);
  if (!other)
    return other.takeError();
  if (batch->batched != other->batched || batch->images != other->images)
    return badInput("gradOutput has shape " + shapeText(gradOutput.shape) +
                    "; valid: " + shapeText(batch->shape(outSize)) +
                    ", for an input of " + shapeText(input.shape));
  for (const Array *array : {&input, &gradOutput})
    if (Status s = checkArray(array == &input ? "input" : "gradOutput", *array);
        !s)
      return s.takeError();
  Array result = zeros(dtype, kernelShape);
  if (input.data.empty() || gradOutput.data.empty())
    return result;
  std::shared_ptr<const Kernel> kernel;
  {
    std::lock_guard<std::mutex> lock(weightGradientMutex);
    if (!weightGradientKernel) {
      Expected<Convolution> conv =
          lowerWeightGradient(problem(Gradient::Weight));
      if (!conv)
        return conv.takeError();
      auto made = kernels->kernel(*conv);
      if (!made)
        return made.takeError();
      weightGradientKernel = std::move(*made);
    }
    kernel = weightGradientKernel;
  }
  if (Status s = runWeightGradient(*kernel, forward, input.data.data(),
                                   gradOutput.data.data(), batch->images,
                                   executor, result.data.data());
      !s)
    return s.takeError();
  return result;
}

Expected<Array> Layer::operator()(const Array &input) const {
  InlineExecutor here;
  return (*this)(input, here);
}

Expected<Array> Layer::operator()(const Array &input,
                                  Executor &executor) const {
  return withinMemory([&]() -> Expected<Array> {
    auto batch =
        state->batchOf("input", input.shape, input.dtype, state->inSize);
    if (!batch)
      return batch.takeError();
    if (Status s = checkArray("input", input); !s)
      return s.takeError();
    auto packed = state->forwardPacked();
    if (!packed)
      return packed.takeError();
    Array output = zeros(state->dtype, batch->shape(state->outSize));
    if (output.data.empty())
      return output;
    if (Status s = state->runPacked(**packed, input.data.data(),
                                    output.data.data(), batch->images,
                                    /*withBias=*/true, executor);
        !s)
      return s.takeError();
    return output;
  });
}

Status Layer::run(const TensorView &input, const TensorView &output,
                  Executor &executor) const {
  return withinMemory([&]() -> Status {
    auto batch =
        state->batchOf("input", input.shape, input.dtype, state->inSize);
    if (!batch)
      return batch.takeError();
    Shape wanted = batch->shape(state->outSize);
    if (output.shape != wanted || output.dtype != state->dtype)
      return badInput("output has shape " + shapeText(output.shape) + " of " +
                      convjit::name(output.dtype) + "; valid: " +
                      shapeText(wanted) + " of " + convjit::name(state->dtype));
    auto packed = state->forwardPacked();
    if (!packed)
      return packed.takeError();
    if (output.elements() == 0)
      return {};
    // Kernels read and write contiguous memory.
    Array from, to;
    auto view = [](Array &array) {
      return TensorView::contiguous(array.data.data(), array.dtype,
                                    array.shape);
    };
    const void *source = input.data;
    void *target = output.data;
    if (!input.isContiguous()) {
      from = zeros(input.dtype, input.shape);
      if (Status s = copyElements(input, view(from)); !s)
        return s;
      source = from.data.data();
    }
    bool direct = output.isContiguous();
    if (!direct) {
      to = zeros(output.dtype, output.shape);
      target = to.data.data();
    }
    if (Status s = state->runPacked(**packed, source, target, batch->images,
                                    /*withBias=*/true, executor);
        !s)
      return s;
    return direct ? Status() : copyElements(view(to), output);
  });
}

Status Layer::prepare() const {
  return withinMemory([&]() -> Status {
    auto packed = state->forwardPacked();
    return packed ? Status() : Status(packed.takeError());
  });
}

Expected<Array> Layer::inputGradient(const Array &gradOutput) const {
  InlineExecutor here;
  return inputGradient(gradOutput, here);
}

Expected<Array> Layer::inputGradient(const Array &gradOutput,
                                     Executor &executor) const {
  return withinMemory([&]() -> Expected<Array> {
    auto batch = state->batchOf("gradOutput", gradOutput.shape,
                                gradOutput.dtype, state->outSize);
    if (!batch)
      return batch.takeError();
    if (Status s = checkArray("gradOutput", gradOutput); !s)
      return s.takeError();
    Array result = zeros(state->dtype, batch->shape(state->inSize));
    if (result.data.empty() || gradOutput.data.empty())
      return result;
    auto packed = state->inputGradientPacked();
    if (!packed)
      return packed.takeError();
    if (Status s = state->runPacked(**packed, gradOutput.data.data(),
                                    result.data.data(), batch->images,
                                    /*withBias=*/false, executor);
        !s)
      return s.takeError();
    return result;
  });
}

Expected<Array> Layer::biasGradient(const Array &gradOutput) const {
  return withinMemory([&]() -> Expected<Array> {
    if (!state->bias)
      return badInput("the layer has no bias; valid: one made with b_init");
    auto batch = state->batchOf("gradOutput", gradOutput.shape,
                                gradOutput.dtype, state->outSize);
    if (!batch)
      return batch.takeError();
    if (Status s = checkArray("gradOutput", gradOutput); !s)
      return s.takeError();
    auto channels = static_cast<size_t>(state->outChannels);
    std::vector<double> sums(channels);
    // The channel changes with every element, or after each whole plane.
    size_t plane = 1;
    if (state->channelFirst)
      for (size_t i = 1; i < state->outSize.size(); ++i)
        plane *= static_cast<size_t>(state->outSize[i]);
    withType(state->dtype, [&](auto zero) {
      auto values = elements<decltype(zero)>(gradOutput);
      for (size_t i = 0; i < values.size(); ++i)
        sums[i / plane % channels] += static_cast<double>(values[i]);
    });
    return narrowed(sums, state->dtype, state->biasShape);
  });
}

Expected<Array> Layer::weightGradient(const Array &input,
                                      const Array &gradOutput) const {
  return withinMemory([&]() -> Expected<Array> {
    InlineExecutor here;
    Expected<Array> gradient =
        state->effectiveGradient(input, gradOutput, here);
    if (!gradient || state->kind != LayerKind::ScaledWSConv)
      return gradient;
    return standardizationGradient(state->weight,
                                   state->gain ? &*state->gain : nullptr,
                                   state->eps, *gradient)
        .weight;
  });
}

Expected<Array> Layer::gainGradient(const Array &input,
                                    const Array &gradOutput) const {
  if (!state->gain)
    return badInput("the layer has no gain; valid: a ScaledWSConv layer made "
                    "with ws_gain");
  InlineExecutor here;
  auto gradients = parameterGradients(input, gradOutput, here);
  if (!gradients)
    return gradients.takeError();
  return std::move(*gradients->gain);
}

Expected<ParameterGradients>
Layer::parameterGradients(const Array &input, const Array &gradOutput,
                          Executor &executor) const {
  return withinMemory([&]() -> Expected<ParameterGradients> {
    Expected<Array> gradient =
        state->effectiveGradient(input, gradOutput, executor);
    if (!gradient)
      return gradient.takeError();
    ParameterGradients result{std::move(*gradient), {}, {}};
    if (state->bias) {
      Expected<Array> bias = biasGradient(gradOutput);
      if (!bias)
        return bias.takeError();
      result.bias = std::move(*bias);
    }
    if (state->kind == LayerKind::ScaledWSConv) {
      StandardizationGradient through = standardizationGradient(
          state->weight, state->gain ? &*state->gain : nullptr, state->eps,
          result.weight);
      result.weight = std::move(through.weight);
      if (state->gain) {
        result.gain = std::move(through.gain);
        result.gain->shape = state->gain->shape;
      }
    }
    return result;
  });
}
