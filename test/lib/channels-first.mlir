// RUN: convjit-opt %s --conv-split-phases --conv-pack-filters --conv-tile --conv-to-linalg --conv-vectorize | FileCheck %s

// Channels come first in the output: a tile of 8 pixels by 16 lanes goes through
// a buffer, and out of it four channels at a time, transposed by shuffles that
// stay within 16 bytes.
// CHECK-LABEL: func.func @apart(
// CHECK: vector.store {{.*}} : memref<8x16xf32>, vector<16xf32>
// CHECK: scf.for %[[BLOCK:.*]] = %c0{{.*}} to %c16{{.*}} step %c4
// CHECK-COUNT-8: vector.load {{.*}} : memref<8x16xf32>, vector<4xf32>
// CHECK: vector.shuffle {{.*}} [0, 8, 1, 9, 4, 12, 5, 13] : vector<8xf32>, vector<8xf32>
// CHECK: vector.shuffle {{.*}} [0, 1, 8, 9, 4, 5, 12, 13] : vector<8xf32>, vector<8xf32>
// CHECK: vector.shuffle {{.*}} [2, 3, 10, 11, 6, 7, 14, 15] : vector<8xf32>, vector<8xf32>
// CHECK: vector.shuffle {{.*}} [2, 10, 3, 11, 6, 14, 7, 15] : vector<8xf32>, vector<8xf32>
// CHECK-COUNT-4: vector.store {{.*}}, vector<8xf32>
// CHECK-NOT: memref.store
// CHECK: return
func.func @apart(%x: tensor<?x4x16xf32>, %w: tensor<1x4x16xf32>) -> tensor<?x16x16xf32> {
  %y = conv.convolution %x, %w window <rank = 1> dims <[b, f, 0]x[0, i, o]->[b, f, 0]>
      plan <lanes = channels, width = 16, pixels = 8, unroll = 1, row = unrolled, chunks = 1>
      : (tensor<?x4x16xf32>, tensor<1x4x16xf32>) -> tensor<?x16x16xf32>
  return %y : tensor<?x16x16xf32>
}

// k 2, s 2, phases in the lanes: four channels of four pixels and both phases
// leave as eight outputs that follow each other. The last two channels are
// loaded with two more lanes, which are not stored.
// CHECK-LABEL: func.func @interleaved(
// CHECK: vector.load {{.*}} : memref<4x16xf32{{.*}}>, vector<4xf32>
// CHECK: vector.store {{.*}} : memref<?x6x8xf32>, vector<8xf32>
// CHECK-NOT: memref.store
// CHECK: return
func.func @interleaved(%x: tensor<?x4x4xf32>, %w: tensor<2x6x4xf32>) -> tensor<?x6x8xf32> {
  %y = conv.convolution %x, %w window <rank = 1, pad = [[1, 1]], lhs_dilate = [2], reverse = [true]> dims <[b, f, 0]x[0, o, i]->[b, f, 0]>
      plan <lanes = channels, width = 12, pixels = 4, unroll = 1, row = unrolled, chunks = 1, merged = 1>
      : (tensor<?x4x4xf32>, tensor<2x6x4xf32>) -> tensor<?x6x8xf32>
  return %y : tensor<?x6x8xf32>
}
