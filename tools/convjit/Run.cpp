//===- Run.cpp - convjit run -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Common.h"

#include <cstring>
#include <iostream>

using namespace convjit;
using namespace convjit::cli;

namespace {

struct RunOptions {
  CommonOptions common;
  std::string problem, input, weight, bias, residual, gradOutput, output;
  bool batchFromInput = false;
  unsigned threads = 1;
};

/// Reads an array and checks its dtype.
Expected<Array> readTensor(const char *option, const std::string &path,
                           DataType dtype) {
  if (path.empty())
    return badInput(std::string(option) +
                    " is missing; valid: the path of a .npy file");
  Expected<Array> array = readNpy(path);
  if (array && array->dtype != dtype)
    return badInput(std::string(option) + "=" + path + ": has dtype " +
                    name(array->dtype) + "; valid: the problem's, " +
                    name(dtype));
  return array;
}

Status checkShape(const char *option, const std::string &path,
                  const std::vector<int64_t> &shape,
                  const std::vector<int64_t> &wanted) {
  if (shape == wanted)
    return {};
  return badInput(std::string(option) + "=" + path + ": has shape " +
                  shapeText(shape) + "; valid: " + shapeText(wanted));
}

/// Data with or without a batch axis: the batch, or nothing without one.
Expected<std::optional<int64_t>>
batchOf(const char *option, const std::string &path, const Array &array,
        std::vector<int64_t> wanted, int64_t batchAxis, bool insist) {
  std::vector<int64_t> single = wanted;
  single.erase(single.begin() + batchAxis);
  if (array.shape == single && !insist)
    return std::optional<int64_t>();
  std::string valid =
      insist ? "" : " or, without a batch, " + shapeText(single);
  if (array.shape.size() == wanted.size()) {
    wanted[batchAxis] = array.shape[batchAxis];
    if (array.shape == wanted)
      return std::optional<int64_t>(wanted[batchAxis]);
  }
  wanted[batchAxis] = -1;
  std::string text = shapeText(wanted);
  text.replace(text.find("-1"), 2, "N");
  return badInput(std::string(option) + "=" + path + ": has shape " +
                  shapeText(array.shape) + "; valid: " + text + valid);
}

Array makeArray(DataType dtype, std::vector<int64_t> shape) {
  Array array;
  array.dtype = dtype;
  array.shape = std::move(shape);
  array.data.resize(static_cast<size_t>(array.elements() * sizeOf(dtype)));
  return array;
}

/// An executor for `threads` threads, the caller's among them.
std::unique_ptr<Executor> makeExecutor(unsigned threads) {
  if (threads == 1)
    return std::make_unique<InlineExecutor>();
  return std::make_unique<ThreadPool>(threads);
}

Expected<Array> runLayer(const RunOptions &options, const Layer &layer,
                         const Kernel &kernel) {
  const Convolution &conv = kernel.conv;
  Expected<Array> input = readTensor("--input", options.input, conv.dtype);
  if (!input)
    return input.takeError();
  Expected<Array> weight = readTensor("--weight", options.weight, conv.dtype);
  if (!weight)
    return weight.takeError();
  auto batched = batchOf("--input", options.input, *input, conv.inputShape(1),
                         conv.numbers.inputBatch, options.batchFromInput);
  if (!batched)
    return batched.takeError();
  int64_t batch = batched->value_or(1);
  if (Status s = checkShape("--weight", options.weight, weight->shape,
                            conv.kernelShape());
      !s)
    return s.takeError();
  std::vector<int64_t> outputShape = conv.outputShape(batch);
  std::vector<int64_t> resultShape = outputShape;
  if (!*batched)
    resultShape.erase(resultShape.begin() + conv.numbers.outputBatch);
  Array bias, residual;
  if (conv.bias) {
    Expected<Array> array = readTensor("--bias", options.bias, conv.dtype);
    if (!array)
      return array.takeError();
    if (Status s = checkShape("--bias", options.bias, array->shape,
                              {conv.outChannels});
        !s)
      return s.takeError();
    bias = std::move(*array);
  } else if (!options.bias.empty()) {
    return badInput("--bias=" + options.bias +
                    ": the problem has no bias; valid: add ',bias' to it");
  }
  if (conv.residual) {
    Expected<Array> array =
        readTensor("--residual", options.residual, conv.dtype);
    if (!array)
      return array.takeError();
    if (Status s = checkShape("--residual", options.residual, array->shape,
                              resultShape);
        !s)
      return s.takeError();
    residual = std::move(*array);
  } else if (!options.residual.empty()) {
    return badInput("--residual=" + options.residual +
                    ": the problem has no residual; valid: add ',residual' to "
                    "it");
  }
  Array output = makeArray(conv.dtype, resultShape);
  std::vector<std::byte> packed(kernel.packedWeightBytes);
  kernel.pack(weight->data.data(), packed.data());
  Operands operands{input->data.data(),   packed.data(),      bias.data.data(),
                    residual.data.data(), output.data.data(), batch};
  std::unique_ptr<Executor> executor = makeExecutor(options.threads);
  if (Status s = runKernel(kernel, operands, *executor); !s)
    return s.takeError();
  return output;
}

/// Reverses the spatial axes of a weight that the layer reads reversed.
void flipReversed(Array &weight, const Convolution &layer) {
  const std::vector<int64_t> &shape = weight.shape;
  auto element = static_cast<size_t>(sizeOf(weight.dtype));
  std::vector<std::byte> flipped(weight.data.size());
  for (int64_t index = 0, end = weight.elements(); index < end; ++index) {
    int64_t rest = index, to = 0, stride = 1;
    for (size_t axis = shape.size(); axis-- > 0;) {
      int64_t at = rest % shape[axis];
      rest /= shape[axis];
      for (size_t i = 0; i < layer.dims.size(); ++i)
        if (layer.dims[i].reversed &&
            layer.numbers.kernelSpatial[i] == static_cast<int64_t>(axis))
          at = shape[axis] - 1 - at;
      to += at * stride;
      stride *= shape[axis];
    }
    std::memcpy(flipped.data() + static_cast<size_t>(to) * element,
                weight.data.data() + static_cast<size_t>(index) * element,
                element);
  }
  weight.data = std::move(flipped);
}

/// The sum over images of a one-image kernel that adds to what is there.
Expected<Array> runWeightGradient(const RunOptions &options, const Layer &layer,
                                  const Kernel &kernel) {
  const Convolution &conv = kernel.conv;
  Problem forward = *layer.problem;
  forward.gradient = Gradient::None;
  Expected<Convolution> lowered = lower(forward);
  if (!lowered)
    return lowered.takeError();
  Expected<Array> input = readTensor("--input", options.input, conv.dtype);
  if (!input)
    return input.takeError();
  Expected<Array> gradient =
      readTensor("--grad-output", options.gradOutput, conv.dtype);
  if (!gradient)
    return gradient.takeError();
  auto batched =
      batchOf("--input", options.input, *input, lowered->inputShape(1),
              lowered->numbers.inputBatch, options.batchFromInput);
  if (!batched)
    return batched.takeError();
  int64_t batch = batched->value_or(1);
  std::vector<int64_t> gradientShape = lowered->outputShape(batch);
  if (!*batched)
    gradientShape.erase(gradientShape.begin());
  if (Status s = checkShape("--grad-output", options.gradOutput,
                            gradient->shape, gradientShape);
      !s)
    return s.takeError();
  Array output = makeArray(conv.dtype, lowered->kernelShape());
  std::vector<std::byte> packed(kernel.packedWeightBytes);
  std::unique_ptr<Executor> executor = makeExecutor(options.threads);
  size_t imageBytes = input->data.size() / std::max<int64_t>(batch, 1);
  size_t gradientBytes = gradient->data.size() / std::max<int64_t>(batch, 1);
  for (int64_t image = 0; image < batch; ++image) {
    kernel.pack(gradient->data.data() + image * gradientBytes, packed.data());
    Operands operands{input->data.data() + image * imageBytes,
                      packed.data(),
                      nullptr,
                      output.data.data(),
                      output.data.data(),
                      lowered->inChannels};
    if (Status s = runKernel(kernel, operands, *executor); !s)
      return s.takeError();
  }
  flipReversed(output, *lowered);
  return output;
}

Expected<int> run(const RunOptions &options) {
  Expected<Layer> layer = readLayer(options.problem);
  if (!layer)
    return layer.takeError();
  if (options.output.empty())
    return badInput("--output is missing; valid: the path of the .npy file to "
                    "write");
  Expected<std::unique_ptr<Compiler>> compiler = Compiler::create();
  if (!compiler)
    return compiler.takeError();
  Expected<Kernel> kernel =
      (*compiler)->compile(layer->conv, options.common.compile);
  if (!kernel)
    return kernel.takeError();
  Expected<Array> output = layer->isWeightGradient()
                               ? runWeightGradient(options, *layer, *kernel)
                               : runLayer(options, *layer, *kernel);
  if (!output)
    return output.takeError();
  if (Status s = writeNpy(options.output, *output); !s)
    return s.takeError();
  if (options.common.json)
    printJson({{"problem", layer->text},
               {"output", options.output},
               {"shape", output->shape},
               {"compile_ms", kernel->compileMilliseconds},
               {"plan", kernel->plan}});
  else
    std::cout << options.output << ": " << shapeText(output->shape) << "\n";
  return 0;
}

} // namespace

Verb convjit::cli::addRun(CLI::App &parent) {
  auto options = std::make_shared<RunOptions>();
  CLI::App *app = parent.add_subcommand("run", "run one layer on .npy arrays");
  app->add_option("problem", options->problem, "the layer")->required();
  app->add_option("--input", options->input,
                  "input; with grad=input the output's gradient");
  app->add_option("--weight", options->weight,
                  "weights, as the layer has them");
  app->add_option("--bias", options->bias, "bias, one value a channel");
  app->add_option("--residual", options->residual,
                  "added before the activation; the output's shape");
  app->add_option("--grad-output", options->gradOutput,
                  "with grad=weight: the output's gradient");
  app->add_option("--output", options->output, "file to write");
  app->add_flag("--batch-from-input", options->batchFromInput,
                "the input must have a batch axis");
  app->add_option("--threads", options->threads, "threads to use")
      ->check(CLI::Range(1u, 1024u));
  options->common.addTo(*app);
  app->footer("Example: convjit run convT3d:in=8x16x16x64,oc=32,k=4,s=2 "
              "--input x.npy --weight w.npy --output y.npy");
  return {app, [options] { return run(*options); }};
}
