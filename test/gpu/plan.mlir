// RUN: convjit-opt %s --split-input-file --conv-gpu-plan=chip=sm_90 | FileCheck %s
// RUN: convjit-opt %s --split-input-file --conv-gpu-plan="chip=sm_90 images=1" | FileCheck %s --check-prefix=ONE

#d = #conv.dims<[b, 0, 1, f]x[0, 1, i, o]->[b, 0, 1, f]>

// f32 is multiplied as such; of one image the boxes are smaller, for the SMs to be
// busy.
// CHECK-LABEL: func.func @f32(
// CHECK: gpu_plan <schedule = simt, box = [1, [[H:[0-9]+]], [[W:[0-9]+]]], channels = 64,
// CHECK-SAME: stages = 2, vector = 4>
// ONE-LABEL: func.func @f32(
// ONE: gpu_plan <schedule = simt, box = [1, {{[0-9]+}}, {{[0-9]+}}], channels = {{16|32}},
func.func @f32(%x: tensor<?x58x58x64xf32>, %w: tensor<3x3x64x64xf32>) -> tensor<?x56x56x64xf32> {
  %y = conv.convolution %x, %w window <rank = 2> dims #d
      : (tensor<?x58x58x64xf32>, tensor<3x3x64x64xf32>) -> tensor<?x56x56x64xf32>
  return %y : tensor<?x56x56x64xf32>
}

// -----

#d = #conv.dims<[b, 0, 1, f]x[0, 1, i, o]->[b, 0, 1, f]>

// CHECK-LABEL: func.func @bf16(
// CHECK: gpu_plan <schedule = mma,
// CHECK-SAME: vector = 8
func.func @bf16(%x: tensor<?x58x58x64xbf16>, %w: tensor<3x3x64x64xbf16>) -> tensor<?x56x56x64xbf16> {
  %y = conv.convolution %x, %w window <rank = 2> dims #d
      : (tensor<?x58x58x64xbf16>, tensor<3x3x64x64xbf16>) -> tensor<?x56x56x64xbf16>
  return %y : tensor<?x56x56x64xbf16>
}

// -----

#d = #conv.dims<[b, 0, 1, f]x[0, 1, i, o]->[b, 0, 1, f]>

// Few boxes and many channels: the reduction in parts.
// CHECK-LABEL: func.func @parts(
// CHECK: gpu_plan <schedule = simt,
// CHECK-SAME: split = {{[0-9]+}}>
func.func @parts(%x: tensor<?x4x4x512xf32>, %w: tensor<3x3x512x64xf32>) -> tensor<?x2x2x64xf32> {
  %y = conv.convolution %x, %w window <rank = 2> dims #d
      : (tensor<?x4x4x512xf32>, tensor<3x3x512x64xf32>) -> tensor<?x2x2x64xf32>
  return %y : tensor<?x2x2x64xf32>
}

// -----

#d = #conv.dims<[b, 0, 1, f]x[0, 1, i, o]->[b, 0, 1, f]>

// Each channel by itself; 16 bytes of neighbours.
// CHECK-LABEL: func.func @depthwise(
// CHECK: gpu_plan <schedule = direct,
// CHECK-SAME: thread_channels = 4, stages = 1, vector = 4>
func.func @depthwise(%x: tensor<?x58x58x64xf32>, %w: tensor<3x3x1x64xf32>) -> tensor<?x56x56x64xf32> {
  %y = conv.convolution %x, %w window <rank = 2> dims #d
      {feature_group_count = 64 : i64} : (tensor<?x58x58x64xf32>, tensor<3x3x1x64xf32>) -> tensor<?x56x56x64xf32>
  return %y : tensor<?x56x56x64xf32>
}

// -----

#d = #conv.dims<[b, 0, f]x[0, i, o]->[b, 0, f]>

// One that is there stays.
// CHECK-LABEL: func.func @given(
// CHECK: gpu_plan <schedule = simt, box = [4, 8], channels = 8,
func.func @given(%x: tensor<?x66x8xf32>, %w: tensor<3x8x32xf32>) -> tensor<?x64x32xf32> {
  %y = conv.convolution %x, %w window <rank = 1> dims #d
      gpu_plan <schedule = simt, box = [4, 8], channels = 8, depth = 8, thread_pixels = 2, thread_channels = 2, stages = 2, vector = 1>
      : (tensor<?x66x8xf32>, tensor<3x8x32xf32>) -> tensor<?x64x32xf32>
  return %y : tensor<?x64x32xf32>
}
