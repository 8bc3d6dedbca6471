//===- CachePlace.cpp - where kernels lie on disk -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "CachePlace.h"
#include "BuildId.h"
#include "ConvolutionText.h"
#include "GPUCompiler.h"
#include "TargetInfo.h"

#include "llvm/ADT/StringRef.h"
#include "llvm/Support/SHA256.h"

#include <charconv>
#include <cstdlib>

using namespace convjit;

static Digest sha256(std::string_view bytes) {
  return llvm::SHA256::hash(
      {reinterpret_cast<const uint8_t *>(bytes.data()), bytes.size()});
}

/// Empty in a program that runs with another user's rights.
static std::string environment(const char *name) {
  const char *value = secure_getenv(name);
  return value ? value : "";
}

Expected<uint64_t> convjit::parseCacheSize(const std::string &text) {
  uint64_t bytes = 0;
  const char *last = text.data() + text.size();
  auto [end, error] = std::from_chars(text.data(), last, bytes);
  std::string_view unit(end, static_cast<size_t>(last - end));
  int shift = unit.empty()  ? 0
              : unit == "K" ? 10
              : unit == "M" ? 20
              : unit == "G" ? 30
                            : -1;
  if (error != std::errc() || shift < 0 || bytes > (~uint64_t(0) >> 2 >> shift))
    return badInput(text +
                    ": valid: bytes, or with K, M or G after them: 512M");
  return bytes << shift;
}

static Expected<std::string> directoryOf(const KernelCacheOptions &options) {
  if (!options.directory.empty())
    return options.directory;
  if (std::string named = environment("CONVJIT_CACHE_DIR"); !named.empty())
    return named;
  // The XDG specification: a path that is not absolute is ignored.
  if (std::string xdg = environment("XDG_CACHE_HOME"); xdg.starts_with('/'))
    return xdg + "/convjit";
  if (std::string home = environment("HOME"); home.starts_with('/'))
    return home + "/.cache/convjit";
  return environmentError("cache: no place for it; valid: a directory in "
                          "CONVJIT_CACHE_DIR, or HOME set");
}

Expected<std::unique_ptr<DiskStore>>
convjit::openStore(const KernelCacheOptions &options) {
  std::string state = environment("CONVJIT_CACHE");
  if (state == "off" || state == "0" || !options.disk)
    return environmentError(
        "cache: turned off" +
        std::string(options.disk ? " by CONVJIT_CACHE" : ""));
  if (!state.empty() && state != "on" && state != "1")
    return badInput("CONVJIT_CACHE=" + state + ": valid: on, off");
  uint64_t maxBytes = options.maxBytes ? options.maxBytes : uint64_t(1) << 30;
  std::string size = environment("CONVJIT_CACHE_SIZE");
  if (options.maxBytes == 0 && !size.empty()) {
    Expected<uint64_t> given = parseCacheSize(size);
    if (!given)
      return badInput("CONVJIT_CACHE_SIZE=" + given.error().message);
    maxBytes = *given;
  }
  if (buildId().empty())
    return environmentError("cache: this program was linked without a build "
                            "id; valid: the linker's option --build-id");
  Expected<std::string> directory = directoryOf(options);
  if (!directory)
    return directory.takeError();
  return DiskStore::open(*directory, maxBytes, sha256);
}

std::string convjit::cacheKey(const Convolution &conv,
                              const CompileOptions &options) {
  std::string mask;
  if (!conv.mask.empty())
    mask = "sha256-" +
           hexOf(sha256({reinterpret_cast<const char *>(conv.mask.data()),
                         conv.mask.size() * sizeof(double)}));
  const Target &target = options.target;
  std::string key = "layer " + describe({conv, mask}) + "\ntarget " +
                    target.triple + " " + target.cpu + " " + target.features;
  // Both what was asked for and what the host is: an empty field means the
  // host's, and a CPU of the same name may lack what a hypervisor hides. Code
  // for GPUs is the same on every host.
  key += (isGPU(target) ? "" : "\nhost " + hostText()) + "\nimages " +
         std::to_string(options.images);
  if (isGPU(target))
    key += " " + std::to_string(options.imageMultiple) +
           (ptxCarriesIR() ? " with IR" : "");
  return key + "\ncompiler " + buildId() + "\nplan " + options.plan + "\n";
}

std::string convjit::keyField(const std::string &key,
                              const std::string &field) {
  llvm::StringRef rest = key;
  while (!rest.empty()) {
    auto [line, next] = rest.split('\n');
    if (line.consume_front(field + " "))
      return line.trim().str();
    rest = next;
  }
  return "";
}
