//===- DirectLayer.h - a layer from its arguments alone -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// What brainstate's documentation says a layer computes, in double precision,
// without any of the library's own mappings: a transposed layer adds each input
// element times each tap to the output, stride apart; a plain one takes each
// output's window from the dilated, padded input. One walk over all products
// gives the output and every gradient.
//
//===----------------------------------------------------------------------===//

#ifndef CONVJIT_TEST_LAYERS_DIRECTLAYER_H
#define CONVJIT_TEST_LAYERS_DIRECTLAYER_H

#include "LayerTesting.h"

namespace convjit::nn {

/// The products of one spatial dimension.
struct Product {
  int64_t in, out, tap;
};

struct DirectLayer {
  bool transposed = false, channelFirst = false;
  std::vector<int64_t> spatial, outSpatial, kernel;
  int64_t inChannels = 1, outChannels = 1, groups = 1;
  std::vector<std::vector<Product>> products; ///< by dimension

  explicit DirectLayer(const Layer &layer);

  /// Calls body(input index, weight index, output index) for each product of
  /// one image.
  template <typename Body> void visit(Body body) const {
    walk(0, 0, 0, 0, body);
  }

  int64_t inputs() const { return volume(spatial) * inChannels; }
  int64_t outputs() const { return volume(outSpatial) * outChannels; }
  /// The channel of an output element.
  int64_t channelOf(int64_t output) const {
    return channelFirst ? output / volume(outSpatial) : output % outChannels;
  }

private:
  static int64_t volume(const std::vector<int64_t> &sizes) {
    int64_t product = 1;
    for (int64_t size : sizes)
      product *= size;
    return product;
  }

  template <typename Body>
  void walk(size_t dimension, int64_t in, int64_t out, int64_t tap,
            Body &body) const {
    if (dimension < products.size()) {
      for (const Product &p : products[dimension])
        walk(dimension + 1, in * spatial[dimension] + p.in,
             out * outSpatial[dimension] + p.out,
             tap * kernel[dimension] + p.tap, body);
      return;
    }
    int64_t inGroup = inChannels / groups, outGroup = outChannels / groups;
    for (int64_t oc = 0; oc < outChannels; ++oc)
      for (int64_t i = 0; i < inGroup; ++i) {
        int64_t ic = oc / outGroup * inGroup + i;
        int64_t x =
            channelFirst ? ic * volume(spatial) + in : in * inChannels + ic;
        int64_t y = channelFirst ? oc * volume(outSpatial) + out
                                 : out * outChannels + oc;
        int64_t w = transposed ? (tap * outChannels + oc) * inGroup + i
                               : (tap * inGroup + i) * outChannels + oc;
        body(x, w, y);
      }
  }
};

inline DirectLayer::DirectLayer(const Layer &layer)
    : transposed(layer.kind() == LayerKind::ConvTranspose),
      channelFirst(layer.channel_first()), kernel(layer.kernel_size()),
      inChannels(layer.in_channels()), outChannels(layer.out_channels()),
      groups(layer.groups()) {
  std::string mode = layer.padding_mode();
  for (size_t i = 0; i < kernel.size(); ++i) {
    int64_t n = layer.in_size()[i + (channelFirst ? 1 : 0)];
    int64_t k = kernel[i], s = layer.stride()[i], d = layer.rhs_dilation()[i];
    int64_t ek = (k - 1) * d + 1;
    PadPair pad = layer.padding()[i];
    spatial.push_back(n);
    std::vector<Product> &all = products.emplace_back();
    if (transposed) {
      // The documented lengths; explicit padding is added.
      int64_t out = mode == "SAME"    ? n * s
                    : mode == "VALID" ? n * s + std::max<int64_t>(ek - s, 0)
                                      : (n - 1) * s + 2 + pad.lo + pad.hi - ek;
      outSpatial.push_back(std::max<int64_t>(out, 0));
      // SAME is what is left of the whole when a little more is cut off before
      // than after; VALID cuts nothing off before.
      int64_t before = mode == "VALID"  ? 0
                       : mode == "SAME" ? (ek > s ? (ek - s) / 2 : 0)
                                        : ek - 1 - pad.lo;
      for (int64_t in = 0; in < n; ++in)
        for (int64_t tap = 0; tap < k; ++tap) {
          int64_t at = in * s + tap * d - before;
          if (at >= 0 && at < out)
            all.push_back({in, at, tap});
        }
      continue;
    }
    int64_t ld = layer.lhs_dilation()[i], length = (n - 1) * ld + 1;
    int64_t out, before;
    if (mode == "SAME") {
      out = (length + s - 1) / s;
      before = std::max<int64_t>((out - 1) * s + ek - length, 0) / 2;
    } else {
      before = mode == "VALID" ? 0 : pad.lo;
      int64_t padded = length + before + (mode == "VALID" ? 0 : pad.hi);
      out = padded < ek ? 0 : (padded - ek) / s + 1;
    }
    outSpatial.push_back(out);
    for (int64_t o = 0; o < out; ++o)
      for (int64_t tap = 0; tap < k; ++tap) {
        int64_t at = o * s + tap * d - before;
        if (at >= 0 && at % ld == 0 && at / ld < n)
          all.push_back({at / ld, o, tap});
      }
  }
}

} // namespace convjit::nn

#endif // CONVJIT_TEST_LAYERS_DIRECTLAYER_H
