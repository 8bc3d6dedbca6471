//===- Problem.h - one layer in one line -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// A Problem is a layer as a user writes it: everything but the batch, which is
// a run-time argument. Its text form names the layer in scripts, in failing
// tests and in the cache:
//
//     convT3d:in=8x16x16x64,oc=32,k=4,s=2
//     conv2d:in=3x224x224,oc=64,k=7,s=2,pad=3,layout=channels_first,bias
//
// The meaning is given by lowering to the general convolution
// (Convolution.h). docs/semantics.md has the grammar and the tables.
//
//===----------------------------------------------------------------------===//

#ifndef CONVJIT_PROBLEM_H
#define CONVJIT_PROBLEM_H

#include "convjit/Error.h"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace convjit {

enum class Operation { Conv, ConvTranspose };
/// F16 and BF16: of GPUs' kernels only, which sum in f32.
enum class DataType { F32, F64, F16, BF16 };
enum class Layout { ChannelsLast, ChannelsFirst };
enum class PaddingMode { Same, Valid, Explicit };

/// Which operator of the layer: y = conv(x, w), or the adjoint in x or in w.
enum class Gradient { None, Input, Weight };

/// y = act(conv + bias + residual). `Gelu` is the exact form with erf,
/// `GeluTanh` the tanh approximation (JAX's default).
enum class ActivationKind {
  None,
  Relu,
  LeakyRelu,
  Sigmoid,
  Tanh,
  Silu,
  Gelu,
  GeluTanh
};

struct Activation {
  ActivationKind kind = ActivationKind::None;
  /// LeakyRelu's slope for negative values; others ignore it, and so does their
  /// comparison: equal activations are the same function.
  double slope = 0.01;
  bool operator==(const Activation &other) const {
    return kind == other.kind &&
           (kind != ActivationKind::LeakyRelu || slope == other.slope);
  }
};

/// Elements added before and after one spatial dimension of the dilated input;
/// negative values crop.
struct PadPair {
  int64_t lo = 0;
  int64_t hi = 0;
  bool operator==(const PadPair &) const = default;
};

/// Largest number in a field: far from overflow, and more than any layer has.
/// A kernel's is smaller, as work is spent on each of its taps.
inline constexpr int64_t maxProblemField = int64_t(1) << 30;
inline constexpr int64_t maxProblemKernel = int64_t(1) << 24;

/// One layer. Vectors have one entry a spatial dimension, `rank` in all.
/// A default-constructed Problem is not valid; see `validate`.
struct Problem {
  Operation operation = Operation::ConvTranspose;
  int rank = 3;
  std::vector<int64_t> inSpatial;
  int64_t inChannels = 0;
  int64_t outChannels = 0;
  std::vector<int64_t> kernel;
  std::vector<int64_t> stride;
  std::vector<int64_t> dilation;      ///< of the kernel (rhs)
  std::vector<int64_t> inputDilation; ///< lhs; plain convolutions only
  int64_t groups = 1;
  int64_t batchGroups = 1;
  PaddingMode paddingMode = PaddingMode::Same;
  std::vector<PadPair> padding; ///< used when paddingMode is Explicit
  Layout layout = Layout::ChannelsLast;
  DataType dtype = DataType::F32;
  Gradient gradient = Gradient::None;
  bool bias = false;
  bool residual = false;
  Activation activation;
  /// Path of a .npy file, of numbers or booleans, with the weight's shape;
  /// empty for no mask.
  std::string mask;

  bool operator==(const Problem &) const = default;
};

/// Reads a problem string; fields in any order, defaults filled in, and the
/// result validated. The error names the field, its value and what would be
/// valid. Thread-safe, like every function of this header.
Expected<Problem> parseProblem(std::string_view text);

/// The canonical form: fields in one order, defaults left out, scalars where
/// all dimensions agree. parseProblem(printProblem(p)) == p for valid p.
std::string printProblem(const Problem &problem);

/// Checks every rule of docs/semantics.md, sizes included: input, weight and
/// output (for one image) have at most 2^40 elements, a size of 0 counted as 1,
/// so that no later arithmetic in 64 bits can overflow.
Status validate(const Problem &problem);

const char *name(DataType dtype);
/// The dtype of that name, or nothing.
std::optional<DataType> dataTypeOf(std::string_view name);
/// Whether CPUs compute in it.
inline bool isForCPUs(DataType dtype) {
  return dtype == DataType::F32 || dtype == DataType::F64;
}
const char *name(ActivationKind kind);
/// Bytes of one element.
int64_t sizeOf(DataType dtype);

} // namespace convjit

#endif // CONVJIT_PROBLEM_H
