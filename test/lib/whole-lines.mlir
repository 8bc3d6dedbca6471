// RUN: convjit-opt %s --conv-split-phases --conv-pack-filters --conv-tile --conv-to-linalg --conv-vectorize | FileCheck %s
// RUN: convjit-opt %s --conv-split-phases --conv-pack-filters --conv-tile --conv-to-linalg --conv-vectorize --conv-kernel-abi | FileCheck %s --check-prefix=ABI

// An image of 1 MiB whose pixels are whole lines: a call that writes 4 MiB to
// an aligned output stores past the cache.
// CHECK-LABEL: func.func @large(
// CHECK-DAG: memref.extract_aligned_pointer_as_index
// CHECK-DAG: arith.constant 4194304 : index
// CHECK: scf.if
// CHECK: vector.store {{.*}} {alignment = 64 : i64, nontemporal = true}
// CHECK: } else {
// CHECK: vector.store
// CHECK-NOT: nontemporal
// CHECK: }
// What follows the kernel is ordered after those stores.
// ABI: llvm.fence seq_cst
func.func @large(%x: tensor<?x16384x8xf32>, %w: tensor<1x16x8xf32>) -> tensor<?x16384x16xf32> {
  %y = conv.convolution %x, %w window <rank = 1> dims <[b, 0, f]x[0, o, i]->[b, 0, f]>
      plan <lanes = channels, width = 16, pixels = 1, unroll = 1, row = unrolled, chunks = 1>
      : (tensor<?x16384x8xf32>, tensor<1x16x8xf32>) -> tensor<?x16384x16xf32>
  return %y : tensor<?x16384x16xf32>
}
