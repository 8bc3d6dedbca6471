//===- Host.h - what the host provides -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef CONVJIT_CAPI_HOST_H
#define CONVJIT_CAPI_HOST_H

#include "Outcome.h"
#include "convjit/Executor.h"

#include <atomic>
#include <functional>
#include <memory>

namespace convjit::capi {

/// The host's functions, shared by a context and its kernels.
class Host {
public:
  void *allocate(size_t bytes, size_t alignment) const noexcept;
  void release(void *memory, size_t bytes, size_t alignment) const noexcept;

  bool logs(int32_t level) const { return log && level <= logLevel; }
  void write(int32_t level, const std::string &message) const noexcept;

  convjit_allocator allocator{};
  void (*log)(void *user, int32_t level, const char *message) = nullptr;
  void *logUser = nullptr;
  int32_t logLevel = 0;
  /// Of calls that bring none: the host's, or ours, or the calling thread.
  convjit_executor executor{};
  std::unique_ptr<Executor> pool;
};

/// Makes an object in the host's memory, which it then keeps alive: T's first
/// constructor argument is the host. Null without memory.
template <typename T, typename... Args>
T *makeIn(std::shared_ptr<const Host> host, Args &&...args) {
  void *memory = host->allocate(sizeof(T), alignof(T));
  if (!memory)
    return nullptr;
  return new (memory) T{std::move(host), std::forward<Args>(args)...};
}
template <typename T> void destroyIn(T *object) noexcept {
  std::shared_ptr<const Host> host = object->host;
  object->~T();
  host->release(object, sizeof(T), alignof(T));
}

/// Memory of the host's for one call.
class Memory {
public:
  Memory(const Host &host, size_t bytes)
      : host(host), bytes(bytes),
        data(bytes ? host.allocate(bytes, alignment) : nullptr) {}
  ~Memory() {
    if (data)
      host.release(data, bytes, alignment);
  }
  Memory(const Memory &) = delete;
  Memory &operator=(const Memory &) = delete;
  void *get() const { return data; }

  static constexpr size_t alignment = 64;

private:
  const Host &host;
  size_t bytes;
  void *data;
};

/// The host's threads for one call; afterwards, whether they did it.
class HostThreads final : public Executor {
public:
  explicit HostThreads(const convjit_executor &host) : host(host) {}
  void parallelFor(int64_t tasks, const Body &body) override;
  unsigned concurrency() const override {
    return host.concurrency ? host.concurrency : 1;
  }
  Outcome outcome() const;

private:
  void throughParallelFor(int64_t tasks, const Body &body);
  void throughSubmit(int64_t tasks, const Body &body);

  const convjit_executor host;
  std::atomic<bool> failed{false};
  int64_t ran = 0, wanted = 0;
};

/// Checks and copies a caller's executor.
Outcome readExecutor(const convjit_executor *from, convjit_executor &to,
                     const char *name);

} // namespace convjit::capi

#endif // CONVJIT_CAPI_HOST_H
