//===- GPUPasses.td - passes of convjit for GPUs -*- tablegen -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef CONVJIT_LIB_GPU_GPUPASSES_TD
#define CONVJIT_LIB_GPU_GPUPASSES_TD

include "mlir/Pass/PassBase.td"

def ConvGPUPlan : Pass<"conv-gpu-plan"> {
  let summary = "choose how each convolution is carried out on a GPU";
  let description = [{
    Attaches a `#conv.gpu_plan` where there is none: the candidate with the
    shortest predicted time for that number of images on the chip
    (GPUCostModel.cpp). A plan that is already there is kept, so it can be written
    by hand or replayed.

    After:
    ```mlir
    conv.convolution %x, %w ... gpu_plan <schedule = simt, box = [1, 4, 32],
        channels = 64, depth = 8, thread_pixels = 8, thread_channels = 8,
        stages = 2, vector = 4>
    ```
  }];
  let options = [Option<"chip", "chip", "std::string", "\"sm_80\"",
                        "LLVM's name of the chip">,
                 Option<"images", "images", "int64_t", "8",
                        "images of the output that are expected">,
                 Option<"multiple", "multiple", "int64_t", "1",
                        "what images of the output are always a multiple of">];
  let dependentDialects = ["::convjit::conv::ConvDialect"];
}

def ConvPackInputs : Pass<"conv-pack-inputs"> {
  let summary = "lay inputs out with channels last first, where plans say so";
  let description = [{
    Where the plan has `pack_input = true`, `conv.phases` reads a buffer with
    channels last, which `conv.pack_input` fills.

    Before:
    ```mlir
    conv.phases %x, %w into %y {dimension_numbers = #conv.dims<[b, f, 0]x...>, ...}
    ```

    After:
    ```mlir
    %p = memref.alloc(%images) : memref<?x66x8xf32>
    conv.pack_input %x into %p {dimension_numbers = #conv.dims<[b, f, 0]x...>} : ...
    conv.phases %p, %w into %y {dimension_numbers = #conv.dims<[b, 0, f]x...>, ...}
    memref.dealloc %p
    ```
  }];
  let dependentDialects = ["::convjit::conv::ConvDialect",
                           "::mlir::memref::MemRefDialect"];
}

def ConvToGPU : Pass<"conv-to-gpu", "::mlir::ModuleOp"> {
  let summary = "make kernels of phases and of filter packing";
  let description = [{
    The function's body becomes a kernel and the function its launch. One launch
    has all phases: the block's number says which block of channels, which phase
    and which box of pixels it computes. Blocks whose box lies inside the output
    and whose taps all lie inside the input are told apart, so that they run
    without a predicate. `conv.pack_filter` becomes a kernel with one packed
    element a thread, `conv.pack_input` one that transposes tiles of channels by
    positions through shared memory, which is launched first. Where the plan cuts
    the reduction into parts, a block computes one of them, and a kernel after it
    adds them in order and applies the epilogue.

    Buffers that the function allocates are parts of one scratch buffer, each
    `conv.offset` bytes for each image of the output behind its begin.

    After:
    ```mlir
    gpu.module @convjit {
      gpu.func @kernel(%x: memref<?x16x8xf32> {conv.operand = "input"}, ...) kernel
          attributes {conv.blocks = 2 : i64, known_block_size = array<i32: 64, 1, 1>, ...} {
        %block = gpu.block_id x
        ...
        scf.if %interior {
          conv.block %x, %w into %y image(%i) phase(%r) at(%q) channels(%c) interior {...}
        } else {
          conv.block %x, %w into %y image(%i) phase(%r) at(%q) channels(%c) {...}
        }
        gpu.return
      }
    }
    func.func @layer(...) {
      gpu.launch_func @convjit::@kernel blocks in (...) threads in (...) args(...)
      return
    }
    ```
  }];
  let dependentDialects = ["::convjit::conv::ConvDialect",
                           "::mlir::gpu::GPUDialect",
                           "::mlir::memref::MemRefDialect",
                           "::mlir::scf::SCFDialect",
                           "::mlir::arith::ArithDialect"];
}

def ConvExpandBlocks : Pass<"conv-expand-blocks", "::mlir::ModuleOp"> {
  let summary = "expand thread blocks into what each thread does";
  let description = [{
    `schedule = direct`: a thread sums its outputs over taps and channels from
    global memory.

    `schedule = simt`: a matrix product of the box's pixels and the filter's
    columns. A step of the reduction is `depth` products of each output: its
    input and weights are brought to registers while the step before is being
    multiplied, and then to the other half of shared memory. Where they lie is
    tracked by digits (tap of each dimension, channel) to which a step adds, so
    that the main loop has no division. Taps that no pixel of a block has are not
    visited; pixels that lack one read a zero.

    After:
    ```mlir
    %sums:19 = scf.for %i = %c0 to %steps step %c1 iter_args(...) -> (vector<4xf32>, ...) {
      %next:2 = scf.if %has_next -> (vector<4xf32>, vector<4xf32>) {
        %x = vector.load %row[%at] {alignment = 16 : i64} : ..., vector<4xf32>
        ...
      }
      %a = vector.load %input_tile[%stage, %c0, %m] : memref<2x8x132xf32, #gpu.address_space<workgroup>>, vector<4xf32>
      %b = vector.load %filter_tile[%stage, %c0, %n] : ...
      %s = vector.fma ...
      gpu.barrier
    ```

    `schedule = mma`: the same product by tensor cores, in tf32 for f32. A step's
    tiles are copied asynchronously, `stages - 1` steps ahead, to rows of shared
    memory whose chunks of 16 bytes are permuted from row to row, so that neither
    the copies nor the reading of fragments has bank conflicts. Elements that a
    pixel lacks are filled with zeros by the copy.

    After:
    ```mlir
    %sums:70 = scf.for %i = %c0 to %steps step %c1 iter_args(...) -> (f32, ...) {
      nvgpu.device_async_wait %group {numGroups = 1 : i32}
      gpu.barrier
      scf.if %has_next {
        %t = nvgpu.device_async_copy %row[%at], %input_tile[%m, %k], 4, %valid : ...
        ...
      }
      %g = nvgpu.device_async_create_group
      %swizzled = arith.xori %chunk, %c2
      %a = nvgpu.ldmatrix %input_tile[%row, %column] {numTiles = 4 : i32, transpose = false} : ...
      %b = nvgpu.ldmatrix %filter_tile[...] ...
      %s = nvgpu.mma.sync(%a, %b, %sum) {mmaShape = [16, 8, 8], tf32Enabled} : ...
    ```

    In 16 bits, where an input's products are not neighbours in memory (those of a
    weight's gradient are images), a row of shared memory is one product, with the
    block's pixels or channels side by side, and `nvgpu.ldmatrix` has `transpose =
    true`. Runs of neighbouring images that begin aligned are copied; single
    elements, which no copy moves, are loaded while the step before is multiplied
    and stored after it.

    A block that has a `part` goes through that part of its steps only.
  }];
  let dependentDialects = ["::mlir::gpu::GPUDialect",
                           "::mlir::LLVM::LLVMDialect",
                           "::mlir::memref::MemRefDialect",
                           "::mlir::nvgpu::NVGPUDialect",
                           "::mlir::NVVM::NVVMDialect",
                           "::mlir::scf::SCFDialect",
                           "::mlir::arith::ArithDialect",
                           "::mlir::math::MathDialect",
                           "::mlir::vector::VectorDialect"];
}

def ConvGPUKernelABI : Pass<"conv-gpu-kernel-abi", "::mlir::ModuleOp"> {
  let summary = "give GPU kernels the runtime's parameters";
  let description = [{
    Kernels get a pointer for each buffer, in the order of their arguments, and
    the batch (images in the input) as i64; `conv.operands` names them. All that
    is scratch has one pointer. Buffers
    are contiguous in their axis order. Host functions are dropped: a descriptor
    tells the runtime how to launch (`runtime/include/convjit/GPUKernel.h`).

    After:
    ```mlir
    gpu.func @convjit_kernel(%x: !llvm.ptr {llvm.noalias, llvm.readonly}, ..., %batch: i64)
    ```
  }];
  let options = [Option<"symbolPrefix", "symbol-prefix", "std::string",
                        "\"convjit\"", "what exported symbols start with">];
  let dependentDialects = ["::mlir::LLVM::LLVMDialect",
                           "::mlir::memref::MemRefDialect",
                           "::mlir::arith::ArithDialect"];
}

def ConvGPUMath : Pass<"conv-gpu-math"> {
  let summary = "functions without a library";
  let description = [{
    f64 exp, tanh and erf, which `conv-approximate-math` leaves to the C library,
    become polynomials, and what is left of the math dialect intrinsics that the
    back end has instructions for: a GPU has no C library, and libdevice is not
    needed.
  }];
  let dependentDialects = ["::mlir::arith::ArithDialect",
                           "::mlir::LLVM::LLVMDialect",
                           "::mlir::math::MathDialect"];
}

#endif // CONVJIT_LIB_GPU_GPUPASSES_TD
