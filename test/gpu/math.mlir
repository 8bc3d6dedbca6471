// RUN: convjit-opt %s --conv-approximate-math --conv-gpu-math --canonicalize | FileCheck %s
// RUN: convjit-opt %s --conv-approximate-math --conv-gpu-math | FileCheck %s --check-prefix=NONE

// A GPU has no C library: of the math dialect nothing is left, and no call.
// NONE-NOT: math.
// NONE-NOT: call @

// f64: a power of two by its exponent's bits, times a polynomial.
// CHECK-LABEL: func.func @exp64(
// CHECK: llvm.call_intrinsic "llvm.fma"(%{{.*}}) : (f64, f64, f64) -> f64
// CHECK: arith.shli {{.*}} : i64
// CHECK: arith.bitcast {{.*}} : i64 to f64
func.func @exp64(%x: f64) -> f64 {
  %0 = math.exp %x : f64
  return %0 : f64
}

// CHECK-LABEL: func.func @tanh64(
// CHECK: llvm.call_intrinsic "llvm.copysign"
func.func @tanh64(%x: f64) -> f64 {
  %0 = math.tanh %x : f64
  return %0 : f64
}

// CHECK-LABEL: func.func @erf64(
// CHECK: arith.select
func.func @erf64(%x: f64) -> f64 {
  %0 = math.erf %x : f64
  return %0 : f64
}

// What the back end has an instruction for.
// CHECK-LABEL: func.func @instructions(
// CHECK: llvm.call_intrinsic "llvm.fma"(%{{.*}}) : (f32, f32, f32) -> f32
// CHECK: llvm.call_intrinsic "llvm.fabs"(%{{.*}}) : (f32) -> f32
func.func @instructions(%x: f32, %y: f32) -> f32 {
  %0 = math.fma %x, %y, %x : f32
  %1 = math.absf %0 : f32
  return %1 : f32
}
