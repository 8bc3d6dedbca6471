//===- Session.cpp - objects to callable code -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Session.h"

#include "llvm/ExecutionEngine/Orc/LLJIT.h"
#include "llvm/ExecutionEngine/Orc/ObjectLinkingLayer.h"
#include "llvm/Support/MemoryBuffer.h"

#include <atomic>
#include <cmath>
#include <cstring>

using namespace convjit;
using namespace llvm::orc;

struct Session::Impl {
  std::unique_ptr<LLJIT> jit;
  std::atomic<uint64_t> counter{0};
};

Session::Session(std::shared_ptr<Impl> impl) : impl(std::move(impl)) {}
Session::~Session() = default;

static Error jitError(llvm::Error error) {
  return internalError("JIT: " + llvm::toString(std::move(error)));
}

Expected<std::shared_ptr<Session>> Session::create() {
  auto state = std::make_shared<Impl>();
  auto host = JITTargetMachineBuilder::detectHost();
  if (!host)
    return jitError(host.takeError());
  auto jit = LLJITBuilder()
                 .setJITTargetMachineBuilder(std::move(*host))
                 .setLinkProcessSymbolsByDefault(false)
                 .setPlatformSetUp(setUpInactivePlatform)
                 .setObjectLinkingLayerCreator(
                     [](ExecutionSession &session)
                         -> llvm::Expected<std::unique_ptr<ObjectLayer>> {
                       return std::make_unique<ObjectLinkingLayer>(session);
                     })
                 .create();
  if (!jit)
    return jitError(jit.takeError());
  // Errors reach us from lookup; nothing is to be printed by a library.
  (*jit)->getExecutionSession().setErrorReporter(
      [](llvm::Error error) { llvm::consumeError(std::move(error)); });
  state->jit = std::move(*jit);
  return std::shared_ptr<Session>(new Session(std::move(state)));
}

/// What generated code may call: f64 activations and LLVM's memory functions.
static SymbolMap runtimeSymbols(LLJIT &jit) {
  SymbolMap symbols;
  auto add = [&](const char *name, auto *function) {
    symbols[jit.mangleAndIntern(name)] = {ExecutorAddr::fromPtr(function),
                                          llvm::JITSymbolFlags::Exported |
                                              llvm::JITSymbolFlags::Callable};
  };
  using Unary = double(double);
  add("exp", static_cast<Unary *>(std::exp));
  add("tanh", static_cast<Unary *>(std::tanh));
  add("erf", static_cast<Unary *>(std::erf));
  add("memcpy", static_cast<void *(*)(void *, const void *, size_t)>(memcpy));
  add("memmove", static_cast<void *(*)(void *, const void *, size_t)>(memmove));
  add("memset", static_cast<void *(*)(void *, int, size_t)>(memset));
  return symbols;
}

Expected<LoadedObject> Session::load(std::string object,
                                     const std::string &prefix) {
  LLJIT &jit = *impl->jit;
  std::string name = "kernel" + std::to_string(impl->counter++);
  auto dylib = jit.createJITDylib(name);
  if (!dylib)
    return jitError(dylib.takeError());
  // Removes the library, and with it the code, with the last reference; keeps
  // the session's machinery alive until then.
  std::shared_ptr<void> code(&*dylib, [state = impl](void *library) {
    llvm::consumeError(state->jit->getExecutionSession().removeJITDylib(
        *static_cast<JITDylib *>(library)));
  });
  if (llvm::Error error = dylib->define(absoluteSymbols(runtimeSymbols(jit))))
    return jitError(std::move(error));
  auto buffer = llvm::MemoryBuffer::getMemBufferCopy(object, name);
  if (llvm::Error error = jit.addObjectFile(*dylib, std::move(buffer)))
    return jitError(std::move(error));
  LoadedObject result;
  auto kernel = jit.lookup(*dylib, prefix + "_kernel");
  if (!kernel)
    return jitError(kernel.takeError());
  auto pack = jit.lookup(*dylib, prefix + "_pack");
  if (!pack)
    return jitError(pack.takeError());
  result.kernel = kernel->toPtr<void *>();
  result.pack = pack->toPtr<void *>();
  result.code = std::move(code);
  return result;
}
