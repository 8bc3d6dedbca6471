//===- PackInputs.cpp - inputs with channels last, by a launch before -*- C++
//-*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "PackInputs.h"
#include "Buffers.h"
#include "GPUPasses.h"
#include "geometry/BlockSpace.h"

#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "llvm/Support/MathExtras.h"

namespace convjit {
#define GEN_PASS_DEF_CONVPACKINPUTS
#include "GPUPasses.h.inc"
} // namespace convjit

using namespace mlir;
using namespace convjit;
using namespace convjit::conv;
using Predicate = arith::CmpIPredicate;

namespace {

struct ConvPackInputsPass
    : convjit::impl::ConvPackInputsBase<ConvPackInputsPass> {
  void runOnOperation() override {
    SmallVector<PhasesOp> ops;
    getOperation()->walk([&](PhasesOp op) { ops.push_back(op); });
    for (PhasesOp op : ops)
      if (op.getGpuPlanAttr() && op.getGpuPlanAttr().getPackInput() &&
          isa<BlockArgument>(op.getInput()))
        pack(op);
  }

  static void pack(PhasesOp op) {
    OpBuilder b(op);
    Location loc = op.getLoc();
    DimensionNumbersAttr numbers = op.getDimensionNumbers();
    Value input = op.getInput();
    auto type = cast<MemRefType>(input.getType());
    SmallVector<Value> images;
    if (type.isDynamicDim(numbers.getInputBatch()))
      images.push_back(
          memref::DimOp::create(b, loc, input, numbers.getInputBatch()));
    Value packed =
        memref::AllocOp::create(b, loc, packedInputType(type, numbers), images);
    PackInputOp::create(b, loc, input, packed, numbers);
    op.getInputMutable().assign(packed);
    op.setDimensionNumbersAttr(readNumbers(op.getGpuPlanAttr(), numbers));
    b.setInsertionPointAfter(op);
    memref::DeallocOp::create(b, loc, packed);
  }
};

} // namespace

InputTiles::InputTiles(PackInputOp op, int64_t batchGroups)
    : numbers(op.getDimensionNumbers()), batchGroups(batchGroups),
      type(cast<MemRefType>(op.getInput().getType())) {
  bytes = type.getElementTypeBitWidth() / 8;
  // What is last in the input, and all that is before it in the same order in
  // both.
  int64_t last = type.getRank() - 1;
  alongImages = last == numbers.getInputBatch();
  if (!alongImages) {
    ArrayRef<int64_t> spatial = numbers.getInputSpatial();
    auto dim =
        static_cast<int64_t>(llvm::find(spatial, last) - spatial.begin());
    run = {dim};
    while (dim > 0 && spatial[dim - 1] == spatial[dim] - 1)
      run.push_back(--dim);
    length = 1;
    for (int64_t of : run)
      length *= type.getDimSize(spatial[of]);
  }
  channels = type.getDimSize(numbers.getInputFeature());
  tileChannels = std::min<int64_t>(32, llvm::PowerOf2Ceil(static_cast<uint64_t>(
                                           std::max<int64_t>(1, channels))));
  // As many bytes in flight for 16 bits as for 32.
  tileLength = (bytes == 2 ? 2048 : 1024) / tileChannels;
  // Threads that store have neighbouring channels, which are rows apart: half a
  // warp of 8 bytes, or a warp of 4, meets each bank once, and two elements of
  // 2 bytes are one word.
  padding = std::max<int64_t>(1, 128 / (tileChannels * bytes));
}

SmallVector<int64_t> InputTiles::outerDims() const {
  SmallVector<int64_t> dims;
  for (int64_t dim = numbers.getRank() - 1; dim >= 0; --dim)
    if (!llvm::is_contained(run, dim))
      dims.push_back(dim);
  return dims;
}

int64_t InputTiles::blocks() const {
  int64_t count = batchGroups * llvm::divideCeil(channels, tileChannels);
  if (!alongImages)
    count *= llvm::divideCeil(length, tileLength);
  for (int64_t dim : outerDims())
    count *= type.getDimSize(numbers.getInputSpatial()[dim]);
  return count;
}

int64_t InputTiles::imagesPerBlock() const {
  return alongImages ? tileLength : 1;
}

int64_t InputTiles::sharedBytes() const {
  return tileChannels * (tileLength + padding) * bytes;
}

void convjit::packInput(PackInputOp op, const InputTiles &tiles, OpBuilder &b) {
  Location loc = op.getLoc();
  IndexMath math{b, loc}, narrow{b, loc, b.getI32Type()};
  DimensionNumbersAttr numbers = tiles.numbers;
  Value input = op.getInput(), packed = op.getPacked();
  int64_t rank = numbers.getRank();
  // Fewer than 2^31 blocks. Neighbouring ones have neighbours of the packed
  // input.
  Value number = narrow.cast(gpu::BlockIdOp::create(b, loc, gpu::Dimension::x));
  auto digit = [&](int64_t radix) {
    return math.cast(narrow.takeDigit(number, radix));
  };
  Value firstChannel =
      math.mul(digit(llvm::divideCeil(tiles.channels, tiles.tileChannels)),
               tiles.tileChannels);
  Value first, images, image;
  if (!tiles.alongImages)
    first = math.mul(digit(llvm::divideCeil(tiles.length, tiles.tileLength)),
                     tiles.tileLength);
  Value from = math.constant(0), to = math.constant(0);
  auto advance = [&](Value count, int64_t axis, int64_t packedAxis) {
    from = math.add(from, math.mul(count, strideOf(math, input, axis)));
    to = math.add(to, math.mul(count, strideOf(math, packed, packedAxis)));
  };
  for (int64_t dim : tiles.outerDims()) {
    int64_t axis = numbers.getInputSpatial()[dim];
    advance(digit(tiles.type.getDimSize(axis)), axis, 1 + dim);
  }
  Value group = digit(tiles.batchGroups);
  image = math.mul(math.cast(number), tiles.imagesPerBlock());
  Value length = math.constant(tiles.length);
  if (tiles.alongImages || tiles.batchGroups > 1) {
    images = b.createOrFold<arith::DivUIOp>(
        loc, memref::DimOp::create(b, loc, input, numbers.getInputBatch()),
        math.constant(tiles.batchGroups));
    advance(math.mul(group, images), numbers.getInputBatch(), 0);
  }
  if (tiles.alongImages) {
    first = image;
    length = images;
  } else {
    advance(image, numbers.getInputBatch(), 0);
  }
  // The tile's first element.
  int64_t alongAxis = tiles.type.getRank() - 1;
  int64_t packedAxis = tiles.alongImages ? 0 : 1 + tiles.run.front();
  advance(first, alongAxis, packedAxis);
  advance(firstChannel, numbers.getInputFeature(), rank + 1);
  Value leftChannels = math.sub(math.constant(tiles.channels), firstChannel);
  Value left = math.sub(length, first);

  auto space =
      gpu::AddressSpaceAttr::get(b.getContext(), gpu::AddressSpace::Workgroup);
  auto dynamic = MemRefType::get({ShapedType::kDynamic}, b.getI8Type(),
                                 MemRefLayoutAttrInterface(), space);
  auto tileType = MemRefType::get(
      {tiles.tileChannels, tiles.tileLength + tiles.padding},
      tiles.type.getElementType(), MemRefLayoutAttrInterface(), space);
  Value tile = memref::ViewOp::create(
      b, loc, tileType, gpu::DynamicSharedMemoryOp::create(b, loc, dynamic),
      math.constant(0), ValueRange());

  // What of the tile element `number` is, the channel or what is along the
  // input the faster, and whether it exists: null where all do.
  struct Element {
    Value channel, along, exists;
  };
  Value thread = gpu::ThreadIdOp::create(b, loc, gpu::Dimension::x);
  int64_t count = tiles.tileChannels * tiles.tileLength / packThreads;
  auto element = [&](int64_t i, bool channelsFaster) {
    Value rest = math.add(thread, i * packThreads);
    Element made;
    if (channelsFaster) {
      made.channel = math.takeDigit(rest, tiles.tileChannels);
      made.along = rest;
    } else {
      made.along = math.takeDigit(rest, tiles.tileLength);
      made.channel = rest;
    }
    auto require = [&](Value condition) {
      made.exists = math.both(made.exists, condition);
    };
    if (tiles.channels % tiles.tileChannels)
      require(math.compare(Predicate::slt, made.channel, leftChannels));
    if (tiles.alongImages || tiles.length % tiles.tileLength)
      require(math.compare(Predicate::slt, made.along, left));
    return made;
  };
  // All loads are on their way before the first is waited for.
  Value source = flatRow(math, input, from);
  Value channelStride = strideOf(math, input, numbers.getInputFeature());
  SmallVector<Value> values;
  for (int64_t i = 0; i < count; ++i) {
    Element at = element(i, /*channelsFaster=*/false);
    Value index = math.add(math.mul(at.channel, channelStride), at.along);
    values.push_back(loadOrZero(math, at.exists, source, index));
  }
  for (int64_t i = 0; i < count; ++i) {
    Element at = element(i, /*channelsFaster=*/false);
    memref::StoreOp::create(b, loc, values[i], tile,
                            ValueRange{at.channel, at.along});
  }
  gpu::BarrierOp::create(b, loc);
  Value target = flatRow(math, packed, to);
  Value alongStride = strideOf(math, packed, packedAxis);
  for (int64_t i = 0; i < count; ++i) {
    Element at = element(i, /*channelsFaster=*/true);
    math.branch(at.exists, [&] {
      Value value = memref::LoadOp::create(b, loc, tile,
                                           ValueRange{at.channel, at.along});
      memref::StoreOp::create(
          b, loc, value, target,
          math.add(math.mul(at.along, alongStride), at.channel));
    });
  }
}
