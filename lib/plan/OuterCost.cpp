//===- OuterCost.cpp - tiles of outer products and their times -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "plan/OuterCost.h"
#include "plan/OuterTimes.h"

#include <numeric>

using namespace mlir;
using namespace convjit;
using namespace convjit::conv;

namespace {

/// Of the first-level cache, what both operands of a piece may fill, where
/// scalars stay for tiles whose vectors pass by (`order = block`); the share
/// that a step takes longer where they do not, of the first output of a row,
/// for which the vectors come, and of all where even these do not stay. 256 to
/// 128 channels, both 16 KB and 8: k 2 s 2, 16 x 16 x 16, 21.8 ms and 20.5, k 4
/// s 2, 8 x 8 with 8 images, 4.20 and 4.30. (Both 32 KB: 22.4 and 4.22.)
constexpr double pieceCache = 28 << 10, severalCaches = 96 << 10;
constexpr double fetchedVectors = 0.18, fetchedTwice = 0.1;
/// Cycles of a load. 64 to 64 channels, k 3, at 16^3: 16 rows by one vector 36
/// % of the peak, 8 by two 68 %, 12 by two and 8 by three 81 %.
constexpr double load = 0.75;
/// Of vectors half as long, where a whole one takes the FMA units a cycle: 8
/// input channels to 32, k 4 s 2, at 24^3, 8 rows by 8 images 5.7 ms, by 16
/// channels 6.6.
constexpr double narrowLoad = 0.55;
/// Around the loop of a row.
constexpr double rowStart = 10;
/// Bytes a cycle of sums on their way, from the second-level cache and from
/// further away: lines that are apart, and two and more next to each other. The
/// 33 MB of 1024 to 512 channels, k 4 s 2, at 8 x 8: 16 channels by 16 13.1 ms,
/// 32 by 8 10.7, 64 by 6 10.5. And where the third-level cache has room for
/// them beside others' data; of 256 to 128 channels, k 4 s 2, 8 MB, two pieces
/// more take 1.3 ms, of 320 to 256, k 2 s 2, 3 MB, 0.1.
constexpr double nearBytes = 20, farBytes = 4, farRunBytes = 7;
constexpr double sharedSums = 4 << 20, sharedBytes = 12;
/// Cycles that a sum takes more where those of a tile's lanes are apart in the
/// output: as vectors of rows, or of taps, and one by one. 256 to 128 channels,
/// k 4 s 2, at 16 x 16 and batch 4: 128 pieces 25 ms, 64 15.7, 8 7.6.
constexpr double transposedSum = 1, stagedSum = 1.5, scatteredSum = 5;
/// And an image of a tile, where images are planes whose first lines come late.
/// 64 to 32 channels, k 2 s 2, at 32^3: 256 pieces 17.7 ms, 64 11.8.
constexpr double planeStart = 40;

/// Tasks that keep the threads of a large machine busy, and cycles that telling
/// one out is worth.
constexpr double manyTasks = 64, worthTelling = 3e4;

/// Cycles that packing an element takes: of the filter, which goes to memory
/// and comes back where it outgrows the second-level cache, and of the input, a
/// piece at a time. 32 channels of 64^3, which a k 2 s 2 layer made of 32^3:
/// 5.5 ms.
constexpr double packNear = 0.7, packFar = 2, packPiece = 0.7;
/// And where phases are merged, which goes one by one: 3.5 million elements 8.2
/// ms.
constexpr double packMerged = 8;

/// A divisor of the channels or images near `most`, so that the last tile has
/// no code of its own; else equal shares.
int64_t evenRows(int64_t channels, int64_t most) {
  // Of few of them a tile takes several outputs of a row, which share the
  // registers of a whole one.
  if (2 * channels < most)
    return std::max<int64_t>(1, most / 4 * 4);
  for (int64_t rows = most; rows >= std::max<int64_t>(1, most / 2); --rows)
    if (channels % rows == 0)
      return rows;
  return llvm::divideCeil(channels, llvm::divideCeil(channels, most));
}

} // namespace

OuterTimes::OuterTimes(ConvolutionOp op, const Machine &machine,
                       int64_t expected, const PlanShape &shape,
                       SmallVectorImpl<PlanCandidate> &found)
    : op(op), machine(machine), shape(shape), found(found),
      numbers(op.getDimensionNumbers()), last(numbers.getRank() + 1),
      perGroup(shape.channels.perGroup), groups(shape.channels.groups),
      expected(expected),
      images(std::max<int64_t>(1, expected ? expected : perGroup)) {
  auto filter = cast<RankedTensorType>(op.getFilter().getType());
  extents.push_back(std::max<int64_t>(1, shape.reduction));
  for (auto [dim, split] : llvm::enumerate(shape.splits)) {
    OuterDim here(split, filter.getDimSize(numbers.getKernelSpatial()[dim]),
                  /*reversed=*/false);
    extents.push_back(here.last() - here.first());
    inputPixel = std::abs(here.inputStep) * images * groups;
    filterPixel = std::abs(here.filterStep) * perGroup * groups;
    double sum = 0;
    for (auto [lo, hi] : llvm::zip(here.lo, here.hi))
      sum += hi - lo;
    planeOutputs = rowOutputs;
    rowOutputs = std::max<int64_t>(1, here.outputs());
    outputs *= here.outputs();
    pixels.row = sum / std::max<int64_t>(1, here.outputs());
    pixels.each *= pixels.row;
    pixels.box *= extents.back();
  }
  pixels.each *= shape.reduction;
  pixels.box *= shape.reduction;
  outputBytes = outputs * perGroup * images * groups * shape.elementBytes;
  filterElements = filter.getNumElements();
  pixelBytes =
      (filterElements / pixels.box + images * groups) * shape.elementBytes;
}

int64_t OuterTimes::scalarBytes(bool ofImages) {
  auto type = cast<RankedTensorType>(
      (ofImages ? op.getFilter() : op.getInput()).getType());
  int64_t axis =
      ofImages ? numbers.getKernelOutputFeature() : numbers.getInputBatch();
  int64_t bytes = shape.elementBytes;
  for (int64_t size : type.getShape().drop_front(axis + 1))
    // The images before an axis are many.
    bytes *= ShapedType::isDynamic(size) ? 1 : size;
  return bytes;
}

double OuterTimes::lines(bool ofInput, double elements) const {
  int64_t apart = (ofInput ? inputPixel : filterPixel) * shape.elementBytes;
  double all = elements * shape.elementBytes;
  double begins = apart % lineBytes ? lineBytes - 1 : 0;
  return std::min<double>(apart,
                          std::ceil((all + begins) / lineBytes) * lineBytes);
}

bool OuterTimes::planesMeet(const Form &form, int64_t rows) {
  int64_t apart = std::gcd(form.scalarBytes, l1Period);
  return form.scalarBytes >= l1Period && rows * apart > l1Ways * l1Period;
}

Prefetch OuterTimes::prefetch(int64_t chunks, bool isNear) const {
  bool isFar = pixels.box * pixelBytes > machine.l2Bytes;
  bool inPlace = numbers.getInputBatch() == last &&
                 numbers.getKernelOutputFeature() == last;
  return chunks > 1 && isNear && isFar && inPlace ? Prefetch::Both
                                                  : Prefetch::None;
}

double OuterTimes::sumApart(const Form &form, PlanAttr plan, bool areLanes,
                            int64_t rows) {
  if ((areLanes ? form.lanesAxis : form.rowsAxis) == last)
    return 0;
  // Of fewer rows no block is transposed.
  constexpr int64_t fewRows = 4;
  if ((areLanes ? form.rowsAxis : form.lanesAxis) == last)
    return rows < fewRows ? scatteredSum : transposedSum;
  return stagesSums(cast<RankedTensorType>(op.getType()), numbers, plan)
             ? stagedSum
             : scatteredSum;
}

void OuterTimes::add() {
  OuterLanes lanes = outerLanes(numbers);
  bool ofImages = lanes == OuterLanes::Images;
  int64_t batch = numbers.getOutputBatch(),
          features = numbers.getOutputFeature();
  double packing = 0;
  if (lanes == OuterLanes::Packed)
    packing = filterPackingCycles(op, machine, images, /*merged=*/false);
  add({Lanes::Channels, ofImages, ofImages ? batch : features,
       ofImages ? features : batch, scalarBytes(ofImages), packing});
}

void OuterTimes::addPackedImages() {
  // Transposed layers have inputs that are smaller for each channel. Of others,
  // 64 to 32 channels, k 3, at 64 x 64: 1.33 ms, packing the filter 1.29.
  if (outerLanes(numbers) != OuterLanes::Packed || !allowsPackedImages(op) ||
      filterElements / (perGroup * groups) < 2 * pixels.box)
    return;
  add({Lanes::Images, /*ofImages=*/true, numbers.getOutputBatch(),
       numbers.getOutputFeature(), scalarBytes(/*ofImages=*/true),
       packPiece * pixels.box * groups});
}

SmallVector<OuterTimes::Share> OuterTimes::imageTiles(int64_t most) const {
  // Not known: many, or in a group about as many as it has channels.
  if (!expected && groups > 1)
    most = std::min(most, perGroup);
  if (!expected)
    return {{most, 1.0 / static_cast<double>(most)}};
  SmallVector<Share> tiles;
  for (int64_t count : convjit::imageTiles(images, most)) {
    double times = count == most ? static_cast<double>(images / most) : 1;
    tiles.push_back({count, times / static_cast<double>(images)});
  }
  return tiles;
}

void OuterTimes::add(const Form &form) {
  // Where the number of images is not known: often a multiple of 32, rarely of
  // 48.
  constexpr int64_t mostRows = 16;
  // 256 to 128 channels, k 2 s 2, at 16 x 16 x 16, where a vector takes the FMA
  // units a cycle: packed images in lanes of one 22.4 ms, of two 24.4; in six
  // such layers one is as fast or faster.
  bool one =
      form.lanes == Lanes::Images && machine.fmaBits <= machine.vectorBits;
  const int64_t mostVectors = one ? 1 : form.ofImages ? 2 : 4;
  int64_t lanesUsed = form.ofImages ? images : perGroup;
  for (int64_t vectors = 1; vectors <= mostVectors; ++vectors) {
    int64_t width = vectors * shape.lanes;
    if ((!form.ofImages || expected) && width >= lanesUsed + shape.lanes)
      break;
    int64_t rows = std::clamp<int64_t>(
        (machine.registers - 1 - vectors) / vectors, 1, mostRows);
    // Of few images a tile takes as few planes, whatever it has room for.
    if (form.ofImages || !expected || images > rows)
      while (planesMeet(form, rows))
        --rows;
    // Lanes that no image would ever have take room in what is packed.
    if (form.ofImages && expected)
      width = std::min(width, images);
    if (form.ofImages)
      rows = evenRows(perGroup, rows);
    else if (expected)
      rows = evenRows(images, rows);
    else if (groups > 1 && perGroup <= rows)
      rows = perGroup;
    else
      // Channels are rarely multiples of anything else.
      rows = rows >= 12 ? llvm::bit_floor<uint64_t>(rows) : rows / 4 * 4;
    if (rows >= 1)
      add(form, rows, width);
  }
}

double OuterTimes::place(const Form &form, double size, int64_t rows,
                         int64_t width, bool isNear) const {
  bool isFar = size * pixelBytes >= 0.5 * machine.l2Bytes;
  // Few images leave the lanes to the channels.
  bool inPlace =
      !isPlane(form) && form.lanes != Lanes::Images && width >= shape.lanes;
  double vectors =
      size * (inPlace ? lines(form.ofImages, width)
                      : static_cast<double>(width) * shape.elementBytes);
  if (isNear || !inPlace) {
    // Packed images follow each other: 64 to 32 channels, k 2 s 2, at 32^3, 64
    // KB of them are as fast as 16.
    return vectors < vectorCache         ? 1
           : form.lanes == Lanes::Images ? 1.05
           : isFar                       ? 2
                                         : 1.3;
  }
  double both = vectors + size * lines(!form.ofImages, rows);
  if (both < pieceCache)
    return 1;
  double first = fetchedVectors / rowOutputs;
  return both < severalCaches ? 1 + first
         : isFar              ? 2
                              : 1 + std::max(first, fetchedTwice);
}

void OuterTimes::add(const Form &form, int64_t rows, int64_t width) {
  bool ofImages = form.ofImages;
  SmallVector<Share> tiles = imageTiles(ofImages ? width : rows);
  // Of a tile with so many images, its rows and lanes. Few images that could be
  // lanes are rows.
  auto areLanes = [&](int64_t count) {
    return ofImages && !leavesLanes(numbers, count);
  };
  auto rowsOf = [&](int64_t count) {
    return areLanes(count) ? std::min(rows, perGroup) : count;
  };
  auto lanesOf = [&](int64_t count) {
    return areLanes(count) ? lanesOfImages(count)
           : ofImages      ? std::min(rows, perGroup)
                           : width;
  };
  int64_t vectorBits = machine.vectorBits;
  auto stepOf = [&](int64_t count) {
    double used = rowsOf(count), lanes = lanesOf(count);
    bool narrow = 2 * lanes <= shape.lanes && machine.fmaBits <= vectorBits;
    return std::max(used * shape.fmaCycles(lanes),
                    (narrow ? narrowLoad : load) *
                        (used + std::ceil(lanes / shape.lanes)));
  };
  // Outputs of a row for which a tile of few sums loads a vector once, so that
  // it matters less where it comes from. 56 to 1 channels, k 9 s 3: 7 pieces
  // 0.59 ms, 56 that stay in the first-level cache 0.66.
  auto sharing = [&](int64_t count) {
    double full = rows * std::ceil(static_cast<double>(width) / shape.lanes);
    double sums = rowsOf(count) *
                  std::ceil(static_cast<double>(lanesOf(count)) / shape.lanes);
    double outputsTogether = std::min(full / sums, rowOutputs);
    return outputsTogether < 4 ? 1 : outputsTogether;
  };
  double blocks = llvm::divideCeil(perGroup, ofImages ? rows : width);
  // Sums that follow each other in the output.
  int64_t run = form.lanesAxis == last  ? width
                : form.rowsAxis == last ? rows
                                        : 1;
  double far = outputBytes < sharedSums                    ? sharedBytes
               : run * shape.elementBytes >= 2 * lineBytes ? farRunBytes
                                                           : farBytes;
  // Where tasks are few the pieces are what threads share.
  double tasks = groups * blocks * outputs / rowOutputs, step = 0;
  for (auto [count, share] : tiles)
    step = std::max(step, stepOf(count));
  double fewestPieces =
      std::min(manyTasks / tasks,
               tasks * rowOutputs * pixels.each * step / worthTelling);
  PlanAttr best;
  double fewest = std::numeric_limits<double>::infinity();
  for (double piece = 32;; piece *= 2) {
    double wanted = pixels.box / piece;
    int64_t chunks = std::clamp<int64_t>(
        std::llround(std::max(wanted, fewestPieces)), 1, 1 << 20);
    // Pieces are whole rows, or equal parts of one.
    OuterBlock block =
        outerBlock(extents, llvm::divideCeil(pixels.box, chunks));
    double size = block.size;
    for (int64_t extent : ArrayRef(extents).drop_front(block.dim + 1))
      size *= extent;
    double pieces = pixels.box / size;
    // 64 to 32 channels, k 4 s 2, batch 4: sums and piece fill 0.81 of it, 17.2
    // ms; twice as many pieces 17.7.
    bool isNear = outputBytes + size * pixelBytes < 0.85 * machine.l2Bytes;
    double further = place(form, size, rows, width, isNear) - 1;
    double inPiece = pixels.each / pieces;
    auto plan = PlanAttr::get(
        op.getContext(), form.lanes, width, rows,
        /*unroll=*/1, RowForm::Outer, chunks,
        /*merged=*/0, isNear ? Order::Filter : Order::Block,
        /*fold=*/1, prefetch(chunks, isNear), /*strip=*/0, streamingBytes);
    double tile = 0;
    for (auto [count, share] : tiles) {
      double used = rowsOf(count), sums = used * lanesOf(count);
      double apart =
          sumApart(form, plan, !ofImages || areLanes(count), rowsOf(count));
      tile +=
          share * (tileStart +
                   2 * sums * shape.elementBytes / (isNear ? nearBytes : far) +
                   apart * sums + (isPlane(form) ? planeStart * used : 0) +
                   inPiece * stepOf(count) * (1 + further / sharing(count)) +
                   inPiece / std::max(1.0, pixels.row) * rowStart);
    }
    double cycles = pieces * tile * blocks * outputs * groups + form.packing;
    if (cycles < fewest && whyPlanIsImpossible(op, plan).empty()) {
      fewest = cycles;
      best = plan;
    }
    if (wanted < 1.5)
      break;
  }
  if (best)
    found.push_back({best, fewest});
}

double convjit::filterPackingCycles(ConvolutionOp op, const Machine &machine,
                                    int64_t images, bool merged) {
  auto filter = cast<RankedTensorType>(op.getFilter().getType());
  auto elements = static_cast<double>(filter.getNumElements());
  double bytes = elements * filter.getElementTypeBitWidth() / 8;
  double each = merged                    ? packMerged
                : bytes < machine.l2Bytes ? packNear
                                          : packFar;
  return elements * each / static_cast<double>(images);
}

void convjit::addOuterCandidates(ConvolutionOp op, const Machine &machine,
                                 int64_t images, const PlanShape &shape,
                                 SmallVectorImpl<PlanCandidate> &found) {
  // With the batch outermost it is a layer, and not the gradient of one.
  if (!allowsOuterProducts(op) || op.getDimensionNumbers().getInputBatch() == 0)
    return;
  OuterTimes times(op, machine, images, shape, found);
  times.addAcrossGroups();
  times.add();
  times.addPackedImages();
}
