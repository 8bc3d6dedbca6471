//===- Standardize.cpp - weight standardization and its gradient -*- C++
//-*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "LayerState.h"

#include <algorithm>
#include <cmath>

using namespace convjit;
using namespace convjit::nn;

namespace {

/// Of one output channel's weights.
struct Moments {
  double mean = 0;
  double squares = 0; ///< of differences from the mean
};

/// `values` is row-major with the output channels last.
std::vector<Moments> momentsOf(const std::vector<double> &values,
                               size_t channels) {
  std::vector<Moments> moments(channels);
  auto fan = static_cast<double>(values.size() / channels);
  for (size_t i = 0; i < values.size(); ++i)
    moments[i % channels].mean += values[i] / fan;
  for (size_t i = 0; i < values.size(); ++i) {
    double difference = values[i] - moments[i % channels].mean;
    moments[i % channels].squares += difference * difference;
  }
  return moments;
}

} // namespace

Array nn::standardized(const Array &weight, const Array *gain, double eps) {
  auto channels = static_cast<size_t>(weight.shape.back());
  std::vector<double> values = widened(weight);
  std::vector<double> gains =
      gain ? widened(*gain) : std::vector<double>(channels, 1);
  std::vector<Moments> moments = momentsOf(values, channels);
  for (size_t i = 0; i < values.size(); ++i) {
    const Moments &m = moments[i % channels];
    values[i] = gains[i % channels] * (values[i] - m.mean) /
                std::sqrt(std::max(m.squares, eps));
  }
  return narrowed(values, weight.dtype, weight.shape);
}

StandardizationGradient nn::standardizationGradient(const Array &weight,
                                                    const Array *gain,
                                                    double eps,
                                                    const Array &gradient) {
  // With r = 1/sqrt(max(S, eps)), d the given gradient and c = w - mean, both
  // of one channel: gain's is r sum(d c), and that of w
  //     gain r (d - mean(d) - c r^2 sum(d c)),
  // without the last term where eps stands for S. c's mean is zero.
  auto channels = static_cast<size_t>(weight.shape.back());
  std::vector<double> values = widened(weight), d = widened(gradient);
  std::vector<double> gains =
      gain ? widened(*gain) : std::vector<double>(channels, 1);
  std::vector<Moments> moments = momentsOf(values, channels);
  std::vector<double> dMean(channels), product(channels), root(channels);
  auto fan = static_cast<double>(values.size() / channels);
  for (size_t i = 0; i < values.size(); ++i) {
    size_t c = i % channels;
    dMean[c] += d[i] / fan;
    product[c] += d[i] * (values[i] - moments[c].mean);
  }
  for (size_t c = 0; c < channels; ++c)
    root[c] = 1 / std::sqrt(std::max(moments[c].squares, eps));
  for (size_t i = 0; i < values.size(); ++i) {
    size_t c = i % channels;
    double through =
        moments[c].squares > eps
            ? (values[i] - moments[c].mean) * root[c] * root[c] * product[c]
            : 0;
    values[i] = gains[c] * root[c] * (d[i] - dMean[c] - through);
  }
  for (size_t c = 0; c < channels; ++c)
    product[c] *= root[c];
  auto length = static_cast<int64_t>(channels);
  return {narrowed(values, weight.dtype, weight.shape),
          narrowed(product, weight.dtype, {length})};
}
