// RUN: convjit-opt %s --split-input-file --conv-split-phases --conv-pack-filters --conv-to-gpu --conv-expand-blocks --canonicalize --cse | FileCheck %s

#d = #conv.dims<[b, 0, f]x[0, i, o]->[b, 0, f]>

// A depthwise layer from global memory: a thread has two pixels by four channels,
// which it loads at once. No shared memory, so no barrier; a loop over the three taps.
// CHECK-LABEL: gpu.func @kernel(
// CHECK-NOT: dynamic_shared_memory
// CHECK: scf.if
// CHECK: %[[SUMS:.*]]:2 = scf.for %[[TAP:.*]] = %c0_i32 to %c3_i32 step %c1_i32 iter_args({{.*}}) -> (vector<4xf32>, vector<4xf32>)
// CHECK: %[[W:.*]] = vector.load %{{.*}} {alignment = 16 : i64} : {{.*}}, vector<4xf32>
// CHECK: %[[X0:.*]] = vector.load %{{.*}} {alignment = 16 : i64} : {{.*}}, vector<4xf32>
// CHECK: vector.fma %[[X0]], %[[W]],
// CHECK: %[[X1:.*]] = vector.load
// CHECK: vector.fma %[[X1]], %[[W]],
// CHECK: scf.yield
// CHECK: vector.store %[[SUMS]]#0
// CHECK: vector.store %[[SUMS]]#1
// CHECK-NOT: gpu.barrier

// At a border a pixel's load has a condition.
// CHECK: } else {
// CHECK: %[[INSIDE:.*]] = arith.cmpi ult, %{{.*}}, %c64_i32
// CHECK: scf.if %[[INSIDE]] -> (vector<4xf32>)
// CHECK-NOT: gpu.barrier
// CHECK: gpu.return
func.func @layer(%x: tensor<?x64x64xf32>, %w: tensor<3x1x64xf32>) -> tensor<?x64x64xf32> {
  %y = conv.convolution %x, %w window <rank = 1, pad = [[1, 1]]> dims #d
      gpu_plan <schedule = direct, box = [1, 16], channels = 32, depth = 1, thread_pixels = 2, thread_channels = 4, stages = 1, vector = 4> {feature_group_count = 64 : i64}
      : (tensor<?x64x64xf32>, tensor<3x1x64xf32>) -> tensor<?x64x64xf32>
  return %y : tensor<?x64x64xf32>
}
