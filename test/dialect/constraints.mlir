// StableHLO's constraints on a convolution, each violated once, by its label.
// RUN: convjit-opt %s -split-input-file -verify-diagnostics

func.func @c1(%x: tensor<?x9x4xf32>, %w: tensor<2x2x6x4xf32>) -> tensor<?x8x6xf32> {
  // expected-error @+1 {{C1: input has rank 3, filter rank 4}}
  %y = conv.convolution %x, %w window <rank = 1> dims <[b, 0, f]x[0, o, i]->[b, 0, f]>
      : (tensor<?x9x4xf32>, tensor<2x2x6x4xf32>) -> tensor<?x8x6xf32>
  return %y : tensor<?x8x6xf32>
}

// -----

func.func @c2(%x: tensor<?x9x4xf32>, %w: tensor<2x6x4xf32>) -> tensor<?x8x6xf32> {
  // expected-error @+1 {{C2: the window has 2 spatial dimensions; valid: 1}}
  %y = conv.convolution %x, %w window <rank = 2> dims <[b, 0, f]x[0, o, i]->[b, 0, f]>
      : (tensor<?x9x4xf32>, tensor<2x6x4xf32>) -> tensor<?x8x6xf32>
  return %y : tensor<?x8x6xf32>
}

// -----

// expected-error @+1 {{C2: stride has 1 entries; valid: one for each of the 2}}
func.func private @c2_list() attributes {w = #conv.window<rank = 2, stride = [2]>}

// -----

// expected-error @+1 {{C3: stride[1] = 0; valid: at least 1}}
func.func private @c3() attributes {w = #conv.window<rank = 2, stride = [2, 0]>}

// -----

// expected-error @+1 {{C4: pad has 1 entries}}
func.func private @c4() attributes {w = #conv.window<rank = 2, pad = [[1, 1]]>}

// -----

// expected-error @+1 {{C5: lhs_dilate has 3 entries}}
func.func private @c5() attributes {w = #conv.window<rank = 2, lhs_dilate = [1, 2, 3]>}

// -----

// expected-error @+1 {{C6: lhs_dilate[0] = -1; valid: at least 1}}
func.func private @c6() attributes {w = #conv.window<rank = 1, lhs_dilate = [-1]>}

// -----

// expected-error @+1 {{C7: rhs_dilate has 1 entries}}
func.func private @c7() attributes {w = #conv.window<rank = 2, rhs_dilate = [2]>}

// -----

// expected-error @+1 {{C8: rhs_dilate[0] = 0; valid: at least 1}}
func.func private @c8() attributes {w = #conv.window<rank = 1, rhs_dilate = [0]>}

// -----

// expected-error @+1 {{C9: reverse has 1 entries}}
func.func private @c9() attributes {w = #conv.window<rank = 2, reverse = [true]>}

// -----

func.func @c10(%x: tensor<3x9x4xf32>, %w: tensor<2x6x4xf32>) -> tensor<1x8x6xf32> {
  // expected-error @+1 {{C10: batch_group_count = 2; valid: a divisor of the batch, 3}}
  %y = conv.convolution %x, %w window <rank = 1> dims <[b, 0, f]x[0, o, i]->[b, 0, f]>
      {batch_group_count = 2 : i64} : (tensor<3x9x4xf32>, tensor<2x6x4xf32>) -> tensor<1x8x6xf32>
  return %y : tensor<1x8x6xf32>
}

// -----

func.func @c11(%x: tensor<?x9x5xf32>, %w: tensor<2x6x2xf32>) -> tensor<?x8x6xf32> {
  // expected-error @+1 {{C11: feature_group_count = 2; valid: a divisor of the input's features, 5}}
  %y = conv.convolution %x, %w window <rank = 1> dims <[b, 0, f]x[0, o, i]->[b, 0, f]>
      {feature_group_count = 2 : i64} : (tensor<?x9x5xf32>, tensor<2x6x2xf32>) -> tensor<?x8x6xf32>
  return %y : tensor<?x8x6xf32>
}

// -----

func.func @c12(%x: tensor<?x9x4xf32>, %w: tensor<2x6x4xf32>) -> tensor<?x8x6xf32> {
  // expected-error @+1 {{C12: dims name 2 spatial dimensions; valid: 1}}
  %y = conv.convolution %x, %w window <rank = 1> dims <[b, 0, 1, f]x[0, 1, o, i]->[b, 0, 1, f]>
      : (tensor<?x9x4xf32>, tensor<2x6x4xf32>) -> tensor<?x8x6xf32>
  return %y : tensor<?x8x6xf32>
}

// -----

// expected-error @+1 {{C13: axis 'b'; valid: b and f once each, and digits}}
func.func private @c13() attributes {d = #conv.dims<[b, 0, b]x[0, o, i]->[b, 0, f]>}

// -----

func.func @c14(%x: tensor<?x9x4xf32>, %w: tensor<2x6x3xf32>) -> tensor<?x8x6xf32> {
  // expected-error @+1 {{C14: the filter has 3 input features; valid: 4}}
  %y = conv.convolution %x, %w window <rank = 1> dims <[b, 0, f]x[0, o, i]->[b, 0, f]>
      : (tensor<?x9x4xf32>, tensor<2x6x3xf32>) -> tensor<?x8x6xf32>
  return %y : tensor<?x8x6xf32>
}

// -----

func.func @c15(%x: tensor<?x9x4xf32>, %w: tensor<2x5x4xf32>) -> tensor<?x8x5xf32> {
  // expected-error @+1 {{C15: batch_group_count = 2; valid: a divisor of the output features, 5}}
  %y = conv.convolution %x, %w window <rank = 1> dims <[b, 0, f]x[0, o, i]->[b, 0, f]>
      {batch_group_count = 2 : i64} : (tensor<?x9x4xf32>, tensor<2x5x4xf32>) -> tensor<?x8x5xf32>
  return %y : tensor<?x8x5xf32>
}

// -----

func.func @c16(%x: tensor<?x9x4xf32>, %w: tensor<2x5x2xf32>) -> tensor<?x8x5xf32> {
  // expected-error @+1 {{C16: feature_group_count = 2; valid: a divisor of the output features, 5}}
  %y = conv.convolution %x, %w window <rank = 1> dims <[b, 0, f]x[0, o, i]->[b, 0, f]>
      {feature_group_count = 2 : i64} : (tensor<?x9x4xf32>, tensor<2x5x2xf32>) -> tensor<?x8x5xf32>
  return %y : tensor<?x8x5xf32>
}

// -----

// expected-error @+1 {{C17: input, kernel and output name 1, 2 and 1 spatial dimensions}}
func.func private @c17() attributes {d = #conv.dims<[b, 0, f]x[0, 1, o, i]->[b, 0, f]>}

// -----

// expected-error @+1 {{C18: axes are not unique and complete}}
func.func private @c18() attributes {d = #conv.dims<[b, 0, f]x[1, o, i]->[b, 0, f]>}

// -----

// expected-error @+1 {{C19: input, kernel and output name 1, 1 and 2 spatial dimensions}}
func.func private @c19() attributes {d = #conv.dims<[b, 0, f]x[0, o, i]->[b, 0, 1, f]>}

// -----

// expected-error @+1 {{C20: axis 'o'; valid: b and f once each, and digits}}
func.func private @c20() attributes {d = #conv.dims<[b, 0, f]x[0, o, i]->[b, 0, o]>}

// -----

func.func @c21(%x: tensor<?x9x4xf32>, %w: tensor<2x6x4xf32>) -> tensor<?x8x6xf32> {
  // expected-error @+1 {{C21: feature_group_count = 0; valid: at least 1}}
  %y = conv.convolution %x, %w window <rank = 1> dims <[b, 0, f]x[0, o, i]->[b, 0, f]>
      {feature_group_count = 0 : i64} : (tensor<?x9x4xf32>, tensor<2x6x4xf32>) -> tensor<?x8x6xf32>
  return %y : tensor<?x8x6xf32>
}

// -----

func.func @c22(%x: tensor<?x9x4xf32>, %w: tensor<2x6x4xf32>) -> tensor<?x8x6xf32> {
  // expected-error @+1 {{C22: batch_group_count = -1; valid: at least 1}}
  %y = conv.convolution %x, %w window <rank = 1> dims <[b, 0, f]x[0, o, i]->[b, 0, f]>
      {batch_group_count = -1 : i64} : (tensor<?x9x4xf32>, tensor<2x6x4xf32>) -> tensor<?x8x6xf32>
  return %y : tensor<?x8x6xf32>
}

// -----

func.func @c23(%x: tensor<?x9x4xf32>, %w: tensor<2x6x2xf32>) -> tensor<?x8x6xf32> {
  // expected-error @+1 {{C23: feature_group_count = 2 and batch_group_count = 2}}
  %y = conv.convolution %x, %w window <rank = 1> dims <[b, 0, f]x[0, o, i]->[b, 0, f]>
      {feature_group_count = 2 : i64, batch_group_count = 2 : i64} : (tensor<?x9x4xf32>, tensor<2x6x2xf32>) -> tensor<?x8x6xf32>
  return %y : tensor<?x8x6xf32>
}

// -----

func.func @c25(%x: tensor<?x9x4xf32>, %w: tensor<2x6x4xf32>) -> tensor<?x9x6xf32> {
  // expected-error @+2 {{failed to infer returned types}}
  // expected-error @+1 {{inferred type(s) 'tensor<?x8x6xf32>' are incompatible with return type(s) of operation 'tensor<?x9x6xf32>'}}
  %y = conv.convolution %x, %w window <rank = 1> dims <[b, 0, f]x[0, o, i]->[b, 0, f]>
      : (tensor<?x9x4xf32>, tensor<2x6x4xf32>) -> tensor<?x9x6xf32>
  return %y : tensor<?x9x6xf32>
}

// -----

func.func @c27(%x: tensor<?x9x4xf32>, %w: tensor<2x6x4xf64>) -> tensor<?x8x6xf32> {
  // expected-error @+1 {{C27: input has elements 'f32', filter 'f64'; valid: the same type}}
  %y = conv.convolution %x, %w window <rank = 1> dims <[b, 0, f]x[0, o, i]->[b, 0, f]>
      : (tensor<?x9x4xf32>, tensor<2x6x4xf64>) -> tensor<?x8x6xf32>
  return %y : tensor<?x8x6xf32>
}

// -----

func.func @bias(%x: tensor<?x9x4xf32>, %w: tensor<2x6x4xf32>, %b: tensor<5xf32>) -> tensor<?x8x6xf32> {
  // expected-error @+1 {{bias is 'tensor<5xf32>'; valid: one 'f32' for each of the 6 output features}}
  %y = conv.convolution %x, %w bias(%b) window <rank = 1> dims <[b, 0, f]x[0, o, i]->[b, 0, f]>
      : (tensor<?x9x4xf32>, tensor<2x6x4xf32>, tensor<5xf32>) -> tensor<?x8x6xf32>
  return %y : tensor<?x8x6xf32>
}

// -----

// expected-error @+1 {{activation 'selu'; valid: none, relu, leaky_relu}}
func.func private @epilogue() attributes {e = #conv.epilogue<selu>}

// -----

// expected-error @+1 {{pixels = 0; valid: 1 to 64}}
func.func private @plan() attributes {p = #conv.plan<lanes = channels, width = 16, pixels = 0, unroll = 1, row = ranged, chunks = 1>}

// -----

func.func @outer_tile(%x: memref<1x16x?xf32>, %g: memref<1x16x32xf32>, %y: memref<3x?x32xf32>, %i: index, %first: i1) {
  // expected-error @+1 {{tap_ranges, input_taps and filter_taps; valid: all of them or none}}
  conv.outer_tile %x[%i], %g[%i] into %y[%i] first(%first) ranges(%i, %i, %i, %i)
      steps(%i, %i) pixel(%i) scalar(%i) output_steps(%i, %i, %i)
      {input_pixel_step = 1 : i64, filter_steps = array<i64: 512, 32>, rows = 8 : i64, lanes = 32 : i64,
       valid = 32 : i64, unroll = 1 : i64, copies = 1 : i64, tap_ranges = array<i64: 0, 16>}
      : memref<1x16x?xf32>, memref<1x16x32xf32> into memref<3x?x32xf32>
  return
}

// -----

func.func @outer_tile(%x: memref<1x16x?xf32>, %g: memref<1x16x32xf32>, %y: memref<3x?x32xf32>, %i: index, %first: i1) {
  // expected-error @+1 {{plane_ranges; valid: with tap_ranges, in two dimensions and more}}
  conv.outer_tile %x[%i], %g[%i] into %y[%i] first(%first) ranges(%i, %i, %i, %i)
      steps(%i, %i) pixel(%i) scalar(%i) output_steps(%i, %i, %i)
      {input_pixel_step = 1 : i64, filter_steps = array<i64: 512, 32>, rows = 8 : i64, lanes = 32 : i64,
       valid = 32 : i64, unroll = 1 : i64, copies = 1 : i64, plane_ranges = array<i64: 0, 16>}
      : memref<1x16x?xf32>, memref<1x16x32xf32> into memref<3x?x32xf32>
  return
}

// -----

func.func @outer_tile(%x: memref<1x16x?xf32>, %g: memref<1x16x32xf32>, %y: memref<3x?x32xf32>, %i: index, %first: i1) {
  // expected-error @+1 {{valid = 33; valid: 1 to 32}}
  conv.outer_tile %x[%i], %g[%i] into %y[%i] first(%first) ranges(%i, %i, %i, %i)
      steps(%i, %i) pixel(%i) scalar(%i) output_steps(%i, %i, %i)
      {input_pixel_step = 1 : i64, filter_steps = array<i64: 512, 32>, rows = 8 : i64, lanes = 32 : i64,
       valid = 33 : i64, unroll = 1 : i64, copies = 1 : i64}
      : memref<1x16x?xf32>, memref<1x16x32xf32> into memref<3x?x32xf32>
  return
}

// -----

func.func @packed_input(%x: memref<?x3x5xf32>, %p: memref<?x3x5xf32>) {
  // expected-error @+1 {{packed is 'memref<?x3x5xf32>'; valid: 'memref<?x5x3xf32>'}}
  conv.pack_input %x into %p {dimension_numbers = #conv.dims<[b, f, 0]x[0, i, o]->[b, 0, f]>} : memref<?x3x5xf32>, memref<?x3x5xf32>
  return
}

// -----

// expected-error @+1 {{valid: mixed, split and pack_input in this order}}
func.func private @order() attributes {p = #conv.gpu_plan<schedule = simt, box = [1, 32], channels = 16, depth = 8, thread_pixels = 4, thread_channels = 4, stages = 2, vector = 1, pack_input = true, split = 2>}
