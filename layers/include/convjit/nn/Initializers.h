//===- Initializers.h - how weights begin -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// brainstate.nn.init in C++: the same names, arguments and defaults, and from
// the same seed the same weights (Random.h says how nearly).
//
//     Array w = *XavierNormal{.seed = 1}({4, 4, 4, 32, 64}, DataType::F32);
//
// An initializer is a callable from shape and dtype to an array. As there, one
// with a seed goes on in its stream with each call, and its copies share the
// stream; one without draws from the default generator (nn::seed).
//
//===----------------------------------------------------------------------===//

#ifndef CONVJIT_NN_INITIALIZERS_H
#define CONVJIT_NN_INITIALIZERS_H

#include "convjit/nn/Random.h"

#include <functional>
#include <memory>

namespace convjit::nn {

using Shape = std::vector<int64_t>;

/// Makes an array of this shape and dtype. Must not throw.
using Initializer = std::function<Expected<Array>(const Shape &, DataType)>;

/// Where an initializer's keys come from: the default generator, or a stream
/// of its own from a seed or key.
class Seed {
public:
  Seed() = default;
  Seed(int64_t seed) : own(std::make_shared<RandomState>(seed)) {}
  Seed(Key key) : own(std::make_shared<RandomState>(key)) {}
  Key next() const { return (own ? *own : defaultRandomState()).next(); }

private:
  std::shared_ptr<RandomState> own;
};

/// value in every element.
struct Constant {
  double value = 1;
  Expected<Array> operator()(const Shape &, DataType = DataType::F32) const;
};

struct ZeroInit {
  Expected<Array> operator()(const Shape &, DataType = DataType::F32) const;
};

/// mean + scale * N(0, 1).
struct Normal {
  double mean = 0, scale = 1;
  Seed seed = {};
  Expected<Array> operator()(const Shape &, DataType = DataType::F32) const;
};

/// A normal distribution cut off at `lower` and `upper`. Errors: scale not
/// above 0.
struct TruncatedNormal {
  double loc = 0, scale = 1, lower = -2, upper = 2;
  Seed seed = {};
  Expected<Array> operator()(const Shape &, DataType = DataType::F32) const;
};

/// Uniform in [min_val, max_val).
struct Uniform {
  double min_val = 0, max_val = 1;
  Seed seed = {};
  Expected<Array> operator()(const Shape &, DataType = DataType::F32) const;
};

enum class Fan { In, Out, Average };
enum class Distribution { TruncatedNormal, Normal, Uniform };

/// Values of variance scale / n, where n is
///
///     fan_in  = shape[in_axis] * rf      rf = product(shape) /
///     fan_out = shape[out_axis] * rf          (shape[in_axis]*shape[out_axis])
///
/// or their mean. The truncated normal is cut at two of its own standard
/// deviations, and widened so that the variance is as said after the cut.
/// Axes count from the end where negative. With the defaults the in_axis of a
/// transposed layer's weight is its output channels, as in brainstate.
/// Errors: an axis that the shape does not have, a scale below 0.
struct VarianceScaling {
  double scale;
  Fan mode;
  Distribution distribution;
  int in_axis = -2, out_axis = -1;
  Seed seed = {};
  Expected<Array> operator()(const Shape &, DataType = DataType::F32) const;
};

template <int defaultScale, Fan defaultFan, Distribution defaultDistribution>
struct NamedScaling {
  double scale = defaultScale;
  Fan mode = defaultFan;
  Distribution distribution = defaultDistribution;
  int in_axis = -2, out_axis = -1;
  Seed seed = {};
  Expected<Array> operator()(const Shape &shape,
                             DataType dtype = DataType::F32) const {
    return VarianceScaling{scale, mode, distribution, in_axis, out_axis, seed}(
        shape, dtype);
  }
};
using KaimingUniform = NamedScaling<2, Fan::In, Distribution::Uniform>;
using KaimingNormal = NamedScaling<2, Fan::In, Distribution::TruncatedNormal>;
using XavierUniform = NamedScaling<1, Fan::Average, Distribution::Uniform>;
using XavierNormal =
    NamedScaling<1, Fan::Average, Distribution::TruncatedNormal>;
using LecunUniform = NamedScaling<1, Fan::In, Distribution::Uniform>;
using LecunNormal = NamedScaling<1, Fan::In, Distribution::TruncatedNormal>;

/// scale times orthonormal rows or columns, whichever are fewer, of the matrix
/// whose rows are indexed by `axis` and columns by all others. It is the Q of a
/// normal matrix's QR with R's diagonal made positive, which has one answer, so
/// that it is JAX's up to rounding (here in f64). Errors: no such axis.
struct Orthogonal {
  double scale = 1;
  int axis = -1;
  Seed seed = {};
  Expected<Array> operator()(const Shape &, DataType = DataType::F32) const;
};

/// Orthogonal in the middle tap and zero elsewhere (arXiv:1806.05393). Errors:
/// a shape that has not 3 to 5 axes, or whose last is smaller than the one
/// before it.
struct DeltaOrthogonal {
  double scale = 1;
  int axis = -1;
  Seed seed = {};
  Expected<Array> operator()(const Shape &, DataType = DataType::F32) const;
};

} // namespace convjit::nn

#endif // CONVJIT_NN_INITIALIZERS_H
