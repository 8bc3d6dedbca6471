// RUN: convjit-opt %s --conv-legalize | FileCheck %s

// SAME, k 4, s 2: ek + s - 2 = 4 is split evenly.
// CHECK-LABEL: @same
// CHECK: window <rank = 1, pad = {{\[\[}}2, 2]], lhs_dilate = [2], reverse = [true]> dims <[b, 0, f]x[0, o, i]->[b, 0, f]>
func.func @same(%x: tensor<?x16x8xf32>, %w: tensor<4x6x8xf32>) -> tensor<?x32x6xf32> {
  %y = conv.conv_transpose %x, %w {stride = array<i64: 2>, rhs_dilation = array<i64: 1>}
      : (tensor<?x16x8xf32>, tensor<4x6x8xf32>) -> tensor<?x32x6xf32>
  return %y : tensor<?x32x6xf32>
}

// An odd total puts the larger half first: ek + s - 2 = 3 gives (2, 1).
// CHECK-LABEL: @same_odd
// CHECK: pad = {{\[\[}}2, 1]]
func.func @same_odd(%x: tensor<?x16x8xf32>, %w: tensor<3x6x8xf32>) -> tensor<?x32x6xf32> {
  %y = conv.conv_transpose %x, %w {stride = array<i64: 2>, rhs_dilation = array<i64: 1>}
      : (tensor<?x16x8xf32>, tensor<3x6x8xf32>) -> tensor<?x32x6xf32>
  return %y : tensor<?x32x6xf32>
}

// VALID with k < s: the trailing output has no tap, n*s = 12 outputs.
// CHECK-LABEL: @valid_short
// CHECK: pad = {{\[\[}}1, 2]], lhs_dilate = [3]
// CHECK-SAME: tensor<?x12x6xf32>
func.func @valid_short(%x: tensor<?x4x8xf32>, %w: tensor<2x6x8xf32>) -> tensor<?x12x6xf32> {
  %y = conv.conv_transpose %x, %w {stride = array<i64: 3>, rhs_dilation = array<i64: 1>, padding_mode = 1 : i32}
      : (tensor<?x4x8xf32>, tensor<2x6x8xf32>) -> tensor<?x12x6xf32>
  return %y : tensor<?x12x6xf32>
}

// A plain layer in channels-first layout: strides move the window, an odd total
// of padding puts the larger half last, and the filter keeps (k, ic, oc).
// CHECK-LABEL: @plain
// CHECK: window <rank = 2, stride = [2, 2], pad = {{\[\[}}2, 3], [2, 3]]> dims <[b, f, 0, 1]x[0, 1, i, o]->[b, f, 0, 1]>
func.func @plain(%x: tensor<?x3x224x224xf32>, %w: tensor<7x7x3x64xf32>) -> tensor<?x64x112x112xf32> {
  %y = conv.conv %x, %w {stride = array<i64: 2, 2>, rhs_dilation = array<i64: 1, 1>,
                         lhs_dilation = array<i64: 1, 1>, layout = 1 : i32}
      : (tensor<?x3x224x224xf32>, tensor<7x7x3x64xf32>) -> tensor<?x64x112x112xf32>
  return %y : tensor<?x64x112x112xf32>
}
