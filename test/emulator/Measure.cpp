//===- Measure.cpp - bank conflicts, sectors, counts -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Measure.h"

#include <algorithm>
#include <bit>

using namespace convjit;
using namespace convjit::emulator;

RequestCost emulator::sharedCost(std::span<const uintptr_t, 32> addresses,
                                 uint32_t mask, uint32_t bytes) {
  RequestCost result;
  int lanesAtOnce = bytes <= 4 ? 32 : bytes <= 8 ? 16 : 8;
  for (int first = 0; first < 32; first += lanesAtOnce) {
    uintptr_t words[32 * 2];
    size_t count = 0;
    for (int lane = first; lane < first + lanesAtOnce; ++lane)
      if (mask >> lane & 1)
        for (uintptr_t word = addresses[lane] / 4;
             word <= (addresses[lane] + bytes - 1) / 4; ++word)
          if (count < std::size(words))
            words[count++] = word;
    if (count == 0)
      continue;
    std::sort(words, words + count);
    count = std::unique(words, words + count) - words;
    uint64_t perBank[32] = {};
    for (size_t i = 0; i < count; ++i)
      ++perBank[words[i] % 32];
    result.cost += *std::max_element(perBank, perBank + 32);
    result.ideal += (count + 31) / 32;
  }
  return result;
}

RequestCost emulator::globalCost(std::span<const uintptr_t, 32> addresses,
                                 uint32_t mask, uint32_t bytes) {
  std::vector<uintptr_t> sectors, starts;
  for (int lane = 0; lane < 32; ++lane)
    if (mask >> lane & 1) {
      starts.push_back(addresses[lane]);
      for (uintptr_t sector = addresses[lane] / 32;
           sector <= (addresses[lane] + bytes - 1) / 32; ++sector)
        sectors.push_back(sector);
    }
  auto distinct = [](std::vector<uintptr_t> &values) -> uint64_t {
    std::sort(values.begin(), values.end());
    return std::unique(values.begin(), values.end()) - values.begin();
  };
  return {distinct(sectors), (distinct(starts) * bytes + 31) / 32};
}

Measurement::Measurement(const Machine &machine)
    : machine(machine), counts(machine.sites.size()),
      queues(machine.sites.size() * 2 * machine.warps.size()) {
  for (size_t i = 0; i < counts.size(); ++i) {
    const Site &site = machine.sites[i];
    counts[i].kind = site.kind;
    counts[i].function = site.function;
    counts[i].instruction = site.instruction;
    counts[i].place = site.place;
    counts[i].loopDepth = site.loopDepth;
  }
}

void Measurement::event(const Site &site, const Thread &) {
  ++counts[&site - machine.sites.data()].threads;
}

void Measurement::access(const Site &site, const Thread &thread,
                         uintptr_t address, size_t bytes, bool shared) {
  size_t index = &site - machine.sites.data();
  Profile &profile = counts[index];
  // A cp.async counts once, by its destination, and a matrix with its event.
  if (site.operation != Operation::LdMatrix &&
      site.operation != Operation::StMatrix &&
      (site.operation != Operation::CopyAsync || shared))
    ++profile.threads;
  if (site.operation != Operation::CopyAsync || shared)
    profile.bytes += bytes;
  size_t number =
      (index * 2 + shared) * machine.warps.size() + thread.warp->index;
  Queue &queue = queues[number];
  if (queue.requests.empty())
    used.push_back(number);
  uint32_t k = queue.taken[thread.lane]++;
  if (k >= queue.requests.size())
    queue.requests.resize(k + 1);
  Request &request = queue.requests[k];
  request.mask |= uint32_t(1) << thread.lane;
  request.addresses[thread.lane] = address;
}

void Measurement::count(size_t index, const Request &request, bool shared) {
  const Site &site = machine.sites[index];
  Profile &profile = counts[index];
  bool matrix = site.operation == Operation::LdMatrix ||
                site.operation == Operation::StMatrix;
  uint32_t bytes = matrix ? 16 : site.bytes;
  uint32_t piece = site.piece && site.piece < bytes ? site.piece : bytes;
  for (uint32_t done = 0; done < bytes; done += piece) {
    Request part = request;
    for (uintptr_t &address : part.addresses)
      address += done;
    if (site.operation != Operation::CopyAsync || shared)
      ++profile.requests;
    if (shared) {
      RequestCost cost = sharedCost(part.addresses, part.mask, piece);
      profile.wavefronts += cost.cost;
      profile.idealWavefronts += cost.ideal;
    } else {
      RequestCost cost = globalCost(part.addresses, part.mask, piece);
      profile.sectors += cost.cost;
      profile.idealSectors += cost.ideal;
    }
  }
}

void Measurement::flush(size_t number) {
  Queue &queue = queues[number];
  size_t key = number / machine.warps.size();
  for (const Request &request : queue.requests)
    count(key / 2, request, key % 2);
  queue.requests.clear();
  std::fill(std::begin(queue.taken), std::end(queue.taken), 0);
}

void Measurement::flush() {
  for (size_t number : used)
    flush(number);
  used.clear();
}

void Measurement::flush(const Warp &warp) {
  std::erase_if(used, [&](size_t number) {
    if (number % machine.warps.size() != warp.index)
      return false;
    flush(number);
    return true;
  });
}

std::vector<Profile> Measurement::profiles() {
  flush();
  for (size_t i = 0; i < counts.size(); ++i) {
    Profile &profile = counts[i];
    if (profile.requests == 0)
      profile.requests = (profile.threads + 31) / 32;
  }
  std::vector<Profile> result = std::move(counts);
  std::erase_if(result, [](const Profile &p) { return p.threads == 0; });
  return result;
}
