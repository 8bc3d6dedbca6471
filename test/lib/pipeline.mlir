// The whole pipeline, and the inner loop that named CPUs get from it.
// RUN: convjit-opt %s --conv-cpu-pipeline | FileCheck %s
// RUN: convjit-opt %s --conv-cpu-pipeline | mlir-translate --mlir-to-llvmir | llc -mtriple=x86_64 -mcpu=znver5 | FileCheck %s --check-prefixes=ASM,AVX512
// RUN: convjit-opt %s --conv-cpu-pipeline | mlir-translate --mlir-to-llvmir | llc -mtriple=x86_64 -mcpu=sapphirerapids --mattr=-prefer-256-bit | FileCheck %s --check-prefixes=ASM,AVX512
// RUN: convjit-opt %s --conv-cpu-pipeline="vector-bits=256 registers=16" | mlir-translate --mlir-to-llvmir | llc -mtriple=x86_64 -mcpu=haswell | FileCheck %s --check-prefixes=ASM,AVX2
// RUN: convjit-opt %s --conv-cpu-pipeline="vector-bits=128 registers=16" | mlir-translate --mlir-to-llvmir | llc -mtriple=x86_64 -mcpu=x86-64-v2 | FileCheck %s --check-prefixes=ASM,SSE
// RUN: convjit-opt %s --conv-cpu-pipeline="vector-bits=128 registers=32" | mlir-translate --mlir-to-llvmir | llc -mtriple=aarch64 -mcpu=neoverse-v2 | FileCheck %s --check-prefixes=NEON

// CHECK: llvm.func @convjit_kernel(%{{.*}}: !llvm.ptr, %{{.*}}: i64, %{{.*}}: i64)
// CHECK-NOT: unrealized_conversion_cast
// CHECK: llvm.intr.fmuladd
// CHECK: llvm.func @convjit_pack(%{{.*}}: !llvm.ptr, %{{.*}}: !llvm.ptr)

// ASM-LABEL: convjit_kernel:
// AVX512: vbroadcastss {{.*}}, %zmm
// AVX512: vfmadd231ps %zmm
// AVX2: vbroadcastss {{.*}}, %ymm
// AVX2: vfmadd231ps {{.*}}%ymm
// SSE: mulps
// SSE: addps
// No call into the C library for a fused multiply-add.
// SSE-NOT: fmaf
// NEON-LABEL: convjit_kernel:
// NEON: fmla v{{[0-9]+}}.4s
func.func @layer(%x: tensor<?x8x16x16x64xf32>, %w: tensor<4x4x4x32x64xf32>) -> tensor<?x16x32x32x32xf32> {
  %y = conv.conv_transpose %x, %w {stride = array<i64: 2, 2, 2>, rhs_dilation = array<i64: 1, 1, 1>}
      : (tensor<?x8x16x16x64xf32>, tensor<4x4x4x32x64xf32>) -> tensor<?x16x32x32x32xf32>
  return %y : tensor<?x16x32x32x32xf32>
}
