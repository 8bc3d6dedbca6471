// RUN: convjit-opt %s --conv-split-phases --conv-pack-filters --conv-tile | FileCheck %s

// An image of 1 MiB stays in the cache; of how many a call has is known when it
// runs. Above 8 MiB what later tiles read is asked for.
// CHECK-LABEL: func.func @images(
// CHECK-SAME: %[[X:[^:]*]]: memref<?x16384x16xf32>
// CHECK: %[[IMAGES:.*]] = memref.dim %[[X]]
// CHECK: %[[BYTES:.*]] = arith.muli %[[IMAGES]], %c1048576
// CHECK: %[[FAR:.*]] = arith.cmpi sgt, %[[BYTES]], %c8388608
// CHECK: scf.if %[[FAR]]
// CHECK: memref.prefetch
// CHECK: conv.tile
func.func @images(%x: tensor<?x16384x16xf32>, %w: tensor<1x16x16xf32>) -> tensor<?x16384x16xf32> {
  %y = conv.convolution %x, %w window <rank = 1> dims <[b, 0, f]x[0, o, i]->[b, 0, f]>
      plan <lanes = channels, width = 16, pixels = 4, unroll = 1, row = unrolled, chunks = 1, prefetch = input>
      : (tensor<?x16384x16xf32>, tensor<1x16x16xf32>) -> tensor<?x16384x16xf32>
  return %y : tensor<?x16384x16xf32>
}
