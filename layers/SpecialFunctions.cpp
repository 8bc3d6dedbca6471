//===- SpecialFunctions.cpp - erf and its inverse as XLA has them -*- C++
//-*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Where XLA rounds once (fma), so does this; this folder is compiled without
// contraction of its own, so that all CPUs give the same bits.
//
//===----------------------------------------------------------------------===//

#include "SpecialFunctions.h"

#include <cmath>
#include <limits>

using namespace convjit;

/// c[0] x^(n-1) + ... + c[n-1], one rounding a step.
template <typename T, int n> static T horner(const T (&c)[n], T x) {
  T sum = c[0];
  for (int i = 1; i < n; ++i)
    sum = std::fma(sum, x, c[i]);
  return sum;
}

float nn::erfXla(float x) {
  constexpr float numerator[] = {0x1.e05aa2p-13f, 0x1.bebb44p-9f,
                                 0x1.a16dd6p-5f, 0x1.7b4e8p-3f, 0x1.20dd74p+0f};
  constexpr float denominator[] = {-0x1.fa720cp-24f,
                                   0x1.8b11bep-16f,
                                   0x1.0ada5p-10f,
                                   0x1.cd0fa8p-7f,
                                   0x1.c69842p-4f,
                                   0x1.fd6894p-2f,
                                   1.0f};
  // erf rounds to 1 from here on.
  if (std::abs(x) >= 0x1.ea8f96p+1f)
    return std::copysign(1.0f, x);
  float square = x * x;
  return x * horner(numerator, square) / horner(denominator, square);
}

/// XLA's log in f32: Cephes' logf, as Eigen arranges it. `x` is a positive
/// normal number.
static float logXla(float x) {
  int exponent;
  float m = std::frexp(x, &exponent); // in [1/2, 1)
  auto e = static_cast<float>(exponent);
  if (m < 0x1.6a09e6p-1f) {
    e -= 1;
    m = m - 1 + m;
  } else {
    m -= 1;
  }
  constexpr float a[] = {0x1.204376p-4f, -0x1.d7a37p-4f, 0x1.de4a34p-4f};
  constexpr float b[] = {-0x1.fcba9ep-4f, 0x1.23d37ep-3f, -0x1.555cap-3f};
  constexpr float c[] = {0x1.999d58p-3f, -0x1.fffff8p-3f, 0x1.555554p-2f};
  float square = m * m, cube = square * m;
  float y = std::fma(horner(a, m), cube, horner(b, m));
  y = std::fma(y, cube, horner(c, m));
  // log(2) in two parts, the first of which times e is exact.
  y = std::fma(y, cube, e * -0x1.bd0106p-13f);
  return std::fma(e, 0x1.63p-1f, (m - square * 0.5f) + y);
}

/// XLA's log1p in f32: Cephes' rational function near 0.
static float log1pXla(float x) {
  if (!(std::abs(x) < 0x1.a8279ap-2f))
    return logXla(x + 1);
  constexpr float numerator[] = {
      0x1.7bc4aap-15f, 0x1.fe818ap-2f, 0x1.a509f4p+2f, 0x1.de9738p+4f,
      0x1.e798ecp+5f,  0x1.c8e75ap+5f, 0x1.40a202p+4f};
  constexpr float denominator[] = {
      1.0f,           0x1.e2035ap+3f, 0x1.4c30b6p+6f, 0x1.bb865ap+7f,
      0x1.351946p+8f, 0x1.b0db14p+7f, 0x1.e0f304p+5f};
  float square = x * x;
  float ratio = horner(numerator, x) / horner(denominator, x);
  return x + std::fma(square, -0.5f, x * square * ratio);
}

float nn::erfInvXla(float x) {
  constexpr float central[] = {
      2.81022636e-08f,  3.43273939e-07f, -3.5233877e-06f,
      -4.39150654e-06f, 0.00021858087f,  -0.00125372503f,
      -0.00417768164f,  0.246640727f,    1.50140941f};
  constexpr float tail[] = {-0.000200214257f, 0.000100950558f, 0.00134934322f,
                            -0.00367342844f,  0.00573950773f,  -0.0076224613f,
                            0.00943887047f,   1.00167406f,     2.83297682f};
  if (std::abs(x) == 1)
    return x * std::numeric_limits<float>::infinity();
  float w = -log1pXla(x * -x);
  return x * (w < 5 ? horner(central, w - 2.5f)
                    : horner(tail, std::sqrt(w) - 3.0f));
}

double nn::erfInv(double x) {
  double distance = 1 - std::abs(x); // exact above 1/2
  if (!(distance > 0))
    return distance == 0 ? x * std::numeric_limits<double>::infinity()
                         : std::numeric_limits<double>::quiet_NaN();
  if (x == 0)
    return x;
  // From f32's value, Halley's method on the side where the difference is
  // exact: each step triples the digits, two are enough but in the far tail.
  auto start = static_cast<float>(std::abs(x));
  double y = start < 1 ? erfInvXla(start) : std::sqrt(-std::log(distance));
  for (int step = 0; step < 6; ++step) {
    double error =
        std::abs(x) < 0.5 ? std::erf(y) - std::abs(x) : distance - std::erfc(y);
    // erf'(y) = 2/sqrt(pi) exp(-y*y), erf''/erf' = -2y.
    double newton = error * 0.88622692545275801365 * std::exp(y * y);
    double change = newton / (1 + y * newton);
    y -= change;
    if (std::abs(change) <= 0x1p-53 * y)
      break;
  }
  return std::copysign(y, x);
}
