//===- Compile.cpp - compilation through the C interface -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Device.h"
#include "Handles.h"
#include "KernelSource.h"
#include "convjit/GPUKernelCache.h"
#include "convjit/LazyCompiler.h"
#include "convjit/WeightGradient.h"

#include <nlohmann/json.hpp>

#include <chrono>
#include <map>
#include <optional>

using namespace convjit;
using namespace convjit::capi;

namespace {

/// What a context compiles with, made when first needed.
class State final : public CompilerState {
public:
  explicit State(SourceOptions given)
      : gpuKernels({.compile = {},
                    .disk = given.disk,
                    .directory = given.directory,
                    .maxBytes = given.maxBytes,
                    .maxKernels = static_cast<size_t>(given.maxKernels)}),
        options(std::move(given)) {}

  /// The kernels of one plan; the empty one is the compiler's choice.
  Expected<KernelSource *> source(const std::string &plan) {
    // Without the lock, for a kernel that is there is to be found in no time.
    if (plan.empty())
      if (KernelSource *known = chosen.load(std::memory_order_acquire))
        return known;
    std::lock_guard lock(mutex);
    std::unique_ptr<KernelSource> &entry = sources[plan];
    if (entry)
      return entry.get();
    SourceOptions own = options;
    own.compile.plan = plan;
    Expected<std::unique_ptr<KernelSource>> made =
        makeKernelSource(std::move(own));
    if (!made)
      return made.takeError();
    entry = std::move(*made);
    if (plan.empty())
      chosen.store(entry.get(), std::memory_order_release);
    return entry.get();
  }

  const Target &target() const { return options.compile.target; }
  bool isForGPUs() const { return target().triple.starts_with("nvptx"); }

  /// For plans and stages; kernels that are found need none.
  Expected<const Compiler *> compiler() { return lazy.get(); }

  /// Kernels for GPUs.
  GPUKernelCache gpuKernels;

private:
  const SourceOptions options;
  std::mutex mutex;
  LazyCompiler lazy;
  std::map<std::string, std::unique_ptr<KernelSource>> sources;
  std::atomic<KernelSource *> chosen{nullptr};
};

Expected<State *> stateOf(convjit_context &context) {
  auto known = context.ready.load(std::memory_order_acquire);
  if (known)
    return static_cast<State *>(known);
  std::lock_guard lock(context.mutex);
  if (!context.compiler) {
    SourceOptions options;
    options.compile.target = {context.triple, context.cpu, context.features};
    options.disk = context.cache != CONVJIT_CACHE_MEMORY;
    options.directory = context.cacheDirectory;
    options.maxBytes = context.cacheMaxBytes;
    options.maxKernels = context.cacheMaxKernels;
    context.compiler = std::make_unique<State>(std::move(options));
    context.ready.store(context.compiler.get(), std::memory_order_release);
  }
  return static_cast<State *>(context.compiler.get());
}

/// The arguments that every function here has, checked.
struct Request {
  State *state = nullptr;
  std::shared_ptr<const Layer> layer;
  std::string plan;
  int64_t images = 0;
  /// Of a weight's gradient, what sums so many images.
  std::optional<Convolution> whole;
  std::optional<GradientLaunch> launch;
  /// Of `find`: who has the kernels, and the kernel where it is in memory.
  KernelSource *source = nullptr;
  std::shared_ptr<const Kernel> found;

  Outcome read(convjit_context *context, const convjit_layer *from,
               const convjit_compile_options *options) {
    if (!context)
      return missing("context", "a context");
    if (!from)
      return missing("layer", "a layer");
    if (options) {
      convjit_compile_options own{};
      if (Outcome o = readStruct(options, own, "options"); !o)
        return o;
      plan = own.plan ? own.plan : "";
      images = own.images;
    }
    if (images < 0)
      return invalid("options.images=" + std::to_string(images) +
                     ": valid: 0, or a number of images");
    Expected<State *> made = stateOf(*context);
    if (!made)
      return made.takeError();
    state = *made;
    layer = from->layer;
    return {};
  }

  /// What is compiled.
  const Convolution &conv() const {
    return launch ? launch->conv : whole ? *whole : layer->conv;
  }

  /// Of a weight's gradient, takes the form for all images of a call.
  Outcome takeImages(bool onGPU) {
    if (!layer->isWeightGradient() || images == 0)
      return {};
    if (Status s = checkImages(layer->forward, images); !s)
      return s;
    if (!onGPU) {
      Expected<Convolution> sum = lowerWeightGradient(layer->forward, images);
      if (!sum)
        return sum.takeError();
      whole = std::move(*sum);
      return {};
    }
    Expected<GradientLaunch> made =
        gradientLaunch(layer->forward, images, /*stored=*/true);
    if (!made)
      return made.takeError();
    launch = std::move(*made);
    return {};
  }

  /// Images of the output that a plan is made for.
  int64_t plannedFor() const { return layer->outputImages(images); }

  CompileOptions compileOptions(const Target &target) const {
    CompileOptions options{target, plan, plannedFor()};
    if (launch)
      options.setImages(launch->images());
    return options;
  }

  /// Reads the arguments of a function that gives a kernel, and looks for it.
  Outcome find(convjit_context *context, const convjit_layer *from,
               const convjit_compile_options *options,
               convjit_kernel **kernel) {
    if (!kernel)
      return missing("kernel", "where to store the handle");
    *kernel = nullptr;
    if (Outcome o = read(context, from, options); !o)
      return o;
    if (Outcome o = takeImages(/*onGPU=*/false); !o)
      return o;
    Expected<KernelSource *> made = state->source(plan);
    if (!made)
      return logged(*context->host, made.takeError());
    source = *made;
    found = source->find(conv(), plannedFor());
    return {};
  }

  Error logged(const Host &host, Error why) const {
    if (host.logs(CONVJIT_LOG_ERROR))
      host.write(CONVJIT_LOG_ERROR,
                 "convjit: " + layer->text + ": " + why.message);
    return why;
  }

  Outcome give(const convjit_context &context, convjit_kernel **kernel) {
    *kernel = makeIn<convjit_kernel>(context.host, layer, std::move(found));
    return *kernel ? Outcome() : outOfMemory();
  }
};

void logMade(const Host &host, const Layer &layer, const Kernel &kernel,
             std::chrono::steady_clock::time_point start) {
  if (!host.logs(CONVJIT_LOG_INFO))
    return;
  std::chrono::duration<double, std::milli> took =
      std::chrono::steady_clock::now() - start;
  host.write(CONVJIT_LOG_INFO, "convjit: " + layer.text + ": made in " +
                                   std::to_string(took.count()) + " ms, " +
                                   std::to_string(kernel.codeBytes) +
                                   " bytes, " + kernel.plan);
}

constexpr std::pair<const char *, Stage> stages[] = {
    {"conv", Stage::Conv},     {"general", Stage::General},
    {"phases", Stage::Phases}, {"tiles", Stage::Tiles},
    {"linalg", Stage::Linalg}, {"vector", Stage::Vector},
    {"llvm", Stage::LLVM},     {"asm", Stage::Asm},
    {"obj", Stage::Object},    {"blocks", Stage::Blocks},
    {"gpu", Stage::GPU},       {"nvvm", Stage::NVVM},
    {"ptx", Stage::PTX}};

} // namespace

int32_t convjit_has_compiler() { return 1; }

convjit_status convjit_compile(convjit_context *context,
                               const convjit_layer *layer,
                               const convjit_compile_options *options,
                               convjit_kernel **kernel, convjit_error **error) {
  return guarded(error, [&]() -> Outcome {
    Request request;
    if (Outcome o = request.find(context, layer, options, kernel); !o)
      return o;
    const Host &host = *context->host;
    if (request.found) {
      if (host.logs(CONVJIT_LOG_DEBUG))
        host.write(CONVJIT_LOG_DEBUG,
                   "convjit: " + request.layer->text + ": in memory");
      return request.give(*context, kernel);
    }
    auto start = std::chrono::steady_clock::now();
    Expected<std::shared_ptr<const Kernel>> made =
        request.source->kernel(request.conv(), request.plannedFor());
    if (!made)
      return request.logged(host, made.takeError());
    logMade(host, *request.layer, **made, start);
    request.found = std::move(*made);
    return request.give(*context, kernel);
  });
}

/// What is left to do for a gradient that a launch has written is not done.
static Outcome checkDeviceGradient(const Request &request) {
  const Layer &layer = *request.layer;
  if (!layer.isWeightGradient())
    return {};
  if (!request.launch)
    return invalid("options.images=0: valid with grad=weight on a GPU: the "
                   "images of every call, from 1 on");
  if (!request.launch->asStored)
    return invalid("g=" + std::to_string(layer.forward.groups) + " in '" +
                   layer.text +
                   "': valid with grad=weight on a GPU: 1 where the window is "
                   "reversed");
  if (!layer.forward.mask.empty())
    return invalid("mask of '" + layer.text +
                   "': valid with grad=weight on a GPU: none; the caller "
                   "multiplies the gradient by it");
  return {};
}

convjit_status convjit_device_compile(convjit_context *context,
                                      const convjit_layer *layer,
                                      const convjit_compile_options *options,
                                      convjit_device *device,
                                      convjit_device_kernel **kernel,
                                      convjit_error **error) {
  return guarded(error, [&]() -> Outcome {
    if (!kernel)
      return missing("kernel", "where to store the handle");
    *kernel = nullptr;
    if (!device)
      return missing("device", "a device");
    Request request;
    if (Outcome o = request.read(context, layer, options); !o)
      return o;
    if (Outcome o = request.takeImages(/*onGPU=*/true); !o)
      return o;
    if (Outcome o = checkDeviceGradient(request); !o)
      return o;
    Expected<std::string> gpu =
        gpuFor(device->device->properties().computeCapability);
    if (!gpu)
      return gpu.takeError();
    Expected<std::shared_ptr<const GPUKernel>> made =
        request.state->gpuKernels.kernel(
            request.conv(),
            request.compileOptions({"nvptx64-nvidia-cuda", *gpu, ""}));
    const Host &host = *context->host;
    if (!made)
      return request.logged(host, made.takeError());
    auto loaded = DeviceKernel::load(device->device, **made);
    if (!loaded)
      return request.logged(host, loaded.takeError());
    *kernel = new convjit_device_kernel{request.layer, std::move(*loaded),
                                        std::move(request.launch)};
    return {};
  });
}

convjit_status convjit_lookup(convjit_context *context,
                              const convjit_layer *layer,
                              const convjit_compile_options *options,
                              convjit_kernel **kernel, convjit_error **error) {
  return guarded(error, [&]() -> Outcome {
    Request request;
    if (Outcome o = request.find(context, layer, options, kernel); !o)
      return o;
    if (!request.found)
      return {CONVJIT_STATUS_NOT_FOUND,
              request.layer->text + ": is not in memory"};
    return request.give(*context, kernel);
  });
}

convjit_status convjit_emit(convjit_context *context,
                            const convjit_layer *layer,
                            const convjit_compile_options *options,
                            const char *stage, convjit_text **text,
                            convjit_error **error) {
  return guarded(error, [&]() -> Outcome {
    if (!text)
      return missing("text", "where to store the handle");
    *text = nullptr;
    constexpr const char *valid =
        "conv, general, phases, tiles, linalg, vector, llvm, asm, obj; for "
        "GPUs conv, general, phases, blocks, gpu, nvvm, llvm, ptx";
    if (!stage)
      return missing("stage", valid);
    Request request;
    if (Outcome o = request.read(context, layer, options); !o)
      return o;
    for (const auto &[name, value] : stages) {
      if (std::strcmp(name, stage) != 0)
        continue;
      const Layer &asked = *request.layer;
      if (Outcome o = request.takeImages(request.state->isForGPUs()); !o)
        return o;
      Expected<const Compiler *> compiler = request.state->compiler();
      if (!compiler)
        return compiler.takeError();
      Expected<std::string> made =
          (*compiler)->emit(request.conv(), value,
                            request.compileOptions(request.state->target()),
                            asked.problem ? &*asked.problem : nullptr);
      if (!made)
        return made.takeError();
      *text = new convjit_text{std::move(*made)};
      return {};
    }
    return invalid("stage='" + std::string(stage) + "': valid: " + valid);
  });
}

convjit_status convjit_explain(convjit_context *context,
                               const convjit_layer *layer,
                               const convjit_compile_options *options,
                               convjit_text **json, convjit_error **error) {
  return guarded(error, [&]() -> Outcome {
    if (!json)
      return missing("json", "where to store the handle");
    *json = nullptr;
    Request request;
    if (Outcome o = request.read(context, layer, options); !o)
      return o;
    if (Outcome o = request.takeImages(request.state->isForGPUs()); !o)
      return o;
    Expected<const Compiler *> compiler = request.state->compiler();
    if (!compiler)
      return compiler.takeError();
    Expected<PlanReport> plan = (*compiler)->plan(
        request.conv(), request.compileOptions(request.state->target()));
    if (!plan)
      return plan.takeError();
    nlohmann::ordered_json document = {
        {"problem", request.layer->text},
        {"target", plan->target},
        {"plan", plan->plan},
        {"tasks_per_image", plan->tasksPerImage},
        {"packed_weight_bytes", plan->packedWeightBytes},
        {"scratch_bytes", plan->scratchBytes}};
    for (const Candidate &candidate : plan->candidates)
      document["candidates"].push_back({{"name", candidate.name},
                                        {"chosen", candidate.chosen},
                                        {"reason", candidate.reason},
                                        {"cycles", candidate.cycles}});
    // A path need not be UTF-8; JSON must.
    *json = new convjit_text{document.dump(
        2, ' ', false, nlohmann::ordered_json::error_handler_t::replace)};
    return {};
  });
}
