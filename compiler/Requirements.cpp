//===- Requirements.cpp - what a target's code needs -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

// A target's features become bits of a few words. Those that only intrinsics or
// atomics use are left out: our code has neither, and hypervisors often hide
// them.
//
//===----------------------------------------------------------------------===//

#include "Dispatch.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/SmallVector.h"
#include "llvm/TargetParser/X86TargetParser.h"

using namespace convjit;

namespace {

struct FeatureBit {
  const char *name;
  int word, bit;
};

/// x86-64: registers of CPUID's leaves, and XCR0.
enum X86Word {
  Leaf1C,
  Leaf1D,
  Leaf7B,
  Leaf7C,
  Leaf7D,
  Leaf71A,
  Leaf71D,
  Extended1C,
  XCR0
};
constexpr FeatureBit x86Bits[] = {
    {"cmov", Leaf1D, 15},          {"sse", Leaf1D, 25},
    {"sse2", Leaf1D, 26},          {"sse3", Leaf1C, 0},
    {"pclmul", Leaf1C, 1},         {"ssse3", Leaf1C, 9},
    {"fma", Leaf1C, 12},           {"sse4.1", Leaf1C, 19},
    {"sse4.2", Leaf1C, 20},        {"movbe", Leaf1C, 22},
    {"popcnt", Leaf1C, 23},        {"avx", Leaf1C, 28},
    {"f16c", Leaf1C, 29},          {"bmi", Leaf7B, 3},
    {"avx2", Leaf7B, 5},           {"bmi2", Leaf7B, 8},
    {"avx512f", Leaf7B, 16},       {"avx512dq", Leaf7B, 17},
    {"adx", Leaf7B, 19},           {"avx512ifma", Leaf7B, 21},
    {"avx512cd", Leaf7B, 28},      {"avx512bw", Leaf7B, 30},
    {"avx512vl", Leaf7B, 31},      {"avx512vbmi", Leaf7C, 1},
    {"avx512vbmi2", Leaf7C, 6},    {"gfni", Leaf7C, 8},
    {"vpclmulqdq", Leaf7C, 10},    {"avx512vnni", Leaf7C, 11},
    {"avx512bitalg", Leaf7C, 12},  {"avx512vpopcntdq", Leaf7C, 14},
    {"avx512fp16", Leaf7D, 23},    {"avxvnni", Leaf71A, 4},
    {"avx512bf16", Leaf71A, 5},    {"avxifma", Leaf71A, 23},
    {"avxvnniint8", Leaf71D, 4},   {"avxneconvert", Leaf71D, 5},
    {"avxvnniint16", Leaf71D, 10}, {"avx10.1", Leaf71D, 19},
    {"sahf", Extended1C, 0},       {"lzcnt", Extended1C, 5},
    {"sse4a", Extended1C, 6},      {"xop", Extended1C, 11},
    {"fma4", Extended1C, 16},      {"tbm", Extended1C, 21},
};
/// The operating system must save the registers too.
constexpr uint64_t avxState = 0x6, avx512State = 0xe6;

/// For intrinsics, atomics, the operating system, or older than x86-64.
constexpr const char *x86Unused[] = {
    "64bit",
    "aes",
    "amx-avx512",
    "amx-bf16",
    "amx-complex",
    "amx-fp16",
    "amx-fp8",
    "amx-int8",
    "amx-movrs",
    "amx-tf32",
    "amx-tile",
    "amx-transpose",
    "avx512vp2intersect",
    "cldemote",
    "clflushopt",
    "clwb",
    "clzero",
    "cmpccxadd",
    "crc32",
    "cx16",
    "cx8",
    "enqcmd",
    "evex512",
    "fsgsbase",
    "fxsr",
    "hreset",
    "invpcid",
    "kl",
    "lwp",
    "mmx",
    "movdir64b",
    "movdiri",
    "movrs",
    "mwaitx",
    "pconfig",
    "pku",
    "prefetchi",
    "prfchw",
    "ptwrite",
    "raoint",
    "rdpid",
    "rdpru",
    "rdrnd",
    "rdseed",
    "rtm",
    "serialize",
    "sgx",
    "sha",
    "sha512",
    "shstk",
    "sm3",
    "sm4",
    "tsxldtrk",
    "uintr",
    "usermsr",
    "vaes",
    "vzeroupper",
    "waitpkg",
    "wbnoinvd",
    "widekl",
    "x87",
    "xsave",
    "xsavec",
    "xsaveopt",
    "xsaves",
    "3dnow",
    "3dnowa",
    "prefetchwt1",
};
/// What no word above tells. LLVM's list of a CPU is asked as well, for what
/// comes after this was written.
constexpr const char *x86Unknown[] = {
    "avx10.2", "egpr", "push2pop2", "ppx", "ndd", "ccmp", "nf", "cf", "zu"};

/// AArch64: the words that Linux gives a program.
enum ArmWord { HWCAP, HWCAP2 };
constexpr FeatureBit armBits[] = {
    {"fp-armv8", HWCAP, 0}, {"neon", HWCAP, 1},     {"fullfp16", HWCAP, 10},
    {"rdm", HWCAP, 12},     {"jsconv", HWCAP, 13},  {"complxnum", HWCAP, 14},
    {"sha3", HWCAP, 17},    {"dotprod", HWCAP, 20}, {"sve", HWCAP, 22},
    {"fp16fml", HWCAP, 23}, {"sve2", HWCAP2, 1},    {"sve-bitperm", HWCAP2, 4},
    {"flagm", HWCAP, 27},   {"fptoint", HWCAP2, 8}, {"f32mm", HWCAP2, 10},
    {"f64mm", HWCAP2, 11},  {"i8mm", HWCAP2, 13},   {"bf16", HWCAP2, 14},
    {"cssc", HWCAP2, 34},   {"sve2p1", HWCAP2, 36}, {"mops", HWCAP2, 43},
};

Error cannotCheck(const TargetInfo &target, llvm::StringRef feature) {
  return badInput("target-cpu=" + target.cpu + ": needs " + feature.str() +
                  ", which the archive could not check for at run time; valid: "
                  "a CPU without it, or --target-features=-" +
                  feature.str());
}

Status checkX86(const TargetInfo &target, const llvm::MCSubtargetInfo &info) {
  auto has = [&](llvm::StringRef name) {
    return info.checkFeatures(("+" + name).str());
  };
  for (const char *name : x86Unknown)
    if (has(name))
      return cannotCheck(target, name);
  if (llvm::X86::parseArchX86(target.cpu) == llvm::X86::CK_None)
    return {};
  llvm::SmallVector<llvm::StringRef> features;
  llvm::X86::getFeaturesForCPU(target.cpu, features);
  auto isKnown = [](llvm::StringRef name) {
    return llvm::is_contained(x86Unused, name) ||
           llvm::any_of(x86Bits,
                        [&](const auto &bit) { return name == bit.name; });
  };
  for (llvm::StringRef name : features)
    if (!isKnown(name) && has(name))
      return cannotCheck(target, name);
  return {};
}

} // namespace

Expected<Requirements> convjit::requirementsOf(const TargetInfo &target) {
  auto info = createSubtarget(target);
  if (!info)
    return internalError("no subtarget for " + target.triple);
  bool x86 = llvm::Triple(target.triple).isX86();
  if (x86)
    if (Status s = checkX86(target, *info); !s)
      return s.takeError();
  Requirements result;
  llvm::ArrayRef<FeatureBit> bits = x86 ? llvm::ArrayRef<FeatureBit>(x86Bits)
                                        : llvm::ArrayRef<FeatureBit>(armBits);
  for (const FeatureBit &bit : bits)
    if (info->checkFeatures(std::string("+") + bit.name)) {
      result.words[bit.word] |= uint64_t(1) << bit.bit;
      result.features.emplace_back(bit.name);
    }
  if (x86 && info->checkFeatures("+avx"))
    result.words[XCR0] |=
        info->checkFeatures("+avx512f") ? avx512State : avxState;
  result.sveBits = target.sveBits;
  return result;
}
