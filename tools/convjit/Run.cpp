//===- Run.cpp - convjit run -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Common.h"
#include "Reproducer.h"
#include "convjit/GPUKernelCache.h"
#include "convjit/WeightGradient.h"

#include <algorithm>
#include <iostream>

using namespace convjit;
using namespace convjit::cli;

namespace {

struct RunOptions {
  CommonOptions common;
  std::string problem, input, weight, bias, residual, gradOutput, output;
  std::string device;
  bool batchFromInput = false;
  unsigned threads = 1;
};

/// Reads an array and checks its dtype.
Expected<Array> readTensor(const char *option, const std::string &path,
                           DataType dtype) {
  if (path.empty())
    return badInput(std::string(option) +
                    " is missing; valid: the path of a .npy file");
  Expected<Array> array =
      readNpy(path, isForCPUs(dtype) ? NpyTypes::ForCPUs : NpyTypes::All);
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

/// Everything a call needs, read and checked.
struct Tensors {
  int64_t batch = 1;
  /// `weight` holds the output's gradient with grad=weight.
  Array input, weight, bias, residual, output;
};

/// A tensor that only some problems have.
Expected<Array> readOptional(const char *option, const char *field, bool wanted,
                             const std::string &path, DataType dtype,
                             const std::vector<int64_t> &shape) {
  if (!wanted) {
    if (path.empty())
      return Array();
    return badInput(std::string(option) + "=" + path + ": the problem has no " +
                    field + "; valid: add '," + field + "' to it");
  }
  Expected<Array> array = readTensor(option, path, dtype);
  if (array)
    if (Status s = checkShape(option, path, array->shape, shape); !s)
      return s.takeError();
  return array;
}

Status refuse(const char *option, const std::string &path, const char *why) {
  if (path.empty())
    return {};
  return badInput(std::string(option) + "=" + path + ": " + why);
}

Expected<Tensors> readTensors(const RunOptions &options, const Layer &layer) {
  bool gradient = layer.isWeightGradient();
  const Convolution &conv = gradient ? layer.forward : layer.conv;
  Tensors tensors;
  if (Status s =
          gradient
              ? refuse("--weight", options.weight,
                       "valid: none, grad=weight does not depend on it")
              : refuse("--grad-output", options.gradOutput,
                       "valid: only with grad=weight (grad=input takes the "
                       "output's gradient as --input)");
      !s)
    return s.takeError();
  Expected<Array> input = readTensor("--input", options.input, conv.dtype);
  if (!input)
    return input.takeError();
  auto batched = batchOf("--input", options.input, *input, conv.inputShape(1),
                         conv.numbers.inputBatch, options.batchFromInput);
  if (!batched)
    return batched.takeError();
  tensors.batch = batched->value_or(1);
  if (tensors.batch % conv.batchGroups)
    return badInput(
        "--input=" + options.input + ": has " + std::to_string(tensors.batch) +
        " images; valid: a multiple of bg=" + std::to_string(conv.batchGroups));
  if (Status s = checkBatch(conv, tensors.batch); !s)
    return s.takeError();
  std::vector<int64_t> outputShape = conv.outputShape(tensors.batch);
  if (!*batched)
    outputShape.erase(outputShape.begin() + conv.numbers.outputBatch);
  const char *option = gradient ? "--grad-output" : "--weight";
  const std::string &path = gradient ? options.gradOutput : options.weight;
  Expected<Array> weight = readTensor(option, path, conv.dtype);
  if (!weight)
    return weight.takeError();
  if (Status s = checkShape(option, path, weight->shape,
                            gradient ? outputShape : conv.kernelShape());
      !s)
    return s.takeError();
  Expected<Array> bias = readOptional("--bias", "bias", conv.bias, options.bias,
                                      conv.dtype, {conv.outChannels});
  if (!bias)
    return bias.takeError();
  Expected<Array> residual =
      readOptional("--residual", "residual", conv.residual, options.residual,
                   conv.dtype, outputShape);
  if (!residual)
    return residual.takeError();
  tensors.input = std::move(*input);
  tensors.weight = std::move(*weight);
  tensors.bias = std::move(*bias);
  tensors.residual = std::move(*residual);
  tensors.output =
      makeArray(conv.dtype, gradient ? conv.kernelShape() : outputShape);
  return tensors;
}

Status runKernelOn(Tensors &tensors, const Layer &layer, const Kernel &kernel,
                   unsigned threads) {
  std::unique_ptr<Executor> executor = makeExecutor(threads);
  if (layer.isWeightGradient())
    return runWeightGradient(kernel, layer.forward, tensors.input.data.data(),
                             tensors.weight.data.data(), tensors.batch,
                             *executor, tensors.output.data.data());
  std::vector<std::byte> packed(kernel.packedWeightBytes);
  kernel.pack(tensors.weight.data.data(), packed.data());
  Operands operands{tensors.input.data.data(),  packed.data(),
                    tensors.bias.data.data(),   tensors.residual.data.data(),
                    tensors.output.data.data(), tensors.batch};
  return runKernel(kernel, operands, *executor);
}

/// What is known of a kernel that ran.
struct Ran {
  bool cached = false;
  double compileMilliseconds = 0;
  std::string plan;
};

Expected<Ran> runOnCPU(Tensors &tensors, const Layer &layer,
                       const RunOptions &options) {
  KernelCacheOptions place;
  place.compile = options.common.compile;
  place.compile.images =
      layer.outputImages(tensors.batch / layer.conv.batchGroups);
  Expected<std::unique_ptr<KernelCache>> cache = KernelCache::create(place);
  if (!cache)
    return cache.takeError();
  auto kernel = (*cache)->kernel(layer.conv);
  if (!kernel)
    return kernel.takeError();
  if (Status s = runKernelOn(tensors, layer, **kernel, options.threads); !s)
    return s.takeError();
  return Ran{(*cache)->stats().compiled == 0, (*kernel)->compileMilliseconds,
             (*kernel)->plan};
}

/// The layer's part of a run on a device that has loaded its kernel.
Status runOnDevice(Tensors &tensors, const Layer &layer,
                   const GradientLaunch *gradient, Device &device) {
  DeviceTensors call{
      std::move(tensors.input.data),  std::move(tensors.weight.data),
      std::move(tensors.bias.data),   std::move(tensors.residual.data),
      std::move(tensors.output.data), tensors.batch};
  Status done =
      gradient ? runWeightGradientOn(device, layer.forward, *gradient, call)
               : device.run(call);
  tensors.output.data = std::move(call.output);
  return done;
}

Expected<Ran> runOnGPU(Tensors &tensors, const Layer &layer, Device &device,
                       CompileOptions options) {
  Expected<std::unique_ptr<Compiler>> compiler = Compiler::create();
  if (!compiler)
    return compiler.takeError();
  std::optional<GradientLaunch> gradient;
  if (layer.isWeightGradient()) {
    // One launch takes all images; of none it is not made.
    Expected<GradientLaunch> launch =
        gradientLaunch(layer.forward, std::max<int64_t>(tensors.batch, 1));
    if (!launch)
      return launch.takeError();
    gradient = std::move(*launch);
    options.setImages(gradient->images());
  }
  GPUKernelCache cache;
  Expected<std::shared_ptr<const GPUKernel>> found =
      cache.kernel(gradient ? gradient->conv : layer.conv, options);
  if (!found)
    return found.takeError();
  const GPUKernel &kernel = **found;
  options.plan = kernel.plan;
  if (Status s = device.load(**compiler, kernel, options); !s)
    return s.takeError();
  if (Status s =
          runOnDevice(tensors, layer, gradient ? &*gradient : nullptr, device);
      !s) {
    Error error = s.takeError();
    // Nothing was compared; what went wrong is the device's word.
    if (error.kind == ErrorKind::CheckFailed)
      error.kind = ErrorKind::Environment;
    return error;
  }
  return Ran{cache.stats().compiled == 0, kernel.compileMilliseconds,
             kernel.plan};
}

Expected<int> run(RunOptions &options) {
  Expected<Layer> layer = readLayer(options.problem);
  if (!layer)
    return layer.takeError();
  if (!layer->conv.inputStrides.empty())
    return badInput("problem=" + layer->text +
                    ": the input of a file is contiguous; valid: without xs");
  if (options.output.empty())
    return badInput("--output is missing; valid: the path of the .npy file to "
                    "write");
  Expected<Tensors> tensors = readTensors(options, *layer);
  if (!tensors)
    return tensors.takeError();
  Expected<std::unique_ptr<Device>> device =
      openDeviceFor(options.device, options.common);
  if (!device)
    return device.takeError();
  // CPUs sum over all images at once.
  if (layer->isWeightGradient() && tensors->batch > 0 && !*device) {
    Expected<Convolution> whole =
        lowerWeightGradient(layer->forward, tensors->batch);
    if (!whole)
      return whole.takeError();
    layer->conv = std::move(*whole);
  }
  noteLayer(layer->text, options.common.compile);
  Expected<Ran> ran =
      *device ? runOnGPU(*tensors, *layer, **device, options.common.compile)
              : runOnCPU(*tensors, *layer, options);
  if (!ran)
    return ran.takeError();
  if (Status s = writeNpy(options.output, tensors->output); !s)
    return s.takeError();
  if (options.common.json)
    printJson({{"problem", layer->text},
               {"output", options.output},
               {"shape", tensors->output.shape},
               {"cached", ran->cached},
               {"compile_ms", ran->compileMilliseconds},
               {"plan", ran->plan}});
  else
    std::cout << options.output << ": " << shapeText(tensors->output.shape)
              << "\n";
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
  app->add_option("--device", options->device, deviceHelp);
  options->common.addTo(*app);
  app->footer("Example: convjit run convT3d:in=8x16x16x64,oc=32,k=4,s=2 "
              "--input x.npy --weight w.npy --output y.npy");
  return {app, [options] { return run(*options); }};
}
