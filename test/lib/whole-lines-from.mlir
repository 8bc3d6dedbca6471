// RUN: convjit-opt %s --conv-split-phases --conv-pack-filters --conv-tile --conv-to-linalg --conv-vectorize | FileCheck %s

// The plan says from how many bytes of output on, of a small image, too.
// CHECK-LABEL: func.func @small(
// CHECK-DAG: arith.constant 4096 : index
// CHECK: vector.store {{.*}} {alignment = 64 : i64, nontemporal = true}
func.func @small(%x: tensor<?x64x8xf32>, %w: tensor<1x16x8xf32>) -> tensor<?x64x16xf32> {
  %y = conv.convolution %x, %w window <rank = 1> dims <[b, 0, f]x[0, o, i]->[b, 0, f]>
      plan <lanes = channels, width = 16, pixels = 1, unroll = 1, row = unrolled, chunks = 1, stream_from = 4096>
      : (tensor<?x64x8xf32>, tensor<1x16x8xf32>) -> tensor<?x64x16xf32>
  return %y : tensor<?x64x16xf32>
}
