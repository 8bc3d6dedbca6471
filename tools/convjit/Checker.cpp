//===- Checker.cpp - a kernel held against the reference -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Checker.h"
#include "Common.h"
#include "GuardedBuffer.h"

#include <cmath>
#include <cstring>

using namespace convjit;
using namespace convjit::cli;
using Side = GuardedBuffer::Side;

NamedCase convjit::cli::randomCase(uint64_t seed, int64_t index) {
  Random random(seed * 0x9e3779b97f4a7c15 + static_cast<uint64_t>(index));
  // A tenth as layers, so that the front end's mappings are on the way too.
  if (random.chance(10))
    for (;;) {
      Problem problem = randomProblem(random);
      Expected<Convolution> conv = problem.gradient == Gradient::Weight
                                       ? lowerWeightGradient(problem)
                                       : lower(problem);
      if (!conv || countMacs(*conv, conv->batchGroups) > 2000000)
        continue;
      NamedCase item{printProblem(problem), std::move(*conv), {}};
      if (problem.gradient == Gradient::Weight)
        item.batches = {problem.inChannels};
      return item;
    }
  NamedConvolution named = randomConvolution(random);
  NamedCase item{describe(named), named.conv, {}};
  if (random.chance(40))
    item.planSeed = random.next() | 1;
  return item;
}

namespace {

/// Prefilled into outputs: a NaN that no kernel writes.
constexpr unsigned char poison = 0xff;

/// A tensor between guard pages. Off natural alignment it is moved from the
/// page by one element, so that vectors are not aligned.
struct GuardedTensor {
  GuardedBuffer buffer;
  std::byte *data;
  size_t bytes;

  static Expected<GuardedTensor> create(size_t count, DataType dtype,
                                        Side side) {
    size_t bytes = count * static_cast<size_t>(sizeOf(dtype));
    Expected<GuardedBuffer> buffer = GuardedBuffer::create(bytes, side);
    if (!buffer)
      return buffer.takeError();
    std::byte *data = buffer->data();
    std::memset(data, poison, bytes);
    return GuardedTensor{std::move(*buffer), data, bytes};
  }
};

Expected<GuardedTensor> filled(const std::vector<double> &values,
                               DataType dtype, Side side) {
  Expected<GuardedTensor> tensor =
      GuardedTensor::create(values.size(), dtype, side);
  if (tensor)
    narrow(values, dtype, tensor->data);
  return tensor;
}

/// All of a call's tensors on one side of their guard pages.
struct Call {
  GuardedTensor input, weights, packed, bias, residual, output;

  static Expected<Call> create(const Kernel &kernel,
                               const ReferenceOperands &operands,
                               size_t outputs, Side side) {
    DataType dtype = kernel.conv.dtype;
    auto input = filled(operands.input, dtype, side);
    auto weights = filled(operands.weights, dtype, side);
    auto packed = GuardedTensor::create(kernel.packedWeightBytes /
                                            static_cast<size_t>(sizeOf(dtype)),
                                        dtype, side);
    auto bias = filled(operands.bias, dtype, side);
    auto residual = filled(operands.residual, dtype, side);
    auto output = GuardedTensor::create(outputs, dtype, side);
    for (auto *tensor : {&input, &weights, &packed, &bias, &residual, &output})
      if (!*tensor)
        return tensor->takeError();
    return Call{std::move(*input), std::move(*weights),  std::move(*packed),
                std::move(*bias),  std::move(*residual), std::move(*output)};
  }
};

bool unchanged(const GuardedTensor &tensor, const std::vector<double> &values,
               DataType dtype) {
  std::vector<std::byte> wanted(tensor.bytes);
  narrow(values, dtype, wanted.data());
  return tensor.bytes == 0 ||
         std::memcmp(tensor.data, wanted.data(), tensor.bytes) == 0;
}

/// Whether integer data comes out exact: no transcendental function.
bool isExact(const Activation &activation) {
  switch (activation.kind) {
  case ActivationKind::None:
  case ActivationKind::Relu:
    return true;
  case ActivationKind::LeakyRelu: {
    int exponent;
    return std::abs(std::frexp(activation.slope, &exponent)) == 0.5;
  }
  default:
    return false;
  }
}

std::string difference(size_t index, double got, double wanted, double bound) {
  char text[160];
  std::snprintf(text, sizeof text,
                "element %zu is %.9g, the reference says %.9g, allowed %.3g",
                index, got, wanted, bound);
  return text;
}

} // namespace

Checker::Checker(const Compiler &compiler, const CompileOptions &options,
                 const std::vector<unsigned> &threads)
    : compiler(compiler), options(options) {
  for (unsigned count : threads)
    if (count == 1)
      executors.push_back(std::make_unique<InlineExecutor>());
    else
      executors.push_back(std::make_unique<ThreadPool>(count));
}

/// `plan` with the number after `field` = replaced.
static void replaceField(std::string &plan, const std::string &field,
                         const std::string &value) {
  size_t at = plan.find(field + " = ");
  if (at == std::string::npos)
    return;
  at += field.size() + 3;
  plan.replace(at, plan.find_first_of(",>", at) - at, value);
}

/// Compiles with the case's own plan; one that the convolution cannot have is
/// given up for the chosen one.
Expected<Kernel> Checker::compileCase(const NamedCase &item) {
  if (item.planSeed == 0)
    return compiler.compile(item.conv, options);
  Expected<PlanReport> report = compiler.plan(item.conv, options);
  if (!report)
    return report.takeError();
  CompileOptions own = options;
  own.plan = report->plan;
  Random random(item.planSeed);
  auto number = [&](const char *field, std::initializer_list<int64_t> values) {
    if (random.chance(60))
      replaceField(own.plan, field, std::to_string(random.pick(values)));
  };
  number("width", {1, 2, 3, 4, 5, 8, 12, 16, 20, 24, 32, 40, 48, 64});
  number("pixels", {1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 14, 17});
  number("unroll", {1, 2, 3, 4, 5, 8});
  number("chunks", {1, 2, 3, 5});
  if (random.chance(40))
    replaceField(own.plan, "row", random.chance(50) ? "ranged" : "unrolled");
  if (random.chance(20))
    replaceField(own.plan, "lanes", random.chance(50) ? "channels" : "groups");
  Expected<Kernel> kernel = compiler.compile(item.conv, own);
  if (!kernel && kernel.error().kind == ErrorKind::BadInput)
    return compiler.compile(item.conv, options);
  return kernel;
}

Expected<std::optional<Failure>> Checker::check(const NamedCase &item,
                                                uint64_t seed) {
  Expected<Kernel> kernel = compileCase(item);
  if (!kernel) {
    Error error = kernel.takeError();
    if (error.kind == ErrorKind::BadInput)
      return error;
    return std::optional<Failure>({0, 0, "compile", error.message});
  }
  plan = kernel->plan;
  std::vector<int64_t> batches = item.batches;
  if (batches.empty())
    // The kernel has seen none of them before.
    for (int64_t images : {1, 0, 3})
      batches.push_back(images * item.conv.batchGroups);
  for (int64_t batch : batches) {
    auto outcome = checkBatch(*kernel, batch, seed);
    if (!outcome || *outcome)
      return outcome;
  }
  return std::optional<Failure>();
}

Expected<std::optional<Failure>>
Checker::checkBatch(const Kernel &kernel, int64_t batch, uint64_t seed) {
  const Convolution &conv = kernel.conv;
  DataType dtype = conv.dtype;
  Random random(seed ^ static_cast<uint64_t>(batch));
  for (DataKind kind : {DataKind::Exact, DataKind::Float}) {
    ReferenceOperands operands = randomOperands(conv, batch, kind, random);
    // The reference sees what the kernel sees: data of the kernel's type.
    for (auto *values : {&operands.input, &operands.weights, &operands.bias,
                         &operands.residual})
      if (dtype == DataType::F32)
        for (double &value : *values)
          value = static_cast<float>(value);
    ReferenceResult wanted = referenceConvolution(conv, operands, batch);
    bool exact = kind == DataKind::Exact && isExact(conv.activation);
    size_t run = 0;
    for (const std::unique_ptr<Executor> &executor : executors) {
      Side side = run++ % 2 ? Side::Start : Side::End;
      Failure failure{batch, executor->concurrency(),
                      kind == DataKind::Exact ? "exact" : "float", ""};
      auto fail = [&](std::string detail) {
        failure.detail = std::move(detail);
        return std::optional<Failure>(failure);
      };
      Expected<Call> call =
          Call::create(kernel, operands, wanted.output.size(), side);
      if (!call)
        return call.takeError();
      kernel.pack(call->weights.data, call->packed.data);
      std::vector<std::byte> packed(call->packed.data,
                                    call->packed.data + call->packed.bytes);
      Operands arguments{call->input.data,  call->packed.data,
                         call->bias.data,   call->residual.data,
                         call->output.data, batch};
      if (Status s = runKernel(kernel, arguments, *executor); !s)
        return fail(s.error().message);
      for (size_t i = 0; i < wanted.output.size(); ++i) {
        double got = elementAt(call->output.data, dtype, i);
        double bound = exact ? 0 : errorBound(conv, wanted.magnitude[i]);
        double error = std::abs(got - wanted.output[i]);
        if (exact && dtype == DataType::F32)
          error = std::abs(got - static_cast<float>(wanted.output[i]));
        if (!(error <= bound))
          return fail(difference(i, got, wanted.output[i], bound));
        if (kind == DataKind::Float && bound > 0)
          worst = std::max(worst, error / bound);
      }
      if (!unchanged(call->input, operands.input, dtype) ||
          !unchanged(call->weights, operands.weights, dtype) ||
          !unchanged(call->bias, operands.bias, dtype) ||
          !unchanged(call->residual, operands.residual, dtype) ||
          (call->packed.bytes &&
           std::memcmp(packed.data(), call->packed.data, packed.size()) != 0))
        return fail("an input was written to");
    }
  }
  return std::optional<Failure>();
}
