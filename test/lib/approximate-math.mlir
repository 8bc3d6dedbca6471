// RUN: convjit-opt %s --conv-approximate-math | FileCheck %s

// f32: polynomials on whole vectors, with multiply-adds that need no C library
// where the CPU has none.
// CHECK-LABEL: @f32
// CHECK-NOT: math.exp
// CHECK-NOT: math.fma
// CHECK: vector.fma
// CHECK-NOT: math.exp
// CHECK-NOT: math.tanh
// CHECK-NOT: math.erf
// CHECK: return
func.func @f32(%x: vector<16xf32>) -> (vector<16xf32>, vector<16xf32>, vector<16xf32>) {
  %a = math.exp %x : vector<16xf32>
  %b = math.tanh %x : vector<16xf32>
  %c = math.erf %x : vector<16xf32>
  return %a, %b, %c : vector<16xf32>, vector<16xf32>, vector<16xf32>
}

// erf is one rational function: 10 multiply-adds and a division.
// CHECK-LABEL: @erf
// CHECK-COUNT-10: vector.fma
// CHECK-NOT: vector.fma
// CHECK: arith.divf
func.func @erf(%x: vector<16xf32>) -> vector<16xf32> {
  %a = math.erf %x : vector<16xf32>
  return %a : vector<16xf32>
}

// exp: 7 multiply-adds, two comparisons, and the power of two made of integers.
// CHECK-LABEL: @exp
// CHECK-COUNT-2: arith.cmpf
// CHECK-COUNT-7: vector.fma
// CHECK-NOT: vector.fma
// CHECK-NOT: arith.cmpf
// CHECK: arith.shli
// CHECK: arith.addi
// CHECK: arith.mulf
func.func @exp(%x: vector<16xf32>) -> vector<16xf32> {
  %a = math.exp %x : vector<16xf32>
  return %a : vector<16xf32>
}

// f64 is left to the C library.
// CHECK-LABEL: @f64
// CHECK: math.tanh
func.func @f64(%x: vector<8xf64>) -> vector<8xf64> {
  %a = math.tanh %x : vector<8xf64>
  return %a : vector<8xf64>
}
