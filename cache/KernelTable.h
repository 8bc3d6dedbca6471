//===- KernelTable.h - kernels in memory -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// From a convolution to its kernel, for any number of threads. A kernel is made
// once however many threads ask for it: the first makes it, the others wait for
// it or go on without. Knows nothing of how kernels are made, so that it is
// tested, under ThreadSanitizer too, without a compiler.
//
//===----------------------------------------------------------------------===//

#ifndef CONVJIT_CACHE_KERNELTABLE_H
#define CONVJIT_CACHE_KERNELTABLE_H

#include "convjit/Kernel.h"

#include <array>
#include <atomic>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <shared_mutex>
#include <unordered_map>

namespace convjit {

/// A hash of every field; of a mask, its length and a sample of its values.
size_t hashOf(const Convolution &conv);

using SharedKernel = std::shared_ptr<const Kernel>;

/// What a kernel is found by: a convolution, and the images it is planned for
/// (CompileOptions), 0 where they make no difference.
struct KernelKey {
  KernelKey(const Convolution &conv, int64_t images = 0)
      : conv(conv), images(images) {}
  const Convolution &conv;
  int64_t images;
};

class KernelTable {
public:
  using Make = std::function<Expected<Kernel>(const Convolution &)>;

  /// Keeps at most `capacity` kernels, the least recently used leave first; 0
  /// for no limit. Those that leave live on with whoever holds them.
  explicit KernelTable(size_t capacity = 0) : capacity(capacity) {}

  /// The kernel if it is here now; never waits for one that is being made.
  SharedKernel find(KernelKey key);

  /// The kernel, from the table or from `make`, which runs on this thread and
  /// only when no other thread is making the same kernel. An error reaches all
  /// who waited and is not kept: the next call tries again. An exception of
  /// `make` reaches its caller; those who waited try for themselves.
  Expected<SharedKernel> get(KernelKey key, const Make &make);

  /// Forgets all kernels, except those being made.
  void clear();
  size_t size() const { return count.load(std::memory_order_relaxed); }

private:
  /// A kernel that is being made. Lives as long as someone waits.
  struct Flight {
    std::mutex mutex;
    std::condition_variable landed;
    bool done = false;
    SharedKernel kernel; ///< neither this nor an error: try again
    Status status;
  };
  struct Entry {
    SharedKernel kernel; ///< null while in flight
    std::shared_ptr<Flight> flight;
    std::atomic<uint64_t> lastUse{0};
  };
  /// A key of an entry, which owns its convolution.
  struct OwnKey {
    OwnKey(KernelKey key) : conv(key.conv), images(key.images) {}
    operator KernelKey() const { return {conv, images}; }
    Convolution conv;
    int64_t images;
  };
  /// Entries are found without a copy of the convolution.
  struct Hash {
    using is_transparent = void;
    size_t operator()(KernelKey key) const {
      return hashOf(key.conv) + static_cast<size_t>(key.images);
    }
  };
  struct Equal {
    using is_transparent = void;
    bool operator()(KernelKey a, KernelKey b) const {
      return a.images == b.images && a.conv == b.conv;
    }
  };
  /// A part of the table with a lock of its own.
  struct alignas(64) Shard {
    std::shared_mutex mutex;
    std::unordered_map<OwnKey, Entry, Hash, Equal> entries;
  };

  Shard &shardOf(KernelKey key) {
    return shards[(Hash()(key) >> 7) % shards.size()];
  }
  SharedKernel use(Entry &entry);
  Expected<SharedKernel> fly(Shard &shard, KernelKey key,
                             const std::shared_ptr<Flight> &flight,
                             const Make &make);
  void land(Shard &shard, KernelKey key, Flight &flight, SharedKernel kernel,
            Status status);
  void evict();

  const size_t capacity;
  std::array<Shard, 32> shards;
  std::atomic<size_t> count{0};
  std::atomic<uint64_t> clock{0};
  std::mutex evicting;
};

} // namespace convjit

#endif // CONVJIT_CACHE_KERNELTABLE_H
