//===- OuterProducts.h - long filters as sums of outer products -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The gradient of a layer's weight is a convolution with few outputs (the
// layer's taps), whose images are the layer's input channels and whose filter
// is the output's gradient, as long as that. Seen from the weight, each of its
// elements is a sum over all pixels, and those of one tap are the outer product
// of two vectors of channels, summed over pixels: `row = outer`.
//
//===----------------------------------------------------------------------===//

#ifndef CONVJIT_LIB_OUTER_OUTERPRODUCTS_H
#define CONVJIT_LIB_OUTER_OUTERPRODUCTS_H

#include "geometry/Geometry.h"

namespace convjit {

/// The sums of all outputs along one spatial dimension. Output t sums, for the
/// j in [lo[t], hi[t]), the products of input inputStep*j + input[t] and filter
/// element filterStep*j + filter[t].
struct OuterDim {
  int64_t inputStep = 1, filterStep = 1;
  llvm::SmallVector<int64_t> lo, hi, input, filter;

  OuterDim(conv::PhaseSplitAttr split, int64_t kernel, bool reversed);

  int64_t outputs() const { return lo.size(); }
  /// The j of any output; one at least.
  int64_t first() const;
  int64_t last() const;
};

/// A piece of the box of all j: single values of the dimensions before `dim`,
/// `size` of that one, and all of those after it.
struct OuterBlock {
  int64_t dim, size;
};
/// Pieces of up to about `most` values of j, of `extents` in each dimension.
OuterBlock outerBlock(llvm::ArrayRef<int64_t> extents, int64_t most);

/// Which operand has the lanes: `Packed`, the filter, once its channels are
/// packed to be neighbours.
enum class OuterLanes { Packed, Channels, Images };
/// Without a plan that says images, that whose channels are neighbours in
/// memory; where both are, that whose are neighbours in the output too.
OuterLanes outerLanes(conv::DimensionNumbersAttr numbers,
                      conv::PlanAttr plan = {});

/// Whether a convolution can be summed so, whatever the sizes of its tiles:
/// without epilogue, bias, mask and feature groups, and where images are last
/// in the input with images that are neighbours in memory.
bool allowsOuterProducts(conv::ConvolutionOp op);

/// Whether a plan may say `lanes = images`, which packs the input: its images
/// are apart, its rows are not, and its pixels are the j of every output.
bool allowsPackedImages(conv::ConvolutionOp op);
/// Elements of a piece of the input, for one image, in so many pieces.
int64_t packedImageElements(conv::ConvolutionOp op, int64_t chunks);
/// Most bytes on the stack of them.
constexpr int64_t mostPackedBytes = 64 << 10;

/// Images of the output in a batch group that a kernel is made for; without it
/// their number is not known. Tiles are cut for them, and others are right too.
constexpr llvm::StringLiteral imagesAttr = "conv.images";

/// The images of tiles of up to `most`, of so many: whole tiles, and the last
/// one.
llvm::SmallVector<int64_t> imageTiles(int64_t images, int64_t most);

/// Whether so few images, of those that have the lanes, leave them to the
/// channels, which are neighbours in the filter. One channel to 32, k 4 s 2, at
/// 24^3: with one lane 5 % of the peak.
bool leavesLanes(conv::DimensionNumbersAttr numbers, int64_t images);

/// Length of the vectors of so many images or channels.
int64_t lanesOfImages(int64_t count);

/// All outputs of one image and channel.
int64_t outputTaps(llvm::ArrayRef<OuterDim> dims);
/// Whether sums are staged on their way to the output (StagedSums.h): its taps
/// come last in memory.
bool stagesSums(mlir::ShapedType output, conv::DimensionNumbersAttr numbers,
                conv::PlanAttr plan);

/// Whether lanes may then be neighbouring groups: these have few output
/// channels each, and both operands have them last in memory. Tiles are so
/// for some numbers of images, which only a call tells.
bool allowsOuterGroups(conv::ConvolutionOp op);
constexpr int64_t maxChannelsOfOuterGroups = 8;
/// Lanes of the longest vector of which a part is loaded: masks are words.
constexpr int64_t maxMaskedLanes = 64;
/// Those numbers, for groups of so many channels: as many, one, half or twice
/// as many, up to maxChannelsOfOuterGroups.
llvm::SmallVector<int64_t> imagesAcrossGroups(int64_t channels);

} // namespace convjit

#endif // CONVJIT_LIB_OUTER_OUTERPRODUCTS_H
