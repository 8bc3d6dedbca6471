//===- LiveTable.cpp - the live taps of a masked convolution as tables -*- C++
//-*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "support/LiveTable.h"
#include "support/IndexMath.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/SymbolTable.h"

#include <map>

using namespace mlir;
using namespace convjit;
using namespace convjit::conv;

Value convjit::constantIndexTable(Operation *op, OpBuilder &b,
                                  ArrayRef<int64_t> values, int64_t rows,
                                  int64_t columns, StringRef name) {
  // The module, or a GPU's module in it.
  Operation *module = op->getParentWithTrait<OpTrait::SymbolTable>();
  auto tensor = RankedTensorType::get({rows, columns}, b.getIndexType());
  auto type = MemRefType::get({rows, columns}, b.getIndexType());
  auto data = DenseElementsAttr::get(
      tensor, llvm::map_to_vector(values, [&](int64_t v) {
        return b.getIndexAttr(v).getValue();
      }));
  memref::GlobalOp global;
  for (auto other : module->getRegion(0).getOps<memref::GlobalOp>())
    if (other.getInitialValueAttr() == data && other.getType() == type)
      global = other;
  if (!global) {
    // Inserted by the symbol table, which makes the name unique.
    OpBuilder outer(module->getContext());
    global = memref::GlobalOp::create(
        outer, op->getLoc(), name, outer.getStringAttr("private"), type, data,
        /*constant=*/true, /*alignment=*/IntegerAttr());
    SymbolTable(module).insert(global, module->getRegion(0).front().begin());
  }
  return memref::GetGlobalOp::create(b, op->getLoc(), type,
                                     global.getSymName());
}

Value convjit::lookUp(Operation *op, OpBuilder &b, ArrayRef<int64_t> values,
                      Value index, StringRef name) {
  IndexMath math{b, op->getLoc()};
  int64_t slope = values.size() > 1 ? values[1] - values[0] : 0;
  bool affine = true;
  for (auto [i, value] : llvm::enumerate(values))
    affine &= value == values[0] + static_cast<int64_t>(i) * slope;
  if (affine)
    return slope == 0 ? math.constant(values[0])
                      : math.add(math.mul(index, slope), values[0]);
  Value array = constantIndexTable(op, b, values, values.size(), 1, name);
  return memref::LoadOp::create(b, op->getLoc(), array,
                                ValueRange{index, math.constant(0)});
}

namespace {
/// Ranges of channels by tap.
using Ranges = std::map<int64_t, SmallVector<std::pair<int64_t, int64_t>>>;
} // namespace

/// Sorts and merges ranges that touch or overlap.
static void mergeRanges(SmallVectorImpl<std::pair<int64_t, int64_t>> &ranges) {
  llvm::sort(ranges);
  size_t kept = 0;
  for (size_t i = 1; i < ranges.size(); ++i)
    if (ranges[i].first <= ranges[kept].second)
      ranges[kept].second = std::max(ranges[kept].second, ranges[i].second);
    else
      ranges[++kept] = ranges[i];
  ranges.truncate(std::min(ranges.size(), kept + 1));
}

LiveTable::LiveTable(PhasesOp op, const TaskSpace &space) {
  int64_t rank = space.splits.size();
  columns = rank + 2;
  SmallVector<LiveAttr> sets(op.getLive()->getAsRange<LiveAttr>());
  auto filter = cast<MemRefType>(op.getFilter().getType());
  SmallVector<int64_t> kernel;
  for (int64_t dim = 0; dim < rank; ++dim)
    kernel.push_back(filter.getDimSize(1 + dim));

  SmallVector<int64_t> phase(rank), tap(rank), j(rank);
  for (int64_t block = 0; block < space.channels.blocks(); ++block) {
    Ranges ranges;
    for (LiveAttr set : sets) {
      bool used = false;
      for (int64_t lane = 0; lane < space.channels.width && !used; ++lane) {
        int64_t channel = space.channels.channel(block, lane);
        used = channel >= set.getFirst() && channel < set.getLast();
      }
      ArrayRef<int64_t> terms = set.getTerms();
      for (size_t i = 0; used && i < terms.size(); i += 3)
        ranges[terms[i]].push_back({terms[i + 1], terms[i + 2]});
    }
    for (auto &entry : ranges)
      mergeRanges(entry.second);

    // Phases in row-major order, as Tiler::liveRange indexes them.
    int64_t combinations = 1;
    for (int64_t dim = 0; dim < rank; ++dim)
      combinations *= space.phases(dim);
    for (int64_t c = 0; c < combinations; ++c) {
      for (int64_t dim = rank - 1, rest = c; dim >= 0; --dim) {
        phase[dim] = rest % space.phases(dim);
        rest /= space.phases(dim);
      }
      offsets.push_back(entries.size() / columns);
      for (auto &[flat, spans] : ranges) {
        bool inPhase = true;
        for (int64_t dim = rank - 1, rest = flat; dim >= 0; --dim) {
          tap[dim] = rest % kernel[dim];
          rest /= kernel[dim];
          PhaseSplitAttr split = space.splits[dim];
          int64_t ahead = tap[dim] - split.getFirstTap()[phase[dim]];
          j[dim] = ahead / split.getTapStep();
          inPhase &= ahead >= 0 && ahead % split.getTapStep() == 0 &&
                     j[dim] < split.getTaps()[phase[dim]];
        }
        if (!inPhase)
          continue;
        for (auto [first, last] : spans) {
          entries.append(j.begin(), j.end());
          entries.append({first, last});
        }
      }
    }
  }
  offsets.push_back(entries.size() / columns);
  // An empty table still needs a type of positive size.
  if (entries.empty())
    entries.assign(columns, 0);
}

Value LiveTable::rows(Operation *op, OpBuilder &b) const {
  Value table = constantIndexTable(op, b, entries, entries.size() / columns,
                                   columns, "live");
  auto any = MemRefType::get({ShapedType::kDynamic, columns}, b.getIndexType());
  return memref::CastOp::create(b, op->getLoc(), any, table);
}

Value LiveTable::starts(Operation *op, OpBuilder &b) const {
  return constantIndexTable(op, b, offsets, offsets.size(), 1, "live_starts");
}
