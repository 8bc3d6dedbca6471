//===- GPUMath.cpp - functions without a library -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "GPUPasses.h"

#include "llvm/ADT/TypeSwitch.h"

#include <numbers>

namespace convjit {
#define GEN_PASS_DEF_CONVGPUMATH
#include "GPUPasses.h.inc"
} // namespace convjit

using namespace mlir;

namespace {

/// Builds the functions for one operand, a number or a vector of them. A GPU
/// has no C library to call; results are good to some units in the last place
/// of 1, as the activations need it.
class DoubleMath {
public:
  explicit DoubleMath(Operation *op)
      : b(op), loc(op->getLoc()), type(op->getOperand(0).getType()) {}

  Value exp(Value x);
  Value tanh(Value x);
  Value erf(Value x);

private:
  Value constant(double value) {
    TypedAttr one = b.getF64FloatAttr(value);
    if (auto vector = dyn_cast<VectorType>(type))
      one = DenseElementsAttr::get(vector, one);
    return arith::ConstantOp::create(b, loc, one);
  }
  Value integer(int64_t value) {
    TypedAttr one = b.getI64IntegerAttr(value);
    if (auto vector = dyn_cast<VectorType>(integers()))
      one = DenseElementsAttr::get(vector, one);
    return arith::ConstantOp::create(b, loc, one);
  }
  Type integers() {
    auto vector = dyn_cast<VectorType>(type);
    return vector ? Type(vector.clone(b.getI64Type())) : b.getI64Type();
  }
  Value add(Value x, Value y) { return arith::AddFOp::create(b, loc, x, y); }
  Value sub(Value x, Value y) { return arith::SubFOp::create(b, loc, x, y); }
  Value mul(Value x, Value y) { return arith::MulFOp::create(b, loc, x, y); }
  Value div(Value x, Value y) { return arith::DivFOp::create(b, loc, x, y); }
  Value fma(Value x, Value y, Value z) {
    return math::FmaOp::create(b, loc, x, y, z);
  }
  Value select(Value c, Value x, Value y) {
    return arith::SelectOp::create(b, loc, c, x, y);
  }
  Value below(Value x, double limit) {
    return arith::CmpFOp::create(b, loc, arith::CmpFPredicate::OLT, x,
                                 constant(limit));
  }
  /// `result`, or `x` where that is NaN.
  Value unlessNaN(Value x, Value result) {
    Value isNaN =
        arith::CmpFOp::create(b, loc, arith::CmpFPredicate::UNO, x, x);
    return select(isNaN, x, result);
  }
  Value withSignOf(Value x, Value sign) {
    return math::CopySignOp::create(b, loc, x, sign);
  }
  Value abs(Value x) { return math::AbsFOp::create(b, loc, x); }
  /// Coefficients from the highest power on.
  Value polynomial(Value x, ArrayRef<double> coefficients) {
    Value sum = constant(coefficients.front());
    for (double coefficient : coefficients.drop_front())
      sum = fma(sum, x, constant(coefficient));
    return sum;
  }
  /// x = scale * ln 2 + rest with |rest| <= ln 2 / 2; (e^rest - 1, scale).
  std::pair<Value, Value> reduce(Value x);
  /// x * 2^scale, of which half the scale may be out of range.
  Value scale(Value x, Value scale);

  OpBuilder b;
  Location loc;
  Type type;
};

} // namespace

std::pair<Value, Value> DoubleMath::reduce(Value x) {
  // 1.5 * 2^52: a sum with it is rounded to an integer, in its low bits.
  constexpr double shifter = 6755399441055744.0;
  Value shifted = fma(x, constant(std::numbers::log2e), constant(shifter));
  Value whole = sub(shifted, constant(shifter));
  Value rest = fma(whole, constant(-0x1.62e42fefa39efp-1), x);
  rest = fma(whole, constant(-0x1.abc9e3b39803fp-56), rest);
  // Taylor's series of (e^r - 1) / r.
  Value minusOne =
      mul(rest, polynomial(rest, {1.6059043836821613e-10, 2.08767569878681e-09,
                                  2.505210838544172e-08, 2.755731922398589e-07,
                                  2.7557319223985893e-06, 2.48015873015873e-05,
                                  0.0001984126984126984, 0.001388888888888889,
                                  0.008333333333333333, 0.041666666666666664,
                                  0.16666666666666666, 0.5, 1.0}));
  Value bits = arith::BitcastOp::create(b, loc, integers(), shifted);
  // Sign-extends the low 32 bits.
  bits = arith::ShLIOp::create(b, loc, bits, integer(32));
  return {minusOne, arith::ShRSIOp::create(b, loc, bits, integer(32))};
}

Value DoubleMath::scale(Value x, Value scale) {
  Value half = arith::ShRSIOp::create(b, loc, scale, integer(1));
  Value other = arith::SubIOp::create(b, loc, scale, half);
  for (Value power : {half, other}) {
    Value biased = arith::AddIOp::create(b, loc, power, integer(1023));
    Value bits = arith::ShLIOp::create(b, loc, biased, integer(52));
    x = mul(x, arith::BitcastOp::create(b, loc, type, bits));
  }
  return x;
}

Value DoubleMath::exp(Value x) {
  // Beyond these the result is 0 or infinite. NaN is put back at the end.
  Value clamped = arith::MaxNumFOp::create(b, loc, x, constant(-746));
  clamped = arith::MinNumFOp::create(b, loc, clamped, constant(710));
  auto [minusOne, power] = reduce(clamped);
  Value result = scale(add(minusOne, constant(1)), power);
  return unlessNaN(x, result);
}

Value DoubleMath::tanh(Value x) {
  // -m / (2 + m) with m = e^(-2|x|) - 1, without cancellation near 0.
  Value twice = mul(abs(x), constant(-2));
  Value clamped = arith::MaxNumFOp::create(b, loc, twice, constant(-80));
  auto [minusOne, power] = reduce(clamped);
  Value factor = scale(constant(1), power);
  Value m = fma(factor, minusOne, sub(factor, constant(1)));
  Value result = div(sub(constant(0), m), add(constant(2), m));
  return unlessNaN(x, withSignOf(result, x));
}

Value DoubleMath::erf(Value x) {
  // Up to 1 Taylor's series, beyond it 1 - e^(-x^2) f(x), where f(x) is
  // erfc(x) e^(x^2): a least-squares fit in (x - 2.5) / (x + 2.5) on [1, 6],
  // largest error of the sum 6e-17.
  Value size = abs(x), square = mul(x, x);
  Value near = mul(
      size, polynomial(square, {4.763348040515068e-18, -9.063970842808673e-17,
                                1.6342614095367152e-15, -2.7835162072109212e-14,
                                4.4632242632864775e-13, -6.7113668551641105e-12,
                                9.422759064650411e-11, -1.2290555301717926e-09,
                                1.4807192815879218e-08, -1.6365844691234924e-07,
                                1.6462114365889246e-06, -1.492565035840625e-05,
                                0.00012055332981789664, -0.0008548327023450852,
                                0.005223977625442188, -0.026866170645131252,
                                0.11283791670955126, -0.37612638903183754,
                                1.1283791670955126}));
  Value clamped = arith::MinNumFOp::create(b, loc, size, constant(6));
  clamped = arith::MaxNumFOp::create(b, loc, clamped, constant(1));
  Value at = div(sub(clamped, constant(2.5)), add(clamped, constant(2.5)));
  Value tail = polynomial(
      at,
      {-1.5547196541433333e-06, -2.2310751733585255e-06, 7.48176672618791e-06,
       1.8595929270128187e-05, -3.417199298501107e-05, -0.00012887469327903917,
       0.00022837959841661047, 0.0008759152773434153, -0.0026423659354631555,
       -0.003993701159869645, 0.03992253907524848, -0.12503305237890774,
       0.251713193217446, -0.37173673394897383, 0.21080636406114345});
  Value decay = exp(sub(constant(0), mul(clamped, clamped)));
  Value far = sub(constant(1), mul(decay, tail));
  Value result = withSignOf(select(below(size, 1), near, far), x);
  return unlessNaN(x, result);
}

namespace {

struct ConvGPUMathPass : convjit::impl::ConvGPUMathBase<ConvGPUMathPass> {
  void runOnOperation() override {
    SmallVector<Operation *> ops;
    getOperation()->walk([&](Operation *op) {
      if (isa<math::ExpOp, math::TanhOp, math::ErfOp>(op) &&
          getElementTypeOrSelf(op->getResult(0).getType()).isF64())
        ops.push_back(op);
    });
    for (Operation *op : ops) {
      DoubleMath math(op);
      Value x = op->getOperand(0);
      Value result = isa<math::ExpOp>(op)    ? math.exp(x)
                     : isa<math::TanhOp>(op) ? math.tanh(x)
                                             : math.erf(x);
      op->getResult(0).replaceAllUsesWith(result);
      op->erase();
    }
    // Upstream's conversion would call libdevice for these; the back end has
    // instructions.
    getOperation()->walk([](Operation *op) {
      StringRef name =
          llvm::TypeSwitch<Operation *, StringRef>(op)
              .Case([](math::AbsFOp) { return "llvm.fabs"; })
              .Case([](math::CopySignOp) { return "llvm.copysign"; })
              .Case([](math::FloorOp) { return "llvm.floor"; })
              .Case([](math::FmaOp) { return "llvm.fma"; })
              .Default(StringRef());
      if (name.empty())
        return;
      OpBuilder b(op);
      auto call = LLVM::CallIntrinsicOp::create(
          b, op->getLoc(), op->getResult(0).getType(), b.getStringAttr(name),
          op->getOperands());
      op->replaceAllUsesWith(call);
      op->erase();
    });
  }
};

} // namespace
