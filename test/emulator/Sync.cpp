//===- Sync.cpp - threads that wait for each other -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Machine.h"
#include "Measure.h"

#include <algorithm>
#include <bit>

using namespace convjit;
using namespace convjit::emulator;

//===----------------------------------------------------------------------===//
// Barriers
//===----------------------------------------------------------------------===//

uint32_t Machine::barrier(Site &site, uint32_t id, uint32_t count, bool vote) {
  Thread &thread = *current;
  if (measurement)
    measurement->event(site, thread);
  if (id >= 16) {
    find(FindingKind::BadOperand, &site, &thread,
         "barrier " + std::to_string(id) + "; a block has 0 to 15");
    id %= 16;
  }
  if (count % 32 || count > warps.size() * 32) {
    find(FindingKind::BadOperand, &site, &thread,
         "a barrier for " + std::to_string(count) +
             " threads; valid: a multiple of 32, no more than the block has");
    count = 0;
  }
  Barrier &barrier = barriers[id];
  count = std::min(count, static_cast<uint32_t>(threads.size()));
  if (barrier.arrived == 0) {
    barrier.site = &site;
    barrier.expected = count;
  }
  barrier.mixed |= barrier.site != &site && site.aligned && count == 0;
  if (barrier.expected != count)
    find(FindingKind::DivergentBarrier, &site, &thread,
         "barrier " + std::to_string(id) +
             " with another count of threads than those that wait at it");
  ++barrier.arrived;
  ++barrier.waiting;
  barrier.votes += vote;
  thread.barrier = id;
  if (barrier.expected) {
    partialBarriers = true;
    size_t n = threads.size();
    barrier.known.resize(n);
    for (size_t i = 0; i < n; ++i)
      barrier.known[i] = std::max(barrier.known[i], known[thread.id * n + i]);
    barrier.known[thread.id] = thread.clock++;
  }
  thread.waiting = &site;
  uint32_t votes = 0;
  thread.results = &votes;
  checkBarrier(id);
  if (thread.waiting)
    waitFor(thread, site);
  return votes;
}

void Machine::barrierArrive(Site &site, uint32_t id, uint32_t count) {
  Thread &thread = *current;
  if (id >= 16 || count == 0 || count % 32 || count > warps.size() * 32)
    return find(FindingKind::BadOperand, &site, &thread,
                "barrier.arrive on barrier " + std::to_string(id) + " for " +
                    std::to_string(count) + " threads");
  count = std::min(count, static_cast<uint32_t>(threads.size()));
  Barrier &barrier = barriers[id];
  if (barrier.arrived == 0) {
    barrier.site = &site;
    barrier.expected = count;
  }
  ++barrier.arrived;
  partialBarriers = true;
  size_t n = threads.size();
  barrier.known.resize(n);
  for (size_t i = 0; i < n; ++i)
    barrier.known[i] = std::max(barrier.known[i], known[thread.id * n + i]);
  barrier.known[thread.id] = thread.clock++;
  checkBarrier(id);
}

/// Completes the barrier if everybody has come.
void Machine::checkBarrier(uint32_t id) {
  Barrier &barrier = barriers[id];
  if (barrier.arrived != 0 &&
      barrier.arrived >= (barrier.expected ? barrier.expected : liveThreads))
    completeBarrier(barrier, id);
}

void Machine::checkBarriers() {
  for (uint32_t id = 0; id < 16; ++id)
    checkBarrier(id);
}

/// An aligned barrier is for whole warps: hardware counts 32 threads for each
/// warp that arrives, however many of its lanes do.
void Machine::checkWholeWarps(uint32_t id, std::span<Thread *const> waiting) {
  const Warp *checked = nullptr;
  for (const Thread *thread : waiting) { // in order of warps
    if (!thread->waiting->aligned || thread->warp == checked)
      continue;
    checked = thread->warp;
    const Thread *lanes = &threads[thread->warp->index * 32];
    for (uint32_t left = thread->warp->live; left; left &= left - 1) {
      const Thread &other = lanes[std::countr_zero(left)];
      if (other.waiting == thread->waiting && other.barrier == id)
        continue;
      find(FindingKind::DivergentBarrier, thread->waiting, &other,
           "lanes of one warp do not all wait at this barrier, " +
               std::to_string(id) + ", among them this one");
      return;
    }
  }
}

void Machine::completeBarrier(Barrier &barrier, uint32_t id) {
  std::vector<Thread *> waiting;
  for (Thread &thread : threads)
    if (!thread.done && thread.waiting && thread.barrier == id &&
        thread.waiting->operation == Operation::Barrier)
      waiting.push_back(&thread);
  if (barrier.expected == 0 && liveThreads < threads.size()) {
    const Thread *gone = nullptr;
    for (const Thread &thread : threads)
      if (thread.done)
        gone = &thread;
    find(FindingKind::DivergentBarrier, barrier.site, gone,
         std::to_string(threads.size() - liveThreads) + " of " +
             std::to_string(threads.size()) +
             " threads ended without reaching barrier " + std::to_string(id) +
             ", among them this one");
  }
  const Thread *other = nullptr;
  for (const Thread *thread : waiting)
    if (thread->waiting != barrier.site)
      other = thread;
  if (barrier.mixed)
    find(FindingKind::DivergentBarrier, barrier.site, other,
         "threads of the block wait at different barrier instructions: " +
             barrier.site->instruction + " and" +
             (other ? other->waiting->instruction : ""));
  else
    checkWholeWarps(id, waiting);
  if (barrier.expected == 0 || waiting.size() == threads.size()) {
    ++epoch;
  } else {
    size_t n = threads.size();
    for (Thread *thread : waiting)
      for (size_t i = 0; i < n; ++i)
        known[thread->id * n + i] =
            std::max(known[thread->id * n + i], barrier.known[i]);
  }
  if (measurement)
    measurement->flush();
  for (Thread *thread : waiting) {
    *static_cast<uint32_t *>(thread->results) = barrier.votes;
    wake(*thread);
  }
  barrier = {};
}

//===----------------------------------------------------------------------===//
// Warps
//===----------------------------------------------------------------------===//

/// The lanes that take part: an operand, but for aligned instructions.
static uint32_t maskOf(const Site &site, const void *operands) {
  return site.aligned ? ~uint32_t(0)
                      : static_cast<const uint32_t *>(operands)[0];
}

/// Whether two instructions of a warp can complete together.
static bool matches(const Site &a, const Site &b) {
  return &a == &b || (!a.aligned && !b.aligned && a.operation == b.operation &&
                      a.mode == b.mode && a.bytes == b.bytes);
}

void Machine::warpOperation(Site &site, const void *operands, void *results) {
  Thread &thread = *current;
  Warp &warp = *thread.warp;
  if (measurement)
    measurement->event(site, thread);
  uint32_t mask = maskOf(site, operands);
  uint32_t bit = uint32_t(1) << thread.lane;
  if (!(mask & bit)) {
    find(FindingKind::BadOperand, &site, &thread,
         "the mask of lanes leaves out the lane that executes it");
    mask |= bit;
  }
  thread.operands = operands;
  thread.results = results;
  thread.waiting = &site;
  auto group = std::find_if(warp.groups.begin(), warp.groups.end(),
                            [&](const WarpGroup &g) {
                              return g.mask == mask && matches(*g.site, site);
                            });
  if (group == warp.groups.end())
    group = warp.groups.insert(group, {&site, mask, 0});
  group->arrived |= bit;
  if (group->arrived == (mask & warp.live))
    completeGroup(warp, group - warp.groups.begin());
  if (thread.waiting)
    waitFor(thread, site);
}

void Machine::checkGroups(Warp &warp) {
  for (size_t i = 0; i < warp.groups.size();)
    if (warp.groups[i].arrived == (warp.groups[i].mask & warp.live))
      completeGroup(warp, i);
    else
      ++i;
}

void Machine::completeGroup(Warp &warp, size_t index) {
  WarpGroup group = warp.groups[index];
  warp.groups.erase(warp.groups.begin() + static_cast<ptrdiff_t>(index));
  uint32_t missing = group.mask & ~warp.live;
  Thread *lanes = &threads[warp.index * 32];
  if (missing && group.site->aligned)
    for (int lane = 0; lane < 32; ++lane)
      if (group.arrived >> lane & 1) {
        char text[160];
        snprintf(text, sizeof text,
                 "lanes 0x%08x of the warp have ended or do not exist, and all "
                 "32 have to execute this together",
                 missing);
        find(FindingKind::DivergentWarp, group.site, &lanes[lane], text);
        break;
      }
  execute(group, warp);
  for (int lane = 0; lane < 32; ++lane)
    if (group.arrived >> lane & 1)
      wake(lanes[lane]);
}

/// bar.warp.sync: what each did before is ordered before what the others do.
void Machine::join(std::span<Thread *> joined) {
  size_t n = threads.size();
  // Without barriers of a part of the block, only the warp's own entries differ
  // from zero.
  size_t first = 0, last = n;
  if (!partialBarriers) {
    first = joined[0]->warp->index * size_t(32);
    last = std::min(n, first + 32);
  }
  std::vector<uint32_t> all(last - first);
  for (const Thread *thread : joined)
    for (size_t i = first; i < last; ++i)
      all[i - first] = std::max(all[i - first], known[thread->id * n + i]);
  uint32_t clock = 0;
  for (Thread *thread : joined) {
    all[thread->id - first] = thread->clock;
    clock = std::max(clock, thread->clock);
  }
  for (Thread *thread : joined) {
    std::copy(all.begin(), all.end(), &known[thread->id * n + first]);
    thread->clock = clock + 1;
  }
}

//===----------------------------------------------------------------------===//
// Threads that nobody will wake
//===----------------------------------------------------------------------===//

void Machine::explainStuck() {
  bool explained = false;
  char text[200];
  for (Warp &warp : warps)
    for (const WarpGroup &group : warp.groups) {
      const Thread *lanes = &threads[warp.index * 32];
      uint32_t missing = group.mask & ~group.arrived;
      const Thread *other = nullptr;
      for (int lane = 0; lane < 32; ++lane)
        if ((missing & warp.live) >> lane & 1)
          other = &lanes[lane];
      snprintf(text, sizeof text,
               "lanes 0x%08x wait here for lanes 0x%08x, which never come",
               group.arrived, missing);
      std::string what = text;
      if (other && other->waiting)
        what += "; one of them waits at" + other->waiting->instruction;
      find(FindingKind::DivergentWarp, group.site, other, what);
      explained = true;
    }
  for (uint32_t id = 0; id < 16; ++id) {
    const Barrier &barrier = barriers[id];
    if (!barrier.arrived || explained)
      continue;
    const Thread *other = nullptr;
    for (const Thread &thread : threads)
      if (!thread.done && (!thread.waiting || thread.barrier != id))
        other = &thread;
    std::string what =
        std::to_string(barrier.arrived) + " threads wait at barrier " +
        std::to_string(id) + " for " +
        std::to_string(barrier.expected ? barrier.expected : liveThreads) +
        ", and the others never come";
    if (other && other->waiting)
      what += "; one of them waits at" + other->waiting->instruction;
    find(FindingKind::DivergentBarrier, barrier.site, other, what);
  }
}

uint32_t Machine::reg(Register which) const {
  const Thread &thread = *current;
  uint32_t bit = uint32_t(1) << thread.lane;
  switch (which) {
  case Register::TidX:
    return thread.place.x;
  case Register::TidY:
    return thread.place.y;
  case Register::TidZ:
    return thread.place.z;
  case Register::NtidX:
    return launch->block.x;
  case Register::NtidY:
    return launch->block.y;
  case Register::NtidZ:
    return launch->block.z;
  case Register::CtaidX:
    return block.x;
  case Register::CtaidY:
    return block.y;
  case Register::CtaidZ:
    return block.z;
  case Register::NctaidX:
    return launch->grid.x;
  case Register::NctaidY:
    return launch->grid.y;
  case Register::NctaidZ:
    return launch->grid.z;
  case Register::LaneId:
    return thread.lane;
  case Register::WarpId:
    return thread.warp->index;
  case Register::NwarpId:
    return static_cast<uint32_t>(warps.size());
  case Register::WarpSize:
    return 32;
  case Register::LaneMaskEq:
    return bit;
  case Register::LaneMaskLe:
    return bit | (bit - 1);
  case Register::LaneMaskLt:
    return bit - 1;
  case Register::LaneMaskGe:
    return ~(bit - 1);
  case Register::LaneMaskGt:
    return ~(bit | (bit - 1));
  case Register::SmId:
    return 0;
  case Register::NsmId:
    return 1;
  case Register::GridId:
    return 0;
  case Register::Clock:
    return static_cast<uint32_t>(accesses);
  case Register::DynamicSmemSize:
    return static_cast<uint32_t>(launch->dynamicSharedBytes);
  case Register::TotalSmemSize:
    return static_cast<uint32_t>(staticSharedBytes +
                                 launch->dynamicSharedBytes);
  }
  return 0;
}
