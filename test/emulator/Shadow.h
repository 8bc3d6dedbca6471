//===- Shadow.h - what the emulator knows about memory -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Two things are remembered beside memory: the state of each byte, and for each
// word who touched it last, from which races follow.
//
// Time. A barrier of the whole block starts a new epoch, and what happened in
// an earlier epoch of the block is ordered before it. Inside an epoch each
// thread has a clock, and `Machine::known` says up to which of another thread's
// clocks a thread has synchronized with it (bar.warp.sync, barriers of a part
// of the block): vector clocks, as in FastTrack (Flanagan, Freund 2009). Epochs
// number on through all blocks of a launch, so that an epoch before the block's
// first belongs to another block, which nothing orders.
//
//===----------------------------------------------------------------------===//

#ifndef CONVJIT_TEST_EMULATOR_SHADOW_H
#define CONVJIT_TEST_EMULATOR_SHADOW_H

#include "convjit/Error.h"

#include <cstddef>
#include <cstdint>
#include <string>

namespace convjit::emulator {

/// What is known of one byte of memory.
enum ByteState : uint8_t {
  Outside = 0, ///< in no variable or buffer
  Unwritten = 1,
  Written = 2,
  Pending = 3, ///< a cp.async will write it, at a time that is not known
};

/// Who touched a word, or a byte of a word that was touched in parts.
struct Cell {
  // The last write.
  uint32_t writeEpoch, writeClock;
  uint16_t writer;
  // The reads since: of one thread or of lanes of one warp, `readMask`, or of
  // threads in several warps or blocks.
  uint16_t readWarp;
  uint32_t readEpoch, readClock, readMask;
  uint32_t writeSite : 24;
  uint32_t split : 1; ///< the bytes' cells hold what is known
  uint32_t writeAtomic : 1;
  uint32_t readAtomic : 1;
  uint32_t : 5;
  uint32_t readSite;

  static constexpr uint16_t severalWarps = 0xffff;
};
static_assert(sizeof(Cell) == 32);

/// Memory that starts as zeros and takes none until it is touched.
class LazyMemory {
public:
  LazyMemory() = default;
  LazyMemory(LazyMemory &&other) noexcept;
  LazyMemory &operator=(LazyMemory &&other) noexcept;
  ~LazyMemory();
  /// With `low`, in the lower 2 GiB, so that pointers fit into 32 bits.
  static Expected<LazyMemory> create(size_t bytes, bool low = false);
  std::byte *data() const { return start; }
  size_t size() const { return bytes; }

private:
  std::byte *start = nullptr;
  size_t bytes = 0;
};

/// Memory with its shadow: a block's shared memory, or one buffer.
struct Region {
  std::string name;
  std::byte *base = nullptr;
  size_t bytes = 0;
  bool shared = false;
  bool writable = true;
  /// Nobody writes it, so there is nothing to remember.
  bool tracked = true;
  LazyMemory stateMemory, wordMemory, byteMemory;

  uint8_t *states() const {
    return reinterpret_cast<uint8_t *>(stateMemory.data());
  }
  Cell *words() const { return reinterpret_cast<Cell *>(wordMemory.data()); }
  Cell *byteCells() const {
    return reinterpret_cast<Cell *>(byteMemory.data());
  }
  bool contains(uintptr_t address, size_t size) const {
    uintptr_t offset = address - reinterpret_cast<uintptr_t>(base);
    return offset <= bytes && size <= bytes - offset;
  }
  /// Reserves the shadow. Errors: no address space.
  Status addShadow();
};

} // namespace convjit::emulator

#endif // CONVJIT_TEST_EMULATOR_SHADOW_H
