//===- ConvOps.td - operations of the conv dialect -*- tablegen -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef CONVJIT_DIALECT_CONVOPS_TD
#define CONVJIT_DIALECT_CONVOPS_TD

include "ConvAttrs.td"
include "mlir/IR/BuiltinAttributes.td"
include "mlir/Interfaces/InferTypeOpInterface.td"
include "mlir/Interfaces/SideEffectInterfaces.td"

def Conv_Float : AnyTypeOf<[F32, F64, F16, BF16]>;
def Conv_Tensor : RankedTensorOf<[Conv_Float]>;
def Conv_Buffer : MemRefOf<[Conv_Float]>;

//===----------------------------------------------------------------------===//
// Layer forms
//===----------------------------------------------------------------------===//

class Conv_LayerOp<string mnemonic>
    : Conv_Op<mnemonic, [Pure, AttrSizedOperandSegments,
                         InferTypeOpAdaptor]> {
  dag layerArguments = (ins
    Conv_Tensor:$input, Conv_Tensor:$filter,
    Optional<Conv_Tensor>:$bias, Optional<Conv_Tensor>:$residual,
    DenseI64ArrayAttr:$stride,
    DefaultValuedAttr<Conv_PaddingMode, "PaddingMode::Same">:$padding_mode,
    OptionalAttr<DenseI64ArrayAttr>:$padding,
    DenseI64ArrayAttr:$rhs_dilation,
    DefaultValuedAttr<I64Attr, "1">:$feature_group_count,
    DefaultValuedAttr<I64Attr, "1">:$batch_group_count,
    DefaultValuedAttr<Conv_Layout, "Layout::ChannelsLast">:$layout,
    OptionalAttr<Conv_EpilogueAttr>:$epilogue,
    OptionalAttr<ElementsAttr>:$mask);
  let results = (outs Conv_Tensor:$result);
  let assemblyFormat = [{
    $input `,` $filter (`bias` `(` $bias^ `)`)? (`residual` `(` $residual^ `)`)?
    attr-dict `:` functional-type(operands, results)
  }];
  let hasVerifier = 1;
}

def Conv_ConvOp : Conv_LayerOp<"conv"> {
  let summary = "a convolution layer";
  let description = [{
    `stride` moves the window, `lhs_dilation` dilates the input, `rhs_dilation`
    the kernel. `same` gives ceil(L0 / stride) outputs, L0 being the dilated length. The filter is
    (k..., ic/g, oc) in both layouts and is not reversed. With `explicit`
    padding, `padding` holds lo and hi of each dimension in turn.

    ```mlir
    %y = conv.conv %x, %w bias(%b) {stride = array<i64: 2, 2>,
        rhs_dilation = array<i64: 1, 1>, lhs_dilation = array<i64: 1, 1>}
        : (tensor<?x224x224x3xf32>, tensor<7x7x3x64xf32>, tensor<64xf32>)
        -> tensor<?x112x112x64xf32>
    ```
  }];
  let arguments = !con(layerArguments, (ins DenseI64ArrayAttr:$lhs_dilation));
}

def Conv_ConvTransposeOp : Conv_LayerOp<"conv_transpose"> {
  let summary = "a transposed convolution layer";
  let description = [{
    `stride` dilates the input; the window moves by one. The filter is
    (k..., oc, ic/g) in both layouts and its spatial axes are flipped when it
    is applied. `same` gives n * stride outputs, `valid` n * stride +
    max(ek - stride, 0) for the dilated kernel's length ek; `explicit` padding is added to the dilated input.

    ```mlir
    %y = conv.conv_transpose %x, %w {stride = array<i64: 2, 2, 2>,
        rhs_dilation = array<i64: 1, 1, 1>}
        : (tensor<?x8x16x16x64xf32>, tensor<4x4x4x32x64xf32>)
        -> tensor<?x16x32x32x32xf32>
    ```
  }];
  let arguments = layerArguments;
}

//===----------------------------------------------------------------------===//
// The general convolution
//===----------------------------------------------------------------------===//

def Conv_ConvolutionOp : Conv_Op<"convolution", [
    Pure, AttrSizedOperandSegments, InferTypeOpAdaptor]> {
  let summary = "the general convolution";
  let description = [{
    StableHLO's `convolution` with an epilogue. Per spatial dimension, with
    input n, kernel k, window stride ws, dilations ld and rd and padding that
    may be negative:

        L   = (n-1)*ld + 1 + lo + hi
        out = max(0, (L - ((k-1)*rd + 1)) / ws + 1)
        y[b,oc,o] = act(bias[oc] + residual[b,oc,o] + sum over ic, t of
                        w[oc,ic,t'] * P[b, group(oc)*Cin/g + ic, o*ws + t*rd])

    where P is the input, first dilated, then padded or cropped, and t' is
    k-1-t where the window is reversed. Constraints carry StableHLO's labels.

    With `swapped_filter` the filter is stored as the layer it is the gradient
    of stores it: its `i` axis has all input features, its `o` axis the output
    features of one group.

    With `input_strides` the input is part of a larger array: so many elements
    are from one index of each axis to the next. Of any sign or 0; without them
    it is contiguous.

    `mask` multiplies the filter; `live` (made by `conv-fold-mask`) lists what
    a mask leaves; `plan` is made by `conv-plan`, `gpu_plan` by `conv-gpu-plan`.

    ```mlir
    %y = conv.convolution %x, %w
        window <rank = 1, pad = [[3, 3]], lhs_dilate = [2]>
        dims <[b, 0, f]x[0, o, i]->[b, 0, f]>
        : (tensor<?x16x8xf32>, tensor<4x6x8xf32>) -> tensor<?x34x6xf32>
    ```
  }];
  let arguments = (ins
    Conv_Tensor:$input, Conv_Tensor:$filter,
    Optional<Conv_Tensor>:$bias, Optional<Conv_Tensor>:$residual,
    Conv_WindowAttr:$window, Conv_DimensionNumbersAttr:$dimension_numbers,
    DefaultValuedAttr<I64Attr, "1">:$feature_group_count,
    DefaultValuedAttr<I64Attr, "1">:$batch_group_count,
    UnitAttr:$swapped_filter,
    OptionalAttr<Conv_EpilogueAttr>:$epilogue,
    OptionalAttr<ElementsAttr>:$mask,
    OptionalAttr<TypedArrayAttrBase<Conv_LiveAttr, "live sets">>:$live,
    OptionalAttr<Conv_PlanAttr>:$plan,
    OptionalAttr<Conv_GPUPlanAttr>:$gpu_plan,
    OptionalAttr<DenseI64ArrayAttr>:$input_strides);
  let results = (outs Conv_Tensor:$result);
  let assemblyFormat = [{
    $input `,` $filter (`bias` `(` $bias^ `)`)? (`residual` `(` $residual^ `)`)?
    `window` $window `dims` $dimension_numbers (`plan` $plan^)?
    (`gpu_plan` $gpu_plan^)?
    attr-dict `:` functional-type(operands, results)
  }];
  let hasVerifier = 1;
}

//===----------------------------------------------------------------------===//
// Phases and filter packing
//===----------------------------------------------------------------------===//

def Conv_PhasesOp : Conv_Op<"phases", [AttrSizedOperandSegments]> {
  let summary = "a convolution split into interleaved output phases, on buffers";
  let description = [{
    Writes every element of `output`. Each spatial dimension is described by a
    `#conv.split`; the phases of the convolution are the products of the
    dimensions' phases. No inserted zero exists at this level: a phase reads
    the input through exactly its own taps and stores with a stride.

    It has a plan for a CPU or for a GPU.

    The filter is either a layer's (`packed` absent) or the result of
    `conv.pack_filter`: [block][tap of each dimension][ic][width], or with
    `lanes = reduction` [block][tap of each dimension][width][ic].
  }];
  let arguments = (ins
    Arg<Conv_Buffer, "", [MemRead]>:$input,
    Arg<Conv_Buffer, "", [MemRead]>:$filter,
    Arg<Optional<Conv_Buffer>, "", [MemRead]>:$bias,
    Arg<Optional<Conv_Buffer>, "", [MemRead]>:$residual,
    Arg<Conv_Buffer, "", [MemWrite]>:$output,
    Optional<Index>:$first_task, Optional<Index>:$last_task,
    TypedArrayAttrBase<Conv_PhaseSplitAttr, "phase splits">:$splits,
    DenseBoolArrayAttr:$reversal,
    Conv_DimensionNumbersAttr:$dimension_numbers,
    DefaultValuedAttr<I64Attr, "1">:$feature_group_count,
    DefaultValuedAttr<I64Attr, "1">:$batch_group_count,
    UnitAttr:$swapped_filter, UnitAttr:$packed,
    OptionalAttr<Conv_EpilogueAttr>:$epilogue,
    OptionalAttr<ElementsAttr>:$mask,
    OptionalAttr<TypedArrayAttrBase<Conv_LiveAttr, "live sets">>:$live,
    OptionalAttr<Conv_PlanAttr>:$plan,
    OptionalAttr<Conv_GPUPlanAttr>:$gpu_plan);
  let assemblyFormat = [{
    $input `,` $filter (`bias` `(` $bias^ `)`)? (`residual` `(` $residual^ `)`)?
    `into` $output (`tasks` `(` $first_task^ `to` $last_task `)`)?
    attr-dict `:` type(operands)
  }];
  let extraClassDeclaration = [{
    int64_t getRank() { return getSplits().size(); }
    PhaseSplitAttr getSplit(int64_t dim) {
      return ::llvm::cast<PhaseSplitAttr>(getSplits()[dim]);
    }
  }];
  let hasVerifier = 1;
}

def Conv_PackFilterOp : Conv_Op<"pack_filter"> {
  let summary = "lays a filter out as kernels read it";
  let description = [{
    `packed[block][t...][ic][lane]` takes the filter's element for window tap t
    (so a reversed window is undone here), input channel ic of the group, and
    the output channel that `lanes` gives to `lane` of `block`; lanes past the
    last channel are zero, and so are weights whose mask is zero; other weights
    are multiplied by the mask. In a dimension that `splits` merges, t counts
    the taps of all its phases, and lanes whose phase has no such tap are zero. The tap order serves every phase: a phase steps
    through it with a stride, so one packed filter does for all of them.

    With `lanes = reduction` the last two axes change places: a lane is an input
    channel, and those past the last one are zero.

    `groups` is the number of channel groups whose blocks are separate:
    feature groups or batch groups.
  }];
  let arguments = (ins
    Arg<Conv_Buffer, "", [MemRead]>:$filter,
    Arg<Conv_Buffer, "", [MemWrite]>:$packed,
    Conv_DimensionNumbersAttr:$dimension_numbers,
    DenseBoolArrayAttr:$reversal,
    Conv_Lanes:$lanes, I64Attr:$groups, UnitAttr:$swapped_filter,
    OptionalAttr<TypedArrayAttrBase<Conv_PhaseSplitAttr, "phase splits">>:$splits,
    OptionalAttr<ElementsAttr>:$mask);
  let assemblyFormat =
      "$filter `into` $packed attr-dict `:` type($filter) `,` type($packed)";
  let hasVerifier = 1;
}

def Conv_PackInputOp : Conv_Op<"pack_input"> {
  let summary = "lays an input out with channels last";
  let description = [{
    `packed[b][x...][c]` takes the element of image b, position x and channel c
    of the input, whose axes `dimension_numbers` names. Kernels that want
    neighbouring channels in one access read that.
  }];
  let arguments = (ins
    Arg<Conv_Buffer, "", [MemRead]>:$input,
    Arg<Conv_Buffer, "", [MemWrite]>:$packed,
    Conv_DimensionNumbersAttr:$dimension_numbers);
  let assemblyFormat =
      "$input `into` $packed attr-dict `:` type($input) `,` type($packed)";
  let hasVerifier = 1;
}

//===----------------------------------------------------------------------===//
// Thread blocks
//===----------------------------------------------------------------------===//

def Conv_BlockOp : Conv_Op<"block", [AttrSizedOperandSegments]> {
  let summary = "what one thread block of a GPU computes";
  let description = [{
    The box of pixels of phase `phase` that starts at image `image` and at pixel
    `at` of each dimension, by block `channels` of the output channels: the
    outputs at q * step + phase for q from `at` on, where they exist. Executed
    by all threads of the block together.

    With `interior`, the whole box lies inside the output and all taps of all its
    pixels inside the input, so that no access needs a predicate.

    With `part` it computes this part of the plan's `split` of the reduction:
    `output` then has the images of the first part, those of the second, and so
    on.
  }];
  let arguments = (ins
    Arg<Conv_Buffer, "", [MemRead]>:$input,
    Arg<Conv_Buffer, "", [MemRead]>:$filter,
    Arg<Optional<Conv_Buffer>, "", [MemRead]>:$bias,
    Arg<Optional<Conv_Buffer>, "", [MemRead]>:$residual,
    Arg<Conv_Buffer, "", [MemWrite]>:$output,
    Index:$image, Variadic<Index>:$phase, Variadic<Index>:$at, Index:$channels,
    TypedArrayAttrBase<Conv_PhaseSplitAttr, "phase splits">:$splits,
    Conv_DimensionNumbersAttr:$dimension_numbers,
    DefaultValuedAttr<I64Attr, "1">:$feature_group_count,
    DefaultValuedAttr<I64Attr, "1">:$batch_group_count,
    Optional<Index>:$part, I64Attr:$reduction, UnitAttr:$interior,
    OptionalAttr<Conv_EpilogueAttr>:$epilogue,
    Conv_GPUPlanAttr:$gpu_plan);
  let assemblyFormat = [{
    $input `,` $filter (`bias` `(` $bias^ `)`)? (`residual` `(` $residual^ `)`)?
    `into` $output `image` `(` $image `)` `phase` `(` $phase `)` `at` `(` $at `)`
    `channels` `(` $channels `)` (`part` `(` $part^ `)`)? (`interior` $interior^)?
    attr-dict
    `:` type($input) `,` type($filter) (`bias` type($bias)^)?
    (`residual` type($residual)^)? `into` type($output)
  }];
  let extraClassDeclaration = [{
    int64_t getRank() { return getSplits().size(); }
    PhaseSplitAttr getSplit(int64_t dim) {
      return ::llvm::cast<PhaseSplitAttr>(getSplits()[dim]);
    }
  }];
  let hasVerifier = 1;
}

//===----------------------------------------------------------------------===//
// Register tiles
//===----------------------------------------------------------------------===//

def Conv_TileOp : Conv_Op<"tile", [AttrSizedOperandSegments]> {
  let summary = "one register tile: some pixels of an output row by some channels";
  let description = [{
    Computes `pixels` outputs of one row, `output_step` apart, for up to
    `width` lanes of which `valid` exist, and stores them with the epilogue.

    `input_at` indexes the input element that tap 0 of pixel 0 reads (it may
    lie outside when that pixel has no tap 0), `filter_at` the packed filter's
    element of tap 0, `output_at` the first output. Tap (j...) reads
    `input_at + j * input_tap_steps` and the filter at
    `filter_at + j * filter_tap_steps`.

    `tap_ranges` holds lo and hi of j for each dimension but, with
    `tap_pixels`, the innermost: there, tap j of the innermost dimension
    applies to pixels [`tap_pixels[2j]`, `tap_pixels[2j+1]`) of the tile, known
    at compile time, so that borders cost neither a branch nor a zero.

    With `live`, the taps and channels are rows of that table from `live_first`
    to `live_last`: (j of each dimension..., first channel, last channel); rows
    whose j falls outside the ranges are skipped.

    With `merged`, lanes hold (phase of each dimension, channel): `merged` is
    the number of such phases of each dimension, `output_at` the output of lane
    0 (it may lie outside), and lanes whose output lies outside are not stored.
    `clipped` says where any can: in each outer dimension, in the first pixel,
    in the last. `channels` is their number in the group (given with `lanes =
    groups` too), and `bias` has an element for each lane. `first_lane` is the lane of the whole group
    that the block starts with. Where phases differ in their taps, `active`
    lists for each phase of each dimension its taps j as [lo, hi).

    With `lanes = reduction`, vectors hold `unroll` of the group's `reduction`
    input channels, and the packed filter has these last.

    With `images`, the tile's pixels are one pixel of neighbouring images.

    `stream_from`: what a pixel stores is whole cache lines, if the output begins
    with one; where it has so many bytes they go past the caches.

    `input_ahead`, `filter_ahead`: so many input channels further on, the pixels'
    lines or the weights are fetched while these are multiplied.
  }];
  let arguments = (ins
    Arg<Conv_Buffer, "", [MemRead]>:$input,
    Variadic<Index>:$input_at,
    Arg<Conv_Buffer, "", [MemRead]>:$filter,
    Variadic<Index>:$filter_at,
    Arg<Optional<Conv_Buffer>, "", [MemRead]>:$bias,
    Arg<Optional<Conv_Buffer>, "", [MemRead]>:$residual,
    Arg<Conv_Buffer, "", [MemWrite]>:$output,
    Variadic<Index>:$output_at,
    Variadic<Index>:$tap_ranges,
    Optional<MemRefOf<[Index]>>:$live,
    Optional<Index>:$live_first, Optional<Index>:$live_last,
    Optional<Index>:$first_lane,
    Conv_DimensionNumbersAttr:$dimension_numbers,
    Conv_Lanes:$lanes, I64Attr:$pixels, I64Attr:$width, I64Attr:$valid,
    I64Attr:$unroll, I64Attr:$input_step, I64Attr:$output_step,
    DenseI64ArrayAttr:$input_tap_steps, DenseI64ArrayAttr:$filter_tap_steps,
    OptionalAttr<DenseI64ArrayAttr>:$tap_pixels,
    OptionalAttr<DenseI64ArrayAttr>:$merged,
    OptionalAttr<I64Attr>:$channels,
    OptionalAttr<DenseBoolArrayAttr>:$clipped,
    OptionalAttr<DenseI64ArrayAttr>:$active,
    OptionalAttr<I64Attr>:$reduction,
    UnitAttr:$images, OptionalAttr<I64Attr>:$stream_from,
    OptionalAttr<I64Attr>:$input_ahead, OptionalAttr<I64Attr>:$filter_ahead,
    OptionalAttr<Conv_EpilogueAttr>:$epilogue);
  let assemblyFormat = [{
    $input `[` $input_at `]` `,` $filter `[` $filter_at `]`
    (`bias` `(` $bias^ `)`)? (`residual` `(` $residual^ `)`)?
    `into` $output `[` $output_at `]` `taps` `(` $tap_ranges `)`
    (`live` $live^ `[` $live_first `to` $live_last `]`)?
    (`first_lane` `(` $first_lane^ `)`)?
    attr-dict `:` type($input) `,` type($filter) (`,` type($bias)^)?
    (`residual` type($residual)^)? `into` type($output) (`live` type($live)^)?
  }];
  let hasVerifier = 1;
}

def Conv_OuterTileOp : Conv_Op<"outer_tile", [AttrSizedOperandSegments]> {
  let summary = "a register tile that sums outer products over a long filter";
  let description = [{
    Of few outputs and a filter as long as an image, as in the gradient of a
    layer's weight: the outputs of `rows` images (or output channels) by `lanes`
    output channels (with `lanes_of_images`, images), at one pixel, or with
    `tap_ranges` at neighbouring pixels of a row. For every j in the box `ranges`,
    which has lo and hi of the reduction over channels and of each spatial
    dimension, and every row and lane,

        output[output_at + row * output_row + lane * output_lane] +=
            input[input_at + j * input_steps + ...] *
            filter[filter_at + j * filter_steps + ...]

    All positions are in elements of the whole, contiguous tensors. `scalar_step`
    is from one row to the next in the operand that has the rows; lanes follow
    each other in theirs. The last of `input_steps` is `input_pixel_step` pixels
    of `input_pixel` elements.

    With `lanes_of_groups`, lanes are neighbouring groups of so many channels
    each, next to each other in both operands; the rows are the images of a
    group.

    With `first`, sums start from the residual, or from zero, and replace the
    output; else from zero, and are added to it. Of `lanes` the first `valid`
    exist. `copies` of the sums, each of every so manieth j, add up at the end.
    What lies `input_ahead` and `filter_ahead` elements after what is read is
    asked for, to be in the second-level cache when a later tile reads it.

    With `tap_ranges` (lo and hi of j in the innermost dimension for each pixel
    of the tile), pixel t reads at `input_taps[t]` input pixels and
    `filter_taps[t]` elements of the filter from there, and writes at
    `t * output_pixel`. `unroll` values of the innermost j share an iteration.
    With `plane_ranges` (the same of the dimension before it), pixels are those
    of several rows.
  }];
  let arguments = (ins
    Arg<Conv_Buffer, "", [MemRead]>:$input, Index:$input_at,
    Arg<Conv_Buffer, "", [MemRead]>:$filter, Index:$filter_at,
    Arg<Optional<Conv_Buffer>, "", [MemRead]>:$residual,
    Arg<Conv_Buffer, "", [MemRead, MemWrite]>:$output, Index:$output_at,
    I1:$first, Variadic<Index>:$ranges, Variadic<Index>:$input_steps,
    Index:$input_pixel, Index:$scalar_step, Index:$output_row,
    Index:$output_lane, Index:$output_pixel,
    Optional<Index>:$input_ahead, Optional<Index>:$filter_ahead,
    I64Attr:$input_pixel_step, DenseI64ArrayAttr:$filter_steps,
    I64Attr:$rows, I64Attr:$lanes, I64Attr:$valid, I64Attr:$unroll, I64Attr:$copies, UnitAttr:$lanes_of_images,
    OptionalAttr<I64Attr>:$lanes_of_groups,
    OptionalAttr<DenseI64ArrayAttr>:$tap_ranges,
    OptionalAttr<DenseI64ArrayAttr>:$plane_ranges,
    OptionalAttr<DenseI64ArrayAttr>:$input_taps,
    OptionalAttr<DenseI64ArrayAttr>:$filter_taps);
  let assemblyFormat = [{
    $input `[` $input_at `]` `,` $filter `[` $filter_at `]`
    (`residual` `(` $residual^ `)`)? `into` $output `[` $output_at `]`
    `first` `(` $first `)` `ranges` `(` $ranges `)`
    `steps` `(` $input_steps `)` `pixel` `(` $input_pixel `)`
    `scalar` `(` $scalar_step `)`
    `output_steps` `(` $output_row `,` $output_lane `,` $output_pixel `)`
    (`input_ahead` `(` $input_ahead^ `)`)?
    (`filter_ahead` `(` $filter_ahead^ `)`)?
    attr-dict `:` type($input) `,` type($filter)
    (`residual` type($residual)^)? `into` type($output)
  }];
  let extraClassDeclaration = [{
    /// Pixels of the tile.
    int64_t getPixels() {
      return getTapRanges() ? getTapRanges()->size() / 2 : 1;
    }
  }];
  let hasVerifier = 1;
}

#endif // CONVJIT_DIALECT_CONVOPS_TD
