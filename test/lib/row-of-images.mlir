// RUN: convjit-opt %s --conv-split-phases --conv-pack-filters --conv-tile | FileCheck %s
// RUN: convjit-opt %s --conv-split-phases --conv-pack-filters --conv-tile --conv-to-linalg | FileCheck %s --check-prefix=LINALG

#d = #conv.dims<[b, 0, f]x[0, o, i]->[b, 0, f]>

// One input pixel: every output pixel has a tap of its own, so that a tile of
// pixels would use each weight once. A tile of 4 images uses it four times; the
// task of every fourth image does the work of four, and what is left at the end
// goes two at a time, and one.
// CHECK-LABEL: func.func @first_layer(
// CHECK: arith.remui
// CHECK: scf.if
// CHECK: conv.tile {{.*}} images, {{.*}} pixels = 4
// CHECK: else
// CHECK: scf.for
// CHECK: conv.tile {{.*}} images, {{.*}} pixels = 2
// CHECK: scf.for
// CHECK: conv.tile {{.*}} images, {{.*}} pixels = 1
// Pixels of the tile are 8 elements apart in the input and 64 in the output.
// LINALG-LABEL: func.func @first_layer(
// LINALG: memref.reinterpret_cast {{.*}} sizes: [4, 8], strides: [8, 1]
// LINALG: memref.reinterpret_cast {{.*}} sizes: [4, 16], strides: [64, 1]
func.func @first_layer(%x: tensor<?x1x8xf32>, %w: tensor<4x16x8xf32>) -> tensor<?x4x16xf32> {
  %y = conv.convolution %x, %w window <rank = 1, pad = [[3, 3]], reverse = [true]> dims #d
      plan <lanes = channels, width = 16, pixels = 4, unroll = 1, row = images, chunks = 1, order = batch>
      : (tensor<?x1x8xf32>, tensor<4x16x8xf32>) -> tensor<?x4x16xf32>
  return %y : tensor<?x4x16xf32>
}
