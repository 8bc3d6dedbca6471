// RUN: convjit-opt %s --split-input-file --conv-split-phases --verify-diagnostics

// Every second channel: no vector has neighbouring ones.
func.func @reduction(%x: tensor<?x9x8xf32>, %w: tensor<3x8x2xf32>) -> tensor<?x7x2xf32> {
  // expected-error @below {{lanes = reduction; valid only without a mask and where the channels of an input pixel are neighbours in memory}}
  %y = conv.convolution %x, %w window <rank = 1> dims <[b, 0, f]x[0, i, o]->[b, 0, f]>
      plan <lanes = reduction, width = 2, pixels = 4, unroll = 8, row = unrolled, chunks = 1>
      {input_strides = array<i64: 144, 16, 2>}
      : (tensor<?x9x8xf32>, tensor<3x8x2xf32>) -> tensor<?x7x2xf32>
  return %y : tensor<?x7x2xf32>
}

// -----

func.func @groups(%x: tensor<?x9x8xf32>, %w: tensor<3x1x8xf32>) -> tensor<?x7x8xf32> {
  // expected-error @below {{lanes = groups; valid only with up to 16 input channels a group, one with a mask, that are neighbours in memory}}
  %y = conv.convolution %x, %w window <rank = 1> dims <[b, 0, f]x[0, i, o]->[b, 0, f]>
      plan <lanes = groups, width = 8, pixels = 4, unroll = 1, row = unrolled, chunks = 1>
      {feature_group_count = 8 : i64, input_strides = array<i64: 144, 16, -1>}
      : (tensor<?x9x8xf32>, tensor<3x1x8xf32>) -> tensor<?x7x8xf32>
  return %y : tensor<?x7x8xf32>
}

// -----

func.func @pixels(%x: tensor<?x8x9xf32>, %w: tensor<3x8x2xf32>) -> tensor<?x2x7xf32> {
  // expected-error @below {{lanes = pixels; valid only where the pixels that a row reads are neighbours in memory}}
  %y = conv.convolution %x, %w window <rank = 1> dims <[b, f, 0]x[0, i, o]->[b, f, 0]>
      plan <lanes = pixels, width = 2, pixels = 7, unroll = 1, row = unrolled, chunks = 1>
      {input_strides = array<i64: 144, 18, 2>}
      : (tensor<?x8x9xf32>, tensor<3x8x2xf32>) -> tensor<?x2x7xf32>
  return %y : tensor<?x2x7xf32>
}

// -----

func.func @outer(%x: tensor<1x9x?xf32>, %w: tensor<7x1x8xf32>) -> tensor<3x?x8xf32> {
  // expected-error @below {{row = outer; valid without a mask, bias, activation and feature groups, and with images that are neighbours in memory where they are last in the input}}
  %y = conv.convolution %x, %w window <rank = 1> dims <[f, 0, b]x[0, i, o]->[0, b, f]>
      plan <lanes = channels, width = 8, pixels = 4, unroll = 1, row = outer, chunks = 1>
      {input_strides = array<i64: 144, 16, 2>}
      : (tensor<1x9x?xf32>, tensor<7x1x8xf32>) -> tensor<3x?x8xf32>
  return %y : tensor<3x?x8xf32>
}

// -----

func.func @few(%x: tensor<?x9x8xf32>, %w: tensor<3x8x2xf32>) -> tensor<?x7x2xf32> {
  // expected-error @below {{input_strides has 2 entries; valid: 3, one for each axis of the input}}
  %y = conv.convolution %x, %w window <rank = 1> dims <[b, 0, f]x[0, i, o]->[b, 0, f]>
      {input_strides = array<i64: 144, 16>}
      : (tensor<?x9x8xf32>, tensor<3x8x2xf32>) -> tensor<?x7x2xf32>
  return %y : tensor<?x7x2xf32>
}
