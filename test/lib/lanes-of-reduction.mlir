// RUN: convjit-opt %s --conv-split-phases --conv-pack-filters --conv-tile --split-input-file | FileCheck %s
// RUN: convjit-opt %s --conv-split-phases --conv-pack-filters --conv-tile --conv-to-linalg --split-input-file | FileCheck %s --check-prefix=LINALG
// RUN: convjit-opt %s --conv-split-phases --conv-pack-filters --conv-tile --conv-to-linalg --conv-vectorize --split-input-file | FileCheck %s --check-prefix=VECTOR

#d = #conv.dims<[b, 0, f]x[0, i, o]->[b, 0, f]>

// One output channel: each pixel has a vector of 4 partial sums. Of 6 input
// channels the last two come by a masked load, and meet weights that are zero.
// CHECK-LABEL: func.func @one(
// CHECK-SAME: memref<1x3x1x8xf32> {conv.operand = "filter"}
// CHECK: conv.tile {{.*}} lanes = 3 : i32
// CHECK-SAME: reduction = 6
// CHECK: conv.pack_filter {{.*}} lanes = 3 : i32
// LINALG-LABEL: func.func @one(
// LINALG-DAG: %[[SUMS:.*]] = memref.alloca() : memref<4x1x4xf32>
// LINALG-DAG: %[[OUTPUTS:.*]] = memref.alloca() : memref<1x4xf32>
// LINALG: linalg.generic {{.*}}iterator_types = ["parallel", "parallel", "parallel", "reduction"]
// LINALG: linalg.generic {{.*}}iterator_types = ["parallel", "parallel", "reduction"]} ins(%[[SUMS]] : memref<4x1x4xf32>) outs(%[[OUTPUTS]] : memref<1x4xf32>)
// Three taps by four pixels read six input vectors, twice: 4 channels, then 2.
// The code generator keeps their order.
// VECTOR-LABEL: func.func @one(
// VECTOR-SAME: passthrough = ["convjit-as-written"]
// VECTOR-COUNT-12: vector.fma {{.*}} : vector<4xf32>
// VECTOR: vector.maskedload
// VECTOR-COUNT-12: vector.fma {{.*}} : vector<4xf32>
// The sums of four vectors: a tree of two levels, in each of which half of the
// lanes stay where they are.
// VECTOR: vector.shuffle {{.*}} [0, 1, 6, 7]
// VECTOR: vector.shuffle {{.*}} [2, 3, 4, 5]
// VECTOR: arith.addf
// VECTOR: arith.addf
// VECTOR: vector.shuffle {{.*}} [0, 5, 2, 7]
// VECTOR: vector.shuffle {{.*}} [1, 4, 3, 6]
// VECTOR: %[[SUM:.*]] = arith.addf
// VECTOR: vector.store %[[SUM]]
// VECTOR-LABEL: func.func @one_pack
func.func @one(%x: tensor<?x10x6xf32>, %w: tensor<3x6x1xf32>) -> tensor<?x8x1xf32> {
  %y = conv.convolution %x, %w window <rank = 1> dims #d
      plan <lanes = reduction, width = 1, pixels = 4, unroll = 4, row = unrolled, chunks = 1>
      : (tensor<?x10x6xf32>, tensor<3x6x1xf32>) -> tensor<?x8x1xf32>
  return %y : tensor<?x8x1xf32>
}

// -----

#d = #conv.dims<[b, 0, f]x[0, o, i]->[b, 0, f]>

// k 3, s 2, phases merged: of the two phases, one has two taps and one has one.
// An interior tile of two pixels has six FMAs, none of them masked.
// CHECK-LABEL: func.func @merged(
// CHECK-SAME: memref<1x2x2x8xf32> {conv.operand = "filter"}
// LINALG-LABEL: func.func @merged(
// LINALG: scf.for
// LINALG: conv.active = array<i1: true, false, true, true>
// VECTOR-LABEL: func.func @merged(
// VECTOR: scf.for
// VECTOR: scf.for
// VECTOR-COUNT-6: vector.fma {{.*}} : vector<8xf32>
// VECTOR-NOT: vector.fma
// VECTOR-NOT: arith.select
// VECTOR: vector.shuffle
func.func @merged(%x: tensor<?x7x8xf32>, %w: tensor<3x1x8xf32>) -> tensor<?x14x1xf32> {
  %y = conv.convolution %x, %w window <rank = 1, pad = [[2, 1]], lhs_dilate = [2], reverse = [true]> dims #d
      plan <lanes = reduction, width = 2, pixels = 2, unroll = 8, row = unrolled, chunks = 1, merged = 1>
      : (tensor<?x7x8xf32>, tensor<3x1x8xf32>) -> tensor<?x14x1xf32>
  return %y : tensor<?x14x1xf32>
}
