//===- Context.cpp - contexts of the C interface -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Handles.h"

using namespace convjit;
using namespace convjit::capi;

static std::string textOf(const char *text) { return text ? text : ""; }

/// The host of the options, checked.
static Outcome readHost(const convjit_context_options &options, Host &host) {
  if (options.allocator) {
    if (Outcome o =
            readStruct(options.allocator, host.allocator, "options.allocator");
        !o)
      return o;
    if (!host.allocator.allocate || !host.allocator.release)
      return invalid("options.allocator: lacks allocate or release; valid: "
                     "both of them");
  }
  host.log = options.log;
  host.logUser = options.log_user;
  host.logLevel = options.log_level;
  if (options.executor && options.threads)
    return invalid("options.threads=" + std::to_string(options.threads) +
                   ": valid: 0 with options.executor");
  if (options.executor)
    return readExecutor(options.executor, host.executor, "options.executor");
  constexpr uint32_t mostThreads = 1024;
  if (options.threads > mostThreads && options.threads != CONVJIT_ALL_THREADS)
    return invalid("options.threads=" + std::to_string(options.threads) +
                   ": valid: up to " + std::to_string(mostThreads) +
                   ", or CONVJIT_ALL_THREADS");
  if (options.threads > 1)
    host.pool = std::make_unique<ThreadPool>(
        options.threads == CONVJIT_ALL_THREADS ? 0 : options.threads);
  return {};
}

convjit_status convjit_context_create(const convjit_context_options *from,
                                      convjit_context **context,
                                      convjit_error **error) {
  return guarded(error, [&]() -> Outcome {
    if (!context)
      return missing("context", "where to store the handle");
    *context = nullptr;
    convjit_context_options options{};
    if (from)
      if (Outcome o = readStruct(from, options, "options"); !o)
        return o;
    if (options.cache != CONVJIT_CACHE_DEFAULT &&
        options.cache != CONVJIT_CACHE_MEMORY)
      return invalid("options.cache=" + std::to_string(options.cache) +
                     ": valid: CONVJIT_CACHE_DEFAULT, CONVJIT_CACHE_MEMORY");
    auto host = std::make_shared<Host>();
    if (Outcome o = readHost(options, *host); !o)
      return o;
    *context = makeIn<convjit_context>(
        std::move(host), textOf(options.target_triple),
        textOf(options.target_cpu), textOf(options.target_features),
        textOf(options.cache_directory), options.cache, options.cache_max_bytes,
        options.cache_max_kernels);
    return *context ? Outcome() : outOfMemory();
  });
}

void convjit_context_release(convjit_context *context) {
  if (context)
    destroyIn(context);
}

const char *convjit_text_data(const convjit_text *text) {
  return text ? text->bytes.c_str() : "";
}
size_t convjit_text_size(const convjit_text *text) {
  return text ? text->bytes.size() : 0;
}
void convjit_text_release(convjit_text *text) { delete text; }
