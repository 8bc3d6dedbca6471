//===- Checker.cpp - a kernel held against the reference -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Checker.h"
#include "Comparison.h"
#include "GradientData.h"
#include "GuardedTensor.h"
#include "convjit/WeightGradient.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <limits>

using namespace convjit;
using namespace convjit::cli;

namespace {

constexpr Placement placements[] = {Placement::End, Placement::Start,
                                    Placement::Shifted};
constexpr size_t placementCount = std::size(placements);

/// All of a call's tensors, placed alike.
struct Call {
  GuardedTensor input, weights, packed, bias, residual, output;
  /// Bytes from the first element in memory to that at index 0.
  int64_t inputAt = 0;
  std::vector<std::byte> before[5] = {};

  static Expected<Call> create(const Kernel &kernel,
                               const ReferenceOperands &operands, int64_t batch,
                               size_t outputs, Placement placement) {
    DataType dtype = kernel.conv.dtype;
    auto filled = [&](const std::vector<double> &values) {
      return GuardedTensor::create(values, dtype, placement);
    };
    auto input = filled(spreadInput(kernel.conv, operands.input));
    auto weights = filled(operands.weights);
    auto bias = filled(operands.bias);
    auto residual = filled(operands.residual);
    auto packed =
        GuardedTensor::create(kernel.packedWeightBytes, dtype, placement);
    auto output = GuardedTensor::create(
        outputs * static_cast<size_t>(sizeOf(dtype)), dtype, placement);
    for (auto *tensor : {&input, &weights, &packed, &bias, &residual, &output})
      if (!*tensor)
        return tensor->takeError();
    Call call{std::move(*input),
              std::move(*weights),
              std::move(*packed),
              std::move(*bias),
              std::move(*residual),
              std::move(*output),
              -kernel.conv.inputSpan(batch).first * sizeOf(dtype)};
    call.before[0] = call.weights.copy();
    kernel.pack(call.weights.data(), call.packed.data());
    if (Status same = packsAlikeInParts(kernel, call); !same)
      return Error(same.error());
    size_t at = 1;
    for (auto *tensor : {&call.input, &call.packed, &call.bias, &call.residual})
      call.before[at++] = tensor->copy();
    return call;
  }

  /// Packing in parts, the last part first, over bytes that packing must not
  /// leave: three parts, of which some may have nothing to do.
  static Status packsAlikeInParts(const Kernel &kernel, Call &call) {
    if (!kernel.packPart)
      return {};
    std::vector<std::byte> whole = call.packed.copy();
    std::memset(call.packed.data(), 0xA5, whole.size());
    for (int64_t part : {2, 1, 0})
      kernel.packPart(call.weights.data(), call.packed.data(), part, 3);
    if (call.packed.holds(whole))
      return {};
    return internalError("weights packed in parts differ");
  }

  Operands arguments(int64_t batch) const {
    return {input.data() + inputAt, packed.data(), bias.data(),
            residual.data(),        output.data(), batch};
  }

  /// Empty, or what was written to besides the output.
  std::string damage() const {
    if (!weights.holds(before[0]))
      return "the weights were written to";
    if (!input.holds(before[1]))
      return "the input was written to";
    if (!packed.holds(before[2]))
      return "the packed weights were written to";
    if (!bias.holds(before[3]))
      return "the bias was written to";
    if (!residual.holds(before[4]))
      return "the residual was written to";
    for (auto *tensor : {&input, &weights, &packed, &bias, &residual, &output})
      if (!tensor->intact())
        return "memory right after a tensor was written to";
    return "";
  }
};

} // namespace

double convjit::cli::secondsAllowed(const NamedCase &item,
                                    size_t threadCounts) {
  auto product = [](const std::vector<int64_t> &sizes) {
    double result = 1;
    for (int64_t size : sizes)
      result *= static_cast<double>(size);
    return result;
  };
  const Convolution &conv = item.forward ? *item.forward : item.conv;
  double images = item.forward ? 1 : 0; // the gradient's kernel alone
  for (int64_t count : imagesOf(item))
    images += static_cast<double>(count);
  double inputs = product(conv.inputShape(conv.batchGroups));
  double outputs = product(conv.outputShape(conv.batchGroups));
  double weights = product(conv.kernelShape());
  // All taps: the reference visits those on padding and inserted zeros too.
  double terms = weights * outputs / static_cast<double>(conv.outChannels);
  // Twice, for exact and float data, the reference and every run. The reference
  // takes 1 to 2 ns a term; 20 allow for sanitizers and a busy machine. An
  // element of a tensor is made, copied and compared.
  double passes =
      2 * (1 + static_cast<double>(std::max(placementCount, threadCounts)));
  double steps = images * (terms + 10 * (inputs + outputs)) + 10 * weights;
  return leastSecondsAllowed + 20e-9 * passes * steps;
}

Checker::Checker(const Compiler &compiler, const CompileOptions &options,
                 const std::vector<unsigned> &threads, Position &position)
    : compiler(compiler), options(options), position(position) {
  for (unsigned count : threads)
    executors.push_back(makeExecutor(count));
}

Failure Checker::fail(const std::string &detail) const {
  return {position, oneLine(detail)};
}

void Checker::setPlan(const std::string &plan) {
  std::snprintf(position.plan, sizeof position.plan, "%s", plan.c_str());
}

void Checker::enter(const char *check, int64_t images, unsigned threads) {
  position.images = images;
  position.threads = threads;
  std::snprintf(position.check, sizeof position.check, "%s", check);
}

/// Compiles with the case's own plan; one that the convolution cannot have is
/// given up for the chosen one.
Expected<Kernel> Checker::compileCase(const NamedCase &item) {
  CompileOptions own = options;
  if (item.forward)
    own.images = item.forward->inChannels / item.forward->groups;
  own.images = item.expected.value_or(own.images);
  // A plan given on the command line is the one to check.
  if (item.planSeed == 0 || !options.plan.empty())
    return compiler.compile(item.conv, own);
  Expected<PlanReport> report = compiler.plan(item.conv, own);
  if (!report)
    return report.takeError();
  own.plan = randomPlan(report->plan, item.planSeed);
  setPlan(own.plan);
  Expected<Kernel> kernel = compiler.compile(item.conv, own);
  if (!kernel && kernel.error().kind == ErrorKind::BadInput) {
    setPlan(options.plan);
    own.plan = options.plan;
    return compiler.compile(item.conv, own);
  }
  return kernel;
}

Expected<std::optional<Failure>> Checker::check(const NamedCase &item,
                                                uint64_t seed) {
  worst = 0;
  turn = 0;
  enter("compile", 0, 0);
  setPlan(options.plan);
  Expected<Kernel> kernel = compileCase(item);
  if (!kernel) {
    Error error = kernel.takeError();
    if (error.kind != ErrorKind::Internal)
      return error;
    return std::optional(fail(error.message));
  }
  setPlan(kernel->plan);
  if (item.forward) {
    auto outcome = checkBatch(*kernel, 1, item.forward->inChannels, seed);
    if (!outcome || *outcome)
      return outcome;
  }
  for (int64_t images : imagesOf(item)) {
    auto outcome =
        item.forward
            ? checkWeightGradient(*kernel, *item.forward, images, seed)
            : checkBatch(*kernel, images, images * item.conv.batchGroups, seed);
    if (!outcome || *outcome)
      return outcome;
  }
  if (!item.forward || !kernelsOfAllImages)
    return std::optional<Failure>();
  // The same from one call for all images.
  for (int64_t images : imagesOf(item)) {
    if (images == 0)
      continue;
    NamedCase whole = item;
    Expected<Convolution> sum = lowerWeightGradient(*item.forward, images);
    if (!sum)
      return sum.takeError();
    whole.conv = std::move(*sum);
    Expected<Kernel> all = compileCase(whole);
    if (!all)
      return all.takeError();
    setPlan(all->plan);
    auto outcome = checkWeightGradient(*all, *item.forward, images, seed);
    if (!outcome || *outcome)
      return outcome;
  }
  return std::optional<Failure>();
}

Expected<std::optional<Failure>> Checker::checkBatch(const Kernel &kernel,
                                                     int64_t images,
                                                     int64_t batch,
                                                     uint64_t seed) {
  const Convolution &conv = kernel.conv;
  if (Status s = cli::checkBatch(conv, batch); !s)
    return s.takeError();
  Random random(seed ^ static_cast<uint64_t>(batch));
  for (auto [name, kind, special] : checkRounds) {
    // With a mask, 0 times infinity is what multiplying by it gives.
    if (special &&
        (!isExact(conv.activation) || batch == 0 || !conv.mask.empty()))
      continue;
    enter("reference", images, 0);
    ReferenceOperands operands = randomOperands(conv, batch, kind, random);
    if (special)
      for (auto *values : {&operands.input, &operands.weights})
        makeSpecial(*values, random);
    roundOperands(conv, operands);
    ReferenceResult wanted = referenceConvolution(conv, operands, batch);
    std::vector<std::byte> first;
    size_t runs = special ? 1 : std::max(placementCount, executors.size());
    for (size_t run = 0; run < runs; ++run) {
      Executor &executor = *executors[run % executors.size()];
      enter(name, images, executor.concurrency());
      Expected<Call> call =
          Call::create(kernel, operands, batch, wanted.output.size(),
                       placements[(run + turn) % placementCount]);
      if (!call)
        return call.takeError();
      if (Status s = runKernel(kernel, call->arguments(batch), executor); !s)
        return std::optional(fail(s.error().message));
      std::string why =
          compareOutputs(conv, wanted, call->output.data(), kind, worst);
      if (why.empty())
        why = call->damage();
      if (why.empty() && run > 0 && !call->output.holds(first))
        why = "results depend on the threads or on the alignment";
      if (!why.empty())
        return std::optional(fail(why));
      if (run == 0)
        first = call->output.copy();
    }
    ++turn;
  }
  return std::optional<Failure>();
}

Expected<std::optional<Failure>>
Checker::checkWeightGradient(const Kernel &kernel, const Convolution &layer,
                             int64_t images, uint64_t seed) {
  if (Status s = cli::checkBatch(layer, images); !s)
    return s.takeError();
  Random random(seed ^ static_cast<uint64_t>(images));
  for (const CheckRound &round : checkRounds) {
    enter("reference of gradient", images, 0);
    GradientData data(layer, images, round, /*specialWeights=*/true, random);
    std::vector<std::byte> first;
    for (size_t run = 0; run < placementCount; ++run) {
      Executor &executor = *executors[(run + turn) % executors.size()];
      enter((std::string(round.name) + " gradient").c_str(), images,
            executor.concurrency());
      auto x = GuardedTensor::create(data.input, layer.dtype, placements[run]);
      auto g = GuardedTensor::create(data.outputGradient, layer.dtype,
                                     placements[run]);
      auto result = GuardedTensor::create(data.resultBytes(), layer.dtype,
                                          placements[run]);
      for (auto *tensor : {&x, &g, &result})
        if (!*tensor)
          return tensor->takeError();
      if (Status s = runWeightGradient(kernel, layer, x->data(), g->data(),
                                       images, executor, result->data());
          !s)
        return std::optional(fail(s.error().message));
      std::string why = data.compare(result->data(), worst);
      // IEEE 754 leaves a NaN's sign open, and who adds parts up decides it.
      if (why.empty() && run > 0 && !round.special && !result->holds(first))
        why = "results depend on the threads or on the alignment";
      if (!why.empty())
        return std::optional(fail(why));
      if (run == 0)
        first = result->copy();
    }
    ++turn;
  }
  return std::optional<Failure>();
}
