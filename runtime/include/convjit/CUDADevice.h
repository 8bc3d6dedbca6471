//===- CUDADevice.h - one GPU of the CUDA driver -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// GPUs through the CUDA driver, which is opened at run time (CONVJIT_LIBCUDA
// names another library than libcuda.so.1) and never linked. convjit works in a
// device's primary context, as the CUDA runtime, JAX and PyTorch do, so that
// their memory and streams are valid here. It is made current for the time of a
// call, and what was current before is so again after it. Nothing survives a
// fork(): the child's calls fail.
//
//===----------------------------------------------------------------------===//

#ifndef CONVJIT_CUDADEVICE_H
#define CONVJIT_CUDADEVICE_H

#include "convjit/Error.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

namespace convjit {

namespace cuda {
struct Driver;
class LoadedModule;
} // namespace cuda

/// Device memory (CUdeviceptr); 0 where there is none.
using DeviceAddress = uint64_t;
/// A CUstream of the device's primary context, or null, the default stream.
using DeviceStream = void *;

/// One GPU. Thread-safe. Its primary context is retained while the object
/// lives.
class CUDADevice : public std::enable_shared_from_this<CUDADevice> {
public:
  struct Properties {
    std::string name;
    /// 10 * major + minor.
    int computeCapability = 0;
    int multiprocessors = 0;
    int clockMHz = 0;
    int64_t maxGridBlocks = 0, maxThreads = 0;
    /// For each block, as far as an entry's attribute can be raised.
    int64_t maxSharedBytes = 0;
  };

  /// The device with this ordinal; the same object as long as somebody has it.
  /// Errors: no driver, no device, no such ordinal, a context that cannot be
  /// made.
  static Expected<std::shared_ptr<CUDADevice>> open(int ordinal);
  /// The ordinal in a device's name. Errors: not of the form cuda:N.
  static Expected<int> parseName(const std::string &name);
  ~CUDADevice();
  CUDADevice(const CUDADevice &) = delete;
  CUDADevice &operator=(const CUDADevice &) = delete;

  int ordinal() const { return number; }
  /// "cuda:0".
  std::string id() const { return "cuda:" + std::to_string(number); }
  const Properties &properties() const { return facts; }

  /// Device memory, a multiple of 256. Errors: none left.
  Expected<DeviceAddress> allocate(size_t bytes) const;
  void release(DeviceAddress memory) const;
  /// Both are queued on the stream. Host memory must stay until it has got
  /// there, which for pageable memory may be before the call returns.
  Status upload(DeviceAddress to, const void *from, size_t bytes,
                DeviceStream stream) const;
  Status download(void *to, DeviceAddress from, size_t bytes,
                  DeviceStream stream) const;
  /// A stream that does not wait for the default one.
  Expected<DeviceStream> makeStream() const;
  void releaseStream(DeviceStream stream) const;
  /// Waits for all of the stream. What its kernels did wrong is an error here.
  Status synchronize(DeviceStream stream) const;

  // For what runs on the device.
  struct State;
  State &state() const { return *shared; }
  const cuda::Driver &driver() const { return *functions; }

private:
  CUDADevice() = default;
  Status readProperties();
  friend class DeviceTimer;
  template <typename Call>
  Status inContext(const std::string &what, Call call) const;

  const cuda::Driver *functions = nullptr;
  int number = 0;
  Properties facts;
  std::unique_ptr<State> shared;
};

/// Device memory that is given back. Empty for 0 bytes.
class DeviceMemory {
public:
  DeviceMemory() = default;
  static Expected<DeviceMemory>
  allocate(std::shared_ptr<const CUDADevice> device, size_t bytes);
  DeviceMemory(DeviceMemory &&other) noexcept { *this = std::move(other); }
  DeviceMemory &operator=(DeviceMemory &&other) noexcept {
    std::swap(device, other.device);
    std::swap(memory, other.memory);
    return *this;
  }
  ~DeviceMemory() {
    if (memory)
      device->release(memory);
  }
  DeviceAddress get() const { return memory; }

private:
  std::shared_ptr<const CUDADevice> device;
  DeviceAddress memory = 0;
};

/// Measures what a stream does between two of its moments. One call at a time.
class DeviceTimer {
public:
  static Expected<DeviceTimer> create(std::shared_ptr<const CUDADevice> device);
  DeviceTimer(DeviceTimer &&other) noexcept { *this = std::move(other); }
  DeviceTimer &operator=(DeviceTimer &&other) noexcept {
    std::swap(device, other.device);
    std::swap(events, other.events);
    return *this;
  }
  ~DeviceTimer();

  /// Both are queued on the stream.
  Status start(DeviceStream stream) const { return record(0, stream); }
  Status stop(DeviceStream stream) const { return record(1, stream); }
  /// Waits for the stop. What kernels before it did wrong is an error here.
  Expected<double> milliseconds() const;

private:
  DeviceTimer() = default;
  Status record(int which, DeviceStream stream) const;

  std::shared_ptr<const CUDADevice> device;
  std::array<void *, 2> events{}; ///< CUevent
};

} // namespace convjit

#endif // CONVJIT_CUDADEVICE_H
