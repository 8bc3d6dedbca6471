//===- Findings.cpp - what is wrong, in words -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Machine.h"

using namespace convjit;
using namespace convjit::emulator;

const char *emulator::toString(FindingKind kind) {
  switch (kind) {
  case FindingKind::OutOfBounds:
    return "out-of-bounds";
  case FindingKind::ReadOnly:
    return "read-only";
  case FindingKind::Misaligned:
    return "misaligned";
  case FindingKind::Uninitialized:
    return "uninitialized";
  case FindingKind::AsyncPending:
    return "async-pending";
  case FindingKind::SharedRace:
    return "shared-race";
  case FindingKind::GlobalRace:
    return "global-race";
  case FindingKind::DivergentBarrier:
    return "divergent-barrier";
  case FindingKind::DivergentWarp:
    return "divergent-warp";
  case FindingKind::BadOperand:
    return "bad-operand";
  case FindingKind::NoProgress:
    return "no-progress";
  }
  return "";
}

std::string emulator::toString(Dim3 place) {
  return "(" + std::to_string(place.x) + "," + std::to_string(place.y) + "," +
         std::to_string(place.z) + ")";
}

std::string Report::text() const {
  std::string result;
  for (const Finding &finding : findings) {
    result += finding.message;
    if (finding.count > 1)
      result += " [" + std::to_string(finding.count) + " times]";
    result += '\n';
  }
  if (moreFindings)
    result += "and " + std::to_string(moreFindings) + " more\n";
  return result;
}

uint64_t Report::executed(const std::string &opcode) const {
  uint64_t sum = 0;
  for (const BlockProfile &block : basicBlocks)
    if (auto entry = block.opcodes.find(opcode); entry != block.opcodes.end())
      sum += block.threads * entry->second;
  return sum;
}

void Machine::find(FindingKind kind, const Site *site, const Thread *thread,
                   std::string what) {
  find(kind, site, thread, std::move(what), nullptr);
}

void Machine::find(FindingKind kind, const Site *site, const Thread *thread,
                   std::string what, const Site *other) {
  auto [entry, isNew] =
      found.try_emplace({kind, site, other}, report->findings.size());
  if (!isNew) {
    if (entry->second < report->findings.size())
      ++report->findings[entry->second].count;
    else
      ++report->moreFindings;
    return;
  }
  if (report->findings.size() >= launch->maxFindings) {
    entry->second = ~size_t(0);
    ++report->moreFindings;
    return;
  }
  Finding finding;
  finding.kind = kind;
  finding.block = block;
  finding.message =
      std::string(toString(kind)) + ": " + what + "; block " + toString(block);
  if (thread) {
    finding.thread = thread->place;
    finding.message += ", thread " + toString(thread->place);
  }
  if (site) {
    finding.instruction = site->instruction;
    finding.place = site->place;
    finding.message += ", at";
    if (!site->place.empty())
      finding.message += " " + site->place + ":";
    finding.message += site->instruction;
  }
  report->findings.push_back(std::move(finding));
}
