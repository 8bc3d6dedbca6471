// RUN: convjit-opt %s --split-input-file --conv-split-phases --conv-pack-filters --conv-to-gpu --conv-expand-blocks --canonicalize --cse | FileCheck %s

#d = #conv.dims<[b, 0, f]x[0, i, o]->[b, 0, f]>

// Three stages of 32 pixels and 16 columns by 8 channels of a tap.
// CHECK-LABEL: gpu.func @kernel(
// CHECK-DAG: %[[X:.*]] = memref.view %{{.*}} to memref<96x8xf32, #gpu.address_space<workgroup>>
// CHECK-DAG: %[[W:.*]] = memref.view %{{.*}} to memref<48x8xf32, #gpu.address_space<workgroup>>
// Two of them are on their way before the loop, each a group.
// CHECK: nvgpu.device_async_copy %{{.*}}, %[[X]][%{{.*}}], 4
// CHECK: nvgpu.device_async_copy %{{.*}}, %[[W]][%{{.*}}], 4 {bypassL1}
// CHECK: nvgpu.device_async_create_group
// CHECK: nvgpu.device_async_copy
// CHECK: %[[GROUP:.*]] = nvgpu.device_async_create_group
// CHECK: scf.for
// All but the last have arrived, for all threads.
// CHECK-NEXT: nvgpu.device_async_wait {{.*}} {numGroups = 1 : i32}
// CHECK-NEXT: gpu.barrier
// The copies of two steps on; the group is there in the last steps, too, so that
// they count the same.
// CHECK: scf.if
// CHECK: nvgpu.device_async_copy
// CHECK: }
// CHECK: nvgpu.device_async_create_group
// Fragments, by a column that is swizzled.
// CHECK: nvgpu.ldmatrix %[[X]]{{.*}} {numTiles = 4 : i32, transpose = false}
// CHECK: nvgpu.ldmatrix %[[W]]{{.*}} {numTiles = 4 : i32, transpose = false}
// CHECK: nvgpu.mma.sync({{.*}}) {mmaShape = [16, 8, 8], tf32Enabled}
// CHECK-NOT: gpu.barrier
// CHECK: scf.yield
func.func @layer(%x: tensor<?x66x8xf32>, %w: tensor<3x8x16xf32>) -> tensor<?x64x16xf32> {
  %y = conv.convolution %x, %w window <rank = 1> dims #d
      gpu_plan <schedule = mma, box = [1, 32], channels = 16, depth = 8, thread_pixels = 4, thread_channels = 4, stages = 3, vector = 4>
      : (tensor<?x66x8xf32>, tensor<3x8x16xf32>) -> tensor<?x64x16xf32>
  return %y : tensor<?x64x16xf32>
}

// -----

#d = #conv.dims<[b, 0, f]x[0, i, o]->[b, 0, f]>

// One of two parts of the reduction's three steps: two and one. The first digit of
// the block's number is its block of channels, the second its part.
// CHECK-LABEL: gpu.func @kernel(
// CHECK-SAME: memref<?x64x32xf32> {conv.images = 2 : i64, conv.operand = "scratch"}
// CHECK: %[[N:.*]] = arith.index_cast %{{.*}} : index to i32
// CHECK: %[[REST:.*]] = arith.divui %[[N]], %c2_i32
// CHECK: %[[PART:.*]] = arith.remui %[[REST]], %c2_i32
// CHECK: %[[DONE:.*]] = arith.minsi %[[BEFORE:.*]], %c3_i32
// CHECK: %[[LEFT:.*]] = arith.subi %c3_i32, %[[DONE]]
// CHECK: %[[STEPS:.*]] = arith.minsi %[[LEFT]], %c2_i32
// CHECK: scf.for %{{.*}} = %c0_i32 to %[[STEPS]] step
// What it sums goes to scratch, as it is: bias and activation come when parts are added.
// CHECK-NOT: arith.maximumf
// CHECK: gpu.return

// CHECK-LABEL: gpu.func @add(
// CHECK-SAME: memref<?x64x32xf32> {conv.operand = "output"}, %[[SCRATCH:.*]]: memref<?x64x32xf32> {conv.images = 2 : i64, conv.operand = "scratch"})
// CHECK-SAME: known_block_size = array<i32: 256, 1, 1>
// CHECK: %[[IMAGES:.*]] = memref.dim
// In the order of the parts, one output a thread.
// CHECK: %[[FIRST:.*]] = memref.load %[[SCRATCH]][%[[IMAGE:.*]], %{{.*}}, %{{.*}}]
// CHECK: %[[NEXT:.*]] = arith.addi %[[IMAGE]], %[[IMAGES]]
// CHECK: %[[SECOND:.*]] = memref.load %[[SCRATCH]][%[[NEXT]], %{{.*}}, %{{.*}}]
// CHECK: %[[SUM:.*]] = arith.addf %[[FIRST]], %[[SECOND]]
// CHECK: memref.store %[[SUM]]
func.func @parts(%x: tensor<?x66x8xf32>, %w: tensor<3x8x32xf32>) -> tensor<?x64x32xf32> {
  %y = conv.convolution %x, %w window <rank = 1> dims #d
      gpu_plan <schedule = mma, box = [1, 32], channels = 16, depth = 8, thread_pixels = 4, thread_channels = 4, stages = 3, vector = 4, split = 2>
      : (tensor<?x66x8xf32>, tensor<3x8x32xf32>) -> tensor<?x64x32xf32>
  return %y : tensor<?x64x32xf32>
}

// -----

#d = #conv.dims<[b, 0, f]x[0, i, o]->[b, 0, f]>

// Types of 16 bits: f32 sums, rounded once.
// CHECK-LABEL: gpu.func @kernel(
// CHECK: nvgpu.ldmatrix {{.*}} -> vector<4x2xbf16>
// CHECK: nvvm.mma.sync {{.*}} {{.*}}#nvvm.mma_type<bf16>, shape = #nvvm.shape<m = 16, n = 8, k = 16>} : (i32, i32, f32) -> !llvm.struct<(f32, f32, f32, f32)>
// CHECK: arith.truncf {{.*}} : vector<2xf32> to vector<2xbf16>
func.func @half(%x: tensor<?x66x16xbf16>, %w: tensor<3x16x16xbf16>) -> tensor<?x64x16xbf16> {
  %y = conv.convolution %x, %w window <rank = 1> dims #d
      gpu_plan <schedule = mma, box = [1, 32], channels = 16, depth = 16, thread_pixels = 4, thread_channels = 4, stages = 3, vector = 8>
      : (tensor<?x66x16xbf16>, tensor<3x16x16xbf16>) -> tensor<?x64x16xbf16>
  return %y : tensor<?x64x16xbf16>
}

// -----

#d = #conv.dims<[f, 0, b]x[0, i, o]->[0, b, f]>

// A weight's gradient: images are summed over, and runs of eight channels of the layer
// are the pixels of a box of 32. Rows are products of a step.
// CHECK-LABEL: gpu.func @kernel(
// CHECK-SAME: memref<2x64x16x16xbf16> {conv.operand = "packed"}
// CHECK-DAG: %[[X:.*]] = memref.view %{{.*}} to memref<48x32xbf16, #gpu.address_space<workgroup>>
// CHECK-DAG: %[[W:.*]] = memref.view %{{.*}} to memref<48x16xbf16, #gpu.address_space<workgroup>>
// CHECK: nvgpu.device_async_copy %{{.*}}, %[[X]][%{{.*}}], 8
// CHECK: nvgpu.device_async_copy %{{.*}}, %[[W]][%{{.*}}], 8 {bypassL1}
// CHECK: scf.for
// CHECK: nvgpu.ldmatrix %[[X]]{{.*}} {numTiles = 4 : i32, transpose = true}
// CHECK: nvgpu.ldmatrix %[[W]]{{.*}} {numTiles = 4 : i32, transpose = true}
// CHECK: nvvm.mma.sync
func.func @gradient(%x: tensor<16x66x?xbf16>, %w: tensor<64x16x32xbf16>) -> tensor<3x?x32xbf16> {
  %y = conv.convolution %x, %w window <rank = 1> dims #d
      gpu_plan <schedule = mma, box = [32, 1], channels = 16, depth = 16, thread_pixels = 4, thread_channels = 4, stages = 3, vector = 8>
      : (tensor<16x66x?xbf16>, tensor<64x16x32xbf16>) -> tensor<3x?x32xbf16>
  return %y : tensor<3x?x32xbf16>
}

// -----

#d = #conv.dims<[f, 0, b]x[0, i, o]->[0, b, f]>

// Any number of channels: loaded while a step is multiplied, stored in pairs at its end.
// CHECK-LABEL: gpu.func @kernel(
// CHECK: %[[X:.*]] = memref.view %{{.*}} to memref<48x32xf16, #gpu.address_space<workgroup>>
// CHECK: scf.for
// CHECK-NEXT: nvgpu.device_async_wait
// CHECK-NEXT: gpu.barrier
// CHECK: %[[PAIRS:.*]]:8 = scf.if
// CHECK: memref.load %{{.*}} : memref<?xf16
// CHECK: vector.from_elements %{{.*}}, %{{.*}} : vector<2xf16>
// CHECK: nvgpu.ldmatrix %[[X]]{{.*}} {numTiles = 4 : i32, transpose = true}
// CHECK: nvgpu.mma.sync
// CHECK: vector.store %[[PAIRS]]#0, %[[X]]
// CHECK-NOT: gpu.barrier
// CHECK: scf.yield
func.func @elements(%x: tensor<16x66x?xf16>, %w: tensor<64x16x32xf16>) -> tensor<3x?x32xf16> {
  %y = conv.convolution %x, %w window <rank = 1> dims #d
      gpu_plan <schedule = mma, box = [32, 1], channels = 16, depth = 16, thread_pixels = 4, thread_channels = 4, stages = 3, vector = 1>
      : (tensor<16x66x?xf16>, tensor<64x16x32xf16>) -> tensor<3x?x32xf16>
  return %y : tensor<3x?x32xf16>
}
