//===- CacheEntryTest.cpp - a compiled kernel as bytes -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "CacheEntry.h"
#include "TestDigest.h"

#include <gtest/gtest.h>

using namespace convjit;

namespace {

StoredKernel sample() {
  StoredKernel kernel;
  kernel.key = "convolution:n=8\nx86_64-linux-gnu\nznver4";
  kernel.plan = "#conv.plan<lanes = \"channels\">";
  kernel.object = std::string("\x7f"
                              "ELF\0\1\2",
                              7);
  kernel.packedWeightBytes = 4096;
  kernel.scratchBytes = 640;
  kernel.tasksPerImage = 17;
  kernel.pieces = 5;
  kernel.codeBytes = 333;
  kernel.compileMilliseconds = 12.5;
  kernel.created = 1'700'000'000;
  return kernel;
}

TEST(CacheEntry, RoundTrips) {
  std::string bytes = encodeEntry(sample(), testDigest);
  Expected<StoredKernel> again = decodeEntry(bytes, testDigest);
  ASSERT_TRUE(again) << again.error().message;
  EXPECT_EQ(*again, sample());
}

TEST(CacheEntry, RefusesEveryTruncation) {
  std::string bytes = encodeEntry(sample(), testDigest);
  for (size_t length = 0; length < bytes.size(); ++length) {
    Expected<StoredKernel> kernel =
        decodeEntry(bytes.substr(0, length), testDigest);
    ASSERT_FALSE(kernel) << length;
    EXPECT_EQ(kernel.error().kind, ErrorKind::Environment);
  }
  EXPECT_FALSE(decodeEntry(bytes + "x", testDigest));
}

TEST(CacheEntry, RefusesEveryTurnedBit) {
  std::string bytes = encodeEntry(sample(), testDigest);
  for (size_t bit = 0; bit < bytes.size() * 8; ++bit) {
    std::string turned = bytes;
    turned[bit / 8] = static_cast<char>(turned[bit / 8] ^ (1 << bit % 8));
    ASSERT_FALSE(decodeEntry(turned, testDigest)) << "bit " << bit;
  }
}

TEST(CacheEntry, RefusesWhatItsChecksumCannotKnow) {
  auto refused = [](auto change) {
    StoredKernel kernel = sample();
    change(kernel);
    return !decodeEntry(encodeEntry(kernel, testDigest), testDigest);
  };
  EXPECT_TRUE(refused([](StoredKernel &k) { k.object.clear(); }));
  EXPECT_TRUE(refused([](StoredKernel &k) { k.tasksPerImage = -1; }));
  EXPECT_TRUE(refused([](StoredKernel &k) { k.pieces = 0; }));
  EXPECT_TRUE(refused([](StoredKernel &k) { k.packedWeightBytes = ~0ull; }));
  EXPECT_TRUE(refused([](StoredKernel &k) { k.scratchBytes = 1u << 31; }));
  EXPECT_TRUE(refused([](StoredKernel &k) { k.compileMilliseconds = 1 / 0.; }));
  // A body whose lengths lie, under a good checksum.
  std::string bytes = encodeEntry(sample(), testDigest);
  std::string body = bytes.substr(56);
  body[7] = '\x7f';
  Digest digest = testDigest(body);
  std::string lying =
      bytes.substr(0, 24) + std::string(digest.begin(), digest.end()) + body;
  Expected<StoredKernel> kernel = decodeEntry(lying, testDigest);
  ASSERT_FALSE(kernel);
  EXPECT_EQ(kernel.error().message, "is malformed");
}

TEST(CacheEntry, NamesTheVersionItDoesNotKnow) {
  std::string bytes = encodeEntry(sample(), testDigest);
  bytes[8] = 1;
  Expected<StoredKernel> kernel = decodeEntry(bytes, testDigest);
  ASSERT_FALSE(kernel);
  EXPECT_EQ(kernel.error().message, "has version 1; valid: 3");
}

TEST(CacheEntry, HexadecimalDigits) {
  Digest digest{};
  digest[0] = 0xa0;
  digest[31] = 0x0f;
  EXPECT_EQ(hexOf(digest), "a0" + std::string(60, '0') + "0f");
}

} // namespace
