//===- Measure.h - bank conflicts, sectors, counts -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// A GPU executes a load once for all lanes of a warp; here each lane comes at
// its own time. What lanes of a warp do at the same instruction for the k-th
// time since they last synchronized is taken to be one request.
//
//===----------------------------------------------------------------------===//

#ifndef CONVJIT_TEST_EMULATOR_MEASURE_H
#define CONVJIT_TEST_EMULATOR_MEASURE_H

#include "Machine.h"

#include <span>

namespace convjit::emulator {

/// What one request to shared or global memory costs.
struct RequestCost {
  uint64_t cost = 0, ideal = 0;
};

/// Wavefronts: passes through 32 banks of 4 bytes. Accesses of 8 bytes are
/// served by half warps, of 16 by quarters; lanes at one word share it.
/// `addresses` has one entry for each lane in `mask`, at its lane's index.
RequestCost sharedCost(std::span<const uintptr_t, 32> addresses, uint32_t mask,
                       uint32_t bytes);

/// 32-byte sectors.
RequestCost globalCost(std::span<const uintptr_t, 32> addresses, uint32_t mask,
                       uint32_t bytes);

class Measurement {
public:
  explicit Measurement(const Machine &machine);
  /// Something that is no access.
  void event(const Site &site, const Thread &thread);
  void access(const Site &site, const Thread &thread, uintptr_t address,
              size_t bytes, bool shared);
  /// Counts requests that are not complete as they are: of all warps, or of
  /// one.
  void flush();
  void flush(const Warp &warp);
  std::vector<Profile> profiles();

private:
  struct Request {
    uint32_t mask = 0;
    uintptr_t addresses[32];
  };
  /// Of one warp at one site: how many requests each lane has taken part in
  /// since the last flush.
  struct Queue {
    uint32_t taken[32] = {};
    std::vector<Request> requests;
  };
  void count(size_t site, const Request &request, bool shared);
  void flush(size_t queue);

  const Machine &machine;
  std::vector<Profile> counts;
  // Of each site, of global and of shared memory, of each warp.
  std::vector<Queue> queues;
  std::vector<size_t> used;
};

} // namespace convjit::emulator

#endif // CONVJIT_TEST_EMULATOR_MEASURE_H
