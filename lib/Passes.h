//===- Passes.h - passes and pipelines of convjit -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef CONVJIT_LIB_PASSES_H
#define CONVJIT_LIB_PASSES_H

#include "ConvDialect.h"
#include "plan/Machine.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/Pass/Pass.h"
#include "mlir/Pass/PassOptions.h"

namespace convjit {

#define GEN_PASS_DECL
#include "Passes.h.inc"

#define GEN_PASS_REGISTRATION
#include "Passes.h.inc"

/// What the CPU pipeline needs to know of its target.
struct CPUPipelineOptions
    : public mlir::PassPipelineOptions<CPUPipelineOptions> {
  Option<int64_t> vectorBits{*this, "vector-bits",
                             llvm::cl::desc("bits of a vector register"),
                             llvm::cl::init(512)};
  Option<int64_t> registers{*this, "registers",
                            llvm::cl::desc("vector registers"),
                            llvm::cl::init(32)};
  Option<int64_t> fmaBits{*this, "fma-bits",
                          llvm::cl::desc("bits of FMA results a cycle"),
                          llvm::cl::init(1024)};
  Option<int64_t> l2Bytes{
      *this, "l2-bytes", llvm::cl::desc("bytes of a core's second-level cache"),
      llvm::cl::init(1 << 20)};
  Option<double> broadcastCycles{
      *this, "broadcast-cycles",
      llvm::cl::desc("cycles of the vector units for a scalar in all lanes"),
      llvm::cl::init(0)};
  Option<int64_t> fetchBytes{
      *this, "fetch-bytes",
      llvm::cl::desc("bytes that the first-level cache gets at a time"),
      llvm::cl::init(64)};
  Option<double> l3Rate{
      *this, "l3-rate",
      llvm::cl::desc("bytes a cycle loaded from the third-level cache"),
      llvm::cl::init(20)};
  Option<double> l3Overlap{
      *this, "l3-overlap",
      llvm::cl::desc("share of the loads of weights from the third-level cache "
                     "that multiply-adds hide"),
      llvm::cl::init(1)};
  Option<double> memoryRate{*this, "memory-rate",
                            llvm::cl::desc("bytes a cycle loaded from memory"),
                            llvm::cl::init(8)};
  Option<double> streamRate{
      *this, "stream-rate",
      llvm::cl::desc("bytes a cycle stored past the caches"),
      llvm::cl::init(8)};
  Option<double> storeRate{
      *this, "store-rate",
      llvm::cl::desc("bytes a cycle stored to lines that are read first"),
      llvm::cl::init(4)};
  Option<int64_t> images{
      *this, "images",
      llvm::cl::desc(
          "images of the output in a batch group, where the batch is "
          "not outermost; 0: as many as output channels"),
      llvm::cl::init(0)};
  Option<std::string> symbolPrefix{
      *this, "symbol-prefix",
      llvm::cl::desc("what exported symbols start with"),
      llvm::cl::init("convjit")};

  /// Sets all that describe a machine.
  void describe(const Machine &machine);
};

/// The pipeline in the pieces between which a stage can be printed: layer to
/// planned convolution, to phases on packed filters, to tiles, to linalg, to
/// vectors, to the LLVM dialect.
void buildPlanPipeline(mlir::OpPassManager &pm,
                       const CPUPipelineOptions &options);
void buildPhasesPipeline(mlir::OpPassManager &pm);
void buildTilePipeline(mlir::OpPassManager &pm);
void buildLinalgPipeline(mlir::OpPassManager &pm);
void buildVectorPipeline(mlir::OpPassManager &pm);
void buildLLVMPipeline(mlir::OpPassManager &pm,
                       const CPUPipelineOptions &options);
/// All of them in turn: `conv-cpu-pipeline`.
void buildCPUPipeline(mlir::OpPassManager &pm,
                      const CPUPipelineOptions &options);
/// Canonicalization and common subexpressions, for stages that people read.
void addReadabilityPasses(mlir::OpPassManager &pm);
void registerPipelines();

/// The convolution of a function that only returns it, of all the function's
/// arguments, each used once; null if the function has another form.
conv::ConvolutionOp onlyConvolution(mlir::func::FuncOp func);

/// On an epilogue: its stores are whole lines, if the output begins a line, and
/// go past the caches where that has so many bytes. On a function: it may store
/// past the caches.
constexpr llvm::StringLiteral streamingAttr = "conv.streaming";
/// LLVM's attribute of a function whose instructions are in the order that
/// registers were counted for: the code generator keeps it.
constexpr llvm::StringLiteral asWrittenAttr = "convjit-as-written";

} // namespace convjit

#endif // CONVJIT_LIB_PASSES_H
