//===- Bench.cpp - convjit bench -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Common.h"
#include "DeviceBench.h"
#include "LayerList.h"
#include "Peak.h"
#include "Random.h"
#include "Reproducer.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <iostream>

using namespace convjit;
using namespace convjit::cli;

namespace {

struct BenchOptions {
  CommonOptions common;
  std::vector<std::string> problems;
  std::string file, device;
  int64_t batch = 1;
  unsigned threads = 1;
  double minMilliseconds = 200;
};

/// Memory at a multiple of 64 bytes, touched once.
std::shared_ptr<void> aligned(int64_t bytes) {
  size_t size = (static_cast<size_t>(bytes) + 127) / 64 * 64;
  void *memory = std::aligned_alloc(64, size);
  if (!memory)
    throw std::bad_alloc();
  std::fill_n(static_cast<char *>(memory), size, char(0));
  return {memory, std::free};
}

/// Values that are neither zero nor subnormal, so that timings are honest.
void fillBench(void *memory, int64_t count, DataType dtype) {
  Random random(7);
  for (int64_t i = 0; i < count; ++i) {
    double value = 0.5 + 0.25 * random.unit();
    if (dtype == DataType::F32)
      static_cast<float *>(memory)[i] = static_cast<float>(value);
    else
      static_cast<double *>(memory)[i] = value;
  }
}

using Clock = std::chrono::steady_clock;

/// What a kernel of the target could reach at most: of all threads, 0 before it
/// is measured.
struct Peak {
  VectorUnits units;
  double gflops = 0;
};

/// Milliseconds of the fastest of some calls, 20 ms of them.
template <typename Function> double fastestMs(Function &&function) {
  double fastest = INFINITY, total = 0;
  for (int call = 0; call < 3 || total < 20; ++call) {
    Clock::time_point start = Clock::now();
    function();
    double ms =
        std::chrono::duration<double, std::milli>(Clock::now() - start).count();
    // The first call touches memory.
    if (call > 0)
      fastest = std::min(fastest, ms);
    total += ms;
  }
  return fastest;
}

Expected<Json> measure(const Compiler &compiler, const BenchOptions &options,
                       const ListedLayer &item, Executor &executor,
                       const Peak &peak) {
  Expected<Layer> layer = readLayer(item.problem);
  if (!layer)
    return layer.takeError();
  if (layer->isWeightGradient()) {
    // The kernel for so many images.
    Expected<Convolution> whole =
        lowerWeightGradient(layer->forward, item.batch);
    if (!whole)
      return whole.takeError();
    layer->conv = std::move(*whole);
  }
  CompileOptions compile = options.common.compile;
  compile.images = layer->outputImages(item.batch);
  noteLayer(layer->text, compile);
  Expected<Kernel> compiled = compiler.compile(layer->conv, compile);
  if (!compiled)
    return compiled.takeError();
  const Kernel &kernel = *compiled;
  const Convolution &conv = kernel.conv;
  // A weight gradient has the input channels as its batch.
  int64_t batch = item.batch * conv.batchGroups;
  if (layer->isWeightGradient())
    batch = layer->problem->inChannels;
  auto tensor = [&](int64_t count) {
    auto memory = aligned(count * sizeOf(conv.dtype));
    fillBench(memory.get(), count, conv.dtype);
    return memory;
  };
  MemorySpan span = conv.inputSpan(batch);
  auto input = tensor(span.elements());
  const void *firstInput = static_cast<const std::byte *>(input.get()) -
                           span.first * sizeOf(conv.dtype);
  auto weights = tensor(elementCount(conv.kernelShape()));
  auto bias = tensor(conv.outChannels);
  int64_t outputs = elementCount(conv.outputShape(batch));
  auto residual = tensor(conv.residual ? outputs : 0);
  auto output = tensor(outputs);
  // What the same memory takes at best.
  auto weightBytes = static_cast<size_t>(elementCount(conv.kernelShape()) *
                                         sizeOf(conv.dtype));
  auto packed = weights;
  double packMs = 0, copyMs = 0;
  if (!kernel.readsStoredWeights()) {
    packed = aligned(static_cast<int64_t>(kernel.packedWeightBytes));
    packMs = fastestMs(
        [&] { packWeights(kernel, weights.get(), packed.get(), executor); });
    auto copied = aligned(static_cast<int64_t>(weightBytes));
    copyMs = fastestMs(
        [&] { std::memcpy(copied.get(), weights.get(), weightBytes); });
  }
  Operands operands{firstInput,     packed.get(), bias.get(),
                    residual.get(), output.get(), batch};
  std::vector<double> times;
  double total = 0;
  // The first call warms caches and is not counted.
  for (int call = 0; call < 3 || total < options.minMilliseconds; ++call) {
    Clock::time_point start = Clock::now();
    if (Status s = runKernel(kernel, operands, executor); !s)
      return s.takeError();
    double ms =
        std::chrono::duration<double, std::milli>(Clock::now() - start).count();
    if (call == 0)
      continue;
    times.push_back(ms);
    total += ms;
  }
  std::sort(times.begin(), times.end());
  double median = times[times.size() / 2];
  int64_t flops = flopsOf(*layer, item.batch);
  // The clock's step, so that an empty layer divides by something.
  double gflops = static_cast<double>(flops) / std::max(median, 1e-6) * 1e-6;
  return Json{{"problem", layer->text},
              {"batch", item.batch},
              {"threads", executor.concurrency()},
              {"ms_median", median},
              {"ms_min", times.front()},
              {"gflops", gflops},
              {"flops", flops},
              {"bytes", bytesTouched(conv, kernel.packedWeightBytes, batch)},
              {"peak_gflops", peak.gflops},
              {"fraction_of_peak", gflops / peak.gflops},
              {"pack_ms", packMs},
              {"weight_copy_ms", copyMs},
              {"compile_ms", kernel.compileMilliseconds},
              {"code_bytes", kernel.codeBytes},
              {"plan", kernel.plan},
              {"vector_bits", peak.units.bits},
              {"fused_multiply_add", peak.units.fusedMultiplyAdd}};
}

/// The head of the table, and a line.
std::string benchHead(bool onCPU) {
  return std::string("    ms median      ms min     GFLOP/s  % of peak        "
                     "GB/s  ") +
         (onCPU ? "   pack ms  % of copy  " : "") + "compile ms  layer\n";
}

std::string benchLine(const Json &result) {
  std::string line;
  auto add = [&](const char *format, double value) {
    char text[40];
    std::snprintf(text, sizeof text, format, value);
    line += text;
  };
  auto number = [&](const char *field) { return result[field].get<double>(); };
  // The clock's step, so that an empty layer divides by something.
  constexpr double step = 1e-6;
  add("%13.4f", number("ms_median"));
  add(" %11.4f", number("ms_min"));
  add(" %11.1f", number("gflops"));
  add(" %10.1f", 100 * number("fraction_of_peak"));
  add(" %11.1f", number("bytes") / std::max(number("ms_median"), step) * 1e-6);
  // A GPU packs once.
  if (result.contains("pack_ms")) {
    add(" %11.4f", number("pack_ms"));
    add(" %10.1f",
        100 * number("weight_copy_ms") / std::max(number("pack_ms"), step));
  }
  add(" %11.1f  ", number("compile_ms"));
  line += result["problem"].get<std::string>();
  if (result["batch"] != 1)
    line += " x " + std::to_string(result["batch"].get<int64_t>());
  return line + "\n";
}

Expected<int> runOnDevice(const Compiler &compiler, const BenchOptions &options,
                          Device &device,
                          const std::vector<ListedLayer> &cases) {
  Json results = Json::array();
  if (!options.common.json)
    std::cout << device.description() << "\n" << benchHead(/*onCPU=*/false);
  for (const ListedLayer &item : cases) {
    Expected<Json> result =
        benchOnDevice(compiler, options.common.compile, device, item,
                      options.minMilliseconds);
    if (!result)
      return result.takeError();
    if (options.common.json)
      results.push_back(std::move(*result));
    else
      std::cout << benchLine(*result) << std::flush;
  }
  if (options.common.json)
    printJson(results);
  return 0;
}

Expected<int> run(BenchOptions &options) {
  std::vector<ListedLayer> cases;
  for (const std::string &problem : options.problems)
    cases.push_back({problem, options.batch});
  if (!options.file.empty()) {
    Expected<std::vector<ListedLayer>> listed = readLayerList(options.file);
    if (!listed)
      return listed.takeError();
    cases.insert(cases.end(), listed->begin(), listed->end());
  }
  if (cases.empty())
    return badInput("no problem; valid: problem strings, or --file with a CSV "
                    "file");
  // All of them are read before the first is timed.
  for (const ListedLayer &item : cases) {
    Expected<Layer> layer = readLayer(item.problem);
    if (!layer)
      return layer.takeError();
    const Convolution &conv =
        layer->isWeightGradient() ? layer->forward : layer->conv;
    if (Status s = checkBatch(conv, item.batch * conv.batchGroups); !s)
      return s.takeError();
    bool onCPU = options.device.empty() || options.device == "cpu";
    if (onCPU && !isForCPUs(conv.dtype))
      return badInput(std::string("dtype=") + name(conv.dtype) +
                      "; valid for CPUs: f32, f64; f16 and bf16 need "
                      "--device=cuda:0");
  }
  Expected<std::unique_ptr<Device>> device =
      openDeviceFor(options.device, options.common);
  if (!device)
    return device.takeError();
  Expected<std::unique_ptr<Compiler>> compiler = Compiler::create();
  if (!compiler)
    return compiler.takeError();
  if (*device)
    return runOnDevice(**compiler, options, **device, cases);
  Expected<VectorUnits> units = vectorUnits(options.common.compile.target);
  if (!units)
    return units.takeError();
  ThreadPool executor(options.threads);
  Peak peaks[] = {{*units}, {*units}};
  Json results = Json::array();
  if (!options.common.json)
    std::cout << benchHead(/*onCPU=*/true);
  for (const ListedLayer &item : cases) {
    DataType dtype = readLayer(item.problem)->conv.dtype;
    Peak &peak = peaks[static_cast<int>(dtype)];
    if (peak.gflops == 0)
      peak.gflops = measurePeakGflops(dtype, *units) * executor.concurrency();
    Expected<Json> result = measure(**compiler, options, item, executor, peak);
    if (!result)
      return result.takeError();
    if (options.common.json)
      results.push_back(std::move(*result));
    else
      std::cout << benchLine(*result) << std::flush;
  }
  if (options.common.json)
    printJson(results);
  return 0;
}

} // namespace

Verb convjit::cli::addBench(CLI::App &parent) {
  auto options = std::make_shared<BenchOptions>();
  CLI::App *app = parent.add_subcommand(
      "bench", "time layers against the machine's measured peak");
  app->add_option("problems", options->problems, "layers");
  app->add_option("--file", options->file,
                  "CSV with a column problem and perhaps a column batch");
  app->add_option("--batch", options->batch, "images (not for --file)")
      ->check(CLI::Range(int64_t(1), maxBatch));
  app->add_option("--threads", options->threads, "threads to use")
      ->check(CLI::Range(1u, 1024u));
  app->add_option("--min-ms", options->minMilliseconds,
                  "time to spend on each layer")
      ->check(CLI::Range(0.0, 1e6));
  app->add_option("--device", options->device,
                  "what to time: cpu, or cuda:0 and so on, an NVIDIA GPU");
  options->common.addTo(*app);
  app->footer("Example: convjit bench convT3d:in=8x16x16x64,oc=32,k=4,s=2 "
              "--batch 4");
  return {app, [options] { return run(*options); }};
}
