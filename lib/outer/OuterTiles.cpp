//===- OuterTiles.cpp - sums of outer products as vectors -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Passes.h"
#include "outer/OuterProducts.h"
#include "outer/OuterSums.h"
#include "outer/TileOuter.h"
#include "support/CarriedLoop.h"

#include <map>

namespace convjit {
#define GEN_PASS_DEF_CONVVECTORIZEOUTER
#include "Passes.h.inc"
} // namespace convjit

using namespace mlir;
using namespace convjit;
using namespace convjit::conv;

namespace {

/// Expands one conv.outer_tile.
class OuterTile : OuterSums {
public:
  OuterTile(OuterTileOp op, OpBuilder &b, LaneMasks &masks)
      : OuterSums(op, b, masks), dims(op.getFilterSteps().size()) {
    inputTaps.assign(pixels, 0);
    filterTaps.assign(pixels, 0);
    if (op.getInputTaps()) {
      inputTaps.assign(op.getInputTaps()->begin(), op.getInputTaps()->end());
      filterTaps.assign(op.getFilterTaps()->begin(), op.getFilterTaps()->end());
    }
  }

  void run() {
    if (op->hasAttr(farSumsAttr))
      prefetch();
    Sums sums = initial();
    int64_t one = sums.size();
    for (int64_t copy = 1, end = op.getCopies(); copy < end; ++copy)
      for (int64_t i = 0; i < one; ++i)
        sums.push_back(zeroOf(sums[i].getType()));
    SmallVector<int64_t> all = llvm::to_vector(llvm::seq<int64_t>(pixels));
    nest(0, op.getInputAt(), op.getFilterAt(), sums, all);
    for (int64_t copy = 1, end = op.getCopies(); copy < end; ++copy)
      for (int64_t i = 0; i < one; ++i)
        sums[i] = arith::AddFOp::create(b, loc, sums[i], sums[copy * one + i]);
    sums.truncate(one);
    finish(sums);
  }

private:
  //===--------------------------------------------------------------------===//
  // Loops
  //===--------------------------------------------------------------------===//

  /// for j in [lo, hi) step `step`, with `sums` carried.
  void carry(Value lo, Value hi, int64_t step, Sums &sums,
             llvm::function_ref<void(Value)> body) {
    carriedLoop(b, loc, lo, hi, math.constant(step), sums, body);
  }

  void nest(int64_t dim, Value input, Value filter, Sums &sums,
            ArrayRef<int64_t> which) {
    Value lo = op.getRanges()[2 * dim], hi = op.getRanges()[2 * dim + 1];
    if (dim + 1 == dims)
      return row(lo, hi, input, filter, sums, which);
    auto over = [&](Value from, Value to, ArrayRef<int64_t> pixels) {
      carry(from, to, 1, sums, [&](Value j) {
        nest(dim + 1,
             math.add(input, b.createOrFold<arith::MulIOp>(
                                 loc, j, op.getInputSteps()[dim])),
             math.add(filter, math.mul(j, op.getFilterSteps()[dim])), sums,
             pixels);
      });
    };
    if (dim + 2 != dims || !op.getPlaneRanges())
      return over(lo, hi, which);
    forParts(*op.getPlaneRanges(), which,
             [&](int64_t from, int64_t to, ArrayRef<int64_t> pixels) {
               over(math.max(lo, math.constant(from)),
                    math.min(hi, math.constant(to)), pixels);
             });
  }

  /// The bounds of the parts in which the same pixels have their j.
  static SmallVector<int64_t> cutsOf(ArrayRef<int64_t> ranges,
                                     ArrayRef<int64_t> which) {
    SmallVector<int64_t> cuts;
    for (int64_t pixel : which)
      cuts.append({ranges[2 * pixel], ranges[2 * pixel + 1]});
    llvm::sort(cuts);
    cuts.erase(llvm::unique(cuts), cuts.end());
    return cuts;
  }

  /// body(from, to, pixels) for each of them.
  static void
  forParts(ArrayRef<int64_t> ranges, ArrayRef<int64_t> which,
           llvm::function_ref<void(int64_t, int64_t, ArrayRef<int64_t>)> body) {
    SmallVector<int64_t> cuts = cutsOf(ranges, which);
    for (size_t i = 0; i + 1 < cuts.size(); ++i) {
      SmallVector<int64_t> pixels;
      for (int64_t pixel : which)
        if (ranges[2 * pixel] <= cuts[i] &&
            cuts[i + 1] <= ranges[2 * pixel + 1])
          pixels.push_back(pixel);
      if (!pixels.empty())
        body(cuts[i], cuts[i + 1], pixels);
    }
  }

  /// The j of a row: those that all pixels have, and before and after them
  /// those of fewer.
  void row(Value lo, Value hi, Value input, Value filter, Sums &sums,
           ArrayRef<int64_t> all) {
    if (!op.getTapRanges())
      return span(lo, hi, op.getUnroll(), all, input, filter, sums);
    ArrayRef<int64_t> ranges = *op.getTapRanges();
    auto clipped = [&](int64_t from, int64_t to, ArrayRef<int64_t> which,
                       int64_t unroll) {
      if (from < to)
        span(math.max(lo, math.constant(from)), math.min(hi, math.constant(to)),
             unroll, which, input, filter, sums);
    };
    // Of few parts, each has the pixels that are in it together.
    constexpr size_t fewCuts = 6;
    if (cutsOf(ranges, all).size() <= fewCuts)
      return forParts(ranges, all,
                      [&](int64_t from, int64_t to, ArrayRef<int64_t> which) {
                        bool whole = which.size() == all.size();
                        clipped(from, to, which, whole ? op.getUnroll() : 1);
                      });
    int64_t latest = INT64_MIN, earliest = INT64_MAX;
    for (int64_t pixel : all) {
      latest = std::max(latest, ranges[2 * pixel]);
      earliest = std::min(earliest, ranges[2 * pixel + 1]);
    }
    earliest = std::max(earliest, latest);
    for (int64_t pixel : all)
      clipped(ranges[2 * pixel], std::min(latest, ranges[2 * pixel + 1]), pixel,
              1);
    clipped(latest, earliest, all, op.getUnroll());
    for (int64_t pixel : all)
      clipped(std::max(earliest, ranges[2 * pixel]), ranges[2 * pixel + 1],
              pixel, 1);
  }

  /// The j in [lo, hi) of some pixels, `unroll` at a time.
  void span(Value lo, Value hi, int64_t unroll, ArrayRef<int64_t> which,
            Value input, Value filter, Sums &sums) {
    // Only what changes is carried.
    int64_t each = rows * pieces.size(), one = pixels * each;
    SmallVector<int64_t> places;
    int64_t copies = unroll > 1 ? op.getCopies() : 1;
    for (int64_t copy = 0; copy < copies; ++copy)
      for (int64_t pixel : which)
        for (int64_t i = 0; i < each; ++i)
          places.push_back(copy * one + pixel * each + i);
    auto run = [&](Value from, Value to, int64_t step) {
      Sums carried;
      for (int64_t place : places)
        carried.push_back(sums[place]);
      Sums inside = sums;
      carry(from, to, step, carried, [&](Value j) {
        for (auto [place, sum] : llvm::zip(places, carried))
          inside[place] = sum;
        products(j, step, which, input, filter, inside);
        for (auto [place, sum] : llvm::zip(places, carried))
          sum = inside[place];
      });
      for (auto [place, sum] : llvm::zip(places, carried))
        sums[place] = sum;
    };
    Value middle = lo;
    if (unroll > 1) {
      Value count = math.max(math.sub(hi, lo), math.constant(0));
      middle = math.add(lo, math.mul(math.floorDiv(count, unroll), unroll));
      run(lo, middle, unroll);
    }
    run(middle, hi, 1);
  }

  //===--------------------------------------------------------------------===//
  // What later tiles read
  //===--------------------------------------------------------------------===//

  /// Asks for `elements` from `at` on.
  void askFor(Value tensor, Value at, int64_t elements) {
    Value line = view(tensor, at);
    int64_t each = lineElements(element.getIntOrFloatBitWidth());
    for (int64_t first = 0; first < elements; first += each)
      memref::PrefetchOp::create(b, loc, line, math.constant(first),
                                 /*isWrite=*/false, /*localityHint=*/2,
                                 /*isDataCache=*/true);
  }

  /// Of one j: the vectors of lanes, and scalars that follow each other.
  void askForVectors(Value inputHere, Value filterHere,
                     ArrayRef<int64_t> which) {
    auto elements = [&](bool hasLanes) -> int64_t {
      int64_t lanes = op.getValid();
      if (hasLanes)
        return lanes;
      if (op.getLanesOfGroups())
        return lanes / *op.getLanesOfGroups() * rows;
      return getConstantIntValue(op.getScalarStep()) == 1 ? rows : 0;
    };
    // Of pixels, those that no other j comes to.
    auto forPixels = [&](ArrayRef<int64_t> taps, int64_t step,
                         llvm::function_ref<void(int64_t)> body) {
      step = std::max<int64_t>(1, std::abs(step));
      SmallVector<int64_t> seen;
      for (int64_t pixel : which) {
        int64_t place = (taps[pixel] % step + step) % step;
        if (!llvm::is_contained(seen, place)) {
          seen.push_back(place);
          body(taps[pixel]);
        }
      }
    };
    bool ofImages = op.getLanesOfImages();
    if (Value ahead = op.getInputAhead())
      forPixels(inputTaps, op.getInputPixelStep(), [&](int64_t tap) {
        Value at = math.add(inputHere, math.mul(op.getInputPixel(), tap));
        askFor(op.getInput(), math.add(at, ahead), elements(ofImages));
      });
    if (Value ahead = op.getFilterAhead())
      forPixels(filterTaps, op.getFilterSteps()[dims - 1], [&](int64_t tap) {
        askFor(op.getFilter(), math.add(math.add(filterHere, tap), ahead),
               elements(!ofImages));
      });
  }

  //===--------------------------------------------------------------------===//
  // Products
  //===--------------------------------------------------------------------===//

  /// The FMAs of `count` neighbouring j.
  void products(Value j, int64_t count, ArrayRef<int64_t> which, Value input,
                Value filter, Sums &sums) {
    int64_t last = dims - 1, filterStep = op.getFilterSteps()[last];
    Value inputHere = math.add(
        input, b.createOrFold<arith::MulIOp>(loc, j, op.getInputSteps()[last]));
    Value filterHere = math.add(filter, math.mul(j, filterStep));
    // What pixels share is loaded once.
    std::map<int64_t, Value> views[2];
    auto place = [&](bool ofInput, int64_t u, int64_t pixel) {
      int64_t ahead = ofInput
                          ? u * static_cast<int64_t>(op.getInputPixelStep()) +
                                inputTaps[pixel]
                          : u * filterStep + filterTaps[pixel];
      Value &known = views[ofInput][ahead];
      if (!known)
        known =
            ofInput
                ? view(op.getInput(),
                       math.add(inputHere, math.mul(op.getInputPixel(), ahead)))
                : view(op.getFilter(), math.add(filterHere, ahead));
      return known;
    };
    std::map<std::pair<Operation *, int64_t>, Value> scalars, vectors,
        imagesOfGroups;
    std::map<std::tuple<Operation *, int64_t, int64_t>, Value> rowsOfGroups;
    bool ofImages = op.getLanesOfImages();
    int64_t each = rows * pieces.size(), one = pixels * each;
    int64_t copies = op.getCopies();
    for (int64_t u = 0; u < count; ++u) {
      int64_t inputStep = op.getInputPixelStep();
      askForVectors(
          math.add(inputHere, math.mul(op.getInputPixel(), u * inputStep)),
          math.add(filterHere, u * filterStep), which);
      for (int64_t pixel : which) {
        Value vectorsFrom = place(ofImages, u, pixel);
        Value scalarsFrom = place(!ofImages, u, pixel);
        for (int64_t row = 0; row < rows; ++row) {
          Value &scalar = scalars[{scalarsFrom.getDefiningOp(), row}];
          if (!scalar && !op.getLanesOfGroups())
            scalar = memref::LoadOp::create(
                b, loc, scalarsFrom,
                ValueRange{math.mul(op.getScalarStep(), row)});
          for (auto [i, piece] : llvm::enumerate(pieces)) {
            if (validOf(piece) == 0)
              continue;
            auto vector = [&](Value from) {
              Value &lanes = vectors[{from.getDefiningOp(), i}];
              if (!lanes)
                lanes = loadLanes(from, piece);
              return lanes;
            };
            auto images = [&](Value from) {
              Value &loaded = imagesOfGroups[{from.getDefiningOp(), i}];
              if (!loaded)
                loaded = loadImages(from, piece);
              return loaded;
            };
            Value lanes = vector(vectorsFrom);
            auto spread = [&] {
              Value &spread =
                  rowsOfGroups[{scalarsFrom.getDefiningOp(), row, i}];
              if (!spread)
                spread = imageOfGroups(images(scalarsFrom), row, piece);
              return spread;
            };
            Value x = op.getLanesOfGroups()
                          ? spread()
                          : vector::BroadcastOp::create(b, loc, typeOf(piece),
                                                        scalar);
            int64_t copy = count > 1 ? u % copies : 0;
            Value &sum =
                sums[copy * one + pixel * each + row * pieces.size() + i];
            sum = vector::FMAOp::create(b, loc, x, lanes, sum);
          }
        }
      }
    }
  }

  /// The images of a piece's groups, next to each other.
  Value loadImages(Value from, LanePiece piece) {
    int64_t channels = *op.getLanesOfGroups();
    // A piece begins with a group.
    int64_t first = piece.first / channels * rows;
    int64_t valid = llvm::divideCeil(validOf(piece), channels) * rows;
    auto size = static_cast<int64_t>(llvm::bit_ceil<uint64_t>(valid));
    return loadHalves(from, first, valid, size);
  }

  /// The same as loadFirst, of any size.
  Value loadHalves(Value from, int64_t first, int64_t valid, int64_t size) {
    if (size <= maxMaskedLanes)
      return loadFirst(from, first, valid, size);
    int64_t half = size / 2;
    Value low = loadHalves(from, first, std::min(valid, half), half);
    // Of no more than half, the size would be half as large.
    Value high = loadHalves(from, first + half, valid - half, half);
    return vector::ShuffleOp::create(b, loc, low, high,
                                     llvm::to_vector(llvm::seq<int64_t>(size)));
  }

  /// In the lanes of each group, its image `row`.
  Value imageOfGroups(Value images, int64_t row, LanePiece piece) {
    int64_t channels = *op.getLanesOfGroups();
    int64_t size = cast<VectorType>(images.getType()).getNumElements();
    if (rows == 1 && channels == 1 && size == piece.size)
      return images;
    SmallVector<int64_t> from;
    for (int64_t lane = 0; lane < piece.size; ++lane)
      from.push_back(std::min(lane / channels * rows + row, size - 1));
    return vector::ShuffleOp::create(b, loc, images, images, from);
  }

  Value loadLanes(Value from, LanePiece piece) {
    return loadFirst(from, piece.first, validOf(piece), piece.size);
  }

  Value loadFirst(Value from, int64_t first, int64_t valid, int64_t size) {
    SmallVector<Value> at = {math.constant(first)};
    auto type = VectorType::get({size}, element);
    // Short vectors have no masks worth using.
    constexpr int64_t maskable = 8;
    if (valid == size || size < maskable)
      return masks.loadFirst(b, loc, type, from, at, 1, valid);
    SmallVector<bool> lanes(size, false);
    std::fill_n(lanes.begin(), valid, true);
    return masks.load(b, loc, type, from, at, 1, lanes);
  }

  int64_t dims;
  SmallVector<int64_t> inputTaps, filterTaps;
};

struct ConvVectorizeOuterPass
    : convjit::impl::ConvVectorizeOuterBase<ConvVectorizeOuterPass> {
  void runOnOperation() override {
    for (auto func : getOperation().getOps<func::FuncOp>()) {
      LaneMasks masks(func);
      SmallVector<OuterTileOp> ops;
      func.walk([&](OuterTileOp op) { ops.push_back(op); });
      for (OuterTileOp op : ops) {
        OpBuilder b(op);
        OuterTile(op, b, masks).run();
        op.erase();
      }
    }
  }
};

} // namespace
