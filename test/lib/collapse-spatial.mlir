// RUN: convjit-opt %s -conv-collapse-spatial | FileCheck %s

// A window of one pixel: planes are rows.
// CHECK-LABEL: func @pointwise
// CHECK-SAME: (%{{.*}}: tensor<?x40x1134xf32>, %{{.*}}: tensor<320x40x1xf32>, %{{.*}}: tensor<320xf32>, %{{.*}}: tensor<?x320x1134xf32>) -> tensor<?x320x1134xf32>
// CHECK: window <rank = 1> dims <[b, f, 0]x[o, i, 0]->[b, f, 0]>
// CHECK: return %{{.*}} : tensor<?x320x1134xf32>
func.func @pointwise(%x: tensor<?x40x9x14x9xf32>, %w: tensor<320x40x1x1x1xf32>,
                     %b: tensor<320xf32>, %r: tensor<?x320x9x14x9xf32>)
    -> tensor<?x320x9x14x9xf32> {
  %y = conv.convolution %x, %w bias(%b) residual(%r) window <rank = 3>
      dims <[b, f, 0, 1, 2]x[o, i, 0, 1, 2]->[b, f, 0, 1, 2]>
      : (tensor<?x40x9x14x9xf32>, tensor<320x40x1x1x1xf32>, tensor<320xf32>,
         tensor<?x320x9x14x9xf32>) -> tensor<?x320x9x14x9xf32>
  return %y : tensor<?x320x9x14x9xf32>
}

// Only the dimensions that are; the window of the first stays with it.
// CHECK-LABEL: func @planes
// CHECK: window <rank = 2, stride = [2, 1], pad = {{\[\[}}2, 1], [0, 0]], reverse = [true, false]>
// CHECK-SAME: dims <[b, 0, 1, f]x[0, 1, i, o]->[b, 0, 1, f]>
// CHECK-SAME: (tensor<?x16x63x4xf32>, tensor<5x1x4x6xf32>) -> tensor<?x8x63x6xf32>
func.func @planes(%x: tensor<?x16x7x9x4xf32>, %w: tensor<5x1x1x4x6xf32>)
    -> tensor<?x8x7x9x6xf32> {
  %y = conv.convolution %x, %w
      window <rank = 3, stride = [2, 1, 1], pad = [[2, 1], [0, 0], [0, 0]],
              reverse = [true, false, true]>
      dims <[b, 0, 1, 2, f]x[0, 1, 2, i, o]->[b, 0, 1, 2, f]>
      : (tensor<?x16x7x9x4xf32>, tensor<5x1x1x4x6xf32>) -> tensor<?x8x7x9x6xf32>
  return %y : tensor<?x8x7x9x6xf32>
}

// The dimensions of memory, in whichever order they are named.
// CHECK-LABEL: func @names
// CHECK: window <rank = 1> dims <[b, 0, f]x[0, i, o]->[b, 0, f]>
// CHECK-SAME: (tensor<?x35x4xf32>, tensor<1x4x6xf32>) -> tensor<?x35x6xf32>
func.func @names(%x: tensor<?x5x7x4xf32>, %w: tensor<1x1x4x6xf32>)
    -> tensor<?x5x7x6xf32> {
  %y = conv.convolution %x, %w window <rank = 2>
      dims <[b, 1, 0, f]x[0, 1, i, o]->[b, 1, 0, f]>
      : (tensor<?x5x7x4xf32>, tensor<1x1x4x6xf32>) -> tensor<?x5x7x6xf32>
  return %y : tensor<?x5x7x6xf32>
}

// The weights' gradient of a window of one pixel: a sum over all of a plane.
// CHECK-LABEL: func @global
// CHECK: window <rank = 1, reverse = [true]> dims <[f, 0, b]x[i, 0, o]->[0, b, f]>
// CHECK-SAME: (tensor<8x35x?xf32>, tensor<8x35x6xf32>) -> tensor<1x?x6xf32>
func.func @global(%x: tensor<8x5x7x?xf32>, %w: tensor<8x5x7x6xf32>)
    -> tensor<1x1x?x6xf32> {
  %y = conv.convolution %x, %w window <rank = 2, reverse = [true, true]>
      dims <[f, 0, 1, b]x[i, 0, 1, o]->[0, 1, b, f]>
      : (tensor<8x5x7x?xf32>, tensor<8x5x7x6xf32>) -> tensor<1x1x?x6xf32>
  return %y : tensor<1x1x?x6xf32>
}

// One element and no padding: a dimension by name only, next to any other.
// CHECK-LABEL: func @trivial
// CHECK: window <rank = 1, stride = [2], pad = {{\[\[}}1, 0]], rhs_dilate = [3]>
// CHECK-SAME: dims <[b, f, 0]x[0, o, i]->[0, b, f]>
// CHECK-SAME: mask = dense<{{.*}}> : tensor<3x1x2xf64>
// CHECK-SAME: (tensor<?x2x16xf32>, tensor<3x1x2xf32>) -> tensor<6x?x1xf32>
func.func @trivial(%x: tensor<?x2x1x16xf32>, %w: tensor<3x1x1x2xf32>)
    -> tensor<6x?x1x1xf32> {
  %y = conv.convolution %x, %w
      window <rank = 2, stride = [1, 2], pad = [[0, 0], [1, 0]],
              rhs_dilate = [5, 3]>
      dims <[b, f, 0, 1]x[1, o, 0, i]->[1, b, 0, f]>
      {mask = dense<[[[[1.0, 0.0]]], [[[1.0, 1.0]]], [[[0.0, 1.0]]]]>
          : tensor<3x1x1x2xf64>}
      : (tensor<?x2x1x16xf32>, tensor<3x1x1x2xf32>) -> tensor<6x?x1x1xf32>
  return %y : tensor<6x?x1x1xf32>
}

// Strides, padding, input dilation or axes that are not neighbours: as it was.
// CHECK-LABEL: func @strided
// CHECK: rank = 2
func.func @strided(%x: tensor<?x5x7x4xf32>, %w: tensor<1x1x4x6xf32>)
    -> tensor<?x5x4x6xf32> {
  %y = conv.convolution %x, %w window <rank = 2, stride = [1, 2]>
      dims <[b, 0, 1, f]x[0, 1, i, o]->[b, 0, 1, f]>
      : (tensor<?x5x7x4xf32>, tensor<1x1x4x6xf32>) -> tensor<?x5x4x6xf32>
  return %y : tensor<?x5x4x6xf32>
}

// CHECK-LABEL: func @padded
// CHECK: rank = 2
func.func @padded(%x: tensor<?x5x7x4xf32>, %w: tensor<1x1x4x6xf32>)
    -> tensor<?x5x9x6xf32> {
  %y = conv.convolution %x, %w window <rank = 2, pad = [[0, 0], [1, 1]]>
      dims <[b, 0, 1, f]x[0, 1, i, o]->[b, 0, 1, f]>
      : (tensor<?x5x7x4xf32>, tensor<1x1x4x6xf32>) -> tensor<?x5x9x6xf32>
  return %y : tensor<?x5x9x6xf32>
}

// CHECK-LABEL: func @dilated
// CHECK: rank = 2
func.func @dilated(%x: tensor<?x5x7x4xf32>, %w: tensor<1x1x4x6xf32>)
    -> tensor<?x9x7x6xf32> {
  %y = conv.convolution %x, %w window <rank = 2, lhs_dilate = [2, 1]>
      dims <[b, 0, 1, f]x[0, 1, i, o]->[b, 0, 1, f]>
      : (tensor<?x5x7x4xf32>, tensor<1x1x4x6xf32>) -> tensor<?x9x7x6xf32>
  return %y : tensor<?x9x7x6xf32>
}

// CHECK-LABEL: func @apart
// CHECK: rank = 2
func.func @apart(%x: tensor<5x?x7x4xf32>, %w: tensor<1x1x4x6xf32>)
    -> tensor<?x5x7x6xf32> {
  %y = conv.convolution %x, %w window <rank = 2>
      dims <[0, b, 1, f]x[0, 1, i, o]->[b, 0, 1, f]>
      : (tensor<5x?x7x4xf32>, tensor<1x1x4x6xf32>) -> tensor<?x5x7x6xf32>
  return %y : tensor<?x5x7x6xf32>
}

// The window spans the input of one dimension only.
// CHECK-LABEL: func @partly
// CHECK: rank = 2
func.func @partly(%x: tensor<?x5x7x4xf32>, %w: tensor<5x3x4x6xf32>)
    -> tensor<?x1x5x6xf32> {
  %y = conv.convolution %x, %w window <rank = 2>
      dims <[b, 0, 1, f]x[0, 1, i, o]->[b, 0, 1, f]>
      : (tensor<?x5x7x4xf32>, tensor<5x3x4x6xf32>) -> tensor<?x1x5x6xf32>
  return %y : tensor<?x1x5x6xf32>
}

// Rows with a gap between them are no row; planes without one are: 7 rows of 9
// pixels, 3 planes of 80.
// CHECK-LABEL: func @rows_apart
// CHECK: window <rank = 2>
// CHECK-SAME: input_strides = array<i64: 960, 40, 4, 1>
func.func @rows_apart(%x: tensor<?x3x7x9x4xf32>, %w: tensor<1x1x1x4x6xf32>)
    -> tensor<?x3x7x9x6xf32> {
  %y = conv.convolution %x, %w window <rank = 3>
      dims <[b, 0, 1, 2, f]x[0, 1, 2, i, o]->[b, 0, 1, 2, f]>
      {input_strides = array<i64: 960, 280, 40, 4, 1>}
      : (tensor<?x3x7x9x4xf32>, tensor<1x1x1x4x6xf32>) -> tensor<?x3x7x9x6xf32>
  return %y : tensor<?x3x7x9x6xf32>
}

// Images apart, pixels not.
// CHECK-LABEL: func @images_apart
// CHECK: window <rank = 1>
// CHECK-SAME: input_strides = array<i64: 2000, 4, 1>
func.func @images_apart(%x: tensor<?x7x9x4xf32>, %w: tensor<1x1x4x6xf32>)
    -> tensor<?x7x9x6xf32> {
  %y = conv.convolution %x, %w window <rank = 2>
      dims <[b, 0, 1, f]x[0, 1, i, o]->[b, 0, 1, f]>
      {input_strides = array<i64: 2000, 36, 4, 1>}
      : (tensor<?x7x9x4xf32>, tensor<1x1x4x6xf32>) -> tensor<?x7x9x6xf32>
  return %y : tensor<?x7x9x6xf32>
}
