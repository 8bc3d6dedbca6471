//===- FuzzCompile.cpp - layers compiled from any bytes -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// convjit_compile on small convolutions with any attributes, and on plans that
// are any text or the chosen one with bytes changed. What compiles runs on
// small whole numbers and must agree with the reference to the bit.
//
//===----------------------------------------------------------------------===//

#include "Handles.h"
#include "RandomConvolution.h"

#include "convjit/Reference.h"
#include "convjit/convjit.hpp"

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>

using namespace convjit;
namespace host = convjit::host;

namespace {

/// The bytes that are left; zeros when none are.
class Bytes {
public:
  Bytes(const uint8_t *data, size_t size) : data(data), left(size) {}
  uint8_t byte() { return left ? (--left, *data++) : 0; }
  /// Of [low, high].
  int64_t number(int64_t low, int64_t high) {
    return low + byte() % (high - low + 1);
  }
  /// One in four is not `usual`.
  int64_t rarely(int64_t usual, int64_t low, int64_t high) {
    return byte() % 4 ? usual : number(low, high);
  }
  std::string rest() {
    std::string text(reinterpret_cast<const char *>(data), left);
    left = 0;
    return text;
  }

private:
  const uint8_t *data;
  size_t left;
};

[[noreturn]] void fail(const char *what, const char *text) {
  std::fprintf(stderr, "%s: %s\n", what, text);
  std::abort();
}

/// An error always says something, is the caller's, and no bug.
bool good(const host::Result &result) {
  if (result)
    return true;
  if (result.status() != CONVJIT_STATUS_INVALID_ARGUMENT || !*result.message())
    fail(convjit_status_name(result.status()), result.message());
  return false;
}

/// Most are valid: products of channels and axes that are permutations.
convjit_convolution takeConvolution(Bytes &bytes, std::vector<double> &mask) {
  convjit_convolution conv;
  auto rank = static_cast<int32_t>(bytes.number(1, 3));
  convjit_convolution_init(&conv, sizeof conv, rank);
  conv.dtype = bytes.byte() % 4 == 1;
  conv.feature_group_count = bytes.rarely(1, 1, 4);
  if (conv.feature_group_count == 1)
    conv.batch_group_count = bytes.rarely(1, 1, 3);
  conv.input_channels = conv.feature_group_count * bytes.number(1, 9);
  conv.output_channels =
      conv.feature_group_count * conv.batch_group_count * bytes.number(1, 9);
  for (int32_t i = 0; i < rank; ++i) {
    conv.input[i] = bytes.number(0, 7);
    conv.kernel[i] = bytes.number(1, 4);
    conv.window_strides[i] = bytes.rarely(1, 0, 3);
    conv.input_dilation[i] = bytes.rarely(1, 1, 4);
    conv.kernel_dilation[i] = bytes.rarely(1, 1, 3);
    conv.padding_low[i] = bytes.rarely(1, -3, 4);
    conv.padding_high[i] = bytes.rarely(0, -3, 4);
    conv.window_reversal[i] = bytes.byte() % 4 == 1;
  }
  if (bytes.byte() % 4 == 1) { // features before space
    conv.input_feature_dimension = conv.output_feature_dimension = 1;
    for (int32_t i = 0; i < rank; ++i)
      conv.input_spatial_dimensions[i] = conv.output_spatial_dimensions[i] =
          i + 2;
  }
  if (bytes.byte() % 4 == 1)
    std::swap(conv.kernel_input_feature_dimension,
              conv.kernel_spatial_dimensions[0]);
  conv.kernel_features_swapped = bytes.byte() % 8 == 1;
  conv.bias = bytes.byte() % 2;
  conv.residual = bytes.byte() % 4 == 1;
  // Those whose results are exact.
  conv.activation =
      bytes.byte() % 4 == 1 ? CONVJIT_ACTIVATION_RELU : CONVJIT_ACTIVATION_NONE;
  if (bytes.byte() % 4 == 1) {
    int64_t count =
        conv.input_channels / conv.feature_group_count * conv.output_channels;
    for (int32_t i = 0; i < rank; ++i)
      count *= conv.kernel[i];
    for (int64_t i = 0; i < count; ++i)
      mask.push_back(static_cast<double>((i * 7 + 3) % 5 % 3));
    conv.mask = mask.data();
    conv.mask_size = mask.size();
  }
  return conv;
}

template <typename T> std::vector<T> as(const std::vector<double> &values) {
  return {values.begin(), values.end()};
}

template <typename T> void check(const convjit_kernel &handle, int64_t batch) {
  const Convolution &conv = handle.kernel->conv;
  Random random(1);
  ReferenceOperands operands =
      randomOperands(conv, batch, DataKind::Exact, random);
  std::vector<double> wanted =
      referenceConvolution(conv, operands, batch).output;
  auto input = as<T>(operands.input), weights = as<T>(operands.weights),
       bias = as<T>(operands.bias), residual = as<T>(operands.residual);
  std::vector<T> output(wanted.size(), T(NAN));
  std::vector<std::byte> packed(handle.kernel->packedWeightBytes);
  host::Tensor in(input.data(), conv.inputShape(batch)),
      weight(weights.data(), conv.kernelShape()),
      out(output.data(), conv.outputShape(batch)),
      added(residual.data(), conv.outputShape(batch)),
      biases(bias.data(), {conv.outChannels});
  if (!good(host::call(convjit_kernel_pack, &handle, weight.get(),
                       packed.data(), packed.size())))
    fail("pack", handle.kernel->plan.c_str());
  auto call = host::make<convjit_call>();
  call.input = in.get();
  call.packed_weights = packed.data();
  call.output = out.get();
  if (conv.bias)
    call.bias = biases.get();
  if (conv.residual)
    call.residual = added.get();
  if (!good(host::call(convjit_kernel_run, &handle, &call)))
    fail("run", handle.kernel->plan.c_str());
  for (size_t i = 0; i < wanted.size(); ++i)
    if (output[i] != static_cast<T>(wanted[i]))
      fail("wrong result", handle.kernel->plan.c_str());
}

void check(const convjit_kernel &kernel) {
  const Convolution &conv = kernel.kernel->conv;
  for (int64_t batch : {conv.batchGroups, 3 * conv.batchGroups})
    if (conv.dtype == DataType::F64)
      check<double>(kernel, batch);
    else
      check<float>(kernel, batch);
}

/// Changes a few bytes, mostly digits.
std::string changed(std::string text, Bytes &bytes) {
  for (int64_t changes = bytes.number(1, 4); changes > 0 && !text.empty();
       --changes) {
    size_t at = (size_t(bytes.byte()) << 8 | bytes.byte()) % text.size();
    if (text[at] >= '0' && text[at] <= '9')
      text[at] = static_cast<char>(bytes.number('0', '9'));
    else if (bytes.byte() % 8 == 1)
      text[at] = static_cast<char>(bytes.byte());
  }
  return text;
}

convjit_context *context() {
  static host::Context made = [] {
    auto options = host::make<convjit_context_options>();
    options.cache = CONVJIT_CACHE_MEMORY;
    options.cache_max_kernels = 64;
    host::Context context;
    if (!good(host::call(convjit_context_create, &options, context.out())))
      std::abort();
    return context;
  }();
  return made.get();
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  Bytes bytes(data, size);
  std::vector<double> mask;
  convjit_convolution conv = takeConvolution(bytes, mask);
  host::Layer layer;
  if (!good(host::call(convjit_layer_create, &conv, layer.out())))
    return 0;
  host::Kernel kernel;
  if (good(host::call(convjit_compile, context(), layer.get(), nullptr,
                      kernel.out())))
    check(*kernel.get());
  uint8_t kind = bytes.byte() % 4;
  if (!kernel || kind < 2)
    return 0;
  std::string plan =
      kind == 2 ? changed(kernel.get()->kernel->plan, bytes) : bytes.rest();
  auto options = host::make<convjit_compile_options>();
  options.plan = plan.c_str();
  if (good(host::call(convjit_compile, context(), layer.get(), &options,
                      kernel.out())))
    check(*kernel.get());
  return 0;
}
