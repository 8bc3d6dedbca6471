//===- LayerState.h - what a layer holds -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef CONVJIT_LAYERS_LAYERSTATE_H
#define CONVJIT_LAYERS_LAYERSTATE_H

#include "Elements.h"
#include "convjit/nn/Conv.h"

#include <mutex>

namespace convjit::nn {

/// Vectors of packed weights start at cache lines, as the kernels' loads do.
struct alignas(64) CacheLine {
  std::byte bytes[64];
};

/// A kernel and the weight in the form that it reads. Immutable.
struct PackedKernel {
  std::shared_ptr<const Kernel> kernel;
  std::vector<CacheLine> weight;
};

/// A kernel that is asked for once, with the weight packed once after each time
/// it is set. Thread-safe.
class LazyKernel {
public:
  /// `weight` gives the weight to pack, when that has to be done.
  template <typename Weight>
  Expected<std::shared_ptr<const PackedKernel>>
  get(KernelProvider &provider, const Convolution &conv, Weight weight) {
    std::lock_guard<std::mutex> lock(mutex);
    if (packed)
      return packed;
    if (!kernel) {
      auto made = provider.kernel(conv);
      if (!made)
        return made.takeError();
      kernel = std::move(*made);
    }
    auto fresh = std::make_shared<PackedKernel>();
    fresh->kernel = kernel;
    // Never null, also where the mask leaves nothing.
    fresh->weight.resize(kernel->packedWeightBytes / sizeof(CacheLine) + 1);
    const Array &source = weight();
    kernel->pack(source.data.data(), fresh->weight.data());
    packed = std::move(fresh);
    return packed;
  }
  /// The weight has changed.
  void forget() {
    std::lock_guard<std::mutex> lock(mutex);
    packed = nullptr;
  }

private:
  std::mutex mutex;
  std::shared_ptr<const Kernel> kernel;
  std::shared_ptr<const PackedKernel> packed;
};

/// The arguments once checked, in each dimension, and what follows from them.
struct LayerState {
  LayerKind kind = LayerKind::Conv;
  int rank = 0;
  Shape inSize, outSize, kernelShape, biasShape;
  int64_t inChannels = 0, outChannels = 0, groups = 1;
  std::vector<int64_t> kernelSize, stride, lhsDilation, rhsDilation;
  std::vector<PadPair> padding;
  PaddingMode paddingMode = PaddingMode::Same;
  bool channelFirst = false, hasGain = false;
  double eps = 0;
  DataType dtype = DataType::F32;
  std::string name, paramType;

  Array weight;
  std::optional<Array> bias, gain, mask;

  std::shared_ptr<KernelProvider> kernels;
  Convolution forward; ///< with the mask
  LazyKernel forwardKernel, inputGradientKernel;
  std::mutex weightGradientMutex;
  std::shared_ptr<const Kernel> weightGradientKernel;

  bool isTransposed() const { return kind == LayerKind::ConvTranspose; }
  /// The layer as a problem, without its mask.
  Problem problem(Gradient gradient) const;
  /// The weight that is packed: `weight`, or `storage` with the standardized.
  const Array &effective(Array &storage) const;
  void forgetPacked();

  /// The batch of a tensor whose shape is `each` or (batch, each...).
  struct Batch {
    int64_t images = 1;
    bool batched = false;
    Shape shape(const Shape &each) const;
  };
  Expected<Batch> batchOf(const char *what, const Shape &shape, DataType dtype,
                          const Shape &each) const;
  Expected<Array> runForward(const Array &input, Executor &executor);
  /// Runs a packed kernel on contiguous tensors.
  Status runPacked(const PackedKernel &packed, const void *input, void *output,
                   int64_t images, bool withBias, Executor &executor) const;
  Expected<std::shared_ptr<const PackedKernel>> forwardPacked();
  Expected<std::shared_ptr<const PackedKernel>> inputGradientPacked();
  /// The gradient in the effective weight, times the mask.
  Expected<Array> effectiveGradient(const Array &input, const Array &gradOutput,
                                    Executor &executor);
};

/// gain * (w - m) / sqrt(max(S, eps)) for each output channel, the last axis.
/// Computed in double precision. `gain` may be null.
Array standardized(const Array &weight, const Array *gain, double eps);

/// Given the gradient in `standardized`, those in weight and gain, as JAX
/// differentiates it: where S is below eps it is a constant.
struct StandardizationGradient {
  Array weight, gain; ///< the gain's with shape (out_channels)
};
StandardizationGradient standardizationGradient(const Array &weight,
                                                const Array *gain, double eps,
                                                const Array &gradient);

} // namespace convjit::nn

#endif // CONVJIT_LAYERS_LAYERSTATE_H
