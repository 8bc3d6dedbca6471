//===- TargetInfo.cpp - which CPU code is made for -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "TargetInfo.h"
#include "Shown.h"

#include "llvm/ADT/SmallVector.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/ADT/StringSwitch.h"
#include "llvm/MC/TargetRegistry.h"
#include "llvm/Support/MathExtras.h"
#include "llvm/Support/TargetSelect.h"
#include "llvm/TargetParser/Host.h"
#include "llvm/TargetParser/SubtargetFeature.h"

#include <mutex>

#if defined(__aarch64__) && defined(__linux__)
#include <sys/prctl.h>
#endif

using namespace convjit;

static void initializeTargets() {
  static std::once_flag once;
  std::call_once(once, [] {
    LLVMInitializeX86TargetInfo();
    LLVMInitializeX86Target();
    LLVMInitializeX86TargetMC();
    LLVMInitializeX86AsmPrinter();
    LLVMInitializeX86AsmParser();
    LLVMInitializeAArch64TargetInfo();
    LLVMInitializeAArch64Target();
    LLVMInitializeAArch64TargetMC();
    LLVMInitializeAArch64AsmPrinter();
    LLVMInitializeAArch64AsmParser();
    LLVMInitializeNVPTXTargetInfo();
    LLVMInitializeNVPTXTarget();
    LLVMInitializeNVPTXTargetMC();
    LLVMInitializeNVPTXAsmPrinter();
  });
}

static std::unique_ptr<llvm::MCSubtargetInfo>
subtarget(const std::string &triple, llvm::StringRef cpu,
          llvm::StringRef features) {
  std::string error;
  llvm::Triple parsed(triple);
  const llvm::Target *target =
      llvm::TargetRegistry::lookupTarget(parsed, error);
  if (!target)
    return nullptr;
  return std::unique_ptr<llvm::MCSubtargetInfo>(
      target->createMCSubtargetInfo(parsed, cpu, features));
}

/// What the code generators and the kernels' calling convention are for: 64-bit
/// pointers, little-endian, ELF objects.
static bool isSupported(const std::string &text) {
  llvm::Triple triple(llvm::Triple::normalize(text));
  return (triple.getArch() == llvm::Triple::x86_64 ||
          triple.getArch() == llvm::Triple::aarch64) &&
         triple.isOSBinFormatELF() && !triple.isX32() &&
         !triple.getEnvironmentName().ends_with("ilp32");
}

/// The host's features as LLVM's list, so that what a hypervisor hides from
/// this machine is not used only because its CPU model has it.
static const std::string &hostFeatures() {
  static const std::string features = [] {
    llvm::SubtargetFeatures list;
    for (const auto &feature : llvm::sys::getHostCPUFeatures())
      list.AddFeature(feature.first(), feature.second);
    return list.getString();
  }();
  return features;
}

/// Bits of the SVE registers that this process was given; 0 without SVE.
static int64_t hostSVEBits() {
#if defined(__aarch64__) && defined(__linux__)
  int length = prctl(PR_SVE_GET_VL);
  return length < 0 ? 0 : int64_t(length & PR_SVE_VL_LEN_MASK) * 8;
#else
  return 0;
#endif
}

/// Bits of a CPU's SVE registers where its manual names one length. A name such
/// as neoverse-512tvb leaves it open; the rest have 128, which NEON has too.
static int64_t sveBitsOf(llvm::StringRef cpu) {
  return llvm::StringSwitch<int64_t>(cpu)
      .Case("a64fx", 512)
      .Cases({"fujitsu-monaka", "neoverse-v1"}, 256)
      .Default(128);
}

/// The first feature of a "+a,-b" list that the subtarget does not know.
static std::string unknownFeature(const llvm::MCSubtargetInfo &info,
                                  llvm::StringRef features) {
  llvm::SmallVector<llvm::StringRef> parts;
  features.split(parts, ',', -1, false);
  for (llvm::StringRef part : parts) {
    llvm::StringRef name = part;
    if (!name.consume_front("+") && !name.consume_front("-"))
      return part.str();
    auto known =
        llvm::any_of(info.getAllProcessorFeatures(),
                     [&](const auto &feature) { return name == feature.Key; });
    if (!known)
      return part.str();
  }
  return "";
}

/// Whether a product is added by the instruction that multiplies.
static bool hasFMA(const llvm::MCSubtargetInfo &sub) {
  return !sub.getTargetTriple().isX86() || sub.checkFeatures("+fma") ||
         sub.checkFeatures("+avx512f");
}

/// What the cost model needs and LLVM's tables do not say: vendors'
/// optimization guides. Two FMA units as wide as the vectors, unless the core
/// is listed.
static void describeCore(TargetInfo &info) {
  info.machine.fmaBits = 2 * info.machine.vectorBits;
  // 512-bit operations on 256-bit units, or one 512-bit unit.
  for (const char *cpu :
       {"znver4", "icelake-client", "tigerlake", "rocketlake"})
    if (info.cpu == cpu)
      info.machine.fmaBits = 512;
  // Four 128-bit units.
  for (const char *cpu :
       {"neoverse-v1", "neoverse-v2", "neoverse-v3", "apple-m1", "apple-m2"})
    if (info.cpu == cpu)
      info.machine.fmaBits = 512;
  // Where nothing else is known, the rates are Machine's own, those of Zen 4
  // (one core of an EPYC, `bench/compare`). Intel's server cores reach their
  // third level over a mesh: 10 bytes a cycle, and 3 of stores, where past the
  // caches there are 8 (Emerald Rapids).
  struct {
    const char *cpu;
    int64_t l2Bytes;
    bool hasMesh = false;
  } constexpr cores[] = {{"haswell", 256 << 10},
                         {"broadwell", 256 << 10},
                         {"skylake", 256 << 10},
                         {"x86-64-v2", 256 << 10},
                         {"x86-64-v3", 512 << 10},
                         {"znver1", 512 << 10},
                         {"znver2", 512 << 10},
                         {"znver3", 512 << 10},
                         {"skylake-avx512", 1 << 20, true},
                         {"cascadelake", 1 << 20, true},
                         {"cooperlake", 1 << 20, true},
                         {"icelake-server", 1280 << 10, true},
                         {"sapphirerapids", 2 << 20, true},
                         {"emeraldrapids", 2 << 20, true},
                         {"graniterapids", 2 << 20, true},
                         {"neoverse-v2", 2 << 20}};
  for (const auto &core : cores) {
    if (info.cpu != core.cpu)
      continue;
    info.machine.l2Bytes = core.l2Bytes;
    if (core.hasMesh) {
      info.machine.l3Rate = 10;
      info.machine.l3Overlap = 0;
      info.machine.memoryRate = 5.5;
      info.machine.storeRate = 3;
      info.machine.fetchBytes = 128;
    }
  }
}

Expected<TargetInfo> convjit::resolveTarget(const Target &target) {
  initializeTargets();
  if (llvm::Triple(target.triple).isNVPTX())
    return badInput("target=" + target.triple +
                    ": makes no code for CPUs; valid here: x86_64-..., "
                    "aarch64-...");
  TargetInfo info;
  std::string hostTriple = llvm::sys::getProcessTriple();
  info.isHost =
      target.triple.empty() && target.cpu.empty() && target.features.empty();
  if (!target.triple.empty() && !isSupported(target.triple))
    return badInput("target triple '" + shown(target.triple) +
                    "': not supported; valid: x86_64-...-linux-gnu, "
                    "aarch64-...-linux-gnu");
  if (target.cpu.empty()) {
    info.triple = target.triple.empty() ? hostTriple : target.triple;
    bool hostArch = llvm::Triple(info.triple).getArch() ==
                    llvm::Triple(hostTriple).getArch();
    info.cpu = hostArch ? llvm::sys::getHostCPUName().str() : "generic";
    if (hostArch)
      info.features = hostFeatures();
  } else {
    std::vector<std::string> triples = {target.triple};
    if (target.triple.empty())
      triples = {hostTriple, "x86_64-unknown-linux-gnu",
                 "aarch64-unknown-linux-gnu"};
    for (const std::string &triple : triples) {
      auto base = subtarget(triple, "", "");
      if (base && base->isCPUStringValid(target.cpu)) {
        info.triple = triple;
        info.cpu = target.cpu;
        break;
      }
    }
    if (info.cpu.empty())
      return badInput(
          "target-cpu=" + shown(target.cpu) +
          ": not a CPU that LLVM knows; valid: for example "
          "x86-64-v2, haswell, sapphirerapids, znver5, neoverse-v2");
  }
  auto base = subtarget(info.triple, info.cpu, "");
  if (!base)
    return badInput("target triple '" + shown(info.triple) +
                    "': not supported; valid: x86_64-...-linux-gnu, "
                    "aarch64-...-linux-gnu");
  std::string unknown = unknownFeature(*base, target.features);
  if (!unknown.empty())
    return badInput("target-features: '" + shown(unknown) +
                    "' is not a feature of " +
                    llvm::Triple(info.triple).getArchName().str() +
                    "; valid: a list such as +avx2,-fma");
  if (!target.features.empty())
    info.features += (info.features.empty() ? "" : ",") + target.features;

  auto sub = subtarget(info.triple, info.cpu, info.features);
  if (llvm::Triple(info.triple).isX86()) {
    // What the calling convention and the code generator take for granted.
    if (!sub->checkFeatures("+64bit") || !sub->checkFeatures("+sse2") ||
        sub->checkFeatures("+soft-float"))
      return badInput("target-cpu=" + info.cpu +
                      ": with its features it is not a 64-bit CPU with SSE2; "
                      "valid: x86-64 and later");
    bool avx512 = sub->checkFeatures("+avx512f");
    bool avx = sub->checkFeatures("+avx");
    info.machine.vectorBits = avx512 ? 512 : avx ? 256 : 128;
    info.machine.registers = avx512 ? 32 : 16;
    // SSE shuffles, on the ports that multiply and add.
    info.machine.broadcastCycles = avx ? 0 : 0.33;
  } else {
    if (!sub->checkFeatures("+neon"))
      return badInput("target-cpu=" + info.cpu +
                      ": with its features it has no NEON; valid: a CPU with "
                      "64-bit Arm's vectors");
    info.machine.vectorBits = 128;
    info.machine.registers = 32;
    bool host = target.cpu.empty() && llvm::Triple(hostTriple).isAArch64();
    int64_t bits = host ? hostSVEBits() : sveBitsOf(info.cpu);
    if (sub->checkFeatures("+sve") && bits > 128 && llvm::isPowerOf2_64(bits)) {
      info.machine.vectorBits = info.sveBits = bits;
      // Load and broadcast as one instruction, which takes no vector port.
      // Where LLVM's tuning does without, a step of 96 FMAs takes 82 cycles
      // instead of 48 (llvm-mca, neoverse-v1).
      info.features = "-no-sve-fp-ld1r" +
                      (info.features.empty() ? "" : "," + info.features);
    }
  }
  describeCore(info);
  return info;
}

std::string TargetInfo::describe(DataType dtype) const {
  return triple + ": " + cpu + ", " +
         std::to_string(machine.vectorBits / 8 / sizeOf(dtype)) + " " +
         name(dtype) + " lanes, " + std::to_string(machine.registers) +
         " vector registers" +
         (sveBits ? " (SVE of " + std::to_string(sveBits) + " bits)" : "");
}

const std::string &convjit::hostText() {
  static const std::string text =
      llvm::sys::getProcessTriple() + " " + llvm::sys::getHostCPUName().str() +
      " " + hostFeatures() +
      (hostSVEBits() ? " sve" + std::to_string(hostSVEBits()) : "");
  return text;
}

/// Features that the target has and the host lacks, comma-separated; empty
/// when code for the target can run here.
static std::string missingOnHost(const TargetInfo &target) {
  if (target.isHost)
    return "";
  if (llvm::Triple(target.triple).getArch() !=
      llvm::Triple(llvm::sys::getProcessTriple()).getArch())
    return llvm::Triple(target.triple).getArchName().str();
  auto sub = subtarget(target.triple, target.cpu, target.features);
  std::string missing;
  if (target.sveBits && target.sveBits != hostSVEBits())
    missing = "SVE of " + std::to_string(target.sveBits) + " bits";
  for (const auto &feature : llvm::sys::getHostCPUFeatures())
    if (!feature.second && sub->checkFeatures(("+" + feature.first()).str()))
      missing += (missing.empty() ? "" : ",") + feature.first().str();
  return missing;
}

Status convjit::checkRunsHere(const TargetInfo &target) {
  std::string missing = missingOnHost(target);
  if (missing.empty())
    return {};
  return badInput("target-cpu=" + target.cpu +
                  ": this machine cannot run it, it lacks " + missing +
                  "; valid: a CPU whose features it has");
}

std::unique_ptr<llvm::MCSubtargetInfo>
convjit::createSubtarget(const TargetInfo &info) {
  return subtarget(info.triple, info.cpu, info.features);
}

Expected<std::unique_ptr<llvm::TargetMachine>>
convjit::createTargetMachine(const TargetInfo &info) {
  std::string error;
  llvm::Triple triple(info.triple);
  const llvm::Target *target =
      llvm::TargetRegistry::lookupTarget(triple, error);
  if (!target)
    return internalError("no LLVM target: " + error);
  llvm::TargetOptions options;
  std::unique_ptr<llvm::TargetMachine> machine(target->createTargetMachine(
      triple, info.cpu, info.features, options, llvm::Reloc::PIC_,
      llvm::CodeModel::Small, llvm::CodeGenOptLevel::Default));
  if (!machine)
    return internalError("LLVM made no target machine for " + info.triple);
  return machine;
}

Expected<VectorUnits> convjit::vectorUnits(const Target &target) {
  Expected<TargetInfo> info = resolveTarget(target);
  if (!info)
    return info.takeError();
  if (Status s = checkRunsHere(*info); !s)
    return s.takeError();
  auto sub = createSubtarget(*info);
  return VectorUnits{info->machine.vectorBits, hasFMA(*sub)};
}
