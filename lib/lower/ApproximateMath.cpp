//===- ApproximateMath.cpp - f32 functions as polynomials -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Passes.h"

#include "mlir/Dialect/Math/Transforms/Passes.h"
#include "mlir/Transforms/GreedyPatternRewriteDriver.h"

namespace convjit {
#define GEN_PASS_DEF_CONVAPPROXIMATEMATH
#include "Passes.h.inc"
} // namespace convjit

using namespace mlir;

namespace {

/// Builds functions of vectors of f32.
struct VectorMath {
  OpBuilder &b;
  Location loc;
  VectorType type;

  Value constant(float value) {
    return arith::ConstantOp::create(b, loc,
                                     DenseElementsAttr::get(type, value));
  }
  Value fma(Value x, Value y, Value z) {
    return vector::FMAOp::create(b, loc, x, y, z);
  }
  /// NaN fails both comparisons and stays.
  Value clamp(Value x, float low, float high) {
    auto end = [&](arith::CmpFPredicate beyond, float limit) {
      Value bound = constant(limit);
      Value outside = arith::CmpFOp::create(b, loc, beyond, x, bound);
      x = arith::SelectOp::create(b, loc, outside, bound, x);
    };
    end(arith::CmpFPredicate::OLT, low);
    end(arith::CmpFPredicate::OGT, high);
    return x;
  }
  /// From the highest power down.
  Value polynomial(Value x, ArrayRef<float> coefficients) {
    Value sum = constant(coefficients.front());
    for (float coefficient : coefficients.drop_front())
      sum = fma(sum, x, constant(coefficient));
    return sum;
  }
};

/// A function of vectors of f32 by another of the same.
template <typename Op> struct Approximation : OpRewritePattern<Op> {
  Approximation(MLIRContext *context, Value (*approximate)(VectorMath, Value))
      : OpRewritePattern<Op>(context, /*benefit=*/2), approximate(approximate) {
  }
  LogicalResult matchAndRewrite(Op op, PatternRewriter &b) const override {
    auto type = dyn_cast<VectorType>(op.getType());
    if (!type || !type.getElementType().isF32())
      return failure();
    b.replaceOp(op, approximate({b, op.getLoc(), type}, op.getOperand()));
    return success();
  }
  Value (*approximate)(VectorMath, Value);
};

/// erf(x) = x P(x^2) / Q(x^2) on [-4, 4], where it reaches 1: the rational
/// minimax of Eigen and XLA, whose largest error is 3.3e-7. Half the
/// instructions of upstream's four polynomials and their choice; gelu after a
/// 1 x 1 layer of 64 channels takes 18 cycles a vector instead of 39.
Value erf(VectorMath m, Value x) {
  x = m.clamp(x, -4, 4);
  Value square = arith::MulFOp::create(m.b, m.loc, x, x);
  Value p =
      m.polynomial(square, {-2.72614225801306e-10f, 2.77068142495902e-08f,
                            -2.10102402082508e-06f, -5.69250639462346e-05f,
                            -7.34990630326855e-04f, -2.95459980854025e-03f,
                            -1.60960333262415e-02f});
  Value q =
      m.polynomial(square, {-1.45660718464996e-05f, -2.13374055278905e-04f,
                            -1.68282697438203e-03f, -7.37332916720468e-03f,
                            -1.42647390514189e-02f});
  p = arith::MulFOp::create(m.b, m.loc, x, p);
  return arith::DivFOp::create(m.b, m.loc, p, q);
}

/// exp(x) = 2^n 2^r, where n + r = x / ln(2) and r is within a half: the
/// minimax polynomial of degree 5 (relative error 9e-8). log2(e) is one float,
/// of which 1.3e-8 are missing: the result's relative error is below 2e-7
/// + 1.3e-8 |x|. Degree 6 after ln(2) in two parts, good to 1.5e-7 everywhere,
/// takes silu from 12 to 14 cycles a vector (Zen 4, where multiply-adds bound
/// it). Upstream's clamps n too, and rounds and converts it, which here is
/// adding 1.5 * 2^23: n is in the low bits then.
Value exp(VectorMath m, Value x) {
  constexpr float log2e = 1.44269504f, roundToInteger = 12582912;
  // Powers of two that are neither infinite nor denormal.
  x = m.clamp(x, -87, 88);
  Value shifted = m.fma(x, m.constant(log2e), m.constant(roundToInteger));
  // -n, so that no instruction negates it.
  Value n =
      arith::SubFOp::create(m.b, m.loc, m.constant(roundToInteger), shifted);
  Value r = m.fma(x, m.constant(log2e), n);
  Value power =
      m.polynomial(r, {1.326472731e-3f, 9.671512991e-3f, 5.550733581e-2f,
                       2.402224243e-1f, 6.931470037e-1f, 1});
  auto integers = VectorType::get(m.type.getShape(), m.b.getI32Type());
  auto integer = [&](int32_t value) -> Value {
    return arith::ConstantOp::create(m.b, m.loc,
                                     DenseElementsAttr::get(integers, value));
  };
  constexpr int32_t exponentAt = 23, bitsOfOne = 0x3f800000;
  Value bits = arith::BitcastOp::create(m.b, m.loc, integers, shifted);
  bits = arith::ShLIOp::create(m.b, m.loc, bits, integer(exponentAt));
  bits = arith::AddIOp::create(m.b, m.loc, bits, integer(bitsOfOne));
  // A NaN's bits may become any number; its product with `power` is NaN.
  return arith::MulFOp::create(
      m.b, m.loc, power, arith::BitcastOp::create(m.b, m.loc, m.type, bits));
}

struct ConvApproximateMathPass
    : convjit::impl::ConvApproximateMathBase<ConvApproximateMathPass> {
  void runOnOperation() override {
    // The driver costs time even where there is nothing to rewrite.
    bool any = getOperation()
                   ->walk([](Operation *op) {
                     return isa<math::ExpOp, math::TanhOp, math::ErfOp>(op)
                                ? WalkResult::interrupt()
                                : WalkResult::advance();
                   })
                   .wasInterrupted();
    if (!any)
      return;
    RewritePatternSet patterns(&getContext());
    populateMathPolynomialApproximationPatterns(patterns);
    patterns.add<Approximation<math::ErfOp>>(&getContext(), erf);
    patterns.add<Approximation<math::ExpOp>>(&getContext(), exp);
    // Divisions stay divisions: estimates refined by multiply-adds (arcp) would
    // take those from the polynomials. After a 1 x 1 layer of 64 channels tanh
    // takes 13 cycles a vector, 15 with them (Zen 4).
    if (failed(applyPatternsGreedily(getOperation(), std::move(patterns))))
      return signalPassFailure();
    // math.fma must be fused and would be a call to the C library where the CPU
    // cannot; vector.fma is a multiply and an add there.
    getOperation()->walk([](math::FmaOp op) {
      OpBuilder b(op);
      if (!isa<VectorType>(op.getType()))
        return;
      op.replaceAllUsesWith(Value(vector::FMAOp::create(
          b, op.getLoc(), op.getA(), op.getB(), op.getC())));
      op.erase();
    });
  }
};

} // namespace
