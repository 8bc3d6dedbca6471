// Functions and operations that the passes cannot take are refused in words.
// RUN: convjit-opt %s --split-input-file --conv-plan --conv-split-phases --verify-diagnostics

#d = #conv.dims<[b, 0, f]x[0, i, o]->[b, 0, f]>

// The same tensor as input and residual: each argument has one role.
// expected-error @+1 {{valid: one conv.convolution of all the function's arguments, each used once}}
func.func @two_roles(%x: tensor<?x8x4xf32>, %w: tensor<1x4x4xf32>) -> tensor<?x8x4xf32> {
  %y = conv.convolution %x, %w residual(%x) window <rank = 1> dims #d
      {} : (tensor<?x8x4xf32>, tensor<1x4x4xf32>, tensor<?x8x4xf32>) -> tensor<?x8x4xf32>
  return %y : tensor<?x8x4xf32>
}

// -----

#d = #conv.dims<[b, 0, f]x[0, i, o]->[b, 0, f]>

// expected-error @+1 {{and the return of its result}}
func.func @two_results(%x: tensor<?x8x4xf32>, %w: tensor<1x4x4xf32>) -> (tensor<?x8x4xf32>, tensor<?x8x4xf32>) {
  %y = conv.convolution %x, %w window <rank = 1> dims #d
      {} : (tensor<?x8x4xf32>, tensor<1x4x4xf32>) -> tensor<?x8x4xf32>
  return %y, %y : tensor<?x8x4xf32>, tensor<?x8x4xf32>
}

// -----

#d = #conv.dims<[b, 0, f]x[0, i, o]->[b, 0, f]>

// expected-error @+1 {{each used once}}
func.func @stranger(%x: tensor<?x8x4xf32>, %w: tensor<1x4x4xf32>, %n: i32) -> tensor<?x8x4xf32> {
  %y = conv.convolution %x, %w window <rank = 1> dims #d
      {} : (tensor<?x8x4xf32>, tensor<1x4x4xf32>) -> tensor<?x8x4xf32>
  return %y : tensor<?x8x4xf32>
}

// -----

#d = #conv.dims<[b, 0, f]x[0, i, o]->[b, 0, f]>

func.func @lanes(%x: tensor<?x8x4xf32>, %w: tensor<1x4x4xf32>) -> tensor<?x8x4xf32> {
  // expected-error @+1 {{plan: lanes = groups; valid only with up to 16 input channels a group, one with a mask, that are neighbours in memory}}
  %y = conv.convolution %x, %w window <rank = 1> dims #d
      plan <lanes = groups, width = 4, pixels = 4, unroll = 1, row = ranged, chunks = 1>
      {} : (tensor<?x8x4xf32>, tensor<1x4x4xf32>) -> tensor<?x8x4xf32>
  return %y : tensor<?x8x4xf32>
}

// -----

#d = #conv.dims<[b, 0, f]x[0, i, o]->[b, 0, f]>

func.func @live(%x: tensor<?x8x4xf32>, %w: tensor<1x4x4xf32>) -> tensor<?x8x4xf32> {
  // expected-error @+1 {{live: #conv.live<0, 4, [1, 0, 4]>; valid: channels below 4}}
  %y = conv.convolution %x, %w window <rank = 1> dims #d
      {live = [#conv.live<0, 4, [1, 0, 4]>]} : (tensor<?x8x4xf32>, tensor<1x4x4xf32>) -> tensor<?x8x4xf32>
  return %y : tensor<?x8x4xf32>
}

// -----

func.func @groups(%x: tensor<4x8x4xf32>, %w: tensor<1x4x4xf32>) -> tensor<4x8x4xf32> {
  // expected-error @+1 {{C22: batch_group_count = 0; valid: at least 1}}
  %y = conv.conv %x, %w {stride = array<i64: 1>, rhs_dilation = array<i64: 1>, lhs_dilation = array<i64: 1>,
      batch_group_count = 0 : i64} : (tensor<4x8x4xf32>, tensor<1x4x4xf32>) -> tensor<4x8x4xf32>
  return %y : tensor<4x8x4xf32>
}

// -----

// expected-error @+1 {{C8: rhs_dilate[0] = 9223372036854775807; valid: at least 1, at most 2^31}}
func.func private @overflow() attributes {w = #conv.window<rank = 1, rhs_dilate = [9223372036854775807]>}

// -----

#d = #conv.dims<[b, 0, f]x[0, i, o]->[b, 0, f]>

func.func @fold_alone(%x: tensor<?x8x4xf32>, %w: tensor<3x4x4xf32>) -> tensor<?x6x4xf32> {
  // expected-error @+1 {{plan: fold = 4; valid with merged = 0, or other lanes than channels: 1}}
  %y = conv.convolution %x, %w window <rank = 1> dims #d
      plan <lanes = channels, width = 16, pixels = 2, unroll = 1, row = unrolled, chunks = 1, fold = 4>
      : (tensor<?x8x4xf32>, tensor<3x4x4xf32>) -> tensor<?x6x4xf32>
  return %y : tensor<?x6x4xf32>
}

// -----

#d = #conv.dims<[b, 0, f]x[0, i, o]->[b, 0, f]>

// Pixels that are 2^30 inputs apart share none.
func.func @fold_apart(%x: tensor<?x8x1xf32>, %w: tensor<3x1x1xf32>) -> tensor<?x3x1xf32> {
  // expected-error @+1 {{plan: merged = 1; valid where phases have no common input: 0}}
  %y = conv.convolution %x, %w window <rank = 1, stride = [1073741824], pad = [[1073741824, 1073741824]]> dims #d
      plan <lanes = channels, width = 16, pixels = 2, unroll = 1, row = unrolled, chunks = 1, merged = 1, fold = 2>
      : (tensor<?x8x1xf32>, tensor<3x1x1xf32>) -> tensor<?x3x1xf32>
  return %y : tensor<?x3x1xf32>
}
