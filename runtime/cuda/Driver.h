//===- Driver.h - the CUDA driver, found at run time -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The functions of libcuda that convjit calls, with declarations of our own, so
// that neither a build nor a machine without a GPU needs anything of CUDA's.
// Names and numbers are those of the driver's documented ABI, which does not
// change; where a function has versions (_v2), the one that CUDA 11 has.
//
//===----------------------------------------------------------------------===//

#ifndef CONVJIT_RUNTIME_CUDA_DRIVER_H
#define CONVJIT_RUNTIME_CUDA_DRIVER_H

#include "convjit/Error.h"

#include <cstddef>
#include <cstdint>
#include <string>

namespace convjit::cuda {

using Result = int; ///< CUresult
enum : Result {
  Success = 0,
  InvalidValue = 1,
  OutOfMemory = 2,
  NotInitialized = 3,
  NoDevice = 100,
  InvalidContext = 201,
  NoBinaryForGPU = 209,
  InvalidPTX = 218,
  UnsupportedPTXVersion = 222,
  NotFound = 500,
  LaunchFailed = 719,
  CaptureUnsupported = 900
};

using Ordinal = int;      ///< CUdevice
using Address = uint64_t; ///< CUdeviceptr
using Context = struct CUctx_st *;
using Module = struct CUmod_st *;
using Function = struct CUfunc_st *;
using Stream = struct CUstream_st *;
using Event = struct CUevent_st *;

/// CUdevice_attribute.
enum class DeviceAttribute : int {
  MaxThreadsPerBlock = 1,
  MaxGridX = 5,
  MaxSharedBytesPerBlock = 8,
  ClockKHz = 13,
  Multiprocessors = 16,
  CapabilityMajor = 75,
  CapabilityMinor = 76,
  MaxSharedBytesOptIn = 97
};
/// CUfunction_attribute.
enum class FunctionAttribute : int {
  MaxThreadsPerBlock = 0,
  SharedBytes = 1,
  LocalBytes = 3,
  Registers = 4,
  MaxDynamicSharedBytes = 8
};
/// CUjit_option.
enum class JitOption : int { ErrorLog = 5, ErrorLogBytes = 6 };
/// CUstream_flags: does not wait for the null stream, nor that for it.
constexpr unsigned streamNonBlocking = 1;

/// The driver's functions; see its manual for what they do.
struct Driver {
  Result (*init)(unsigned flags);
  Result (*driverGetVersion)(int *version);
  Result (*getErrorName)(Result result, const char **text);
  Result (*getErrorString)(Result result, const char **text);
  Result (*deviceGetCount)(int *count);
  Result (*deviceGet)(Ordinal *device, int ordinal);
  Result (*deviceGetName)(char *name, int size, Ordinal device);
  Result (*deviceGetAttribute)(int *value, DeviceAttribute attribute,
                               Ordinal device);
  Result (*devicePrimaryCtxRetain)(Context *context, Ordinal device);
  Result (*devicePrimaryCtxRelease)(Ordinal device);
  Result (*ctxGetCurrent)(Context *context);
  Result (*ctxPushCurrent)(Context context);
  Result (*ctxPopCurrent)(Context *context);
  Result (*moduleLoadDataEx)(Module *module, const void *image,
                             unsigned optionCount, JitOption *options,
                             void **values);
  Result (*moduleUnload)(Module module);
  Result (*moduleGetFunction)(Function *function, Module module,
                              const char *name);
  Result (*funcGetAttribute)(int *value, FunctionAttribute attribute,
                             Function function);
  Result (*funcSetAttribute)(Function function, FunctionAttribute attribute,
                             int value);
  Result (*launchKernel)(Function function, unsigned gridX, unsigned gridY,
                         unsigned gridZ, unsigned blockX, unsigned blockY,
                         unsigned blockZ, unsigned sharedBytes, Stream stream,
                         void **parameters, void **extra);
  Result (*memAlloc)(Address *address, size_t bytes);
  Result (*memFree)(Address address);
  Result (*memcpyHtoDAsync)(Address to, const void *from, size_t bytes,
                            Stream stream);
  Result (*memcpyDtoHAsync)(void *to, Address from, size_t bytes,
                            Stream stream);
  Result (*streamCreate)(Stream *stream, unsigned flags);
  Result (*streamDestroy)(Stream stream);
  Result (*streamSynchronize)(Stream stream);
  Result (*eventCreate)(Event *event, unsigned flags);
  Result (*eventDestroy)(Event event);
  Result (*eventRecord)(Event event, Stream stream);
  Result (*eventSynchronize)(Event event);
  Result (*eventElapsedTime)(float *milliseconds, Event start, Event end);

  /// The driver of this process: opened by the first call that can, never
  /// closed. The library is CONVJIT_LIBCUDA of the environment, or
  /// libcuda.so.1. Thread-safe. Errors: no such library, one that lacks a
  /// function, a driver that finds no device or does not work.
  static Expected<const Driver *> get();

  /// An error of kind Environment: `what` and the driver's own text.
  Error error(Result result, const std::string &what) const;
  /// Success, or an error.
  Status check(Result result, const char *what) const {
    return result == Success ? Status() : Status(error(result, what));
  }
  /// "CUDA 12.4", or "an unknown version".
  std::string version() const;
};

} // namespace convjit::cuda

#endif // CONVJIT_RUNTIME_CUDA_DRIVER_H
