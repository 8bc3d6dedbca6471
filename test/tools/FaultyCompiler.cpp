//===- FaultyCompiler.cpp - kernels with bugs -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Stands in for the compiler. Its kernels call the reference and then go wrong
// in the way that the environment variable CONVJIT_FAULT names, so that each
// check of `convjit verify` is seen to fail. One kernel at a time: a worker of
// verify has no more.
//
//===----------------------------------------------------------------------===//

#include "convjit/AheadOfTime.h"
#include "convjit/GPUKernelCache.h"
#include "convjit/Reference.h"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>
#include <thread>

using namespace convjit;

namespace {

Convolution conv;
std::string fault;

int64_t count(const std::vector<int64_t> &shape) {
  int64_t product = 1;
  for (int64_t size : shape)
    product *= size;
  return product;
}

std::vector<double> widen(const void *from, const std::vector<int64_t> &shape) {
  std::vector<double> values(static_cast<size_t>(count(shape)));
  for (size_t i = 0; i < values.size(); ++i)
    if (conv.dtype == DataType::F32)
      values[i] = static_cast<const float *>(from)[i];
    else
      values[i] = static_cast<const double *>(from)[i];
  return values;
}

void store(void *to, int64_t index, double value) {
  if (conv.dtype == DataType::F32)
    static_cast<float *>(to)[index] = static_cast<float>(value);
  else
    static_cast<double *>(to)[index] = value;
}

double load(const void *from, int64_t index) {
  return conv.dtype == DataType::F32 ? static_cast<const float *>(from)[index]
                                     : static_cast<const double *>(from)[index];
}

void pack(const void *weights, void *packed) {
  std::memcpy(
      packed, weights,
      static_cast<size_t>(count(conv.kernelShape()) * sizeOf(conv.dtype)));
}

[[noreturn]] void hang() {
  for (;;)
    std::this_thread::sleep_for(std::chrono::seconds(1));
}

/// Goes wrong in what a call reads and writes.
void misbehave(const ConvjitKernelArgs &args, int64_t outputs, int64_t begin) {
  int64_t inputs = count(conv.inputShape(args.batch));
  [[maybe_unused]] static volatile double seen;
  if (fault == "read-after")
    seen = load(args.input, inputs);
  if (fault == "read-before")
    seen = load(args.input, -1);
  if (fault == "write-after")
    store(args.output, outputs, 1);
  if (fault == "write-input")
    store(const_cast<void *>(args.input), 0, load(args.input, 0) + 1);
  if (fault == "write-weights")
    store(const_cast<void *>(args.packed_weights), 0, 7);
  if (fault == "wrong")
    store(args.output, outputs - 1, load(args.output, outputs - 1) + 1);
  if (fault == "imprecise")
    store(args.output, 0, load(args.output, 0) * (1 + 1e-3));
  if (fault == "batch" && args.batch > 2)
    store(args.output, 0, 123);
  if (fault == "hang" && conv.rank() == 2)
    hang();
  if (fault == "partition" && begin > 0)
    store(args.output, outputs - 1, 123);
  // Only where sums of products of integers do not get: off by a thousandth, or
  // by a rounding at some addresses.
  double value = load(args.output, 0);
  if (value == static_cast<double>(static_cast<int64_t>(value)))
    return;
  if (fault == "imprecise-float")
    store(args.output, 0, value * (1 + 1e-3));
  if (fault == "alignment" && reinterpret_cast<uintptr_t>(args.input) % 64)
    store(args.output, 0, value * (1 + 2e-7));
}

/// Tasks are the images of the output.
void run(const ConvjitKernelArgs *args, int64_t begin, int64_t end) {
  ReferenceOperands operands;
  std::vector<int64_t> shape = conv.outputShape(args->batch);
  operands.input = widen(args->input, conv.inputShape(args->batch));
  operands.weights = widen(args->packed_weights, conv.kernelShape());
  if (conv.bias)
    operands.bias = widen(args->bias, {conv.outChannels});
  if (conv.residual)
    operands.residual = widen(args->residual, shape);
  // Forgets what the image right before this one left.
  static const void *next = nullptr;
  auto *input = static_cast<const std::byte *>(args->input);
  if (fault == "sum" && input == next)
    operands.residual.assign(operands.residual.size(), 0);
  next =
      input + operands.input.size() * static_cast<size_t>(sizeOf(conv.dtype));
  if (fault == "mask")
    conv.mask.clear();
  ReferenceResult result = referenceConvolution(conv, operands, args->batch);
  int64_t inner = 1;
  for (size_t axis = static_cast<size_t>(conv.numbers.outputBatch) + 1;
       axis < shape.size(); ++axis)
    inner *= shape[axis];
  int64_t images = shape[static_cast<size_t>(conv.numbers.outputBatch)];
  int64_t outputs = count(shape);
  for (int64_t i = 0; i < outputs; ++i) {
    int64_t image = i / inner % images;
    bool skipped = fault == "unwritten" && i == outputs / 2;
    if (image >= begin && image < end && !skipped)
      store(args->output, i, result.output[static_cast<size_t>(i)]);
  }
  if (outputs > 0)
    misbehave(*args, outputs, begin);
}

} // namespace

struct Compiler::Impl {};
Compiler::Compiler(std::unique_ptr<Impl> impl) : impl(std::move(impl)) {}
Compiler::~Compiler() = default;

Expected<std::unique_ptr<Compiler>> Compiler::create() {
  const char *name = std::getenv("CONVJIT_FAULT");
  fault = name ? name : "";
  return std::unique_ptr<Compiler>(new Compiler(nullptr));
}

Expected<Kernel> Compiler::compile(const Convolution &wanted,
                                   const CompileOptions &options) const {
  if (fault == "internal")
    return internalError("the pass\nhas a bug");
  if (fault == "abort")
    std::abort();
  if (fault == "hang-compile")
    hang();
  if (fault == "exit")
    std::exit(1);
  if (fault == "throw")
    throw std::string("not even an exception");
  conv = wanted;
  Kernel kernel;
  kernel.conv = wanted;
  kernel.run = run;
  kernel.pack = pack;
  kernel.packedWeightBytes =
      static_cast<size_t>(count(conv.kernelShape()) * sizeOf(conv.dtype));
  kernel.tasksPerImage = 1;
  kernel.plan = "#conv.plan<faulty>";
  return kernel;
}

Expected<std::string> Compiler::emit(const Convolution &, Stage,
                                     const CompileOptions &,
                                     const Problem *) const {
  return internalError("the faulty compiler emits nothing");
}

Expected<Library> Compiler::library(const std::vector<LibraryLayer> &,
                                    const LibraryOptions &) const {
  return internalError("no library");
}

Status convjit::checkLibraryNames(const std::string &,
                                  const std::vector<LibraryLayer> &) {
  return {};
}

Expected<PlanReport> Compiler::plan(const Convolution &,
                                    const CompileOptions &) const {
  PlanReport report;
  report.plan = "#conv.plan<faulty>";
  return report;
}

Expected<std::string> convjit::gpuFor(int) { return std::string("sm_80"); }
int64_t convjit::gpuProductsPerCycle(const std::string &, DataType,
                                     const std::string &) {
  return 1;
}

Expected<VectorUnits> convjit::vectorUnits(const Target &) {
  return VectorUnits{};
}

Expected<GPUKernel> Compiler::compileGPU(const Convolution &,
                                         const CompileOptions &) const {
  return Error{ErrorKind::Environment, "not in this tool"};
}

Expected<CompiledKernel> Compiler::compileObject(const Convolution &,
                                                 const CompileOptions &) const {
  return internalError("the faulty compiler makes no objects");
}

// And no cache, but the command line wants one to link with.
struct GPUKernelCache::Impl {};
GPUKernelCache::GPUKernelCache(const KernelCacheOptions &) {}
GPUKernelCache::~GPUKernelCache() = default;
Expected<std::shared_ptr<const GPUKernel>>
GPUKernelCache::kernel(const Convolution &, const CompileOptions &) {
  return internalError("");
}
KernelCacheStats GPUKernelCache::stats() const { return {}; }
struct KernelCache::Impl {};
KernelCache::~KernelCache() = default;
Expected<std::unique_ptr<KernelCache>> KernelCache::create(KernelCacheOptions) {
  return internalError("the faulty compiler has no cache");
}
Expected<std::shared_ptr<const Kernel>> KernelCache::kernel(const Convolution &,
                                                            int64_t) {
  return internalError("");
}
KernelCacheStats KernelCache::stats() const { return {}; }
Status KernelCache::diskStatus() const { return {}; }
const std::string &KernelCache::directory() const { return fault; }
uint64_t KernelCache::maxBytes() const { return 0; }
Expected<std::vector<CachedKernel>> KernelCache::onDisk() const {
  return internalError("");
}
Expected<CacheRemoval> KernelCache::clearDisk() { return internalError(""); }
Expected<CacheRemoval> KernelCache::collectDisk(uint64_t) {
  return internalError("");
}
Expected<uint64_t> convjit::parseCacheSize(const std::string &) {
  return internalError("");
}
