//===- Memory.cpp - checked accesses -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Machine.h"
#include "Measure.h"

#include <algorithm>
#include <cstring>

using namespace convjit;
using namespace convjit::emulator;

static uintptr_t addressOf(const void *pointer) {
  return reinterpret_cast<uintptr_t>(pointer);
}

/// `12 bytes past the end of`, of something that starts at `base`.
static std::string relation(uintptr_t address, uintptr_t base, size_t bytes) {
  if (address < base)
    return std::to_string(base - address) + " bytes before";
  if (address >= base + bytes)
    return std::to_string(address - base - bytes) + " bytes past the end of";
  return "byte " + std::to_string(address - base) + " of";
}

/// Says where an address is, by the nearest variable or buffer.
std::string Machine::describe(uintptr_t address) const {
  std::string nearest = "nowhere near a buffer";
  uintptr_t best = uintptr_t(1) << 40;
  auto offer = [&](const std::string &name, uintptr_t base, size_t bytes) {
    uintptr_t distance = address < base            ? base - address
                         : address >= base + bytes ? address - base - bytes + 1
                                                   : 0;
    if (distance < best) {
      best = distance;
      nearest = relation(address, base, bytes) + " " + name + " (" +
                std::to_string(bytes) + " bytes)";
    }
  };
  if (isShared(address)) {
    for (const SharedVariable &variable : variables)
      offer("shared " + variable.name, addressOf(shared.base) + variable.offset,
            variable.dynamic ? launch->dynamicSharedBytes : variable.bytes);
    return variables.empty() ? "shared memory without variables" : nearest;
  }
  for (const Region &region : buffers)
    offer(region.name, addressOf(region.base), region.bytes);
  for (const Region &region : globals)
    offer(region.name, addressOf(region.base), region.bytes);
  return nearest;
}

Region *Machine::resolve(Site &site, uintptr_t address, size_t bytes) {
  if (isShared(address))
    return &shared;
  Region *last = site.lastRegion;
  if (last && last->contains(address, bytes))
    return last;
  for (std::vector<Region> *regions : {&buffers, &globals})
    for (Region &region : *regions)
      if (region.contains(address, bytes))
        return site.lastRegion = &region;
  return nullptr;
}

/// Whether all bytes have been written; most accesses need no more.
static bool allWritten(const uint8_t *states, size_t bytes) {
  constexpr uint64_t written = 0x0202020202020202;
  static_assert(uint8_t(written) == Written);
  uint64_t low = 0, high = 0;
  switch (bytes) {
  case 4:
    memcpy(&low, states, 4);
    return low == uint32_t(written);
  case 16:
    memcpy(&high, states + 8, 8);
    if (high != written)
      return false;
    [[fallthrough]];
  case 8:
    memcpy(&low, states, 8);
    return low == written;
  default:
    return std::all_of(states, states + bytes,
                       [](uint8_t state) { return state == Written; });
  }
}

std::byte *Machine::access(Site &site, uintptr_t address, size_t bytes,
                           AccessKind kind) {
  Thread &thread = *current;
  if (++accesses > launch->maxAccesses) {
    find(FindingKind::NoProgress, &site, &thread,
         "the launch has made " + std::to_string(launch->maxAccesses) +
             " accesses and is given up");
    abandon();
  }
  if (measurement)
    measurement->access(site, thread, address, bytes, isShared(address));
  return access(site, thread, address, bytes, kind, site.align);
}

std::byte *Machine::access(Site &site, Thread &thread, uintptr_t address,
                           size_t bytes, AccessKind kind, size_t align) {
  if (address & (align - 1))
    find(FindingKind::Misaligned, &site, &thread,
         std::to_string(bytes) +
             " bytes at an address that is no multiple of " +
             std::to_string(align) + ": " + describe(address));
  auto refuse = [&](FindingKind finding, std::string what) {
    find(finding, &site, &thread, std::move(what));
    sink.assign(std::max(sink.size(), bytes), std::byte(0xff));
    return sink.data();
  };
  Region *region = resolve(site, address, bytes);
  auto *pointer = reinterpret_cast<std::byte *>(address);
  if (!region) {
    // A thread's own stack is its local memory.
    uintptr_t stack = addressOf(stacks.bottom(thread.id));
    if (address - stack < Stacks::bytesEach)
      return pointer;
    return refuse(FindingKind::OutOfBounds,
                  std::to_string(bytes) + " bytes at " + describe(address));
  }
  bool write = kind != AccessKind::Read;
  size_t offset = address - addressOf(region->base);
  uint8_t *states = region->tracked ? region->states() + offset : nullptr;
  bool fits = bytes <= region->bytes - offset;
  bool written = region->tracked && fits && allWritten(states, bytes);
  if (region->shared) {
    bool inside = written || (fits && !memchr(states, Outside, bytes));
    if (inside && site.variable >= 0) {
      const SharedVariable &variable = variables[site.variable];
      size_t size =
          variable.dynamic ? launch->dynamicSharedBytes : variable.bytes;
      inside =
          offset >= variable.offset && offset + bytes <= variable.offset + size;
      if (!inside)
        return refuse(FindingKind::OutOfBounds,
                      std::to_string(bytes) + " bytes of shared " +
                          variable.name + " at " +
                          relation(address,
                                   addressOf(shared.base) + variable.offset,
                                   size) +
                          " it");
    }
    if (!inside)
      return refuse(FindingKind::OutOfBounds,
                    std::to_string(bytes) + " bytes at " + describe(address));
  } else if (site.argument >= 0 && bufferOfArgument[site.argument] >= 0) {
    Region &expected = buffers[bufferOfArgument[site.argument]];
    if (region != &expected)
      return refuse(
          FindingKind::OutOfBounds,
          std::to_string(bytes) + " bytes of " + expected.name + " at " +
              relation(address, addressOf(expected.base), expected.bytes) +
              " it");
  }
  if (write && !region->writable)
    return refuse(FindingKind::ReadOnly,
                  std::to_string(bytes) + " bytes at " + describe(address));
  if (!region->tracked)
    return pointer;
  if (!written) {
    if (memchr(states, Pending, bytes))
      find(
          FindingKind::AsyncPending, &site, &thread,
          std::string(write ? "it writes" : "it reads") +
              " memory that a cp.async is still to fill: " + describe(address));
    else if (kind != AccessKind::Write)
      find(FindingKind::Uninitialized, &site, &thread,
           std::to_string(bytes) +
               " bytes that nobody has written: " + describe(address));
    if (write)
      memset(states, Written, bytes);
  }
  note(*region, offset, bytes, kind, thread, site);
  return pointer;
}

//===----------------------------------------------------------------------===//
// cp.async
//===----------------------------------------------------------------------===//

void Machine::copyAsync(Site &site, uintptr_t destination, uintptr_t source,
                        uint32_t sourceBytes) {
  Thread &thread = *current;
  size_t bytes = site.bytes;
  if (sourceBytes > bytes) {
    find(FindingKind::BadOperand, &site, &thread,
         "a source of " + std::to_string(sourceBytes) + " bytes for " +
             std::to_string(bytes));
    sourceBytes = static_cast<uint32_t>(bytes);
  }
  AsyncCopy copy{nullptr, static_cast<uint8_t>(bytes), &site, {}};
  if (sourceBytes) {
    if (measurement)
      measurement->access(site, thread, source, bytes, false);
    if (isShared(source)) {
      find(FindingKind::OutOfBounds, &site, &thread,
           "the source is not in global memory: " + describe(source));
    } else {
      const std::byte *from =
          access(site, thread, source, sourceBytes, AccessKind::Read, bytes);
      memcpy(copy.data, from, sourceBytes);
    }
  }
  if (measurement)
    measurement->access(site, thread, destination, bytes, true);
  if (!isShared(destination))
    return find(FindingKind::OutOfBounds, &site, &thread,
                "the destination is not in shared memory: " +
                    describe(destination));
  copy.destination =
      access(site, thread, destination, bytes, AccessKind::Write, bytes);
  if (copy.destination == sink.data())
    return;
  // The bytes now are neither the old ones nor the new ones.
  size_t offset = destination - addressOf(shared.base);
  memset(shared.states() + offset, Pending, bytes);
  memset(copy.destination, 0xff, bytes);
  thread.copies.push_back(copy);
}

void Machine::commitGroup() {
  Thread &thread = *current;
  size_t grouped = 0;
  for (size_t copies : thread.groups)
    grouped += copies;
  thread.groups.push_back(thread.copies.size() - grouped);
}

/// Lands the oldest `count` copies.
void Machine::land(Thread &thread, size_t count) {
  for (size_t i = 0; i < count; ++i) {
    const AsyncCopy &copy = thread.copies[i];
    size_t offset = addressOf(copy.destination) - addressOf(shared.base);
    memcpy(copy.destination, copy.data, copy.bytes);
    memset(shared.states() + offset, Written, copy.bytes);
    note(shared, offset, copy.bytes, AccessKind::Write, thread, *copy.site);
  }
  thread.copies.erase(thread.copies.begin(),
                      thread.copies.begin() + static_cast<ptrdiff_t>(count));
}

/// cp.async.wait_group, or with ~0 wait_all, which waits for what is not
/// committed, too.
void Machine::waitGroup(uint32_t left) {
  Thread &thread = *current;
  if (left == ~uint32_t(0)) {
    thread.groups.clear();
    return land(thread, thread.copies.size());
  }
  if (thread.groups.size() <= left)
    return;
  size_t done = thread.groups.size() - left, count = 0;
  for (size_t i = 0; i < done; ++i)
    count += thread.groups[i];
  thread.groups.erase(thread.groups.begin(),
                      thread.groups.begin() + static_cast<ptrdiff_t>(done));
  land(thread, count);
}

void Machine::startBlockMemory() {
  if (variables.empty())
    return;
  // All bits one: NaN in each type, and far out of bounds as an index.
  for (const SharedVariable &variable : variables) {
    size_t bytes =
        variable.dynamic ? launch->dynamicSharedBytes : variable.bytes;
    memset(shared.base + variable.offset, 0xff, bytes);
    memset(shared.states() + variable.offset, Unwritten, bytes);
  }
}
