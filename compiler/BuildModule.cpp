//===- BuildModule.cpp - a layer as MLIR -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "BuildModule.h"
#include "ConvDialect.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"

using namespace mlir;

namespace convjit {

static conv::EpilogueAttr epilogueOf(MLIRContext *context,
                                     const Activation &activation) {
  // Both enumerations list the same functions in the same order.
  if (activation.kind == ActivationKind::None)
    return {};
  // Equal activations make the same attribute.
  double slope = activation.kind == ActivationKind::LeakyRelu
                     ? activation.slope
                     : Activation().slope;
  return conv::EpilogueAttr::get(
      context, static_cast<conv::Activation>(activation.kind), APFloat(slope));
}

static DenseElementsAttr maskOf(OpBuilder &b, const Convolution &conv) {
  if (conv.mask.empty())
    return {};
  return DenseElementsAttr::get(
      RankedTensorType::get(conv.kernelShape(), b.getF64Type()),
      ArrayRef<double>(conv.mask));
}

static Type elementType(OpBuilder &b, DataType dtype) {
  switch (dtype) {
  case DataType::F32:
    return b.getF32Type();
  case DataType::F64:
    return b.getF64Type();
  case DataType::F16:
    return b.getF16Type();
  case DataType::BF16:
    return b.getBF16Type();
  }
  llvm_unreachable("all dtypes are listed");
}

/// Makes the function; `body` builds the operation from its arguments.
static OwningOpRef<ModuleOp> wrap(
    MLIRContext *context, const Convolution &conv,
    function_ref<Value(OpBuilder &, Location, ValueRange, Value, Value)> body) {
  OpBuilder b(context);
  Location loc = b.getUnknownLoc();
  OwningOpRef<ModuleOp> module(ModuleOp::create(loc));
  b.setInsertionPointToEnd(module->getBody());
  Type element = elementType(b, conv.dtype);
  auto tensor = [&](std::vector<int64_t> shape, int64_t batchAxis) -> Type {
    if (batchAxis >= 0)
      shape[batchAxis] = ShapedType::kDynamic;
    return RankedTensorType::get(shape, element);
  };
  // Any multiple of the batch groups stands for the batch; it is dynamic.
  int64_t batch = conv.batchGroups;
  Type output = tensor(conv.outputShape(batch), conv.numbers.outputBatch);
  SmallVector<Type> types = {
      tensor(conv.inputShape(batch), conv.numbers.inputBatch),
      tensor(conv.kernelShape(), -1)};
  if (conv.bias)
    types.push_back(tensor({conv.outChannels}, -1));
  if (conv.residual)
    types.push_back(output);
  auto func =
      func::FuncOp::create(b, loc, "layer", b.getFunctionType(types, {output}));
  Block *block = func.addEntryBlock();
  b.setInsertionPointToStart(block);
  ValueRange arguments = block->getArguments();
  Value bias = conv.bias ? Value(arguments[2]) : Value();
  Value residual = conv.residual ? Value(arguments.back()) : Value();
  func::ReturnOp::create(b, loc, body(b, loc, arguments, bias, residual));
  return module;
}

/// Strides of the input where they say something: not those of an array
/// without gaps. An axis of length 1 gets the stride that it would have there.
static DenseI64ArrayAttr inputStridesOf(OpBuilder &b, const Convolution &conv) {
  if (conv.inputStrides.empty())
    return {};
  SmallVector<int64_t> strides(conv.inputStrides.begin(),
                               conv.inputStrides.end());
  std::vector<int64_t> shape = conv.inputShape(conv.batchGroups);
  auto batch = static_cast<size_t>(conv.numbers.inputBatch);
  int64_t next = 1;
  bool gaps = batch != 0;
  for (size_t axis = shape.size(); axis-- > 0;) {
    if (axis != batch && shape[axis] == 1)
      strides[axis] = next;
    gaps |= strides[axis] != next;
    next = strides[axis] * shape[axis];
  }
  return gaps ? b.getDenseI64ArrayAttr(strides) : DenseI64ArrayAttr();
}

OwningOpRef<ModuleOp> buildModule(MLIRContext *context,
                                  const Convolution &convolution) {
  SmallVector<int64_t> strides, low, high, lhs, rhs;
  SmallVector<bool> reversal;
  for (const SpatialDim &dim : convolution.dims) {
    strides.push_back(dim.windowStride);
    low.push_back(dim.padLow);
    high.push_back(dim.padHigh);
    lhs.push_back(dim.inputDilation);
    rhs.push_back(dim.kernelDilation);
    reversal.push_back(dim.reversed);
  }
  auto window =
      conv::WindowAttr::get(context, strides, low, high, lhs, rhs, reversal);
  const DimensionNumbers &n = convolution.numbers;
  auto numbers = conv::DimensionNumbersAttr::get(
      context, n.inputBatch, n.inputFeature, n.inputSpatial,
      n.kernelInputFeature, n.kernelOutputFeature, n.kernelSpatial,
      n.outputBatch, n.outputFeature, n.outputSpatial);
  return wrap(context, convolution,
              [&](OpBuilder &b, Location loc, ValueRange args, Value bias,
                  Value residual) -> Value {
                return conv::ConvolutionOp::create(
                    b, loc, args[0], args[1], bias, residual, window, numbers,
                    convolution.groups, convolution.batchGroups,
                    convolution.kernelFeaturesSwapped,
                    epilogueOf(context, convolution.activation),
                    maskOf(b, convolution), /*live=*/nullptr, /*plan=*/nullptr,
                    /*gpuPlan=*/nullptr, inputStridesOf(b, convolution));
              });
}

OwningOpRef<ModuleOp> buildLayerModule(MLIRContext *context,
                                       const Problem &problem,
                                       const Convolution &convolution) {
  return wrap(
      context, convolution,
      [&](OpBuilder &b, Location loc, ValueRange args, Value bias,
          Value residual) -> Value {
        auto mode = static_cast<conv::PaddingMode>(problem.paddingMode);
        auto layout = static_cast<conv::Layout>(problem.layout);
        DenseI64ArrayAttr padding;
        if (problem.paddingMode == PaddingMode::Explicit) {
          SmallVector<int64_t> pairs;
          for (PadPair pair : problem.padding)
            pairs.append({pair.lo, pair.hi});
          padding = b.getDenseI64ArrayAttr(pairs);
        }
        conv::EpilogueAttr epilogue = epilogueOf(context, problem.activation);
        DenseElementsAttr mask = maskOf(b, convolution);
        if (problem.operation == Operation::ConvTranspose)
          return conv::ConvTransposeOp::create(
              b, loc, args[0], args[1], bias, residual, problem.stride, mode,
              padding, problem.dilation, problem.groups, problem.batchGroups,
              layout, epilogue, mask);
        return conv::ConvOp::create(
            b, loc, args[0], args[1], bias, residual, problem.stride, mode,
            padding, problem.dilation, problem.groups, problem.batchGroups,
            layout, epilogue, mask, problem.inputDilation);
      });
}

} // namespace convjit
