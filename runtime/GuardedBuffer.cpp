//===- GuardedBuffer.cpp - memory between protected pages -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "GuardedBuffer.h"

#include <cerrno>
#include <cstring>
#include <limits>
#include <utility>

#include <sys/mman.h>
#include <unistd.h>

using namespace convjit;

Expected<GuardedBuffer> GuardedBuffer::create(size_t bytes, Side side) {
  auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  // Rounding up must not wrap around to a small mapping.
  if (bytes > std::numeric_limits<size_t>::max() - 3 * page)
    return environmentError("guarded buffer of " + std::to_string(bytes) +
                            " bytes: " + std::strerror(ENOMEM));
  size_t inner = (bytes + page - 1) / page * page;
  GuardedBuffer buffer;
  buffer.mapped = inner + 2 * page;
  void *mapping = mmap(nullptr, buffer.mapped, PROT_NONE,
                       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapping == MAP_FAILED)
    return environmentError(std::string("guarded buffer of ") +
                            std::to_string(bytes) +
                            " bytes: " + std::strerror(errno));
  buffer.mapping = mapping;
  auto *first = static_cast<std::byte *>(mapping) + page;
  if (inner && mprotect(first, inner, PROT_READ | PROT_WRITE) != 0)
    return environmentError(std::string("guarded buffer: ") +
                            std::strerror(errno));
  buffer.start = side == Side::Start ? first : first + (inner - bytes);
  buffer.bytes = bytes;
  return buffer;
}

GuardedBuffer::GuardedBuffer(GuardedBuffer &&other) noexcept {
  *this = std::move(other);
}

GuardedBuffer &GuardedBuffer::operator=(GuardedBuffer &&other) noexcept {
  std::swap(mapping, other.mapping);
  std::swap(mapped, other.mapped);
  std::swap(start, other.start);
  std::swap(bytes, other.bytes);
  return *this;
}

GuardedBuffer::~GuardedBuffer() {
  if (mapping)
    munmap(mapping, mapped);
}
