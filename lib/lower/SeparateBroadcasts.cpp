//===- SeparateBroadcasts.cpp - a load for each width -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Passes.h"

#include "mlir/Dialect/LLVMIR/LLVMDialect.h"

#include "llvm/ADT/MapVector.h"

namespace convjit {
#define GEN_PASS_DEF_CONVSEPARATEBROADCASTS
#include "Passes.h.inc"
} // namespace convjit

using namespace mlir;

namespace {

/// Loads of scalars in one function.
class Separator {
public:
  explicit Separator(int64_t vectorBits) : vectorBits(vectorBits) {}

  void separate(LLVM::LoadOp load) {
    // Broadcasts begin with an element of a vector.
    llvm::MapVector<int64_t, SmallVector<OpOperand *>> uses;
    int64_t widest = 0;
    for (OpOperand &use : load->getUses())
      if (auto insert = dyn_cast<LLVM::InsertElementOp>(use.getOwner())) {
        int64_t bits = registerBits(cast<VectorType>(insert.getType()));
        uses[bits].push_back(&use);
        widest = std::max(widest, bits);
      }
    for (auto &[bits, ofWidth] : uses) {
      if (bits == widest)
        continue;
      Value own = loadAgain(load);
      for (OpOperand *use : ofWidth)
        use->set(own);
    }
  }

private:
  /// Of the register that a vector takes, or of each of several.
  int64_t registerBits(VectorType type) const {
    constexpr int64_t narrowest = 128;
    return std::clamp<int64_t>(type.getNumElements() *
                                   type.getElementTypeBitWidth(),
                               std::min(narrowest, vectorBits), vectorBits);
  }

  /// What was put into the buffer's descriptor, where this takes it out again:
  /// one value for all loads of the buffer.
  static Value fromDescriptor(Value pointer) {
    auto extract = pointer.getDefiningOp<LLVM::ExtractValueOp>();
    if (!extract)
      return pointer;
    Value descriptor = extract.getContainer();
    while (auto insert = descriptor.getDefiningOp<LLVM::InsertValueOp>()) {
      if (insert.getPosition() == extract.getPosition())
        return fromDescriptor(insert.getValue());
      descriptor = insert.getContainer();
    }
    return pointer;
  }

  Value loadAgain(LLVM::LoadOp load) {
    OpBuilder b(load);
    SmallVector<LLVM::GEPOp> steps;
    Value base = fromDescriptor(load.getAddr());
    while (auto step = base.getDefiningOp<LLVM::GEPOp>()) {
      steps.push_back(step);
      base = fromDescriptor(step.getBase());
    }
    Value address = opaque(base);
    for (LLVM::GEPOp step : llvm::reverse(steps)) {
      auto copy = cast<LLVM::GEPOp>(b.clone(*step));
      copy.getBaseMutable().assign(address);
      address = copy;
    }
    auto copy = cast<LLVM::LoadOp>(b.clone(*load));
    copy.getAddrMutable().assign(address);
    return copy;
  }

  /// The same pointer, which LLVM does not know to be the same.
  Value opaque(Value pointer) {
    Value &known = pointers[pointer];
    if (known)
      return known;
    OpBuilder b(pointer.getContext());
    b.setInsertionPointAfterValue(pointer);
    return known = LLVM::InlineAsmOp::create(
                       b, pointer.getLoc(), pointer.getType(), pointer,
                       /*asm_string=*/"", /*constraints=*/"=r,0",
                       /*has_side_effects=*/false, /*is_align_stack=*/false,
                       LLVM::tailcallkind::TailCallKind::None,
                       /*asm_dialect=*/LLVM::AsmDialectAttr(),
                       /*operand_attrs=*/ArrayAttr())
                       .getRes();
  }

  int64_t vectorBits;
  DenseMap<Value, Value> pointers;
};

struct ConvSeparateBroadcastsPass
    : convjit::impl::ConvSeparateBroadcastsBase<ConvSeparateBroadcastsPass> {
  using ConvSeparateBroadcastsBase::ConvSeparateBroadcastsBase;

  void runOnOperation() override {
    getOperation().walk([&](LLVM::LLVMFuncOp function) {
      Separator separator(vectorBits);
      SmallVector<LLVM::LoadOp> loads;
      function.walk([&](LLVM::LoadOp load) {
        if (isa<FloatType>(load.getType()))
          loads.push_back(load);
      });
      llvm::for_each(loads,
                     [&](LLVM::LoadOp load) { separator.separate(load); });
    });
  }
};

} // namespace
