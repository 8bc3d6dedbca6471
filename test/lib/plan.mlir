// RUN: convjit-opt %s --conv-plan="fma-bits=512" | FileCheck %s --check-prefixes=CHECK,AVX512
// RUN: convjit-opt %s --conv-plan="vector-bits=128 registers=16" | FileCheck %s --check-prefixes=CHECK,SSE
// RUN: convjit-opt %s --conv-plan="vector-bits=128 registers=16 fma-bits=256 broadcast-cycles=0.33" | FileCheck %s --check-prefixes=CHECK,SHUFFLES
// RUN: convjit-opt %s --conv-plan="l2-bytes=2097152 l3-rate=10 l3-overlap=0 fetch-bytes=128" | FileCheck %s --check-prefixes=CHECK,MESH

// RUN: convjit-opt %s --conv-plan="fma-bits=512 images=3" | FileCheck %s --check-prefix=FEW
// RUN: convjit-opt %s --conv-plan="fma-bits=512 images=64" | FileCheck %s --check-prefix=MANY

// A row of 16 is cut into equal tiles, not 12 + 4.
// CHECK-LABEL: @flagship
// AVX512: plan <lanes = channels, width = {{16|32}}, pixels = {{8|16}}, unroll = 1, row = unrolled, chunks = 1
// SSE: plan <lanes = channels, width = {{4|8|12|16}},
func.func @flagship(%x: tensor<?x8x16x16x64xf32>, %w: tensor<4x4x4x32x64xf32>) -> tensor<?x16x32x32x32xf32> {
  %y = conv.convolution %x, %w
      window <rank = 3, pad = [[2, 2], [2, 2], [2, 2]], lhs_dilate = [2, 2, 2], reverse = [true, true, true]>
      dims <[b, 0, 1, 2, f]x[0, 1, 2, o, i]->[b, 0, 1, 2, f]>
      : (tensor<?x8x16x16x64xf32>, tensor<4x4x4x32x64xf32>) -> tensor<?x16x32x32x32xf32>
  return %y : tensor<?x16x32x32x32xf32>
}

// Depthwise with channels last: lanes hold neighbouring groups.
// CHECK-LABEL: @depthwise
// CHECK: plan <lanes = groups,
func.func @depthwise(%x: tensor<?x40x64xf32>, %w: tensor<3x1x64xf32>) -> tensor<?x38x64xf32> {
  %y = conv.convolution %x, %w window <rank = 1> dims <[b, 0, f]x[0, i, o]->[b, 0, f]>
      {feature_group_count = 64 : i64} : (tensor<?x40x64xf32>, tensor<3x1x64xf32>) -> tensor<?x38x64xf32>
  return %y : tensor<?x38x64xf32>
}

// Depthwise with channels first: neighbours in memory are pixels, not channels.
// CHECK-LABEL: @depthwise_channels_first
// CHECK: plan <lanes = pixels, width = 1,
func.func @depthwise_channels_first(%x: tensor<?x64x40xf32>, %w: tensor<3x1x64xf32>) -> tensor<?x64x38xf32> {
  %y = conv.convolution %x, %w window <rank = 1> dims <[b, f, 0]x[0, i, o]->[b, f, 0]>
      {feature_group_count = 64 : i64} : (tensor<?x64x40xf32>, tensor<3x1x64xf32>) -> tensor<?x64x38xf32>
  return %y : tensor<?x64x38xf32>
}

// Three output channels would leave most of a vector empty: input channels fill
// it.
// CHECK-LABEL: @few_channels
// AVX512: plan <lanes = reduction, width = 3, {{.*}} unroll = 16
// SSE: plan <lanes = reduction, width = 1, {{.*}} unroll = 4
func.func @few_channels(%x: tensor<?x40x64xf32>, %w: tensor<3x64x3xf32>) -> tensor<?x38x3xf32> {
  %y = conv.convolution %x, %w window <rank = 1> dims <[b, 0, f]x[0, i, o]->[b, 0, f]>
      : (tensor<?x40x64xf32>, tensor<3x64x3xf32>) -> tensor<?x38x3xf32>
  return %y : tensor<?x38x3xf32>
}

// Twenty phases with the same taps fill the lanes together, and leave one row
// of code.
// CHECK-LABEL: @many_phases
// AVX512: row = unrolled, chunks = {{[0-9]+}}, merged = 1
func.func @many_phases(%x: tensor<?x20x8xf32>, %w: tensor<40x8x8xf32>) -> tensor<?x362x8xf32> {
  %y = conv.convolution %x, %w window <rank = 1, pad = [[10, 10]], lhs_dilate = [20]> dims <[b, 0, f]x[0, i, o]->[b, 0, f]>
      : (tensor<?x20x8xf32>, tensor<40x8x8xf32>) -> tensor<?x362x8xf32>
  return %y : tensor<?x362x8xf32>
}

// One output channel and eight phases.
// CHECK-LABEL: @head
// AVX512: lanes = reduction, width = {{2|8}}, {{.*}} merged = {{1|3}}
func.func @head(%x: tensor<?x32x32x32x64xf32>, %w: tensor<4x4x4x1x64xf32>) -> tensor<?x64x64x64x1xf32> {
  %y = conv.convolution %x, %w
      window <rank = 3, pad = [[2, 2], [2, 2], [2, 2]], lhs_dilate = [2, 2, 2], reverse = [true, true, true]>
      dims <[b, 0, 1, 2, f]x[0, 1, 2, o, i]->[b, 0, 1, 2, f]>
      : (tensor<?x32x32x32x64xf32>, tensor<4x4x4x1x64xf32>) -> tensor<?x64x64x64x1xf32>
  return %y : tensor<?x64x64x64x1xf32>
}

// Of one input pixel, several images are a tile.
// CHECK-LABEL: @one_pixel
// CHECK: row = images
func.func @one_pixel(%x: tensor<?x1x200xf32>, %w: tensor<4x512x200xf32>) -> tensor<?x4x512xf32> {
  %y = conv.convolution %x, %w window <rank = 1, pad = [[3, 3]], reverse = [true]> dims <[b, 0, f]x[0, o, i]->[b, 0, f]>
      : (tensor<?x1x200xf32>, tensor<4x512x200xf32>) -> tensor<?x4x512xf32>
  return %y : tensor<?x4x512xf32>
}

// A weight's gradient: images are the layer's channels, and the window is the
// output's gradient.
// CHECK-LABEL: @weight_gradient
// AVX512: width = {{16|32}}, pixels = {{8|16}}, {{.*}} row = outer
// SSE: row = outer
func.func @weight_gradient(%x: tensor<1x32x?xf32>, %w: tensor<1x32x64xf32>) -> tensor<3x?x64xf32> {
  %y = conv.convolution %x, %w window <rank = 1, pad = [[1, 1]]> dims <[f, 0, b]x[i, 0, o]->[0, b, f]>
      : (tensor<1x32x?xf32>, tensor<1x32x64xf32>) -> tensor<3x?x64xf32>
  return %y : tensor<3x?x64xf32>
}

// The same with channels first.
// CHECK-LABEL: @weight_gradient_channels_first
// CHECK: row = outer
func.func @weight_gradient_channels_first(%x: tensor<1x?x32xf32>, %w: tensor<1x64x32xf32>) -> tensor<3x?x64xf32> {
  %y = conv.convolution %x, %w window <rank = 1, pad = [[1, 1]]> dims <[f, b, 0]x[i, o, 0]->[0, b, f]>
      : (tensor<1x?x32xf32>, tensor<1x64x32xf32>) -> tensor<3x?x64xf32>
  return %y : tensor<3x?x64xf32>
}

// And of a transposed layer, whose input has half the pixels: that is packed.
// CHECK-LABEL: @weight_gradient_transposed
// AVX512: lanes = images
func.func @weight_gradient_transposed(%x: tensor<1x?x512xf32>, %w: tensor<1x64x1024xf32>) -> tensor<2x64x?xf32> {
  %y = conv.convolution %x, %w window <rank = 1, pad = [[0, 2]], lhs_dilate = [2]> dims <[f, b, 0]x[i, o, 0]->[0, f, b]>
      : (tensor<1x?x512xf32>, tensor<1x64x1024xf32>) -> tensor<2x64x?xf32>
  return %y : tensor<2x64x?xf32>
}

// Of few images, which would fill as few lanes, the gradient of the output is.
// CHECK-LABEL: @weight_gradient_of_few_images
// AVX512: lanes = images
// FEW: lanes = channels, {{.*}} row = outer{{.*}} {conv.images = 3 : index}
// MANY: lanes = images{{.*}} {conv.images = 64 : index}
func.func @weight_gradient_of_few_images(%x: tensor<1x?x512xf32>, %w: tensor<1x32x1024xf32>) -> tensor<4x32x?xf32> {
  %y = conv.convolution %x, %w window <rank = 1, pad = [[1, 3]], lhs_dilate = [2]> dims <[f, b, 0]x[i, o, 0]->[0, f, b]>
      : (tensor<1x?x512xf32>, tensor<1x32x1024xf32>) -> tensor<4x32x?xf32>
  return %y : tensor<4x32x?xf32>
}

// A filter that fits the cache and an input that does not: rows outside.
// CHECK-LABEL: @large_input
// AVX512: order = input
func.func @large_input(%x: tensor<?x56x56x40x128xf32>, %w: tensor<2x2x2x64x128xf32>) -> tensor<?x112x112x80x64xf32> {
  %y = conv.convolution %x, %w
      window <rank = 3, pad = [[1, 1], [1, 1], [1, 1]], lhs_dilate = [2, 2, 2], reverse = [true, true, true]>
      dims <[b, 0, 1, 2, f]x[0, 1, 2, o, i]->[b, 0, 1, 2, f]>
      : (tensor<?x56x56x40x128xf32>, tensor<2x2x2x64x128xf32>) -> tensor<?x112x112x80x64xf32>
  return %y : tensor<?x112x112x80x64xf32>
}

// A plan that is there stays.
// CHECK-LABEL: @kept
// CHECK: plan <lanes = channels, width = 16, pixels = 3, unroll = 2, row = ranged, chunks = 5>
func.func @kept(%x: tensor<?x40x8xf32>, %w: tensor<3x8x16xf32>) -> tensor<?x38x16xf32> {
  %y = conv.convolution %x, %w window <rank = 1> dims <[b, 0, f]x[0, i, o]->[b, 0, f]>
      plan <lanes = channels, width = 16, pixels = 3, unroll = 2, row = ranged, chunks = 5>
      : (tensor<?x40x8xf32>, tensor<3x8x16xf32>) -> tensor<?x38x16xf32>
  return %y : tensor<?x38x16xf32>
}

// The weights of one phase stay in the second level while a batch goes by; those
// of all phases do not. `filter`, which is not printed, and not `block`.
// CHECK-LABEL: @batch_of_tiny_images
// MESH: plan <lanes = channels, {{.*}} merged = 1, prefetch = filter>
func.func @batch_of_tiny_images(%x: tensor<?x4x4x512xf32>, %w: tensor<4x4x256x512xf32>) -> tensor<?x8x8x256xf32> {
  %y = conv.convolution %x, %w
      window <rank = 2, pad = [[2, 2], [2, 2]], lhs_dilate = [2, 2], reverse = [true, true]>
      dims <[b, 0, 1, f]x[0, 1, o, i]->[b, 0, 1, f]>
      : (tensor<?x4x4x512xf32>, tensor<4x4x256x512xf32>) -> tensor<?x8x8x256xf32>
  return %y : tensor<?x8x8x256xf32>
}

// Four output channels share the lanes with four pixels, or with two where
// vectors of 8 are as fast.
// CHECK-LABEL: @few_to_few
// MESH: plan <lanes = channels, width = 16, {{.*}} merged = 1, {{.*}}fold = 4
// AVX512: plan <lanes = channels, width = 8, {{.*}} merged = 1, {{.*}}fold = 2
func.func @few_to_few(%x: tensor<?x64x64x64x4xf32>, %w: tensor<3x3x3x4x4xf32>) -> tensor<?x62x62x62x4xf32> {
  %y = conv.convolution %x, %w window <rank = 3> dims <[b, 0, 1, 2, f]x[0, 1, 2, i, o]->[b, 0, 1, 2, f]>
      : (tensor<?x64x64x64x4xf32>, tensor<3x3x3x4x4xf32>) -> tensor<?x62x62x62x4xf32>
  return %y : tensor<?x62x62x62x4xf32>
}

// A shuffle for each pixel is shared by as many channels as registers allow,
// and no sum of a tile lives in memory.
// CHECK-LABEL: @many_channels
// SHUFFLES: plan <lanes = channels, width = 16, pixels = 2,
func.func @many_channels(%x: tensor<?x16x16x16x64xf32>, %w: tensor<3x3x3x64x64xf32>) -> tensor<?x14x14x14x64xf32> {
  %y = conv.convolution %x, %w window <rank = 3> dims <[b, 0, 1, 2, f]x[0, 1, 2, i, o]->[b, 0, 1, 2, f]>
      : (tensor<?x16x16x16x64xf32>, tensor<3x3x3x64x64xf32>) -> tensor<?x14x14x14x64xf32>
  return %y : tensor<?x14x14x14x64xf32>
}

// 16 of 96 channels are half of what comes to the first level at a time.
// CHECK-LABEL: @wide_depthwise
// MESH: plan <lanes = groups, width = 32,
// AVX512: plan <lanes = groups, width = {{16|48}},
func.func @wide_depthwise(%x: tensor<?x58x58x96xf32>, %w: tensor<3x3x1x96xf32>) -> tensor<?x56x56x96xf32> {
  %y = conv.convolution %x, %w window <rank = 2> dims <[b, 0, 1, f]x[0, 1, i, o]->[b, 0, 1, f]>
      {feature_group_count = 96 : i64} : (tensor<?x58x58x96xf32>, tensor<3x3x1x96xf32>) -> tensor<?x56x56x96xf32>
  return %y : tensor<?x56x56x96xf32>
}

// Weights of 75 MB stream from the third level, which a mesh does not hide. An
// input of 1 MB comes from there in time, of many images from memory.
// CHECK-LABEL: func.func @streams(
// MESH: prefetch = both>
// AVX512: plan <lanes = channels, {{.*}} order = block, prefetch = input>
func.func @streams(%x: tensor<?x9x9x4096xf32>, %w: tensor<3x3x4096x512xf32>) -> tensor<?x7x7x512xf32> {
  %y = conv.convolution %x, %w window <rank = 2> dims <[b, 0, 1, f]x[0, 1, i, o]->[b, 0, 1, f]>
      : (tensor<?x9x9x4096xf32>, tensor<3x3x4096x512xf32>) -> tensor<?x7x7x512xf32>
  return %y : tensor<?x7x7x512xf32>
}

// Of 4 by 4 taps 2 by 1 lie inside: a tile's weights are 0.5 MB, not 4, and stay
// near for the next row.
// CHECK-LABEL: func.func @taps_outside(
// MESH: plan <lanes = channels, width = 64, pixels = 2,
func.func @taps_outside(%x: tensor<?x4x2x1024xf32>, %w: tensor<4x4x1024x512xf32>) -> tensor<?x4x2x512xf32> {
  %y = conv.convolution %x, %w
      window <rank = 2, pad = [[3, 3], [3, 3]], rhs_dilate = [2, 2]>
      dims <[b, 0, 1, f]x[0, 1, i, o]->[b, 0, 1, f]>
      : (tensor<?x4x2x1024xf32>, tensor<4x4x1024x512xf32>) -> tensor<?x4x2x512xf32>
  return %y : tensor<?x4x2x512xf32>
}

// Blocks of 108 channels share lines of the output: fewer, wider ones on a mesh.
// CHECK-LABEL: func.func @shared_lines(
// MESH: plan <lanes = channels, width = 64, pixels = 4,
func.func @shared_lines(%x: tensor<?x12544x48xf32>, %w: tensor<1x48x108xf32>) -> tensor<?x12544x108xf32> {
  %y = conv.convolution %x, %w window <rank = 1> dims <[b, 0, f]x[0, i, o]->[b, 0, f]>
      : (tensor<?x12544x48xf32>, tensor<1x48x108xf32>) -> tensor<?x12544x108xf32>
  return %y : tensor<?x12544x108xf32>
}

// From memory it does not see them in time.
// CHECK-LABEL: func.func @from_memory(
// MESH: prefetch = input>
// AVX512: prefetch = input>
func.func @from_memory(%x: tensor<?x260x260x32xf32>, %w: tensor<3x3x32x2xf32>) -> tensor<?x258x258x2xf32> {
  %y = conv.convolution %x, %w window <rank = 2> dims <[b, 0, 1, f]x[0, 1, i, o]->[b, 0, 1, f]>
      : (tensor<?x260x260x32xf32>, tensor<3x3x32x2xf32>) -> tensor<?x258x258x2xf32>
  return %y : tensor<?x258x258x2xf32>
}

// A small image and few weights: neither is asked for ahead.
// CHECK-LABEL: func.func @near(
// MESH-NOT: prefetch
func.func @near(%x: tensor<?x9x9x64xf32>, %w: tensor<3x3x64x64xf32>) -> tensor<?x7x7x64xf32> {
  %y = conv.convolution %x, %w window <rank = 2> dims <[b, 0, 1, f]x[0, 1, i, o]->[b, 0, 1, f]>
      : (tensor<?x9x9x64xf32>, tensor<3x3x64x64xf32>) -> tensor<?x7x7x64xf32>
  return %y : tensor<?x7x7x64xf32>
}

// Rows of one pixel leave a tile one sum for each vector of weights; images of a
// batch share them.
// CHECK-LABEL: func.func @short_rows(
// AVX512: plan <lanes = channels, width = 32, {{.*}} row = images, {{.*}} order = batch>
func.func @short_rows(%x: tensor<?x9x9x5x512xf32>, %w: tensor<5x5x5x512x160xf32>) -> tensor<?x3x3x1x160xf32> {
  %y = conv.convolution %x, %w window <rank = 3, stride = [2, 2, 2]> dims <[b, 0, 1, 2, f]x[0, 1, 2, i, o]->[b, 0, 1, 2, f]>
      : (tensor<?x9x9x5x512xf32>, tensor<5x5x5x512x160xf32>) -> tensor<?x3x3x1x160xf32>
  return %y : tensor<?x3x3x1x160xf32>
}
