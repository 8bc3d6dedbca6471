//===- CodeArena.h - pages for code -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Kernels lie side by side in slabs. As JITLink's own memory manager lays them
// out, each kernel with constants takes two of the 65,530 mappings that Linux
// gives a process (vm.max_map_count), and 24,000 kernels nearly all of them.
// Side by side, code and constants under the same protection, the system merges
// neighbours into one mapping.
//
// No page is ever writable and executable at once, and none is shared with
// another kernel: one is written while its neighbours run. The memory is
// private, so a forked child may load and release kernels as it likes.
//
//===----------------------------------------------------------------------===//

#ifndef CONVJIT_CACHE_CODEARENA_H
#define CONVJIT_CACHE_CODEARENA_H

#include "convjit/Error.h"

#include <cstddef>
#include <map>
#include <memory>
#include <mutex>

namespace convjit {

/// Pages of one kernel. A value; CodeArena::release gives them back.
struct CodePages {
  char *begin = nullptr;
  size_t bytes = 0; ///< a multiple of the page size
};

/// Thread-safe.
class CodeArena {
public:
  CodeArena();
  ~CodeArena();
  /// The one that all kernels of the process share. Lives for ever.
  static CodeArena &process();

  /// Pages for at least `bytes` > 0, writable and not executable. Errors: no
  /// address space, no memory or no mappings left.
  Expected<CodePages> allocate(size_t bytes);
  /// Makes them executable and not writable.
  Status seal(CodePages pages);
  /// Gives the memory back to the system; a slab without kernels goes too.
  /// Calls of what lay there fault.
  void release(CodePages pages);

  struct Usage {
    size_t slabs = 0, slabBytes = 0, usedBytes = 0;
  };
  Usage usage() const;

private:
  struct Slab {
    size_t bytes = 0;
    size_t used = 0;
    std::map<char *, size_t> free; ///< ranges, not adjacent
  };
  char *take(size_t bytes);
  void putBack(CodePages pages);

  const size_t page;
  mutable std::mutex mutex;
  std::map<char *, Slab> slabs;
};

} // namespace convjit

#endif // CONVJIT_CACHE_CODEARENA_H
