//===- Geometry.h - phases, channel blocks and row tiles as plain numbers -*-
// C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

// The arithmetic that several passes share, free of IR construction.
//
//===----------------------------------------------------------------------===//

#ifndef CONVJIT_LIB_GEOMETRY_GEOMETRY_H
#define CONVJIT_LIB_GEOMETRY_GEOMETRY_H

#include "ConvDialect.h"

namespace convjit {

/// The phases of spatial dimension `dim` of a convolution.
conv::PhaseSplitAttr splitDimension(conv::WindowAttr window, int64_t dim,
                                    int64_t input, int64_t kernel);

/// The same dimension with all its phases in the lanes of one, or nothing where
/// they have no tap in common or too many to share a vector.
std::optional<conv::PhaseSplitAttr> mergePhases(conv::PhaseSplitAttr split);
/// Whether all phases of the lanes have all the taps (also if not merged).
bool hasUniformLanes(conv::PhaseSplitAttr split);

/// Whether lanes (phase of the row, channel) follow each other in the output,
/// from pixel to pixel: groups of `perGroup` channels.
bool mergedLanesAreContiguous(llvm::ArrayRef<int64_t> output,
                              conv::DimensionNumbersAttr numbers,
                              int64_t perGroup);

/// The same dimension with `fold` times as many phases: each pixel of `fold`
/// neighbours of a phase is one.
conv::PhaseSplitAttr foldPixels(conv::PhaseSplitAttr split, int64_t fold);

/// The splits of a convolution, pixels of the last folded and the last `merged`
/// dimensions merged where they have several phases; nothing if one of those
/// cannot be.
std::optional<llvm::SmallVector<conv::PhaseSplitAttr>>
splitConvolution(conv::ConvolutionOp op, int64_t merged, int64_t fold = 1);

/// Why `plan` is not possible for `op`; empty if it is.
std::string whyPlanIsImpossible(conv::ConvolutionOp op, conv::PlanAttr plan);
std::string whyPlanIsImpossible(conv::ConvolutionOp op, conv::GPUPlanAttr plan);

/// Bytes of a cache line.
constexpr int64_t lineBytes = 64;
/// What is larger comes from memory, not from the third-level cache.
constexpr int64_t sharedCache = int64_t(8) << 20;
/// Elements of `bits` bits in a line.
constexpr int64_t lineElements(int64_t bits) { return lineBytes * 8 / bits; }

/// Elements from one index of each axis to the next: of a buffer, and of the
/// input of a convolution. kDynamic where they depend on the batch.
llvm::SmallVector<int64_t> stridesOf(mlir::MemRefType buffer);
llvm::SmallVector<int64_t> inputStrides(conv::ConvolutionOp op);
/// Whether the elements of this axis of the input are neighbours in memory.
bool isInnermostOfInput(conv::ConvolutionOp op, int64_t axis);

/// Bytes of one image of a tensor or buffer, whose batch is dynamic, gaps not
/// counted.
int64_t imageBytes(mlir::ShapedType type);

/// Lanes of a vector of `pixels`, or of a tile of them: whole lines, and a
/// power of two for the rest, so that 11 pixels are one vector and not three.
int64_t paddedPixels(int64_t pixels, int64_t elementBits);

/// Input channels of a group up to which neighbouring groups share vectors:
/// each is a shuffle of its own.
constexpr int64_t maxChannelsAcrossGroups = 16;

/// Whether lanes may hold neighbouring groups: each has few input channels, one
/// with a mask, and those of a pixel are neighbours in memory.
bool allowsLanesAcrossGroups(conv::ConvolutionOp op);

/// Whether lanes may hold pixels: the row is last in memory, and each phase
/// reads it with step 1, 2 or 4.
bool allowsLanesOfPixels(conv::ConvolutionOp op);

/// Whether lanes may hold input channels: those of a pixel are neighbours in
/// memory.
bool allowsLanesOfReduction(conv::ConvolutionOp op);

/// Whether the pixels of an input row are one piece of memory, or follow each
/// other in each channel: a tile can ask for them ahead.
bool allowsInputPrefetch(conv::ConvolutionOp op);

/// How output channels are divided among vectors.
struct ChannelBlocks {
  conv::Lanes lanes;
  int64_t groups;   ///< feature or batch groups
  int64_t perGroup; ///< output channels of a group
  int64_t width;    ///< lanes of a full block
  /// Merged phases; lane (phase, channel) comes at phase * perGroup + channel.
  int64_t phases = 1;

  /// Channels (or pixels): those of one group. Lanes::Groups: those of all.
  /// Blocks are cut from these, with Lanes::Groups between groups.
  int64_t lanesInRun() const {
    return lanes == conv::Lanes::Groups ? groups * perGroup : perGroup * phases;
  }
  int64_t blocksPerGroup() const;
  int64_t blocks() const;
  /// Lanes of the last of those blocks that exist; 0 when it is full.
  int64_t tail() const;
  bool hasFullBlock() const;
  /// Vector length for `valid` lanes: whole runs of 16 lanes and a power of two
  /// for the rest, so that a tail costs no more than it must. Lanes::Reduction:
  /// each has a vector of its own.
  int64_t vectorWidth(int64_t valid) const;
  /// The output channel in `lane` of `block`, or -1. Without merged phases.
  int64_t channel(int64_t block, int64_t lane) const;
};

/// Whether what blocks of channels write of a pixel is whole lines, if the
/// output begins with one. Blocks of neighbouring groups begin anywhere, others
/// in a group.
bool storesWholeLines(const ChannelBlocks &channels,
                      conv::DimensionNumbersAttr numbers, int64_t elementBytes);

/// Part of a vector that is a power of two long.
struct LanePiece {
  int64_t first, size;
};
/// 48 lanes are 32 and 16: LLVM's back end takes a vector of 48 apart element
/// by element (10 % of the peak instead of 95 %).
/// No piece has more than `most` lanes, a power of two.
llvm::SmallVector<LanePiece> lanePieces(int64_t width, int64_t most = int64_t(1)
                                                                      << 62);

/// A run of pixels [first, first + pixels) of one phase of an output row.
struct RowTile {
  int64_t first;
  int64_t pixels;
};

/// One phase of a row cut into tiles: those at the left border, `midCount`
/// tiles of `pixels` that have all their taps, from `midFirst` on, and the
/// rest.
struct RowCut {
  llvm::SmallVector<RowTile> left, right;
  int64_t midFirst = 0;
  int64_t midCount = 0;
  /// More border tiles than anyone would unroll: they are not listed.
  bool oversized = false;
};

/// Number of outputs of phase `phase`.
int64_t phaseLength(conv::PhaseSplitAttr split, int64_t phase);
/// Whether the last output row or pixel of a merged dimension lacks lanes.
bool lastIsPartial(conv::PhaseSplitAttr split);
RowCut cutRow(conv::PhaseSplitAttr split, int64_t phase, int64_t pixels);

/// Channels up to which the reduction over them is not a loop.
constexpr int64_t maxUnrolledChannels = 4;

/// FMAs up to which the taps of a row share one body, where they can.
constexpr int64_t maxRowFMAs = 256, maxGroupRowFMAs = 512;

/// Vector FMAs in the code of a row that is cut with tiles of `pixels` by
/// `vectors` and unrolled: what such a row costs in code and compile time.
/// `spellsTaps`: interior tiles have no loop over taps. `epilogueOps`
/// operations on each stored vector count as FMAs.
int64_t unrolledFMAs(conv::PhaseSplitAttr split, int64_t pixels,
                     int64_t vectors, int64_t reduction, int64_t unroll,
                     bool spellsTaps = false, int64_t epilogueOps = 0);

/// For each tap of the phase the pixels [lo, hi) of a tile that have it.
llvm::SmallVector<int64_t> tapPixels(conv::PhaseSplitAttr split, int64_t phase,
                                     RowTile tile);

/// Channels and tasks of one planned convolution.
struct TaskSpace {
  ChannelBlocks channels;
  llvm::SmallVector<conv::PhaseSplitAttr> splits;
  int64_t chunks;

  /// Phases of `dim` that any output belongs to, and the longest of them.
  int64_t phases(int64_t dim) const;
  int64_t rows(int64_t dim) const;
  int64_t tasksPerImage() const;
};

TaskSpace taskSpace(conv::PhasesOp op);

} // namespace convjit

#endif // CONVJIT_LIB_GEOMETRY_GEOMETRY_H
