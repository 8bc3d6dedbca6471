// RUN: convjit-opt %s --conv-split-phases --conv-pack-filters --conv-tile --conv-to-linalg --conv-vectorize | FileCheck %s

// Depthwise, k 5, s 2, rows last, vectors of pixels. A row of 33 elements is
// loaded once and shuffled apart into even and odd ones; the first tap of each
// takes a vector as it is, the others one shuffle. The five taps have a sum of
// their own. The first pixel lacks two taps, the last the fifth.
// CHECK-LABEL: func.func @depthwise(
// CHECK: vector.maskedload
// CHECK: vector.shuffle {{.*}} [0, 2, 4, 6, 8, 10, 12, 14, 0, 0, 0, 0, 0, 0, 0, 0]
// CHECK: vector.load {{.*}}, vector<16xf32>
// CHECK: vector.shuffle {{.*}} [16, 17, 18, 19, 20, 21, 22, 23, 0, 2, 4, 6, 8, 10, 12, 14]
// CHECK: vector.fma
// CHECK: arith.select
// CHECK: vector.shuffle {{.*}} [16, 17, 18, 19, 20, 21, 22, 23, 1, 3, 5, 7, 9, 11, 13, 15]
// CHECK: vector.fma
// CHECK: vector.shuffle {{.*}} [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16]
// CHECK: vector.fma
// CHECK-COUNT-2: vector.fma
// CHECK-NOT: vector.fma
// CHECK: arith.addf
// CHECK: return
func.func @depthwise(%x: tensor<?x6x33xf32>, %w: tensor<5x1x6xf32>) -> tensor<?x6x16xf32> {
  %y = conv.convolution %x, %w window <rank = 1, stride = [2], pad = [[2, 1]]> dims <[b, f, 0]x[0, i, o]->[b, f, 0]>
      plan <lanes = pixels, width = 1, pixels = 16, unroll = 1, row = unrolled, chunks = 1>
      {feature_group_count = 6 : i64} : (tensor<?x6x33xf32>, tensor<5x1x6xf32>) -> tensor<?x6x16xf32>
  return %y : tensor<?x6x16xf32>
}

// Rows of 7 pixels: an element is loaded in parts where loads have no masks, into
// one vector, and each of the four channels takes one multiply-add.
// CHECK-LABEL: func.func @rows_of_7(
// CHECK: scf.for {{.*}} -> (vector<8xf32>, vector<8xf32>, vector<8xf32>, vector<8xf32>) {
// CHECK: vector.load {{.*}}, vector<4xf32>
// CHECK: vector.load {{.*}}, vector<2xf32>
// CHECK: vector.load {{.*}}, vector<1xf32>
// CHECK-COUNT-4: vector.fma {{.*}} : vector<8xf32>
// CHECK-NOT: vector.fma
// CHECK: return
func.func @rows_of_7(%x: tensor<?x8x7x7xf32>, %w: tensor<1x1x8x4xf32>) -> tensor<?x4x7x7xf32> {
  %y = conv.convolution %x, %w window <rank = 2> dims <[b, f, 0, 1]x[0, 1, i, o]->[b, f, 0, 1]>
      plan <lanes = pixels, width = 4, pixels = 7, unroll = 1, row = unrolled, chunks = 1>
      : (tensor<?x8x7x7xf32>, tensor<1x1x8x4xf32>) -> tensor<?x4x7x7xf32>
  return %y : tensor<?x4x7x7xf32>
}
