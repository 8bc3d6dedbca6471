// RUN: not convjit-opt %s --conv-split-phases 2>&1 | FileCheck %s

// The rows of a tile are all phases of a channel.
// CHECK: merged = 1; valid with lanes = pixels, unless rows are last in the output, of up to 8 phases, and width is 4 or more: 0
func.func @cut(%x: tensor<?x2x11xf32>, %w: tensor<2x2x2xf32>) -> tensor<?x2x22xf32> {
  %y = conv.convolution %x, %w window <rank = 1, pad = [[1, 1]], lhs_dilate = [2], reverse = [true]> dims <[b, f, 0]x[0, o, i]->[b, f, 0]>
      plan <lanes = pixels, width = 2, pixels = 16, unroll = 1, row = unrolled, chunks = 1, merged = 1>
      : (tensor<?x2x11xf32>, tensor<2x2x2xf32>) -> tensor<?x2x22xf32>
  return %y : tensor<?x2x22xf32>
}
