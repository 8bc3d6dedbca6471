// RUN: convjit-opt %s --conv-split-phases --conv-pack-filters --conv-tile --conv-to-linalg --conv-vectorize | FileCheck %s

// 24 channels are a line and a half.
// CHECK-LABEL: func.func @half_lines(
// CHECK-NOT: nontemporal
func.func @half_lines(%x: tensor<?x16384x8xf32>, %w: tensor<1x24x8xf32>) -> tensor<?x16384x24xf32> {
  %y = conv.convolution %x, %w window <rank = 1> dims <[b, 0, f]x[0, o, i]->[b, 0, f]>
      plan <lanes = channels, width = 8, pixels = 1, unroll = 1, row = unrolled, chunks = 1>
      : (tensor<?x16384x8xf32>, tensor<1x24x8xf32>) -> tensor<?x16384x24xf32>
  return %y : tensor<?x16384x24xf32>
}
