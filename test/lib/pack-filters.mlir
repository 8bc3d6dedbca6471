// RUN: convjit-opt %s --conv-split-phases --conv-pack-filters | FileCheck %s
// RUN: convjit-opt %s --conv-split-phases --conv-pack-filters --conv-to-linalg | FileCheck %s --check-prefix=LOOPS

// 20 output channels in blocks of 16: two blocks, the second padded.
// CHECK-LABEL: func.func @layer(
// CHECK-SAME: memref<2x3x8x16xf32> {conv.operand = "filter"}
// CHECK: conv.phases {{.*}} packed
// CHECK: func.func @layer_pack(%[[W:.*]]: memref<3x20x8xf32>, %[[P:.*]]: memref<2x3x8x16xf32>)
// CHECK: conv.pack_filter %[[W]] into %[[P]]
// CHECK-SAME: reversal = array<i1: true>

// The window is reversed while packing, and lanes past channel 20 are zero. Each
// lane's 8 input channels follow each other: a run. Blocks of four lanes are
// transposed. An item is a run of one block and tap; part i of n packs items
// [6 i / n, 6 (i + 1) / n).
// LOOPS-LABEL: func.func @layer_pack(
// LOOPS-SAME: %[[PART:[a-z0-9]*]]: index, %[[PARTS:[a-z0-9]*]]: index)
// LOOPS-DAG: %[[FLAT:.*]] = memref.collapse_shape %{{.*}} {{.*}} : memref<3x20x8xf32> into memref<480xf32>
// LOOPS-DAG: arith.divui %{{.*}}, %[[PARTS]]
// LOOPS: scf.for
// LOOPS: %[[LAST:.*]] = arith.cmpi eq, %{{.*}}, %c1
// LOOPS: arith.select %[[LAST]], %c4{{.*}}, %c16
// LOOPS: scf.for {{.*}} step %c4
// LOOPS-COUNT-4: vector.load %[[FLAT]][{{.*}}] : memref<480xf32>, vector<8xf32>
// LOOPS-COUNT-8: vector.shuffle
// LOOPS-COUNT-8: vector.store {{.*}} : memref<768xf32>, vector<4xf32>
// LOOPS-NOT: vector.
// LOOPS: scf.for
// LOOPS-COUNT-8: memref.store %cst
func.func @layer(%x: tensor<?x16x8xf32>, %w: tensor<3x20x8xf32>) -> tensor<?x32x20xf32> {
  %y = conv.convolution %x, %w window <rank = 1, pad = [[2, 1]], lhs_dilate = [2], reverse = [true]>
      dims <[b, 0, f]x[0, o, i]->[b, 0, f]>
      plan <lanes = channels, width = 16, pixels = 8, unroll = 4, row = unrolled, chunks = 1>
      : (tensor<?x16x8xf32>, tensor<3x20x8xf32>) -> tensor<?x32x20xf32>
  return %y : tensor<?x32x20xf32>
}

// Lanes follow each other in the filter: rows of 16 and of 4 are copied.
// LOOPS-LABEL: func.func @copied_pack(
// LOOPS: scf.for
// LOOPS: arith.cmpi eq
// LOOPS: vector.load {{.*}} : memref<480xf32>, vector<16xf32>
// LOOPS: vector.store {{.*}} : memref<768xf32>, vector<16xf32>
// LOOPS: arith.cmpi eq
// LOOPS: vector.load {{.*}} : memref<480xf32>, vector<4xf32>
// LOOPS: vector.store {{.*}} : memref<768xf32>, vector<4xf32>
func.func @copied(%x: tensor<?x16x8xf32>, %w: tensor<3x8x20xf32>) -> tensor<?x32x20xf32> {
  %y = conv.convolution %x, %w window <rank = 1, pad = [[2, 1]], lhs_dilate = [2], reverse = [true]>
      dims <[b, 0, f]x[0, i, o]->[b, 0, f]>
      plan <lanes = channels, width = 16, pixels = 8, unroll = 4, row = unrolled, chunks = 1>
      : (tensor<?x16x8xf32>, tensor<3x8x20xf32>) -> tensor<?x32x20xf32>
  return %y : tensor<?x32x20xf32>
}

// Taps last: a run is all 9 of an input channel, of 16 lanes at a time, whose lines
// it writes as a whole. The first element of the filter is the last tap: the window
// is reversed.
// LOOPS-LABEL: func.func @taps_last_pack(
// LOOPS: scf.for
// LOOPS: vector.load {{.*}} : memref<1152xf32>, vector<8xf32>
// LOOPS: vector.load {{.*}} : memref<1152xf32>, vector<1xf32>
// LOOPS-COUNT-36: vector.store {{.*}} : memref<1152xf32>, vector<4xf32>
// LOOPS-NOT: vector.store
// LOOPS-NOT: memref.load
func.func @taps_last(%x: tensor<?x8x16x8xf32>, %w: tensor<16x8x3x3xf32>) -> tensor<?x8x16x16xf32> {
  %y = conv.convolution %x, %w window <rank = 2, pad = [[1, 1], [1, 1]], reverse = [true, true]>
      dims <[b, 0, 1, f]x[o, i, 0, 1]->[b, 0, 1, f]>
      plan <lanes = channels, width = 16, pixels = 8, unroll = 4, row = unrolled, chunks = 1>
      : (tensor<?x8x16x8xf32>, tensor<16x8x3x3xf32>) -> tensor<?x8x16x16xf32>
  return %y : tensor<?x8x16x16xf32>
}

// 50 input channels: a run of 32, and one of the 18 that are left.
// LOOPS-LABEL: func.func @cut_pack(
// LOOPS: arith.cmpi sle
// LOOPS: scf.if
// LOOPS: vector.load {{.*}}, vector<16xf32>
// LOOPS: } else {
// LOOPS: vector.load {{.*}}, vector<16xf32>
// LOOPS: vector.load {{.*}}, vector<2xf32>
// LOOPS-NOT: memref.load
func.func @cut(%x: tensor<?x16x50xf32>, %w: tensor<3x16x50xf32>) -> tensor<?x16x16xf32> {
  %y = conv.convolution %x, %w window <rank = 1, pad = [[1, 1]]>
      dims <[b, 0, f]x[0, o, i]->[b, 0, f]>
      plan <lanes = channels, width = 16, pixels = 8, unroll = 4, row = unrolled, chunks = 1>
      : (tensor<?x16x50xf32>, tensor<3x16x50xf32>) -> tensor<?x16x16xf32>
  return %y : tensor<?x16x16xf32>
}

// Phases in the lanes and taps last: lane after lane.
// LOOPS-LABEL: func.func @elements_pack(
// LOOPS-NOT: vector.
// LOOPS: scf.for
// LOOPS: scf.for
// LOOPS: memref.load
// LOOPS: memref.store
func.func @elements(%x: tensor<?x16x8xf32>, %w: tensor<8x8x4xf32>) -> tensor<?x32x8xf32> {
  %y = conv.convolution %x, %w window <rank = 1, pad = [[2, 2]], lhs_dilate = [2], reverse = [true]>
      dims <[b, 0, f]x[o, i, 0]->[b, 0, f]>
      plan <lanes = channels, width = 16, pixels = 5, unroll = 1, row = unrolled, chunks = 1, merged = 1>
      : (tensor<?x16x8xf32>, tensor<8x8x4xf32>) -> tensor<?x32x8xf32>
  return %y : tensor<?x32x8xf32>
}
