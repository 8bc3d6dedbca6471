//===- Race.cpp - accesses that nothing orders -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Machine.h"

using namespace convjit;
using namespace convjit::emulator;

/// Whether an access of `thread` in this space, at that time, is ordered before
/// what the thread `now` does now.
bool Machine::ordered(const Region &region, uint32_t when, uint32_t clock,
                      uint16_t thread, const Thread &now) const {
  if (when < blockEpoch) // another block's
    return region.shared;
  return when != epoch || thread == now.id ||
         known[now.id * threads.size() + thread] >= clock;
}

void Machine::noteCell(const Region &region, Cell &cell, AccessKind kind,
                       Thread &thread, const Site &site, size_t offset) {
  bool atomic = kind == AccessKind::Atomic || site.atomic;
  auto race = [&](const char *mine, const char *other, uint32_t otherSite,
                  uint32_t when) {
    const Site &before = sites[otherSite];
    find(region.shared ? FindingKind::SharedRace : FindingKind::GlobalRace,
         &site, &thread,
         std::string(mine) + " of " +
             describe(reinterpret_cast<uintptr_t>(region.base) + offset) +
             " and a " + other + " by another thread" +
             (when < blockEpoch ? " of another block" : "") +
             " are not ordered; the other:" + before.instruction,
         &before);
  };
  const char *mine = kind == AccessKind::Read ? "a read" : "a write";
  if (cell.writeEpoch && !(atomic && cell.writeAtomic) &&
      !ordered(region, cell.writeEpoch, cell.writeClock, cell.writer, thread))
    race(mine, "write", cell.writeSite, cell.writeEpoch);
  uint32_t bit = uint32_t(1) << thread.lane;
  if (kind == AccessKind::Read) {
    bool sameBlock = cell.readEpoch >= blockEpoch;
    if (cell.readEpoch == epoch && cell.readWarp == thread.warp->index &&
        cell.readClock == thread.clock) {
      cell.readMask |= bit;
      cell.readAtomic &= atomic;
      return;
    }
    bool forget = cell.readEpoch == 0 || (region.shared && !sameBlock) ||
                  (sameBlock && cell.readEpoch != epoch);
    // Within the epoch: what a warp-level synchronization orders before this
    // read is covered by it.
    if (!forget && sameBlock && cell.readWarp == thread.warp->index) {
      forget = true;
      for (uint32_t left = cell.readMask; left; left &= left - 1) {
        auto other = static_cast<uint16_t>(thread.warp->index * 32 +
                                           __builtin_ctz(left));
        forget &=
            ordered(region, cell.readEpoch, cell.readClock, other, thread);
      }
      if (!forget) { // lanes at different clocks: the earlier one for all
        cell.readMask |= bit;
        cell.readClock = std::min(cell.readClock, thread.clock);
        cell.readAtomic &= atomic;
        return;
      }
    }
    // What another block has read stays read by another block.
    bool several =
        !forget && (cell.readWarp == Cell::severalWarps ||
                    cell.readWarp != thread.warp->index || !sameBlock);
    if (several && !sameBlock) {
      if (cell.readWarp == Cell::severalWarps)
        return;
      cell.readWarp = Cell::severalWarps;
      return; // keeps the epoch of the other block, which orders nothing
    }
    cell.readEpoch = epoch;
    cell.readClock = thread.clock;
    cell.readWarp = several ? Cell::severalWarps : thread.warp->index;
    cell.readMask = bit;
    cell.readAtomic = atomic;
    cell.readSite = static_cast<uint32_t>(&site - sites.data());
    return;
  }
  if (cell.readEpoch && !(atomic && cell.readAtomic)) {
    bool before = true;
    if (cell.readEpoch < blockEpoch)
      before = region.shared;
    else if (cell.readEpoch == epoch && cell.readWarp == Cell::severalWarps)
      // Who exactly is not kept; barriers of a part of the block may order
      // them.
      before = partialBarriers;
    else
      for (uint32_t left = cell.readMask; left && before; left &= left - 1)
        before = ordered(
            region, cell.readEpoch, cell.readClock,
            static_cast<uint16_t>(cell.readWarp * 32 + __builtin_ctz(left)),
            thread);
    if (!before)
      race(mine, "read", cell.readSite, cell.readEpoch);
  }
  cell.readEpoch = 0;
  cell.writeEpoch = epoch;
  cell.writeClock = thread.clock;
  cell.writer = thread.id;
  cell.writeSite = static_cast<uint32_t>(&site - sites.data());
  cell.writeAtomic = atomic;
}

void Machine::note(const Region &region, size_t offset, size_t bytes,
                   AccessKind kind, Thread &thread, const Site &site) {
  Cell *words = region.words();
  size_t end = offset + bytes;
  for (size_t at = offset; at < end;) {
    Cell &word = words[at / 4];
    size_t next = std::min(end, (at / 4 + 1) * 4);
    if (!word.split && next - at == 4) {
      // Another read of a warp's that has read the word already, and that was
      // written in an earlier interval of the block or never.
      if (kind == AccessKind::Read && !site.atomic && word.readEpoch == epoch &&
          word.readWarp == thread.warp->index &&
          word.readClock == thread.clock && word.writeEpoch < epoch &&
          (word.writeEpoch >= blockEpoch || word.writeEpoch == 0)) {
        word.readMask |= uint32_t(1) << thread.lane;
        word.readAtomic = false;
        at = next;
        continue;
      }
      noteCell(region, word, kind, thread, site, at);
    } else {
      Cell *cells = region.byteCells() + at / 4 * 4;
      if (!word.split) {
        for (int i = 0; i < 4; ++i)
          cells[i] = word;
        word.split = 1;
      }
      for (size_t i = at; i < next; ++i)
        noteCell(region, cells[i % 4], kind, thread, site, i);
    }
    at = next;
  }
}
