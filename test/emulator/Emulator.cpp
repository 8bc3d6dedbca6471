//===- Emulator.cpp - GPU kernels run and checked on the host -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Emulator.h"
#include "Link.h"
#include "Measure.h"
#include "Rewrite.h"
#include "SmallFloat.h"

#include "llvm/IR/DebugInfo.h"
#include "llvm/IR/Verifier.h"
#include "llvm/Target/TargetMachine.h"
#include "llvm/Transforms/Utils/Cloning.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <numeric>

using namespace convjit;
using namespace convjit::emulator;

struct Program::Impl {
  std::unique_ptr<Machine> machine = std::make_unique<Machine>();
  std::vector<Entry> entries;
  std::vector<BlockProfile> blocks;
  std::vector<std::vector<std::byte>> initial; ///< of the module's variables
  bool measure = false;
  std::optional<Code> code;
};

Program::Program(std::unique_ptr<Impl> impl) : impl(std::move(impl)) {}
Program::Program(Program &&) noexcept = default;
Program &Program::operator=(Program &&) noexcept = default;
Program::~Program() = default;

Expected<Program> Program::compile(const llvm::Module &module,
                                   const CompileOptions &options) {
  std::string broken;
  llvm::raw_string_ostream stream(broken);
  if (llvm::verifyModule(module, &stream))
    return badInput("the module is not valid: " + broken);
  Expected<std::unique_ptr<llvm::TargetMachine>> host = hostMachine();
  if (!host)
    return host.takeError();
  auto impl = std::make_unique<Impl>();
  impl->measure = options.measure;
  std::unique_ptr<llvm::Module> clone = llvm::CloneModule(module);
  clone->setTargetTriple((*host)->getTargetTriple());
  clone->setDataLayout((*host)->createDataLayout());
  Machine &machine = *impl->machine;
  Expected<Rewritten> rewritten = rewrite(*clone, machine, options);
  if (!rewritten)
    return rewritten.takeError();
  impl->entries = std::move(rewritten->entries);
  impl->blocks = std::move(rewritten->blocks);
  machine.blockCounters.assign(impl->blocks.size() + 1, 0);
  llvm::StripDebugInfo(*clone); // the sites have their places by now
  Expected<Code> code =
      Code::link(*clone, **host, machine.blockCounters.data());
  if (!code)
    return code.takeError();
  impl->code = std::move(*code);
  for (const GlobalVariable &global : rewritten->globals) {
    Region region;
    region.name = global.name;
    region.base = static_cast<std::byte *>(impl->code->find(global.symbol));
    region.bytes = global.bytes;
    region.writable = !global.constant;
    region.tracked = !global.constant;
    if (region.tracked)
      if (Status status = region.addShadow(); !status)
        return status.takeError();
    impl->initial.emplace_back(region.base, region.base + region.bytes);
    machine.globals.push_back(std::move(region));
  }
  return Program(std::move(impl));
}

/// What cuLaunchKernel refuses.
static Status checkLaunch(const Launch &launch, const Entry &entry,
                          const Machine &machine) {
  auto refuse = [&](std::string what) {
    return badInput("launch of " + entry.name + ": " + std::move(what));
  };
  uint64_t threads = launch.block.count();
  if (threads == 0 || threads > 1024 || launch.block.x > 1024 ||
      launch.block.y > 1024 || launch.block.z > 64)
    return refuse("block " + toString(launch.block) +
                  "; valid: at most (1024,1024,64), and 1 to 1024 threads");
  if (launch.grid.count() == 0 || launch.grid.x > 0x7fffffff ||
      launch.grid.y > 65535 || launch.grid.z > 65535)
    return refuse("grid " + toString(launch.grid) +
                  "; valid: at most (2147483647,65535,65535), at least 1");
  if (entry.maxThreads &&
      (entry.exact ? threads != entry.maxThreads : threads > entry.maxThreads))
    return refuse("block of " + std::to_string(threads) +
                  " threads; the kernel says " +
                  std::to_string(entry.maxThreads));
  if (machine.staticSharedBytes > 48 << 10)
    return refuse("static shared memory of " +
                  std::to_string(machine.staticSharedBytes) +
                  " bytes; valid: up to 49152, or dynamic shared memory");
  if (machine.staticSharedBytes + launch.dynamicSharedBytes > 232448)
    return refuse(
        "shared memory of " +
        std::to_string(machine.staticSharedBytes + launch.dynamicSharedBytes) +
        " bytes; valid: up to 232448");
  if (launch.arguments.size() != entry.parameters.size())
    return refuse(std::to_string(launch.arguments.size()) +
                  " arguments; the kernel takes " +
                  std::to_string(entry.parameters.size()));
  return {};
}

/// Copies what the caller has into memory of the launch's own.
static Status makeBuffers(const Launch &launch, Machine &machine,
                          std::vector<LazyMemory> &memories) {
  constexpr size_t margin = 64 << 10;
  machine.buffers.clear();
  for (Site &site : machine.sites)
    site.lastRegion = nullptr;
  for (const Buffer &buffer : launch.buffers) {
    Expected<LazyMemory> memory = LazyMemory::create(buffer.bytes + 2 * margin);
    if (!memory)
      return memory.takeError();
    Region region;
    region.name = buffer.name.empty()
                      ? "buffer " + std::to_string(machine.buffers.size())
                      : buffer.name;
    region.base = memory->data() + margin; // of a page, so 256 bytes aligned
    region.bytes = buffer.bytes;
    region.writable = buffer.access != Buffer::Access::Read;
    region.tracked = region.writable;
    if (region.tracked)
      if (Status status = region.addShadow(); !status)
        return status;
    if (buffer.bytes && buffer.access == Buffer::Access::Write)
      memset(region.base, 0xff, buffer.bytes);
    else if (buffer.bytes)
      memcpy(region.base, buffer.data, buffer.bytes);
    if (region.tracked && buffer.access == Buffer::Access::ReadWrite)
      memset(region.states(), Written, buffer.bytes);
    memories.push_back(std::move(*memory));
    machine.buffers.push_back(std::move(region));
  }
  return {};
}

static void copyBack(const Launch &launch, const Machine &machine) {
  for (size_t i = 0; i < launch.buffers.size(); ++i) {
    const Buffer &buffer = launch.buffers[i];
    const Region &region = machine.buffers[i];
    if (buffer.access == Buffer::Access::Read)
      continue;
    // What nobody wrote stays as the caller had it.
    auto *to = static_cast<std::byte *>(buffer.data);
    for (size_t j = 0; j < buffer.bytes; ++j)
      if (region.states()[j] == Written)
        to[j] = region.base[j];
  }
}

static Expected<std::vector<uint64_t>>
makeSlots(const Launch &launch, const Entry &entry, Machine &machine) {
  std::vector<uint64_t> slots(entry.parameters.size() + 1);
  machine.bufferOfArgument.assign(entry.parameters.size(), -1);
  for (size_t i = 0; i < entry.parameters.size(); ++i) {
    const Entry::Parameter &parameter = entry.parameters[i];
    auto wrong = [&](const char *wanted) {
      return badInput("launch of " + entry.name + ": argument " +
                      std::to_string(i) + " has to be " + wanted);
    };
    using Kind = Entry::Parameter::Kind;
    if (parameter.kind == Kind::Pointer) {
      const auto *pointer = std::get_if<Pointer>(&launch.arguments[i]);
      const auto *number = std::get_if<int64_t>(&launch.arguments[i]);
      if (number && *number == 0)
        continue; // null, for what the kernel does not touch
      if (!pointer || pointer->index >= launch.buffers.size())
        return wrong("a pointer into one of the launch's buffers, or 0");
      machine.bufferOfArgument[i] = static_cast<int32_t>(pointer->index);
      slots[i] = reinterpret_cast<uintptr_t>(
          machine.buffers[pointer->index].base + pointer->offset);
    } else if (parameter.kind == Kind::Integer) {
      const auto *value = std::get_if<int64_t>(&launch.arguments[i]);
      if (!value)
        return wrong("an integer");
      slots[i] = static_cast<uint64_t>(*value);
    } else {
      const auto *value = std::get_if<double>(&launch.arguments[i]);
      if (!value)
        return wrong("a floating-point number");
      auto single = static_cast<float>(*value);
      slots[i] =
          parameter.kind == Kind::Double  ? std::bit_cast<uint64_t>(*value)
          : parameter.kind == Kind::Float ? std::bit_cast<uint32_t>(single)
                                          : floatToHalf(single);
    }
  }
  return slots;
}

Expected<Report> Program::launch(const Launch &launch) {
  Machine &machine = *impl->machine;
  auto entry =
      std::find_if(impl->entries.begin(), impl->entries.end(),
                   [&](const Entry &e) { return e.name == launch.entry; });
  if (entry == impl->entries.end()) {
    std::string names;
    for (const Entry &e : impl->entries)
      names += " " + e.name;
    return badInput("entry '" + launch.entry +
                    "': no such kernel; valid:" + names);
  }
  if (Status status = checkLaunch(launch, *entry, machine); !status)
    return status.takeError();
  Report report;
  machine.launch = &launch;
  machine.report = &report;
  machine.found.clear();
  machine.stop = false;
  machine.accesses = 0;
  machine.random = Random(launch.seed);
  std::vector<LazyMemory> memories;
  if (Status status = makeBuffers(launch, machine, memories); !status)
    return status.takeError();
  for (size_t i = 0; i < machine.globals.size(); ++i) {
    Region &region = machine.globals[i];
    if (!region.tracked)
      continue;
    memcpy(region.base, impl->initial[i].data(), region.bytes);
    memset(region.states(), Written, region.bytes);
  }
  // Cells of earlier launches would look like other blocks'.
  for (Region &region : machine.globals)
    if (region.tracked) {
      memset(region.words(), 0, (region.bytes + 3) / 4 * sizeof(Cell));
      memset(region.byteCells(), 0, (region.bytes + 3) / 4 * 4 * sizeof(Cell));
    }
  Expected<std::vector<uint64_t>> slots = makeSlots(launch, *entry, machine);
  if (!slots)
    return slots.takeError();
  machine.slots = slots->data();
  machine.entry =
      reinterpret_cast<void (*)(const void *)>(impl->code->find(entry->symbol));
  if (Status status = machine.prepareThreads(); !status)
    return status.takeError();
  // Only the launch's dynamic memory can be addressed.
  memset(machine.shared.states() + machine.dynamicOffset, Outside,
         machine.shared.bytes - machine.dynamicOffset);
  std::optional<Measurement> measurement;
  machine.measurement = nullptr;
  if (impl->measure) {
    std::fill(machine.blockCounters.begin(), machine.blockCounters.end(), 0);
    machine.measurement = &measurement.emplace(machine);
  }

  uint64_t count = launch.grid.count();
  std::vector<uint64_t> order(count);
  std::iota(order.begin(), order.end(), 0);
  if (launch.seed)
    for (uint64_t i = count; i-- > 1;)
      std::swap(order[i], order[machine.random.next() % (i + 1)]);
  if (launch.maxBlocks)
    order.resize(std::min(count, launch.maxBlocks));
  for (uint64_t index : order) {
    machine.runBlock(
        {static_cast<uint32_t>(index % launch.grid.x),
         static_cast<uint32_t>(index / launch.grid.x % launch.grid.y),
         static_cast<uint32_t>(index / launch.grid.x / launch.grid.y)});
    ++report.blocks;
    report.threads += machine.threads.size();
    if (machine.stop) {
      report.complete = false;
      break;
    }
    if (measurement)
      measurement->flush();
  }
  report.accesses = machine.accesses;
  report.sharedBytes = machine.staticSharedBytes + launch.dynamicSharedBytes;
  if (measurement) {
    report.profiles = measurement->profiles();
    for (size_t i = 0; i < impl->blocks.size(); ++i)
      if (machine.blockCounters[i]) {
        report.basicBlocks.push_back(impl->blocks[i]);
        report.basicBlocks.back().threads = machine.blockCounters[i];
      }
  }
  machine.measurement = nullptr;
  copyBack(launch, machine);
  return report;
}
