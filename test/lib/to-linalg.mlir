// RUN: convjit-opt %s --split-input-file --conv-split-phases --conv-pack-filters --conv-tile --conv-to-linalg --canonicalize --cse | FileCheck %s

// Channels first: the input row is (channels, pixels), and so is the output; the
// maps say so, nothing is transposed.
// CHECK-DAG: #[[IN:.*]] = affine_map<(d0, d1, d2) -> (d2, d0)>
// CHECK-DAG: #[[OUT:.*]] = affine_map<(d0, d1) -> (d1, d0)>
// CHECK-LABEL: func.func @channels_first(
// CHECK: memref.reinterpret_cast %{{.*}} sizes: [4, 8], strides: [8, 1]
// CHECK: linalg.generic {indexing_maps = [#[[IN]],
// CHECK: memref.reinterpret_cast %{{.*}} sizes: [16, 8], strides: [8, 1]
// CHECK: linalg.generic {indexing_maps = [{{.*}}, #[[OUT]]]
func.func @channels_first(%x: tensor<?x4x8xf32>, %w: tensor<1x4x16xf32>) -> tensor<?x16x8xf32> {
  %y = conv.convolution %x, %w window <rank = 1> dims <[b, f, 0]x[0, i, o]->[b, f, 0]>
      plan <lanes = channels, width = 16, pixels = 8, unroll = 4, row = unrolled, chunks = 1>
      : (tensor<?x4x8xf32>, tensor<1x4x16xf32>) -> tensor<?x16x8xf32>
  return %y : tensor<?x16x8xf32>
}

// -----

// Pixels in the lanes: the roles of input and filter change, and the border's
// taps say which pixels have them.
// CHECK-DAG: #[[W:.*]] = affine_map<(d0, d1, d2) -> (d2, d0)>
// CHECK-DAG: #[[X:.*]] = affine_map<(d0, d1, d2) -> (d2, d1)>
// CHECK-LABEL: func.func @pixels(
// CHECK: memref.alloca() {conv.piece = 16 : i64} : memref<2x8xf32>
// CHECK: linalg.generic {indexing_maps = [#[[W]], #[[X]],
// CHECK: {conv.lane_span = array<i64: 1, 8>}
func.func @pixels(%x: tensor<?x4x8xf32>, %w: tensor<3x4x2xf32>) -> tensor<?x2x8xf32> {
  %y = conv.convolution %x, %w window <rank = 1, pad = [[1, 1]]> dims <[b, f, 0]x[0, i, o]->[b, f, 0]>
      plan <lanes = pixels, width = 2, pixels = 8, unroll = 4, row = unrolled, chunks = 1>
      : (tensor<?x4x8xf32>, tensor<3x4x2xf32>) -> tensor<?x2x8xf32>
  return %y : tensor<?x2x8xf32>
}

// -----

// Depthwise: lanes are channels of the input as well, and one contraction takes
// all the taps of the row.
// CHECK: affine_map<(d0, d1, d2, d3) -> (d0 + d2, d1 + d3)>
// CHECK-LABEL: func.func @depthwise(
// CHECK: memref.reinterpret_cast %{{.*}} sizes: [8, 32], strides: [32, 1] : memref<?x8x32xf32>
// CHECK: linalg.generic {{.*}} {conv.tap_pixels = array<i64: 0, 6, 0, 6, 0, 6>}
func.func @depthwise(%x: tensor<?x8x32xf32>, %w: tensor<3x1x32xf32>) -> tensor<?x6x32xf32> {
  %y = conv.convolution %x, %w window <rank = 1> dims <[b, 0, f]x[0, i, o]->[b, 0, f]>
      plan <lanes = groups, width = 32, pixels = 6, unroll = 1, row = unrolled, chunks = 1>
      {feature_group_count = 32 : i64} : (tensor<?x8x32xf32>, tensor<3x1x32xf32>) -> tensor<?x6x32xf32>
  return %y : tensor<?x6x32xf32>
}

// -----

// A batch that is not outermost makes strides dynamic, not wrong.
// CHECK-LABEL: func.func @inner_batch(
// CHECK: %[[BATCH:.*]] = memref.dim
// CHECK: memref.reinterpret_cast {{.*}} strides: [%{{.*}}, 1]
func.func @inner_batch(%x: tensor<8x?x4xf32>, %w: tensor<1x4x16xf32>) -> tensor<8x?x16xf32> {
  %y = conv.convolution %x, %w window <rank = 1> dims <[0, b, f]x[0, i, o]->[0, b, f]>
      plan <lanes = channels, width = 16, pixels = 8, unroll = 4, row = unrolled, chunks = 1>
      : (tensor<8x?x4xf32>, tensor<1x4x16xf32>) -> tensor<8x?x16xf32>
  return %y : tensor<8x?x16xf32>
}

// -----

// Border tiles: the tap that one pixel lacks is a contraction of three pixels; the
// other two, which follow each other as their channels do, are one of four.
// CHECK-LABEL: func.func @whole_taps(
// CHECK: linalg.generic {{.*}} : memref<3x2xf32
// CHECK: memref.reinterpret_cast %{{.*}} sizes: [4, 4], strides: [2, 1]
// CHECK: linalg.generic {{.*}} : memref<4x4xf32
// CHECK: linalg.generic {{.*}} : memref<4x4xf32
// CHECK: linalg.generic {{.*}} : memref<3x2xf32
// CHECK-NOT: memref<4x2xf32
// CHECK: return
func.func @whole_taps(%x: tensor<?x8x2xf32>, %w: tensor<3x2x16xf32>) -> tensor<?x8x16xf32> {
  %y = conv.convolution %x, %w window <rank = 1, pad = [[1, 1]]> dims <[b, 0, f]x[0, i, o]->[b, 0, f]>
      plan <lanes = channels, width = 16, pixels = 4, unroll = 1, row = unrolled, chunks = 1>
      : (tensor<?x8x2xf32>, tensor<3x2x16xf32>) -> tensor<?x8x16xf32>
  return %y : tensor<?x8x16xf32>
}

// -----

// Channels first they do not follow each other, and are a loop.
// CHECK-LABEL: func.func @whole_taps_apart(
// CHECK: linalg.generic {{.*}} : memref<2x3xf32
// CHECK: scf.for %{{.*}} = %c1 to %c3 step %c1
// CHECK: linalg.generic {{.*}} : memref<2x4xf32
// CHECK: scf.for %{{.*}} = %c0 to %c2 step %c1
// CHECK: linalg.generic {{.*}} : memref<2x4xf32
// CHECK: linalg.generic {{.*}} : memref<2x3xf32
// CHECK: return
func.func @whole_taps_apart(%x: tensor<?x2x8xf32>, %w: tensor<3x2x16xf32>) -> tensor<?x8x16xf32> {
  %y = conv.convolution %x, %w window <rank = 1, pad = [[1, 1]]> dims <[b, f, 0]x[0, i, o]->[b, 0, f]>
      plan <lanes = channels, width = 16, pixels = 4, unroll = 1, row = unrolled, chunks = 1>
      : (tensor<?x2x8xf32>, tensor<3x2x16xf32>) -> tensor<?x8x16xf32>
  return %y : tensor<?x8x16xf32>
}
