// RUN: convjit-opt %s --conv-to-llvm --split-input-file --verify-diagnostics | FileCheck %s

// Views become addresses, loops branches and vectors LLVM's, at once; no cast
// between the types of dialects is left.

// CHECK-NOT: unrealized_conversion_cast
// CHECK-LABEL: llvm.func @tile(
// CHECK: llvm.br ^[[HEAD:bb[0-9]+]](
// CHECK: ^[[HEAD]](%[[I:.*]]: i64, %[[SUM:.*]]: vector<16xf32>):
// CHECK: llvm.cond_br
// CHECK: %[[ROW:.*]] = llvm.mul %[[I]], %{{.*}} : i64
// CHECK: %[[AT:.*]] = llvm.add %[[ROW]], %{{.*}} : i64
// CHECK: %[[P:.*]] = llvm.getelementptr %{{.*}}[%[[AT]]]
// CHECK: %[[V:.*]] = llvm.load %[[P]] {{.*}} : !llvm.ptr -> vector<16xf32>
// CHECK: llvm.intr.fmuladd(%[[V]], %{{.*}}, %[[SUM]])
// CHECK: llvm.br ^[[HEAD]](
// CHECK-NOT: unrealized_conversion_cast
func.func @tile(%in: memref<?x64xf32>, %x: memref<4xf32>, %at: index,
                %sums: memref<16xf32>) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c4 = arith.constant 4 : index
  %view = memref.subview %in[%at, 16] [4, 16] [1, 1]
      : memref<?x64xf32> to memref<4x16xf32, strided<[64, 1], offset: ?>>
  %zero = arith.constant dense<0.0> : vector<16xf32>
  %sum = scf.for %i = %c0 to %c4 step %c1 iter_args(%s = %zero) -> vector<16xf32> {
    %v = vector.load %view[%i, %c0]
        : memref<4x16xf32, strided<[64, 1], offset: ?>>, vector<16xf32>
    %f = memref.load %x[%i] : memref<4xf32>
    %b = vector.broadcast %f : f32 to vector<16xf32>
    %r = vector.fma %v, %b, %s : vector<16xf32>
    scf.yield %r : vector<16xf32>
  }
  vector.store %sum, %sums[%c0] : memref<16xf32>, vector<16xf32>
  return
}

// -----

// Half a vector is a shuffle.

// CHECK-LABEL: llvm.func @half(
// CHECK: llvm.shufflevector %{{.*}}, %{{.*}} [8, 9, 10, 11] : vector<16xf32>
// CHECK-NOT: vector.
func.func @half(%v: vector<16xf32>) -> vector<4xf32> {
  %h = vector.extract_strided_slice %v {offsets = [8], sizes = [4], strides = [1]}
      : vector<16xf32> to vector<4xf32>
  return %h : vector<4xf32>
}

// -----

// A size comes from the descriptor, also inside a loop.

// CHECK-LABEL: llvm.func @size(
// CHECK-NOT: llvm.alloca
// CHECK: llvm.extractvalue %{{.*}}[3, 0]
// CHECK-NOT: llvm.alloca
// CHECK: llvm.return
func.func @size(%x: memref<?x4xf32>, %n: index, %out: memref<index>) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  scf.for %i = %c0 to %n step %c1 {
    %size = memref.dim %x, %c0 : memref<?x4xf32>
    memref.store %size, %out[] : memref<index>
  }
  return
}

// -----

// CHECK-LABEL: llvm.func @size_once(
// CHECK-NOT: llvm.alloca
// CHECK: llvm.extractvalue %{{.*}}[3, 0]
// CHECK-NOT: llvm.alloca
// CHECK: llvm.return
func.func @size_once(%x: memref<?x4xf32>) -> index {
  %c0 = arith.constant 0 : index
  %size = memref.dim %x, %c0 : memref<?x4xf32>
  return %size : index
}

// -----

// f64 functions: LLVM's where it has one.

// CHECK-LABEL: llvm.func @functions(
// CHECK: llvm.intr.exp
// CHECK: llvm.call @erf(
// CHECK: llvm.call @erf(
func.func @functions(%v: vector<2xf64>) -> vector<2xf64> {
  %e = math.exp %v : vector<2xf64>
  %r = math.erf %e : vector<2xf64>
  return %r : vector<2xf64>
}

// -----

func.func @foreign(%x: f32, %out: memref<4xf32>) {
  // expected-error @+1 {{failed to legalize operation 'linalg.fill'}}
  linalg.fill ins(%x : f32) outs(%out : memref<4xf32>)
  return
}

// -----

func.func @cast(%at: !llvm.ptr, %out: memref<index>) {
  // expected-error @+1 {{is left; valid: casts between a buffer and its descriptor}}
  %i = builtin.unrealized_conversion_cast %at : !llvm.ptr to index
  memref.store %i, %out[] : memref<index>
  return
}
