//===- CodeArena.cpp - pages for code -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "CodeArena.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <sys/mman.h>
#include <unistd.h>

using namespace convjit;

// A hundred usual kernels. Only pages in use take memory.
static constexpr size_t slabBytes = size_t(2) << 20;

static Error memoryError(const char *what, size_t bytes) {
  char buffer[128];
  return environmentError(
      std::string("code: ") + what + " " + std::to_string(bytes) +
      " bytes: " + strerror_r(errno, buffer, sizeof buffer));
}

CodeArena::CodeArena() : page(static_cast<size_t>(sysconf(_SC_PAGESIZE))) {}

CodeArena::~CodeArena() {
  for (auto &[begin, slab] : slabs)
    ::munmap(begin, slab.bytes);
}

CodeArena &CodeArena::process() {
  // Kernels may be released by other static objects' destructors.
  static auto *arena = new CodeArena;
  return *arena;
}

/// First fit, lowest address first: what is in use stays together.
char *CodeArena::take(size_t bytes) {
  for (auto &[begin, slab] : slabs)
    for (auto it = slab.free.begin(); it != slab.free.end(); ++it) {
      auto [at, size] = *it;
      if (size < bytes)
        continue;
      slab.free.erase(it);
      if (size > bytes)
        slab.free.emplace(at + bytes, size - bytes);
      slab.used += bytes;
      return at;
    }
  return nullptr;
}

Expected<CodePages> CodeArena::allocate(size_t bytes) {
  if (bytes == 0 || bytes > (size_t(1) << 40))
    return internalError("code of " + std::to_string(bytes) + " bytes");
  bytes = (bytes + page - 1) / page * page;
  std::unique_lock lock(mutex);
  char *at = take(bytes);
  if (!at) {
    size_t size = std::max(bytes, slabBytes);
    void *begin = ::mmap(nullptr, size, PROT_NONE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (begin == MAP_FAILED && size > bytes)
      begin = ::mmap(nullptr, size = bytes, PROT_NONE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (begin == MAP_FAILED)
      return memoryError("no address space for", bytes);
    auto *first = static_cast<char *>(begin);
    Slab &slab = slabs[first];
    slab.bytes = size;
    slab.free.emplace(first, size);
    at = take(bytes);
  }
  CodePages pages{at, bytes};
  if (::mprotect(at, bytes, PROT_READ | PROT_WRITE) != 0) {
    Error error = memoryError("no memory for", bytes);
    putBack(pages);
    return error;
  }
  return pages;
}

Status CodeArena::seal(CodePages pages) {
  if (::mprotect(pages.begin, pages.bytes, PROT_READ | PROT_EXEC) != 0)
    return memoryError("this system does not let a program execute",
                       pages.bytes);
  __builtin___clear_cache(pages.begin, pages.begin + pages.bytes);
  return {};
}

void CodeArena::release(CodePages pages) {
  std::unique_lock lock(mutex);
  // The second may fail for want of mappings; then the pages are zeros.
  ::madvise(pages.begin, pages.bytes, MADV_DONTNEED);
  (void)::mprotect(pages.begin, pages.bytes, PROT_NONE);
  putBack(pages);
}

void CodeArena::putBack(CodePages pages) {
  auto found = std::prev(slabs.upper_bound(pages.begin));
  Slab &slab = found->second;
  slab.used -= pages.bytes;
  if (slab.used == 0 && slabs.size() > 1) {
    ::munmap(found->first, slab.bytes);
    slabs.erase(found);
    return;
  }
  auto it = slab.free.emplace(pages.begin, pages.bytes).first;
  if (auto next = std::next(it);
      next != slab.free.end() && it->first + it->second == next->first) {
    it->second += next->second;
    slab.free.erase(next);
  }
  if (it != slab.free.begin())
    if (auto before = std::prev(it);
        before->first + before->second == it->first) {
      before->second += it->second;
      slab.free.erase(it);
    }
}

CodeArena::Usage CodeArena::usage() const {
  std::unique_lock lock(mutex);
  Usage usage;
  for (const auto &[begin, slab] : slabs) {
    ++usage.slabs;
    usage.slabBytes += slab.bytes;
    usage.usedBytes += slab.used;
  }
  return usage;
}
