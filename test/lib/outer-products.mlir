// RUN: convjit-opt %s --split-input-file --conv-split-phases --conv-pack-filters --conv-tile --canonicalize --cse | FileCheck %s
// RUN: convjit-opt %s --split-input-file --conv-split-phases --conv-pack-filters --conv-tile --conv-vectorize-outer --canonicalize --cse | FileCheck %s --check-prefix=VECTOR

// The gradient of the weight of a layer of 16 pixels to 32 channels, k 3: the
// filter, 16 long, is the output's gradient, and is read as it is. Two pieces
// of 8 pixels, in each of which all tasks run before the next; the sums of the
// first are stored, those of the second added. With scratch a call's tasks are
// those of both pieces, and the second's sums go there. Eight images are a tile,
// what remains goes by powers of two, and the fewer images, the more of the
// three outputs share a tile.
// CHECK-LABEL: func.func @channels(
// CHECK-SAME: memref<1x16x32xf32>
// CHECK-SAME: %[[SCRATCH:arg[0-9]+]]: memref<?xf32> {conv.operand = "scratch"}
// CHECK-SAME: conv.pieces = 2
// CHECK-SAME: conv.tasks_per_image = 1
// CHECK: %[[ADDRESS:.*]] = memref.extract_aligned_pointer_as_index %[[SCRATCH]]
// CHECK: %[[SHARED:.*]] = arith.cmpi ne, %[[ADDRESS]], %c0
// CHECK: scf.for %[[PIECE:.*]] = %{{.*}} to %{{.*}} step %c1
// CHECK: %[[ZERO:.*]] = arith.cmpi eq, %[[PIECE]], %c0
// CHECK: %[[FIRST:.*]] = arith.ori %[[ZERO]], %[[SHARED]]
// CHECK: %[[NEXT:.*]] = arith.cmpi ne, %[[PIECE]], %c0
// CHECK: %[[APART:.*]] = arith.andi %[[SHARED]], %[[NEXT]]
// CHECK: arith.select %[[APART]], {{.*}} : memref<?xf32
// CHECK: scf.for
// CHECK: arith.remui %{{.*}}, %c8
// CHECK: scf.if
// CHECK: scf.for
// CHECK: conv.outer_tile {{.*}} first(%[[FIRST]]) {{.*}} lanes = 32 : i64, rows = 8 : i64
// CHECK: conv.outer_tile {{.*}} rows = 4 : i64, unroll
// CHECK: conv.outer_tile {{.*}} rows = 2 : i64, tap_ranges = array<i64: 0, 15, 0, 16, 1, 16>
// CHECK: conv.outer_tile {{.*}} rows = 1 : i64, tap_ranges = array<i64: 0, 15, 0, 16, 1, 16>
// CHECK: func.func @channels_pack(

// An iteration: a vector of channels and the elements of 8 images.
// VECTOR-LABEL: func.func @channels(
// VECTOR-NOT: conv.outer_tile
// VECTOR: scf.for {{.*}} -> (vector<32xf32>, vector<32xf32>, vector<32xf32>, vector<32xf32>, vector<32xf32>, vector<32xf32>, vector<32xf32>, vector<32xf32>)
// VECTOR-COUNT-1: vector.load {{.*}} vector<32xf32>
// VECTOR-COUNT-8: vector.fma
// VECTOR: scf.yield
func.func @channels(%x: tensor<1x16x?xf32>, %g: tensor<1x16x32xf32>) -> tensor<3x?x32xf32> {
  %y = conv.convolution %x, %g window <rank = 1, pad = [[1, 1]]> dims <[f, 0, b]x[i, 0, o]->[0, b, f]>
      plan <lanes = channels, width = 32, pixels = 8, unroll = 1, row = outer, chunks = 2>
      : (tensor<1x16x?xf32>, tensor<1x16x32xf32>) -> tensor<3x?x32xf32>
  return %y : tensor<3x?x32xf32>
}

// -----

// Where images are last in the output, they are the lanes; of 20 channels the
// last tile has 4. Less than eight images leave the lanes to the channels.
// CHECK-LABEL: func.func @images(
// CHECK-SAME: conv.tasks_per_image = 3
// CHECK: conv.outer_tile {{.*}} lanes = 32 : i64, lanes_of_images, rows = 8 : i64
// CHECK: conv.outer_tile {{.*}} lanes = 16 : i64, lanes_of_images, rows = 8 : i64
// CHECK: conv.outer_tile {{.*}} lanes = 8 : i64, rows = 4 : i64
// CHECK: conv.outer_tile {{.*}} lanes = 32 : i64, lanes_of_images, rows = 4 : i64
func.func @images(%x: tensor<1x16x?xf32>, %g: tensor<1x16x20xf32>) -> tensor<3x20x?xf32> {
  %y = conv.convolution %x, %g window <rank = 1, pad = [[1, 1]]> dims <[f, 0, b]x[i, 0, o]->[0, f, b]>
      plan <lanes = channels, width = 32, pixels = 8, unroll = 1, row = outer, chunks = 1>
      : (tensor<1x16x?xf32>, tensor<1x16x20xf32>) -> tensor<3x20x?xf32>
  return %y : tensor<3x20x?xf32>
}

// -----

// Of a depthwise layer lanes are neighbouring groups, if there is one image of
// each; only a call tells. Both operands are vectors then.
// CHECK-LABEL: func.func @depthwise(
// CHECK: %[[ONE:.*]] = arith.cmpi eq, %{{.*}}, %c1
// CHECK: scf.if %[[ONE]]
// CHECK: conv.outer_tile {{.*}} lanes = 16 : i64, lanes_of_groups = 1 : i64
// CHECK: else
// CHECK: conv.outer_tile {{.*}} lanes = 1 : i64, rows = 1 : i64
func.func @depthwise(%x: tensor<1x16x?xf32>, %g: tensor<1x16x16xf32>) -> tensor<3x?x16xf32> {
  %y = conv.convolution %x, %g window <rank = 1, pad = [[1, 1]]> dims <[f, 0, b]x[i, 0, o]->[0, b, f]>
      plan <lanes = groups, width = 16, pixels = 8, unroll = 1, row = outer, chunks = 1>
      {batch_group_count = 16 : i64}
      : (tensor<1x16x?xf32>, tensor<1x16x16xf32>) -> tensor<3x?x16xf32>
  return %y : tensor<3x?x16xf32>
}

// -----

// Taps of the last two dimensions have sums together, where there is room: here
// 3 x 2 of them, each with its range of j in rows and in a row.
// CHECK-LABEL: func.func @planes(
// CHECK-SAME: conv.tasks_per_image = 1
// CHECK: conv.outer_tile {{.*}} filter_taps = array<i64: 128, 112, 0, -16, -128, -144>
// CHECK-SAME: input_taps = array<i64: 0, 0, 0, 0, 0, 0>, lanes = 16 : i64
// CHECK-SAME: plane_ranges = array<i64: 0, 6, 0, 6, 0, 7, 0, 7, 1, 7, 1, 7>
// CHECK-SAME: tap_ranges = array<i64: 0, 8, 1, 9, 0, 8, 1, 9, 0, 8, 1, 9>

// Rows that only some of them have go by themselves; what is in registers stays
// there.
// VECTOR-LABEL: func.func @planes(
// VECTOR: scf.if
// VECTOR: scf.for {{.*}} -> (vector<16xf32>, vector<16xf32>, vector<16xf32>, vector<16xf32>, vector<16xf32>, vector<16xf32>)
// VECTOR-NOT: vector.store
// VECTOR: scf.for
// VECTOR-NOT: vector.store
// VECTOR: scf.for
// VECTOR-NOT: scf.for
// VECTOR-COUNT-6: vector.fma
// VECTOR: scf.yield
func.func @planes(%x: tensor<1x7x9x?xf32>, %g: tensor<1x7x8x16xf32>) -> tensor<3x2x?x16xf32> {
  %y = conv.convolution %x, %g window <rank = 2, pad = [[1, 1], [0, 0]]> dims <[f, 0, 1, b]x[i, 0, 1, o]->[0, 1, b, f]>
      plan <lanes = groups, width = 16, pixels = 6, unroll = 1, row = outer, chunks = 1>
      {batch_group_count = 16 : i64}
      : (tensor<1x7x9x?xf32>, tensor<1x7x8x16xf32>) -> tensor<3x2x?x16xf32>
  return %y : tensor<3x2x?x16xf32>
}

// -----

// Groups of three channels and as many images: a vector has five of them, and
// the image of each row is spread over its group's lanes.
// CHECK-LABEL: func.func @groups(
// CHECK: %[[FEW:.*]] = arith.cmpi eq, %{{.*}}, %c3
// CHECK: scf.if %[[FEW]]
// CHECK: conv.outer_tile {{.*}} lanes = 16 : i64, lanes_of_groups = 3 : i64, rows = 3 : i64, {{.*}} valid = 15 : i64
// CHECK: else
// CHECK: conv.outer_tile {{.*}} rows = 1 : i64, {{.*}} valid = 3 : i64
// VECTOR-LABEL: func.func @groups(
// VECTOR: vector.shuffle %[[X:.*]], %[[X]] [0, 0, 0, 3, 3, 3, 6, 6, 6, 9, 9, 9, 12, 12, 12, 15]
// VECTOR: vector.fma
// VECTOR: vector.shuffle %[[X]], %[[X]] [1, 1, 1, 4, 4, 4, 7, 7, 7, 10, 10, 10, 13, 13, 13, 15]
// VECTOR: vector.shuffle %[[X]], %[[X]] [2, 2, 2, 5, 5, 5, 8, 8, 8, 11, 11, 11, 14, 14, 14, 15]
func.func @groups(%x: tensor<1x16x?xf32>, %g: tensor<1x16x15xf32>) -> tensor<3x?x15xf32> {
  %y = conv.convolution %x, %g window <rank = 1, pad = [[1, 1]]> dims <[f, 0, b]x[i, 0, o]->[0, b, f]>
      plan <lanes = groups, width = 15, pixels = 8, unroll = 1, row = outer, chunks = 1>
      {batch_group_count = 5 : i64}
      : (tensor<1x16x?xf32>, tensor<1x16x15xf32>) -> tensor<3x?x15xf32>
  return %y : tensor<3x?x15xf32>
}

// -----

// Channels first, so that neither operand has lanes: the output's gradient is
// packed in blocks of 16 channels, the last padded, and the kernel reads those.
// Of 20 channels there are two blocks, 16 places of 16 lanes apart.
// CHECK-LABEL: func.func @channels_first(
// CHECK-SAME: memref<2x16x1x16xf32>
// CHECK: %[[BLOCK:.*]] = arith.muli %{{.*}}, %c256
// CHECK: conv.outer_tile %{{.*}}, %{{.*}}[%[[BLOCK]]] {{.*}} lanes = 16 : i64
// CHECK: func.func @channels_first_pack(
// CHECK: conv.pack_filter
// Lanes are rows of the output: of a lane, the sums of eight images follow each
// other, and are added as one vector to what the pieces before gave.
// VECTOR-LABEL: func.func @channels_first(
// VECTOR: scf.if
// VECTOR: vector.store %cst{{.*}} vector<8xf32>
// VECTOR: vector.shuffle
// VECTOR: %[[OLD:.*]] = vector.load %[[OUTPUT:.*]][%[[AT:.*]]] {{.*}} vector<8xf32>
// VECTOR: %[[SUM:.*]] = arith.addf %[[OLD]], %{{.*}} : vector<8xf32>
// VECTOR: vector.store %[[SUM]], %[[OUTPUT]][%[[AT]]]
func.func @channels_first(%x: tensor<1x?x16xf32>, %g: tensor<1x20x16xf32>) -> tensor<3x20x?xf32> {
  %y = conv.convolution %x, %g window <rank = 1, pad = [[1, 1]]> dims <[f, b, 0]x[i, o, 0]->[0, f, b]>
      plan <lanes = channels, width = 16, pixels = 8, unroll = 1, row = outer, chunks = 2>
      : (tensor<1x?x16xf32>, tensor<1x20x16xf32>) -> tensor<3x20x?xf32>
  return %y : tensor<3x20x?xf32>
}

// -----

// Of a transposed layer, k 2 s 2, with channels first: the input has half as many
// pixels as the filter. The first task of a tile's images copies those of the
// piece, eight pixels by 32 images, transposed; the filter is read as it is.
// CHECK-LABEL: func.func @packed_images(
// CHECK-SAME: memref<1x20x32xf32>
// CHECK: %[[IMAGES:.*]] = memref.alloca() {{.*}}conv.buffer = "images of a piece"{{.*}} : memref<256xf32>
// CHECK: arith.remui %{{.*}}, %c32
// CHECK: scf.if
// CHECK: %[[BEGINS:.*]] = arith.ori
// CHECK-NEXT: scf.if %[[BEGINS]]
// CHECK: vector.load %{{.*}} : memref<{{.*}}>, vector<8xf32>
// CHECK: vector.store %{{.*}}, %[[IMAGES]][%{{.*}}] : memref<256xf32>, vector<4xf32>
// CHECK: conv.outer_tile %[[IMAGES]]{{.*}} lanes = 32 : i64, lanes_of_images, rows = 4 : i64
// CHECK: func.func @packed_images_pack(
// VECTOR-LABEL: func.func @packed_images(
// VECTOR: vector.load %{{.*}} : memref<{{.*}}>, vector<32xf32>
// VECTOR-COUNT-4: vector.fma {{.*}} : vector<32xf32>
func.func @packed_images(%x: tensor<1x?x16xf32>, %g: tensor<1x20x32xf32>) -> tensor<2x20x?xf32> {
  %y = conv.convolution %x, %g window <rank = 1, pad = [[0, 2]], lhs_dilate = [2]> dims <[f, b, 0]x[i, o, 0]->[0, f, b]>
      plan <lanes = images, width = 32, pixels = 4, unroll = 1, row = outer, chunks = 2>
      : (tensor<1x?x16xf32>, tensor<1x20x32xf32>) -> tensor<2x20x?xf32>
  return %y : tensor<2x20x?xf32>
}

// -----

// Groups of twelve: a tile of all twelve images, in one vector each.
// CHECK-LABEL: func.func @groups_of_twelve(
// CHECK: %[[TWELVE:.*]] = arith.cmpi eq, %{{.*}}, %c12
// CHECK: scf.if %[[TWELVE]]
// CHECK: conv.outer_tile {{.*}} lanes = 16 : i64, rows = 12 : i64, {{.*}} valid = 12 : i64
// CHECK: else
func.func @groups_of_twelve(%x: tensor<1x16x?xf32>, %g: tensor<1x16x24xf32>) -> tensor<3x?x24xf32> {
  %y = conv.convolution %x, %g window <rank = 1, pad = [[1, 1]]> dims <[f, 0, b]x[i, 0, o]->[0, b, f]>
      plan <lanes = channels, width = 16, pixels = 16, unroll = 1, row = outer, chunks = 1>
      {batch_group_count = 2 : i64}
      : (tensor<1x16x?xf32>, tensor<1x16x24xf32>) -> tensor<3x?x24xf32>
  return %y : tensor<3x?x24xf32>
}

// -----

// Groups of four channels: four images each, one, two or eight.
// CHECK-LABEL: func.func @other_images(
// CHECK: arith.cmpi eq, %{{.*}}, %c4
// CHECK: conv.outer_tile {{.*}} lanes_of_groups = 4 : i64, rows = 4 : i64
// CHECK: arith.cmpi eq, %{{.*}}, %c1
// CHECK: conv.outer_tile {{.*}} lanes_of_groups = 4 : i64, rows = 1 : i64
// CHECK: arith.cmpi eq, %{{.*}}, %c2
// CHECK: conv.outer_tile {{.*}} lanes_of_groups = 4 : i64, rows = 2 : i64
// CHECK: arith.cmpi eq, %{{.*}}, %c8
// CHECK: conv.outer_tile {{.*}} lanes_of_groups = 4 : i64, rows = 8 : i64
// VECTOR-LABEL: func.func @other_images(
// VECTOR: vector.shuffle %[[ONE:.*]], %[[ONE]] [0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3] : vector<4xf32>
// VECTOR: vector.shuffle %[[TWO:.*]], %[[TWO]] [1, 1, 1, 1, 3, 3, 3, 3, 5, 5, 5, 5, 7, 7, 7, 7] : vector<8xf32>
// VECTOR: vector.shuffle %[[EIGHT:.*]], %[[EIGHT]] [7, 7, 7, 7, 15, 15, 15, 15, 23, 23, 23, 23, 31, 31, 31, 31] : vector<32xf32>
func.func @other_images(%x: tensor<1x16x?xf32>, %g: tensor<1x16x16xf32>) -> tensor<3x?x16xf32> {
  %y = conv.convolution %x, %g window <rank = 1, pad = [[1, 1]]> dims <[f, 0, b]x[i, 0, o]->[0, b, f]>
      plan <lanes = groups, width = 16, pixels = 8, unroll = 1, row = outer, chunks = 1>
      {batch_group_count = 4 : i64}
      : (tensor<1x16x?xf32>, tensor<1x16x16xf32>) -> tensor<3x?x16xf32>
  return %y : tensor<3x?x16xf32>
}

// -----

// An iteration asks for its vector of the filter and its images' line of the next
// piece: eight pixels further.
// CHECK-LABEL: func.func @ahead(
// CHECK: conv.outer_tile {{.*}} input_ahead(%{{.*}}) filter_ahead(%c256{{.*}})
// VECTOR-LABEL: func.func @ahead(
// VECTOR: scf.for
// VECTOR-COUNT-3: memref.prefetch %{{.*}}, read, locality<2>, data
// VECTOR-COUNT-8: vector.fma {{.*}} : vector<32xf32>
func.func @ahead(%x: tensor<1x16x?xf32>, %g: tensor<1x16x32xf32>) -> tensor<3x?x32xf32> {
  %y = conv.convolution %x, %g window <rank = 1, pad = [[1, 1]]> dims <[f, 0, b]x[i, 0, o]->[0, b, f]>
      plan <lanes = channels, width = 32, pixels = 8, unroll = 1, row = outer, chunks = 2, prefetch = both>
      : (tensor<1x16x?xf32>, tensor<1x16x32xf32>) -> tensor<3x?x32xf32>
  return %y : tensor<3x?x32xf32>
}

// -----

// The taps of a weight last: a task has all three and leaves their sums on the
// stack, [image][tap][channel]; four lanes of 16 (image, tap) are transposed on
// their way to the output, eight images of three taps being a run. They are added
// to zeros, or to what the piece before left.
// CHECK-LABEL: func.func @taps_last(
// CHECK: %[[SUMS:.*]] = memref.alloca() {{.*}}conv.buffer = "sums of all taps"{{.*}} : memref<772xf32>
// CHECK: conv.outer_tile {{.*}} into %[[SUMS]][
// CHECK-SAME: first(%true
// CHECK: scf.if %{{.*}} {
// CHECK-NEXT: scf.for %{{.*}} = %c0 to %c32 step %c1
// CHECK: vector.store %cst{{.*}} : memref<{{.*}}>, vector<16xf32>
// CHECK: vector.store %cst{{.*}} : memref<{{.*}}>, vector<8xf32>
// CHECK-COUNT-16: vector.load %[[SUMS]]{{.*}}, vector<4xf32>
// CHECK: arith.addf %{{.*}} : vector<16xf32>
// CHECK: vector.store %{{.*}} : memref<{{.*}}>, vector<16xf32>
func.func @taps_last(%x: tensor<1x?x16xf32>, %g: tensor<1x32x16xf32>) -> tensor<32x?x3xf32> {
  %y = conv.convolution %x, %g window <rank = 1, pad = [[1, 1]]> dims <[f, b, 0]x[i, o, 0]->[f, b, 0]>
      plan <lanes = channels, width = 32, pixels = 8, unroll = 1, row = outer, chunks = 2>
      : (tensor<1x?x16xf32>, tensor<1x32x16xf32>) -> tensor<32x?x3xf32>
  return %y : tensor<32x?x3xf32>
}

// -----

// Of 20 images, three tiles: two of eight, and one of the four that remain. Any
// other number goes image by image, in code for one output at a time.
// CHECK-LABEL: func.func @known_images(
// CHECK: %[[COUNT:.*]] = arith.minsi %{{.*}}, %c8
// CHECK: %[[WHOLE:.*]] = arith.cmpi eq, %[[COUNT]], %c8
// CHECK: scf.if %[[WHOLE]]
// CHECK: conv.outer_tile {{.*}} rows = 8 : i64
// CHECK: else
// CHECK: %[[REST:.*]] = arith.cmpi eq, %[[COUNT]], %c4
// CHECK: scf.if %[[REST]]
// CHECK: conv.outer_tile {{.*}} rows = 4 : i64
// CHECK: else
// CHECK: scf.for %{{.*}} = %c0 to %[[COUNT]] step %c1
// CHECK: scf.for %{{.*}} = %c0 to %c3 step %c1
// CHECK: conv.outer_tile {{.*}} rows = 1 : i64, unroll
// CHECK-NOT: conv.outer_tile
// CHECK: func.func @known_images_pack(
func.func @known_images(%x: tensor<1x16x?xf32>, %g: tensor<1x16x32xf32>) -> tensor<3x?x32xf32> {
  %y = conv.convolution %x, %g window <rank = 1, pad = [[1, 1]]> dims <[f, 0, b]x[i, 0, o]->[0, b, f]>
      plan <lanes = channels, width = 32, pixels = 8, unroll = 1, row = outer, chunks = 1> {conv.images = 20 : index}
      : (tensor<1x16x?xf32>, tensor<1x16x32xf32>) -> tensor<3x?x32xf32>
  return %y : tensor<3x?x32xf32>
}

// -----

// Across groups: a tile for the two images of each, and groups one by one.
// CHECK-LABEL: func.func @known_images_of_groups(
// CHECK: arith.cmpi eq, %{{.*}}, %c2
// CHECK: conv.outer_tile {{.*}} lanes_of_groups = 1 : i64, rows = 2 : i64
// CHECK: conv.outer_tile {{.*}} rows = 1 : i64
// CHECK-NOT: conv.outer_tile
// CHECK: func.func @known_images_of_groups_pack(
func.func @known_images_of_groups(%x: tensor<1x16x?xf32>, %g: tensor<1x16x16xf32>) -> tensor<3x?x16xf32> {
  %y = conv.convolution %x, %g window <rank = 1, pad = [[1, 1]]> dims <[f, 0, b]x[i, 0, o]->[0, b, f]>
      plan <lanes = groups, width = 16, pixels = 8, unroll = 1, row = outer, chunks = 1>
      {batch_group_count = 16 : i64, conv.images = 2 : index}
      : (tensor<1x16x?xf32>, tensor<1x16x16xf32>) -> tensor<3x?x16xf32>
  return %y : tensor<3x?x16xf32>
}

// -----

// The same with a residual, to which the first piece is added, in the same code.
// CHECK-LABEL: func.func @residual_taps_last(
// CHECK-SAME: %[[RESIDUAL:arg2]]: memref<32x?x3xf32>
// CHECK: conv.outer_tile
// CHECK-NOT: vector.store %cst
// CHECK: %[[BEFORE:.*]] = arith.select %{{.*}} : memref<?xf32
// CHECK: vector.load %[[BEFORE]]{{.*}}, vector<16xf32>
// CHECK: return
func.func @residual_taps_last(%x: tensor<1x?x16xf32>, %g: tensor<1x32x16xf32>, %r: tensor<32x?x3xf32>) -> tensor<32x?x3xf32> {
  %y = conv.convolution %x, %g residual(%r) window <rank = 1, pad = [[1, 1]]> dims <[f, b, 0]x[i, o, 0]->[f, b, 0]>
      plan <lanes = channels, width = 32, pixels = 8, unroll = 1, row = outer, chunks = 2>
      : (tensor<1x?x16xf32>, tensor<1x32x16xf32>, tensor<32x?x3xf32>) -> tensor<32x?x3xf32>
  return %y : tensor<32x?x3xf32>
}
