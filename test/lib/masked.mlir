// A mask takes work out of the program: of the table's rows (tap, first
// channel, last channel), only live ones exist.
// RUN: convjit-opt %s --conv-fold-mask --conv-plan --conv-split-phases --conv-pack-filters --conv-tile | FileCheck %s

// Causal, three taps of which the last is masked, and of the second only the
// first 8 of 16 input channels are left: 16 + 8 of 48 products.
// CHECK-DAG: memref.global "private" constant @live : memref<2x3xindex> = dense<{{\[\[}}0, 0, 16], [1, 0, 8]]>
// CHECK-DAG: memref.global "private" constant @live_starts : memref<2x1xindex> = dense<{{\[\[}}0], [2]]>
// CHECK: conv.tile {{.*}} live
func.func @layer(%x: tensor<?x20x16xf32>, %w: tensor<3x1x16xf32>) -> tensor<?x18x1xf32> {
  %y = conv.convolution %x, %w window <rank = 1> dims <[b, 0, f]x[0, o, i]->[b, 0, f]>
      {mask = dense<[[[1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]],
                     [[1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]],
                     [[0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]]]> : tensor<3x1x16xf64>}
      : (tensor<?x20x16xf32>, tensor<3x1x16xf32>) -> tensor<?x18x1xf32>
  return %y : tensor<?x18x1xf32>
}
