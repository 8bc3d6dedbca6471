//===- IndexMath.h - index arithmetic that folds as it is built -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef CONVJIT_LIB_SUPPORT_INDEXMATH_H
#define CONVJIT_LIB_SUPPORT_INDEXMATH_H

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/IR/Matchers.h"

namespace convjit {

/// A builder for values of type index, or of another integer type, at one
/// location. Constants fold, so the IR of a layer whose sizes are all known has
/// few operations left.
struct IndexMath {
  mlir::OpBuilder &b;
  mlir::Location loc;
  mlir::Type type = b.getIndexType();

  using Value = mlir::Value;

  Value constant(int64_t value) {
    return mlir::arith::ConstantOp::create(b, loc,
                                           b.getIntegerAttr(type, value));
  }
  /// `x`, an integer or an index, in this type.
  Value cast(Value x) {
    if (x.getType() == type)
      return x;
    if (std::optional<int64_t> known = mlir::getConstantIntValue(x))
      return constant(*known);
    return b.createOrFold<mlir::arith::IndexCastOp>(loc, type, x);
  }
  Value mul(Value x, Value y) {
    return b.createOrFold<mlir::arith::MulIOp>(loc, x, y);
  }
  Value select(Value condition, Value x, Value y) {
    return b.createOrFold<mlir::arith::SelectOp>(loc, condition, x, y);
  }
  Value add(Value x, Value y) {
    return b.createOrFold<mlir::arith::AddIOp>(loc, x, y);
  }
  Value add(Value x, int64_t y) { return y ? add(x, constant(y)) : x; }
  Value sub(Value x, Value y) {
    return b.createOrFold<mlir::arith::SubIOp>(loc, x, y);
  }
  Value mul(Value x, int64_t y) {
    if (y == 1)
      return x;
    return b.createOrFold<mlir::arith::MulIOp>(loc, x, constant(y));
  }
  Value min(Value x, Value y) {
    return b.createOrFold<mlir::arith::MinSIOp>(loc, x, y);
  }
  Value max(Value x, Value y) {
    return b.createOrFold<mlir::arith::MaxSIOp>(loc, x, y);
  }
  Value clamp(Value x, Value lo, Value hi) { return max(lo, min(x, hi)); }
  /// Rounds towards minus infinity; y > 0.
  Value floorDiv(Value x, int64_t y) {
    if (y == 1)
      return x;
    return b.createOrFold<mlir::arith::FloorDivSIOp>(loc, x, constant(y));
  }
  /// Rounds towards plus infinity; y > 0.
  Value ceilDiv(Value x, int64_t y) {
    if (y == 1)
      return x;
    return b.createOrFold<mlir::arith::CeilDivSIOp>(loc, x, constant(y));
  }
  Value compare(mlir::arith::CmpIPredicate predicate, Value x, Value y) {
    return b.createOrFold<mlir::arith::CmpIOp>(loc, predicate, x, y);
  }
  /// x and y, where null is true.
  Value both(Value x, Value y) {
    if (!x || !y)
      return x ? x : y;
    return b.createOrFold<mlir::arith::AndIOp>(loc, x, y);
  }

  /// The digit of `number` in a mixed-radix system whose last digit has this
  /// radix; `number` becomes the rest. number >= 0.
  Value takeDigit(Value &number, int64_t radix) {
    if (radix == 1)
      return constant(0);
    Value size = constant(radix);
    Value digit = b.createOrFold<mlir::arith::RemUIOp>(loc, number, size);
    number = b.createOrFold<mlir::arith::DivUIOp>(loc, number, size);
    return digit;
  }

  /// for i in [lo, hi) step `step`: body(i). With constant bounds that run
  /// once, only the body.
  void loop(Value lo, Value hi, int64_t step,
            llvm::function_ref<void(Value)> body) {
    std::optional<int64_t> first = mlir::getConstantIntValue(lo);
    std::optional<int64_t> last = mlir::getConstantIntValue(hi);
    if (first && last && *first >= *last)
      return;
    if (first && last && *first + step >= *last)
      return body(lo);
    auto loop = mlir::scf::ForOp::create(b, loc, lo, hi, constant(step));
    mlir::OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(loop.getBody());
    body(loop.getInductionVar());
  }

  /// The places from `at` on whose number is `count` modulo 2 * `most`, which
  /// is a power of two, by one body(first, size) for each power of two in it.
  void powersOfTwo(Value at, Value count, int64_t most,
                   llvm::function_ref<void(Value, int64_t)> body) {
    for (int64_t size = most; size; size /= 2) {
      Value bit =
          b.createOrFold<mlir::arith::AndIOp>(loc, count, constant(size));
      branch(compare(mlir::arith::CmpIPredicate::ne, bit, constant(0)),
             [&] { body(at, size); });
      at = add(at, bit);
    }
  }

  /// if (condition) then() else otherwise(); decided here when it is constant,
  /// or null, which is true.
  void branch(Value condition, llvm::function_ref<void()> then,
              llvm::function_ref<void()> otherwise = nullptr) {
    if (!condition)
      return then();
    if (std::optional<int64_t> known = mlir::getConstantIntValue(condition)) {
      if (*known)
        then();
      else if (otherwise)
        otherwise();
      return;
    }
    auto op = mlir::scf::IfOp::create(b, loc, condition,
                                      static_cast<bool>(otherwise));
    mlir::OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(op.thenBlock());
    then();
    if (otherwise) {
      b.setInsertionPointToStart(op.elseBlock());
      otherwise();
    }
  }
};

} // namespace convjit

#endif // CONVJIT_LIB_SUPPORT_INDEXMATH_H
