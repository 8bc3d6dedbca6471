// RUN: convjit-opt %s --conv-split-phases | FileCheck %s

#d = #conv.dims<[b, 0, f]x[0, o, i]->[b, 0, f]>

// Stride 2, k 4, padding 2: both phases have two taps, and neither meets an
// inserted zero.
// CHECK-LABEL: func.func @even(
// CHECK-SAME: memref<?x16x8xf32> {conv.operand = "input"}
// CHECK-SAME: memref<4x6x8xf32> {conv.operand = "filter"}
// CHECK-SAME: memref<?x32x6xf32> {conv.operand = "output"}
// CHECK-SAME: index, %{{.*}}: index)
// CHECK: conv.phases
// CHECK-SAME: <input = 16, output = 32, step = 2, input_step = 1, tap_step = 2, input_tap_step = 1, first_tap = [0, 1], taps = [2, 2], base = [-1, 0]>
func.func @even(%x: tensor<?x16x8xf32>, %w: tensor<4x6x8xf32>) -> tensor<?x32x6xf32> {
  %y = conv.convolution %x, %w window <rank = 1, pad = [[2, 2]], lhs_dilate = [2], reverse = [true]> dims #d
      plan <lanes = channels, width = 8, pixels = 4, unroll = 1, row = unrolled, chunks = 1>
      : (tensor<?x16x8xf32>, tensor<4x6x8xf32>) -> tensor<?x32x6xf32>
  return %y : tensor<?x32x6xf32>
}

// k 3: one phase has two taps, the other one.
// CHECK-LABEL: func.func @odd(
// CHECK: first_tap = [0, 1], taps = [2, 1], base = [-1, 0]
func.func @odd(%x: tensor<?x16x8xf32>, %w: tensor<3x6x8xf32>) -> tensor<?x32x6xf32> {
  %y = conv.convolution %x, %w window <rank = 1, pad = [[2, 1]], lhs_dilate = [2], reverse = [true]> dims #d
      plan <lanes = channels, width = 8, pixels = 4, unroll = 1, row = unrolled, chunks = 1>
      : (tensor<?x16x8xf32>, tensor<3x6x8xf32>) -> tensor<?x32x6xf32>
  return %y : tensor<?x32x6xf32>
}

// gcd(stride, dilation) = 2: taps are all at even distances, so odd outputs
// have none.
// CHECK-LABEL: func.func @no_tap(
// CHECK: step = 2, input_step = 1, tap_step = 1, input_tap_step = 1, first_tap = [0, 0], taps = [3, 0], base = [-2, 0]
func.func @no_tap(%x: tensor<?x16x8xf32>, %w: tensor<3x6x8xf32>) -> tensor<?x35x6xf32> {
  %y = conv.convolution %x, %w window <rank = 1, pad = [[4, 4]], lhs_dilate = [2], rhs_dilate = [2]> dims #d
      plan <lanes = channels, width = 8, pixels = 4, unroll = 1, row = unrolled, chunks = 1>
      : (tensor<?x16x8xf32>, tensor<3x6x8xf32>) -> tensor<?x35x6xf32>
  return %y : tensor<?x35x6xf32>
}

// Window stride 2 and input dilation 3: three phases that advance the input by
// two elements.
// CHECK-LABEL: func.func @both(
// CHECK: step = 3, input_step = 2, tap_step = 3, input_tap_step = 1, first_tap = [0, 1, 2], taps = [2, 1, 1], base = [0, 1, 2]
func.func @both(%x: tensor<?x16x8xf32>, %w: tensor<4x6x8xf32>) -> tensor<?x22x6xf32> {
  %y = conv.convolution %x, %w window <rank = 1, stride = [2], lhs_dilate = [3]> dims #d
      plan <lanes = channels, width = 8, pixels = 4, unroll = 1, row = unrolled, chunks = 1>
      : (tensor<?x16x8xf32>, tensor<4x6x8xf32>) -> tensor<?x22x6xf32>
  return %y : tensor<?x22x6xf32>
}

// A plain convolution has one phase.
// CHECK-LABEL: func.func @plain(
// CHECK: step = 1, input_step = 2, tap_step = 1, input_tap_step = 3, first_tap = [0], taps = [4], base = [-1]
func.func @plain(%x: tensor<?x16x8xf32>, %w: tensor<4x6x8xf32>) -> tensor<?x4x6xf32> {
  %y = conv.convolution %x, %w window <rank = 1, stride = [2], pad = [[1, 0]], rhs_dilate = [3]> dims #d
      plan <lanes = channels, width = 8, pixels = 4, unroll = 1, row = unrolled, chunks = 1>
      : (tensor<?x16x8xf32>, tensor<4x6x8xf32>) -> tensor<?x4x6xf32>
  return %y : tensor<?x4x6xf32>
}
