// From a tile to FMAs, in two steps.
// RUN: convjit-opt %s --conv-split-phases --conv-pack-filters --conv-tile --conv-to-linalg --canonicalize --cse | FileCheck %s --check-prefix=LINALG
// RUN: convjit-opt %s --conv-split-phases --conv-pack-filters --conv-tile --conv-to-linalg --conv-vectorize --canonicalize --cse | FileCheck %s --check-prefix=VECTOR

// LINALG-LABEL: func.func @layer(
// LINALG: %[[ACC:.*]] = memref.alloca() : memref<4x16xf32>
// LINALG: linalg.fill ins(%{{.*}} : f32) outs(%[[ACC]] : memref<4x16xf32>)
// LINALG: scf.for {{.*}} step %c4
// LINALG: linalg.generic {{.*}} iterator_types = ["parallel", "parallel", "reduction"]} ins(%{{.*}}, %{{.*}} : memref<4x4xf32, strided<[32, 1], offset: ?>>, memref<4x16xf32, strided<[16, 1], offset: ?>>) outs(%[[ACC]]
// LINALG: linalg.generic {{.*}} iterator_types = ["parallel", "parallel"]} ins(%[[ACC]], %{{.*}} : memref<4x16xf32>, memref<16xf32{{.*}}>) outs(%{{.*}} : memref<4x16xf32, strided<[16, 1], offset: ?>>)
// LINALG: arith.addf
// LINALG: arith.cmpf olt
// LINALG: arith.select

// Accumulators are iteration arguments; no accumulator buffer is left.
// VECTOR-LABEL: func.func @layer(
// VECTOR-NOT: memref.alloca
// VECTOR: %[[SUM:.*]]:4 = scf.for {{.*}} -> (vector<16xf32>, vector<16xf32>, vector<16xf32>, vector<16xf32>)
// VECTOR: vector.load {{.*}} vector<16xf32>
// VECTOR: memref.load
// VECTOR: vector.broadcast
// 4 pixels by 4 channels, one row of weights a channel.
// VECTOR-COUNT-16: vector.fma
// VECTOR-NOT: vector.fma
// VECTOR: scf.yield
// The epilogue runs on the registers, then one store a pixel.
// VECTOR: %[[BIAS:.*]] = vector.load
// VECTOR: arith.addf %[[SUM]]#0, %[[BIAS]] : vector<16xf32>
// VECTOR: arith.select
// VECTOR: vector.store
// VECTOR-COUNT-3: vector.store
// VECTOR-NOT: vector.store
// VECTOR: return
func.func @layer(%x: tensor<?x4x32xf32>, %w: tensor<1x16x32xf32>, %b: tensor<16xf32>) -> tensor<?x4x16xf32> {
  %y = conv.convolution %x, %w bias(%b) window <rank = 1> dims <[b, 0, f]x[0, o, i]->[b, 0, f]>
      plan <lanes = channels, width = 16, pixels = 4, unroll = 4, row = unrolled, chunks = 1>
      {epilogue = #conv.epilogue<relu>}
      : (tensor<?x4x32xf32>, tensor<1x16x32xf32>, tensor<16xf32>) -> tensor<?x4x16xf32>
  return %y : tensor<?x4x16xf32>
}
