// Buffers become fields of the runtime's argument block.
// RUN: convjit-opt %s --conv-plan --conv-split-phases --conv-pack-filters --conv-kernel-abi=symbol-prefix=abc | FileCheck %s
// RUN: convjit-opt %s --conv-plan --conv-split-phases --conv-pack-filters --conv-tile --conv-to-linalg --conv-kernel-abi=symbol-prefix=abc | FileCheck %s --check-prefix=PARTS

// Fields: input, filter, bias, residual, output, scratch, batch. With two batch
// groups the output has half of the input's images.
// CHECK-LABEL: func.func @abc_kernel(
// CHECK-SAME: %[[ARGS:.*]]: !llvm.ptr, %[[FIRST:.*]]: i64, %[[LAST:.*]]: i64)
// CHECK: %[[AT:.*]] = llvm.getelementptr %[[ARGS]][6]
// CHECK: %[[BATCH:.*]] = llvm.load %[[AT]]
// CHECK: %[[IMAGES:.*]] = llvm.udiv %[[BATCH]]
// CHECK: llvm.getelementptr %[[ARGS]][0]
// CHECK: llvm.getelementptr %[[ARGS]][1]
// CHECK: llvm.getelementptr %[[ARGS]][2]
// CHECK-NOT: llvm.getelementptr %[[ARGS]][3]
// CHECK: llvm.getelementptr %[[ARGS]][4]
// The output is (channels, batch, pixels): its first stride depends on the batch.
// CHECK: %[[STRIDE:.*]] = llvm.mul %[[IMAGES]]
// CHECK: llvm.insertvalue %[[STRIDE]], %{{.*}}[4, 0]
// CHECK: builtin.unrealized_conversion_cast {{.*}} to memref<4x?x9xf32>
// CHECK: arith.index_cast %[[FIRST]] : i64 to index
// CHECK: arith.index_cast %[[LAST]] : i64 to index
// CHECK: conv.phases
// CHECK-LABEL: func.func @abc_pack(
// CHECK-SAME: !llvm.ptr, %{{.*}}: !llvm.ptr)
// CHECK: conv.pack_filter
// Once that is loops, there is a function for each part, and one for the whole.
// PARTS: func.func @abc_pack_part(
// PARTS-SAME: !llvm.ptr, %{{.*}}: !llvm.ptr, %{{.*}}: i64, %{{.*}}: i64)
// PARTS: func.func @abc_pack(%[[W:.*]]: !llvm.ptr, %[[P:.*]]: !llvm.ptr)
// PARTS: %[[PART:.*]] = llvm.mlir.constant(0 : i64)
// PARTS: %[[OF:.*]] = llvm.mlir.constant(1 : i64)
// PARTS: call @abc_pack_part(%[[W]], %[[P]], %[[PART]], %[[OF]])
func.func @layer(%x: tensor<?x8x9xf32>, %w: tensor<1x8x4xf32>, %b: tensor<4xf32>) -> tensor<4x?x9xf32> {
  %y = conv.convolution %x, %w bias(%b) window <rank = 1> dims <[b, f, 0]x[0, i, o]->[f, b, 0]>
      {batch_group_count = 2 : i64} : (tensor<?x8x9xf32>, tensor<1x8x4xf32>, tensor<4xf32>) -> tensor<4x?x9xf32>
  return %y : tensor<4x?x9xf32>
}
