//===- CacheVerb.cpp - convjit cache -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Common.h"
#include "convjit/KernelCache.h"

#include <charconv>
#include <chrono>
#include <cstdio>
#include <ctime>
#include <iostream>

using namespace convjit;
using namespace convjit::cli;

namespace {

struct CacheOptions {
  bool json = false;
  std::string name, maxSize;
};

using Cache = std::unique_ptr<KernelCache>;

/// The cache that other verbs use, or why there is none.
Expected<Cache> openCache() {
  Expected<Cache> cache = KernelCache::create();
  if (cache)
    if (Status status = (*cache)->diskStatus(); !status)
      return status.takeError();
  return cache;
}

std::string sizeText(double bytes) {
  const char *unit = "B";
  for (const char *next : {"KiB", "MiB", "GiB"})
    if (bytes >= 1024) {
      bytes /= 1024;
      unit = next;
    }
  char text[32];
  std::snprintf(text, sizeof text, *unit == 'B' ? "%.0f %s" : "%.1f %s", bytes,
                unit);
  return text;
}

/// ISO 8601, in UTC.
std::string timeText(double seconds) {
  auto time = static_cast<std::time_t>(seconds);
  std::tm parts;
  char text[32] = "";
  if (gmtime_r(&time, &parts))
    std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts);
  return text;
}

/// What ls says of a kernel: its layer, and the chip where that is a GPU's.
std::string shown(const CachedKernel &kernel) {
  if (!kernel.damage.empty())
    return "(" + kernel.damage + ")";
  size_t chip = kernel.target.find(' ');
  if (!kernel.target.starts_with("nvptx") || chip == std::string::npos)
    return kernel.layer;
  return kernel.layer + kernel.target.substr(chip);
}

Json toJson(const CachedKernel &kernel) {
  Json json = {{"name", kernel.name},
               {"bytes", kernel.bytes},
               {"last_use", timeText(kernel.lastUse)}};
  if (!kernel.damage.empty()) {
    json["damage"] = kernel.damage;
    return json;
  }
  json["layer"] = kernel.layer;
  json["target"] = kernel.target;
  json["compiler"] = kernel.compiler;
  json["plan"] = kernel.plan;
  json["created"] = timeText(kernel.created);
  json["compile_ms"] = kernel.compileMilliseconds;
  json["code_bytes"] = kernel.codeBytes;
  return json;
}

Expected<int> list(const CacheOptions &options) {
  Expected<Cache> cache = openCache();
  if (!cache)
    return cache.takeError();
  Expected<std::vector<CachedKernel>> kernels = (*cache)->onDisk();
  if (!kernels)
    return kernels.takeError();
  if (options.json) {
    Json all = Json::array();
    for (const CachedKernel &kernel : *kernels)
      all.push_back(toJson(kernel));
    printJson(all);
    return 0;
  }
  for (const CachedKernel &kernel : *kernels)
    std::cout << kernel.name.substr(0, 12) << "  " << timeText(kernel.lastUse)
              << "  " << sizeText(static_cast<double>(kernel.bytes)) << "  "
              << oneLine(shown(kernel)) << "\n";
  return 0;
}

/// The kernels whose file's name starts with `name`.
Expected<CachedKernel> findKernel(const KernelCache &cache,
                                  const std::string &name) {
  Expected<std::vector<CachedKernel>> kernels = cache.onDisk();
  if (!kernels)
    return kernels.takeError();
  const CachedKernel *found = nullptr;
  for (const CachedKernel &kernel : *kernels)
    if (kernel.name.starts_with(name)) {
      if (found)
        return badInput("name=" + name +
                        ": more than one kernel starts so; "
                        "valid: more of its digits");
      found = &kernel;
    }
  if (!found)
    return badInput("name=" + name +
                    ": no such kernel; valid: what `convjit cache ls` prints");
  return *found;
}

Expected<int> infoOfKernel(const KernelCache &cache,
                           const CacheOptions &options) {
  Expected<CachedKernel> kernel = findKernel(cache, options.name);
  if (!kernel)
    return kernel.takeError();
  Json json = toJson(*kernel);
  if (options.json) {
    printJson(json);
    return 0;
  }
  for (auto &[field, value] : json.items())
    std::cout << field << std::string(12 - field.size(), ' ')
              << (value.is_string() ? oneLine(value.get<std::string>())
                                    : value.dump())
              << "\n";
  return 0;
}

Expected<int> info(const CacheOptions &options) {
  Expected<Cache> cache = openCache();
  if (!cache)
    return cache.takeError();
  if (!options.name.empty())
    return infoOfKernel(**cache, options);
  Expected<std::vector<CachedKernel>> kernels = (*cache)->onDisk();
  if (!kernels)
    return kernels.takeError();
  uint64_t bytes = 0;
  size_t damaged = 0;
  for (const CachedKernel &kernel : *kernels) {
    bytes += kernel.bytes;
    damaged += !kernel.damage.empty();
  }
  size_t good = kernels->size() - damaged;
  uint64_t maxBytes = (*cache)->maxBytes();
  if (options.json)
    printJson({{"directory", (*cache)->directory()},
               {"kernels", good},
               {"damaged", damaged},
               {"bytes", bytes},
               {"max_bytes", maxBytes}});
  else
    std::cout << "directory   " << (*cache)->directory() << "\nkernels     "
              << good << "\ndamaged     " << damaged << "\nsize        "
              << sizeText(static_cast<double>(bytes)) << " of "
              << sizeText(static_cast<double>(maxBytes)) << "\n";
  return 0;
}

Expected<int> reportRemoval(const Expected<CacheRemoval> &gone,
                            const CacheOptions &options) {
  if (!gone)
    return gone.error();
  if (options.json)
    printJson({{"removed", gone->kernels}, {"bytes", gone->bytes}});
  else
    std::cout << "removed " << gone->kernels << " kernels, "
              << sizeText(static_cast<double>(gone->bytes)) << "\n";
  return 0;
}

Expected<int> clear(const CacheOptions &options) {
  Expected<Cache> cache = openCache();
  if (!cache)
    return cache.takeError();
  return reportRemoval((*cache)->clearDisk(), options);
}

Expected<int> collect(const CacheOptions &options) {
  Expected<Cache> cache = openCache();
  if (!cache)
    return cache.takeError();
  uint64_t maxBytes = (*cache)->maxBytes();
  if (!options.maxSize.empty()) {
    Expected<uint64_t> size = parseCacheSize(options.maxSize);
    if (!size)
      return badInput("--max-size=" + size.error().message);
    maxBytes = *size;
  }
  return reportRemoval((*cache)->collectDisk(maxBytes), options);
}

} // namespace

Verb convjit::cli::addCache(CLI::App &parent) {
  auto options = std::make_shared<CacheOptions>();
  CLI::App *app = parent.add_subcommand(
      "cache", "list and remove the compiled kernels kept on disk");
  app->require_subcommand(1);
  app->footer("The directory is CONVJIT_CACHE_DIR, or convjit below "
              "XDG_CACHE_HOME or ~/.cache.\n"
              "Example: convjit cache ls");
  auto add = [&](const char *name, const char *what) {
    CLI::App *verb = app->add_subcommand(name, what);
    verb->add_flag("--json", options->json,
                   "print one JSON document and nothing else");
    return verb;
  };
  CLI::App *ls = add("ls", "every kernel, latest used first");
  CLI::App *about = add("info", "the cache, or one kernel");
  about->add_option("name", options->name,
                    "the first digits of a kernel's name, as ls prints them");
  CLI::App *clearing = add("clear", "remove every kernel");
  CLI::App *gc = add("gc", "remove the least recently used beyond the limit, "
                           "and what killed processes left");
  gc->add_option("--max-size", options->maxSize,
                 "keep so many bytes (K, M, G may follow) instead of the "
                 "cache's limit");
  return {app, [=]() -> Expected<int> {
            if (ls->parsed())
              return list(*options);
            if (about->parsed())
              return info(*options);
            if (clearing->parsed())
              return clear(*options);
            (void)gc;
            return collect(*options);
          }};
}
