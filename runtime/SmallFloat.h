//===- SmallFloat.h - f16, bf16 and tf32 as bits -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef CONVJIT_RUNTIME_SMALLFLOAT_H
#define CONVJIT_RUNTIME_SMALLFLOAT_H

#include <bit>
#include <cmath>
#include <cstdint>

namespace convjit {

/// Exact. Without the instructions of F16C, which this code may not assume, a
/// cast from _Float16 is a call of the compiler's run-time library.
inline float halfToFloat(uint16_t half) {
  uint32_t sign = uint32_t(half & 0x8000) << 16;
  uint32_t magnitude = uint32_t(half & 0x7fff) << 13;
  // The exponent's bias differs by 112; scaling makes subnormals right, too.
  float scaled = std::bit_cast<float>(magnitude) * 0x1p112f;
  uint32_t bits = std::bit_cast<uint32_t>(scaled);
  if (magnitude >= 0x0f800000) // infinity or NaN
    bits |= 0x7f800000;
  return std::bit_cast<float>(bits | sign);
}

/// Rounded to the nearest, ties to even; too large becomes infinity.
inline uint16_t floatToHalf(float value) {
  uint32_t bits = std::bit_cast<uint32_t>(value);
  auto sign = static_cast<uint16_t>(bits >> 16 & 0x8000);
  bits &= 0x7fffffff;
  if (bits > 0x7f800000)
    return 0x7fff;        // PTX's canonical NaN
  if (bits >= 0x477ff000) // 65520 and more
    return sign | 0x7c00;
  if (bits < 0x38800000) { // below 2^-14: a multiple of 2^-24
    float magnitude = std::bit_cast<float>(bits);
    return sign | static_cast<uint16_t>(std::nearbyint(magnitude * 0x1p24f));
  }
  bits += 0xfff + (bits >> 13 & 1);
  return sign | static_cast<uint16_t>((bits - 0x38000000) >> 13);
}

inline float bfloatToFloat(uint16_t bfloat) {
  return std::bit_cast<float>(uint32_t(bfloat) << 16);
}

/// Rounded to the nearest, ties to even.
inline uint16_t floatToBfloat(float value) {
  uint32_t bits = std::bit_cast<uint32_t>(value);
  if ((bits & 0x7fffffff) > 0x7f800000)
    return 0x7fff;
  return static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

/// cvt.rna.tf32.f32: to the nearest, ties away from zero.
inline uint32_t floatToTf32(float value) {
  uint32_t bits = std::bit_cast<uint32_t>(value);
  if ((bits & 0x7fffffff) >= 0x7f800000)
    return bits;
  return (bits + 0x1000) & 0xffffe000;
}

} // namespace convjit

#endif // CONVJIT_RUNTIME_SMALLFLOAT_H
