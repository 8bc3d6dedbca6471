//===- NpzTest.cpp - archives, good and hostile -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "LayerTesting.h"

#include <filesystem>
#include <fstream>
#include <sstream>
#include <unistd.h>

using namespace convjit;
using namespace convjit::nn;

static std::string contents(const std::string &path) {
  std::ifstream file(path, std::ios::binary);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

/// The bytes that writeNpz writes.
static std::string archiveOf(const NamedArrays &arrays) {
  std::string path = (std::filesystem::temp_directory_path() /
                      ("convjit-npz-" + std::to_string(getpid()) + ".npz"))
                         .string();
  Status written = writeNpz(path, arrays);
  EXPECT_TRUE(written);
  std::string bytes = contents(path);
  std::filesystem::remove(path);
  return bytes;
}

static NamedArrays twoArrays() {
  return {{"a", array({2, 3}, {1, 2, 3, 4, 5, 6})},
          {"b.c", array({0, 4}, {}, DataType::F64)}};
}

static void expectSame(const NamedArrays &a, const NamedArrays &b) {
  ASSERT_EQ(a.size(), b.size());
  for (const auto &[name, value] : a)
    EXPECT_TRUE(sameBits(value, b.at(name)));
}

TEST(Npz, ComesBack) {
  expectSame(get(parseNpz(archiveOf(twoArrays()), "x")), twoArrays());
}

TEST(Npz, TheSameArraysGiveTheSameBytes) {
  EXPECT_EQ(archiveOf(twoArrays()), archiveOf(twoArrays()));
}

// golden/ was written by numpy.savez_compressed.
TEST(Npz, ReadsWhatNumpyDeflates) {
  NamedArrays arrays = golden("layers");
  EXPECT_EQ(arrays.at("doc.weight").shape, (Shape{4, 4, 4, 4, 6}));
}

TEST(Npz, EveryTruncationIsAnError) {
  std::string bytes = archiveOf(twoArrays());
  for (size_t length = 0; length < bytes.size(); ++length)
    expectBadInput(parseNpz(std::string_view(bytes).substr(0, length), "x"),
                   {"x: "});
}

// Whatever byte is damaged, the answer is an error, or the arrays where the
// byte says nothing of them (dates, versions, attributes).
TEST(Npz, EveryDamagedByteIsNoticed) {
  std::string bytes = archiveOf(twoArrays());
  size_t errors = 0;
  for (size_t i = 0; i < bytes.size(); ++i)
    for (int bit : {0, 3, 7}) {
      std::string damaged = bytes;
      damaged[i] = static_cast<char>(damaged[i] ^ (1 << bit));
      Expected<NamedArrays> arrays = parseNpz(damaged, "x");
      if (!arrays) {
        ++errors;
        continue;
      }
      // A name is not covered by a checksum.
      for (const auto &[name, value] : *arrays)
        EXPECT_TRUE(sameBits(value, twoArrays().at("a")) ||
                    sameBits(value, twoArrays().at("b.c")))
            << "byte " << i << ", bit " << bit;
    }
  EXPECT_GT(errors, bytes.size());
}

TEST(Npz, ABombIsRefused) {
  NamedArrays large{{"a", zeros(DataType::F32, {1000})}};
  std::string bytes = archiveOf(large);
  EXPECT_TRUE(parseNpz(bytes, "x", 4096 + 128));
  expectBadInput(parseNpz(bytes, "x", 4000), {"x: a.npy", "4000 bytes"});
}

TEST(Npz, NamesThatAreNoArrays) {
  std::string bytes = archiveOf({{"a", array({1}, {1})}});
  for (size_t at = bytes.find(".npy"); at != std::string::npos;
       at = bytes.find(".npy", at))
    bytes.replace(at, 4, ".txt");
  expectBadInput(parseNpz(bytes, "x"), {"a.txt", ".npy"});
}

TEST(Npz, NotAnArchive) {
  expectBadInput(parseNpz("", "x"), {"x: "});
  expectBadInput(parseNpz("\x93NUMPY", "x"), {"x: "});
  expectBadInput(readNpz("/"), {"is a directory"});
  Expected<NamedArrays> none = readNpz("/no/such/file.npz");
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error().kind, ErrorKind::Environment);
}

TEST(Npz, WhatIsNotWritten) {
  expectBadInput(writeNpz("x.npz", {}), {"x.npz", "no arrays"});
  expectBadInput(writeNpz("x.npz", {{"", array({1}, {1})}}), {"not empty"});
  expectBadInput(writeNpz("x.npz", {{"a", Array{DataType::F32, {3}, {}}}}),
                 {"x.npz: a", "0 bytes"});
  EXPECT_FALSE(std::filesystem::exists("x.npz"));
}
