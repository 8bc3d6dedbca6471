//===- DiskStore.h - kernels on disk -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// One directory, one file a kernel, shared by any number of threads and
// processes without a lock: a file is written under a name of its own, then
// renamed. Readers see all of it or nothing. What a process leaves half-written
// when it is killed has a name that no reader looks for, and goes with the next
// collection. The directory must be this user's alone: what lies in it is run.
//
// A disk that is full, slow, read-only or damaged costs time, never a result:
// every function says what went wrong and leaves the caller to compile.
//
//===----------------------------------------------------------------------===//

#ifndef CONVJIT_CACHE_DISKSTORE_H
#define CONVJIT_CACHE_DISKSTORE_H

#include "CacheEntry.h"

#include <memory>
#include <mutex>
#include <optional>
#include <vector>

namespace convjit {

/// A file of the store.
struct StoredFile {
  std::string name;
  uint64_t bytes = 0;
  int64_t lastUse = 0;    ///< nanoseconds since 1970
  bool temporary = false; ///< being written, or left by a process that died
};

struct Collected {
  size_t files = 0;
  uint64_t bytes = 0;
};

/// Thread-safe. May be used after a fork.
class DiskStore {
public:
  /// Makes the directory where it is missing, its parents too, with mode 0700.
  /// Errors: it cannot be made or read, belongs to another user, or others
  /// may enter it.
  static Expected<std::unique_ptr<DiskStore>>
  open(const std::string &directory, uint64_t maxBytes, DigestFn digest);
  ~DiskStore();

  /// The kernel of this key; nothing when there is none. Errors: an entry that
  /// fails a check, which is removed; a file that cannot be read.
  Expected<std::optional<StoredKernel>> load(const std::string &key);

  /// Replaces what is there. Collects first when the directory would outgrow
  /// its limit. Errors: the disk is full, read-only, or the entry is larger
  /// than all that may be kept.
  Status store(const StoredKernel &kernel);

  /// Every file, in the order of last use, latest first.
  Expected<std::vector<StoredFile>> list() const;
  /// One file, checked as load checks it, except for its name.
  Expected<StoredKernel> read(const std::string &name) const;
  Status remove(const std::string &name) const;
  /// Removes the least recently used until `maxBytes` are left, and temporary
  /// files that nobody has written to for ten minutes.
  Expected<Collected> collect(uint64_t maxBytes);
  /// Removes every file of the store, and no other.
  Expected<Collected> clear();

  const std::string &directory() const { return path; }
  uint64_t maxBytes() const { return limit; }

private:
  DiskStore(std::string path, int folder, uint64_t limit, DigestFn digest)
      : path(std::move(path)), folder(folder), limit(limit), digest(digest) {}
  std::string nameOf(const std::string &key) const;
  Expected<std::string> readBytes(const std::string &name, bool touch) const;
  Status write(const std::string &name, const std::string &bytes) const;
  void makeRoom(uint64_t bytes);

  std::string path;
  int folder; ///< a descriptor: nobody can put another directory in its place
  uint64_t limit;
  DigestFn digest;
  std::mutex mutex;
  uint64_t estimate = 0; ///< bytes in the directory, as far as is known
  unsigned untilCount = 0;
};

} // namespace convjit

#endif // CONVJIT_CACHE_DISKSTORE_H
