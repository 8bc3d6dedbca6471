//===- FoldMask.cpp - a weight mask becomes the list of live taps -*- C++
//-*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Passes.h"

namespace convjit {
#define GEN_PASS_DEF_CONVFOLDMASK
#include "Passes.h.inc"
} // namespace convjit

using namespace mlir;
using namespace convjit;
using namespace convjit::conv;

namespace {

/// A gap of fewer channels than this does not end a range.
constexpr int64_t minGap = 8;

/// Reads the mask by (output channel, window tap, channel of the group).
class MaskView {
public:
  MaskView(ConvolutionOp op, DenseElementsAttr mask)
      : values(mask.getValues<APFloat>()), numbers(op.getDimensionNumbers()),
        reversal(op.getWindow().getReversal()), swapped(op.getSwappedFilter()) {
    ArrayRef<int64_t> shape = mask.getType().getShape();
    int64_t groups = op.getFeatureGroupCount();
    strides.resize(shape.size());
    for (int64_t i = shape.size() - 1, stride = 1; i >= 0; --i) {
      strides[i] = stride;
      stride *= shape[i];
    }
    for (int64_t axis : numbers.getKernelSpatial())
      kernel.push_back(shape[axis]);
    outputs = filterOutputFeatures(shape, numbers, groups, swapped);
    inputs = filterInputFeatures(shape, numbers, groups, swapped);
    perGroup = outputs / groups;
    for (int64_t size : kernel)
      taps *= size;
  }

  APFloat at(int64_t output, int64_t tap, int64_t input) const {
    int64_t index = 0;
    for (int64_t dim = kernel.size() - 1; dim >= 0; --dim) {
      int64_t t = tap % kernel[dim];
      tap /= kernel[dim];
      index += (reversal[dim] ? kernel[dim] - 1 - t : t) *
               strides[numbers.getKernelSpatial()[dim]];
    }
    if (swapped) {
      input += output / perGroup * inputs;
      output %= perGroup;
    }
    index += output * strides[numbers.getKernelOutputFeature()] +
             input * strides[numbers.getKernelInputFeature()];
    return *(values.begin() + index);
  }

  int64_t outputs = 0, inputs = 0, taps = 1;

private:
  DenseElementsAttr::iterator_range<APFloat> values;
  DimensionNumbersAttr numbers;
  ArrayRef<bool> reversal;
  bool swapped;
  int64_t perGroup = 1;
  SmallVector<int64_t> strides, kernel;
};

/// The terms of #conv.live for one output channel.
SmallVector<int64_t> liveTerms(const MaskView &mask, int64_t output) {
  SmallVector<int64_t> terms;
  for (int64_t tap = 0; tap < mask.taps; ++tap) {
    int64_t begin = -1, end = -1;
    for (int64_t input = 0; input < mask.inputs; ++input) {
      if (mask.at(output, tap, input).isZero())
        continue;
      if (begin >= 0 && input - end >= minGap) {
        terms.append({tap, begin, end});
        begin = -1;
      }
      if (begin < 0)
        begin = input;
      end = input + 1;
    }
    if (begin >= 0)
      terms.append({tap, begin, end});
  }
  return terms;
}

struct ConvFoldMaskPass : convjit::impl::ConvFoldMaskBase<ConvFoldMaskPass> {
  void runOnOperation() override {
    WalkResult result = getOperation()->walk([](ConvolutionOp op) {
      return op.getMask() ? fold(op) : WalkResult::advance();
    });
    if (result.wasInterrupted())
      signalPassFailure();
  }

  static WalkResult fold(ConvolutionOp op) {
    auto dense = dyn_cast<DenseElementsAttr>(*op.getMask());
    if (!dense || !isa<FloatType>(dense.getElementType())) {
      op.emitOpError("mask: valid: dense elements of a float type");
      return WalkResult::interrupt();
    }
    MaskView mask(op, dense);
    bool allOnes = true, allLive = true;
    SmallVector<Attribute> live;
    SmallVector<int64_t> terms;
    int64_t first = 0;
    auto flush = [&](int64_t last) {
      if (last > first)
        live.push_back(LiveAttr::get(op.getContext(), first, last, terms));
      first = last;
    };
    for (int64_t output = 0; output < mask.outputs; ++output) {
      SmallVector<int64_t> own = liveTerms(mask, output);
      int64_t covered = 0;
      for (size_t i = 0; i < own.size(); i += 3) {
        covered += own[i + 2] - own[i + 1];
        for (int64_t input = own[i + 1]; input < own[i + 2]; ++input)
          allOnes &= mask.at(output, own[i], input).isExactlyValue(1.0);
      }
      allLive &= covered == mask.taps * mask.inputs;
      if (own != terms || output == 0) {
        flush(output);
        terms = std::move(own);
      }
    }
    flush(mask.outputs);
    if (!allLive)
      op.setLiveAttr(ArrayAttr::get(op.getContext(), live));
    // Channels of one block share a loop over the union of their terms, so
    // zeros may still have to be packed as zeros.
    if (allOnes && (allLive || live.size() == 1))
      op.removeMaskAttr();
    return WalkResult::advance();
  }
};

} // namespace
