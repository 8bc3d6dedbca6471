// RUN: convjit-opt %s --conv-split-phases --conv-pack-filters --conv-tile --conv-to-linalg --split-input-file | FileCheck %s
// RUN: convjit-opt %s --conv-split-phases --conv-pack-filters --conv-tile --conv-to-linalg --conv-vectorize --split-input-file | FileCheck %s --check-prefix=VECTOR

#d = #conv.dims<[b, 0, f]x[0, i, o]->[b, 0, f]>

// Four groups of 2 input and 4 output channels: 16 lanes are all of them. Each
// input vector of 8 channels is shuffled twice, for the first channel of every
// lane's group and for the second, and serves both taps.
// CHECK: affine_map<(d0, d1, d2, d3) -> (d0 + d2, (d1 floordiv 4) * 2 + d3)>
// CHECK-LABEL: func.func @groups(
// CHECK-SAME: memref<1x2x2x16xf32> {conv.operand = "filter"}
// VECTOR-LABEL: func.func @groups(
// VECTOR: vector.load {{.*}} vector<8xf32>
// VECTOR: vector.shuffle {{.*}} [0, 0, 0, 0, 2, 2, 2, 2, 4, 4, 4, 4, 6, 6, 6, 6] : vector<8xf32>
// VECTOR: vector.shuffle {{.*}} [1, 1, 1, 1, 3, 3, 3, 3, 5, 5, 5, 5, 7, 7, 7, 7] : vector<8xf32>
// VECTOR: vector.store {{.*}} vector<16xf32>
func.func @groups(%x: tensor<?x5x8xf32>, %w: tensor<2x2x16xf32>) -> tensor<?x4x16xf32> {
  %y = conv.convolution %x, %w window <rank = 1> dims #d
      plan <lanes = groups, width = 16, pixels = 4, unroll = 1, row = unrolled, chunks = 1>
      {feature_group_count = 4 : i64} : (tensor<?x5x8xf32>, tensor<2x2x16xf32>) -> tensor<?x4x16xf32>
  return %y : tensor<?x4x16xf32>
}

// -----

#d = #conv.dims<[b, 0, f]x[0, i, o]->[b, 0, f]>

// Groups of 3 channels: 16 lanes read 18 channels, the last two of them by a
// masked load.
// VECTOR-LABEL: func.func @threes(
// VECTOR: vector.maskedload
// VECTOR: vector.shuffle {{.*}} : vector<16xf32>, vector<16xf32>
func.func @threes(%x: tensor<?x4x48xf32>, %w: tensor<1x3x48xf32>) -> tensor<?x4x48xf32> {
  %y = conv.convolution %x, %w window <rank = 1> dims #d
      plan <lanes = groups, width = 48, pixels = 4, unroll = 1, row = unrolled, chunks = 1>
      {feature_group_count = 16 : i64} : (tensor<?x4x48xf32>, tensor<1x3x48xf32>) -> tensor<?x4x48xf32>
  return %y : tensor<?x4x48xf32>
}
