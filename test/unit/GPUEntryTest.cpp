//===- GPUEntryTest.cpp - GPU kernels as bytes -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "GPUEntry.h"

#include <gtest/gtest.h>

#include <cmath>

using namespace convjit;

namespace {

GPUKernel sample() {
  GPUKernel kernel;
  kernel.ptx = ".version 8.0\n";
  kernel.chip = "sm_90";
  kernel.computeCapability = 90;
  kernel.packedWeightBytes = 1 << 20;
  kernel.scratchBytes = 12;
  kernel.scratchBytesPerImage = 34;
  kernel.pointerAlignment = 16;
  kernel.imageMultiple = 8;
  kernel.productError = 0x1p-10;
  kernel.pack = {
      "pack", {GPUParameter::Filter, GPUParameter::Packed}, 256, 0, 7, 0};
  kernel.run = {
      {"kernel",
       {GPUParameter::Input, GPUParameter::Packed, GPUParameter::Scratch,
        GPUParameter::Batch},
       128,
       49152,
       11,
       2},
      {"add", {GPUParameter::Scratch, GPUParameter::Output}, 64, 0, 3, 1}};
  return kernel;
}

TEST(GPUEntry, RoundTrips) {
  GPUKernel wanted = sample();
  Expected<GPUKernel> kernel = decodeGPUKernel(encodeGPUKernel(wanted));
  ASSERT_TRUE(kernel) << kernel.error().message;
  EXPECT_EQ(kernel->ptx, wanted.ptx);
  EXPECT_EQ(kernel->chip, wanted.chip);
  EXPECT_EQ(kernel->computeCapability, wanted.computeCapability);
  EXPECT_EQ(kernel->packedWeightBytes, wanted.packedWeightBytes);
  EXPECT_EQ(kernel->scratchBytes, wanted.scratchBytes);
  EXPECT_EQ(kernel->scratchBytesPerImage, wanted.scratchBytesPerImage);
  EXPECT_EQ(kernel->pointerAlignment, wanted.pointerAlignment);
  EXPECT_EQ(kernel->imageMultiple, wanted.imageMultiple);
  EXPECT_EQ(kernel->productError, wanted.productError);
  EXPECT_EQ(kernel->pack, wanted.pack);
  EXPECT_EQ(kernel->run, wanted.run);
}

TEST(GPUEntry, RefusesEveryTruncation) {
  std::string bytes = encodeGPUKernel(sample());
  for (size_t length = 0; length < bytes.size(); ++length)
    ASSERT_FALSE(decodeGPUKernel(bytes.substr(0, length))) << length;
  EXPECT_FALSE(decodeGPUKernel(bytes + "x"));
  EXPECT_FALSE(decodeGPUKernel("\x7f"
                               "ELF, an object"));
}

TEST(GPUEntry, TurnedBitsAreRefusedOrAnotherKernel) {
  std::string bytes = encodeGPUKernel(sample());
  for (size_t bit = 0; bit < bytes.size() * 8; ++bit) {
    std::string turned = bytes;
    turned[bit / 8] = static_cast<char>(turned[bit / 8] ^ (1 << bit % 8));
    Expected<GPUKernel> kernel = decodeGPUKernel(turned);
    // There is one way to write a kernel.
    if (kernel)
      ASSERT_EQ(encodeGPUKernel(*kernel), turned) << "bit " << bit;
  }
}

TEST(GPUEntry, RefusesWhatNoKernelHas) {
  auto refused = [](auto change) {
    GPUKernel kernel = sample();
    change(kernel);
    return !decodeGPUKernel(encodeGPUKernel(kernel));
  };
  EXPECT_TRUE(refused([](GPUKernel &k) { k.ptx.clear(); }));
  EXPECT_TRUE(refused([](GPUKernel &k) { k.computeCapability = -1; }));
  EXPECT_TRUE(refused([](GPUKernel &k) { k.packedWeightBytes = ~0ull; }));
  EXPECT_TRUE(refused([](GPUKernel &k) { k.scratchBytes = ~0ull; }));
  EXPECT_TRUE(refused([](GPUKernel &k) { k.scratchBytesPerImage = ~0ull; }));
  EXPECT_TRUE(refused([](GPUKernel &k) { k.pointerAlignment = 0; }));
  EXPECT_TRUE(refused([](GPUKernel &k) { k.pointerAlignment = 24; }));
  EXPECT_TRUE(refused([](GPUKernel &k) { k.imageMultiple = 0; }));
  EXPECT_TRUE(refused([](GPUKernel &k) { k.productError = NAN; }));
  EXPECT_TRUE(refused([](GPUKernel &k) { k.pack.entry.clear(); }));
  EXPECT_TRUE(refused([](GPUKernel &k) { k.pack.threads = 0; }));
  EXPECT_TRUE(refused([](GPUKernel &k) { k.run[1].threads = 1025; }));
  EXPECT_TRUE(refused([](GPUKernel &k) { k.run[0].sharedBytes = 1 << 30; }));
  EXPECT_TRUE(refused([](GPUKernel &k) { k.run[0].blocks = -1; }));
  EXPECT_TRUE(refused([](GPUKernel &k) { k.run[0].imagesPerBlock = -1; }));
  EXPECT_TRUE(refused([](GPUKernel &k) {
    k.run[0].parameters[0] = static_cast<GPUParameter>(8);
  }));
}

} // namespace
