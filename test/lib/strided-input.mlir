// An input that is part of a larger array: input_strides are the elements from
// one index of each of its axes to the next.
// RUN: convjit-opt %s --conv-split-phases | FileCheck %s --check-prefix=SPLIT
// RUN: convjit-opt %s --conv-split-phases --conv-pack-filters --conv-tile --conv-to-linalg | FileCheck %s --check-prefix=LINALG
// RUN: convjit-opt %s --conv-split-phases --conv-pack-filters --conv-kernel-abi=symbol-prefix=abc | FileCheck %s --check-prefix=ABI

// Half of the channels of every second pixel. The buffer has the shape of the
// part, and its strides; the output has none.
// SPLIT-LABEL: func.func @part(
// SPLIT-SAME: memref<?x9x7x8xf32, strided<[2304, 288, 32, 1]>> {conv.operand = "input"}
// SPLIT-SAME: memref<?x9x7x6xf32> {conv.operand = "output"}
// SPLIT: conv.phases
// SPLIT-SAME: <input = 9, output = 9,
// SPLIT-SAME: <input = 7, output = 7,
// Rows and pixels are found by the strides; one tap at a time, since the taps of
// a row do not follow each other.
// LINALG-LABEL: func.func @part(
// LINALG: memref.reinterpret_cast %{{.*}} sizes: [4, 8], strides: [32, 1] : memref<?x9x7x8xf32, strided<[2304, 288, 32, 1]>> to memref<4x8xf32, strided<[32, 1], offset: ?>>
// LINALG-NOT: sizes: [4, 24]
// The descriptor that the kernel makes of the pointer says so too.
// ABI-LABEL: func.func @abc_kernel(
// ABI: %[[IMAGE:.*]] = llvm.mlir.constant(2304 : i64)
// ABI: llvm.insertvalue %[[IMAGE]], %{{.*}}[4, 0]
// ABI: builtin.unrealized_conversion_cast {{.*}} to memref<?x9x7x8xf32, strided<[2304, 288, 32, 1]>>
func.func @part(%x: tensor<?x9x7x8xf32>, %w: tensor<3x3x8x6xf32>) -> tensor<?x9x7x6xf32> {
  %y = conv.convolution %x, %w window <rank = 2, pad = [[1, 1], [1, 1]]>
      dims <[b, 0, 1, f]x[0, 1, i, o]->[b, 0, 1, f]>
      plan <lanes = channels, width = 8, pixels = 4, unroll = 1, row = unrolled, chunks = 1>
      {input_strides = array<i64: 2304, 288, 32, 1>}
      : (tensor<?x9x7x8xf32>, tensor<3x3x8x6xf32>) -> tensor<?x9x7x6xf32>
  return %y : tensor<?x9x7x6xf32>
}
