//===- Shadow.cpp - what the emulator knows about memory -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Shadow.h"

#include <sys/mman.h>
#include <utility>

#if !defined(MAP_32BIT)
#define MAP_32BIT 0
#endif

using namespace convjit;
using namespace convjit::emulator;

Expected<LazyMemory> LazyMemory::create(size_t bytes, bool low) {
  LazyMemory memory;
  if (bytes == 0)
    return memory;
  void *got =
      mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
           MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | (low ? MAP_32BIT : 0),
           -1, 0);
  if (got == MAP_FAILED)
    return environmentError("no address space for " + std::to_string(bytes) +
                            " bytes of emulated memory");
  memory.start = static_cast<std::byte *>(got);
  memory.bytes = bytes;
  return memory;
}

LazyMemory::LazyMemory(LazyMemory &&other) noexcept
    : start(std::exchange(other.start, nullptr)),
      bytes(std::exchange(other.bytes, 0)) {}

LazyMemory &LazyMemory::operator=(LazyMemory &&other) noexcept {
  std::swap(start, other.start);
  std::swap(bytes, other.bytes);
  return *this;
}

LazyMemory::~LazyMemory() {
  if (start)
    munmap(start, bytes);
}

Status Region::addShadow() {
  size_t words = (bytes + 3) / 4;
  struct {
    LazyMemory &memory;
    size_t bytes;
  } const wanted[] = {{stateMemory, bytes + 16}, // checked 16 at a time
                      {wordMemory, words * sizeof(Cell)},
                      {byteMemory, words * 4 * sizeof(Cell)}};
  for (auto [memory, size] : wanted) {
    Expected<LazyMemory> got = LazyMemory::create(size);
    if (!got)
      return got.takeError();
    memory = std::move(*got);
  }
  return {};
}
