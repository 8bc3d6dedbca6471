//===- GuardedBuffer.h - memory between protected pages -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef CONVJIT_GUARDEDBUFFER_H
#define CONVJIT_GUARDEDBUFFER_H

#include "convjit/Error.h"

#include <cstddef>

namespace convjit {

/// Memory with a page before it and a page after it that fault on any access.
/// The bytes touch one of them: `End` finds a read or write past the end,
/// `Start` one before the start.
class GuardedBuffer {
public:
  enum class Side { Start, End };

  /// Errors: no memory.
  static Expected<GuardedBuffer> create(size_t bytes, Side side);
  GuardedBuffer(GuardedBuffer &&other) noexcept;
  GuardedBuffer &operator=(GuardedBuffer &&other) noexcept;
  ~GuardedBuffer();

  std::byte *data() const { return start; }
  size_t size() const { return bytes; }

private:
  GuardedBuffer() = default;
  void *mapping = nullptr;
  size_t mapped = 0;
  std::byte *start = nullptr;
  size_t bytes = 0;
};

} // namespace convjit

#endif // CONVJIT_GUARDEDBUFFER_H
