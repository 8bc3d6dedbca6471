// RUN: convjit-opt %s --split-input-file --conv-split-phases --conv-pack-filters --conv-to-gpu --conv-expand-blocks --canonicalize --cse | FileCheck %s

#d = #conv.dims<[b, 0, f]x[0, o, i]->[b, 0, f]>

// Two steps, of one tap each: tiles of 8 channels by 32 pixels (rows of 36, so
// that stores of neighbouring channels meet different banks) and by 16 columns.
// CHECK-LABEL: gpu.func @kernel(
// CHECK: scf.if
// CHECK: %[[SHARED:.*]] = gpu.dynamic_shared_memory
// CHECK-DAG: %[[X:.*]] = memref.view %[[SHARED]][%c0][] : {{.*}} to memref<2x8x36xf32, #gpu.address_space<workgroup>>
// CHECK-DAG: %[[W:.*]] = memref.view %[[SHARED]][%c2304][] : {{.*}} to memref<2x8x16xf32, #gpu.address_space<workgroup>>

// The first step's tiles; 16 bytes at a time, without a predicate inside the image.
// CHECK-NOT: scf.if
// CHECK: vector.load %{{.*}} {alignment = 16 : i64} : memref<?xf32, {{.*}}>, vector<4xf32>
// CHECK-NOT: scf.if
// CHECK-COUNT-8: memref.store %{{.*}}, %[[X]][%c0,
// CHECK: vector.store %{{.*}}, %[[W]][%c0, %{{.*}}, %{{.*}}] {alignment = 16 : i64}
// CHECK: gpu.barrier

// The loop carries 4 x 4 sums and a position of two digits, tap and channel.
// CHECK: %{{.*}}:6 = scf.for %[[I:.*]] = %c0_i32 to %c2_i32 step %c1_i32 iter_args({{.*}}) -> (vector<4xf32>, vector<4xf32>, vector<4xf32>, vector<4xf32>, i32, i32)
// To the position a step is added: nothing is divided.
// CHECK-NOT: {{rem|div}}ui
// CHECK: %[[CARRY:.*]] = arith.cmpi sge, %[[CHANNEL:.*]], %c8_i32
// CHECK: arith.select %[[CARRY]]
// The next step's elements are loaded before this one's are multiplied.
// CHECK: %[[NEXT:.*]]:3 = scf.if %{{.*}} -> (vector<4xf32>, vector<4xf32>, vector<4xf32>)
// CHECK-COUNT-3: vector.load
// CHECK: } else {
// CHECK: %[[STAGE:.*]] = arith.andi %[[I]], %c1_i32
// CHECK: %[[S:.*]] = arith.index_cast %[[STAGE]]
// A product is 4 x 4 multiply-adds of what two accesses read.
// CHECK: vector.load %[[W]][%[[S]], %c0, %{{.*}}] {alignment = 16 : i64}
// CHECK: vector.load %[[X]][%[[S]], %c0, %{{.*}}] {alignment = 16 : i64}
// CHECK-COUNT-4: vector.fma
// CHECK: vector.load %[[W]][%[[S]], %c1, %{{.*}}]
// CHECK: vector.load %[[X]][%[[S]], %c1, %{{.*}}]
// CHECK-COUNT-4: vector.fma
// To the other half, and one barrier.
// CHECK: %[[OTHER:.*]] = arith.subi %c1, %[[S]]
// CHECK: memref.store %{{.*}}, %[[X]][%[[OTHER]],
// CHECK: vector.store %[[NEXT]]#2, %[[W]][%[[OTHER]],
// CHECK: gpu.barrier
// CHECK-NOT: gpu.barrier
// CHECK: scf.yield
// CHECK-COUNT-4: vector.store %{{.*}} {alignment = 16 : i64} : memref<?xf32, {{.*}}>, vector<4xf32>

// At a border: taps that no pixel of the block has are left out, and what a
// pixel lacks is a zero.
// CHECK: } else {
// CHECK: arith.minsi
// CHECK: arith.ceildivsi
// CHECK: %[[INSIDE:.*]] = arith.cmpi ult, %{{.*}}, %c100_i32
// CHECK: scf.if %[[INSIDE]] -> (vector<4xf32>) {
// CHECK-NEXT: index_cast
// CHECK-NEXT: vector.load
// CHECK: } else {
// CHECK-NEXT: scf.yield %cst
func.func @layer(%x: tensor<?x100x8xf32>, %w: tensor<4x32x8xf32>) -> tensor<?x200x32xf32> {
  %y = conv.convolution %x, %w window <rank = 1, pad = [[2, 2]], lhs_dilate = [2], reverse = [true]> dims #d
      gpu_plan <schedule = simt, box = [1, 32], channels = 16, depth = 8, thread_pixels = 4, thread_channels = 4, stages = 2, vector = 4>
      : (tensor<?x100x8xf32>, tensor<4x32x8xf32>) -> tensor<?x200x32xf32>
  return %y : tensor<?x200x32xf32>
}

// -----

#d = #conv.dims<[b, 0, f]x[0, i, o]->[b, 0, f]>

// Three channels: steps of 8 hold several taps, so that each element has a position
// of its own, which may lie past the last tap.
// CHECK-LABEL: gpu.func @kernel(
// CHECK: scf.for
// CHECK-SAME: (vector<4xf32>, vector<4xf32>, vector<4xf32>, vector<4xf32>, i32, i32, i32, i32)
// CHECK-NOT: {{rem|div}}ui
// CHECK: %[[EXISTS:.*]] = arith.cmpi slt, %{{.*}}, %c7_i32
// CHECK: scf.if %[[EXISTS]] -> (f32,
// CHECK: gpu.barrier
func.func @mixed(%x: tensor<?x70x3xf32>, %w: tensor<7x3x16xf32>) -> tensor<?x64x16xf32> {
  %y = conv.convolution %x, %w window <rank = 1> dims #d
      gpu_plan <schedule = simt, box = [1, 32], channels = 16, depth = 8, thread_pixels = 4, thread_channels = 4, stages = 2, vector = 1, mixed = true>
      : (tensor<?x70x3xf32>, tensor<7x3x16xf32>) -> tensor<?x64x16xf32>
  return %y : tensor<?x64x16xf32>
}

// -----

#d = #conv.dims<[b, 0, f]x[0, i, o]->[b, 0, f]>

// More than 2^30 elements in an image: positions are numbers of 64 bits.
// CHECK-LABEL: gpu.func @kernel(
// CHECK: %[[THREAD:.*]] = gpu.thread_id  x
// CHECK: %[[WIDE:.*]] = arith.index_cast %[[THREAD]] : index to i64
// CHECK: arith.remui %[[WIDE]], %{{.*}} : i64
// CHECK: scf.for {{.*}}, i64, i64)
func.func @wide(%x: tensor<?x67108866x32xf32>, %w: tensor<3x32x32xf32>) -> tensor<?x67108864x32xf32> {
  %y = conv.convolution %x, %w window <rank = 1> dims #d
      gpu_plan <schedule = simt, box = [1, 32], channels = 32, depth = 8, thread_pixels = 4, thread_channels = 4, stages = 2, vector = 4>
      : (tensor<?x67108866x32xf32>, tensor<3x32x32xf32>) -> tensor<?x67108864x32xf32>
  return %y : tensor<?x67108864x32xf32>
}
