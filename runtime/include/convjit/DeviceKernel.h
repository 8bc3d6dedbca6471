//===- DeviceKernel.h - a GPU kernel loaded on a device -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
//     auto device = CUDADevice::open(0);
//     auto kernel = DeviceKernel::load(*device, compiled);
//     (*kernel)->pack(weight, packed, stream);               once for a weight
//     (*kernel)->run({.input = x, .packedWeights = packed, .output = y,
//                     .batch = 4}, stream);
//
//===----------------------------------------------------------------------===//

#ifndef CONVJIT_DEVICEKERNEL_H
#define CONVJIT_DEVICEKERNEL_H

#include "convjit/CUDADevice.h"
#include "convjit/GPUKernel.h"

namespace convjit {

/// One call's tensors in device memory, at multiples of
/// GPUKernel::pointerAlignment; shapes as in GPUParameter. 0 where the layer
/// has none.
struct DeviceOperands {
  DeviceAddress input = 0;
  DeviceAddress packedWeights = 0;
  DeviceAddress bias = 0;
  DeviceAddress residual = 0;
  DeviceAddress output = 0;
  /// scratchBytes(kernel, batch) bytes, for this call alone while it runs.
  DeviceAddress scratch = 0;
  int64_t batch = 1;
};

/// A kernel on one device. Immutable and thread-safe.
///
/// `pack` and `run` put launches on the caller's stream and return: they
/// allocate nothing, load nothing and wait for nothing, so that a stream that
/// is being captured into a CUDA graph takes them, and launches of one stream
/// follow each other. What a kernel does wrong while it runs shows at the
/// stream's next synchronization.
class DeviceKernel {
public:
  /// What the driver made of an entry.
  struct Resources {
    std::string entry;
    int registers = 0;   ///< of a thread
    int localBytes = 0;  ///< of a thread: spills and arrays
    int sharedBytes = 0; ///< static, besides GPULaunch::sharedBytes
  };

  /// Loads the kernel's module, or shares it with every other kernel of the
  /// same PTX on this device. Errors of kind Environment: a device that is too
  /// old, PTX that its driver does not take (with the driver's log), a launch
  /// beyond its limits.
  static Expected<std::shared_ptr<const DeviceKernel>>
  load(std::shared_ptr<const CUDADevice> device, GPUKernel kernel);
  ~DeviceKernel();

  const GPUKernel &kernel() const { return code; }
  const CUDADevice &device() const { return *on; }
  /// Of the entries of GPUKernel::run, then of pack.
  const std::vector<Resources> &resources() const { return used; }

  /// Reorders a weight into the form that `run` reads.
  Status pack(DeviceAddress weights, DeviceAddress packed,
              DeviceStream stream) const;
  /// Runs the layer; a batch of 0 does nothing. Errors of kind BadInput: a
  /// tensor that is missing or not aligned, a batch that is negative, not a
  /// multiple of batchGroups or too large for a grid. Nothing is launched then.
  Status run(const DeviceOperands &operands, DeviceStream stream) const;

private:
  DeviceKernel() = default;
  struct Step;
  struct Call;
  Status prepare(Step &step, const GPULaunch &launch);
  Status check(const Step &step, const Call &call, int64_t &blocks) const;
  Status launch(const Step &step, const Call &call, int64_t blocks,
                DeviceStream stream) const;

  std::shared_ptr<const CUDADevice> on;
  std::shared_ptr<const cuda::LoadedModule> module;
  GPUKernel code;
  std::vector<Step> steps; ///< of run, then of pack
  std::vector<Resources> used;
};

} // namespace convjit

#endif // CONVJIT_DEVICEKERNEL_H
