//===- KernelSource.cpp - kernels that a context has, or compiles -*- C++
//-*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

// In memory alone: one table, one compilation in flight for each kernel.

#include "KernelSource.h"
#include "ConvolutionText.h"

#include <condition_variable>
#include <map>
#include <mutex>
#include <optional>

using namespace convjit;
using namespace convjit::capi;

namespace {

class MemorySource final : public KernelSource {
public:
  MemorySource(const Compiler &compiler, SourceOptions options)
      : compiler(compiler), options(std::move(options)) {}

  std::shared_ptr<const Kernel> find(const Convolution &conv) override {
    std::lock_guard lock(mutex);
    auto at = kernels.find(keyOf(conv));
    return at == kernels.end() ? nullptr : at->second;
  }

  Expected<std::shared_ptr<const Kernel>>
  kernel(const Convolution &conv) override {
    std::string key = keyOf(conv);
    std::shared_ptr<Flight> flight;
    {
      std::unique_lock lock(mutex);
      if (auto at = kernels.find(key); at != kernels.end())
        return at->second;
      auto [at, first] = flights.try_emplace(key);
      if (!first) {
        flight = at->second;
        landed.wait(lock, [&] { return flight->result.has_value(); });
        return *flight->result;
      }
      try {
        at->second = flight = std::make_shared<Flight>();
      } catch (...) {
        flights.erase(at);
        throw;
      }
    }
    // Others wait for this kernel: whatever happens, they must hear of it.
    Result result = internalError("compilation ended without a result");
    try {
      result = compile(conv);
    } catch (const std::bad_alloc &) {
      result = environmentError("not enough memory");
    } catch (...) {
    }
    std::lock_guard lock(mutex);
    flight->result = result;
    flights.erase(key);
    landed.notify_all();
    if (result)
      kernels.emplace(std::move(key), *result);
    return result;
  }

private:
  using Result = Expected<std::shared_ptr<const Kernel>>;
  struct Flight {
    std::optional<Result> result;
  };

  static std::string keyOf(const Convolution &conv) {
    std::string key = describe({conv, ""});
    // The text names no mask.
    const auto *bytes = reinterpret_cast<const char *>(conv.mask.data());
    return key.append(bytes, conv.mask.size() * sizeof(double));
  }

  Result compile(const Convolution &conv) {
    Expected<Kernel> made = compiler.compile(conv, options.compile);
    if (!made)
      return made.takeError();
    return std::shared_ptr<const Kernel>(
        std::make_shared<const Kernel>(std::move(*made)));
  }

  const Compiler &compiler;
  const SourceOptions options;
  std::mutex mutex;
  std::condition_variable landed;
  std::map<std::string, std::shared_ptr<const Kernel>> kernels;
  std::map<std::string, std::shared_ptr<Flight>> flights;
};

} // namespace

Expected<std::unique_ptr<KernelSource>>
capi::makeKernelSource(const Compiler &compiler, SourceOptions options) {
  return std::unique_ptr<KernelSource>(
      std::make_unique<MemorySource>(compiler, std::move(options)));
}
