// RUN: convjit-opt %s --split-input-file --conv-split-phases --conv-pack-filters --conv-tile | FileCheck %s

// Digits of the task's number, innermost first. order = input: the phase of the
// outer dimension (2), the block (3), the row (8); what is left is the image.
// CHECK-LABEL: func.func @input(
// CHECK-NOT: memref.dim
// CHECK: arith.remui %{{.*}}, %c2
// CHECK: arith.remui %{{.*}}, %c3
// CHECK: arith.remui %{{.*}}, %c8
// CHECK: arith.divui %{{.*}}, %c8
// CHECK: conv.tile
func.func @input(%x: tensor<?x8x4x8xf32>, %w: tensor<2x1x48x8xf32>) -> tensor<?x16x4x48xf32> {
  %y = conv.convolution %x, %w window <rank = 2, pad = [[1, 1], [0, 0]], lhs_dilate = [2, 1]>
      dims <[b, 0, 1, f]x[0, 1, o, i]->[b, 0, 1, f]>
      plan <lanes = channels, width = 16, pixels = 4, unroll = 1, row = unrolled, chunks = 1, order = input>
      : (tensor<?x8x4x8xf32>, tensor<2x1x48x8xf32>) -> tensor<?x16x4x48xf32>
  return %y : tensor<?x16x4x48xf32>
}

// -----

// order = filter: rows, then images, however many there are, then phases and
// blocks.
// CHECK-LABEL: func.func @filter(
// CHECK: arith.remui %{{.*}}, %c8
// CHECK: %[[IMAGES:.*]] = memref.dim
// CHECK: arith.remui %{{.*}}, %[[IMAGES]]
// CHECK: arith.remui %{{.*}}, %c2
// CHECK: arith.remui %{{.*}}, %c3
// CHECK: conv.tile
func.func @filter(%x: tensor<?x8x4x8xf32>, %w: tensor<2x1x48x8xf32>) -> tensor<?x16x4x48xf32> {
  %y = conv.convolution %x, %w window <rank = 2, pad = [[1, 1], [0, 0]], lhs_dilate = [2, 1]>
      dims <[b, 0, 1, f]x[0, 1, o, i]->[b, 0, 1, f]>
      plan <lanes = channels, width = 16, pixels = 4, unroll = 1, row = unrolled, chunks = 1>
      : (tensor<?x8x4x8xf32>, tensor<2x1x48x8xf32>) -> tensor<?x16x4x48xf32>
  return %y : tensor<?x16x4x48xf32>
}

// -----

// order = block, with strips of 3 of the 8 rows through all 6 planes: what is
// left of the task's number is the strip; the last has two rows.
// CHECK-LABEL: func.func @strips(
// CHECK: %[[AT:.*]] = arith.remui %{{.*}}, %c48
// CHECK: %[[WITHIN:.*]] = arith.remui %[[AT]], %c18
// CHECK: %[[STRIP:.*]] = arith.divui %[[AT]], %c18
// CHECK: %[[FIRST:.*]] = arith.muli %[[STRIP]], %c3
// CHECK: %[[LEFT:.*]] = arith.subi %c8{{.*}}, %[[FIRST]]
// CHECK: %[[HEIGHT:.*]] = arith.minsi %[[LEFT]], %c3
// CHECK: arith.divui %[[WITHIN]], %[[HEIGHT]]
// CHECK: arith.remui %[[WITHIN]], %[[HEIGHT]]
// CHECK: conv.tile
func.func @strips(%x: tensor<?x8x8x4x8xf32>, %w: tensor<3x1x1x16x8xf32>) -> tensor<?x6x8x4x16xf32> {
  %y = conv.convolution %x, %w window <rank = 3>
      dims <[b, 0, 1, 2, f]x[0, 1, 2, o, i]->[b, 0, 1, 2, f]>
      plan <lanes = channels, width = 16, pixels = 4, unroll = 1, row = unrolled, chunks = 1, order = block, strip = 3>
      : (tensor<?x8x8x4x8xf32>, tensor<3x1x1x16x8xf32>) -> tensor<?x6x8x4x16xf32>
  return %y : tensor<?x6x8x4x16xf32>
}
