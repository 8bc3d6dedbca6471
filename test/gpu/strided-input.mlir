// Kernels for GPUs read inputs without gaps.
// RUN: convjit-opt %s --split-input-file --verify-diagnostics --conv-gpu-plan

func.func @planned(%x: tensor<?x66x8xf32>, %w: tensor<3x8x32xf32>) -> tensor<?x64x32xf32> {
  // expected-error @+1 {{input_strides; valid for a GPU: a contiguous input}}
  %y = conv.convolution %x, %w window <rank = 1> dims <[b, 0, f]x[0, i, o]->[b, 0, f]>
      {input_strides = array<i64: 1056, 16, 1>}
      : (tensor<?x66x8xf32>, tensor<3x8x32xf32>) -> tensor<?x64x32xf32>
  return %y : tensor<?x64x32xf32>
}
