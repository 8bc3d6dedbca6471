//===- Loader.cpp - objects to callable code -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

// JITLink alone, without ORC: a kernel is one object, complete but for a few
// functions of the C library, so there is nothing to look up, to order or to
// materialize lazily. Code and constants of all kernels share mappings
// (CodeArena.h).
//
//===----------------------------------------------------------------------===//

#include "Loader.h"
#include "CodeArena.h"
#include "Debuggers.h"

#include "llvm/ExecutionEngine/JITLink/JITLink.h"
#include "llvm/Support/MemoryBuffer.h"

#include <array>
#include <cmath>
#include <cstring>
#include <optional>

using namespace convjit;
using namespace llvm::jitlink;
using llvm::orc::ExecutorAddr;
using llvm::BitmaskEnumDetail::operator&;

namespace {

/// Pages of the process's arena for one link.
class Memory final : public JITLinkMemoryManager {
public:
  void allocate(const JITLinkDylib *, LinkGraph &graph,
                OnAllocatedFunction done) override {
    BasicLayout layout(graph);
    size_t total = 0;
    for (auto &[group, segment] : layout.segments()) {
      if (writable(group.getMemProt()))
        return done(llvm::createStringError("the object has variables"));
      total = llvm::alignTo(total, std::max(segment.Alignment, lineAlign));
      total += segment.ContentSize + segment.ZeroFillSize;
    }
    Expected<CodePages> got = CodeArena::process().allocate(total);
    if (!got)
      return done(llvm::createStringError(got.error().message));
    pages = *got;
    size_t offset = 0;
    for (auto &[group, segment] : layout.segments()) {
      offset = llvm::alignTo(offset, std::max(segment.Alignment, lineAlign));
      segment.WorkingMem = pages.begin + offset;
      segment.Addr = ExecutorAddr::fromPtr(segment.WorkingMem);
      offset += segment.ContentSize + segment.ZeroFillSize;
    }
    if (llvm::Error error = layout.apply()) {
      release();
      return done(std::move(error));
    }
    done(std::make_unique<InFlight>(*this));
  }

  void deallocate(std::vector<FinalizedAlloc> allocations,
                  OnDeallocatedFunction done) override {
    for (FinalizedAlloc &allocation : allocations)
      allocation.release();
    release();
    done(llvm::Error::success());
  }

  /// The pages now are the caller's to release.
  CodePages take() { return std::exchange(pages, {}); }
  ~Memory() override { release(); }

private:
  const llvm::Align lineAlign{64};

  struct InFlight final : InFlightAlloc {
    explicit InFlight(Memory &memory) : memory(memory) {}
    void abandon(OnAbandonedFunction done) override {
      memory.release();
      done(llvm::Error::success());
    }
    void finalize(OnFinalizedFunction done) override {
      if (Status sealed = CodeArena::process().seal(memory.pages); !sealed)
        return done(llvm::createStringError(sealed.error().message));
      done(FinalizedAlloc(ExecutorAddr::fromPtr(memory.pages.begin)));
    }
    Memory &memory;
  };

  static bool writable(llvm::orc::MemProt protection) {
    return (protection & llvm::orc::MemProt::Write) != llvm::orc::MemProt::None;
  }

  void release() {
    if (pages.begin)
      CodeArena::process().release(take());
  }

  CodePages pages;
};

/// What a link gave.
struct Linked {
  std::string error;
  DebugFunction kernel{"_kernel"}, pack{"_pack"}, packPart{"_pack_part"};
  std::string_view unwind;
  bool complete = false;
};

/// The address of what generated code may call: f64 activations and LLVM's
/// memory functions.
void *runtimeFunction(llvm::StringRef name) {
  using Unary = double(double);
  auto address = [](auto *function) {
    return reinterpret_cast<void *>(function);
  };
  if (name == "exp")
    return address(static_cast<Unary *>(std::exp));
  if (name == "tanh")
    return address(static_cast<Unary *>(std::tanh));
  if (name == "erf")
    return address(static_cast<Unary *>(std::erf));
  if (name == "memcpy")
    return address(
        static_cast<void *(*)(void *, const void *, size_t)>(memcpy));
  if (name == "memmove")
    return address(
        static_cast<void *(*)(void *, const void *, size_t)>(memmove));
  if (name == "memset")
    return address(static_cast<void *(*)(void *, int, size_t)>(memset));
  return nullptr;
}

class Context final : public JITLinkContext {
public:
  Context(Memory &memory, Linked &linked)
      : JITLinkContext(nullptr), memory(memory), linked(linked) {}

  JITLinkMemoryManager &getMemoryManager() override { return memory; }

  void notifyFailed(llvm::Error error) override {
    linked.error = llvm::toString(std::move(error));
  }

  void lookup(const LookupMap &symbols,
              std::unique_ptr<JITLinkAsyncLookupContinuation> next) override {
    AsyncLookupResult found;
    for (const auto &[name, flags] : symbols) {
      void *address = runtimeFunction(*name);
      if (!address)
        return next->run(llvm::createStringError("unknown symbol " + *name));
      found[name] = {ExecutorAddr::fromPtr(address),
                     llvm::JITSymbolFlags::Exported};
    }
    next->run(std::move(found));
  }

  llvm::Error notifyResolved(LinkGraph &graph) override {
    for (Symbol *symbol : graph.defined_symbols()) {
      if (!symbol->hasName())
        continue;
      llvm::StringRef name = *symbol->getName();
      if (!name.consume_front(symbolPrefix))
        continue;
      for (DebugFunction *function :
           {&linked.kernel, &linked.pack, &linked.packPart})
        if (name == function->suffix) {
          function->address = symbol->getAddress().toPtr<void *>();
          function->bytes = symbol->getSize();
        }
    }
    // What only copies is not packed in parts.
    if (!linked.kernel.address || !linked.pack.address)
      return llvm::createStringError("the object has no kernel");
    if (Section *section = graph.findSectionByName(".eh_frame")) {
      SectionRange range(*section);
      linked.unwind = {range.getStart().toPtr<const char *>(), range.getSize()};
    }
    return llvm::Error::success();
  }

  void notifyFinalized(JITLinkMemoryManager::FinalizedAlloc all) override {
    all.release();
    linked.complete = true;
  }

private:
  Memory &memory;
  Linked &linked;
};

/// A kernel's pages, and what debuggers were told of them.
struct Code {
  ~Code() {
    debug.reset(); // before the addresses mean something else
    CodeArena::process().release(pages);
  }
  CodePages pages;
  std::optional<DebugRegistration> debug;
};

} // namespace

Expected<Kernel> convjit::loadKernel(const Convolution &conv,
                                     CompiledKernel compiled) {
  Memory memory;
  Linked linked;
  // Names die with their link: a pool for all links would only grow.
  auto graph = createLinkGraphFromObject(
      llvm::MemoryBufferRef(compiled.object, "kernel"),
      std::make_shared<llvm::orc::SymbolStringPool>());
  if (!graph)
    return internalError("loading: " + llvm::toString(graph.takeError()));
  link(std::move(*graph), std::make_unique<Context>(memory, linked));
  if (!linked.complete)
    return environmentError("loading a kernel: " + linked.error);
  auto code = std::make_shared<Code>();
  code->pages = memory.take();
  std::array functions{linked.kernel, linked.pack, linked.packPart};
  size_t found = linked.packPart.address ? functions.size() : 2;
  code->debug.emplace(conv, std::span(functions).first(found), linked.unwind);
  Kernel kernel;
  kernel.conv = conv;
  kernel.run = reinterpret_cast<ConvjitKernelFn>(linked.kernel.address);
  kernel.pack = reinterpret_cast<ConvjitPackFn>(linked.pack.address);
  kernel.packPart =
      reinterpret_cast<ConvjitPackPartFn>(linked.packPart.address);
  kernel.packedWeightBytes = compiled.packedWeightBytes;
  kernel.scratchBytes = compiled.scratchBytes;
  kernel.tasksPerImage = compiled.tasksPerImage;
  kernel.pieces = compiled.pieces;
  kernel.plan = std::move(compiled.plan);
  kernel.compileMilliseconds = compiled.compileMilliseconds;
  kernel.codeBytes = compiled.codeBytes;
  kernel.code = std::move(code);
  return kernel;
}
