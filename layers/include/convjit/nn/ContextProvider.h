//===- ContextProvider.h - kernels of the C interface -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Gives layers the kernels of a context of convjit.h: for programs that have an
// installed libconvjit, whose classes are not exported. A header alone, so that
// whoever brings kernels of their own needs no compiler.
//
//===----------------------------------------------------------------------===//

#ifndef CONVJIT_NN_CONTEXTPROVIDER_H
#define CONVJIT_NN_CONTEXTPROVIDER_H

#include "convjit/KernelProvider.h"
#include "convjit/convjit.hpp"

#include <algorithm>

namespace convjit::nn {

/// Compiles in a context, which keeps the kernels. Thread-safe.
class ContextProvider final : public KernelProvider {
public:
  /// Takes the context over. `options` may be null: the defaults.
  static Expected<std::shared_ptr<ContextProvider>>
  create(const convjit_context_options *options = nullptr) {
    host::Context context;
    if (host::Result made =
            host::call(convjit_context_create, options, context.out());
        !made)
      return errorOf(made);
    return std::make_shared<ContextProvider>(std::move(context));
  }
  /// Takes over a context that is not null.
  explicit ContextProvider(host::Context context)
      : context(std::move(context)) {}

  Expected<std::shared_ptr<const Kernel>>
  kernel(const Convolution &conv) override {
    if (conv.rank() < 1 || conv.rank() > CONVJIT_MAX_SPATIAL)
      return badInput("rank " + std::to_string(conv.rank()) +
                      "; valid: 1 to 3");
    convjit_convolution fields = fieldsOf(conv);
    host::Layer layer;
    if (host::Result made =
            host::call(convjit_layer_create, &fields, layer.out());
        !made)
      return errorOf(made);
    host::Kernel handle;
    if (host::Result made = host::call(convjit_compile, context.get(),
                                       layer.get(), nullptr, handle.out());
        !made)
      return errorOf(made);
    auto info = host::make<convjit_kernel_info>();
    if (host::Result read =
            host::call(convjit_kernel_get_info, handle.get(), &info);
        !read)
      return errorOf(read);
    auto kernel = std::make_shared<Kernel>();
    kernel->conv = conv;
    kernel->run = reinterpret_cast<ConvjitKernelFn>(info.run);
    kernel->pack = info.pack;
    kernel->packedWeightBytes = info.packed_weight_bytes;
    kernel->scratchBytes = info.thread_scratch_bytes;
    kernel->tasksPerImage = info.tasks_per_image;
    kernel->plan = convjit_kernel_plan(handle.get());
    kernel->compileMilliseconds = info.compile_milliseconds;
    kernel->codeBytes = info.code_bytes;
    kernel->code = std::make_shared<host::Kernel>(std::move(handle));
    return std::shared_ptr<const Kernel>(std::move(kernel));
  }

private:
  static Error errorOf(const host::Result &result) {
    switch (result.status()) {
    case CONVJIT_STATUS_INVALID_ARGUMENT:
      return badInput(result.message());
    case CONVJIT_STATUS_INTERNAL:
      return internalError(result.message());
    default:
      return environmentError(result.message());
    }
  }

  /// Points into `conv`.
  static convjit_convolution fieldsOf(const Convolution &conv) {
    convjit_convolution to;
    convjit_convolution_init(&to, sizeof to, conv.rank());
    to.dtype = conv.dtype == DataType::F64 ? CONVJIT_F64 : CONVJIT_F32;
    to.input_channels = conv.inChannels;
    to.output_channels = conv.outChannels;
    for (size_t i = 0; i < conv.dims.size(); ++i) {
      const SpatialDim &dim = conv.dims[i];
      to.input[i] = dim.input;
      to.kernel[i] = dim.kernel;
      to.window_strides[i] = dim.windowStride;
      to.padding_low[i] = dim.padLow;
      to.padding_high[i] = dim.padHigh;
      to.input_dilation[i] = dim.inputDilation;
      to.kernel_dilation[i] = dim.kernelDilation;
      to.window_reversal[i] = dim.reversed;
    }
    to.kernel_features_swapped = conv.kernelFeaturesSwapped;
    to.feature_group_count = conv.groups;
    to.batch_group_count = conv.batchGroups;
    const DimensionNumbers &axes = conv.numbers;
    to.input_batch_dimension = axes.inputBatch;
    to.input_feature_dimension = axes.inputFeature;
    to.kernel_input_feature_dimension = axes.kernelInputFeature;
    to.kernel_output_feature_dimension = axes.kernelOutputFeature;
    to.output_batch_dimension = axes.outputBatch;
    to.output_feature_dimension = axes.outputFeature;
    std::copy(axes.inputSpatial.begin(), axes.inputSpatial.end(),
              to.input_spatial_dimensions);
    std::copy(axes.kernelSpatial.begin(), axes.kernelSpatial.end(),
              to.kernel_spatial_dimensions);
    std::copy(axes.outputSpatial.begin(), axes.outputSpatial.end(),
              to.output_spatial_dimensions);
    std::copy(conv.inputStrides.begin(), conv.inputStrides.end(),
              to.input_strides);
    to.bias = conv.bias;
    to.residual = conv.residual;
    to.activation = static_cast<int32_t>(conv.activation.kind);
    to.activation_slope = conv.activation.slope;
    to.mask = conv.mask.data();
    to.mask_size = conv.mask.size();
    return to;
  }

  host::Context context;
};

} // namespace convjit::nn

#endif // CONVJIT_NN_CONTEXTPROVIDER_H
