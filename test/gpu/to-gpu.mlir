// RUN: convjit-opt %s --split-input-file --conv-split-phases --conv-pack-filters --conv-to-gpu --canonicalize --cse | FileCheck %s

#d = #conv.dims<[b, 0, f]x[0, o, i]->[b, 0, f]>

// One launch has both phases: the block's number says channels, phase, box and
// image. k 4, s 2: blocks away from both ends need no predicate. An SM is to have room
// for as many blocks as registers allow without spills.
// CHECK-LABEL: gpu.func @kernel(
// CHECK-SAME: memref<?x100x8xf32> {conv.operand = "input"}
// CHECK-SAME: memref<2x4x8x16xf32> {conv.operand = "packed"}
// CHECK-SAME: memref<?x200x32xf32> {conv.operand = "output"}
// CHECK-SAME: kernel attributes {conv.batch_group_count = 1 : i64, conv.blocks = 16 : i64, conv.images_per_block = 1 : i64, conv.shared_bytes = 3328 : i64, known_block_size = array<i32: 32, 1, 1>, nvvm.minctasm = 12 : i32}
// CHECK: %[[N:.*]] = gpu.block_id x
// CHECK: scf.if %{{.*}} {
// CHECK: conv.block %{{.*}} image(%{{.*}}) phase(%{{.*}}) at(%{{.*}}) channels(%{{.*}}) interior
// CHECK: } else {
// CHECK: conv.block %{{.*}} image(%{{.*}}) phase(%{{.*}}) at(%{{.*}}) channels(%{{[^ ]*}}) {dimension_numbers
// CHECK: gpu.return

// One packed element a thread.
// CHECK: gpu.func @pack(
// CHECK-SAME: conv.operand = "filter"
// CHECK-SAME: conv.operand = "packed"
// CHECK-SAME: conv.blocks = 4 : i64
// CHECK: memref.load
// CHECK: memref.store

// CHECK: func.func @layer(
// CHECK: gpu.launch_func @convjit::@kernel
// CHECK: func.func @layer_pack(
// CHECK: gpu.launch_func @convjit::@pack
func.func @layer(%x: tensor<?x100x8xf32>, %w: tensor<4x32x8xf32>) -> tensor<?x200x32xf32> {
  %y = conv.convolution %x, %w window <rank = 1, pad = [[2, 2]], lhs_dilate = [2], reverse = [true]> dims #d
      gpu_plan <schedule = simt, box = [1, 32], channels = 16, depth = 8, thread_pixels = 4, thread_channels = 4, stages = 2, vector = 4>
      : (tensor<?x100x8xf32>, tensor<4x32x8xf32>) -> tensor<?x200x32xf32>
  return %y : tensor<?x200x32xf32>
}

// -----

#d = #conv.dims<[b, 0, f]x[0, i, o]->[b, 0, f]>

// Without padding and with whole boxes no block has a border.
// CHECK-LABEL: gpu.func @kernel(
// CHECK-NOT: scf.if
// CHECK: conv.block {{.*}} interior
// CHECK-NOT: conv.block
// CHECK: gpu.return
func.func @layer(%x: tensor<?x66x8xf32>, %w: tensor<3x8x32xf32>) -> tensor<?x64x32xf32> {
  %y = conv.convolution %x, %w window <rank = 1> dims #d
      gpu_plan <schedule = simt, box = [1, 32], channels = 16, depth = 8, thread_pixels = 4, thread_channels = 4, stages = 2, vector = 4>
      : (tensor<?x66x8xf32>, tensor<3x8x32xf32>) -> tensor<?x64x32xf32>
  return %y : tensor<?x64x32xf32>
}

// -----

#d = #conv.dims<[b, 0, f]x[0, o, i]->[b, 0, f]>

// 33 outputs with stride 2 are 17 and 16: the second phase's last box of 16
// would begin past its end.
// CHECK-LABEL: gpu.func @kernel(
// CHECK: %[[LENGTH:.*]] = arith.select %{{.*}}, %c17, %c16
// CHECK: %[[EXISTS:.*]] = arith.cmpi slt, %{{.*}}, %[[LENGTH]]
// CHECK: scf.if %[[EXISTS]]
func.func @layer(%x: tensor<?x16x8xf32>, %w: tensor<4x32x8xf32>) -> tensor<?x33x32xf32> {
  %y = conv.convolution %x, %w window <rank = 1, pad = [[2, 3]], lhs_dilate = [2], reverse = [true]> dims #d
      gpu_plan <schedule = simt, box = [2, 16], channels = 16, depth = 8, thread_pixels = 4, thread_channels = 4, stages = 2, vector = 4>
      : (tensor<?x16x8xf32>, tensor<4x32x8xf32>) -> tensor<?x33x32xf32>
  return %y : tensor<?x33x32xf32>
}
