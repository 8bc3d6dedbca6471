//===- Bytes.h - numbers and texts as bytes -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef CONVJIT_CACHE_BYTES_H
#define CONVJIT_CACHE_BYTES_H

#include <cstdint>
#include <string>
#include <string_view>

namespace convjit {

/// Little-endian, on any host.
inline void put(std::string &to, uint64_t value, int bytes = 8) {
  for (int i = 0; i < bytes; ++i)
    to += static_cast<char>(value >> (8 * i));
}

/// Its length, then the text.
inline void put(std::string &to, std::string_view text) {
  put(to, text.size());
  to += text;
}

/// Reads from the front; after the end every answer is empty and `good` false.
struct ByteReader {
  std::string_view rest;
  bool good = true;

  uint64_t number(int bytes = 8) {
    uint64_t value = 0;
    std::string_view from = take(static_cast<uint64_t>(bytes));
    for (size_t i = from.size(); i-- > 0;)
      value = value << 8 | static_cast<unsigned char>(from[i]);
    return value;
  }
  int64_t integer() { return static_cast<int64_t>(number()); }
  std::string_view text() { return take(number()); }
  std::string_view take(uint64_t bytes) {
    if (bytes > rest.size()) {
      good = false;
      rest = {};
      return {};
    }
    std::string_view taken = rest.substr(0, bytes);
    rest.remove_prefix(bytes);
    return taken;
  }
};

} // namespace convjit

#endif // CONVJIT_CACHE_BYTES_H
