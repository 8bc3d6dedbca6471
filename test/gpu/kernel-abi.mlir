// RUN: convjit-opt %s --split-input-file --verify-diagnostics --conv-gpu-kernel-abi=symbol-prefix=net | FileCheck %s

module attributes {gpu.container_module} {
  gpu.module @convjit {
    // A pointer for each buffer in turn, then the batch. All are aligned and apart;
    // what is only read says so.
    // CHECK: gpu.func @net_kernel(
    // CHECK-SAME: %[[X:[^:]+]]: !llvm.ptr {llvm.align = 16 : i64, llvm.noalias, llvm.readonly},
    // CHECK-SAME: %[[W:[^:]+]]: !llvm.ptr {llvm.align = 16 : i64, llvm.noalias, llvm.readonly},
    // CHECK-SAME: %[[Y:[^:]+]]: !llvm.ptr {llvm.align = 16 : i64, llvm.noalias},
    // CHECK-SAME: %[[BATCH:[^:]+]]: i64) kernel
    // CHECK-SAME: conv.operands = ["input", "packed", "output", "batch"]
    // Of two batch groups the output has half the images.
    // CHECK: %[[N:.*]] = arith.index_cast %[[BATCH]] : i64 to index
    // CHECK: %[[IMAGES:.*]] = arith.divui %[[N]], %{{.*}} : index
    // CHECK: llvm.insertvalue %[[X]],
    // CHECK: memref.reinterpret_cast {{.*}} sizes: [%[[N]], 64, 8], strides: [512, 8, 1]
    // CHECK: memref.reinterpret_cast {{.*}} sizes: [2, 3, 8, 16], strides: [384, 128, 16, 1]
    // CHECK: memref.reinterpret_cast {{.*}} sizes: [%[[IMAGES]], 62, 32], strides: [1984, 32, 1]
    gpu.func @kernel(%x: memref<?x64x8xf32> {conv.operand = "input"}, %w: memref<2x3x8x16xf32> {conv.operand = "packed"},
                     %y: memref<?x62x32xf32> {conv.operand = "output"}) kernel
        attributes {conv.batch_group_count = 2 : i64} {
      %c0 = arith.constant 0 : index
      %0 = memref.load %x[%c0, %c0, %c0] : memref<?x64x8xf32>
      %1 = memref.load %w[%c0, %c0, %c0, %c0] : memref<2x3x8x16xf32>
      %2 = arith.mulf %0, %1 : f32
      memref.store %2, %y[%c0, %c0, %c0] : memref<?x62x32xf32>
      gpu.return
    }
    // Images that are not outermost: strides depend on their number. Scratch has
    // as many times them as there are parts, and is written.
    // CHECK: gpu.func @net_add(
    // CHECK-SAME: %{{[^:]+}}: !llvm.ptr {llvm.align = 16 : i64, llvm.noalias},
    // CHECK-SAME: %{{[^:]+}}: !llvm.ptr {llvm.align = 16 : i64, llvm.noalias},
    // CHECK-SAME: %[[BATCH:[^:]+]]: i64)
    // CHECK: %[[N:.*]] = arith.index_cast %[[BATCH]] : i64 to index
    // CHECK: %[[ROW:.*]] = arith.muli %[[N]], %c16
    // CHECK: memref.reinterpret_cast {{.*}} sizes: [7, %[[N]], 16], strides: [%[[ROW]], 16, 1]
    // CHECK: %[[PARTS:.*]] = arith.muli %[[N]], %c3
    // CHECK: memref.reinterpret_cast {{.*}} sizes: [7, %[[PARTS]], 16]
    gpu.func @add(%y: memref<7x?x16xf32> {conv.operand = "output"}, %s: memref<7x?x16xf32> {conv.images = 3 : i64, conv.operand = "scratch"}) kernel
        attributes {conv.batch_group_count = 1 : i64} {
      %c0 = arith.constant 0 : index
      %0 = memref.load %s[%c0, %c0, %c0] : memref<7x?x16xf32>
      memref.store %0, %y[%c0, %c0, %c0] : memref<7x?x16xf32>
      gpu.return
    }
    // All scratch is behind one pointer: what the input was packed to is at its begin, the
    // sums a number of bytes for each image behind it.
    // CHECK: gpu.func @net_parts(
    // CHECK-SAME: %[[S:[^:]+]]: !llvm.ptr {llvm.align = 16 : i64, llvm.noalias},
    // CHECK-SAME: %[[BATCH:[^:]+]]: i64)
    // CHECK-SAME: conv.operands = ["scratch", "batch"]
    // CHECK: %[[N:.*]] = arith.index_cast %[[BATCH]] : i64 to index
    // CHECK: memref.reinterpret_cast {{.*}} sizes: [%[[N]], 8]
    // CHECK: %[[OFFSET:.*]] = arith.muli %[[N]], %c64
    // CHECK: %[[BYTES:.*]] = arith.index_cast %[[OFFSET]] : index to i64
    // CHECK: %[[BEHIND:.*]] = llvm.getelementptr %[[S]][%[[BYTES]]]
    // CHECK: llvm.insertvalue %[[BEHIND]]
    gpu.func @parts(%p: memref<?x8xf32> {conv.images = 1 : i64, conv.operand = "packed_input"},
                    %s: memref<?x16xf32> {conv.images = 2 : i64, conv.offset = 64 : i64, conv.operand = "scratch"}) kernel
        attributes {conv.batch_group_count = 1 : i64} {
      %c0 = arith.constant 0 : index
      %0 = memref.load %p[%c0, %c0] : memref<?x8xf32>
      memref.store %0, %s[%c0, %c0] : memref<?x16xf32>
      gpu.return
    }
    // What is packed is only read where there are no sums.
    // CHECK: gpu.func @net_reads(
    // CHECK-SAME: %{{[^:]+}}: !llvm.ptr {llvm.align = 16 : i64, llvm.noalias, llvm.readonly},
    // CHECK-SAME: conv.operands = ["scratch", "batch"]
    gpu.func @reads(%p: memref<?x8xf32> {conv.images = 1 : i64, conv.operand = "packed_input"}) kernel
        attributes {conv.batch_group_count = 1 : i64} {
      gpu.return
    }
    // Packing knows no batch, and writes what is packed.
    // CHECK: gpu.func @net_pack(
    // CHECK-SAME: %{{[^:]+}}: !llvm.ptr {llvm.align = 16 : i64, llvm.noalias, llvm.readonly},
    // CHECK-SAME: %{{[^:]+}}: !llvm.ptr {llvm.align = 16 : i64, llvm.noalias})
    // CHECK-SAME: conv.operands = ["filter", "packed"]
    gpu.func @pack(%w: memref<16x8xf32> {conv.operand = "filter"}, %p: memref<8x16xf32> {conv.operand = "packed"}) kernel {
      gpu.return
    }
  }
  // The runtime launches by a descriptor.
  // CHECK-NOT: func.func
  func.func @layer() {
    return
  }
}

// -----

module attributes {gpu.container_module} {
  gpu.module @convjit {
    // expected-error @+1 {{valid: buffers that are named operands}}
    gpu.func @kernel(%n: i64) kernel {
      gpu.return
    }
  }
}
