// RUN: convjit-opt %s --conv-split-phases --conv-pack-filters | FileCheck %s
// RUN: convjit-opt %s --conv-split-phases --conv-pack-filters --conv-to-linalg | FileCheck %s --check-prefix=LOOPS

// 20 output channels in blocks of 16: two blocks, the second padded.
// CHECK-LABEL: func.func @layer(
// CHECK-SAME: memref<2x3x8x16xf32> {conv.operand = "filter"}
// CHECK: conv.phases {{.*}} packed
// CHECK: func.func @layer_pack(%[[W:.*]]: memref<3x20x8xf32>, %[[P:.*]]: memref<2x3x8x16xf32>)
// CHECK: conv.pack_filter %[[W]] into %[[P]]
// CHECK-SAME: reversal = array<i1: true>

// The window is reversed while packing, and lanes past channel 20 are zero.
// LOOPS-LABEL: func.func @layer_pack(
// LOOPS-DAG: %[[C2:.*]] = arith.constant 2 : index
// LOOPS: arith.cmpi slt
// LOOPS: arith.subi
// LOOPS: scf.if
// LOOPS: memref.load
// LOOPS: memref.store
// LOOPS: else
// LOOPS: memref.store %{{.*}}cst
func.func @layer(%x: tensor<?x16x8xf32>, %w: tensor<3x20x8xf32>) -> tensor<?x32x20xf32> {
  %y = conv.convolution %x, %w window <rank = 1, pad = [[2, 1]], lhs_dilate = [2], reverse = [true]>
      dims <[b, 0, f]x[0, o, i]->[b, 0, f]>
      plan <lanes = channels, width = 16, pixels = 8, unroll = 4, row = unrolled, chunks = 1>
      : (tensor<?x16x8xf32>, tensor<3x20x8xf32>) -> tensor<?x32x20xf32>
  return %y : tensor<?x32x20xf32>
}
