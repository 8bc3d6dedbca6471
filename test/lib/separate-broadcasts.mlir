// RUN: convjit-opt %s --conv-separate-broadcasts | FileCheck %s
// RUN: convjit-opt %s --conv-separate-broadcasts="vector-bits=128" | FileCheck %s --check-prefix=NARROW
// RUN: convjit-opt %s --conv-to-llvm --conv-separate-broadcasts | FileCheck %s --check-prefix=DESCRIPTOR

// One scalar for vectors of two widths: the narrower's comes by a load of its own,
// through a pointer that is the same for all of the function. Vectors that are as
// wide, or wider than a register, share one.
// CHECK-LABEL: llvm.func @two_widths(
// CHECK-SAME: %[[P:.*]]: !llvm.ptr, %[[I:.*]]: i64)
// CHECK: %[[Q:.*]] = llvm.inline_asm "", "=r,0" %[[P]] : (!llvm.ptr) -> !llvm.ptr
// CHECK: %[[AT:.*]] = llvm.getelementptr %[[P]][%[[I]]]
// CHECK: %[[OWN:.*]] = llvm.getelementptr %[[Q]][%[[I]]]
// CHECK: %[[Y:.*]] = llvm.load %[[OWN]] : !llvm.ptr -> f32
// CHECK: %[[X:.*]] = llvm.load %[[AT]] : !llvm.ptr -> f32
// CHECK: llvm.insertelement %[[X]], {{.*}} : vector<16xf32>
// CHECK: llvm.insertelement %[[X]], {{.*}} : vector<32xf32>
// CHECK: llvm.insertelement %[[Y]], {{.*}} : vector<8xf32>
// CHECK: %[[NEXT:.*]] = llvm.getelementptr %[[OWN2:.*]][1]
// CHECK: llvm.load %[[NEXT]]
// CHECK-NOT: llvm.inline_asm
// NARROW-LABEL: llvm.func @two_widths(
// NARROW-NOT: llvm.inline_asm
llvm.func @two_widths(%p: !llvm.ptr, %i: i64) {
  %c0 = llvm.mlir.constant(0 : i32) : i32
  %u16 = llvm.mlir.poison : vector<16xf32>
  %u32 = llvm.mlir.poison : vector<32xf32>
  %u8 = llvm.mlir.poison : vector<8xf32>
  %at = llvm.getelementptr %p[%i] : (!llvm.ptr, i64) -> !llvm.ptr, f32
  %x = llvm.load %at : !llvm.ptr -> f32
  %a = llvm.insertelement %x, %u16[%c0 : i32] : vector<16xf32>
  %b = llvm.insertelement %x, %u32[%c0 : i32] : vector<32xf32>
  %c = llvm.insertelement %x, %u8[%c0 : i32] : vector<8xf32>
  %next = llvm.getelementptr %at[1] : (!llvm.ptr) -> !llvm.ptr, f32
  %y = llvm.load %next : !llvm.ptr -> f32
  %d = llvm.insertelement %y, %u16[%c0 : i32] : vector<16xf32>
  %e = llvm.insertelement %y, %u8[%c0 : i32] : vector<8xf32>
  llvm.return
}

// CHECK-LABEL: llvm.func @one_width(
// CHECK-NOT: llvm.inline_asm
llvm.func @one_width(%p: !llvm.ptr) {
  %c0 = llvm.mlir.constant(0 : i32) : i32
  %u4 = llvm.mlir.poison : vector<4xf32>
  %u2 = llvm.mlir.poison : vector<2xf32>
  %x = llvm.load %p : !llvm.ptr -> f32
  %a = llvm.insertelement %x, %u4[%c0 : i32] : vector<4xf32>
  %b = llvm.insertelement %x, %u2[%c0 : i32] : vector<2xf32>
  llvm.return
}

// Of a buffer, one pointer beside the one in its descriptor.
// DESCRIPTOR-LABEL: llvm.func @buffer(
// DESCRIPTOR-COUNT-1: llvm.inline_asm
// DESCRIPTOR-NOT: llvm.inline_asm
func.func @buffer(%m: memref<64xf32>, %n: index) -> (vector<16xf32>, vector<8xf32>) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %x = memref.load %m[%c0] : memref<64xf32>
  %a = vector.broadcast %x : f32 to vector<16xf32>
  %b = vector.broadcast %x : f32 to vector<8xf32>
  %y = memref.load %m[%c1] : memref<64xf32>
  %c = vector.broadcast %y : f32 to vector<16xf32>
  %d = vector.broadcast %y : f32 to vector<8xf32>
  %e = arith.addf %a, %c : vector<16xf32>
  %f = arith.addf %b, %d : vector<8xf32>
  return %e, %f : vector<16xf32>, vector<8xf32>
}
