// RUN: convjit-opt %s --split-input-file --conv-split-phases --conv-pack-filters --conv-tile --canonicalize --cse | FileCheck %s

// Phase 0 has base -1: its first tile loses tap 0 at pixel 0. Phase 1 loses tap
// 1 at its last pixel. Nothing else is clipped, and nothing is multiplied by an
// inserted zero: the stores step by two.
// CHECK-LABEL: func.func @unrolled(
// CHECK-SAME: conv.tasks_per_image = 1
// CHECK-DAG: %[[C0:.*]] = arith.constant 0 : index
// CHECK-DAG: %[[C2:.*]] = arith.constant 2 : index
// CHECK: scf.for
// CHECK: conv.tile {{.*}} taps() {{.*}} output_step = 2 : i64, pixels = 8 : i64, tap_pixels = array<i64: 1, 8, 0, 8>
// Interior tiles have all their taps and loop over them.
// CHECK: conv.tile {{.*}} taps(%[[C0]], %[[C2]])
// CHECK: conv.tile {{.*}} taps(%[[C0]], %[[C2]])
// CHECK: conv.tile {{.*}} tap_pixels = array<i64: 0, 8, 0, 7>
// CHECK-NOT: conv.tile
func.func @unrolled(%x: tensor<?x16x8xf32>, %w: tensor<4x16x8xf32>) -> tensor<?x32x16xf32> {
  %y = conv.convolution %x, %w window <rank = 1, pad = [[2, 2]], lhs_dilate = [2], reverse = [true]>
      dims <[b, 0, f]x[0, o, i]->[b, 0, f]>
      plan <lanes = channels, width = 16, pixels = 8, unroll = 4, row = unrolled, chunks = 1>
      : (tensor<?x16x8xf32>, tensor<4x16x8xf32>) -> tensor<?x32x16xf32>
  return %y : tensor<?x32x16xf32>
}

// -----

// The same row ranged: one body for both phases with single border pixels
// around interior tiles of 8 and 4.
// CHECK-LABEL: func.func @ranged(
// CHECK: scf.for
// CHECK: scf.for
// CHECK: scf.for
// CHECK: conv.tile {{.*}} pixels = 1 : i64
// CHECK: conv.tile {{.*}} pixels = 8 : i64
// CHECK: conv.tile {{.*}} pixels = 4 : i64
// CHECK: conv.tile {{.*}} pixels = 1 : i64
func.func @ranged(%x: tensor<?x16x8xf32>, %w: tensor<4x16x8xf32>) -> tensor<?x32x16xf32> {
  %y = conv.convolution %x, %w window <rank = 1, pad = [[2, 2]], lhs_dilate = [2], reverse = [true]>
      dims <[b, 0, f]x[0, o, i]->[b, 0, f]>
      plan <lanes = channels, width = 16, pixels = 8, unroll = 4, row = ranged, chunks = 1>
      : (tensor<?x16x8xf32>, tensor<4x16x8xf32>) -> tensor<?x32x16xf32>
  return %y : tensor<?x32x16xf32>
}

// -----

// 20 channels in blocks of 16: the last block has 4 lanes, and no more work
// than that.
// CHECK-LABEL: func.func @tail(
// CHECK: scf.if
// CHECK: conv.tile {{.*}} valid = 16 : i64, width = 16 : i64
// CHECK: else
// CHECK: conv.tile {{.*}} valid = 4 : i64, width = 4 : i64
func.func @tail(%x: tensor<?x8x8xf32>, %w: tensor<1x20x8xf32>) -> tensor<?x8x20xf32> {
  %y = conv.convolution %x, %w window <rank = 1> dims <[b, 0, f]x[0, o, i]->[b, 0, f]>
      plan <lanes = channels, width = 16, pixels = 8, unroll = 4, row = unrolled, chunks = 1>
      : (tensor<?x8x8xf32>, tensor<1x20x8xf32>) -> tensor<?x8x20xf32>
  return %y : tensor<?x8x20xf32>
}

// -----

// Outer dimensions clip their taps once a row.
// CHECK-LABEL: func.func @clipped(
// CHECK: %[[LO:.*]] = arith.maxsi
// CHECK: %[[HI:.*]] = arith.minsi
// CHECK: conv.tile {{.*}} taps(%[[LO]], %[[HI]],
func.func @clipped(%x: tensor<?x9x8x8xf32>, %w: tensor<3x1x16x8xf32>) -> tensor<?x9x8x16xf32> {
  %y = conv.convolution %x, %w window <rank = 2, pad = [[1, 1], [0, 0]]> dims <[b, 0, 1, f]x[0, 1, o, i]->[b, 0, 1, f]>
      plan <lanes = channels, width = 16, pixels = 8, unroll = 4, row = unrolled, chunks = 1>
      : (tensor<?x9x8x8xf32>, tensor<3x1x16x8xf32>) -> tensor<?x9x8x16xf32>
  return %y : tensor<?x9x8x16xf32>
}
