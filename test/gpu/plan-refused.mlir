// RUN: convjit-opt %s --split-input-file --verify-diagnostics --conv-split-phases

#d = #conv.dims<[b, 0, f]x[0, i, o]->[b, 0, f]>
func.func @box(%x: tensor<?x66x8xf32>, %w: tensor<3x8x32xf32>) -> tensor<?x64x32xf32> {
  // expected-error @+1 {{plan: box has 3 entries; valid: 2, images and each spatial dimension}}
  %y = conv.convolution %x, %w window <rank = 1> dims #d
      gpu_plan <schedule = simt, box = [1, 4, 8], channels = 16, depth = 8, thread_pixels = 4, thread_channels = 4, stages = 2, vector = 1>
      : (tensor<?x66x8xf32>, tensor<3x8x32xf32>) -> tensor<?x64x32xf32>
  return %y : tensor<?x64x32xf32>
}

// -----

#d = #conv.dims<[b, f, 0]x[0, i, o]->[b, f, 0]>
func.func @vector(%x: tensor<?x8x66xf32>, %w: tensor<3x8x32xf32>) -> tensor<?x32x64xf32> {
  // expected-error @+1 {{plan: vector = 4; valid: 1 where channels are not last in the input, or images with schedule = mma in 16 bits}}
  %y = conv.convolution %x, %w window <rank = 1> dims #d
      gpu_plan <schedule = simt, box = [1, 32], channels = 16, depth = 8, thread_pixels = 4, thread_channels = 4, stages = 2, vector = 4>
      : (tensor<?x8x66xf32>, tensor<3x8x32xf32>) -> tensor<?x32x64xf32>
  return %y : tensor<?x32x64xf32>
}

// -----

#d = #conv.dims<[b, 0, f]x[0, i, o]->[b, 0, f]>
func.func @shared(%x: tensor<?x66x8xf32>, %w: tensor<3x8x128xf32>) -> tensor<?x64x128xf32> {
  // expected-error @+1 {{plan: needs 66560 bytes of shared memory; valid: at most 49152}}
  %y = conv.convolution %x, %w window <rank = 1> dims #d
      gpu_plan <schedule = simt, box = [2, 64], channels = 128, depth = 32, thread_pixels = 8, thread_channels = 8, stages = 2, vector = 1>
      : (tensor<?x66x8xf32>, tensor<3x8x128xf32>) -> tensor<?x64x128xf32>
  return %y : tensor<?x64x128xf32>
}

// -----

#d = #conv.dims<[b, 0, f]x[0, i, o]->[b, 0, f]>
func.func @threads(%x: tensor<?x66x8xf32>, %w: tensor<3x8x32xf32>) -> tensor<?x64x32xf32> {
  // expected-error @+1 {{plan: makes 16 threads; valid: at least a warp, 32}}
  %y = conv.convolution %x, %w window <rank = 1> dims #d
      gpu_plan <schedule = simt, box = [1, 32], channels = 16, depth = 8, thread_pixels = 8, thread_channels = 4, stages = 2, vector = 1>
      : (tensor<?x66x8xf32>, tensor<3x8x32xf32>) -> tensor<?x64x32xf32>
  return %y : tensor<?x64x32xf32>
}

// -----

#d = #conv.dims<[f, 0, b]x[0, i, o]->[0, b, f]>
func.func @images(%x: tensor<8x66x?xbf16>, %w: tensor<64x8x32xbf16>) -> tensor<3x?x32xbf16> {
  // expected-error @+1 {{plan: vector = 8; valid where images are last in the input: a divisor of the box's 4}}
  %y = conv.convolution %x, %w window <rank = 1> dims #d
      gpu_plan <schedule = mma, box = [4, 8], channels = 16, depth = 16, thread_pixels = 4, thread_channels = 4, stages = 3, vector = 8>
      : (tensor<8x66x?xbf16>, tensor<64x8x32xbf16>) -> tensor<3x?x32xbf16>
  return %y : tensor<3x?x32xbf16>
}

// -----

#d = #conv.dims<[b, 0, f]x[0, i, o]->[b, 0, f]>
func.func @packed(%x: tensor<?x66x8xf32>, %w: tensor<3x8x32xf32>) -> tensor<?x64x32xf32> {
  // expected-error @+1 {{plan: pack_input = true; valid where channels are not last in the input}}
  %y = conv.convolution %x, %w window <rank = 1> dims #d
      gpu_plan <schedule = simt, box = [1, 32], channels = 16, depth = 8, thread_pixels = 4, thread_channels = 4, stages = 2, vector = 1, pack_input = true>
      : (tensor<?x66x8xf32>, tensor<3x8x32xf32>) -> tensor<?x64x32xf32>
  return %y : tensor<?x64x32xf32>
}

// -----

#d = #conv.dims<[b, 0, f]x[0, i, o]->[b, 0, f]>
func.func @gaps(%x: tensor<?x66x8xf32>, %w: tensor<3x8x32xf32>) -> tensor<?x64x32xf32> {
  // expected-error @+1 {{plan: the input has input_strides; valid for a GPU: a contiguous one}}
  %y = conv.convolution %x, %w window <rank = 1> dims #d
      gpu_plan <schedule = simt, box = [1, 32], channels = 16, depth = 8, thread_pixels = 4, thread_channels = 4, stages = 2, vector = 1>
      {input_strides = array<i64: 1056, 16, 1>}
      : (tensor<?x66x8xf32>, tensor<3x8x32xf32>) -> tensor<?x64x32xf32>
  return %y : tensor<?x64x32xf32>
}
