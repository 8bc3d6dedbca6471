//===- CacheEntry.cpp - a compiled kernel as bytes -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "CacheEntry.h"
#include "Bytes.h"

#include <bit>
#include <cmath>

using namespace convjit;

namespace {

constexpr std::string_view magic = "convjitK";
constexpr uint32_t version = 3;
constexpr size_t headerBytes = 8 + 4 + 4 + 8 + 32;

} // namespace

std::string convjit::encodeEntry(const StoredKernel &kernel, DigestFn digest) {
  std::string body;
  body.reserve(kernel.key.size() + kernel.plan.size() + kernel.object.size() +
               10 * 8);
  put(body, kernel.key);
  put(body, kernel.plan);
  put(body, kernel.object);
  put(body, kernel.packedWeightBytes);
  put(body, kernel.scratchBytes);
  put(body, static_cast<uint64_t>(kernel.tasksPerImage));
  put(body, static_cast<uint64_t>(kernel.pieces));
  put(body, kernel.codeBytes);
  put(body, std::bit_cast<uint64_t>(kernel.compileMilliseconds));
  put(body, static_cast<uint64_t>(kernel.created));
  std::string bytes(magic);
  bytes.reserve(headerBytes + body.size());
  put(bytes, version, 4);
  put(bytes, 0, 4);
  put(bytes, body.size());
  for (uint8_t byte : digest(body))
    bytes += static_cast<char>(byte);
  return bytes + body;
}

Expected<StoredKernel> convjit::decodeEntry(std::string_view bytes,
                                            DigestFn digest) {
  auto bad = [](std::string what) { return environmentError(std::move(what)); };
  ByteReader header{bytes};
  if (header.take(magic.size()) != magic)
    return bad("is not a kernel of convjit's");
  uint64_t found = header.number(4), reserved = header.number(4);
  if (!header.good || found != version || reserved != 0)
    return bad("has version " + std::to_string(found) +
               "; valid: " + std::to_string(version));
  uint64_t length = header.number();
  std::string_view wanted = header.take(sizeof(Digest));
  if (!header.good || length != header.rest.size())
    return bad("is truncated, or longer than it says");
  Digest actual = digest(header.rest);
  if (wanted !=
      std::string_view(reinterpret_cast<char *>(actual.data()), actual.size()))
    return bad("fails its checksum");
  ByteReader body{header.rest};
  StoredKernel kernel;
  kernel.key = body.text();
  kernel.plan = body.text();
  kernel.object = body.text();
  kernel.packedWeightBytes = body.number();
  kernel.scratchBytes = body.number();
  kernel.tasksPerImage = static_cast<int64_t>(body.number());
  kernel.pieces = static_cast<int64_t>(body.number());
  kernel.codeBytes = body.number();
  kernel.compileMilliseconds = std::bit_cast<double>(body.number());
  kernel.created = static_cast<int64_t>(body.number());
  if (!body.good || !body.rest.empty() || kernel.object.empty() ||
      kernel.tasksPerImage < 0 || kernel.pieces < 1 ||
      kernel.packedWeightBytes >> 62 || kernel.scratchBytes >> 31 ||
      !std::isfinite(kernel.compileMilliseconds))
    return bad("is malformed");
  return kernel;
}

std::string convjit::hexOf(const Digest &digest) {
  constexpr char digits[] = "0123456789abcdef";
  std::string text;
  for (uint8_t byte : digest)
    text += {digits[byte >> 4], digits[byte & 15]};
  return text;
}
