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

/// A shape of that many ones.
static std::string ones(int axes) {
  std::string shape = "(";
  for (int i = 0; i < axes; ++i)
    shape += "1,";
  return shape + ")";
}

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

TEST(Npy, EmptyArraysOfAnyShape) {
  // A product of the other sizes would overflow.
  for (const char *shape : {"(0,)", "(0, 7)", "(4611686018427387904, 4, 0)",
                            "(0, 9223372036854775807, 9223372036854775807)"}) {
    Expected<Array> array =
        parseNpy(file(1, dictionary("'<f4'", "False", shape), ""), "x");
    ASSERT_TRUE(array) << shape << ": " << array.error().message;
    EXPECT_EQ(array->elements(), 0) << shape;
    EXPECT_TRUE(array->data.empty());
  }
  Expected<Array> most =
      parseNpy(file(1, dictionary("'<f4'", "False", ones(32)), "1234"), "x");
  ASSERT_TRUE(most) << most.error().message;
  EXPECT_EQ(most->elements(), 1);
}

TEST(Npy, DataIsKeptBitForBit) {
  std::string data;
  for (int i = 0; i < 256; ++i)
    data += static_cast<char>(i);
  Expected<Array> array =
      parseNpy(file(3, dictionary("'<f8'", "False", "(4, 8)"), data), "x");
  ASSERT_TRUE(array) << array.error().message;
  ASSERT_EQ(array->data.size(), 256u);
  EXPECT_EQ(std::memcmp(array->data.data(), data.data(), 256), 0);
  EXPECT_EQ(array->elements(), 32);
}

/// Every file that differs from a good one in one byte is read or refused
/// cleanly, and what is read fits its shape.
TEST(Npy, EveryChangedByteIsReadOrRefused) {
  for (int version : {1, 2}) {
    std::string whole = file(version, goodHeader, sixFloats);
    size_t end = whole.size() - sixFloats.size();
    for (size_t at = 0; at < end; ++at)
      for (int value = 0; value < 256; ++value) {
        std::string bytes = whole;
        bytes[at] = static_cast<char>(value);
        Expected<Array> array = parseNpy(bytes, "x");
        if (array) {
          ASSERT_EQ(static_cast<int64_t>(array->data.size()),
                    array->elements() * sizeOf(array->dtype));
          continue;
        }
        ASSERT_EQ(array.error().kind, ErrorKind::BadInput);
        for (char c : array.error().message)
          ASSERT_TRUE(c >= 0x20 && c < 0x7f) << array.error().message;
      }
  }
}

TEST(Npy, EveryTruncationIsAnError) {
  for (int version : {1, 2, 3})
    for (const auto &[header, data] :
         {std::pair(goodHeader, sixFloats),
          std::pair(dictionary("'<f8'", "False", "()"),
                    std::string("12345678")),
          std::pair(dictionary("'<f8'", "False", "(1,)"),
                    std::string("12345678"))}) {
      std::string whole = file(version, header, data);
      ASSERT_TRUE(parseNpy(whole, "x.npy"));
      for (size_t length = 0; length < whole.size(); ++length) {
        Expected<Array> array = parseNpy(whole.substr(0, length), "x.npy");
        ASSERT_FALSE(array) << length;
        EXPECT_EQ(array.error().kind, ErrorKind::BadInput);
        EXPECT_EQ(array.error().message.rfind("x.npy: ", 0), 0u);
      }
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
      {file(1, dictionary("'<f4'", "False", ones(33)), "1234"), "32 axes"},
      {file(1, goodHeader + "x", sixFloats), "after the dictionary"},
      {file(1, goodHeader + goodHeader, sixFloats), "after the dictionary"},
      {file(1, dictionary("'<f4'", "False", "(,)"), sixFloats), "shape"},
      {file(1, dictionary("'<f4'", "False", "(2,,3)"), sixFloats), "shape"},
      {file(1, dictionary("'<f4'", "False", "(2.0, 3)"), sixFloats), "shape"},
      {file(1, dictionary("'=f4'", "False", "(2, 3)"), sixFloats), "dtype"},
      {file(1, dictionary("''", "False", "(2, 3)"), sixFloats), "dtype"},
      {file(1, dictionary("'<f4'", "false", "(2, 3)"), sixFloats),
       "fortran_order"},
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

TEST(Npy, HeadersThatAreWritten) {
  std::string path = ::testing::TempDir() + "/convjit-npy-header-" +
                     std::to_string(getpid()) + ".npy";
  std::pair<std::vector<int64_t>, const char *> cases[] = {
      {{}, "{'descr': '<f4', 'fortran_order': False, 'shape': (), }"},
      {{0}, "{'descr': '<f4', 'fortran_order': False, 'shape': (0, ), }"},
      {{0, 3}, "{'descr': '<f4', 'fortran_order': False, 'shape': (0, 3), }"}};
  for (const auto &[shape, header] : cases) {
    Array array;
    array.shape = shape;
    array.data.resize(static_cast<size_t>(4 * array.elements()));
    ASSERT_TRUE(writeNpy(path, array));
    std::ifstream stream(path, std::ios::binary);
    std::string bytes((std::istreambuf_iterator<char>(stream)), {});
    EXPECT_EQ(bytes.substr(0, 8), std::string("\x93NUMPY\x01\x00", 8));
    EXPECT_EQ(bytes.substr(10, std::strlen(header)), header);
    EXPECT_EQ(bytes[bytes.size() - array.data.size() - 1], '\n');
  }
  std::filesystem::remove(path);
}

TEST(Npy, DataThatDoesNotFitIsNotWritten) {
  std::string path = ::testing::TempDir() + "/convjit-npy-fit-" +
                     std::to_string(getpid()) + ".npy";
  std::ofstream(path) << "old";
  auto expectError = [&](std::vector<int64_t> shape, size_t bytes,
                         const std::string &what) {
    Array array;
    array.shape = std::move(shape);
    array.data.resize(bytes);
    Status status = writeNpy(path, array);
    ASSERT_FALSE(status) << what;
    EXPECT_EQ(status.error().kind, ErrorKind::BadInput);
    EXPECT_EQ(status.error().message, path + ": " + what);
  };
  expectError({2, 3}, 23, "23 bytes of data; valid: 24, for shape 2x3 of f32");
  expectError({2, 3}, 25, "25 bytes of data; valid: 24, for shape 2x3 of f32");
  expectError({}, 0, "0 bytes of data; valid: 4, for shape () of f32");
  expectError({0, 3}, 4, "4 bytes of data; valid: 0, for shape 0x3 of f32");
  expectError({2, -3}, 24, "shape 2x-3; valid: sizes of 0 and above");
  expectError({0, -3}, 0, "shape 0x-3; valid: sizes of 0 and above");
  // 2^64 bytes are none in 64 bits.
  expectError({int64_t(1) << 31, int64_t(1) << 31}, 0,
              "shape 2147483648x2147483648; valid: at most 2^44 bytes");
  expectError(std::vector<int64_t>(33, 1), 4,
              "shape has 33 axes; valid: at most 32");
  // What was there before is there still.
  std::ifstream stream(path);
  EXPECT_EQ(std::string(std::istreambuf_iterator<char>(stream), {}), "old");
  std::filesystem::remove(path);
}

TEST(Npy, MasksFitTheKernel) {
  std::string path = ::testing::TempDir() + "/convjit-mask-" +
                     std::to_string(getpid()) + ".npy";
  Convolution conv = *lower(*parseProblem("conv1d:in=8x2,oc=3,k=1"));
  for (DataType dtype : {DataType::F32, DataType::F64}) {
    Array array;
    array.dtype = dtype;
    array.shape = {1, 2, 3};
    float f4[] = {0, 1, 0.5, 1.5, -1, 2};
    double f8[] = {0, 1, 0.5, 1.5, -1, 2};
    array.data.resize(dtype == DataType::F32 ? sizeof f4 : sizeof f8);
    std::memcpy(array.data.data(),
                dtype == DataType::F32 ? static_cast<void *>(f4)
                                       : static_cast<void *>(f8),
                array.data.size());
    ASSERT_TRUE(writeNpy(path, array));
    Expected<std::vector<double>> mask = readMask(path, conv);
    ASSERT_TRUE(mask) << mask.error().message;
    EXPECT_EQ(*mask, std::vector<double>(f8, f8 + 6));
    array.shape = {1, 3, 2};
    ASSERT_TRUE(writeNpy(path, array));
    mask = readMask(path, conv);
    ASSERT_FALSE(mask);
    EXPECT_EQ(mask.error().kind, ErrorKind::BadInput);
    EXPECT_EQ(mask.error().message,
              "mask=" + path + ": has shape 1x3x2; valid: the weight's, 1x2x3");
  }
  std::filesystem::remove(path);
  EXPECT_EQ(readMask(path, conv).error().kind, ErrorKind::Environment);
}

TEST(Npy, BooleanMasks) {
  Convolution conv = *lower(*parseProblem("conv1d:in=8x2,oc=3,k=1"));
  auto mask = [&](const std::string &shape, const std::string &data) {
    return parseMask(file(1, dictionary("'|b1'", "False", shape), data), "m",
                     conv);
  };
  auto good = mask("(1, 2, 3)", std::string("\1\0\0\1\1\0", 6));
  ASSERT_TRUE(good) << good.error().message;
  EXPECT_EQ(*good, (std::vector<double>{1, 0, 0, 1, 1, 0}));
  auto expectError = [](const Expected<std::vector<double>> &result,
                        const std::string &message) {
    ASSERT_FALSE(result) << message;
    EXPECT_EQ(result.error().kind, ErrorKind::BadInput);
    EXPECT_EQ(result.error().message, message);
  };
  expectError(mask("(1, 3, 2)", std::string(6, '\1')),
              "mask=m: has shape 1x3x2; valid: the weight's, 1x2x3");
  expectError(mask("(1, 2, 3)", std::string(5, '\1')),
              "m: is truncated: 5 bytes of data; its shape needs 6");
  expectError(mask("(1, 2, 3)", std::string(24, '\1')),
              "m: is too long: 24 bytes of data; its shape needs 6");
  expectError(mask("(1, 2, 3)", "\1\1\2\1\1\1"),
              "mask=m: element 2 is the byte 2; valid: 0 and 1 in a file of "
              "booleans");
  expectError(mask("(1, 2, 3)", "\1\1\1\1\1\xff"),
              "mask=m: element 5 is the byte 255; valid: 0 and 1 in a file of "
              "booleans");
  // Of any shape, for who checks it himself.
  auto any = parseMask(
      file(1, dictionary("'|b1'", "False", "(2,)"), std::string("\0\1", 2)),
      "m");
  ASSERT_TRUE(any) << any.error().message;
  EXPECT_EQ(any->dtype, DataType::F32);
  EXPECT_EQ(any->shape, std::vector<int64_t>{2});
  float values[2] = {-1, -1};
  ASSERT_EQ(any->data.size(), sizeof values);
  std::memcpy(values, any->data.data(), sizeof values);
  EXPECT_EQ(values[0], 0);
  EXPECT_EQ(values[1], 1);
  // Neither bytes that are numbers, nor booleans where no mask is wanted.
  expectError(parseMask(file(1, dictionary("'|u1'", "False", "(1, 2, 3)"),
                             std::string(6, '\1')),
                        "m", conv),
              "m: dtype '|u1'; valid: '<f4' (float32), '<f8' (float64), '|b1' "
              "(bool)");
  Expected<Array> tensor = parseNpy(
      file(1, dictionary("'|b1'", "False", "(6,)"), "\1\1\1\1\1\1"), "x");
  ASSERT_FALSE(tensor);
  EXPECT_EQ(tensor.error().message,
            "x: dtype '|b1'; valid: '<f4' (float32), '<f8' (float64)");
}

/// Of GPUs' kernels only, so that who reads them has to say so.
TEST(Npy, SixteenBits) {
  for (auto [dtype, descr] : {std::pair(DataType::F16, "'<f2'"),
                              std::pair(DataType::BF16, "'<V2'")}) {
    Array array{dtype, {2}, std::vector<std::byte>(4, std::byte(0x3c))};
    Expected<std::string> bytes = printNpy(array, "x");
    ASSERT_TRUE(bytes);
    EXPECT_NE(bytes->find(descr), std::string::npos);
    Expected<Array> read = parseNpy(*bytes, "x", NpyTypes::All);
    ASSERT_TRUE(read) << read.error().message;
    EXPECT_EQ(read->dtype, dtype);
    EXPECT_EQ(read->data, array.data);
    Expected<Array> refused = parseNpy(*bytes, "x");
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().message,
              std::string("x: dtype ") + descr +
                  "; valid: '<f4' (float32), '<f8' (float64)");
  }
  Expected<Array> tensor =
      parseNpy(file(1, dictionary("'|V2'", "False", "(2,)"), "\1\1\1\1"), "x",
               NpyTypes::All);
  ASSERT_TRUE(tensor);
  EXPECT_EQ(tensor->dtype, DataType::BF16);
  tensor = parseNpy(file(1, dictionary("'<i2'", "False", "(2,)"), "\1\1\1\1"),
                    "x", NpyTypes::All);
  ASSERT_FALSE(tensor);
  EXPECT_EQ(tensor.error().message,
            "x: dtype '<i2'; valid: '<f4' (float32), '<f8' (float64), '<f2' "
            "(float16), '<V2' (bfloat16)");
}

TEST(Npy, FilesThatAreNotThere) {
  EXPECT_EQ(readNpy("/nonexistent/x.npy").error().kind, ErrorKind::Environment);
  EXPECT_EQ(readNpy("/").error().kind, ErrorKind::BadInput);
  Array empty;
  empty.shape = {0};
  EXPECT_EQ(writeNpy("/nonexistent/x.npy", empty).error().kind,
            ErrorKind::Environment);
}

TEST(Npy, LinksStayLinks) {
  std::string folder =
      ::testing::TempDir() + "/convjit-link-" + std::to_string(getpid());
  std::filesystem::create_directory(folder);
  std::ofstream(folder + "/target.npy") << "old";
  std::filesystem::create_symlink(folder + "/target.npy", folder + "/link.npy");
  Array array;
  array.shape = {3};
  array.data.resize(12);
  ASSERT_TRUE(writeNpy(folder + "/link.npy", array));
  EXPECT_TRUE(std::filesystem::is_symlink(folder + "/link.npy"));
  EXPECT_TRUE(readNpy(folder + "/target.npy"));
  std::filesystem::remove_all(folder);
}
