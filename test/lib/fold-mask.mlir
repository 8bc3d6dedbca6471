// RUN: convjit-opt %s --conv-fold-mask | FileCheck %s

#w = #conv.window<rank = 1>
#d = #conv.dims<[b, 0, f]x[0, o, i]->[b, 0, f]>

// A tap whose mask is zero is gone; a mask of only ones is too.
// CHECK-LABEL: @causal
// CHECK-NOT: mask
// CHECK: live = [#conv.live<0, 1, [0, 0, 1, 1, 0, 1]>]
func.func @causal(%x: tensor<?x9x1xf32>, %w: tensor<3x1x1xf32>) -> tensor<?x7x1xf32> {
  %y = conv.convolution %x, %w window #w dims #d {mask = dense<[[[1.0]], [[1.0]], [[0.0]]]> : tensor<3x1x1xf64>}
      : (tensor<?x9x1xf32>, tensor<3x1x1xf32>) -> tensor<?x7x1xf32>
  return %y : tensor<?x7x1xf32>
}

// Taps count in the window's order: a reversed window reads the filter's last
// element first, so the masked last element is tap 0.
// CHECK-LABEL: @reversed
// CHECK: live = [#conv.live<0, 1, [1, 0, 1, 2, 0, 1]>]
func.func @reversed(%x: tensor<?x9x1xf32>, %w: tensor<3x1x1xf32>) -> tensor<?x7x1xf32> {
  %y = conv.convolution %x, %w window <rank = 1, reverse = [true]> dims #d
      {mask = dense<[[[1.0]], [[1.0]], [[0.0]]]> : tensor<3x1x1xf64>}
      : (tensor<?x9x1xf32>, tensor<3x1x1xf32>) -> tensor<?x7x1xf32>
  return %y : tensor<?x7x1xf32>
}

// Output channels with different patterns get different lists, and the mask
// stays for packing, since both may share a block.
// CHECK-LABEL: @by_channel
// CHECK: live = [#conv.live<0, 1, [0, 0, 2, 1, 1, 2]>, #conv.live<1, 2, [1, 0, 2]>]
// CHECK-SAME: mask
func.func @by_channel(%x: tensor<?x9x2xf32>, %w: tensor<2x2x2xf32>) -> tensor<?x8x2xf32> {
  %y = conv.convolution %x, %w window #w dims #d
      {mask = dense<[[[1.0, 1.0], [0.0, 0.0]], [[0.0, 1.0], [1.0, 1.0]]]> : tensor<2x2x2xf64>}
      : (tensor<?x9x2xf32>, tensor<2x2x2xf32>) -> tensor<?x8x2xf32>
  return %y : tensor<?x8x2xf32>
}

// Factors other than 0 and 1 stay; with nothing masked there is no list.
// CHECK-LABEL: @factors
// CHECK-NOT: live
// CHECK: mask
func.func @factors(%x: tensor<?x9x1xf32>, %w: tensor<2x1x1xf32>) -> tensor<?x8x1xf32> {
  %y = conv.convolution %x, %w window #w dims #d {mask = dense<[[[0.5]], [[1.0]]]> : tensor<2x1x1xf64>}
      : (tensor<?x9x1xf32>, tensor<2x1x1xf32>) -> tensor<?x8x1xf32>
  return %y : tensor<?x8x1xf32>
}

// CHECK-LABEL: @nothing
// CHECK-NOT: live
// CHECK-NOT: mask
// CHECK: return
func.func @nothing(%x: tensor<?x9x1xf32>, %w: tensor<2x1x1xf32>) -> tensor<?x8x1xf32> {
  %y = conv.convolution %x, %w window #w dims #d {mask = dense<1.0> : tensor<2x1x1xf64>}
      : (tensor<?x9x1xf32>, tensor<2x1x1xf32>) -> tensor<?x8x1xf32>
  return %y : tensor<?x8x1xf32>
}
