//===- CollapseSpatial.cpp - spatial dimensions that are one -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

// A window of one pixel meets a plane as it meets a row of as many pixels, and
// one that spans the whole input sums over a plane as over a row. As one row
// they have whole tiles where each of the rows had a tail: 40 to 320 channels,
// k 1, channels first, at 9 x 14 x 9 are 1134 pixels in vectors of 16 instead
// of 126 rows of 9.
//
//===----------------------------------------------------------------------===//

#include "Passes.h"

namespace convjit {
#define GEN_PASS_DEF_CONVCOLLAPSESPATIAL
#include "Passes.h.inc"
} // namespace convjit

using namespace mlir;
using namespace convjit;
using namespace convjit::conv;

namespace {

/// A tensor's shape, and where its axes are.
struct Axes {
  SmallVector<int64_t> shape, spatial;
  std::array<int64_t, 2> other; ///< batch and feature, or both features
  SmallVector<int64_t> strides; ///< of a tensor with gaps; else none

  int64_t size(int64_t dim) const { return shape[spatial[dim]]; }
  /// Whether `outer` and `inner` are one run of memory.
  bool areOneRun(int64_t outer, int64_t inner) const {
    if (size(outer) == 1 || size(inner) == 1)
      return true;
    return spatial[outer] + 1 == spatial[inner] &&
           (strides.empty() ||
            strides[spatial[outer]] == size(inner) * strides[spatial[inner]]);
  }
  /// Takes `inner` into `outer`.
  void merge(int64_t outer, int64_t inner) {
    // The axis of one element goes, wherever it is.
    int64_t kept = spatial[size(outer) == 1 ? inner : outer];
    int64_t gone = spatial[size(outer) == 1 ? outer : inner];
    if (!strides.empty()) {
      if (size(inner) > 1)
        strides[kept] = strides[spatial[inner]];
      strides.erase(strides.begin() + gone);
    }
    shape[kept] *= shape[gone];
    shape.erase(shape.begin() + gone);
    spatial[outer] = kept;
    spatial.erase(spatial.begin() + inner);
    auto shift = [&](int64_t &axis) { axis -= axis > gone; };
    llvm::for_each(spatial, shift);
    llvm::for_each(other, shift);
  }
};

/// The spatial part of a convolution.
struct Space {
  Axes input, kernel, output;
  SmallVector<int64_t> strides, low, high, lhs, rhs;
  SmallVector<bool> reversal;

  explicit Space(ConvolutionOp op) {
    DimensionNumbersAttr numbers = op.getDimensionNumbers();
    auto axes = [](Value value, ArrayRef<int64_t> spatial, int64_t first,
                   int64_t second) {
      auto type = cast<RankedTensorType>(value.getType());
      return Axes{llvm::to_vector(type.getShape()),
                  llvm::to_vector(spatial),
                  {first, second},
                  {}};
    };
    input = axes(op.getInput(), numbers.getInputSpatial(),
                 numbers.getInputBatch(), numbers.getInputFeature());
    if (std::optional<ArrayRef<int64_t>> given = op.getInputStrides())
      input.strides = llvm::to_vector(*given);
    kernel =
        axes(op.getFilter(), numbers.getKernelSpatial(),
             numbers.getKernelInputFeature(), numbers.getKernelOutputFeature());
    output = axes(op.getResult(), numbers.getOutputSpatial(),
                  numbers.getOutputBatch(), numbers.getOutputFeature());
    WindowAttr window = op.getWindow();
    strides.assign(window.getStrides().begin(), window.getStrides().end());
    low.assign(window.getPadLow().begin(), window.getPadLow().end());
    high.assign(window.getPadHigh().begin(), window.getPadHigh().end());
    lhs.assign(window.getLhsDilation().begin(), window.getLhsDilation().end());
    rhs.assign(window.getRhsDilation().begin(), window.getRhsDilation().end());
    reversal.assign(window.getReversal().begin(), window.getReversal().end());
  }

  bool isPadded(int64_t dim) const { return low[dim] || high[dim]; }
  /// Nothing but a name.
  bool isTrivial(int64_t dim) const {
    return input.size(dim) == 1 && kernel.size(dim) == 1 &&
           output.size(dim) == 1 && !isPadded(dim);
  }
  /// Each output is of one input.
  bool isPointwise(int64_t dim) const {
    return kernel.size(dim) == 1 && strides[dim] == 1 && lhs[dim] == 1 &&
           !isPadded(dim);
  }
  /// The one output is of all inputs, each with a weight of its own.
  bool isGlobal(int64_t dim) const {
    return output.size(dim) == 1 && kernel.size(dim) == input.size(dim) &&
           lhs[dim] == 1 && rhs[dim] == 1 && !isPadded(dim);
  }

  bool canMerge(int64_t outer, int64_t inner) const {
    if (!input.areOneRun(outer, inner) || !kernel.areOneRun(outer, inner) ||
        !output.areOneRun(outer, inner))
      return false;
    return isTrivial(outer) || isTrivial(inner) ||
           (isPointwise(outer) && isPointwise(inner)) ||
           (isGlobal(outer) && isGlobal(inner) &&
            reversal[outer] == reversal[inner]);
  }

  void merge(int64_t outer, int64_t inner) {
    // Of a dimension that is nothing and one that is, the latter's window.
    int64_t gone = isTrivial(outer) ? outer : inner;
    auto drop = [&](auto &values) {
      values[outer] = values[gone == outer ? inner : outer];
      values.erase(values.begin() + inner);
    };
    drop(strides);
    drop(low);
    drop(high);
    drop(lhs);
    drop(rhs);
    drop(reversal);
    input.merge(outer, inner);
    kernel.merge(outer, inner);
    output.merge(outer, inner);
  }

  /// Merges two dimensions; false if there are none.
  bool mergeSome() {
    auto rank = static_cast<int64_t>(strides.size());
    for (int64_t outer = 0; outer < rank; ++outer)
      for (int64_t inner = 0; inner < rank; ++inner)
        if (outer != inner && canMerge(outer, inner)) {
          merge(outer, inner);
          return true;
        }
    return false;
  }
};

struct ConvCollapseSpatialPass
    : convjit::impl::ConvCollapseSpatialBase<ConvCollapseSpatialPass> {
  void runOnOperation() override {
    for (auto func : getOperation().getOps<func::FuncOp>())
      if (ConvolutionOp op = onlyConvolution(func))
        collapse(func, op);
  }

  static void collapse(func::FuncOp func, ConvolutionOp op) {
    Space space(op);
    bool changed = false;
    while (space.mergeSome())
      changed = true;
    if (!changed)
      return;
    MLIRContext *context = op.getContext();
    auto typed = [](Value value, const Axes &axes) {
      auto type = cast<RankedTensorType>(value.getType());
      value.setType(RankedTensorType::get(axes.shape, type.getElementType()));
    };
    // Tensors are contiguous where axes became one: none moves.
    typed(op.getInput(), space.input);
    typed(op.getFilter(), space.kernel);
    typed(op.getResult(), space.output);
    if (Value residual = op.getResidual())
      typed(residual, space.output);
    if (auto mask = dyn_cast_or_null<DenseElementsAttr>(op.getMaskAttr()))
      op.setMaskAttr(mask.reshape(
          RankedTensorType::get(space.kernel.shape, mask.getElementType())));
    op.setWindowAttr(WindowAttr::get(context, space.strides, space.low,
                                     space.high, space.lhs, space.rhs,
                                     space.reversal));
    if (op.getInputStrides())
      op.setInputStrides(space.input.strides);
    op.setDimensionNumbersAttr(DimensionNumbersAttr::get(
        context, space.input.other[0], space.input.other[1],
        space.input.spatial, space.kernel.other[0], space.kernel.other[1],
        space.kernel.spatial, space.output.other[0], space.output.other[1],
        space.output.spatial));
    func.setFunctionType(FunctionType::get(
        context, func.getBody().front().getArgumentTypes(), op.getType()));
  }
};

} // namespace
