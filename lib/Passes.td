//===- Passes.td - passes of convjit -*- tablegen -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//


#ifndef CONVJIT_LIB_PASSES_TD
#define CONVJIT_LIB_PASSES_TD

include "mlir/Pass/PassBase.td"

def ConvLegalize : Pass<"conv-legalize"> {
  let summary = "rewrite layer forms into the general convolution";
  let description = [{
    Resolves padding modes, names the axes and reverses the window of transposed
    layers, so that every later pass meets one operation only.

    Before:
    ```mlir
    %y = conv.conv_transpose %x, %w {stride = array<i64: 2>, rhs_dilation = array<i64: 1>}
        : (tensor<?x16x8xf32>, tensor<4x6x8xf32>) -> tensor<?x32x6xf32>
    ```
    After:
    ```mlir
    %y = conv.convolution %x, %w
        window <rank = 1, pad = [[2, 2]], lhs_dilate = [2], reverse = [true]>
        dims <[b, 0, f]x[0, o, i]->[b, 0, f]>
        : (tensor<?x16x8xf32>, tensor<4x6x8xf32>) -> tensor<?x32x6xf32>
    ```
  }];
  let dependentDialects = ["::convjit::conv::ConvDialect"];
}

def ConvCollapseSpatial : Pass<"conv-collapse-spatial", "::mlir::ModuleOp"> {
  let summary = "make one dimension of spatial dimensions that act as one";
  let description = [{
    Two spatial dimensions become one where a pixel of the window is all that
    each of them has, where the window spans all of both (the weights' gradient
    of such a layer), or where one has a single element and no padding. They
    are neighbours in memory, with no gap between them in an input that has
    strides: only types change.

    Before:
    ```mlir
    func.func @layer(%x: tensor<?x40x9x14xf32>, %w: tensor<320x40x1x1xf32>)
        -> tensor<?x320x9x14xf32> {
      %y = conv.convolution %x, %w window <rank = 2>
          dims <[b, f, 0, 1]x[o, i, 0, 1]->[b, f, 0, 1]> : ...
    ```
    After:
    ```mlir
    func.func @layer(%x: tensor<?x40x126xf32>, %w: tensor<320x40x1xf32>)
        -> tensor<?x320x126xf32> {
      %y = conv.convolution %x, %w window <rank = 1>
          dims <[b, f, 0]x[o, i, 0]->[b, f, 0]> : ...
    ```
  }];
  let dependentDialects = ["::convjit::conv::ConvDialect"];
}

def ConvFoldMask : Pass<"conv-fold-mask"> {
  let summary = "turn a constant weight mask into the list of what it leaves";
  let description = [{
    A weight whose mask is zero is not multiplied but absent. For each run of
    output channels with the same pattern, `live` lists the taps and the ranges
    of input channels that have a nonzero mask; a gap of fewer than 8 channels
    inside a range is kept (a loop's start costs more than it saves). A mask
    that then only says 1 is dropped; other factors stay for filter packing.

    Before (a causal kernel of three taps):
    ```mlir
    conv.convolution %x, %w window <rank = 1> dims <...>
        {mask = dense<[[[1.0]], [[1.0]], [[0.0]]]> : tensor<3x1x1xf64>}
    ```
    After:
    ```mlir
    conv.convolution %x, %w window <rank = 1> dims <...>
        {live = [#conv.live<0, 1, [0, 0, 1, 1, 0, 1]>]}
    ```
  }];
  let dependentDialects = ["::convjit::conv::ConvDialect"];
}

def ConvPlan : Pass<"conv-plan"> {
  let summary = "choose how each convolution is carried out";
  let description = [{
    Attaches a `#conv.plan` where there is none: the candidate with the fewest
    predicted cycles for one image on a machine like this (CostModel.cpp). A plan
    that is already there is kept, so it can be written by hand or replayed.

    Where the batch is not the outermost axis of the input it is the channels of
    the layer whose weight's gradient this is. `images` says how many of them
    calls will have, in each batch group, and stays with the operation as
    `conv.images`. It decides the plan, and which tiles there are; what is
    computed it does not: a kernel is right for any number.

    After:
    ```mlir
    conv.convolution %x, %w ... plan <lanes = channels, width = 32, pixels = 8,
        unroll = 4, row = unrolled, chunks = 1>
    ```
  }];
  let options = [
    Option<"vectorBits", "vector-bits", "int64_t", "512", "bits of a vector register">,
    Option<"registers", "registers", "int64_t", "32", "vector registers">,
    Option<"fmaBits", "fma-bits", "int64_t", "1024", "bits of FMA results a cycle">,
    Option<"l2Bytes", "l2-bytes", "int64_t", "1048576", "bytes of a core's second-level cache">,
    Option<"broadcastCycles", "broadcast-cycles", "double", "0", "cycles of the vector units for a scalar in all lanes">,
    Option<"fetchBytes", "fetch-bytes", "int64_t", "64", "bytes that the first-level cache gets at a time">,
    Option<"l3Rate", "l3-rate", "double", "20", "bytes a cycle loaded from the third-level cache">,
    Option<"l3Overlap", "l3-overlap", "double", "1", "share of the loads of weights from the third-level cache that multiply-adds hide">,
    Option<"memoryRate", "memory-rate", "double", "8", "bytes a cycle loaded from memory">,
    Option<"streamRate", "stream-rate", "double", "8", "bytes a cycle stored past the caches">,
    Option<"storeRate", "store-rate", "double", "4", "bytes a cycle stored to lines that are read first">,
    Option<"images", "images", "int64_t", "0", "images of the output in a batch group, where the batch is not outermost; 0: as many as output channels">];
  let dependentDialects = ["::convjit::conv::ConvDialect"];
}

def ConvSplitPhases : Pass<"conv-split-phases", "::mlir::ModuleOp"> {
  let summary = "split the output into interleaved phases, on buffers";
  let description = [{
    With input dilation ld and window stride ws, output o = q*P + r, where
    P = ld / gcd(ld, ws), always meets the same taps: those t with
    r*ws + t*rd = lo (mod ld). They are an arithmetic progression, so each phase
    is an ordinary convolution with stride ws/gcd(ld, ws) and kernel dilation
    rd/gcd(rd, ld), and no inserted zero is left to multiply. Phases without a
    tap write the epilogue of zero.

    Where the plan says `merged`, the phases of the last dimensions stay
    together, in the lanes of one: with kernel 4 and stride 2, outputs 2q - 1 and
    2q read the same two inputs and follow each other in the output. A phase that
    lacks some of their taps keeps its sums there (CostModel.cpp weighs that).
    This is what fills the lanes of a layer with few output channels, and what
    makes k = s store whole cache lines.

    The function becomes destination-passing: tensors become buffers, the result
    an argument, and two more arguments say which tasks to run. An input with
    `input_strides` becomes a buffer with these strides, all of them known:
    `memref<?x9x7x8xf32, strided<[2304, 288, 32, 1]>>`. Its shape is that of the
    part that is read, so that every bound is what it is without gaps, and
    passes that follow meet the strides only where they make views.

    Before:
    ```mlir
    func.func @layer(%x: tensor<?x16x8xf32>, %w: tensor<4x6x8xf32>) -> tensor<?x32x6xf32> {
      %y = conv.convolution %x, %w window <rank = 1, pad = [[2, 2]],
          lhs_dilate = [2], reverse = [true]> dims <...> plan <...>
      return %y
    }
    ```
    After:
    ```mlir
    func.func @layer(%x: memref<?x16x8xf32>, %w: memref<4x6x8xf32>,
                     %y: memref<?x32x6xf32>, %first: index, %last: index) {
      conv.phases %x, %w into %y tasks(%first to %last) {splits = [
          #conv.split<input = 16, output = 32, step = 2, input_step = 1,
                      tap_step = 2, input_tap_step = 1, first_tap = [0, 1],
                      taps = [2, 2], base = [-1, 0]>], ...}
      return
    }
    ```
  }];
  let dependentDialects = ["::convjit::conv::ConvDialect",
                           "::mlir::memref::MemRefDialect",
                           "::mlir::func::FuncDialect"];
}

def ConvPackFilters : Pass<"conv-pack-filters", "::mlir::ModuleOp"> {
  let summary = "give the filter the order in which kernels read it";
  let description = [{
    The filter argument becomes [block][taps][ic][width], one vector row of
    weights after another, and a function `NAME_pack` makes it from the layer's
    own order, once for a weight.

    After:
    ```mlir
    func.func @layer(%x: ..., %w: memref<1x4x8x8xf32>, ...)
    func.func @layer_pack(%w: memref<4x6x8xf32>, %packed: memref<1x4x8x8xf32>) {
      conv.pack_filter %w into %packed {...}
      return
    }
    ```
  }];
  let dependentDialects = ["::convjit::conv::ConvDialect",
                           "::mlir::memref::MemRefDialect",
                           "::mlir::func::FuncDialect"];
}

def ConvTile : Pass<"conv-tile", "::mlir::ModuleOp"> {
  let summary = "cut phases into independent tasks and register tiles";
  let description = [{
    One task is an output row of one channel block (or a piece of it); tasks
    write disjoint elements, and the plan's `order` says which of them follow
    each other, so that the filter or the input stays in the cache. Inside, each phase of the innermost dimension is
    cut into `conv.tile`s. Outer dimensions clip their tap ranges to the input
    once a row. In the innermost, `row = unrolled` places border tiles at
    compile-time positions, so that each tap knows its pixels; `row = ranged`
    is for many phases, long kernels and masks: interior tiles with all taps and
    single border pixels with clipped ranges.

    linalg's own tiling is not used here: it cannot clip the iteration domain
    of a reduction dimension at the borders, and peeling the product of all
    border regions multiplies the code by up to 27 in three dimensions.

    With `row = outer` a task is a block of channels and an image, for some taps,
    and has `conv.outer_tile`s. Where the plan packs images, or where an output's
    taps come last in memory, vector moves between tensors and the stack are
    around them. Tiles of fewer images than the plan's are those that the known
    number of images (`conv.images`) leaves, and single images for any other; where
    none is known, all powers of two.

    After:
    ```mlir
    scf.for %task = %first to %last step %c1 {
      ...
      conv.tile %x[%b, %c-1, %c0], %w[%c0, %c0, %c0, %c0] into %y[%b, %c0, %c0]
          taps() {pixels = 8, tap_pixels = array<i64: 1, 8, 0, 8>, ...}
    ```
  }];
  let dependentDialects = ["::convjit::conv::ConvDialect",
                           "::mlir::memref::MemRefDialect",
                           "::mlir::scf::SCFDialect",
                           "::mlir::vector::VectorDialect",
                           "::mlir::arith::ArithDialect"];
}

def ConvToLinalg : Pass<"conv-to-linalg", "::mlir::ModuleOp"> {
  let summary = "expand register tiles into loops over taps around linalg";
  let description = [{
    Each `conv.tile` becomes an accumulator buffer, loops over its taps and
    input channels around one `linalg.generic` contraction of (pixels, lanes |
    channels), and one `linalg.generic` for the epilogue and the store. Strides,
    dilations and axis orders are in the `memref.subview`s. `conv.pack_filter`
    becomes loops around vector moves, and its function gets two arguments: which
    part it packs, of how many. Where the filter's lanes follow each other rows
    are copied; where its taps or input channels do, runs of those are transposed
    in registers; phases in the lanes of a filter whose taps are last go one
    element at a time.

    Contractions cover whole tiles; attributes say which of their elements are
    part of the program, and the rest must not be computed or read:
    - `conv.active`: the lanes that have the tap (merged phases);
    - `conv.lane_span`: the lanes whose input lies inside the tensor (lanes of
      pixels, at a border);
    - `conv.tap_pixels`: the pixels of each tap (lanes across groups, where one
      contraction takes all taps of a row).
    Buffers with `conv.buffer` hold a tile on its way to scattered places of the
    output; `conv.streaming` says of how many bytes on stores of whole cache
    lines go past the caches.

    After:
    ```mlir
    %acc = memref.alloca() : memref<8x32xf32>
    linalg.fill ins(%zero : f32) outs(%acc : memref<8x32xf32>)
    scf.for %j = %lo to %hi step %c1 {
      scf.for %ic = %c0 to %c64 step %c4 {
        %xs = memref.subview ... : memref<8x4xf32, strided<[64, 1], offset: ?>>
        %ws = memref.subview ... : memref<4x32xf32, strided<[32, 1], offset: ?>>
        linalg.generic {iterator_types = ["parallel", "parallel", "reduction"]}
            ins(%xs, %ws) outs(%acc) {...}
    ```
  }];
  let dependentDialects = ["::mlir::memref::MemRefDialect",
                           "::mlir::scf::SCFDialect",
                           "::mlir::arith::ArithDialect",
                           "::mlir::math::MathDialect",
                           "::mlir::linalg::LinalgDialect",
                           "::mlir::vector::VectorDialect"];
}

def ConvVectorize : Pass<"conv-vectorize", "::mlir::ModuleOp"> {
  let summary = "vectorize tiles with their accumulators in registers";
  let description = [{
    Every accumulator buffer becomes one vector a pixel, carried as iteration
    arguments through all loops over taps and channels; contractions become
    `vector.fma` of a broadcast input element with a row of weights, and the
    epilogue runs on the vectors before they are stored. No accumulator touches
    memory. Whole lines of a large output are stored past the cache
    (non-temporal), if the output begins a line: 85 to 93 % of the FMA peak
    instead of 60 to 74 % for kernel 2 stride 2 on Zen 4.

    With input channels in the lanes, loads and multiply-adds come in an order
    that was counted in registers; `convjit-as-written` asks the code generator to
    keep it. LLVM's scheduler would move the loads up until sums are spilled.

    Upstream's linalg vectorizer, transfer hoisting and contraction lowering
    reach the same inner loop for a single tile, but run pattern drivers over
    the whole function once a step; this pass knows the shape of the tiles that
    `conv-to-linalg` makes and rewrites them in one walk.

    After:
    ```mlir
    %acc:8 = scf.for %ic = %c0 to %c64 step %c4 iter_args(...) -> (vector<32xf32>, ...) {
      %w = vector.load %ws[%c0, %c0] : ..., vector<32xf32>
      %x = memref.load %xs[%c0, %c0]
      %b = vector.broadcast %x : f32 to vector<32xf32>
      %r = vector.fma %b, %w, %acc0 : vector<32xf32>
    ```
  }];
  let dependentDialects = ["::mlir::vector::VectorDialect",
                           "::mlir::memref::MemRefDialect",
                           "::mlir::scf::SCFDialect",
                           "::mlir::LLVM::LLVMDialect",
                           "::mlir::arith::ArithDialect",
                           "::mlir::math::MathDialect"];
}

def ConvVectorizeOuter : Pass<"conv-vectorize-outer", "::mlir::ModuleOp"> {
  let summary = "vectorize sums of outer products";
  let description = [{
    Each `conv.outer_tile` becomes a nest of loops over the channels summed over
    and the pixels, with the sums carried as vectors: an iteration takes the rows'
    elements of one pixel from one operand, and of the other a vector of lanes,
    and has an FMA for each pair. Outputs of a row, or of several (`plane_ranges`),
    that share a tile share what they load; those j that not all of them have go
    to loops of their own before and after. Of an operand that is asked for ahead,
    an iteration prefetches the lines of its vector, or of its scalars, which
    follow each other.

    After:
    ```mlir
    %acc:8 = scf.for %j = %lo to %hi step %c1 iter_args(...) -> (vector<32xf32>, ...) {
      %g = vector.load %filter_here[%c0] : ..., vector<32xf32>
      %x = memref.load %input_here[%c0]
      %b = vector.broadcast %x : f32 to vector<32xf32>
      %r = vector.fma %b, %g, %acc0 : vector<32xf32>
    ```
  }];
  let dependentDialects = ["::mlir::vector::VectorDialect",
                           "::mlir::memref::MemRefDialect",
                           "::mlir::scf::SCFDialect",
                           "::mlir::LLVM::LLVMDialect",
                           "::mlir::arith::ArithDialect"];
}

def ConvApproximateMath : Pass<"conv-approximate-math"> {
  let summary = "f32 exp, tanh and erf as polynomials";
  let description = [{
    Applies upstream's polynomial approximations, which work on whole vectors.
    f64 functions are left to the C library (`convert-math-to-libm`).
  }];
  let dependentDialects = ["::mlir::arith::ArithDialect",
                           "::mlir::math::MathDialect",
                           "::mlir::vector::VectorDialect"];
}

def ConvKernelABI : Pass<"conv-kernel-abi", "::mlir::ModuleOp"> {
  let summary = "give kernels the runtime's calling convention";
  let description = [{
    `@layer(buffers..., first, last)` becomes the body of
    `@NAME_kernel(args: !llvm.ptr, first: i64, last: i64)`, which reads the
    runtime's argument block, and `@layer_pack` that of
    `@NAME_pack_part(filter: !llvm.ptr, packed: !llvm.ptr, part: i64, parts: i64)`,
    which packs one part of so many; `@NAME_pack(filter, packed)` calls it for the
    one part of one. Buffers are contiguous in
    their axis order, but for an input of a strided layout; strides that depend
    on the batch are computed once a call.
  }];
  let options = [
    Option<"symbolPrefix", "symbol-prefix", "std::string", "\"convjit\"",
           "what exported symbols start with">];
  let dependentDialects = ["::mlir::LLVM::LLVMDialect",
                           "::mlir::memref::MemRefDialect",
                           "::mlir::arith::ArithDialect",
                           "::mlir::func::FuncDialect"];
}

def ConvToLLVM : Pass<"conv-to-llvm", "::mlir::ModuleOp"> {
  let summary = "convert kernels to the LLVM dialect, all at once";
  let description = [{
    Views of buffers become pointers and index arithmetic, then one dialect
    conversion holds upstream's patterns for every dialect that a kernel is made
    of. An operation without a pattern is an error.
  }];
  let dependentDialects = ["::mlir::LLVM::LLVMDialect",
                           "::mlir::affine::AffineDialect",
                           "::mlir::arith::ArithDialect",
                           "::mlir::cf::ControlFlowDialect",
                           "::mlir::memref::MemRefDialect",
                           "::mlir::vector::VectorDialect"];
}

def ConvSeparateBroadcasts : Pass<"conv-separate-broadcasts", "::mlir::ModuleOp"> {
  let summary = "load a scalar again for vectors of another width";
  let description = [{
    A tile whose lanes are not whole vectors multiplies each scalar by vectors of
    two widths. LLVM broadcasts it once, to the widest, takes the others to be free
    as parts of that register, and then cannot add in place: it copies and spills
    sums (14 pixels by 24 lanes: 26 moves beside 28 multiply-adds). With a load of
    its own each width is an operand in memory. LLVM finds out that two loads are of
    one address and merges them, so that the second goes through a pointer that it
    cannot see through, an empty piece of assembly.

    ```mlir
    %x = llvm.load %p : !llvm.ptr -> f32
    %a = llvm.insertelement %x, %poison[%c0] : vector<16xf32>
    %b = llvm.insertelement %x, %poison8[%c0] : vector<8xf32>
    ```
    becomes
    ```mlir
    %q = llvm.inline_asm "", "=r,0" %p : (!llvm.ptr) -> !llvm.ptr
    %x = llvm.load %p : !llvm.ptr -> f32
    %y = llvm.load %q : !llvm.ptr -> f32
    %a = llvm.insertelement %x, %poison[%c0] : vector<16xf32>
    %b = llvm.insertelement %y, %poison8[%c0] : vector<8xf32>
    ```
    with one such pointer for each that all addresses of a function are made of.
  }];
  let options = [
    Option<"vectorBits", "vector-bits", "int64_t", "512",
           "bits of a vector register: longer vectors are several">];
  let dependentDialects = ["::mlir::LLVM::LLVMDialect"];
}

#endif // CONVJIT_LIB_PASSES_TD
