// RUN: convjit-opt %s --conv-split-phases --conv-pack-filters --conv-tile --conv-to-linalg --conv-vectorize | FileCheck %s
// RUN: not convjit-opt %s --conv-split-phases --split-input-file 2>&1 | FileCheck %s --check-prefix=REFUSED

// Transposed depthwise, k 3, s 2, rows last: vectors are pixels, and the two
// phases of a channel two of them. One load of 11 pixels, in three pieces that
// are put together, serves both phases where both have the tap; the rows of a
// phase without it do nothing. The phases leave interleaved: 22 outputs.
// CHECK-LABEL: func.func @depthwise(
// CHECK: vector.load {{.*}} vector<8xf32>
// CHECK: vector.insert_strided_slice {{.*}} {offsets = [0], strides = [1]} : vector<8xf32> into vector<16xf32>
// CHECK: vector.insert_strided_slice {{.*}} {offsets = [8], strides = [1]} : vector<2xf32> into vector<16xf32>
// CHECK: vector.fma {{.*}} : vector<16xf32>
// CHECK-COUNT-2: vector.load {{.*}} : memref<2x32xf32>, vector<16xf32>
// CHECK: vector.shuffle {{.*}} [0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23]
// CHECK: vector.shuffle {{.*}} [8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31]
// CHECK: vector.store {{.*}} : memref<?x6x22xf32>, vector<16xf32>
// CHECK: return
func.func @depthwise(%x: tensor<?x6x11xf32>, %w: tensor<3x6x1xf32>) -> tensor<?x6x22xf32> {
  %y = conv.convolution %x, %w window <rank = 1, pad = [[2, 1]], lhs_dilate = [2], reverse = [true]> dims <[b, f, 0]x[0, o, i]->[b, f, 0]>
      plan <lanes = pixels, width = 2, pixels = 16, unroll = 1, row = unrolled, chunks = 1, merged = 1>
      {feature_group_count = 6 : i64} : (tensor<?x6x11xf32>, tensor<3x6x1xf32>) -> tensor<?x6x22xf32>
  return %y : tensor<?x6x22xf32>
}

// -----

// REFUSED: merged = 1; valid with lanes = pixels, unless rows are last in the output, of up to 8 phases, and width is 4 or more: 0
func.func @cut(%x: tensor<?x2x11xf32>, %w: tensor<2x2x2xf32>) -> tensor<?x2x22xf32> {
  %y = conv.convolution %x, %w window <rank = 1, pad = [[1, 1]], lhs_dilate = [2], reverse = [true]> dims <[b, f, 0]x[0, o, i]->[b, f, 0]>
      plan <lanes = pixels, width = 2, pixels = 16, unroll = 1, row = unrolled, chunks = 1, merged = 1>
      : (tensor<?x2x11xf32>, tensor<2x2x2xf32>) -> tensor<?x2x22xf32>
  return %y : tensor<?x2x22xf32>
}
