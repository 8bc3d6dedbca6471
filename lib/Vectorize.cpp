//===- Vectorize.cpp - tiles as vectors, accumulators in registers -*- C++
//-*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "EpilogueVectorizer.h"
#include "Passes.h"

namespace convjit {
#define GEN_PASS_DEF_CONVVECTORIZE
#include "Passes.h.inc"
} // namespace convjit

using namespace mlir;
using namespace convjit;

namespace {

/// Replaces the accumulator buffers of one function by vectors.
class Vectorizer {
public:
  explicit Vectorizer(func::FuncOp func)
      : func(func), b(func.getContext()), epilogues(func) {}

  LogicalResult run() {
    for (auto alloca : func.getOps<memref::AllocaOp>())
      allocas.push_back(alloca);
    for (memref::AllocaOp alloca : allocas) {
      MemRefType type = alloca.getType();
      if (type.getRank() != 2 || !type.hasStaticShape())
        return alloca.emitOpError("valid: a static (pixels, lanes) buffer");
      rows[alloca] = {};
    }
    if (failed(visit(func.getBody().front())))
      return failure();
    for (Operation *op : llvm::reverse(dead))
      op->erase();
    for (memref::AllocaOp alloca : allocas)
      alloca.erase();
    return success();
  }

private:
  using Rows = SmallVector<Value>;

  /// The accumulator buffer behind a value, if that is what is behind it, and
  /// the first pixel that the value shows.
  std::pair<memref::AllocaOp, int64_t> accumulator(Value value) {
    int64_t first = 0;
    while (auto view = value.getDefiningOp<memref::SubViewOp>()) {
      first += view.getStaticOffsets()[0];
      value = view.getSource();
    }
    auto alloca = value.getDefiningOp<memref::AllocaOp>();
    return {alloca, alloca ? first : 0};
  }

  /// The one accumulator whose live value changes inside `op`, if any.
  memref::AllocaOp written(Operation *op) {
    memref::AllocaOp found;
    bool filled = false;
    op->walk([&](linalg::LinalgOp inner) {
      memref::AllocaOp target = accumulator(inner.getDpsInits().front()).first;
      filled |= isa<linalg::FillOp>(inner);
      if (target)
        found = target;
    });
    // A buffer that is filled inside lives and dies there.
    return filled ? memref::AllocaOp() : found;
  }

  LogicalResult visit(Block &block) {
    for (Operation &op : llvm::make_early_inc_range(block)) {
      b.setInsertionPoint(&op);
      LogicalResult result = success();
      if (auto view = dyn_cast<memref::SubViewOp>(op)) {
        if (accumulator(view).first)
          dead.push_back(view);
      } else if (auto fill = dyn_cast<linalg::FillOp>(op)) {
        visitFill(fill);
      } else if (auto generic = dyn_cast<linalg::GenericOp>(op)) {
        result = generic.getNumReductionLoops() ? visitContraction(generic)
                                                : visitEpilogue(generic);
      } else if (auto loop = dyn_cast<scf::ForOp>(op)) {
        result = visitLoop(loop);
      } else if (auto branch = dyn_cast<scf::IfOp>(op)) {
        result = visitBranch(branch);
      }
      if (failed(result))
        return failure();
    }
    return success();
  }

  void visitFill(linalg::FillOp op) {
    memref::AllocaOp alloca = accumulator(op.getDpsInits().front()).first;
    auto type = VectorType::get({alloca.getType().getDimSize(1)},
                                alloca.getType().getElementType());
    Value zero = vector::BroadcastOp::create(b, op.getLoc(), type,
                                             op.getInputs().front());
    rows[alloca].assign(alloca.getType().getDimSize(0), zero);
    dead.push_back(op);
  }

  /// Threads the accumulator's rows through the loop.
  LogicalResult visitLoop(scf::ForOp loop) {
    memref::AllocaOp alloca = written(loop);
    if (!alloca)
      return visit(*loop.getBody());
    Rows &current = rows[alloca];
    auto replacement =
        scf::ForOp::create(b, loop.getLoc(), loop.getLowerBound(),
                           loop.getUpperBound(), loop.getStep(), current);
    Block *body = replacement.getBody();
    loop.getInductionVar().replaceAllUsesWith(replacement.getInductionVar());
    loop.getBody()->getTerminator()->erase();
    body->getOperations().splice(body->end(), loop.getBody()->getOperations());
    current.assign(replacement.getRegionIterArgs().begin(),
                   replacement.getRegionIterArgs().end());
    if (failed(visit(*body)))
      return failure();
    b.setInsertionPointToEnd(body);
    scf::YieldOp::create(b, loop.getLoc(), rows[alloca]);
    rows[alloca].assign(replacement.getResults().begin(),
                        replacement.getResults().end());
    loop.erase();
    return success();
  }

  LogicalResult visitBranch(scf::IfOp branch) {
    memref::AllocaOp alloca = written(branch);
    if (!alloca) {
      if (failed(visit(*branch.thenBlock())))
        return failure();
      return branch.elseBlock() ? visit(*branch.elseBlock()) : success();
    }
    if (branch.elseBlock())
      return branch.emitOpError("valid around an accumulation: no else");
    Rows before = rows[alloca];
    auto replacement = scf::IfOp::create(
        b, branch.getLoc(), ValueRange(before).getTypes(),
        branch.getCondition(), /*addThenBlock=*/true, /*addElseBlock=*/true);
    Block *body = replacement.thenBlock();
    branch.thenBlock()->getTerminator()->erase();
    body->getOperations().splice(body->end(),
                                 branch.thenBlock()->getOperations());
    if (failed(visit(*body)))
      return failure();
    b.setInsertionPointToEnd(body);
    scf::YieldOp::create(b, branch.getLoc(), rows[alloca]);
    b.setInsertionPointToEnd(replacement.elseBlock());
    scf::YieldOp::create(b, branch.getLoc(), before);
    rows[alloca].assign(replacement.getResults().begin(),
                        replacement.getResults().end());
    branch.erase();
    return success();
  }

  /// One FMA for each pixel and channel.
  LogicalResult visitContraction(linalg::GenericOp op) {
    Location loc = op.getLoc();
    Value input = op.getInputs()[0], weights = op.getInputs()[1];
    auto [alloca, first] = accumulator(op.getDpsInits().front());
    if (!alloca)
      return op.emitOpError("valid: a contraction into an accumulator");
    AffineMap map = op.getIndexingMapsArray()[0];
    auto positionOf = [&](unsigned dim) {
      return map.getResultPosition(getAffineDimExpr(dim, op.getContext()));
    };
    // Loops are (pixel, lane, channel).
    bool inputHasLanes = positionOf(1).has_value();
    unsigned pixelAxis = *positionOf(0);
    SmallVector<int64_t, 4> sizes = op.getStaticLoopRanges();
    int64_t pixels = sizes[0], lanes = sizes[1], channels = sizes[2];
    auto type = VectorType::get(
        {lanes}, cast<MemRefType>(weights.getType()).getElementType());
    Rows &sums = rows[alloca];
    auto full = cast<VectorType>(sums.front().getType());
    SmallVector<Value> constants;
    for (int64_t i = 0, e = std::max(pixels, channels); i < e; ++i)
      constants.push_back(arith::ConstantIndexOp::create(b, loc, i));
    for (int64_t channel = 0; channel < channels; ++channel) {
      Value row = vector::LoadOp::create(
          b, loc, type, weights, ValueRange{constants[channel], constants[0]});
      for (int64_t pixel = 0; pixel < pixels; ++pixel) {
        SmallVector<Value> at(2, constants[inputHasLanes ? 0 : channel]);
        at[pixelAxis] = constants[pixel];
        Value x;
        if (inputHasLanes)
          x = vector::LoadOp::create(b, loc, type, input, at);
        else
          x = vector::BroadcastOp::create(
              b, loc, type, memref::LoadOp::create(b, loc, input, at));
        Value &sum = sums[first + pixel];
        if (full == type) {
          sum = vector::FMAOp::create(b, loc, x, row, sum);
          continue;
        }
        // Fewer lanes than the accumulator has: the rest stay as they are.
        Value part = vector::ExtractStridedSliceOp::create(
            b, loc, sum, ArrayRef<int64_t>{0}, ArrayRef<int64_t>{lanes},
            ArrayRef<int64_t>{1});
        part = vector::FMAOp::create(b, loc, x, row, part);
        sum = vector::InsertStridedSliceOp::create(
            b, loc, part, sum, ArrayRef<int64_t>{0}, ArrayRef<int64_t>{1});
      }
    }
    dead.push_back(op);
    return success();
  }

  LogicalResult visitEpilogue(linalg::GenericOp op) {
    memref::AllocaOp alloca = accumulator(op.getInputs()[0]).first;
    if (!alloca)
      return op.emitOpError("valid: an epilogue of an accumulator");
    epilogues.vectorize(op, rows[alloca], b);
    dead.push_back(op);
    return success();
  }

  func::FuncOp func;
  OpBuilder b;
  EpilogueVectorizer epilogues;
  SmallVector<memref::AllocaOp> allocas;
  DenseMap<Operation *, Rows> rows;
  SmallVector<Operation *> dead;
};

struct ConvVectorizePass : convjit::impl::ConvVectorizeBase<ConvVectorizePass> {
  void runOnOperation() override {
    for (auto func : getOperation().getOps<func::FuncOp>())
      if (!func.isExternal() && failed(Vectorizer(func).run()))
        return signalPassFailure();
  }
};

} // namespace
