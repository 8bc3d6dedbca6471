//===- Runtime.cpp - what compiled kernels call -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Runtime.h"
#include "Machine.h"
#include "SmallFloat.h"

#include <cmath>
#include <cstring>
#include <dlfcn.h>

using namespace convjit;
using namespace convjit::emulator;

//===----------------------------------------------------------------------===//
// Accesses and intrinsics
//===----------------------------------------------------------------------===//

static void *load(Machine *machine, uint32_t site, uintptr_t address) {
  Site &s = machine->sites[site];
  return machine->access(s, address, s.bytes, AccessKind::Read);
}

static void *store(Machine *machine, uint32_t site, uintptr_t address) {
  Site &s = machine->sites[site];
  return machine->access(s, address, s.bytes, AccessKind::Write);
}

static void *atomic(Machine *machine, uint32_t site, uintptr_t address) {
  Site &s = machine->sites[site];
  return machine->access(s, address, s.bytes, AccessKind::Atomic);
}

/// memcpy and memmove: `site` reads, the next one writes.
static void move(Machine *machine, uint32_t site, std::byte *to,
                 const std::byte *from, uint64_t bytes) {
  // Byte by byte, as neither alignment nor a common buffer is promised;
  // backwards where the ranges overlap that way.
  for (uint64_t i = 0; i < bytes; ++i) {
    uint64_t at = to > from ? bytes - 1 - i : i;
    std::byte value = *machine->access(machine->sites[site],
                                       reinterpret_cast<uintptr_t>(from + at),
                                       1, AccessKind::Read);
    *machine->access(machine->sites[site + 1],
                     reinterpret_cast<uintptr_t>(to + at), 1,
                     AccessKind::Write) = value;
  }
}

static void fill(Machine *machine, uint32_t site, std::byte *to, uint8_t value,
                 uint64_t bytes) {
  for (uint64_t i = 0; i < bytes; ++i)
    *machine->access(machine->sites[site], reinterpret_cast<uintptr_t>(to + i),
                     1, AccessKind::Write) = std::byte(value);
}

static void copy(Machine *machine, uint32_t site, uintptr_t to, uintptr_t from,
                 uint32_t sourceBytes) {
  machine->copyAsync(machine->sites[site], to, from, sourceBytes);
}
static void commit(Machine *machine) { machine->commitGroup(); }
static void wait(Machine *machine, uint32_t left) { machine->waitGroup(left); }

static uint32_t barrier(Machine *machine, uint32_t site, uint32_t id,
                        uint32_t count, uint32_t vote) {
  return machine->barrier(machine->sites[site], id, count, vote != 0);
}
static void arrive(Machine *machine, uint32_t site, uint32_t id,
                   uint32_t count) {
  machine->barrierArrive(machine->sites[site], id, count);
}
static void warp(Machine *machine, uint32_t site, const void *operands,
                 void *results) {
  machine->warpOperation(machine->sites[site], operands, results);
}
static uint32_t reg(Machine *machine, uint32_t which) {
  return machine->reg(static_cast<Register>(which));
}
static uint32_t isShared(Machine *machine, uintptr_t address) {
  return machine->isShared(address);
}

//===----------------------------------------------------------------------===//
// Arithmetic
//===----------------------------------------------------------------------===//

static float rsqrtFloat(float x) { return 1 / std::sqrt(x); }
static double rsqrtDouble(double x) { return 1 / std::sqrt(x); }
static float rcpFloat(float x) { return 1 / x; }
static float saturate(float x) { return x > 0 ? (x < 1 ? x : 1) : 0; }
static float divide(float x, float y) { return x / y; }
static float normcdf(float x) {
  return static_cast<float>(0.5 * std::erfc(-double(x) * M_SQRT1_2));
}
static uint32_t toTf32(float x) { return floatToTf32(x); }

// Conversions by LLVM's calling convention: half and bfloat in the low bits of
// a vector register. The compiler's own run-time library has not all of them
// everywhere, and would have it called for a type that this compiler's host
// lacks.
using Register16 = uint16_t __attribute__((vector_size(16)));

static Register16 truncateHalf(float x) { return Register16{floatToHalf(x)}; }
static float extendHalf(Register16 x) { return halfToFloat(x[0]); }
static Register16 truncateBfloat(float x) {
  return Register16{floatToBfloat(x)};
}
// Through f32 with a sticky bit, so that it is rounded once.
static float stickyFloat(double x) {
  auto rounded = static_cast<float>(x);
  if (std::isnan(x) || rounded == x || std::isinf(rounded))
    return rounded;
  uint32_t bits = std::bit_cast<uint32_t>(rounded);
  if (std::fabs(rounded) > std::fabs(x))
    --bits;
  return std::bit_cast<float>(bits | 1);
}
static Register16 truncateDoubleHalf(double x) {
  return truncateHalf(stickyFloat(x));
}
static Register16 truncateDoubleBfloat(double x) {
  return truncateBfloat(stickyFloat(x));
}

template <typename Result, typename... Arguments>
static void *address(Result (*function)(Arguments...)) {
  return reinterpret_cast<void *>(function);
}

namespace {
struct Entry {
  std::string_view name;
  void *address;
};
} // namespace

static const Entry own[] = {
    {"convjit_emu_load", address(load)},
    {"convjit_emu_store", address(store)},
    {"convjit_emu_atomic", address(atomic)},
    {"convjit_emu_move", address(move)},
    {"convjit_emu_fill", address(fill)},
    {"convjit_emu_copy", address(copy)},
    {"convjit_emu_commit", address(commit)},
    {"convjit_emu_wait", address(wait)},
    {"convjit_emu_barrier", address(barrier)},
    {"convjit_emu_arrive", address(arrive)},
    {"convjit_emu_warp", address(warp)},
    {"convjit_emu_register", address(reg)},
    {"convjit_emu_is_shared", address(isShared)},
    {"convjit_emu_tf32", address(toTf32)},
    {"__truncsfhf2", address(truncateHalf)},
    {"__gnu_f2h_ieee", address(floatToHalf)},
    {"__extendhfsf2", address(extendHalf)},
    {"__gnu_h2f_ieee", address(halfToFloat)},
    {"__truncsfbf2", address(truncateBfloat)},
    {"__truncdfhf2", address(truncateDoubleHalf)},
    {"__truncdfbf2", address(truncateDoubleBfloat)},
    {"__nv_rsqrtf", address(rsqrtFloat)},
    {"__nv_rsqrt", address(rsqrtDouble)},
    {"__nv_frcp_rn", address(rcpFloat)},
    {"__nv_saturatef", address(saturate)},
    {"__nv_fast_fdividef", address(divide)},
    {"__nv_fdiv_rn", address(divide)},
    {"__nv_normcdff", address(normcdf)},
};

/// Functions of the C library that kernels may reach: libdevice has them as
/// __nv_NAME, the float ones of a few as __nv_fast_NAME, and LLVM's code
/// generator calls them for its own intrinsics.
static const std::string_view fromLibrary[] = {
    "acos",       "acosf",  "acosh",   "acoshf",    "asin",       "asinf",
    "asinh",      "asinhf", "atan",    "atan2",     "atan2f",     "atanf",
    "atanh",      "atanhf", "cbrt",    "cbrtf",     "ceil",       "ceilf",
    "cos",        "cosf",   "cosh",    "coshf",     "erf",        "erfc",
    "erfcf",      "erff",   "exp",     "exp10",     "exp10f",     "exp2",
    "exp2f",      "expf",   "expm1",   "expm1f",    "fabs",       "fabsf",
    "floor",      "floorf", "fma",     "fmaf",      "fmax",       "fmaxf",
    "fmin",       "fminf",  "fmod",    "fmodf",     "log",        "log10",
    "log10f",     "log1p",  "log1pf",  "log2",      "log2f",      "logf",
    "pow",        "powf",   "rint",    "rintf",     "round",      "roundf",
    "sin",        "sinf",   "sinh",    "sinhf",     "sqrt",       "sqrtf",
    "tan",        "tanf",   "tanh",    "tanhf",     "trunc",      "truncf",
    "memcpy",     "memset", "memmove", "roundeven", "roundevenf", "nearbyint",
    "nearbyintf", "ldexp",  "ldexpf"};

void *emulator::runtimeFunction(std::string_view name) {
  for (const Entry &entry : own)
    if (entry.name == name)
      return entry.address;
  for (std::string_view prefix : {"__nv_fast_", "__nv_"})
    if (name.starts_with(prefix)) {
      name.remove_prefix(prefix.size());
      break;
    }
  for (std::string_view function : fromLibrary)
    if (function == name)
      return dlsym(RTLD_DEFAULT, std::string(name).c_str());
  return nullptr;
}
