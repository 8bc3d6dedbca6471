//===- Debuggers.cpp - kernels by name in debuggers and profilers -*- C++
//-*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Debuggers.h"
#include "KernelTable.h"

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <elf.h>
#include <fcntl.h>
#include <mutex>
#include <unistd.h>
#include <vector>

using namespace convjit;

//===----------------------------------------------------------------------===//
// GDB's JIT interface, as its manual gives it
//===----------------------------------------------------------------------===//

extern "C" {
struct jit_code_entry {
  jit_code_entry *next_entry;
  jit_code_entry *prev_entry;
  const char *symfile_addr;
  uint64_t symfile_size;
};
struct jit_descriptor {
  uint32_t version;
  uint32_t action_flag; // 0 nothing, 1 register, 2 unregister
  jit_code_entry *relevant_entry;
  jit_code_entry *first_entry;
};

// gdb finds these two by name in each library and looks through the list of
// each. They stay hidden: one that is found by the dynamic linker could be
// another library's, under another lock.
[[gnu::visibility("hidden"),
  gnu::used]] jit_descriptor __jit_debug_descriptor = {1, 0, nullptr, nullptr};

[[gnu::visibility("hidden"), gnu::used, gnu::noinline]] void
__jit_debug_register_code() {
  __asm__ volatile("" ::: "memory"); // gdb stops here
}
}

static std::mutex &debuggerMutex() {
  static auto *mutex = new std::mutex; // outlives every kernel
  return *mutex;
}

static bool isOn(const char *variable, bool byDefault) {
  const char *value = secure_getenv(variable);
  return !value || !*value ? byDefault : std::strcmp(value, "0") != 0;
}

//===----------------------------------------------------------------------===//
// Names
//===----------------------------------------------------------------------===//

std::string convjit::debugName(const Convolution &conv) {
  auto sizes = [&](auto member) {
    std::string text;
    for (const SpatialDim &dim : conv.dims)
      text += (text.empty() ? "" : "x") + std::to_string(member(dim));
    return text;
  };
  std::string name = "convjit_conv" + std::to_string(conv.rank()) + "d_";
  name += sizes([](auto &d) { return d.input; }) + "x" +
          std::to_string(conv.inChannels) + "_to_" +
          sizes([](auto &d) { return d.output(); }) + "x" +
          std::to_string(conv.outChannels) + "_k" +
          sizes([](auto &d) { return d.kernel; });
  auto unlessOnes = [&](const char *field, int64_t SpatialDim::*member) {
    if (std::any_of(conv.dims.begin(), conv.dims.end(),
                    [&](auto &dim) { return dim.*member != 1; }))
      name += field + sizes([&](auto &dim) { return dim.*member; });
  };
  unlessOnes("_s", &SpatialDim::windowStride);
  unlessOnes("_ld", &SpatialDim::inputDilation);
  unlessOnes("_d", &SpatialDim::kernelDilation);
  if (conv.groups != 1)
    name += "_g" + std::to_string(conv.groups);
  char digits[16];
  std::snprintf(digits, sizeof digits, "_%08x",
                static_cast<unsigned>(hashOf(conv)));
  return name + digits;
}

//===----------------------------------------------------------------------===//
// An object file for gdb
//===----------------------------------------------------------------------===//

namespace {

#if defined(__aarch64__)
constexpr Elf64_Half machine = EM_AARCH64;
#else
constexpr Elf64_Half machine = EM_X86_64;
#endif

/// Sections: none, .text (in memory only), .eh_frame, .symtab, .strtab.
std::string symbolFile(const std::string &name,
                       std::span<const DebugFunction> functions,
                       std::string_view unwind) {
  // Section names share the table of symbol names.
  std::string strings(1, '\0');
  auto intern = [&](const std::string &text) {
    auto at = static_cast<Elf64_Word>(strings.size());
    strings += text + '\0';
    return at;
  };
  auto *begin = static_cast<char *>(functions.front().address);
  auto *end = begin;
  for (const DebugFunction &function : functions) {
    auto *first = static_cast<char *>(function.address);
    begin = std::min(begin, first);
    end = std::max(end, first + function.bytes);
  }
  auto symbol = [&](const std::string &text, DebugFunction function) {
    Elf64_Sym symbol{};
    symbol.st_name = intern(text);
    symbol.st_info = ELF64_ST_INFO(STB_GLOBAL, STT_FUNC);
    symbol.st_shndx = 1;
    symbol.st_value =
        static_cast<Elf64_Addr>(static_cast<char *>(function.address) - begin);
    symbol.st_size = function.bytes;
    return symbol;
  };
  std::vector<Elf64_Sym> symbols(1);
  for (const DebugFunction &function : functions)
    symbols.push_back(symbol(name + function.suffix, function));
  size_t symbolBytes = symbols.size() * sizeof(Elf64_Sym);

  struct {
    Elf64_Ehdr header{};
    Elf64_Shdr sections[5]{};
  } head;
  Elf64_Off offset = sizeof head;
  auto section = [&](const char *text, Elf64_Word type, Elf64_Xword flags,
                     const void *address, size_t bytes) {
    Elf64_Shdr made{};
    made.sh_name = intern(text);
    made.sh_type = type;
    made.sh_flags = flags;
    made.sh_addr = reinterpret_cast<Elf64_Addr>(address);
    made.sh_offset = offset;
    made.sh_size = bytes;
    made.sh_addralign = 8;
    if (type != SHT_NOBITS)
      offset += (bytes + 7) / 8 * 8;
    return made;
  };
  head.sections[1] = section(".text", SHT_NOBITS, SHF_ALLOC | SHF_EXECINSTR,
                             begin, static_cast<size_t>(end - begin));
  head.sections[2] = section(".eh_frame", SHT_PROGBITS, SHF_ALLOC,
                             unwind.data(), unwind.size());
  head.sections[3] = section(".symtab", SHT_SYMTAB, 0, nullptr, symbolBytes);
  head.sections[3].sh_link = 4;
  head.sections[3].sh_info = 1;
  head.sections[3].sh_entsize = sizeof(Elf64_Sym);
  head.sections[4] = section(".strtab", SHT_STRTAB, 0, nullptr, 0);
  head.sections[4].sh_size = strings.size();
  std::memcpy(head.header.e_ident, ELFMAG, SELFMAG);
  head.header.e_ident[EI_CLASS] = ELFCLASS64;
  head.header.e_ident[EI_DATA] = ELFDATA2LSB;
  head.header.e_ident[EI_VERSION] = EV_CURRENT;
  head.header.e_type = ET_REL;
  head.header.e_machine = machine;
  head.header.e_version = EV_CURRENT;
  head.header.e_shoff = sizeof head.header;
  head.header.e_ehsize = sizeof head.header;
  head.header.e_shentsize = sizeof(Elf64_Shdr);
  head.header.e_shnum = 5;
  head.header.e_shstrndx = 4;

  std::string file(reinterpret_cast<char *>(&head), sizeof head);
  auto append = [&](const void *from, size_t bytes) {
    file.append(static_cast<const char *>(from), bytes);
    file.resize((file.size() + 7) / 8 * 8);
  };
  append(unwind.data(), unwind.size());
  append(symbols.data(), symbolBytes);
  append(strings.data(), strings.size());
  return file;
}

//===----------------------------------------------------------------------===//
// perf
//===----------------------------------------------------------------------===//

/// One line a function: address and size in hexadecimal, name. A released
/// kernel's lines stay: the format has no way to take one back.
void tellPerf(const std::string &name,
              std::span<const DebugFunction> functions) {
  static bool on = isOn("CONVJIT_PERF_MAP", false);
  if (!on)
    return;
  std::string lines;
  for (const DebugFunction &function : functions) {
    char place[64];
    std::snprintf(place, sizeof place, "%zx %zx ",
                  reinterpret_cast<size_t>(function.address), function.bytes);
    lines += place + name + function.suffix + "\n";
  }
  // Opened each time: a forked child has a file of its own. Anyone may write to
  // /tmp, so a link there is not followed.
  std::string path = "/tmp/perf-" + std::to_string(getpid()) + ".map";
  int file = open(path.c_str(),
                  O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
  if (file < 0)
    return;
  [[maybe_unused]] ssize_t written = write(file, lines.data(), lines.size());
  close(file);
}

} // namespace

struct DebugRegistration::Entry {
  jit_code_entry code{};
  std::string file;
};

DebugRegistration::DebugRegistration(const Convolution &conv,
                                     std::span<const DebugFunction> functions,
                                     std::string_view unwind) {
  std::string name = debugName(conv);
  tellPerf(name, functions);
  static bool on = isOn("CONVJIT_GDB", true);
  if (!on)
    return;
  entry = std::make_unique<Entry>();
  entry->file = symbolFile(name, functions, unwind);
  entry->code.symfile_addr = entry->file.data();
  entry->code.symfile_size = entry->file.size();
  std::unique_lock lock(debuggerMutex());
  jit_code_entry *first = __jit_debug_descriptor.first_entry;
  entry->code.next_entry = first;
  if (first)
    first->prev_entry = &entry->code;
  __jit_debug_descriptor.first_entry = &entry->code;
  __jit_debug_descriptor.relevant_entry = &entry->code;
  __jit_debug_descriptor.action_flag = 1;
  __jit_debug_register_code();
}

DebugRegistration::~DebugRegistration() {
  if (!entry)
    return;
  std::unique_lock lock(debuggerMutex());
  jit_code_entry *next = entry->code.next_entry;
  jit_code_entry *previous = entry->code.prev_entry;
  (previous ? previous->next_entry : __jit_debug_descriptor.first_entry) = next;
  if (next)
    next->prev_entry = previous;
  __jit_debug_descriptor.relevant_entry = &entry->code;
  __jit_debug_descriptor.action_flag = 2;
  __jit_debug_register_code();
}
