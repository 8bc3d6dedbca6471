//===- Npy.cpp - arrays in NumPy files -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "convjit/Npy.h"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <new>
#include <optional>
#include <unistd.h>

using namespace convjit;

int64_t Array::elements() const {
  // The other sizes of an empty array may have any product.
  if (std::find(shape.begin(), shape.end(), 0) != shape.end())
    return 0;
  int64_t product = 1;
  for (int64_t size : shape)
    product *= size;
  return product;
}

namespace {

constexpr size_t maxAxes = 32; // NumPy's own limit before version 2

/// Reads the Python literal in a header: a dictionary with the keys 'descr',
/// 'fortran_order' and 'shape'.
class HeaderParser {
public:
  explicit HeaderParser(std::string_view text) : rest(text) {}

  std::string descr;
  bool fortranOrder = false;
  std::vector<int64_t> shape;

  /// Empty on success, else what is wrong.
  std::string parse() {
    bool haveDescr = false, haveOrder = false, haveShape = false;
    if (!take('{'))
      return "its header is not a dictionary";
    while (!take('}')) {
      std::optional<std::string> key = string();
      if (!key || !take(':'))
        return "its header is not a dictionary of strings";
      if (*key == "descr") {
        std::optional<std::string> value = string();
        if (!value)
          return "descr is not a string; valid: '<f4', '<f8'";
        descr = *value;
        haveDescr = true;
      } else if (*key == "fortran_order") {
        if (word("True"))
          fortranOrder = true;
        else if (!word("False"))
          return "fortran_order is neither True nor False";
        haveOrder = true;
      } else if (*key == "shape") {
        if (std::string why = tuple(); !why.empty())
          return why;
        haveShape = true;
      } else {
        return "its header has an unknown key";
      }
      if (!take(',') && !peek('}'))
        return "its header is not a dictionary";
    }
    if (!haveDescr || !haveOrder || !haveShape)
      return "its header lacks descr, fortran_order or shape";
    skip();
    if (!rest.empty())
      return "its header goes on after the dictionary";
    return "";
  }

private:
  void skip() {
    while (!rest.empty() && (rest[0] == ' ' || rest[0] == '\n'))
      rest.remove_prefix(1);
  }
  bool peek(char c) {
    skip();
    return !rest.empty() && rest[0] == c;
  }
  bool take(char c) {
    if (!peek(c))
      return false;
    rest.remove_prefix(1);
    return true;
  }
  bool word(std::string_view text) {
    skip();
    if (!rest.starts_with(text))
      return false;
    rest.remove_prefix(text.size());
    return true;
  }
  std::optional<std::string> string() {
    skip();
    if (rest.empty() || (rest[0] != '\'' && rest[0] != '"'))
      return std::nullopt;
    size_t end = rest.find(rest[0], 1);
    if (end == std::string_view::npos)
      return std::nullopt;
    std::string value(rest.substr(1, end - 1));
    rest.remove_prefix(end + 1);
    return value;
  }
  std::string tuple() {
    if (!take('('))
      return "shape is not a tuple";
    shape.clear();
    while (!take(')')) {
      skip();
      int64_t size = -1;
      auto [end, error] =
          std::from_chars(rest.data(), rest.data() + rest.size(), size);
      if (error != std::errc() || size < 0)
        return "shape has an entry that is not a size; valid: 0 and above";
      rest.remove_prefix(static_cast<size_t>(end - rest.data()));
      shape.push_back(size);
      if (shape.size() > maxAxes)
        return "shape has more than 32 axes";
      if (!take(',') && !peek(')'))
        return "shape is not a tuple";
    }
    return "";
  }

  std::string_view rest;
};

/// "2x3": sizes with 'x' between them.
std::string shapeText(const std::vector<int64_t> &shape) {
  std::string text;
  for (int64_t size : shape)
    text += (text.empty() ? "" : "x") + std::to_string(size);
  return text.empty() ? "()" : text;
}

/// Bytes of `shape`, or nothing past 2^44: no file here is that large. Sizes
/// are not negative.
std::optional<size_t> byteCount(const std::vector<int64_t> &shape,
                                size_t element) {
  constexpr size_t limit = size_t(1) << 44;
  size_t bytes = element;
  for (int64_t size : shape)
    if (size == 0)
      return 0;
  for (int64_t size : shape) {
    if (static_cast<size_t>(size) > limit / bytes)
      return std::nullopt;
    bytes *= static_cast<size_t>(size);
  }
  return bytes;
}

} // namespace

namespace {

/// What a file holds. Only a mask may be of booleans, which no array is: then
/// `array.data` has a byte for each, and `array.dtype` says nothing.
struct Contents {
  Array array;
  bool booleans = false;
};

Expected<Contents> parseContents(std::string_view bytes,
                                 const std::string &what, bool mayBeBooleans,
                                 bool mayBeHalves = false) {
  auto bad = [&](const std::string &why) {
    return badInput(what + ": " + why);
  };
  constexpr std::string_view magic("\x93NUMPY", 6);
  if (!bytes.starts_with(magic))
    return bad("is not a .npy file (its first bytes are not \\x93NUMPY)");
  if (bytes.size() < 10)
    return bad("is truncated in its header");
  int major = static_cast<unsigned char>(bytes[6]);
  if (major < 1 || major > 3)
    return bad(".npy version " + std::to_string(major) + "; valid: 1, 2 and 3");
  auto byte = [&](size_t at) {
    return static_cast<size_t>(static_cast<unsigned char>(bytes[at]));
  };
  size_t start = major == 1 ? 10 : 12;
  if (bytes.size() < start)
    return bad("is truncated in its header");
  size_t length = byte(8) | byte(9) << 8;
  if (major > 1)
    length |= byte(10) << 16 | byte(11) << 24;
  if (length > 65536)
    return bad("its header has " + std::to_string(length) +
               " bytes; valid: at most 65536");
  if (bytes.size() - start < length)
    return bad("is truncated in its header");
  HeaderParser header(bytes.substr(start, length));
  if (std::string why = header.parse(); !why.empty())
    return bad(why);
  Contents contents;
  Array &array = contents.array;
  if (header.descr == "<f4")
    array.dtype = DataType::F32;
  else if (header.descr == "<f8")
    array.dtype = DataType::F64;
  else if (header.descr == "<f2" && mayBeHalves)
    array.dtype = DataType::F16;
  // NumPy has no bfloat16; it writes those of ml_dtypes, JAX's, so.
  else if ((header.descr == "<V2" || header.descr == "|V2") && mayBeHalves)
    array.dtype = DataType::BF16;
  else if (header.descr == "|b1" && mayBeBooleans)
    contents.booleans = true;
  else {
    std::string shown;
    for (char c : header.descr.substr(0, 20))
      shown += c >= 0x20 && c < 0x7f ? c : '?';
    return bad("dtype '" + shown +
               "'; valid: '<f4' (float32), '<f8' (float64)" +
               (mayBeBooleans ? ", '|b1' (bool)" : "") +
               (mayBeHalves ? ", '<f2' (float16), '<V2' (bfloat16)" : ""));
  }
  if (header.fortranOrder)
    return bad("is in Fortran order; valid: C order "
               "(numpy.ascontiguousarray)");
  array.shape = header.shape;
  size_t element =
      contents.booleans ? 1 : static_cast<size_t>(sizeOf(array.dtype));
  std::optional<size_t> size = byteCount(array.shape, element);
  if (!size)
    return bad("its shape has more than 2^44 bytes");
  std::string_view data = bytes.substr(start + length);
  if (data.size() != *size)
    return bad((data.size() < *size ? "is truncated: " : "is too long: ") +
               std::to_string(data.size()) +
               " bytes of data; its shape needs " + std::to_string(*size));
  array.data.resize(*size);
  if (*size)
    std::memcpy(array.data.data(), data.data(), *size);
  return contents;
}

/// `parse` of the bytes of a file.
template <typename Parse>
auto readWith(const std::string &path, Parse parse) -> decltype(parse({})) {
  std::error_code error;
  if (std::filesystem::is_directory(path, error))
    return badInput(path + ": is a directory; valid: a .npy file");
  std::ifstream file(path, std::ios::binary | std::ios::ate);
  if (!file)
    return environmentError(path + ": " + std::strerror(errno));
  std::streamoff length = file.tellg();
  if (length < 0)
    return environmentError(path + ": cannot be read");
  try {
    std::string bytes(static_cast<size_t>(length), '\0');
    file.seekg(0);
    if (!file.read(bytes.data(), length))
      return environmentError(path + ": cannot be read");
    return parse(bytes);
  } catch (const std::bad_alloc &) {
    return environmentError(path + ": no memory for its " +
                            std::to_string(length) + " bytes");
  }
}

} // namespace

Expected<Array> convjit::parseNpy(std::string_view bytes,
                                  const std::string &what, NpyTypes types) {
  Expected<Contents> contents = parseContents(
      bytes, what, /*mayBeBooleans=*/false, types == NpyTypes::All);
  if (!contents)
    return contents.takeError();
  return std::move(contents->array);
}

Expected<Array> convjit::readNpy(const std::string &path, NpyTypes types) {
  return readWith(path, [&](std::string_view bytes) {
    return parseNpy(bytes, path, types);
  });
}

/// An array made by hand may be anything; a file of it has to be readable.
static Status checkFits(const std::string &path, const Array &array) {
  std::string shape = path + ": shape " + shapeText(array.shape);
  for (int64_t size : array.shape)
    if (size < 0)
      return badInput(shape + "; valid: sizes of 0 and above");
  std::optional<size_t> bytes =
      byteCount(array.shape, static_cast<size_t>(sizeOf(array.dtype)));
  if (!bytes)
    return badInput(shape + "; valid: at most 2^44 bytes");
  if (array.shape.size() > maxAxes)
    return badInput(path + ": shape has " + std::to_string(array.shape.size()) +
                    " axes; valid: at most " + std::to_string(maxAxes));
  if (array.data.size() != *bytes)
    return badInput(path + ": " + std::to_string(array.data.size()) +
                    " bytes of data; valid: " + std::to_string(*bytes) +
                    ", for shape " + shapeText(array.shape) + " of " +
                    name(array.dtype));
  return {};
}

static const char *descrOf(DataType dtype) {
  switch (dtype) {
  case DataType::F32:
    return "<f4";
  case DataType::F64:
    return "<f8";
  case DataType::F16:
    return "<f2";
  case DataType::BF16:
    break;
  }
  return "<V2";
}

/// Everything before the data. The array has to fit.
static std::string headerOf(const Array &array) {
  std::string shape = "(";
  for (int64_t size : array.shape)
    shape += std::to_string(size) + ", ";
  if (array.shape.size() > 1)
    shape.resize(shape.size() - 2);
  shape += ")";
  std::string header = std::string("{'descr': '") + descrOf(array.dtype) +
                       "', 'fortran_order': False, 'shape': " + shape + ", }";
  // Data starts at a multiple of 64 bytes.
  header.append(64 - (10 + header.size() + 1) % 64, ' ');
  header += '\n';
  std::string start("\x93NUMPY\x01\x00", 8);
  start += static_cast<char>(header.size() & 0xff);
  start += static_cast<char>(header.size() >> 8);
  return start + header;
}

Expected<std::string> convjit::printNpy(const Array &array,
                                        const std::string &what) {
  if (Status s = checkFits(what, array); !s)
    return s.takeError();
  std::string bytes = headerOf(array);
  bytes.append(reinterpret_cast<const char *>(array.data.data()),
               array.data.size());
  return bytes;
}

Status convjit::writeNpy(const std::string &path, const Array &array) {
  if (Status s = checkFits(path, array); !s)
    return s;
  // A file is replaced as a whole, through its links; a pipe or a device is
  // written to.
  std::error_code error;
  std::filesystem::path target(path);
  if (std::filesystem::path real = std::filesystem::canonical(target, error);
      !error)
    target = real;
  bool replaces = !std::filesystem::exists(target, error) ||
                  std::filesystem::is_regular_file(target, error);
  std::string temporary = target.string();
  if (replaces)
    temporary += ".tmp" + std::to_string(getpid());
  std::ofstream file(temporary, std::ios::binary | std::ios::trunc);
  if (!file)
    return environmentError(path + ": " + std::strerror(errno));
  file << headerOf(array);
  file.write(reinterpret_cast<const char *>(array.data.data()),
             static_cast<std::streamsize>(array.data.size()));
  file.close();
  bool good = static_cast<bool>(file);
  if (good && replaces)
    good = std::rename(temporary.c_str(), target.c_str()) == 0;
  if (!good) {
    std::string why = std::strerror(errno);
    if (replaces)
      std::remove(temporary.c_str());
    return environmentError(path + ": " + why);
  }
  return {};
}

Expected<Array> convjit::parseMask(std::string_view bytes,
                                   const std::string &what) {
  Expected<Contents> contents =
      parseContents(bytes, what, /*mayBeBooleans=*/true);
  if (!contents)
    return contents.takeError();
  if (!contents->booleans)
    return std::move(contents->array);
  Array array{DataType::F32, std::move(contents->array.shape), {}};
  const std::vector<std::byte> &given = contents->array.data;
  array.data.resize(given.size() * sizeof(float));
  for (size_t i = 0; i < given.size(); ++i) {
    auto value = std::to_integer<int>(given[i]);
    if (value > 1)
      return badInput("mask=" + what + ": element " + std::to_string(i) +
                      " is the byte " + std::to_string(value) +
                      "; valid: 0 and 1 in a file of booleans");
    auto factor = static_cast<float>(value);
    std::memcpy(array.data.data() + i * sizeof factor, &factor, sizeof factor);
  }
  return array;
}

Expected<Array> convjit::readMask(const std::string &path) {
  return readWith(
      path, [&](std::string_view bytes) { return parseMask(bytes, path); });
}

Expected<std::vector<double>> convjit::parseMask(std::string_view bytes,
                                                 const std::string &what,
                                                 const Convolution &conv) {
  Expected<Array> array = parseMask(bytes, what);
  if (!array)
    return array.takeError();
  if (array->shape != conv.kernelShape())
    return badInput("mask=" + what + ": has shape " + shapeText(array->shape) +
                    "; valid: the weight's, " + shapeText(conv.kernelShape()));
  std::vector<double> values(static_cast<size_t>(array->elements()));
  for (size_t i = 0; i < values.size(); ++i)
    if (array->dtype == DataType::F32) {
      float value;
      std::memcpy(&value, array->data.data() + 4 * i, 4);
      values[i] = value;
    } else {
      std::memcpy(&values[i], array->data.data() + 8 * i, 8);
    }
  return values;
}

Expected<std::vector<double>> convjit::readMask(const std::string &path,
                                                const Convolution &conv) {
  return readWith(path, [&](std::string_view bytes) {
    return parseMask(bytes, path, conv);
  });
}
