// RUN: convjit-opt %s --conv-split-phases --conv-pack-filters --conv-tile | FileCheck %s
// RUN: convjit-opt %s --conv-split-phases --conv-pack-filters --conv-tile --conv-to-linalg --conv-vectorize | FileCheck %s --check-prefix=VECTOR

#d = #conv.dims<[b, 0, f]x[0, o, i]->[b, 0, f]>

// k 4, s 2: outputs 2q - 1 and 2q meet the same two inputs, so their 2 x 8
// lanes follow each other in the output. The first pixel lacks output -1, the
// last one output 32: these two are stored lane by lane, the others whole.
// CHECK-LABEL: func.func @even(
// CHECK-SAME: memref<1x2x8x16xf32> {conv.operand = "filter"}
// CHECK: conv.tile
// CHECK-SAME: first_lane({{.*}}) {channels = 8 : i64, clipped = array<i1: true, false>
// CHECK-SAME: merged = array<i64: 2>, output_step = 2
// CHECK: scf.for
// CHECK: conv.tile {{.*}} clipped = array<i1: false, false>
// CHECK: conv.tile {{.*}} clipped = array<i1: false, true>
// CHECK: conv.pack_filter {{.*}} splits = [#conv.split<input = 16, output = 32, step = 2, input_step = 1, tap_step = 1, input_tap_step = 1, first_tap = [0], taps = [2], base = [-1], shift = -1, lane_tap_step = 2, lane_first_tap = [1, 0], lane_taps = [2, 2]>]
// VECTOR-LABEL: func.func @even(
// VECTOR: vector.fma {{.*}} : vector<16xf32>
// VECTOR-NOT: arith.select
// VECTOR-LABEL: func.func @even_pack
func.func @even(%x: tensor<?x16x8xf32>, %w: tensor<4x8x8xf32>) -> tensor<?x32x8xf32> {
  %y = conv.convolution %x, %w window <rank = 1, pad = [[2, 2]], lhs_dilate = [2], reverse = [true]> dims #d
      plan <lanes = channels, width = 16, pixels = 5, unroll = 1, row = unrolled, chunks = 1, merged = 1>
      : (tensor<?x16x8xf32>, tensor<4x8x8xf32>) -> tensor<?x32x8xf32>
  return %y : tensor<?x32x8xf32>
}

// k 3: the second phase has one tap only, and its lanes keep their sums in the
// other, whatever the input holds there: a choice by the mask of those lanes.
// CHECK-LABEL: func.func @odd(
// CHECK: conv.tile {{.*}}active = array<i64: 0, 2, 1, 2>
// VECTOR-LABEL: func.func @odd(
// VECTOR: %[[MASK:.*]] = vector.bitcast {{.*}} : vector<1xi16> to vector<16xi1>
// VECTOR: %[[SUM:.*]] = vector.fma
// VECTOR: arith.select %[[MASK]], %[[SUM]], %{{.*}}
func.func @odd(%x: tensor<?x16x8xf32>, %w: tensor<3x8x8xf32>) -> tensor<?x32x8xf32> {
  %y = conv.convolution %x, %w window <rank = 1, pad = [[2, 1]], lhs_dilate = [2], reverse = [true]> dims #d
      plan <lanes = channels, width = 16, pixels = 4, unroll = 1, row = unrolled, chunks = 1, merged = 1>
      : (tensor<?x16x8xf32>, tensor<3x8x8xf32>) -> tensor<?x32x8xf32>
  return %y : tensor<?x32x8xf32>
}
