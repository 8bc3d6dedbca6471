//===- Npz.cpp - several arrays in one file -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "convjit/nn/Npz.h"

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <memory>
#include <new>
#include <vector>
#include <zip.h>

using namespace convjit;
using namespace convjit::nn;

namespace {

struct Discard {
  void operator()(zip_t *archive) const { zip_discard(archive); }
  void operator()(zip_file_t *file) const { zip_fclose(file); }
};
using Archive = std::unique_ptr<zip_t, Discard>;
using File = std::unique_ptr<zip_file_t, Discard>;

constexpr std::string_view suffix = ".npy";

/// libzip's text for `error`, which is released.
std::string textOf(zip_error_t &error) {
  std::string text = zip_error_strerror(&error);
  zip_error_fini(&error);
  return text;
}

/// Who can mend an error of reading.
Error readError(int code, const std::string &text) {
  switch (code) {
  case ZIP_ER_MEMORY:
  case ZIP_ER_OPEN:
  case ZIP_ER_READ:
  case ZIP_ER_SEEK:
  case ZIP_ER_NOENT:
    return environmentError(text);
  default:
    return badInput(text);
  }
}

/// A name fit for a line of text.
std::string printable(std::string_view name) {
  std::string text;
  for (char c : name.substr(0, 80))
    text += c >= 0x20 && c < 0x7f ? c : '?';
  return text;
}

Expected<std::string> readEntry(zip_t *archive, zip_uint64_t index,
                                const std::string &what, size_t maxBytes) {
  zip_stat_t stat;
  if (zip_stat_index(archive, index, 0, &stat) != 0)
    return badInput(what + ": " + zip_strerror(archive));
  if ((stat.valid & ZIP_STAT_ENCRYPTION_METHOD) &&
      stat.encryption_method != ZIP_EM_NONE)
    return badInput(what + ": is encrypted; valid: without encryption");
  if ((stat.valid & ZIP_STAT_COMP_METHOD) && stat.comp_method != ZIP_CM_STORE &&
      stat.comp_method != ZIP_CM_DEFLATE)
    return badInput(what + ": compression method " +
                    std::to_string(stat.comp_method) +
                    "; valid: 0 (stored) and 8 (deflated)");
  auto tooLarge = [&] {
    return badInput(what + ": has more than " + std::to_string(maxBytes) +
                    " bytes, the most that are read");
  };
  if ((stat.valid & ZIP_STAT_SIZE) && stat.size > maxBytes)
    return tooLarge();
  File file(zip_fopen_index(archive, index, 0));
  if (!file)
    return readError(zip_error_code_zip(zip_get_error(archive)),
                     what + ": " + zip_strerror(archive));
  // What the archive says of the size is not trusted: memory grows with data.
  std::string bytes;
  constexpr size_t step = size_t(1) << 20;
  for (;;) {
    size_t have = bytes.size();
    bytes.resize(have + step);
    zip_int64_t got = zip_fread(file.get(), bytes.data() + have, step);
    if (got < 0)
      return readError(zip_error_code_zip(zip_file_get_error(file.get())),
                       what + ": " + zip_file_strerror(file.get()));
    bytes.resize(have + static_cast<size_t>(got));
    if (bytes.size() > maxBytes)
      return tooLarge();
    if (got == 0)
      return bytes;
  }
}

Expected<NamedArrays> readAll(zip_t *archive, const std::string &what,
                              size_t maxBytes) {
  NamedArrays arrays;
  try {
    zip_int64_t count = zip_get_num_entries(archive, 0);
    if (count <= 0) // also a file without a byte
      return badInput(what + ": holds no arrays; valid: at least one");
    for (zip_int64_t i = 0; i < count; ++i) {
      auto index = static_cast<zip_uint64_t>(i);
      const char *name = zip_get_name(archive, index, 0);
      if (!name)
        return badInput(what + ": " + zip_strerror(archive));
      std::string_view key(name);
      std::string entry = what + ": " + printable(key);
      if (!key.ends_with(suffix))
        return badInput(entry + ": is not an array; valid: names that end in "
                                ".npy");
      key.remove_suffix(suffix.size());
      Expected<std::string> bytes = readEntry(archive, index, entry, maxBytes);
      if (!bytes)
        return bytes.takeError();
      Expected<Array> array = parseNpy(*bytes, entry);
      if (!array)
        return array.takeError();
      if (!arrays.emplace(key, std::move(*array)).second)
        return badInput(entry + ": is there twice; valid: once");
    }
  } catch (const std::bad_alloc &) {
    return environmentError(what + ": no memory for its arrays");
  }
  return arrays;
}

} // namespace

Expected<NamedArrays> nn::readNpz(const std::string &path, size_t maxBytes) {
  std::error_code ignored;
  if (std::filesystem::is_directory(path, ignored))
    return badInput(path + ": is a directory; valid: a .npz file");
  int code = 0;
  Archive archive(zip_open(path.c_str(), ZIP_RDONLY, &code));
  if (!archive) {
    zip_error_t error;
    zip_error_init_with_code(&error, code);
    return readError(code, path + ": " + textOf(error));
  }
  return readAll(archive.get(), path, maxBytes);
}

Expected<NamedArrays> nn::parseNpz(std::string_view bytes,
                                   const std::string &what, size_t maxBytes) {
  zip_error_t error;
  zip_error_init(&error);
  zip_source_t *source =
      zip_source_buffer_create(bytes.data(), bytes.size(), 0, &error);
  zip_t *opened =
      source ? zip_open_from_source(source, ZIP_RDONLY, &error) : nullptr;
  if (!opened) {
    zip_source_free(source);
    int code = zip_error_code_zip(&error);
    return readError(code, what + ": " + textOf(error));
  }
  zip_error_fini(&error);
  Archive archive(opened);
  return readAll(archive.get(), what, maxBytes);
}

/// Adds one array, stored, dated as zip's epoch. `bytes` must live until the
/// archive is closed.
static bool add(zip_t *archive, const std::string &name,
                const std::string &bytes) {
  zip_source_t *source =
      zip_source_buffer(archive, bytes.data(), bytes.size(), 0);
  if (!source)
    return false;
  zip_int64_t index =
      zip_file_add(archive, (name + ".npy").c_str(), source, ZIP_FL_ENC_UTF_8);
  if (index < 0) {
    zip_source_free(source);
    return false;
  }
  auto at = static_cast<zip_uint64_t>(index);
  constexpr zip_uint16_t firstOfJanuary1980 = 1 << 5 | 1;
  return zip_set_file_compression(archive, at, ZIP_CM_STORE, 0) == 0 &&
         zip_file_set_dostime(archive, at, 0, firstOfJanuary1980, 0) == 0;
}

Status nn::writeNpz(const std::string &path, const NamedArrays &arrays) {
  if (arrays.empty())
    return badInput(path + ": no arrays; valid: at least one");
  std::vector<std::string> files;
  for (const auto &[name, array] : arrays) {
    if (name.empty() || name.find('\0') != std::string::npos)
      return badInput(path + ": array name '" + printable(name) +
                      "'; valid: not empty, without NUL");
    try {
      Expected<std::string> bytes = printNpy(array, path + ": " + name);
      if (!bytes)
        return bytes.takeError();
      files.push_back(std::move(*bytes));
    } catch (const std::bad_alloc &) {
      return environmentError(path + ": no memory to write " + name);
    }
  }
  // Through links, as a plain file would be written.
  std::error_code error;
  std::filesystem::path target(path);
  if (std::filesystem::path real = std::filesystem::canonical(target, error);
      !error)
    target = real;
  int code = 0;
  Archive archive(zip_open(target.c_str(), ZIP_CREATE | ZIP_TRUNCATE, &code));
  if (!archive) {
    zip_error_t failure;
    zip_error_init_with_code(&failure, code);
    return environmentError(path + ": " + textOf(failure));
  }
  auto bytes = files.begin();
  for (const auto &[name, array] : arrays)
    if (!add(archive.get(), name, *bytes++))
      return environmentError(path + ": " + zip_strerror(archive.get()));
  if (zip_close(archive.get()) != 0)
    return environmentError(path + ": " + zip_strerror(archive.get()));
  static_cast<void>(archive.release());
  return {};
}
