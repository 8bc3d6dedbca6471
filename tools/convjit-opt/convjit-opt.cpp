//===- convjit-opt.cpp - run passes one at a time -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

// Only what convjit's pipeline meets is registered: the tool then links in
// seconds, and its --help lists what matters.
//
//===----------------------------------------------------------------------===//

#include "GPUPasses.h"

#include "mlir/Dialect/Affine/IR/AffineOps.h"
#include "mlir/Dialect/ControlFlow/IR/ControlFlow.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Tools/mlir-opt/MlirOptMain.h"
#include "mlir/Transforms/Passes.h"

int main(int argc, char **argv) {
  mlir::DialectRegistry registry;
  registry.insert<convjit::conv::ConvDialect, mlir::affine::AffineDialect,
                  mlir::arith::ArithDialect, mlir::cf::ControlFlowDialect,
                  mlir::func::FuncDialect, mlir::linalg::LinalgDialect,
                  mlir::LLVM::LLVMDialect, mlir::math::MathDialect,
                  mlir::memref::MemRefDialect, mlir::scf::SCFDialect,
                  mlir::tensor::TensorDialect, mlir::vector::VectorDialect>();
  mlir::registerTransformsPasses();
  convjit::registerConvjitPasses();
  convjit::registerPipelines();
  convjit::registerGPUDialects(registry);
  convjit::registerConvjitGPUPasses();
  convjit::registerGPUPipelines();
  return mlir::asMainReturnCode(
      mlir::MlirOptMain(argc, argv, "convjit pass driver\n", registry));
}
