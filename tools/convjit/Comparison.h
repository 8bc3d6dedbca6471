//===- Comparison.h - outputs held against the reference -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef CONVJIT_TOOLS_COMPARISON_H
#define CONVJIT_TOOLS_COMPARISON_H

#include "Checker.h"

namespace convjit::cli {

/// Numbers of images that a case is checked with.
std::vector<int64_t> imagesOf(const NamedCase &item);

/// Whether integer data comes out exact: no transcendental function.
bool isExact(const Activation &activation);

/// Kinds of data that every batch is run with.
struct CheckRound {
  const char *name;
  DataKind kind;
  bool special; ///< with infinities and NaN here and there
};
inline constexpr CheckRound checkRounds[] = {
    {"exact", DataKind::Exact, false},
    {"float", DataKind::Float, false},
    {"special", DataKind::Exact, true}};

/// Replaces a few values: a product that is not part of an output, such as that
/// of a tap outside the input, must not reach it, not even as 0 times infinity.
void makeSpecial(std::vector<double> &values, Random &random);

/// The input as it lies in memory, from the first element of its span to the
/// last: `values`, which are in the order of inputShape, where its strides put
/// them, and NaNs between them.
std::vector<double> spreadInput(const Convolution &conv,
                                const std::vector<double> &values);

/// The reference sees what the kernel sees: data of the kernel's type, and one
/// value where strides put several elements in one place. Weights that a mask
/// removes become NaN, as they must not be used, whatever they are.
void roundOperands(const Convolution &conv, ReferenceOperands &operands);

/// Compares an output with the reference; empty when it agrees. `productError`
/// is what errorBound takes; `worst` rises to the largest error on float data,
/// as a part of its bound.
std::string compareOutputs(const Convolution &conv,
                           const ReferenceResult &wanted, const std::byte *got,
                           DataKind kind, double &worst,
                           double productError = 0);

/// `plan` with the value after `field` = replaced, or the field added.
void replaceField(std::string &plan, const std::string &field,
                  const std::string &value);

/// A GPU's plan with some of its fields replaced; it may be impossible. Of that
/// schedule; of any where it is empty.
std::string randomGPUPlan(std::string plan, const Convolution &conv,
                          const std::string &schedule, Random &random);

} // namespace convjit::cli

#endif // CONVJIT_TOOLS_COMPARISON_H
