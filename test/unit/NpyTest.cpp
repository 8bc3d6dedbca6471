//===- NpyTest.cpp - NumPy files, good and bad -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "convjit/Npy.h"

#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <fstream>

#include <unistd.h>

using namespace convjit;

static std::string file(int version, const std::string &header,
                        const std::string &data) {
  std::string bytes("\x93NUMPY", 6);
  bytes += static_cast<char>(version);
  bytes += '\0';
  size_t length = header.size();
  bytes += static_cast<char>(length & 0xff);
  bytes += static_cast<char>(length >> 8 & 0xff);
  if (version > 1)
    bytes += std::string(2, '\0');
  return bytes + header + data;
}

static std::string dictionary(const std::string &descr,
                              const std::string &order,
                              const std::string &shape) {
  return "{'descr': " + descr + ", 'fortran_order': " + order +
         ", 'shape': " + shape + ", }\n";
}

static const std::string sixFloats(24, '\1');
static const std::string goodHeader = dictionary("'<f4'", "False", "(2, 3)");

TEST(Npy, ReadsAllVersionsAndSpacings) {
  for (int version : {1, 2, 3}) {
    Expected<Array> array = parseNpy(file(version, goodHeader, sixFloats), "x");
    ASSERT_TRUE(array) << array.error().message;
    EXPECT_EQ(array->shape, (std::vector<int64_t>{2, 3}));
    EXPECT_EQ(array->dtype, DataType::F32);
    EXPECT_EQ(array->data.size(), 24u);
  }
  EXPECT_TRUE(parseNpy(
      file(1, "{\"shape\":(6,),\"fortran_order\":False,\"descr\":\"<f4\"}",
           sixFloats),
      "x"));
  Expected<Array> scalar =
      parseNpy(file(1, dictionary("'<f8'", "False", "()"), "12345678"), "x");
  ASSERT_TRUE(scalar);
  EXPECT_TRUE(scalar->shape.empty());
  EXPECT_EQ(scalar->elements(), 1);
  EXPECT_TRUE(
      parseNpy(file(1, dictionary("'<f4'", "False", "(0, 7)"), ""), "x"));
}

TEST(Npy, EveryTruncationIsAnError) {
  std::string whole = file(1, goodHeader, sixFloats);
  for (size_t length = 0; length < whole.size(); ++length) {
    Expected<Array> array = parseNpy(whole.substr(0, length), "x.npy");
    ASSERT_FALSE(array) << length;
    EXPECT_EQ(array.error().kind, ErrorKind::BadInput);
    EXPECT_EQ(array.error().message.rfind("x.npy: ", 0), 0u);
  }
}

TEST(Npy, MalformedFilesSayWhatIsWrong) {
  std::pair<std::string, const char *> cases[] = {
      {file(1, goodHeader, sixFloats + "x"), "too long"},
      {file(0, goodHeader, sixFloats), "version"},
      {file(4, goodHeader, sixFloats), "version"},
      {file(1, dictionary("'>f4'", "False", "(2, 3)"), sixFloats), "dtype"},
      {file(1, dictionary("'<f2'", "False", "(2, 3)"), sixFloats), "dtype"},
      {file(1, dictionary("'<i4'", "False", "(2, 3)"), sixFloats), "dtype"},
      {file(1, dictionary("'|b1'", "False", "(2, 3)"), sixFloats), "dtype"},
      {file(1, dictionary("'<c8'", "False", "(2, 3)"), sixFloats), "dtype"},
      {file(1, dictionary("'\x01'", "False", "(2, 3)"), sixFloats), "dtype"},
      {file(1, dictionary("[('a', '<f4')]", "False", "(2, 3)"), sixFloats),
       "descr"},
      {file(1, dictionary("'<f4'", "True", "(2, 3)"), sixFloats), "Fortran"},
      {file(1, dictionary("'<f4'", "0", "(2, 3)"), sixFloats), "fortran_order"},
      {file(1, dictionary("'<f4'", "False", "(2, -3)"), sixFloats), "shape"},
      {file(1, dictionary("'<f4'", "False", "(2, x)"), sixFloats), "shape"},
      {file(1, dictionary("'<f4'", "False", "(2 3)"), sixFloats), "shape"},
      {file(1, dictionary("'<f4'", "False", "[2, 3]"), sixFloats), "shape"},
      {file(1, dictionary("'<f4'", "False", "6"), sixFloats), "shape"},
      {file(1, dictionary("'<f4'", "False", "(2, 3"), sixFloats), "shape"},
      {file(1, dictionary("'<f4'", "False", "(4294967296, 4294967296)"), ""),
       "2^44"},
      {file(1, dictionary("'<f4'", "False", "(9223372036854775807,)"), ""),
       "2^44"},
      {file(1, dictionary("'<f4'", "False", "(99999999999999999999,)"), ""),
       "shape"},
      {file(1, dictionary("'<f4'", "False", "(1000000,)"), sixFloats),
       "truncated"},
      {file(1,
            dictionary("'<f4'", "False",
                       "(" +
                           std::string(99, '1').replace(1, 98,
                                                        [] {
                                                          std::string s;
                                                          for (int i = 0;
                                                               i < 49; ++i)
                                                            s += ",1";
                                                          return s;
                                                        }()) +
                           ")"),
            sixFloats),
       "32 axes"},
      {file(1, "", sixFloats), "dictionary"},
      {file(1, "{}", sixFloats), "lacks"},
      {file(1, "{'descr': '<f4'}", sixFloats), "lacks"},
      {file(1, "{'descr': '<f4', 'shape': (6,)}", sixFloats), "lacks"},
      {file(1, "{'x': 1}", sixFloats), "unknown"},
      {file(1, "{'descr': '<f4", sixFloats), "descr"},
      {file(1, "{descr: '<f4'}", sixFloats), "dictionary"},
      {file(1, "[1, 2]", sixFloats), "dictionary"},
      {"PK\x03\x04 a zip file", "not a .npy"},
      {"hello", "not a .npy"}};
  for (const auto &[bytes, names] : cases) {
    Expected<Array> array = parseNpy(bytes, "x.npy");
    ASSERT_FALSE(array) << names;
    EXPECT_EQ(array.error().kind, ErrorKind::BadInput);
    EXPECT_NE(array.error().message.find(names), std::string::npos)
        << array.error().message;
    EXPECT_EQ(array.error().message.find('\n'), std::string::npos);
  }
  std::string huge = file(2, goodHeader, sixFloats);
  huge[10] = huge[11] = '\x7f';
  EXPECT_NE(parseNpy(huge, "x").error().message.find("65536"),
            std::string::npos);
}

TEST(Npy, WritesWhatItReads) {
  std::string path = ::testing::TempDir() + "/convjit-npy-" +
                     std::to_string(getpid()) + ".npy";
  for (DataType dtype : {DataType::F32, DataType::F64})
    for (std::vector<int64_t> shape :
         {std::vector<int64_t>{}, {5}, {2, 3}, {0, 4}, {1, 2, 3, 4, 5}}) {
      Array array;
      array.dtype = dtype;
      array.shape = shape;
      array.data.resize(static_cast<size_t>(array.elements() * sizeOf(dtype)));
      for (size_t i = 0; i < array.data.size(); ++i)
        array.data[i] = static_cast<std::byte>(i);
      ASSERT_TRUE(writeNpy(path, array));
      Expected<Array> again = readNpy(path);
      ASSERT_TRUE(again) << again.error().message;
      EXPECT_EQ(again->dtype, dtype);
      EXPECT_EQ(again->shape, shape);
      EXPECT_EQ(again->data, array.data);
      // Data begins at a multiple of 64 bytes.
      EXPECT_EQ((std::filesystem::file_size(path) - array.data.size()) % 64,
                0u);
    }
  std::filesystem::remove(path);
}

TEST(Npy, FilesThatAreNotThere) {
  EXPECT_EQ(readNpy("/nonexistent/x.npy").error().kind, ErrorKind::Environment);
  EXPECT_EQ(readNpy("/").error().kind, ErrorKind::BadInput);
  EXPECT_EQ(writeNpy("/nonexistent/x.npy", {}).error().kind,
            ErrorKind::Environment);
}
