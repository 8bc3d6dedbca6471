//===- Warp.cpp - operations of 32 lanes together -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Semantics as the PTX ISA gives them for each instruction. Operands arrive as
// an array of 32-bit words in the order of the intrinsic's arguments, the mask
// first where there is one; pointers take two words.
//
//===----------------------------------------------------------------------===//

#include "Machine.h"
#include "Measure.h"

#include <algorithm>
#include <bit>
#include <cstring>

using namespace convjit;
using namespace convjit::emulator;

namespace {

struct Lanes {
  Thread *threads;
  uint32_t present;
  const uint32_t *in(int lane) const {
    return static_cast<const uint32_t *>(threads[lane].operands);
  }
  uint32_t *out(int lane) const {
    return static_cast<uint32_t *>(threads[lane].results);
  }
  bool has(int lane) const { return present >> lane & 1; }
  template <typename Function> void each(Function function) const {
    for (int lane = 0; lane < 32; ++lane)
      if (has(lane))
        function(lane);
  }
};

} // namespace

static void shuffle(Machine &machine, const Site &site, const Lanes &lanes) {
  lanes.each([&](int lane) {
    const uint32_t *in = lanes.in(lane);
    int b = static_cast<int>(in[2] & 31);
    auto clamp = static_cast<int>(in[3] & 31);
    auto segment = static_cast<int>(in[3] >> 8 & 31);
    int maxLane = (lane & segment) | (clamp & ~segment);
    int minLane = lane & segment;
    int from = lane;
    bool valid = false;
    switch (static_cast<ShuffleMode>(site.mode)) {
    case ShuffleMode::Up:
      from = lane - b;
      valid = from >= maxLane;
      break;
    case ShuffleMode::Down:
      from = lane + b;
      valid = from <= maxLane;
      break;
    case ShuffleMode::Bfly:
      from = lane ^ b;
      valid = from <= maxLane;
      break;
    case ShuffleMode::Idx:
      from = minLane | (b & ~segment);
      valid = from <= maxLane;
      break;
    }
    if (!valid)
      from = lane;
    uint32_t value = 0xffffffff;
    if (lanes.has(from))
      value = lanes.in(from)[1];
    else
      machine.find(FindingKind::DivergentWarp, &site, &lanes.threads[lane],
                   "it takes the value of lane " + std::to_string(from) +
                       ", which does not take part");
    lanes.out(lane)[0] = value;
    lanes.out(lane)[1] = valid;
  });
}

static void vote(const Site &site, const Lanes &lanes) {
  uint32_t ballot = 0;
  lanes.each(
      [&](int lane) { ballot |= uint32_t(lanes.in(lane)[1] & 1) << lane; });
  uint32_t result = ballot;
  switch (static_cast<VoteMode>(site.mode)) {
  case VoteMode::All:
    result = ballot == lanes.present;
    break;
  case VoteMode::Any:
    result = ballot != 0;
    break;
  case VoteMode::Uniform:
    result = ballot == 0 || ballot == lanes.present;
    break;
  case VoteMode::Ballot:
    break;
  }
  lanes.each([&](int lane) { lanes.out(lane)[0] = result; });
}

/// match.any (mode 0) and match.all (mode 1).
static void match(const Site &site, const Lanes &lanes) {
  lanes.each([&](int lane) {
    uint32_t same = 0;
    lanes.each([&](int other) {
      if (!memcmp(lanes.in(lane) + 1, lanes.in(other) + 1, site.bytes))
        same |= uint32_t(1) << other;
    });
    bool all = same == lanes.present;
    lanes.out(lane)[0] = site.mode == 0 || all ? same : 0;
    lanes.out(lane)[1] = all;
  });
}

static void reduce(const Site &site, const Lanes &lanes) {
  uint32_t value = lanes.in(std::countr_zero(lanes.present))[1];
  bool first = true;
  lanes.each([&](int lane) {
    if (std::exchange(first, false))
      return;
    uint32_t next = lanes.in(lane)[1];
    auto a = static_cast<int32_t>(value), b = static_cast<int32_t>(next);
    switch (static_cast<ReduceMode>(site.mode)) {
    case ReduceMode::Add:
      value += next;
      break;
    case ReduceMode::And:
      value &= next;
      break;
    case ReduceMode::Or:
      value |= next;
      break;
    case ReduceMode::Xor:
      value ^= next;
      break;
    case ReduceMode::Min:
      value = static_cast<uint32_t>(std::min(a, b));
      break;
    case ReduceMode::Max:
      value = static_cast<uint32_t>(std::max(a, b));
      break;
    case ReduceMode::UMin:
      value = std::min(value, next);
      break;
    case ReduceMode::UMax:
      value = std::max(value, next);
      break;
    }
  });
  lanes.each([&](int lane) { lanes.out(lane)[0] = value; });
}

/// Rows of 8 x 8 matrices of 16-bit elements. Lane 8 * j + r points to row r of
/// matrix j; lane l holds elements 2 * (l % 4) and the next of row l / 4, or of
/// that column if transposed. `mode` is the number of matrices.
static void matrices(Machine &machine, Site &site, const Lanes &lanes) {
  bool store = site.operation == Operation::StMatrix;
  auto pointerOf = [&](int lane) {
    uintptr_t pointer;
    memcpy(&pointer, lanes.in(lane), sizeof pointer);
    return pointer;
  };
  for (int j = 0; j < site.mode; ++j) {
    uint16_t elements[8][8];
    std::byte *rows[8] = {};
    for (int row = 0; row < 8; ++row) {
      int lane = 8 * j + row;
      if (!lanes.has(lane)) { // reported already
        memset(elements[row], 0xff, sizeof elements[row]);
        continue;
      }
      uintptr_t address = pointerOf(lane);
      if (!machine.isShared(address)) {
        machine.find(
            FindingKind::OutOfBounds, &site, &lanes.threads[lane],
            "row " + std::to_string(row) + " of matrix " + std::to_string(j) +
                " is not in shared memory: " + machine.describe(address));
        memset(elements[row], 0xff, sizeof elements[row]);
        continue;
      }
      rows[row] =
          machine.access(site, lanes.threads[lane], address, 16,
                         store ? AccessKind::Write : AccessKind::Read, 16);
      if (machine.measurement)
        machine.measurement->access(site, lanes.threads[lane], address, 16,
                                    true);
      memcpy(elements[row], rows[row], 16);
    }
    for (int lane = 0; lane < 32; ++lane) {
      if (!lanes.has(lane))
        continue;
      for (int half = 0; half < 2; ++half) {
        int a = lane / 4, b = 2 * (lane % 4) + half;
        uint16_t &element = site.flag ? elements[b][a] : elements[a][b];
        auto *word = store ? const_cast<uint32_t *>(lanes.in(lane) + 2 + j)
                           : lanes.out(lane) + j;
        auto *part = reinterpret_cast<std::byte *>(word) + size_t(2) * half;
        if (store)
          memcpy(&element, part, 2);
        else
          memcpy(part, &element, 2);
      }
    }
    for (int row = 0; store && row < 8; ++row)
      if (rows[row])
        memcpy(rows[row], elements[row], 16);
  }
}

static void mma(const Site &site, const Lanes &lanes) {
  const void *operands[32];
  void *results[32];
  // Lanes that do not exist were reported: zeros for them.
  alignas(8) static const uint64_t zeros[32] = {};
  alignas(8) uint64_t nowhere[16];
  for (int lane = 0; lane < 32; ++lane) {
    bool has = lanes.has(lane);
    operands[lane] = has ? lanes.in(lane) : static_cast<const void *>(zeros);
    results[lane] = has ? lanes.out(lane) : static_cast<void *>(nowhere);
  }
  multiply(site.mma, operands, results);
}

void Machine::execute(const WarpGroup &group, Warp &warp) {
  Lanes lanes{&threads[warp.index * 32], group.arrived};
  auto &site = const_cast<Site &>(*group.site);
  switch (site.operation) {
  case Operation::Shuffle:
    return shuffle(*this, site, lanes);
  case Operation::Vote:
    return vote(site, lanes);
  case Operation::Match:
    return match(site, lanes);
  case Operation::Reduce:
    return reduce(site, lanes);
  case Operation::LdMatrix:
  case Operation::StMatrix:
    return matrices(*this, site, lanes);
  case Operation::Mma:
    return mma(site, lanes);
  case Operation::WarpSync: {
    std::vector<Thread *> joined;
    lanes.each([&](int lane) { joined.push_back(&lanes.threads[lane]); });
    join(joined);
    if (measurement)
      measurement->flush(warp);
    return;
  }
  default:
    return;
  }
}
