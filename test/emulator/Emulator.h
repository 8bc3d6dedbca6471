//===- Emulator.h - GPU kernels run and checked on the host -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Takes the LLVM IR of a CUDA kernel, as the NVPTX back end would, and runs it
// on the host: each thread of a block is a fiber, each NVVM intrinsic a
// function with PTX's documented semantics, and each access to memory is
// checked. So it finds what a GPU hides: accesses out of bounds, races, reads
// of memory that nobody wrote, barriers that not all threads reach.
// docs/emulator.md says what is modelled and what is not.
//
//===----------------------------------------------------------------------===//

#ifndef CONVJIT_TEST_EMULATOR_EMULATOR_H
#define CONVJIT_TEST_EMULATOR_EMULATOR_H

#include "convjit/Error.h"

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <variant>
#include <vector>

namespace llvm {
class Module;
} // namespace llvm

namespace convjit::emulator {

/// Sizes of a grid or a block, or a place in one; fastest dimension first.
struct Dim3 {
  uint32_t x = 1, y = 1, z = 1;
  uint64_t count() const { return uint64_t(x) * y * z; }
};

/// A piece of global memory. The kernel works on a copy of its own, 256 bytes
/// aligned and far from every other buffer; what it wrote is copied back when
/// the launch ends.
struct Buffer {
  enum class Access {
    Read,     ///< a write is a finding, and nothing is copied back
    Write,    ///< not initialized: a read before the first write is a finding
    ReadWrite ///< initialized with what `data` holds
  };
  void *data = nullptr;
  size_t bytes = 0;
  Access access = Access::ReadWrite;
  /// What findings call it.
  std::string name;
};

/// A kernel argument that points `offset` bytes into buffer number `index`.
struct Pointer {
  size_t index = 0;
  int64_t offset = 0;
};
/// A kernel argument: a pointer, an integer, or a floating-point number. The
/// parameter's type says how many bits are passed; 0 is a null pointer, too.
using Argument = std::variant<Pointer, int64_t, double>;

/// One launch of a kernel.
struct Launch {
  std::string entry;
  Dim3 grid, block;
  /// Bytes of `extern __shared__` memory, as the host would pass them.
  size_t dynamicSharedBytes = 0;
  std::vector<Buffer> buffers;
  std::vector<Argument> arguments;
  /// The order of blocks and the schedule of threads. 0 is the natural order.
  uint64_t seed = 0;
  /// Distinct findings to keep; the launch goes on after them.
  size_t maxFindings = 20;
  /// Blocks to run, of the seed's order; 0 is all. For measurements of large
  /// grids.
  uint64_t maxBlocks = 0;
  /// Memory accesses of the whole launch before it counts as endless.
  uint64_t maxAccesses = uint64_t(1) << 36;
};

enum class FindingKind {
  OutOfBounds,   ///< outside every buffer or shared variable
  ReadOnly,      ///< a write to a buffer that is `Access::Read`
  Misaligned,    ///< an address that the access's width does not allow
  Uninitialized, ///< a read of shared or global memory that nobody wrote
  AsyncPending,  ///< memory of a cp.async touched before its wait
  SharedRace,    ///< unordered accesses to shared memory, one of them a write
  GlobalRace,    ///< the same in global memory, in one block or between blocks
  DivergentBarrier, ///< a barrier that not all threads reach together
  DivergentWarp,    ///< a warp-wide operation without all its lanes
  BadOperand,       ///< an operand that PTX leaves undefined
  NoProgress,       ///< threads that wait forever, or run on and on
};
/// The kind's name, such as `out-of-bounds`.
const char *toString(FindingKind kind);

/// Something wrong with the kernel, once for each kind and instruction.
struct Finding {
  FindingKind kind;
  /// One line: what happened, where, by whom, and at which instruction.
  std::string message;
  Dim3 block, thread;
  /// The instruction's LLVM IR.
  std::string instruction;
  /// `file:line` where the instruction has a debug location, or empty.
  std::string place;
  /// How often it happened.
  uint64_t count = 1;
};

/// What one static instruction did, in a program compiled to measure. A request
/// is what the lanes of a warp do together in one execution.
struct Profile {
  /// ld.shared, st.global, cp.async, ldmatrix, mma, barrier, ...
  std::string kind;
  std::string function, instruction, place;
  /// How many loops it is in.
  unsigned loopDepth = 0;
  uint64_t threads = 0, requests = 0;
  uint64_t bytes = 0;
  /// Passes through shared memory's 32 banks, and the fewest that would do.
  uint64_t wavefronts = 0, idealWavefronts = 0;
  /// 32-byte sectors of global memory, and the fewest that would do.
  uint64_t sectors = 0, idealSectors = 0;
};

/// How often threads ran through a basic block, and what is in it.
struct BlockProfile {
  std::string function, label;
  unsigned loopDepth = 0;
  uint64_t threads = 0;
  /// Instructions of the block by LLVM's opcode, calls by their callee.
  std::map<std::string, uint32_t> opcodes;
};

struct Report {
  std::vector<Finding> findings;
  /// Findings that were not kept.
  uint64_t moreFindings = 0;
  /// False if the launch was given up (NoProgress, or a barrier that can never
  /// complete); buffers then hold what was written so far.
  bool complete = true;
  uint64_t blocks = 0, threads = 0;
  /// Loads, stores and atomics by threads.
  uint64_t accesses = 0;
  size_t sharedBytes = 0;
  /// Of programs compiled with `measure`:
  std::vector<Profile> profiles;
  std::vector<BlockProfile> basicBlocks; ///< those that ran

  /// Findings as text, one line each; empty without findings.
  std::string text() const;
  /// How often threads executed an opcode, or called a function, in all.
  uint64_t executed(const std::string &opcode) const;
};

struct CompileOptions {
  /// Count instructions, bank conflicts and sectors; several times slower.
  bool measure = false;
};

/// A module, compiled for the host. It may be launched any number of times,
/// from one thread at a time; programs do not share anything.
class Program {
public:
  /// Compiles a module for nvptx64. `module` is only read; its context must not
  /// be used by other threads meanwhile. Errors: an intrinsic or inline
  /// assembly that is not modelled, by name; IR that is not valid.
  static Expected<Program> compile(const llvm::Module &module,
                                   const CompileOptions &options = {});
  Program(Program &&) noexcept;
  Program &operator=(Program &&) noexcept;
  ~Program();

  /// Runs a kernel to its end. Errors are launches that a driver would refuse:
  /// no such entry, wrong arguments, block or shared memory too large.
  /// What the kernel does wrong comes back in the report.
  Expected<Report> launch(const Launch &launch);

private:
  struct Impl;
  explicit Program(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl;
};

} // namespace convjit::emulator

#endif // CONVJIT_TEST_EMULATOR_EMULATOR_H
