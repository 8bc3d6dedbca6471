//===- ConvAttrs.td - attributes of the conv dialect -*- tablegen -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef CONVJIT_DIALECT_CONVATTRS_TD
#define CONVJIT_DIALECT_CONVATTRS_TD

include "ConvDialect.td"
include "mlir/IR/AttrTypeBase.td"
include "mlir/IR/EnumAttr.td"

class Conv_Attr<string name, string attrMnemonic> : AttrDef<Conv_Dialect, name> {
  let mnemonic = attrMnemonic;
}

//===----------------------------------------------------------------------===//
// Enumerations
//===----------------------------------------------------------------------===//

def Conv_PaddingMode : I32EnumAttr<"PaddingMode", "how a layer pads", [
    I32EnumAttrCase<"Same", 0, "same">,
    I32EnumAttrCase<"Valid", 1, "valid">,
    I32EnumAttrCase<"Explicit", 2, "explicit">]> {
  let cppNamespace = "::convjit::conv";
}

def Conv_Layout : I32EnumAttr<"Layout", "where the channels of the data lie", [
    I32EnumAttrCase<"ChannelsLast", 0, "channels_last">,
    I32EnumAttrCase<"ChannelsFirst", 1, "channels_first">]> {
  let cppNamespace = "::convjit::conv";
}

def Conv_Activation : I32EnumAttr<"Activation", "the epilogue's function", [
    I32EnumAttrCase<"None", 0, "none">,
    I32EnumAttrCase<"Relu", 1, "relu">,
    I32EnumAttrCase<"LeakyRelu", 2, "leaky_relu">,
    I32EnumAttrCase<"Sigmoid", 3, "sigmoid">,
    I32EnumAttrCase<"Tanh", 4, "tanh">,
    I32EnumAttrCase<"Silu", 5, "silu">,
    I32EnumAttrCase<"Gelu", 6, "gelu">,
    I32EnumAttrCase<"GeluTanh", 7, "gelu_tanh">]> {
  let cppNamespace = "::convjit::conv";
}

def Conv_Lanes : I32EnumAttr<"Lanes", "what the lanes of a vector hold", [
    // output channels of one group
    I32EnumAttrCase<"Channels", 0, "channels">,
    // the same output channel of neighbouring groups
    I32EnumAttrCase<"Groups", 1, "groups">,
    // pixels of a row, of one output channel
    I32EnumAttrCase<"Pixels", 2, "pixels">,
    // input channels: partial sums of one output, added up at the end
    I32EnumAttrCase<"Reduction", 3, "reduction">,
    // images, of one output channel: only with row = outer
    I32EnumAttrCase<"Images", 4, "images">]> {
  let cppNamespace = "::convjit::conv";
}

def Conv_RowForm : I32EnumAttr<"RowForm", "how an output row is cut into tiles", [
    // border tiles know at compile time which pixels a tap has
    I32EnumAttrCase<"Unrolled", 0, "unrolled">,
    // border pixels find their tap range at run time
    I32EnumAttrCase<"Ranged", 1, "ranged">,
    // a tile is one pixel of several images
    I32EnumAttrCase<"Images", 2, "images">,
    // a tile is a sum of outer products, of images by channels, over all taps
    I32EnumAttrCase<"Outer", 3, "outer">]> {
  let cppNamespace = "::convjit::conv";
}


def Conv_Order : I32EnumAttr<"Order", "the order of tasks", [
    // blocks, phases, images, rows: the filter of one phase stays in the cache
    I32EnumAttrCase<"Filter", 0, "filter">,
    // images, blocks, rows, phases: so does that of all phases
    I32EnumAttrCase<"Block", 1, "block">,
    // images, rows, blocks, phases: the whole filter does, and the input is read once
    I32EnumAttrCase<"Input", 2, "input">,
    // blocks, phases, rows, images: the filter of one row stays in the cache
    I32EnumAttrCase<"Batch", 3, "batch">]> {
  let cppNamespace = "::convjit::conv";
}

def Conv_Prefetch : I32EnumAttr<"Prefetch", "what a tile has fetched ahead", [
    I32EnumAttrCase<"None", 0, "none">,
    // the input, of rows that the next row of output is the first to read
    I32EnumAttrCase<"Input", 1, "input">,
    // the weights, some channels further on
    I32EnumAttrCase<"Filter", 2, "filter">,
    I32EnumAttrCase<"Both", 3, "both">]> {
  let cppNamespace = "::convjit::conv";
}

def Conv_GPUSchedule : I32EnumAttr<"GPUSchedule", "how a thread block computes its tile", [
    // each thread sums its outputs from global memory: groups of few channels
    I32EnumAttrCase<"Direct", 0, "direct">,
    // a matrix product: tiles of input and filter in shared memory, FMAs
    I32EnumAttrCase<"Simt", 1, "simt">,
    // a matrix product by tensor cores, of tiles copied asynchronously
    I32EnumAttrCase<"Mma", 2, "mma">]> {
  let cppNamespace = "::convjit::conv";
}

//===----------------------------------------------------------------------===//
// Window and dimension numbers
//===----------------------------------------------------------------------===//

def Conv_WindowAttr : Conv_Attr<"Window", "window"> {
  let summary = "strides, padding, dilations and reversal of each spatial dimension";
  let description = [{
    One entry a spatial dimension. Fields that are all 1 (strides, dilations),
    0 (padding) or false (reversal) are left out in the text:

    ```mlir
    #conv.window<rank = 2, stride = [2, 1], pad = [[1, 1], [0, -2]],
                 lhs_dilate = [1, 2], rhs_dilate = [2, 2],
                 reverse = [true, false]>
    ```
  }];
  let parameters = (ins
    ArrayRefParameter<"int64_t">:$strides,
    ArrayRefParameter<"int64_t">:$padLow,
    ArrayRefParameter<"int64_t">:$padHigh,
    ArrayRefParameter<"int64_t">:$lhsDilation,
    ArrayRefParameter<"int64_t">:$rhsDilation,
    ArrayRefParameter<"bool">:$reversal);
  let hasCustomAssemblyFormat = 1;
  let genVerifyDecl = 1;
  let extraClassDeclaration = [{
    int64_t getRank() const { return getStrides().size(); }
    /// Length of the output along `dim` for these lengths of input and kernel.
    int64_t outputSize(int64_t dim, int64_t input, int64_t kernel) const;
  }];
}

def Conv_DimensionNumbersAttr : Conv_Attr<"DimensionNumbers", "dims"> {
  let summary = "which axis of each tensor is what";
  let description = [{
    As in StableHLO: `b`, `f` are batch and feature of the data, `i`, `o` the
    input and output features of the filter, and digits spatial dimensions.

    ```mlir
    #conv.dims<[b, 0, 1, f]x[0, 1, o, i]->[b, 0, 1, f]>
    ```
  }];
  let parameters = (ins
    "int64_t":$inputBatch, "int64_t":$inputFeature,
    ArrayRefParameter<"int64_t">:$inputSpatial,
    "int64_t":$kernelInputFeature, "int64_t":$kernelOutputFeature,
    ArrayRefParameter<"int64_t">:$kernelSpatial,
    "int64_t":$outputBatch, "int64_t":$outputFeature,
    ArrayRefParameter<"int64_t">:$outputSpatial);
  let hasCustomAssemblyFormat = 1;
  let extraClassDeclaration = [{
    int64_t getRank() const { return getInputSpatial().size(); }
  }];
}

//===----------------------------------------------------------------------===//
// Epilogue, mask, plan
//===----------------------------------------------------------------------===//

def Conv_EpilogueAttr : Conv_Attr<"Epilogue", "epilogue"> {
  let summary = "the function applied to each output before it is stored";
  let description = [{
    `y = activation(conv + bias + residual)`. `slope` belongs to `leaky_relu`.

    ```mlir
    #conv.epilogue<relu>
    #conv.epilogue<leaky_relu, 1.000000e-02>
    ```
  }];
  let parameters = (ins
    EnumParameter<Conv_Activation>:$activation,
    APFloatParameter<"slope of leaky_relu">:$slope);
  let hasCustomAssemblyFormat = 1;
}

def Conv_LiveAttr : Conv_Attr<"Live", "live"> {
  let summary = "the taps and input channels that a mask leaves to some output channels";
  let description = [{
    Output channels [`first`, `last`) read, of filter tap `tap` (row-major
    index over the kernel's spatial dimensions, window order), the input
    channels [`begin`, `end`) of their group; a row of `terms` is
    `tap, begin, end`. Whatever is not listed is not part of the program.

    ```mlir
    #conv.live<0, 16, [0, 0, 64, 1, 0, 32]>
    ```
  }];
  let parameters = (ins "int64_t":$first, "int64_t":$last,
                        ArrayRefParameter<"int64_t">:$terms);
  let assemblyFormat = "`<` $first `,` $last `,` `[` $terms `]` `>`";
}

def Conv_OrderParameter : EnumParameter<Conv_Order> {
  let defaultValue = "::convjit::conv::Order::Filter";
}

def Conv_PrefetchParameter : EnumParameter<Conv_Prefetch> {
  let defaultValue = "::convjit::conv::Prefetch::None";
}

def Conv_PlanAttr : Conv_Attr<"Plan", "plan"> {
  let summary = "how a convolution is carried out";
  let description = [{
    - `lanes`: what a vector's lanes hold;
    - `width`: output channels (or groups) of one register tile;
    - `pixels`: pixels of an output row in one register tile;
    - `unroll`: input channels in one iteration of the innermost loop. With
      `lanes = reduction`, those of one vector: a register tile is then
      `pixels` x `width` vectors of as many partial sums;
    - `row`: how rows are cut into tiles;
    - `chunks`: pieces of a row that are separate tasks;
    - `merged`: trailing spatial dimensions whose output phases share the
      lanes: the phases of a dimension follow each other in the output, so a
      vector holds (phase of each merged dimension, channel);
    - `order`: loops over tasks, outermost first: `filter` (blocks, phases,
      images, rows), `block` (images, blocks, rows, phases), `input` (images,
      rows, blocks, phases) or `batch` (blocks, phases, rows, images);
    - `fold`: neighbouring pixels of each phase of a row that become phases of
      their own, for the lanes to share: 4 with 4 output channels fill a vector
      of 16. Each lane meets the taps of all of them, as zeros where they are
      not its own: of 3 taps, 6;
    - `prefetch`: `input`, `filter` or `both`: what a tile asks for that later
      ones read, where it comes from beyond the second-level cache and the CPU
      does not see it coming (of images that stay near one by one, where a call
      has many); with `input`, also the lines of a large output that the tile
      itself writes parts of;
    - `strip`: of three dimensions, so many rows of a plane are followed by those
      of the next plane, not by the plane's other rows, so that the planes that
      an output reads stay in the cache; with 0 whole planes follow each other;
    - `stream_from`: of a call whose output has so many bytes, lines that a tile
      writes as a whole go past the caches, to memory.

    With `row = outer` a register tile is `pixels` images by `width` output
    channels, or, where images are last in memory in the input and the output,
    the other way about, with as many pixels of a row as fit when it is smaller;
    with `lanes = groups`, `width` channels of whole groups by the images of a
    group, of which there are as many as a call says, and with pixels of the last
    two dimensions where `pixels` has room for all of them. What the lanes hold
    has to be next to each other in memory. Where neither operand has its channels
    last, one is packed: with `lanes = channels` the filter (a layer's output
    gradient), all of it, before the call; with `lanes = images` the input,
    `width` images of a piece at a time, inside
    of the call. A transposed layer's input has stride^rank times fewer pixels
    than its output gradient; the input of a layer with strides has more, and
    cannot be packed so. The window's taps (and the channels summed over) are the
    long loop: `unroll` of them are an iteration, and `chunks` pieces of them are
    outside of the loop over a call's tasks. With the order `filter` tasks that
    share what is in the lanes are neighbours, with others those whose outputs are
    (with `lanes = images`, always the former). `prefetch` asks for what the same
    tile reads of the next piece.

    ```mlir
    #conv.plan<lanes = channels, width = 32, pixels = 8, unroll = 4,
               row = unrolled, chunks = 1>
    ```
  }];
  let parameters = (ins
    EnumParameter<Conv_Lanes>:$lanes, "int64_t":$width, "int64_t":$pixels,
    "int64_t":$unroll, EnumParameter<Conv_RowForm>:$row, "int64_t":$chunks,
    DefaultValuedParameter<"int64_t", "0">:$merged,
    Conv_OrderParameter:$order,
    DefaultValuedParameter<"int64_t", "1">:$fold,
    Conv_PrefetchParameter:$prefetch,
    DefaultValuedParameter<"int64_t", "0">:$strip,
    DefaultValuedParameter<"int64_t", "::convjit::conv::streamingBytes">:$stream_from);
  let builders = [
    AttrBuilder<(ins "Lanes":$lanes, "int64_t":$width, "int64_t":$pixels,
                     "int64_t":$unroll, "RowForm":$row, "int64_t":$chunks,
                     "int64_t":$merged, "Order":$order, "int64_t":$fold), [{
      return $_get($_ctxt, lanes, width, pixels, unroll, row, chunks, merged,
                   order, fold, Prefetch::None, /*strip=*/0,
                   streamingBytes);
    }]>
  ];
  let assemblyFormat = "`<` struct(params) `>`";
  let genVerifyDecl = 1;
}

def Conv_GPUPlanAttr : Conv_Attr<"GPUPlan", "gpu_plan"> {
  let summary = "how a convolution is carried out on a GPU";
  let description = [{
    A thread block computes a box of pixels of one output phase by a block of
    output channels:

    - `schedule`: what its threads do;
    - `box`: images and pixels of each spatial dimension;
    - `channels`: output channels of one group (`direct`: of neighbouring
      groups);
    - `depth`: products of one output in one step of the reduction, whose input
      and weights are in shared memory together;
    - `thread_pixels`, `thread_channels`: the register tile of a thread; the
      block has box * channels / (thread_pixels * thread_channels) threads
      (`mma`: of a warp's product, which has 8 * thread_pixels by
      4 * thread_channels);
    - `stages`: steps of the reduction that have a place in shared memory;
    - `vector`: elements of one access to the input;
    - `mixed`: whether a step may hold several taps. Else a tap's channels are
      padded to whole steps;
    - `split`: parts that the reduction is cut into, each summed by blocks of its
      own, and then added in order by a later launch;
    - `pack_input`: whether a launch before lays the input out with channels last
      (`conv.pack_input`). Blocks then read that.

    ```mlir
    #conv.gpu_plan<schedule = simt, box = [1, 4, 4, 8], channels = 64, depth = 8,
                   thread_pixels = 8, thread_channels = 4, stages = 2, vector = 4>
    ```
  }];
  let parameters = (ins
    EnumParameter<Conv_GPUSchedule>:$schedule,
    ArrayRefParameter<"int64_t">:$box, "int64_t":$channels, "int64_t":$depth,
    "int64_t":$threadPixels, "int64_t":$threadChannels, "int64_t":$stages,
    "int64_t":$vector, DefaultValuedParameter<"bool", "false">:$mixed,
    DefaultValuedParameter<"int64_t", "1">:$split,
    DefaultValuedParameter<"bool", "false">:$packInput);
  let assemblyFormat = [{
    `<` `schedule` `=` $schedule `,` `box` `=` `[` $box `]` `,`
    `channels` `=` $channels `,` `depth` `=` $depth `,`
    `thread_pixels` `=` $threadPixels `,` `thread_channels` `=` $threadChannels `,`
    `stages` `=` $stages `,` custom<GPUPlanEnd>($vector, $mixed, $split, $packInput) `>`
  }];
  let genVerifyDecl = 1;
  let extraClassDeclaration = [{
    /// Pixels of a thread block, images among them.
    int64_t getPixels() const;
    /// Threads of a block.
    int64_t getThreads() const {
      return getPixels() / getThreadPixels() *
             (getChannels() / getThreadChannels());
    }
  }];
}

//===----------------------------------------------------------------------===//
// Phases
//===----------------------------------------------------------------------===//

def Conv_PhaseSplitAttr : Conv_Attr<"PhaseSplit", "split"> {
  let summary = "the phases of one spatial dimension";
  let description = [{
    Output o = q * `step` + r belongs to phase r. Phase r has `taps[r]` taps;
    its tap j is tap `first_tap[r] + j * tap_step` of the window and reads the
    input at `q * input_step + base[r] + j * input_tap_step`, when that lies
    inside [0, `input`); elsewhere the tap contributes nothing. `output` is the
    length of the whole dimension.

    A merged dimension has one phase, whose taps are those of all: lane phase l
    of `step` computes output q * `step` + l + `shift`, where that lies inside
    [0, `output`); its tap j is tap `lane_first_tap[l]` + j * `lane_tap_step` of
    the window for the `lane_taps[l]` values of j that start with the first for
    which this is not negative, and for other j it has none.
  }];
  let parameters = (ins
    "int64_t":$input, "int64_t":$output, "int64_t":$step, "int64_t":$inputStep,
    "int64_t":$tapStep, "int64_t":$inputTapStep,
    ArrayRefParameter<"int64_t">:$firstTap,
    ArrayRefParameter<"int64_t">:$taps,
    ArrayRefParameter<"int64_t">:$base,
    DefaultValuedParameter<"int64_t", "0">:$shift,
    DefaultValuedParameter<"int64_t", "1">:$laneTapStep,
    OptionalArrayRefParameter<"int64_t">:$laneFirstTap,
    OptionalArrayRefParameter<"int64_t">:$laneTaps);
  let builders = [AttrBuilder<(ins "int64_t":$input, "int64_t":$output,
      "int64_t":$step, "int64_t":$inputStep, "int64_t":$tapStep,
      "int64_t":$inputTapStep, "::llvm::ArrayRef<int64_t>":$firstTap,
      "::llvm::ArrayRef<int64_t>":$taps, "::llvm::ArrayRef<int64_t>":$base), [{
    return $_get($_ctxt, input, output, step, inputStep, tapStep, inputTapStep,
                 firstTap, taps, base, 0, 1, ::llvm::ArrayRef<int64_t>(),
                 ::llvm::ArrayRef<int64_t>());
  }]>];
  let assemblyFormat = [{
    `<` `input` `=` $input `,` `output` `=` $output `,` `step` `=` $step `,`
    `input_step` `=` $inputStep `,` `tap_step` `=` $tapStep `,`
    `input_tap_step` `=` $inputTapStep `,` `first_tap` `=` `[` $firstTap `]` `,`
    `taps` `=` `[` $taps `]` `,` `base` `=` `[` $base `]`
    (`,` `shift` `=` $shift^)? (`,` `lane_tap_step` `=` $laneTapStep^)?
    (`,` `lane_first_tap` `=` `[` $laneFirstTap^ `]`)?
    (`,` `lane_taps` `=` `[` $laneTaps^ `]`)? `>`
  }];
  let extraClassDeclaration = [{
    bool isMerged() const { return !getLaneFirstTap().empty(); }
    /// Phases whose outputs share the lanes of one vector.
    int64_t getLanePhases() const {
      return isMerged() ? getLaneFirstTap().size() : 1;
    }
    /// The taps j that lane phase `phase` has, [first, last).
    std::pair<int64_t, int64_t> laneTapRange(int64_t phase) const;
  }];
}

#endif // CONVJIT_DIALECT_CONVATTRS_TD
