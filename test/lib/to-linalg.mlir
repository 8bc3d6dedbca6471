// RUN: convjit-opt %s --split-input-file --conv-plan="vector-bits=512 registers=32" --conv-split-phases --conv-pack-filters --conv-tile --conv-to-linalg --canonicalize --cse | FileCheck %s

// Channels first: the input row is (channels, pixels), and so is the output; the
// maps say so, nothing is transposed.
// CHECK-DAG: #[[IN:.*]] = affine_map<(d0, d1, d2) -> (d2, d0)>
// CHECK-DAG: #[[OUT:.*]] = affine_map<(d0, d1) -> (d1, d0)>
// CHECK-LABEL: func.func @channels_first(
// CHECK: memref.reinterpret_cast %{{.*}} sizes: [4, 8], strides: [8, 1]
// CHECK: linalg.generic {indexing_maps = [#[[IN]],
// CHECK: memref.reinterpret_cast %{{.*}} sizes: [16, 8], strides: [8, 1]
// CHECK: linalg.generic {indexing_maps = [{{.*}}, #[[OUT]]]
func.func @channels_first(%x: tensor<?x4x8xf32>, %w: tensor<1x4x16xf32>) -> tensor<?x16x8xf32> {
  %y = conv.convolution %x, %w window <rank = 1> dims <[b, f, 0]x[0, i, o]->[b, f, 0]>
      : (tensor<?x4x8xf32>, tensor<1x4x16xf32>) -> tensor<?x16x8xf32>
  return %y : tensor<?x16x8xf32>
}

// -----

// Depthwise: lanes are channels of the input as well.
// CHECK: affine_map<(d0, d1, d2) -> (d0, d1)>
// CHECK-LABEL: func.func @depthwise(
// CHECK: memref.reinterpret_cast %{{.*}} sizes: [8, 32], strides: [32, 1] : memref<?x8x32xf32>
// CHECK: linalg.generic
func.func @depthwise(%x: tensor<?x8x32xf32>, %w: tensor<1x1x32xf32>) -> tensor<?x8x32xf32> {
  %y = conv.convolution %x, %w window <rank = 1> dims <[b, 0, f]x[0, i, o]->[b, 0, f]>
      {feature_group_count = 32 : i64} : (tensor<?x8x32xf32>, tensor<1x1x32xf32>) -> tensor<?x8x32xf32>
  return %y : tensor<?x8x32xf32>
}

// -----

// A batch that is not outermost makes strides dynamic, not wrong.
// CHECK-LABEL: func.func @inner_batch(
// CHECK: %[[BATCH:.*]] = memref.dim
// CHECK: memref.reinterpret_cast {{.*}} strides: [%{{.*}}, 1]
func.func @inner_batch(%x: tensor<8x?x4xf32>, %w: tensor<1x4x16xf32>) -> tensor<8x?x16xf32> {
  %y = conv.convolution %x, %w window <rank = 1> dims <[0, b, f]x[0, i, o]->[0, b, f]>
      : (tensor<8x?x4xf32>, tensor<1x4x16xf32>) -> tensor<8x?x16xf32>
  return %y : tensor<8x?x16xf32>
}
