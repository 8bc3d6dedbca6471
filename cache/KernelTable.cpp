//===- KernelTable.cpp - kernels in memory -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "KernelTable.h"

#include <bit>

using namespace convjit;

namespace {

/// Multiply and fold: two instructions a word.
struct Hasher {
  uint64_t state = 0x9e3779b97f4a7c15;
  void add(uint64_t word) {
    __extension__ using Wide = unsigned __int128;
    Wide product = Wide(state ^ word) * 0xd6e8feb86659fd93;
    state = uint64_t(product) ^ uint64_t(product >> 64) ^ 0xa0761d6478bd642f;
  }
  void add(const std::vector<int64_t> &values) {
    for (int64_t value : values)
      add(static_cast<uint64_t>(value));
  }
};

} // namespace

size_t convjit::hashOf(const Convolution &conv) {
  Hasher hash;
  for (const SpatialDim &dim : conv.dims) {
    for (int64_t value :
         {dim.input, dim.kernel, dim.windowStride, dim.inputDilation,
          dim.kernelDilation, dim.padLow, dim.padHigh * 2 + dim.reversed})
      hash.add(static_cast<uint64_t>(value));
  }
  const DimensionNumbers &n = conv.numbers;
  for (int64_t value :
       {conv.inChannels, conv.outChannels, conv.groups, conv.batchGroups})
    hash.add(static_cast<uint64_t>(value));
  // Axes are few and small.
  uint64_t axes = 0;
  for (int64_t axis : {n.inputBatch, n.inputFeature, n.kernelInputFeature,
                       n.kernelOutputFeature, n.outputBatch, n.outputFeature})
    axes = axes * 8 + static_cast<uint64_t>(axis);
  hash.add(axes);
  for (const auto *spatial :
       {&n.inputSpatial, &n.kernelSpatial, &n.outputSpatial})
    hash.add(*spatial);
  for (int64_t stride : conv.inputStrides)
    hash.add(static_cast<uint64_t>(stride));
  hash.add(static_cast<uint64_t>(conv.dtype) * 8 + conv.bias * 4 +
           conv.residual * 2 + conv.kernelFeaturesSwapped);
  hash.add(static_cast<uint64_t>(conv.activation.kind));
  if (conv.activation.kind == ActivationKind::LeakyRelu)
    hash.add(std::bit_cast<uint64_t>(conv.activation.slope + 0.0)); // -0 is 0
  // A mask may have millions of values; equality reads them all anyway.
  hash.add(conv.mask.size());
  size_t step = conv.mask.size() / 64 + 1;
  for (size_t i = 0; i < conv.mask.size(); i += step)
    hash.add(conv.mask[i] != 0);
  return hash.state;
}

SharedKernel KernelTable::use(Entry &entry) {
  // Without a limit nobody asks for the order, and a line that all threads
  // write would be what they wait for.
  if (capacity)
    entry.lastUse.store(clock.fetch_add(1, std::memory_order_relaxed),
                        std::memory_order_relaxed);
  return entry.kernel;
}

SharedKernel KernelTable::find(KernelKey key) {
  Shard &shard = shardOf(key);
  std::shared_lock lock(shard.mutex);
  auto found = shard.entries.find(key);
  return found == shard.entries.end() ? nullptr : use(found->second);
}

Expected<SharedKernel> KernelTable::get(KernelKey key, const Make &make) {
  if (SharedKernel kernel = find(key))
    return kernel;
  if (!Equal()(key, key)) { // a NaN in the mask: would never be found again
    Expected<Kernel> made = make(key.conv);
    if (!made)
      return made.takeError();
    return SharedKernel(std::make_shared<const Kernel>(std::move(*made)));
  }
  Shard &shard = shardOf(key);
  for (;;) {
    std::shared_ptr<Flight> flight;
    bool mine = false;
    {
      std::unique_lock lock(shard.mutex);
      auto place = shard.entries.find(key);
      if (place == shard.entries.end())
        place = shard.entries.try_emplace(OwnKey(key)).first;
      Entry &entry = place->second;
      if (entry.kernel)
        return use(entry);
      mine = !entry.flight;
      if (mine) {
        try {
          entry.flight = std::make_shared<Flight>();
        } catch (...) {
          shard.entries.erase(place);
          throw;
        }
      }
      flight = entry.flight;
    }
    if (mine)
      return fly(shard, key, flight, make);
    std::unique_lock lock(flight->mutex);
    flight->landed.wait(lock, [&] { return flight->done; });
    if (flight->kernel)
      return flight->kernel;
    if (!flight->status)
      return flight->status.error();
  }
}

Expected<SharedKernel> KernelTable::fly(Shard &shard, KernelKey key,
                                        const std::shared_ptr<Flight> &flight,
                                        const Make &make) {
  /// Lands whatever happens, lest the others wait for ever.
  struct Landing {
    ~Landing() {
      if (!landed)
        table.land(shard, key, flight, nullptr, {});
    }
    KernelTable &table;
    Shard &shard;
    KernelKey key;
    Flight &flight;
    bool landed = false;
  } landing{*this, shard, key, *flight};
  Expected<Kernel> made = make(key.conv);
  SharedKernel kernel;
  Status status;
  if (made)
    kernel = std::make_shared<const Kernel>(std::move(*made));
  else
    status = made.takeError();
  landing.landed = true;
  land(shard, key, *flight, kernel, status);
  if (!kernel)
    return status.takeError();
  if (capacity && size() > capacity)
    evict();
  return kernel;
}

void KernelTable::land(Shard &shard, KernelKey key, Flight &flight,
                       SharedKernel kernel, Status status) {
  {
    std::unique_lock lock(shard.mutex);
    auto found = shard.entries.find(key);
    if (kernel) {
      found->second.kernel = kernel;
      found->second.flight.reset();
      use(found->second);
      count.fetch_add(1, std::memory_order_relaxed);
    } else {
      shard.entries.erase(found);
    }
  }
  std::unique_lock lock(flight.mutex);
  flight.kernel = std::move(kernel);
  flight.status = std::move(status);
  flight.done = true;
  flight.landed.notify_all();
}

void KernelTable::clear() {
  // Kernels are released outside the locks: that unmaps code.
  std::vector<SharedKernel> released;
  for (Shard &shard : shards) {
    std::unique_lock lock(shard.mutex);
    std::erase_if(shard.entries, [&](auto &item) {
      if (!item.second.kernel)
        return false;
      released.push_back(std::move(item.second.kernel));
      count.fetch_sub(1, std::memory_order_relaxed);
      return true;
    });
  }
}

void KernelTable::evict() {
  std::unique_lock one(evicting);
  while (size() > capacity) {
    uint64_t oldest = ~uint64_t(0);
    Shard *victims = nullptr;
    for (Shard &shard : shards) {
      std::shared_lock lock(shard.mutex);
      for (auto &[key, entry] : shard.entries)
        if (entry.kernel && entry.lastUse <= oldest) {
          oldest = entry.lastUse;
          victims = &shard;
        }
    }
    if (!victims)
      return;
    SharedKernel released;
    std::unique_lock lock(victims->mutex);
    for (auto it = victims->entries.begin(); it != victims->entries.end(); ++it)
      if (it->second.kernel && it->second.lastUse <= oldest) {
        released = std::move(it->second.kernel);
        victims->entries.erase(it);
        count.fetch_sub(1, std::memory_order_relaxed);
        break;
      }
  }
}
