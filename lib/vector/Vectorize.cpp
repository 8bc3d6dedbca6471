//===- Vectorize.cpp - tiles as vectors, accumulators in registers -*- C++
//-*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Passes.h"
#include "geometry/Geometry.h"
#include "vector/EpilogueVectorizer.h"
#include "vector/GroupVectorizer.h"
#include "vector/LaneMasks.h"
#include "vector/PixelVectorizer.h"
#include "vector/ReductionVectorizer.h"

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
      : func(func), b(func.getContext()), epilogues(func), masks(func) {}

  LogicalResult run() {
    for (auto alloca : func.getOps<memref::AllocaOp>())
      if (!alloca->hasAttr("conv.buffer"))
        allocas.push_back(alloca);
    for (memref::AllocaOp alloca : allocas) {
      MemRefType type = alloca.getType();
      if (type.getRank() < 2 || type.getRank() > 3 || !type.hasStaticShape())
        return alloca.emitOpError("valid: a static (pixels, lanes) or (pixels, "
                                  "outputs, lanes) buffer");
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

  /// The vectors of one pixel, or of one output where lanes hold input
  /// channels. Where lanes differ in their taps, small ones, so that those
  /// without a tap cost nothing.
  static SmallVector<LanePiece> piecesOf(memref::AllocaOp alloca) {
    int64_t lanes = alloca.getType().getShape().back();
    if (auto most = alloca->getAttrOfType<IntegerAttr>("conv.piece"))
      return lanePieces(lanes, most.getInt());
    return lanePieces(lanes);
  }

  /// The accumulator buffer behind a value, if that is what is behind it, and
  /// the first pixel that the value shows.
  std::pair<memref::AllocaOp, int64_t> accumulator(Value value) {
    int64_t first = 0;
    while (auto view = value.getDefiningOp<memref::SubViewOp>()) {
      first += view.getStaticOffsets()[0];
      value = view.getSource();
    }
    auto alloca = value.getDefiningOp<memref::AllocaOp>();
    if (alloca && alloca->hasAttr("conv.buffer"))
      alloca = {};
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
    MemRefType buffer = alloca.getType();
    SmallVector<Value> zeros;
    for (LanePiece piece : piecesOf(alloca))
      zeros.push_back(vector::BroadcastOp::create(
          b, op.getLoc(),
          VectorType::get({piece.size}, buffer.getElementType()),
          op.getInputs().front()));
    Rows &sums = rows[alloca];
    sums.clear();
    int64_t count = buffer.getNumElements() / buffer.getShape().back();
    for (int64_t row = 0; row < count; ++row)
      llvm::append_range(sums, zeros);
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

  /// One FMA for each pixel, channel and piece of the lanes.
  LogicalResult visitContraction(linalg::GenericOp op) {
    Location loc = op.getLoc();
    auto [alloca, first] = accumulator(op.getDpsInits().front());
    if (!alloca)
      return op.emitOpError("valid: a contraction into an accumulator");
    if (op.getInputs().size() == 1)
      return visitLaneSums(op, alloca);
    if (alloca.getType().getRank() == 3) {
      vectorizeReductionTaps(op, rows[alloca], masks, b);
      func->setAttr("passthrough", b.getStrArrayAttr({asWrittenAttr}));
      dead.push_back(op);
      return success();
    }
    if (op->hasAttr("conv.tap_pixels") && op->hasAttr("conv.lanes")) {
      vectorizePixelTaps(op, rows[alloca], piecesOf(alloca), masks, b);
      dead.push_back(op);
      return success();
    }
    if (op->hasAttr("conv.tap_pixels")) {
      vectorizeGroupTaps(op, rows[alloca], piecesOf(alloca), masks, b);
      dead.push_back(op);
      return success();
    }
    Value input = op.getInputs()[0], weights = op.getInputs()[1];
    AffineMap map = op.getIndexingMapsArray()[0];
    // Loops are (pixel, lane, channel).
    unsigned pixelAxis =
        *map.getResultPosition(getAffineDimExpr(0, op.getContext()));
    SmallVector<int64_t, 4> sizes = op.getStaticLoopRanges();
    int64_t pixels = sizes[0], lanes = sizes[1], channels = sizes[2];
    MemRefType buffer = alloca.getType();
    SmallVector<LanePiece> pieces = piecesOf(alloca);
    auto typeOf = [&](int64_t size) {
      return VectorType::get({size}, buffer.getElementType());
    };
    // Lanes of a piece that take part; the last may have fewer than its size.
    auto usedLanes = [&](LanePiece piece) {
      return std::clamp<int64_t>(lanes - piece.first, 0, piece.size);
    };
    auto index = [&](int64_t value) -> Value {
      return arith::ConstantIndexOp::create(b, loc, value);
    };
    // Lanes that have this tap, where only some have.
    auto active = op->getAttrOfType<DenseBoolArrayAttr>("conv.active");
    if (auto span = op->getAttrOfType<DenseI64ArrayAttr>("conv.lane_span")) {
      SmallVector<bool> inside(lanes, false);
      for (int64_t lane = span[0]; lane < span[1]; ++lane)
        inside[lane] = true;
      active = b.getDenseBoolArrayAttr(inside);
    }
    // The others are not read where they may lie outside the tensor.
    bool readsMasked = op->hasAttr("conv.lane_span");
    // Lanes are every `step`th element.
    int64_t step = 1;
    if (auto product = dyn_cast<AffineBinaryOpExpr>(
            op.getIndexingMapsArray()[1].getResult(1)))
      step = cast<AffineConstantExpr>(product.getRHS()).getValue();
    auto isActive = [&](LanePiece piece) {
      return !active ||
             llvm::is_contained(
                 active.asArrayRef().slice(piece.first, piece.size), true);
    };
    // Vectors of pixels may be longer than the tile.
    int64_t existing = lanes;
    if (auto count = op->getAttrOfType<IntegerAttr>("conv.lanes"))
      existing = count.getInt();
    auto loadPiece = [&](LanePiece piece, int64_t used, Value row) {
      SmallVector<Value> at = {row, index(piece.first * step)};
      int64_t inside = std::clamp<int64_t>(existing - piece.first, 0, used);
      return inside == used
                 ? masks.load(b, loc, typeOf(used), weights, at, step,
                              readsMasked ? active.asArrayRef().slice(
                                                piece.first, piece.size)
                                          : ArrayRef<bool>())
                 : masks.loadFirst(b, loc, typeOf(used), weights, at, step,
                                   inside);
    };
    auto activeRows = op->getAttrOfType<DenseBoolArrayAttr>("conv.active_rows");
    Rows &sums = rows[alloca];
    for (int64_t channel = 0; channel < channels; ++channel) {
      SmallVector<Value> weightPieces;
      for (LanePiece piece : pieces)
        if (int64_t used = usedLanes(piece))
          weightPieces.push_back(isActive(piece)
                                     ? loadPiece(piece, used, index(channel))
                                     : Value());
      for (int64_t pixel = 0; pixel < pixels; ++pixel) {
        if (activeRows && !activeRows[pixel])
          continue;
        SmallVector<Value> at(2);
        at[pixelAxis] = index(pixel);
        at[1 - pixelAxis] = index(channel);
        Value element = memref::LoadOp::create(b, loc, input, at);
        for (auto [which, weight] : llvm::enumerate(weightPieces)) {
          LanePiece piece = pieces[which];
          if (!weight)
            continue;
          Value x = vector::BroadcastOp::create(
              b, loc, typeOf(usedLanes(piece)), element);
          Value &sum = sums[(first + pixel) * pieces.size() + which];
          Value next = accumulateLanes(b, loc, x, weight, sum);
          sum = active ? masks.select(
                             b, loc,
                             active.asArrayRef().slice(piece.first, piece.size),
                             next, sum)
                       : next;
        }
      }
    }
    dead.push_back(op);
    return success();
  }

  /// outputs(m, n), or (n, m), += sums(m, n, l).
  LogicalResult visitLaneSums(linalg::GenericOp op, memref::AllocaOp outputs) {
    memref::AllocaOp sums = accumulator(op.getInputs()[0]).first;
    if (!sums)
      return op.emitOpError("valid: the lanes of an accumulator");
    LaneSums total(rows[sums], b, op.getLoc());
    Rows &result = rows[outputs];
    int64_t width = outputs.getType().getDimSize(1), at = 0;
    SmallVector<LanePiece> pieces = piecesOf(outputs);
    for (auto [which, row] : llvm::enumerate(result)) {
      LanePiece piece = pieces[which % pieces.size()];
      row = total.slice(at + piece.first, piece.size);
      if (which % pieces.size() + 1 == pieces.size())
        at += width;
    }
    dead.push_back(op);
    return success();
  }

  LogicalResult visitEpilogue(linalg::GenericOp op) {
    auto [alloca, first] = accumulator(op.getInputs()[0]);
    if (!alloca)
      return op.emitOpError("valid: an epilogue of an accumulator");
    SmallVector<LanePiece> pieces = piecesOf(alloca);
    epilogues.vectorize(
        op, ArrayRef(rows[alloca]).drop_front(first * pieces.size()), pieces,
        b);
    dead.push_back(op);
    return success();
  }

  func::FuncOp func;
  OpBuilder b;
  EpilogueVectorizer epilogues;
  SmallVector<memref::AllocaOp> allocas;
  DenseMap<Operation *, Rows> rows;
  SmallVector<Operation *> dead;
  LaneMasks masks;
};

struct ConvVectorizePass : convjit::impl::ConvVectorizeBase<ConvVectorizePass> {
  void runOnOperation() override {
    for (auto func : getOperation().getOps<func::FuncOp>())
      if (!func.isExternal() && failed(Vectorizer(func).run()))
        return signalPassFailure();
  }
};

} // namespace
