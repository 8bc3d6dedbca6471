//===- Link.cpp - a rewritten module to callable code -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Link.h"
#include "Runtime.h"

#include "llvm/ExecutionEngine/JITLink/JITLink.h"
#include "llvm/IR/LegacyPassManager.h"
#include "llvm/IR/Module.h"
#include "llvm/IR/Verifier.h"
#include "llvm/MC/TargetRegistry.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Process.h"
#include "llvm/Support/TargetSelect.h"
#include "llvm/Target/TargetMachine.h"
#include "llvm/TargetParser/Host.h"
#include "llvm/TargetParser/SubtargetFeature.h"

#include <mutex>

using namespace convjit;
using namespace convjit::emulator;
using namespace llvm::jitlink;
using llvm::orc::ExecutorAddr;

Expected<std::unique_ptr<llvm::TargetMachine>> emulator::hostMachine() {
  static std::once_flag once;
  std::call_once(once, [] {
    llvm::InitializeNativeTarget();
    llvm::InitializeNativeTargetAsmPrinter();
  });
  std::string error;
  llvm::Triple triple(llvm::sys::getProcessTriple());
  const llvm::Target *target =
      llvm::TargetRegistry::lookupTarget(triple, error);
  if (!target)
    return environmentError("no code generator for " + triple.str() + ": " +
                            error);
  llvm::SubtargetFeatures features;
  for (const auto &feature : llvm::sys::getHostCPUFeatures())
    features.AddFeature(feature.first(), feature.second);
  llvm::TargetOptions options;
  return std::unique_ptr<llvm::TargetMachine>(target->createTargetMachine(
      triple, llvm::sys::getHostCPUName(), features.getString(), options,
      llvm::Reloc::PIC_, std::nullopt, llvm::CodeGenOptLevel::Less,
      /*JIT=*/true));
}

struct Code::Impl {
  InProcessMemoryManager memory{
      llvm::cantFail(llvm::sys::Process::getPageSize())};
  std::vector<JITLinkMemoryManager::FinalizedAlloc> allocations;
  std::map<std::string, void *> symbols;
  std::string error;
  void *counters = nullptr;

  ~Impl() {
    if (!allocations.empty())
      memory.deallocate(std::move(allocations), [](llvm::Error error) {
        llvm::consumeError(std::move(error));
      });
  }
};

namespace {

class Context final : public JITLinkContext {
public:
  Context(InProcessMemoryManager &memory,
          std::vector<JITLinkMemoryManager::FinalizedAlloc> &allocations,
          std::map<std::string, void *> &symbols, std::string &error,
          void *counters)
      : JITLinkContext(nullptr), memory(memory), allocations(allocations),
        symbols(symbols), error(error), counters(counters) {}

  JITLinkMemoryManager &getMemoryManager() override { return memory; }
  void notifyFailed(llvm::Error failure) override {
    error = llvm::toString(std::move(failure));
  }
  void lookup(const LookupMap &names,
              std::unique_ptr<JITLinkAsyncLookupContinuation> next) override {
    AsyncLookupResult found;
    for (const auto &[name, flags] : names) {
      void *address =
          *name == "convjit_emu_counters" ? counters : runtimeFunction(*name);
      if (!address) {
        // The link ends in run(), and the pool of names with it.
        llvm::Error missing = llvm::createStringError("no function " + *name);
        found.clear();
        return next->run(std::move(missing));
      }
      found[name] = {ExecutorAddr::fromPtr(address),
                     llvm::JITSymbolFlags::Exported};
    }
    next->run(std::move(found));
  }
  llvm::Error notifyResolved(LinkGraph &graph) override {
    for (Symbol *symbol : graph.defined_symbols())
      if (symbol->hasName() && (*symbol->getName()).starts_with("convjit_emu_"))
        symbols[(*symbol->getName()).str()] =
            symbol->getAddress().toPtr<void *>();
    return llvm::Error::success();
  }
  void notifyFinalized(JITLinkMemoryManager::FinalizedAlloc all) override {
    allocations.push_back(std::move(all));
  }

private:
  InProcessMemoryManager &memory;
  std::vector<JITLinkMemoryManager::FinalizedAlloc> &allocations;
  std::map<std::string, void *> &symbols;
  std::string &error;
  void *counters;
};

} // namespace

Code::Code() : impl(std::make_unique<Impl>()) {}
Code::Code(Code &&) noexcept = default;
Code &Code::operator=(Code &&) noexcept = default;
Code::~Code() = default;

void *Code::find(const std::string &symbol) const {
  auto entry = impl->symbols.find(symbol);
  return entry == impl->symbols.end() ? nullptr : entry->second;
}

Expected<Code> Code::link(llvm::Module &module, llvm::TargetMachine &machine,
                          void *counters) {
  std::string broken;
  llvm::raw_string_ostream stream(broken);
  if (llvm::verifyModule(module, &stream))
    return internalError("the rewritten module is not valid: " + broken);
  llvm::SmallVector<char, 0> object;
  llvm::raw_svector_ostream out(object);
  llvm::legacy::PassManager passes;
  if (machine.addPassesToEmitFile(passes, out, nullptr,
                                  llvm::CodeGenFileType::ObjectFile))
    return internalError("the host's back end emits no objects");
  passes.run(module);
  // For all links, and never destroyed: LLVM's debug check finds references to
  // names left at the end of a link, and the few names repeat.
  static auto &names = *new std::shared_ptr<llvm::orc::SymbolStringPool>(
      std::make_shared<llvm::orc::SymbolStringPool>());
  auto graph = createLinkGraphFromObject(
      llvm::MemoryBufferRef({object.data(), object.size()}, "emulated"), names);
  if (!graph)
    return internalError("linking: " + llvm::toString(graph.takeError()));
  Code code;
  Impl &impl = *code.impl;
  llvm::jitlink::link(std::move(*graph),
                      std::make_unique<Context>(impl.memory, impl.allocations,
                                                impl.symbols, impl.error,
                                                counters));
  if (!impl.error.empty() || impl.allocations.empty())
    return internalError("linking an emulated kernel: " + impl.error);
  return code;
}
