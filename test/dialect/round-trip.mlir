// What is printed parses back to the same thing.
// RUN: convjit-opt %s | convjit-opt | FileCheck %s

// Defaults are left out; every field that is not one is printed.
// CHECK-LABEL: @window
// CHECK-SAME: a = #conv.window<rank = 2>
// CHECK-SAME: b = #conv.window<rank = 2, stride = [2, 1], pad = {{\[\[}}1, 0], [0, -2]], lhs_dilate = [1, 3], rhs_dilate = [2, 2], reverse = [true, false]>
func.func private @window() attributes {
  a = #conv.window<rank = 2, stride = [1, 1], pad = [[0, 0], [0, 0]]>,
  b = #conv.window<rank = 2, stride = [2, 1], pad = [[1, 0], [0, -2]],
                   lhs_dilate = [1, 3], rhs_dilate = [2, 2], reverse = [true, false]>}

// CHECK-LABEL: @dims
// CHECK-SAME: #conv.dims<[f, 1, b, 0]x[o, i, 1, 0]->[1, b, 0, f]>
func.func private @dims() attributes {
  d = #conv.dims<[f, 1, b, 0]x[o, i, 1, 0]->[1, b, 0, f]>}

// CHECK-LABEL: @epilogue
// CHECK-SAME: a = #conv.epilogue<relu>, b = #conv.epilogue<leaky_relu, 2.500000e-01>
func.func private @epilogue() attributes {
  a = #conv.epilogue<relu>, b = #conv.epilogue<leaky_relu, 0.25>}

// CHECK-LABEL: @plan
// CHECK-SAME: #conv.plan<lanes = groups, width = 16, pixels = 12, unroll = 1, row = ranged, chunks = 3>
func.func private @plan() attributes {
  p = #conv.plan<lanes = groups, width = 16, pixels = 12, unroll = 1, row = ranged, chunks = 3>}

// CHECK-LABEL: @gpu_plan
// CHECK-SAME: a = #conv.gpu_plan<schedule = simt, box = [1, 32], channels = 16, depth = 8, thread_pixels = 4, thread_channels = 4, stages = 2, vector = 4>
// CHECK-SAME: b = #conv.gpu_plan<schedule = simt, box = [1, 32], channels = 16, depth = 8, thread_pixels = 4, thread_channels = 4, stages = 2, vector = 4, mixed = true, split = 2, pack_input = true>
// CHECK-SAME: c = #conv.gpu_plan<{{.*}} vector = 1, pack_input = true>
func.func private @gpu_plan() attributes {
  a = #conv.gpu_plan<schedule = simt, box = [1, 32], channels = 16, depth = 8, thread_pixels = 4, thread_channels = 4, stages = 2, vector = 4, mixed = false, split = 1, pack_input = false>,
  b = #conv.gpu_plan<schedule = simt, box = [1, 32], channels = 16, depth = 8, thread_pixels = 4, thread_channels = 4, stages = 2, vector = 4, mixed = true, split = 2, pack_input = true>,
  c = #conv.gpu_plan<schedule = simt, box = [1, 32], channels = 16, depth = 8, thread_pixels = 4, thread_channels = 4, stages = 2, vector = 1, pack_input = true>}

// CHECK-LABEL: @pack_input
// CHECK: conv.pack_input %{{.*}} into %{{.*}} {dimension_numbers = #conv.dims<[f, 0, b, 1]x[0, 1, i, o]->[b, 0, 1, f]>} : memref<3x5x?x7xf32>, memref<?x5x7x3xf32>
func.func @pack_input(%x: memref<3x5x?x7xf32>, %p: memref<?x5x7x3xf32>) {
  conv.pack_input %x into %p {dimension_numbers = #conv.dims<[f, 0, b, 1]x[0, 1, i, o]->[b, 0, 1, f]>} : memref<3x5x?x7xf32>, memref<?x5x7x3xf32>
  return
}

// CHECK-LABEL: @everything
func.func @everything(%x: tensor<?x9x4xf64>, %w: tensor<2x6x2xf64>, %b: tensor<6xf64>,
                      %r: tensor<?x13x6xf64>) -> tensor<?x13x6xf64> {
  // CHECK: conv.convolution %{{.*}}, %{{.*}} bias(%{{[a-z0-9]+}}) residual(%{{[a-z0-9]+}})
  // CHECK-SAME: window <rank = 1, pad = {{\[\[}}-1, -2]], lhs_dilate = [2], reverse = [true]>
  // CHECK-SAME: epilogue = #conv.epilogue<silu>, feature_group_count = 2
  %y = conv.convolution %x, %w bias(%b) residual(%r)
      window <rank = 1, pad = [[-1, -2]], lhs_dilate = [2], reverse = [true]>
      dims <[b, 0, f]x[0, o, i]->[b, 0, f]>
      {feature_group_count = 2 : i64, epilogue = #conv.epilogue<silu>}
      : (tensor<?x9x4xf64>, tensor<2x6x2xf64>, tensor<6xf64>, tensor<?x13x6xf64>) -> tensor<?x13x6xf64>
  return %y : tensor<?x13x6xf64>
}
