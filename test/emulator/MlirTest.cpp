//===- MlirTest.cpp - what MLIR's own passes make -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Modules of the gpu and nvgpu dialects, lowered by upstream's conversions
// alone: the intrinsics, functions and calling conventions that any lowering
// through them will meet.
//
//===----------------------------------------------------------------------===//

#include "SmallFloat.h"
#include "Testing.h"

#include "mlir/Conversion/ArithToLLVM/ArithToLLVM.h"
#include "mlir/Conversion/ControlFlowToLLVM/ControlFlowToLLVM.h"
#include "mlir/Conversion/GPUToNVVM/GPUToNVVMPass.h"
#include "mlir/Conversion/MathToLLVM/MathToLLVM.h"
#include "mlir/Conversion/MemRefToLLVM/MemRefToLLVM.h"
#include "mlir/Conversion/NVGPUToNVVM/NVGPUToNVVM.h"
#include "mlir/Conversion/Passes.h"
#include "mlir/Conversion/VectorToLLVM/ConvertVectorToLLVM.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/ControlFlow/IR/ControlFlow.h"
#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/NVGPU/IR/NVGPUDialect.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/Parser/Parser.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Target/LLVMIR/Dialect/Builtin/BuiltinToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Dialect/GPU/GPUToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Dialect/LLVMIR/LLVMToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Dialect/NVVM/NVVMToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Export.h"
#include "mlir/Transforms/Passes.h"

#include <cmath>

using namespace convjit;
using namespace convjit::emulator;

using Access = Buffer::Access;

/// Compiles a `gpu.module`; memrefs are passed as bare pointers.
static std::optional<Program> compileMlir(const char *text,
                                          bool measure = false) {
  mlir::DialectRegistry registry;
  registry.insert<mlir::arith::ArithDialect, mlir::cf::ControlFlowDialect,
                  mlir::gpu::GPUDialect, mlir::LLVM::LLVMDialect,
                  mlir::math::MathDialect, mlir::memref::MemRefDialect,
                  mlir::NVVM::NVVMDialect, mlir::nvgpu::NVGPUDialect,
                  mlir::scf::SCFDialect, mlir::vector::VectorDialect>();
  mlir::arith::registerConvertArithToLLVMInterface(registry);
  mlir::cf::registerConvertControlFlowToLLVMInterface(registry);
  mlir::registerConvertMathToLLVMInterface(registry);
  mlir::registerConvertMemRefToLLVMInterface(registry);
  mlir::vector::registerConvertVectorToLLVMInterface(registry);
  mlir::registerBuiltinDialectTranslation(registry);
  mlir::registerGPUDialectTranslation(registry);
  mlir::registerLLVMDialectTranslation(registry);
  mlir::registerNVVMDialectTranslation(registry);
  mlir::MLIRContext context(registry);
  context.disableMultithreading();
  auto module = mlir::parseSourceString<mlir::ModuleOp>(text, &context);
  if (!module) {
    ADD_FAILURE() << "the module does not parse";
    return std::nullopt;
  }
  mlir::PassManager passes(&context);
  passes.addPass(mlir::createConvertNVGPUToNVVMPass());
  passes.addNestedPass<mlir::gpu::GPUModuleOp>(
      mlir::createSCFToControlFlowPass());
  mlir::ConvertGpuOpsToNVVMOpsOptions options;
  options.useBarePtrCallConv = true;
  passes.addNestedPass<mlir::gpu::GPUModuleOp>(
      mlir::createConvertGpuOpsToNVVMOps(options));
  passes.addPass(mlir::createConvertVectorToLLVMPass());
  passes.addPass(mlir::createConvertNVVMToLLVMPass());
  passes.addPass(mlir::createReconcileUnrealizedCastsPass());
  passes.addPass(mlir::createCanonicalizerPass());
  if (mlir::failed(passes.run(*module))) {
    ADD_FAILURE() << "MLIR's passes fail";
    return std::nullopt;
  }
  llvm::LLVMContext llvmContext;
  auto kernels = *module->getOps<mlir::gpu::GPUModuleOp>().begin();
  auto translated = mlir::translateModuleToLLVMIR(kernels, llvmContext);
  if (!translated) {
    ADD_FAILURE() << "no translation to LLVM IR";
    return std::nullopt;
  }
  auto program = Program::compile(*translated, {measure});
  if (!program) {
    ADD_FAILURE() << program.error().message;
    return std::nullopt;
  }
  return std::move(*program);
}

// C = A * B of 16 x 64 by 64 x 8 in four steps: two stages of cp.async,
// ldmatrix, mma.sync, as a main loop of a GEMM has them. B is stored as k x n,
// and so loaded transposed.
static const char *const gemm = R"(
gpu.module @kernels {
  memref.global "private" @as : memref<2x16x16xf16, #gpu.address_space<workgroup>> {alignment = 16}
  memref.global "private" @bs : memref<2x16x8xf16, #gpu.address_space<workgroup>> {alignment = 16}
  gpu.func @gemm(%a: memref<16x64xf16>, %b: memref<64x8xf16>, %c: memref<16x8xf32>) kernel {
    %c0 = arith.constant 0 : index
    %c1 = arith.constant 1 : index
    %c2 = arith.constant 2 : index
    %c4 = arith.constant 4 : index
    %c8 = arith.constant 8 : index
    %c16 = arith.constant 16 : index
    %zero = arith.constant dense<0.0> : vector<2x2xf32>
    %as = memref.get_global @as : memref<2x16x16xf16, #gpu.address_space<workgroup>>
    %bs = memref.get_global @bs : memref<2x16x8xf16, #gpu.address_space<workgroup>>
    %t = gpu.thread_id x
    // A: a thread copies 8 of row t / 2. B: the first 16 threads copy row t.
    %arow = arith.divui %t, %c2 : index
    %ahalf = arith.remui %t, %c2 : index
    %acol = arith.muli %ahalf, %c8 : index
    %copiesB = arith.cmpi ult, %t, %c16 : index
    %first = nvgpu.device_async_copy %a[%arow, %acol], %as[%c0, %arow, %acol], 8 {bypassL1} : memref<16x64xf16> to memref<2x16x16xf16, #gpu.address_space<workgroup>>
    scf.if %copiesB {
      %f = nvgpu.device_async_copy %b[%t, %c0], %bs[%c0, %t, %c0], 8 {bypassL1} : memref<64x8xf16> to memref<2x16x8xf16, #gpu.address_space<workgroup>>
    }
    %group = "nvgpu.device_async_create_group"() : () -> !nvgpu.device.async.token
    %lrow = arith.remui %t, %c16 : index
    %lhalf = arith.divui %t, %c16 : index
    %lcol = arith.muli %lhalf, %c8 : index
    %sum = scf.for %k = %c0 to %c4 step %c1 iter_args(%acc = %zero) -> vector<2x2xf32> {
      %next = arith.addi %k, %c1 : index
      %more = arith.cmpi ult, %next, %c4 : index
      %stage = arith.remui %k, %c2 : index
      %other = arith.remui %next, %c2 : index
      scf.if %more {
        %kn = arith.muli %next, %c16 : index
        %ka = arith.addi %kn, %acol : index
        %g = nvgpu.device_async_copy %a[%arow, %ka], %as[%other, %arow, %acol], 8 {bypassL1} : memref<16x64xf16> to memref<2x16x16xf16, #gpu.address_space<workgroup>>
        scf.if %copiesB {
          %kb = arith.addi %kn, %t : index
          %f = nvgpu.device_async_copy %b[%kb, %c0], %bs[%other, %t, %c0], 8 {bypassL1} : memref<64x8xf16> to memref<2x16x8xf16, #gpu.address_space<workgroup>>
        }
      }
      %g2 = "nvgpu.device_async_create_group"() : () -> !nvgpu.device.async.token
      nvgpu.device_async_wait %g2 {numGroups = GROUPS : i32}
      gpu.barrier
      %af = nvgpu.ldmatrix %as[%stage, %lrow, %lcol] {numTiles = 4 : i32, transpose = false} : memref<2x16x16xf16, #gpu.address_space<workgroup>> -> vector<4x2xf16>
      %bf = nvgpu.ldmatrix %bs[%stage, %lrow, %c0] {numTiles = 2 : i32, transpose = true} : memref<2x16x8xf16, #gpu.address_space<workgroup>> -> vector<2x2xf16>
      %new = nvgpu.mma.sync (%af, %bf, %acc) {mmaShape = [16, 8, 16]} : (vector<4x2xf16>, vector<2x2xf16>, vector<2x2xf32>) -> vector<2x2xf32>
      BARRIER
      scf.yield %new : vector<2x2xf32>
    }
    %row = arith.divui %t, %c4 : index
    %row8 = arith.addi %row, %c8 : index
    %in = arith.remui %t, %c4 : index
    %col = arith.muli %in, %c2 : index
    %upper = vector.extract %sum[0] : vector<2xf32> from vector<2x2xf32>
    %lower = vector.extract %sum[1] : vector<2xf32> from vector<2x2xf32>
    vector.store %upper, %c[%row, %col] : memref<16x8xf32>, vector<2xf32>
    vector.store %lower, %c[%row8, %col] : memref<16x8xf32>, vector<2xf32>
    gpu.return
  }
}
)";

static std::string gemmWith(const char *groups, const char *barrier) {
  std::string text = gemm;
  text.replace(text.find("GROUPS"), 6, groups);
  text.replace(text.find("BARRIER"), 7, barrier);
  return text;
}

static Report runGemm(Program &program, bool check, uint64_t seed = 1) {
  std::vector<uint16_t> a(16 * 64), b(64 * 8);
  std::vector<float> c(16 * 8);
  for (int i = 0; i < 16 * 64; ++i)
    a[i] = floatToHalf(static_cast<float>(i * 7 % 13 - 6));
  for (int i = 0; i < 64 * 8; ++i)
    b[i] = floatToHalf(static_cast<float>(i * 5 % 11 - 4));
  Launch launch;
  launch.entry = "gemm";
  launch.block = {32};
  launch.seed = seed;
  launch.buffers = {bufferOf(a, Access::Read, "a"),
                    bufferOf(b, Access::Read, "b"),
                    bufferOf(c, Access::Write, "c")};
  launch.arguments = {Pointer{0}, Pointer{1}, Pointer{2}};
  Report report = run(program, launch);
  for (int m = 0; check && m < 16; ++m)
    for (int n = 0; n < 8; ++n) {
      float sum = 0;
      for (int k = 0; k < 64; ++k)
        sum += halfToFloat(a[m * 64 + k]) * halfToFloat(b[k * 8 + n]);
      EXPECT_EQ(c[m * 8 + n], sum) << m << ", " << n;
    }
  return report;
}

TEST(Mlir, APipelinedMatrixProduct) {
  auto program = compileMlir(gemmWith("1", "gpu.barrier").c_str());
  ASSERT_TRUE(program);
  for (uint64_t seed = 0; seed < 4; ++seed)
    EXPECT_EQ(runGemm(*program, true, seed).text(), "");
}

TEST(Mlir, AWaitForTooFewGroups) {
  auto program = compileMlir(gemmWith("2", "gpu.barrier").c_str());
  ASSERT_TRUE(program);
  Report report = runGemm(*program, false);
  EXPECT_GE(countOf(report, FindingKind::AsyncPending), 1) << report.text();
}

// ldmatrix of lanes that have gone on reads what lanes that come behind
// overwrite.
TEST(Mlir, AStageThatIsOverwrittenTooEarly) {
  auto program = compileMlir(gemmWith("1", "").c_str());
  ASSERT_TRUE(program);
  Report report = runGemm(*program, false);
  EXPECT_GE(countOf(report, FindingKind::SharedRace), 1) << report.text();
}

TEST(Mlir, TheMainLoopIsMeasured) {
  auto program = compileMlir(gemmWith("1", "gpu.barrier").c_str(), true);
  ASSERT_TRUE(program);
  Report report = runGemm(*program, true);
  std::map<std::string, Profile> byKind;
  for (const Profile &profile : report.profiles) {
    Profile &sum = byKind[profile.kind];
    sum.threads += profile.threads;
    sum.requests += profile.requests;
    sum.bytes += profile.bytes;
    sum.wavefronts += profile.wavefronts;
    sum.idealWavefronts += profile.idealWavefronts;
    sum.sectors += profile.sectors;
    sum.idealSectors += profile.idealSectors;
  }
  EXPECT_EQ(byKind["mma"].threads, 4u * 32);
  EXPECT_EQ(byKind["mma"].requests, 4u);
  EXPECT_EQ(byKind["barrier"].threads, 8u * 32);
  // Rows of A are 32 bytes apart: of 8 rows, four and four share banks. Rows of
  // B are 16 bytes apart, which is all banks once.
  EXPECT_EQ(byKind["ldmatrix"].wavefronts, 4u * (4 * 2 + 2 * 1));
  EXPECT_EQ(byKind["ldmatrix"].idealWavefronts, 4u * (4 + 2));
  EXPECT_EQ(byKind["ldmatrix"].bytes, 4u * (512 + 256));
  // 16 rows of 32 bytes of A, 16 rows of 16 bytes of B in one piece.
  EXPECT_EQ(byKind["cp.async"].sectors, 4u * (16 + 8));
  EXPECT_EQ(byKind["cp.async"].idealSectors, 4u * (16 + 8));
  EXPECT_EQ(report.executed("call llvm.nvvm.mma.m16n8k16.row.col.f32.f32"),
            4u * 32);
}

// Shuffles and libdevice's functions.
static const char *const mathematics = R"(
gpu.module @kernels {
  gpu.func @maths(%x: memref<96xf32>, %y: memref<96xf32>, %n: i32) kernel
      attributes {known_block_size = array<i32: 96, 1, 1>} {
    %t = gpu.thread_id x
    %v = memref.load %x[%t] : memref<96xf32>
    %one = arith.constant 1 : i32
    %width = arith.constant 32 : i32
    %other, %valid = gpu.shuffle xor %v, %one, %width : f32
    %e = math.exp %other : f32
    %h = math.tanh %e : f32
    %b = arith.truncf %h : f32 to bf16
    %f = arith.extf %b : bf16 to f32
    %scale = arith.sitofp %n : i32 to f32
    %r = math.fma %f, %scale, %v : f32
    memref.store %r, %y[%t] : memref<96xf32>
    gpu.return
  }
}
)";

TEST(Mlir, ShufflesAndMathematics) {
  auto program = compileMlir(mathematics);
  ASSERT_TRUE(program);
  std::vector<float> x(96), y(96);
  for (int i = 0; i < 96; ++i)
    x[i] = static_cast<float>(i % 7 - 3);
  Launch launch;
  launch.entry = "maths";
  launch.block = {96};
  launch.buffers = {bufferOf(x, Access::Read, "x"),
                    bufferOf(y, Access::Write, "y")};
  launch.arguments = {Pointer{0}, Pointer{1}, int64_t(2)};
  for (uint64_t seed : {0, 7}) {
    launch.seed = seed;
    EXPECT_EQ(run(*program, launch).text(), "");
    for (int i = 0; i < 96; ++i) {
      float f = bfloatToFloat(floatToBfloat(std::tanh(std::exp(x[i ^ 1]))));
      EXPECT_EQ(y[i], f * 2 + x[i]) << i;
    }
  }
  launch.block = {128};
  EXPECT_FALSE(program->launch(launch)) << "the kernel says 96 threads";
}

// LLVM 22 lowers gpu.all_reduce so that each lane of the first warp that took
// part in the last step stores its sum to the same word, and after a butterfly
// over three lanes they do not have the same one.
static const char *const reduction = R"(
gpu.module @kernels {
  gpu.func @reduce(%x: memref<96xf32>, %y: memref<96xf32>) kernel {
    %t = gpu.thread_id x
    %v = memref.load %x[%t] : memref<96xf32>
    %all = gpu.all_reduce add %v uniform {} : (f32) -> f32
    memref.store %all, %y[%t] : memref<96xf32>
    gpu.return
  }
}
)";

TEST(Mlir, UpstreamsReductionOfThreeWarpsIsARace) {
  auto program = compileMlir(reduction);
  ASSERT_TRUE(program);
  std::vector<float> x(96, 1), y(96);
  Launch launch;
  launch.entry = "reduce";
  launch.block = {96};
  launch.buffers = {bufferOf(x, Access::Read, "x"),
                    bufferOf(y, Access::Write, "y")};
  launch.arguments = {Pointer{0}, Pointer{1}};
  Report report = run(*program, launch);
  EXPECT_GE(countOf(report, FindingKind::SharedRace), 1) << report.text();
  launch.block = {32}; // one lane has the sum of the one warp
  EXPECT_EQ(run(*program, launch).text(), "");
  EXPECT_EQ(y[5], 32);
}
