//===- Weights.cpp - weights from files and frameworks -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "convjit/nn/Weights.h"
#include "Elements.h"

#include <algorithm>

using namespace convjit;
using namespace convjit::nn;

/// `sizes` for each of `rank` dimensions, or an error that names it.
static Expected<std::vector<int64_t>> each(const char *name, const Sizes &sizes,
                                           size_t rank) {
  if (sizes.values().size() == 1)
    return std::vector<int64_t>(rank, sizes.values()[0]);
  if (sizes.values().size() == rank)
    return sizes.values();
  return badInput(std::string(name) + "=" + shapeText(sizes.values()) +
                  ": valid: one number, or one for each of the " +
                  std::to_string(rank) + " pairs of crop");
}

Expected<Padding> nn::croppedPadding(const std::vector<PadPair> &crop,
                                     const Sizes &kernel_size,
                                     const Sizes &rhs_dilation,
                                     const Sizes &output_padding) {
  size_t rank = crop.size();
  Expected<std::vector<int64_t>> kernel =
      each("kernel_size", kernel_size, rank);
  if (!kernel)
    return kernel.takeError();
  Expected<std::vector<int64_t>> dilation =
      each("rhs_dilation", rhs_dilation, rank);
  if (!dilation)
    return dilation.takeError();
  Expected<std::vector<int64_t>> more =
      each("output_padding", output_padding, rank);
  if (!more)
    return more.takeError();
  Padding::Pairs pairs;
  for (size_t i = 0; i < rank; ++i) {
    int64_t reach = ((*kernel)[i] - 1) * (*dilation)[i];
    pairs.push_back({reach - crop[i].lo, reach - crop[i].hi + (*more)[i]});
  }
  return Padding(std::move(pairs));
}

Expected<Array> nn::weightFrom(WeightLayout layout, const Array &weight,
                               const Shape &kernelShape, bool transposed,
                               int64_t groups, const std::string &what) {
  if (Status s = checkArray(what, weight); !s)
    return s.takeError();
  size_t rank = kernelShape.size() - 2;
  Shape spatial(kernelShape.begin(),
                kernelShape.begin() + static_cast<std::ptrdiff_t>(rank));
  Shape wanted = kernelShape;
  if (layout != WeightLayout::Brainstate) {
    // (O, I/g, k...), and of a transposed layer (I, O/g, k...).
    wanted = transposed ? Shape{kernelShape[rank + 1] * groups,
                                kernelShape[rank] / groups}
                        : Shape{kernelShape[rank + 1], kernelShape[rank]};
    wanted.insert(wanted.end(), spatial.begin(), spatial.end());
  }
  if (weight.shape != wanted)
    return badInput(what + " has shape " + shapeText(weight.shape) +
                    "; valid: " + shapeText(wanted));
  if (layout == WeightLayout::Brainstate)
    return weight;
  // (g, I/g or O/g, the other / g, k...) to (k..., ...).
  Array split = weight;
  split.shape.insert(split.shape.begin(), groups);
  split.shape[1] /= groups;
  std::vector<int64_t> order;
  for (size_t i = 0; i < rank; ++i)
    order.push_back(static_cast<int64_t>(i) + 3);
  // Either way the axis that has all groups comes to lie beside g.
  if (transposed)
    order.insert(order.end(), {0, 2, 1});
  else
    order.insert(order.end(), {2, 0, 1});
  Array result = nn::transposed(split, order);
  result.shape = kernelShape;
  return result;
}
