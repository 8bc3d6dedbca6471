//===- Engine.cpp - where Python's kernels come from -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Engine.h"
#include "ConvolutionText.h"

#include <atomic>
#include <exception>
#include <future>
#include <map>
#include <mutex>
#include <sched.h>
#include <thread>

using namespace convjit;
using namespace convjit::python;

Expected<const Compiler *> convjit::python::compiler() {
  // Never destroyed: kernels may run while the process ends.
  static auto *created =
      new Expected<std::unique_ptr<Compiler>>(Compiler::create());
  if (!*created)
    return Error(created->error());
  return static_cast<const Compiler *>((*created)->get());
}

namespace {

std::atomic<int64_t> compiled{0};

using SharedKernel = Expected<std::shared_ptr<const Kernel>>;

/// Kernels of this process by what they compute. Whoever asks first compiles;
/// others that want the same kernel wait for it, and only they.
class KernelsInMemory final : public KernelProvider {
public:
  SharedKernel kernel(const Convolution &conv) override {
    std::promise<SharedKernel> promise;
    std::shared_future<SharedKernel> future;
    bool mine = false;
    {
      std::lock_guard lock(mutex);
      auto [at, added] = known.try_emplace(keyOf(conv));
      mine = added;
      if (added)
        at->second = promise.get_future().share();
      future = at->second;
    }
    if (mine)
      promise.set_value(compileOrSay(conv));
    return future.get();
  }

private:
  /// The mask has no name of its own here: its factors are the key.
  static std::string keyOf(const Convolution &conv) {
    std::string key = describe({conv, ""});
    if (!conv.mask.empty())
      key.append(1, '\0').append(
          reinterpret_cast<const char *>(conv.mask.data()),
          conv.mask.size() * sizeof(double));
    return key;
  }

  /// A promise that is not kept would hang or throw in those who wait.
  static SharedKernel compileOrSay(const Convolution &conv) {
    try {
      return compile(conv);
    } catch (const std::exception &thrown) {
      return environmentError(std::string("compilation: ") + thrown.what());
    }
  }

  static SharedKernel compile(const Convolution &conv) {
    Expected<const Compiler *> machine = compiler();
    if (!machine)
      return machine.takeError();
    compiled.fetch_add(1, std::memory_order_relaxed);
    Expected<Kernel> kernel = (*machine)->compile(conv);
    if (!kernel)
      return kernel.takeError();
    return std::shared_ptr<const Kernel>(
        std::make_shared<Kernel>(std::move(*kernel)));
  }

  std::mutex mutex;
  std::map<std::string, std::shared_future<SharedKernel>> known;
};

unsigned usableProcessors() {
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0)
    return static_cast<unsigned>(CPU_COUNT(&set));
  return std::max(1u, std::thread::hardware_concurrency());
}

struct Threads {
  std::mutex mutex;
  std::shared_ptr<Executor> executor;
};
Threads &threads() {
  static auto *state = new Threads;
  return *state;
}

std::shared_ptr<Executor> makeExecutor(unsigned count) {
  if (count == 0)
    count = usableProcessors();
  if (count == 1)
    return std::make_shared<InlineExecutor>();
  return std::make_shared<ThreadPool>(count);
}

} // namespace

KernelProvider &convjit::python::kernels() {
  static auto *provider = new KernelsInMemory;
  return *provider;
}

Expected<std::shared_ptr<const Kernel>>
convjit::python::kernelOf(std::string_view text) {
  Expected<NamedConvolution> named = parseConvolution(text);
  if (!named)
    return named.takeError();
  return kernels().kernel(named->conv);
}

int64_t convjit::python::compilations() { return compiled.load(); }

std::shared_ptr<Executor> convjit::python::executor() {
  std::lock_guard lock(threads().mutex);
  if (!threads().executor)
    threads().executor = makeExecutor(0);
  return threads().executor;
}

void convjit::python::setThreads(unsigned count) {
  // The old pool ends with the last call that runs on it, outside the lock.
  std::shared_ptr<Executor> next = makeExecutor(count);
  std::lock_guard lock(threads().mutex);
  std::swap(threads().executor, next);
}
