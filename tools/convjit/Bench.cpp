//===- Bench.cpp - convjit bench -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Common.h"
#include "Peak.h"
#include "Random.h"
#include "Reproducer.h"

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>

using namespace convjit;
using namespace convjit::cli;

namespace {

struct BenchOptions {
  CommonOptions common;
  std::vector<std::string> problems;
  std::string file;
  int64_t batch = 1;
  unsigned threads = 1;
  double minMilliseconds = 200;
};

constexpr int64_t maxBatch = int64_t(1) << 20;

struct Case {
  std::string problem;
  int64_t batch;
};

/// One record of a CSV file and the line it starts at.
struct Record {
  int line;
  std::vector<std::string> fields;
};

/// Records of RFC 4180: quoted fields may hold commas, line ends and doubled
/// quotes. Empty lines are left out.
std::vector<Record> csvRecords(const std::string &text) {
  std::vector<Record> records;
  Record record{1, {""}};
  int line = 1;
  bool quoted = false;
  auto finish = [&] {
    if (record.fields.size() > 1 || !record.fields[0].empty())
      records.push_back(std::move(record));
    record = {line, {""}};
  };
  for (size_t i = 0; i < text.size(); ++i) {
    char c = text[i];
    line += c == '\n';
    if (quoted && c == '"' && i + 1 < text.size() && text[i + 1] == '"')
      record.fields.back() += text[++i];
    else if (c == '"')
      quoted = !quoted;
    else if (quoted)
      record.fields.back() += c;
    else if (c == ',')
      record.fields.emplace_back();
    else if (c == '\n')
      finish();
    else if (c != '\r')
      record.fields.back() += c;
  }
  finish();
  return records;
}

Expected<std::vector<Case>> readCases(const std::string &path) {
  std::error_code isFolder;
  std::ifstream file(path, std::ios::binary);
  if (!file || std::filesystem::is_directory(path, isFolder))
    return environmentError("--file=" + path + ": cannot be read");
  std::string text(std::istreambuf_iterator<char>(file), {});
  if (text.starts_with("\xef\xbb\xbf")) // spreadsheets put a byte order mark
    text.erase(0, 3);
  std::vector<Record> records = csvRecords(text);
  auto bad = [&](int line, const std::string &what) {
    return badInput("--file=" + path + ": line " + std::to_string(line) + ": " +
                    what);
  };
  std::vector<std::string> header;
  if (!records.empty())
    header = records[0].fields;
  auto column = [&](const char *wanted) {
    return static_cast<size_t>(std::find(header.begin(), header.end(), wanted) -
                               header.begin());
  };
  size_t problem = column("problem"), batch = column("batch");
  if (problem == header.size())
    return bad(1, "has no column 'problem'; valid: a CSV file whose first line "
                  "names the columns problem and batch");
  std::vector<Case> cases;
  for (size_t i = 1; i < records.size(); ++i) {
    auto &[line, fields] = records[i];
    // Spreadsheets pad lines with empty fields.
    while (fields.size() > header.size() && fields.back().empty())
      fields.pop_back();
    if (fields.size() > header.size())
      return bad(line, "has " + std::to_string(fields.size()) +
                           " fields, the header has " +
                           std::to_string(header.size()) +
                           "; valid: quote the problem, whose commas end "
                           "fields without: \"conv1d:in=8x4,oc=4,k=3\"");
    if (problem >= fields.size())
      return bad(line, "has no problem; valid: one in each line");
    int64_t images = 1;
    if (batch < fields.size() && !fields[batch].empty()) {
      const std::string &field = fields[batch];
      auto [end, error] =
          std::from_chars(field.data(), field.data() + field.size(), images);
      if (error != std::errc() || end != field.data() + field.size() ||
          images < 1 || images > maxBatch)
        return bad(line, "batch=" + field + ": valid: 1 to " +
                             std::to_string(maxBatch));
    }
    if (Expected<Layer> layer = readLayer(fields[problem]); !layer)
      return Error{layer.error().kind,
                   bad(line, layer.error().message).message};
    cases.push_back({fields[problem], images});
  }
  return cases;
}

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

Expected<Json> measure(const Compiler &compiler, const BenchOptions &options,
                       const Case &item, Executor &executor, double peak) {
  using Clock = std::chrono::steady_clock;
  Expected<Layer> layer = readLayer(item.problem);
  if (!layer)
    return layer.takeError();
  noteLayer(layer->text, options.common.compile);
  Expected<Kernel> compiled =
      compiler.compile(layer->conv, options.common.compile);
  if (!compiled)
    return compiled.takeError();
  const Kernel &kernel = *compiled;
  const Convolution &conv = kernel.conv;
  // One image of a weight gradient has the input channels as its batch.
  int64_t batch = item.batch * conv.batchGroups;
  if (layer->isWeightGradient())
    batch = layer->problem->inChannels;
  int64_t images = layer->isWeightGradient() ? item.batch : 1;
  auto tensor = [&](int64_t count) {
    auto memory = aligned(count * sizeOf(conv.dtype));
    fillBench(memory.get(), count, conv.dtype);
    return memory;
  };
  auto input = tensor(elementCount(conv.inputShape(batch)));
  auto weights = tensor(elementCount(conv.kernelShape()));
  auto bias = tensor(conv.outChannels);
  int64_t outputs = elementCount(conv.outputShape(batch));
  auto residual = tensor(conv.residual ? outputs : 0);
  auto output = tensor(outputs);
  auto packed = aligned(static_cast<int64_t>(kernel.packedWeightBytes));
  kernel.pack(weights.get(), packed.get());
  Operands operands{input.get(),    packed.get(), bias.get(),
                    residual.get(), output.get(), batch};
  std::vector<double> times;
  double total = 0;
  // The first call warms caches and is not counted.
  for (int call = 0; call < 3 || total < options.minMilliseconds; ++call) {
    Clock::time_point start = Clock::now();
    for (int64_t image = 0; image < images; ++image)
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
  return Json{
      {"problem", layer->text},
      {"batch", item.batch},
      {"threads", executor.concurrency()},
      {"ms_median", median},
      {"ms_min", times.front()},
      {"gflops", gflops},
      {"flops", flops},
      {"bytes", bytesTouched(conv, kernel.packedWeightBytes, batch) * images},
      {"peak_gflops", peak},
      {"fraction_of_peak", gflops / peak},
      {"compile_ms", kernel.compileMilliseconds},
      {"code_bytes", kernel.codeBytes},
      {"plan", kernel.plan}};
}

Expected<int> run(const BenchOptions &options) {
  std::vector<Case> cases;
  for (const std::string &problem : options.problems)
    cases.push_back({problem, options.batch});
  if (!options.file.empty()) {
    Expected<std::vector<Case>> listed = readCases(options.file);
    if (!listed)
      return listed.takeError();
    cases.insert(cases.end(), listed->begin(), listed->end());
  }
  if (cases.empty())
    return badInput("no problem; valid: problem strings, or --file with a CSV "
                    "file");
  // All of them are read before the first is timed.
  for (const Case &item : cases) {
    Expected<Layer> layer = readLayer(item.problem);
    if (!layer)
      return layer.takeError();
    const Convolution &conv =
        layer->isWeightGradient() ? layer->forward : layer->conv;
    if (Status s = checkBatch(conv, item.batch * conv.batchGroups); !s)
      return s.takeError();
  }
  Expected<std::unique_ptr<Compiler>> compiler = Compiler::create();
  if (!compiler)
    return compiler.takeError();
  ThreadPool executor(options.threads);
  double peaks[] = {0, 0};
  Json results = Json::array();
  if (!options.common.json)
    std::cout
        << "    ms median      ms min     GFLOP/s  % of peak        GB/s  "
           "compile ms  layer\n";
  for (const Case &item : cases) {
    DataType dtype = readLayer(item.problem)->conv.dtype;
    double &peak = peaks[static_cast<int>(dtype)];
    if (peak == 0)
      peak = measurePeakGflops(dtype) * executor.concurrency();
    Expected<Json> result = measure(**compiler, options, item, executor, peak);
    if (!result)
      return result.takeError();
    if (options.common.json) {
      results.push_back(*result);
      continue;
    }
    auto number = [&](const char *field) {
      return (*result)[field].get<double>();
    };
    char line[160];
    std::snprintf(line, sizeof line,
                  "%13.4f %11.4f %11.1f %10.1f %11.1f %11.1f  ",
                  number("ms_median"), number("ms_min"), number("gflops"),
                  100 * number("fraction_of_peak"),
                  number("bytes") / std::max(number("ms_median"), 1e-6) * 1e-6,
                  number("compile_ms"));
    std::cout << line << (*result)["problem"].get<std::string>();
    if (item.batch != 1)
      std::cout << " x " << item.batch;
    std::cout << "\n" << std::flush;
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
  options->common.addTo(*app);
  app->footer("Example: convjit bench convT3d:in=8x16x16x64,oc=32,k=4,s=2 "
              "--batch 4");
  return {app, [options] { return run(*options); }};
}
