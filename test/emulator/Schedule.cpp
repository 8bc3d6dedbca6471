//===- Schedule.cpp - which thread runs -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The lanes of one warp run in turn, in an order of the block's own, until all
// of them wait for other warps; then another warp does. A thread that waits
// switches straight to the next one: one switch for each lane of each warp-wide
// operation.
//
//===----------------------------------------------------------------------===//

#include "Machine.h"

#include <algorithm>
#include <bit>
#include <numeric>

using namespace convjit;
using namespace convjit::emulator;

static void runThread(void *argument) {
  enteredFiber();
  auto &thread = *static_cast<Thread *>(argument);
  Machine &machine = *thread.machine;
  machine.entry(machine.slots);
  machine.finishThread(thread);
}

Status Machine::prepareThreads() {
  size_t count = launch->block.count();
  if (Status status = stacks.reserve(count); !status)
    return status;
  threads.resize(count);
  warps.resize((count + 31) / 32);
  if (known.size() != count * count) // else: of earlier blocks, and harmless
    known.assign(count * count, 0);
  for (size_t i = 0; i < warps.size(); ++i) {
    warps[i].index = static_cast<uint16_t>(i);
    size_t lanes = std::min<size_t>(32, count - i * 32);
    warps[i].exists = lanes == 32 ? ~uint32_t(0) : (uint32_t(1) << lanes) - 1;
  }
  Dim3 size = launch->block;
  for (size_t i = 0; i < count; ++i) {
    Thread &thread = threads[i];
    thread.machine = this;
    thread.id = static_cast<uint16_t>(i);
    thread.lane = i % 32;
    thread.warp = &warps[i / 32];
    thread.place = {static_cast<uint32_t>(i % size.x),
                    static_cast<uint32_t>(i / size.x % size.y),
                    static_cast<uint32_t>(i / size.x / size.y)};
  }
  return {};
}

void Machine::runBlock(Dim3 index) {
  block = index;
  blockEpoch = ++epoch;
  if (partialBarriers)
    std::fill(known.begin(), known.end(), 0);
  partialBarriers = false;
  for (Barrier &barrier : barriers)
    barrier = {};
  startBlockMemory();
  liveThreads = static_cast<uint32_t>(threads.size());
  for (Warp &warp : warps) {
    warp.live = warp.exists;
    warp.groups.clear();
    std::iota(std::begin(warp.order), std::end(warp.order), 0);
    if (launch->seed)
      for (int i = 31; i > 0; --i)
        std::swap(warp.order[i], warp.order[random.below(i + 1)]);
    warp.ready = 0;
    for (int i = 0; i < 32; ++i) {
      warp.positionOf[warp.order[i]] = static_cast<uint8_t>(i);
      if (warp.exists >> warp.order[i] & 1)
        warp.ready |= uint32_t(1) << i;
    }
  }
  for (Thread &thread : threads) {
    thread.done = false;
    thread.clock += 2; // what `known` holds of earlier blocks is before it
    thread.waiting = nullptr;
    thread.copies.clear();
    thread.groups.clear();
    // Stacks one page multiple apart would share sets of the cache.
    size_t colour = thread.id % 16 * 192;
    thread.fiber.start(stacks.bottom(thread.id), Stacks::bytesEach - colour,
                       runThread, &thread);
  }
  running = nullptr;
  current = next();
  switchFiber(mainFiber, current->fiber);
  if (liveThreads && !stop) {
    explainStuck();
    stop = true;
  }
}

Thread *Machine::next() {
  if (!running || !running->ready) {
    running = nullptr;
    size_t count = warps.size();
    size_t first = launch->seed ? random.below(static_cast<int64_t>(count)) : 0;
    for (size_t i = 0; i < count && !running; ++i) {
      Warp &warp = warps[(first + i) % count];
      if (warp.ready)
        running = &warp;
    }
    if (!running)
      return nullptr;
  }
  int position = std::countr_zero(running->ready);
  return &threads[running->index * 32 + running->order[position]];
}

void Machine::switchFrom(Thread &thread) {
  current = next();
  if (current != &thread)
    switchFiber(thread.fiber, current ? current->fiber : mainFiber);
}

void Machine::waitFor(Thread &thread, const Site &site) {
  thread.waiting = &site;
  thread.warp->ready &= ~(uint32_t(1) << thread.warp->positionOf[thread.lane]);
  switchFrom(thread);
}

void Machine::wake(Thread &thread) {
  thread.waiting = nullptr;
  thread.warp->ready |= uint32_t(1) << thread.warp->positionOf[thread.lane];
}

void Machine::finishThread(Thread &thread) {
  thread.done = true;
  --liveThreads;
  Warp &warp = *thread.warp;
  warp.live &= ~(uint32_t(1) << thread.lane);
  warp.ready &= ~(uint32_t(1) << warp.positionOf[thread.lane]);
  checkGroups(warp);
  checkBarriers();
  switchFrom(thread);
  std::abort(); // nobody resumes it
}

void Machine::abandon() {
  stop = true;
  Thread &thread = *current;
  current = nullptr;
  switchFiber(thread.fiber, mainFiber);
  std::abort();
}
