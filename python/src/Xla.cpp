//===- Xla.cpp - the handler that XLA calls -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Xla.h"
#include "Engine.h"
#include "RoundUp.h"
#include "XlaBuffers.h"

#include <atomic>
#include <chrono>
#include <map>
#include <mutex>
#include <sys/mman.h>

using namespace convjit;
using namespace convjit::python;
namespace ffi = xla::ffi;

namespace {

//===----------------------------------------------------------------------===//
// Counters
//===----------------------------------------------------------------------===//

/// Written without a lock by every call.
struct Counters {
  std::atomic<int64_t> calls{0}, nanoseconds{0}, packNanoseconds{0};
  std::atomic<int64_t> shortest{INT64_MAX};

  void add(int64_t total, int64_t pack) {
    calls.fetch_add(1, std::memory_order_relaxed);
    nanoseconds.fetch_add(total, std::memory_order_relaxed);
    packNanoseconds.fetch_add(pack, std::memory_order_relaxed);
    int64_t seen = shortest.load(std::memory_order_relaxed);
    while (total < seen && !shortest.compare_exchange_weak(
                               seen, total, std::memory_order_relaxed)) {
    }
  }
};

struct AllCounters {
  std::mutex mutex;
  std::map<std::string, std::shared_ptr<Counters>, std::less<>> byText;
};
AllCounters &allCounters() {
  static auto *all = new AllCounters;
  return *all;
}

std::shared_ptr<Counters> countersOf(std::string_view text) {
  std::lock_guard lock(allCounters().mutex);
  auto &counters = allCounters().byText[std::string(text)];
  if (!counters)
    counters = std::make_shared<Counters>();
  return counters;
}

int64_t now() {
  using namespace std::chrono;
  return duration_cast<nanoseconds>(steady_clock::now().time_since_epoch())
      .count();
}

//===----------------------------------------------------------------------===//
// Instantiation
//===----------------------------------------------------------------------===//

/// What one custom call of one executable keeps.
struct Call {
  static ffi::TypeId id;
  static ffi::TypeInfo info;

  std::shared_ptr<const Kernel> kernel;
  std::shared_ptr<Counters> counters;
  /// Multiply-adds for the smallest batch, `batchGroups` images.
  int64_t macs = 0;
  /// The kernel reads the weights as they are.
  bool asStored = false;
};
ffi::TypeId Call::id = XLA_FFI_UNKNOWN_TYPE_ID;
ffi::TypeInfo Call::info = ffi::MakeTypeInfo<Call>();

/// Attributes are read by name: programs exported before there was `images`
/// have none.
ffi::ErrorOr<std::unique_ptr<Call>> instantiate(ffi::Dictionary attributes) {
  try {
    auto text = attributes.get<std::string_view>("convolution");
    if (!text)
      return ffi::Unexpected(text.error());
    std::string_view convolution = *text;
    // Of a program for GPUs, or of a later version: not ours to guess at.
    size_t known = 1 + attributes.contains("images");
    if (attributes.size() != known)
      return ffi::Unexpected(ffi::Error::InvalidArgument(
          "convjit: the call has " + std::to_string(attributes.size()) +
          " attributes; valid on CPUs: convolution and images (gpu and plan "
          "are "
          "of programs that were lowered for CUDA)"));
    int64_t images = 0;
    if (attributes.contains("images")) {
      auto given = attributes.get<int64_t>("images");
      if (!given)
        return ffi::Unexpected(given.error());
      images = *given;
    }
    Expected<std::shared_ptr<const Kernel>> kernel =
        kernelOf(convolution, images);
    if (!kernel)
      return ffi::Unexpected(xlaError(kernel.error()));
    auto call = std::make_unique<Call>();
    call->kernel = *kernel;
    call->counters = countersOf(convolution);
    call->asStored = (*kernel)->readsStoredWeights();
    call->macs = countMacs((*kernel)->conv, (*kernel)->conv.batchGroups);
    return call;
  } catch (const std::exception &thrown) {
    return ffi::Unexpected(
        ffi::Error(ffi::ErrorCode::kResourceExhausted,
                   std::string("convjit: ") + thrown.what()));
  }
}

//===----------------------------------------------------------------------===//
// Execution
//===----------------------------------------------------------------------===//

/// A thread more for every so many multiply-adds: about 10 us of work, what
/// waking a thread costs.
constexpr int64_t macsPerThread = 500'000;

unsigned threadsFor(const Call &call, int64_t batch, int64_t available) {
  auto work = static_cast<double>(call.macs) *
              static_cast<double>(batch / call.kernel->conv.batchGroups);
  double wanted = 1 + work / static_cast<double>(macsPerThread);
  return static_cast<unsigned>(
      std::min(wanted, static_cast<double>(std::max<int64_t>(1, available))));
}

/// XLA maps large outputs anew for each call, and the kernel is the first to
/// touch them: in pages of 4 KiB that takes longer than a layer whose time is
/// its stores (64 to 32 channels, k 2 s 2, to 64^3: see docs/jax.md).
void useLargePages(void *data, size_t bytes) {
  constexpr size_t large = size_t(2) << 20;
  auto begin = (reinterpret_cast<uintptr_t>(data) + large - 1) & ~(large - 1);
  auto end = (reinterpret_cast<uintptr_t>(data) + bytes) & ~(large - 1);
  // A hint; where it is not taken, all is as before.
  if (begin < end && bytes >= 2 * large)
    madvise(reinterpret_cast<void *>(begin), end - begin, MADV_HUGEPAGE);
}

/// Of the scratch, what packed weights take.
size_t packBytes(const Kernel &kernel) {
  if (kernel.readsStoredWeights())
    return 0;
  return roundUp(kernel.packedWeightBytes);
}

Status run(const Call &call, ffi::ThreadPool &pool, const ffi::AnyBuffer &input,
           const ffi::AnyBuffer &weights, ffi::AnyBuffer &output,
           ffi::Buffer<ffi::U8> &scratch) {
  int64_t start = now();
  const Kernel &kernel = *call.kernel;
  const Convolution &conv = kernel.conv;
  Expected<int64_t> images = checkBuffers(conv, input, weights, output);
  if (!images)
    return images.takeError();
  int64_t batch = *images;

  // An executable from another machine may bring less scratch than this one's
  // kernel and threads want.
  std::unique_ptr<std::byte[]> own;
  const void *packed = call.asStored ? weights.untyped_data() : nullptr;
  std::byte *place = static_cast<std::byte *>(scratch.untyped_data());
  std::byte *sums = place + packBytes(kernel);
  size_t scratchBytes = scratch.element_count();
  if (!packed && scratchBytes < kernel.packedWeightBytes) {
    own = std::make_unique<std::byte[]>(kernel.packedWeightBytes);
    place = own.get();
  }
  useLargePages(output.untyped_data(), output.size_bytes());

  unsigned threads = threadsFor(call, batch, pool.num_threads());
  InlineExecutor here;
  HostExecutor shared(threads, [&](std::function<void()> work) {
    pool.Schedule(std::move(work));
  });
  Executor &executor = threads == 1 ? static_cast<Executor &>(here) : shared;
  if (!packed) {
    packWeights(kernel, weights.untyped_data(), place, executor);
    packed = place;
  }
  int64_t ready = now();
  size_t wanted = kernelScratchBytes(kernel, executor.concurrency(), batch);
  bool fits = wanted > 0 && scratchBytes >= packBytes(kernel) + wanted;
  Operands operands{input.untyped_data(),
                    packed,
                    nullptr,
                    nullptr,
                    output.untyped_data(),
                    batch,
                    fits ? sums : nullptr};
  Status done = runKernel(kernel, operands, executor);
  call.counters->add(now() - start, ready - start);
  return done;
}

ffi::Error execute(Call *call, ffi::ThreadPool pool, ffi::AnyBuffer input,
                   ffi::AnyBuffer weights, ffi::Result<ffi::AnyBuffer> output,
                   ffi::ResultBuffer<ffi::U8> scratch, ffi::Dictionary) {
  try {
    if (Status done = run(*call, pool, input, weights, *output, *scratch);
        !done)
      return xlaError(done.error());
    return ffi::Error::Success();
  } catch (const std::exception &thrown) {
    return ffi::Error(ffi::ErrorCode::kResourceExhausted,
                      std::string("convjit: ") + thrown.what());
  }
}

XLA_FFI_DEFINE_HANDLER(instantiateHandler, instantiate,
                       ffi::Ffi::BindInstantiate().Attrs());
XLA_FFI_DEFINE_HANDLER(executeHandler, execute,
                       ffi::Ffi::Bind()
                           .Ctx<ffi::State<Call>>()
                           .Ctx<ffi::ThreadPool>()
                           .Arg<ffi::AnyBuffer>()
                           .Arg<ffi::AnyBuffer>()
                           .Ret<ffi::AnyBuffer>()
                           .Ret<ffi::Buffer<ffi::U8>>()
                           .Attrs());

/// XLA asks a handler about itself when it is registered, and wants the type of
/// its state to be known by then. JAX registers handlers before types while a
/// backend is not there yet; so the type is registered here, by the first call.
XLA_FFI_Error *instantiateEntry(XLA_FFI_CallFrame *frame) {
  static std::once_flag once;
  XLA_FFI_Error *error = nullptr;
  std::call_once(once, [&] {
    error = ffi::Ffi::RegisterTypeId(frame->api, "convjit.jax.call", &Call::id,
                                     &Call::info);
  });
  return error ? error : instantiateHandler(frame);
}

} // namespace

XlaEntryPoints convjit::python::xlaEntryPoints() {
  return {reinterpret_cast<void *>(instantiateEntry),
          reinterpret_cast<void *>(executeHandler)};
}

size_t convjit::python::xlaScratchBytes(const Kernel &kernel, int64_t batch) {
  return packBytes(kernel) +
         kernelScratchBytes(kernel, usableProcessors(), batch);
}

XlaCalls convjit::python::xlaCalls(std::string_view convolution) {
  std::shared_ptr<Counters> counters;
  {
    std::lock_guard lock(allCounters().mutex);
    auto at = allCounters().byText.find(convolution);
    if (at == allCounters().byText.end())
      return {};
    counters = at->second;
  }
  XlaCalls sums;
  sums.calls = counters->calls;
  sums.nanoseconds = counters->nanoseconds;
  sums.packNanoseconds = counters->packNanoseconds;
  sums.shortest = sums.calls ? counters->shortest.load() : 0;
  return sums;
}
