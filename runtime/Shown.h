//===- Shown.h - what a caller gave, in an error's text -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef CONVJIT_RUNTIME_SHOWN_H
#define CONVJIT_RUNTIME_SHOWN_H

#include <string>
#include <string_view>

namespace convjit {

/// At most 60 characters, and none that is not printable.
inline std::string shown(std::string_view text) {
  std::string result;
  for (char c : text.substr(0, 60))
    result += c >= 0x20 && c < 0x7f ? c : '?';
  return text.size() > 60 ? result + "..." : result;
}

} // namespace convjit

#endif // CONVJIT_RUNTIME_SHOWN_H
