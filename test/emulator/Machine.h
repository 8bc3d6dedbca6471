//===- Machine.h - one emulated multiprocessor -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Runs one block at a time. A thread runs until it has to wait for others, so
// that no host thread is involved, and the schedule is the seed's. Compiled
// code calls the functions of Runtime.cpp, which are thin wrappers of the
// methods here.
//
//===----------------------------------------------------------------------===//

#ifndef CONVJIT_TEST_EMULATOR_MACHINE_H
#define CONVJIT_TEST_EMULATOR_MACHINE_H

#include "Emulator.h"
#include "Fiber.h"
#include "Random.h"
#include "Shadow.h"
#include "Site.h"

#include <map>
#include <span>
#include <tuple>
#include <vector>

namespace convjit::emulator {

class Measurement;

/// A cp.async that has not landed.
struct AsyncCopy {
  std::byte *destination;
  uint8_t bytes;
  const Site *site;
  std::byte data[16];
};

/// Lanes of a warp that wait for each other at a warp-wide operation.
struct WarpGroup {
  const Site *site;
  uint32_t mask, arrived;
};

struct Warp {
  uint16_t index = 0;
  uint32_t exists = 0, live = 0;
  uint32_t ready = 0; ///< by position in `order`
  uint8_t order[32], positionOf[32];
  std::vector<WarpGroup> groups;
};

struct Machine;

struct Thread {
  Fiber fiber;
  Machine *machine = nullptr;
  Warp *warp = nullptr;
  uint16_t id = 0;
  uint8_t lane = 0;
  bool done = false;
  Dim3 place; ///< threadIdx
  uint32_t clock = 1;
  /// Where it waits; null while it can run.
  const Site *waiting = nullptr;
  uint32_t barrier = 0;
  /// A warp-wide operation's operands and results, on the thread's stack.
  const void *operands = nullptr;
  void *results = nullptr;
  std::vector<AsyncCopy> copies; ///< not landed, oldest first
  std::vector<size_t> groups;    ///< how many copies each committed group has
};

/// One of a block's 16 barriers.
struct Barrier {
  const Site *site = nullptr;
  uint32_t expected = 0; ///< 0: all threads
  uint32_t arrived = 0, waiting = 0, votes = 0;
  bool mixed = false;          ///< threads came to different instructions
  std::vector<uint32_t> known; ///< of a barrier for a part of the block
};

/// A variable in shared memory, by offset from its start.
struct SharedVariable {
  std::string name;
  size_t offset = 0, bytes = 0, align = 1;
  bool dynamic = false;
};

enum class AccessKind { Read, Write, Atomic };

struct Machine {
  // What the compiler fills in.
  std::vector<Site> sites;
  std::vector<SharedVariable> variables;
  size_t staticSharedBytes = 0; ///< sum of sizes, without gaps
  size_t dynamicOffset = 0;
  LazyMemory sharedMemory;
  Region shared;
  std::vector<Region> globals; ///< the module's own variables
  std::vector<uint64_t> blockCounters;

  // The launch.
  const Launch *launch = nullptr;
  Report *report = nullptr;
  void (*entry)(const void *slots) = nullptr;
  const void *slots = nullptr;
  std::vector<Region> buffers;
  std::vector<int32_t> bufferOfArgument;
  Random random{0};
  Measurement *measurement = nullptr;
  uint64_t accesses = 0;

  // The block.
  Dim3 block;
  std::vector<Thread> threads;
  std::vector<Warp> warps;
  Barrier barriers[16];
  Stacks stacks;
  Fiber mainFiber;
  Thread *current = nullptr;
  uint32_t liveThreads = 0;
  uint32_t epoch = 1, blockEpoch = 1;
  bool stop = false;
  bool partialBarriers = false;
  /// known[a * threads + b]: thread a is ordered after b's accesses up to this
  /// clock.
  std::vector<uint32_t> known;

  // Schedule.cpp
  Status prepareThreads();
  /// Runs one block to its end, or sets `stop`.
  void runBlock(Dim3 index);
  void finishThread(Thread &thread);
  void waitFor(Thread &thread, const Site &site);
  void wake(Thread &thread);
  [[noreturn]] void abandon();

  // Sync.cpp
  uint32_t barrier(Site &site, uint32_t id, uint32_t count, bool vote);
  void barrierArrive(Site &site, uint32_t id, uint32_t count);
  void checkBarrier(uint32_t id);
  void checkBarriers();
  void warpOperation(Site &site, const void *operands, void *results);
  void checkGroups(Warp &warp);
  void explainStuck();
  uint32_t reg(Register which) const;

  // Warp.cpp
  void execute(const WarpGroup &group, Warp &warp);

  // Memory.cpp
  /// Checks an access of the current thread and returns where to do it.
  std::byte *access(Site &site, uintptr_t address, size_t bytes,
                    AccessKind kind);
  std::byte *access(Site &site, Thread &thread, uintptr_t address, size_t bytes,
                    AccessKind kind, size_t align);
  bool isShared(uintptr_t address) const {
    return address - reinterpret_cast<uintptr_t>(shared.base) < shared.bytes;
  }
  std::string describe(uintptr_t address) const;
  void copyAsync(Site &site, uintptr_t destination, uintptr_t source,
                 uint32_t sourceBytes);
  void commitGroup();
  void waitGroup(uint32_t left);
  void startBlockMemory();

  // Race.cpp
  void note(const Region &region, size_t offset, size_t bytes, AccessKind kind,
            Thread &thread, const Site &site);

  // Findings.cpp
  void find(FindingKind kind, const Site *site, const Thread *thread,
            std::string what);
  std::map<std::tuple<FindingKind, const Site *, const Site *>, size_t> found;
  void find(FindingKind kind, const Site *site, const Thread *thread,
            std::string what, const Site *other);

private:
  Thread *next();
  void switchFrom(Thread &thread);
  void checkWholeWarps(uint32_t id, std::span<Thread *const> waiting);
  void completeBarrier(Barrier &barrier, uint32_t id);
  void completeGroup(Warp &warp, size_t index);
  void join(std::span<Thread *> threads);
  Region *resolve(Site &site, uintptr_t address, size_t bytes);
  bool ordered(const Region &region, uint32_t when, uint32_t clock,
               uint16_t thread, const Thread &now) const;
  void noteCell(const Region &region, Cell &cell, AccessKind kind,
                Thread &thread, const Site &site, size_t offset);
  void land(Thread &thread, size_t count);
  Warp *running = nullptr;
  /// Where accesses go that are not done.
  std::vector<std::byte> sink = std::vector<std::byte>(64);
};

std::string toString(Dim3 place);

} // namespace convjit::emulator

#endif // CONVJIT_TEST_EMULATOR_MACHINE_H
