// RUN: convjit-opt %s --conv-split-phases --conv-pack-filters --conv-tile | FileCheck %s
// RUN: convjit-opt %s --conv-split-phases --conv-pack-filters --conv-tile --conv-to-linalg --conv-vectorize | FileCheck %s --check-prefix=VECTOR

#d = #conv.dims<[b, 0, f]x[0, i, o]->[b, 0, f]>

// Four neighbouring pixels by four channels are 16 lanes. They meet 4 + 3 - 1
// taps, of which each has three: lane phase l has taps l to l + 2.
// CHECK-LABEL: func.func @four_by_four(
// CHECK: conv.tile
// CHECK-SAME: merged = array<i64: 4>, output_step = 4
// CHECK: conv.pack_filter {{.*}} splits = [#conv.split<input = 42, output = 40, step = 4, input_step = 4, tap_step = 1, input_tap_step = 1, first_tap = [0], taps = [6], base = [0], lane_first_tap = [0, -1, -2, -3], lane_taps = [3, 3, 3, 3]>]
// The choice is by the lanes that have the tap, so that the FMA is masked.
// VECTOR-LABEL: func.func @four_by_four(
// VECTOR: %[[LANES:.*]] = vector.bitcast {{.*}} to vector<16xi1>
// VECTOR: %[[SUM:.*]] = vector.fma {{.*}}, {{.*}}, %[[OLD:.*]] : vector<16xf32>
// VECTOR-NEXT: arith.select %{{.*}}, %[[SUM]], %[[OLD]] : vector<16xi1>
func.func @four_by_four(%x: tensor<?x42x4xf32>, %w: tensor<3x4x4xf32>) -> tensor<?x40x4xf32> {
  %y = conv.convolution %x, %w window <rank = 1> dims #d
      plan <lanes = channels, width = 16, pixels = 5, unroll = 2, row = unrolled, chunks = 1, merged = 1, fold = 4>
      : (tensor<?x42x4xf32>, tensor<3x4x4xf32>) -> tensor<?x40x4xf32>
  return %y : tensor<?x40x4xf32>
}

// Phases of an upsampling layer, folded: outputs 4q to 4q + 3.
// CHECK-LABEL: func.func @phases_too(
// CHECK: conv.pack_filter {{.*}} splits = [#conv.split<input = 16, output = 32, step = 4, input_step = 2,
func.func @phases_too(%x: tensor<?x16x8xf32>, %w: tensor<4x8x4xf32>) -> tensor<?x32x4xf32> {
  %y = conv.convolution %x, %w window <rank = 1, pad = [[2, 2]], lhs_dilate = [2], reverse = [true]> dims #d
      plan <lanes = channels, width = 16, pixels = 5, unroll = 1, row = unrolled, chunks = 1, merged = 1, fold = 2>
      : (tensor<?x16x8xf32>, tensor<4x8x4xf32>) -> tensor<?x32x4xf32>
  return %y : tensor<?x32x4xf32>
}
