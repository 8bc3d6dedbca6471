// RUN: convjit-opt %s --split-input-file --conv-split-phases --conv-pack-filters --conv-tile | FileCheck %s
// RUN: convjit-opt %s --split-input-file --conv-split-phases --conv-pack-filters --conv-tile --conv-to-linalg | FileCheck %s --check-prefix=LINALG

// Of the two phases of rows the second is the first to read a new row; the two
// of a row's pixels share these, so that only the tiles of the first ask. Of the
// taps of a column one is new. Eight pixels of 16 channels are eight lines, 32
// pixels ahead.
// CHECK-LABEL: func.func @input(
// CHECK: %[[ROWS:.*]] = arith.remui %{{.*}}, %c2
// CHECK: %[[SECOND:.*]] = arith.cmpi eq, %[[ROWS]], %c1
// CHECK: %[[FAR:.*]] = arith.andi %{{.*}}, %[[SECOND]]
// CHECK: scf.if %[[FAR]]
// CHECK: scf.for
// CHECK: %[[LINES:.*]] = memref.reinterpret_cast {{.*}}sizes: [1, 128]
// CHECK-COUNT-8: memref.prefetch %[[LINES]]{{.*}}, read, locality<2>, data
// CHECK: conv.tile
// CHECK-NOT: filter_ahead
// CHECK: return
func.func @input(%x: tensor<?x40x44x16xf32>, %w: tensor<3x3x16x16xf32>) -> tensor<?x79x87x16xf32> {
  %y = conv.convolution %x, %w window <rank = 2, pad = [[1, 1], [1, 1]], lhs_dilate = [2, 2]>
      dims <[b, 0, 1, f]x[0, 1, o, i]->[b, 0, 1, f]>
      plan <lanes = channels, width = 16, pixels = 8, unroll = 1, row = unrolled, chunks = 1, order = block, prefetch = input>
      : (tensor<?x40x44x16xf32>, tensor<3x3x16x16xf32>) -> tensor<?x79x87x16xf32>
  return %y : tensor<?x79x87x16xf32>
}

// -----

// Groups of 24 channels are parts of pixels: their lines of the next row, 120
// pixels on. Of the output, more than 4 MB, the tile's own.
// CHECK-LABEL: func.func @parts(
// CHECK: %[[AHEAD:.*]] = arith.addi %{{.*}}, %c120
// CHECK: memref.prefetch %[[IN:.*]][%c0{{.*}}, %c0{{.*}}], read, locality<2>, data
// CHECK: memref.prefetch %[[OUT:.*]][%c0{{.*}}, %c0{{.*}}], write, locality<3>, data
// CHECK: memref.prefetch %[[OUT]][%c5{{.*}}, %c0{{.*}}], write, locality<3>, data
// CHECK: conv.tile
func.func @parts(%x: tensor<?x200x120x48xf32>, %w: tensor<1x1x24x48xf32>) -> tensor<?x200x120x48xf32> {
  %y = conv.convolution %x, %w window <rank = 2> dims <[b, 0, 1, f]x[0, 1, i, o]->[b, 0, 1, f]>
      plan <lanes = channels, width = 24, pixels = 6, unroll = 1, row = unrolled, chunks = 1, order = input, prefetch = input>
      {feature_group_count = 2 : i64}
      : (tensor<?x200x120x48xf32>, tensor<1x1x24x48xf32>) -> tensor<?x200x120x48xf32>
  return %y : tensor<?x200x120x48xf32>
}

// -----

// Planes: of the channel that is 200 multiply-adds further on, the line that
// each 16 pixels begin in, and the last.
// CHECK-LABEL: func.func @planes(
// CHECK-NOT: memref.prefetch
// CHECK: conv.tile {{.*}}input_ahead = 10
// LINALG-LABEL: func.func @planes(
// LINALG: %[[AHEAD:.*]] = arith.addi %{{.*}}, %c10
// LINALG: memref.prefetch %[[ROW:.*]][%[[AHEAD]], %c0{{.*}}], read, locality<3>, data
// LINALG: memref.prefetch %[[ROW]][%[[AHEAD]], %c16{{.*}}], read, locality<3>, data
// LINALG: memref.prefetch %[[ROW]][%[[AHEAD]], %c19{{.*}}], read, locality<3>, data
// LINALG-NOT: memref.prefetch
// LINALG: linalg.generic
func.func @planes(%x: tensor<?x64x20x22xf32>, %w: tensor<3x3x64x16xf32>) -> tensor<?x16x18x20xf32> {
  %y = conv.convolution %x, %w window <rank = 2> dims <[b, f, 0, 1]x[0, 1, i, o]->[b, f, 0, 1]>
      plan <lanes = channels, width = 16, pixels = 20, unroll = 1, row = unrolled, chunks = 1, prefetch = input>
      : (tensor<?x64x20x22xf32>, tensor<3x3x64x16xf32>) -> tensor<?x16x18x20xf32>
  return %y : tensor<?x16x18x20xf32>
}

// -----

// Pixels in the lanes, every second of a row, which both taps share: of the
// channel that is 3 KB of rows further on, all lines of the 256 bytes.
// CHECK-LABEL: func.func @strided_pixels(
// CHECK: conv.tile {{.*}}input_ahead = 12
// LINALG-LABEL: func.func @strided_pixels(
// LINALG: scf.for %[[AT:.*]] = %c0{{.*}} to %c96{{.*}} step %c1
// LINALG: %[[AHEAD:.*]] = arith.addi %[[AT]], %c12
// LINALG: memref.prefetch %[[ROW:.*]][%[[AHEAD]], %c0{{.*}}], read, locality<3>, data
// LINALG: memref.prefetch %[[ROW]][%[[AHEAD]], %c16{{.*}}], read, locality<3>, data
// LINALG: memref.prefetch %[[ROW]][%[[AHEAD]], %c32{{.*}}], read, locality<3>, data
// LINALG: memref.prefetch %[[ROW]][%[[AHEAD]], %c48{{.*}}], read, locality<3>, data
// LINALG: memref.prefetch %[[ROW]][%[[AHEAD]], %c63{{.*}}], read, locality<3>, data
// LINALG-NOT: memref.prefetch
// LINALG: linalg.generic
func.func @strided_pixels(%x: tensor<?x96x60x64xf32>, %w: tensor<3x2x96x2xf32>) -> tensor<?x2x29x32xf32> {
  %y = conv.convolution %x, %w window <rank = 2, stride = [2, 2]> dims <[b, f, 0, 1]x[0, 1, i, o]->[b, f, 0, 1]>
      plan <lanes = pixels, width = 2, pixels = 32, unroll = 1, row = unrolled, chunks = 1, prefetch = input>
      : (tensor<?x96x60x64xf32>, tensor<3x2x96x2xf32>) -> tensor<?x2x29x32xf32>
  return %y : tensor<?x2x29x32xf32>
}

// -----

// Two channels of weights, two lines each, 16 channels ahead.
// CHECK-LABEL: func.func @filter(
// CHECK-NOT: memref.prefetch
// CHECK: conv.tile {{.*}}filter_ahead = 16
// LINALG-LABEL: func.func @filter(
// LINALG: scf.for %[[AT:.*]] = %{{.*}} to %{{.*}} step %c2
// LINALG: %[[AHEAD:.*]] = arith.addi %[[AT]], %c16
// LINALG-COUNT-4: memref.prefetch {{.*}}, read, locality<3>, data
// LINALG: linalg.generic
func.func @filter(%x: tensor<?x20x64xf32>, %w: tensor<3x64x32xf32>) -> tensor<?x18x32xf32> {
  %y = conv.convolution %x, %w window <rank = 1> dims <[b, 0, f]x[0, i, o]->[b, 0, f]>
      plan <lanes = channels, width = 32, pixels = 6, unroll = 2, row = unrolled, chunks = 1, prefetch = filter>
      : (tensor<?x20x64xf32>, tensor<3x64x32xf32>) -> tensor<?x18x32xf32>
  return %y : tensor<?x18x32xf32>
}

// -----

// Across groups each block of channels asks for its own, a row of output ahead.
// In strips the planes of the output before are near: the last of three rows, of
// the last of three planes.
// CHECK-LABEL: func.func @strips(
// CHECK: %[[FAR:.*]] = arith.cmpi sgt
// CHECK: scf.if %[[FAR]]
// CHECK: arith.addi %{{.*}}, %c2{{.*}} : index
// CHECK: arith.addi %{{.*}}, %c2{{.*}} : index
// CHECK: arith.addi %{{.*}}, %c44 : index
// CHECK: %[[LINES:.*]] = memref.reinterpret_cast
// CHECK-COUNT-6: memref.prefetch %[[LINES]]{{.*}}, read, locality<2>, data
// CHECK-NOT: memref.prefetch
// CHECK: conv.tile
func.func @strips(%x: tensor<?x9x40x44x32xf32>, %w: tensor<3x3x3x1x32xf32>) -> tensor<?x7x38x42x32xf32> {
  %y = conv.convolution %x, %w window <rank = 3> dims <[b, 0, 1, 2, f]x[0, 1, 2, i, o]->[b, 0, 1, 2, f]>
      plan <lanes = groups, width = 16, pixels = 6, unroll = 1, row = unrolled, chunks = 1, order = input, prefetch = input, strip = 4>
      {feature_group_count = 32 : i64}
      : (tensor<?x9x40x44x32xf32>, tensor<3x3x3x1x32xf32>) -> tensor<?x7x38x42x32xf32>
  return %y : tensor<?x7x38x42x32xf32>
}
