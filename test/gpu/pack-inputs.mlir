// RUN: convjit-opt %s --split-input-file --conv-split-phases --conv-pack-filters --conv-pack-inputs | FileCheck %s --check-prefix=PACK
// RUN: convjit-opt %s --split-input-file --conv-split-phases --conv-pack-filters --conv-pack-inputs --conv-to-gpu --canonicalize --cse | FileCheck %s

#d = #conv.dims<[b, f, 0, 1]x[0, 1, i, o]->[b, f, 0, 1]>

// PACK-LABEL: func.func @layer(
// PACK-SAME: %[[X:[^:]+]]: memref<?x24x9x11xbf16>
// PACK: %[[IMAGES:.*]] = memref.dim %[[X]], %c0
// PACK: %[[P:.*]] = memref.alloc(%[[IMAGES]]) : memref<?x9x11x24xbf16>
// PACK: conv.pack_input %[[X]] into %[[P]] {dimension_numbers = #conv.dims<[b, f, 0, 1]x{{.*}}} : memref<?x24x9x11xbf16>, memref<?x9x11x24xbf16>
// PACK: conv.phases %[[P]], {{.*}}dimension_numbers = #conv.dims<[b, 0, 1, f]x[0, 1, i, o]->[b, f, 0, 1]>
// PACK: memref.dealloc %[[P]]

// The launch before transposes 32 channels by 64 pixels of a channel, of which it has 99:
// from rows of pixels to rows of channels, through rows of shared memory that are a word
// longer, so that a warp's channels are in different banks.
// CHECK-LABEL: gpu.func @pack_input(
// CHECK-SAME: %[[X:[^:]+]]: memref<?x24x9x11xbf16> {conv.operand = "input"}
// CHECK-SAME: %[[P:[^:]+]]: memref<?x9x11x24xbf16> {conv.images = 1 : i64, conv.operand = "scratch"}
// CHECK-SAME: conv.blocks = 2 : i64, conv.images_per_block = 1 : i64
// CHECK-SAME: conv.scratch_bytes = 4752 : i64, conv.shared_bytes = 4224 : i64
// CHECK: memref.view {{.*}} to memref<32x66xbf16, #gpu.address_space<workgroup>>
// CHECK-COUNT-8: scf.if {{.*}} -> (bf16)
// CHECK: gpu.barrier
// CHECK-COUNT-8: memref.store {{.*}} : memref<?xbf16
// Its blocks read what that wrote, eight channels at a time.
// CHECK: gpu.func @kernel(
// CHECK-NOT: memref<?x24x9x11xbf16>
// CHECK-SAME: %[[Q:[^:]+]]: memref<?x9x11x24xbf16> {conv.images = 1 : i64, conv.operand = "packed_input"}
// CHECK: conv.block %[[Q]]
// CHECK: func.func @layer(
// CHECK: gpu.launch_func @convjit::@pack_input
// CHECK: gpu.launch_func @convjit::@kernel
func.func @layer(%x: tensor<?x24x9x11xbf16>, %w: tensor<3x3x24x16xbf16>) -> tensor<?x16x7x9xbf16> {
  %y = conv.convolution %x, %w window <rank = 2> dims #d
      gpu_plan <schedule = mma, box = [1, 4, 8], channels = 16, depth = 32, thread_pixels = 2, thread_channels = 4, stages = 3, vector = 8, pack_input = true>
      : (tensor<?x24x9x11xbf16>, tensor<3x3x24x16xbf16>) -> tensor<?x16x7x9xbf16>
  return %y : tensor<?x16x7x9xbf16>
}

// -----

#d = #conv.dims<[f, 0, b]x[0, i, o]->[0, b, f]>

// Of two groups of images, which are last: tiles are along images. Sums of parts come
// behind the packed input: 2 * 66 * 8 * 4 bytes for each image of the output.
// CHECK-LABEL: gpu.func @pack_input(
// CHECK-SAME: memref<8x66x?xf32> {conv.operand = "input"}
// CHECK-SAME: memref<?x66x8xf32> {conv.images = 2 : i64, conv.operand = "scratch"}
// CHECK-SAME: conv.batch_group_count = 2 : i64, conv.blocks = 132 : i64, conv.images_per_block = 128 : i64
// CHECK-SAME: conv.scratch_bytes = 20608 : i64
// CHECK: gpu.func @kernel(
// CHECK-SAME: memref<?x66x8xf32> {conv.images = 2 : i64, conv.operand = "packed_input"}
// CHECK-SAME: memref<64x?x32xf32> {conv.images = 2 : i64, conv.offset = 4224 : i64, conv.operand = "scratch"}
// CHECK: gpu.func @add(
// CHECK-SAME: memref<64x?x32xf32> {conv.images = 2 : i64, conv.offset = 4224 : i64, conv.operand = "scratch"}
func.func @images(%x: tensor<8x66x?xf32>, %w: tensor<3x8x32xf32>) -> tensor<64x?x32xf32> {
  %y = conv.convolution %x, %w window <rank = 1> dims #d
      gpu_plan <schedule = simt, box = [1, 32], channels = 16, depth = 8, thread_pixels = 4, thread_channels = 4, stages = 2, vector = 4, split = 2, pack_input = true>
      {batch_group_count = 2 : i64}
      : (tensor<8x66x?xf32>, tensor<3x8x32xf32>) -> tensor<64x?x32xf32>
  return %y : tensor<64x?x32xf32>
}
