//===- GPUEntry.cpp - a GPU kernel as bytes -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "GPUEntry.h"
#include "Bytes.h"

#include <bit>
#include <cmath>

using namespace convjit;

static void putLaunch(std::string &to, const GPULaunch &launch) {
  put(to, launch.entry);
  put(to, launch.parameters.size());
  for (GPUParameter parameter : launch.parameters)
    put(to, static_cast<uint64_t>(parameter), 1);
  for (int64_t number : {launch.threads, launch.sharedBytes, launch.blocks,
                         launch.imagesPerBlock})
    put(to, static_cast<uint64_t>(number));
}

std::string convjit::encodeGPUKernel(const GPUKernel &kernel) {
  std::string bytes;
  bytes.reserve(kernel.ptx.size() + 1024);
  put(bytes, kernel.ptx);
  put(bytes, kernel.chip);
  put(bytes, static_cast<uint64_t>(kernel.computeCapability));
  put(bytes, kernel.packedWeightBytes);
  put(bytes, kernel.scratchBytes);
  put(bytes, kernel.scratchBytesPerImage);
  put(bytes, kernel.pointerAlignment);
  put(bytes, static_cast<uint64_t>(kernel.imageMultiple));
  put(bytes, std::bit_cast<uint64_t>(kernel.productError));
  putLaunch(bytes, kernel.pack);
  put(bytes, kernel.run.size());
  for (const GPULaunch &launch : kernel.run)
    putLaunch(bytes, launch);
  return bytes;
}

/// Fails the reader where a launch is none.
static GPULaunch takeLaunch(ByteReader &from) {
  GPULaunch launch;
  launch.entry = from.text();
  std::string_view parameters = from.text();
  for (char parameter : parameters) {
    from.good &= static_cast<unsigned char>(parameter) <=
                 static_cast<unsigned char>(GPUParameter::Batch);
    launch.parameters.push_back(static_cast<GPUParameter>(parameter));
  }
  for (int64_t *number : {&launch.threads, &launch.sharedBytes, &launch.blocks,
                          &launch.imagesPerBlock}) {
    *number = from.integer();
    from.good &= *number >= 0;
  }
  // What no device has; the driver knows what its own lacks.
  from.good &= !launch.entry.empty() && launch.threads >= 1 &&
               launch.threads <= 1024 && launch.sharedBytes < (1 << 30);
  return launch;
}

Expected<GPUKernel> convjit::decodeGPUKernel(std::string_view bytes) {
  ByteReader from{bytes};
  GPUKernel kernel;
  kernel.ptx = from.text();
  kernel.chip = from.text();
  uint64_t capability = from.number();
  kernel.computeCapability = static_cast<int>(capability);
  uint64_t sizes[] = {from.number(), from.number(), from.number()};
  kernel.packedWeightBytes = sizes[0];
  kernel.scratchBytes = sizes[1];
  kernel.scratchBytesPerImage = sizes[2];
  kernel.pointerAlignment = from.number();
  kernel.imageMultiple = from.integer();
  kernel.productError = std::bit_cast<double>(from.number());
  kernel.pack = takeLaunch(from);
  // As long as there is something to read: the number is not believed.
  for (uint64_t left = from.number(); left > 0 && from.good; --left)
    kernel.run.push_back(takeLaunch(from));
  bool sane = capability < 10000 &&
              std::has_single_bit(kernel.pointerAlignment) &&
              kernel.imageMultiple >= 1 && std::isfinite(kernel.productError);
  for (uint64_t size : sizes)
    sane &= size >> 62 == 0;
  if (!from.good || !from.rest.empty() || kernel.ptx.empty() || !sane)
    return environmentError("holds no kernel for a GPU");
  return kernel;
}
