//===- BuildId.cpp - which build of the compiler this is -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "BuildId.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <elf.h>
#include <link.h>
#include <string_view>

using namespace convjit;

/// The build id among the notes of one segment.
static std::string idInNotes(std::string_view notes) {
  auto padded = [](size_t bytes) { return (bytes + 3) / 4 * 4; };
  while (notes.size() >= sizeof(ElfW(Nhdr))) {
    ElfW(Nhdr) note;
    std::memcpy(&note, notes.data(), sizeof note);
    notes.remove_prefix(sizeof note);
    size_t name = padded(note.n_namesz), text = padded(note.n_descsz);
    if (name + text > notes.size())
      return "";
    if (note.n_type == NT_GNU_BUILD_ID && notes.starts_with("GNU")) {
      std::string id;
      for (unsigned char byte : notes.substr(name, note.n_descsz)) {
        constexpr char digits[] = "0123456789abcdef";
        id += {digits[byte >> 4], digits[byte & 15]};
      }
      return id;
    }
    notes.remove_prefix(name + text);
  }
  return "";
}

/// Of the module that this function is in.
static int visit(dl_phdr_info *info, size_t, void *result) {
  auto here = reinterpret_cast<uintptr_t>(&visit);
  bool ours = false;
  for (int i = 0; i < info->dlpi_phnum; ++i) {
    const auto &segment = info->dlpi_phdr[i];
    uintptr_t begin = info->dlpi_addr + segment.p_vaddr;
    ours |= segment.p_type == PT_LOAD && here >= begin &&
            here < begin + segment.p_memsz;
  }
  if (!ours)
    return 0;
  auto &id = *static_cast<std::string *>(result);
  for (int i = 0; i < info->dlpi_phnum && id.empty(); ++i) {
    const auto &segment = info->dlpi_phdr[i];
    if (segment.p_type == PT_NOTE)
      id = idInNotes(
          {reinterpret_cast<const char *>(info->dlpi_addr + segment.p_vaddr),
           segment.p_memsz});
  }
  return 1;
}

const std::string &convjit::buildId() {
  static const std::string id = [] {
    std::string found;
    dl_iterate_phdr(visit, &found);
    return found;
  }();
  return id;
}
