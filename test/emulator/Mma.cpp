//===- Mma.cpp - matrix multiply-accumulate of a warp -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Mma.h"
#include "SmallFloat.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

using namespace convjit;
using namespace convjit::emulator;

//===----------------------------------------------------------------------===//
// Names
//===----------------------------------------------------------------------===//

static std::vector<std::string_view> split(std::string_view text) {
  std::vector<std::string_view> parts;
  while (!text.empty()) {
    size_t end = std::min(text.find('.'), text.size());
    if (end)
      parts.push_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return parts;
}

static std::optional<MmaType> parseType(std::string_view name) {
  static constexpr struct {
    std::string_view name;
    MmaType type;
  } types[] = {{"f16", MmaType::F16},   {"bf16", MmaType::BF16},
               {"tf32", MmaType::TF32}, {"f32", MmaType::F32},
               {"f64", MmaType::F64},   {"s8", MmaType::S8},
               {"u8", MmaType::U8},     {"s32", MmaType::S32}};
  for (const auto &entry : types)
    if (entry.name == name)
      return entry.type;
  return std::nullopt;
}

/// m16n8k16
static bool parseSizes(std::string_view text, MmaShape &shape) {
  uint8_t *const sizes[] = {&shape.m, &shape.n, &shape.k};
  for (int i = 0; i < 3; ++i) {
    if (text.empty() || text.front() != "mnk"[i])
      return false;
    text.remove_prefix(1);
    int value = 0;
    while (!text.empty() && text.front() >= '0' && text.front() <= '9') {
      value = value * 10 + (text.front() - '0');
      text.remove_prefix(1);
    }
    if (value < 1 || value > 32)
      return false;
    *sizes[i] = static_cast<uint8_t>(value);
  }
  return text.empty();
}

/// The shapes whose fragments placeOf() knows.
static bool modelled(const MmaShape &s) {
  if (s.n != 8)
    return false;
  auto is = [&](int m, std::initializer_list<int> ks) {
    return s.m == m && std::find(ks.begin(), ks.end(), s.k) != ks.end();
  };
  switch (s.a) {
  case MmaType::F16:
    return s.b == s.a && is(16, {8, 16}) &&
           (s.c == MmaType::F16 || s.c == MmaType::F32) &&
           (s.d == MmaType::F16 || s.d == MmaType::F32);
  case MmaType::BF16:
    return s.b == s.a && is(16, {8, 16}) && s.c == MmaType::F32 && s.d == s.c;
  case MmaType::TF32:
    return s.b == s.a && is(16, {4, 8}) && s.c == MmaType::F32 && s.d == s.c;
  case MmaType::F64:
    return s.b == s.a && (is(8, {4}) || is(16, {4, 8, 16})) && s.c == s.a &&
           s.d == s.a;
  case MmaType::S8:
  case MmaType::U8:
    return (s.b == MmaType::S8 || s.b == MmaType::U8) &&
           (is(16, {16, 32}) || is(8, {16})) && s.c == MmaType::S32 &&
           s.d == s.c;
  default:
    return false;
  }
}

std::optional<MmaShape> emulator::parseMma(std::string_view name) {
  constexpr std::string_view prefix = "llvm.nvvm.mma.";
  if (!name.starts_with(prefix))
    return std::nullopt;
  std::vector<std::string_view> parts = split(name.substr(prefix.size()));
  MmaShape shape;
  if (parts.size() < 4 || !parseSizes(parts[0], shape) || parts[1] != "row" ||
      parts[2] != "col")
    return std::nullopt;
  size_t next = 3;
  if (parts[next] == "satfinite") {
    shape.saturate = true;
    ++next;
  }
  // f16 is named by its result and accumulator, the others by their inputs.
  std::optional<MmaType> first =
      next < parts.size() ? parseType(parts[next]) : std::nullopt;
  std::optional<MmaType> second =
      next + 1 < parts.size() ? parseType(parts[next + 1]) : first;
  if (!first || !second || parts.size() > next + 2)
    return std::nullopt;
  if (parts.size() == next + 2 &&
      (*first == MmaType::F16 || *first == MmaType::F32)) {
    shape.a = shape.b = MmaType::F16;
    shape.d = *first;
    shape.c = *second;
  } else {
    shape.a = *first;
    shape.b = *second;
    bool integer = *first == MmaType::S8 || *first == MmaType::U8;
    shape.c = shape.d = integer                  ? MmaType::S32
                        : *first == MmaType::F64 ? MmaType::F64
                                                 : MmaType::F32;
  }
  if (!modelled(shape))
    return std::nullopt;
  return shape;
}

std::optional<MmaShape> emulator::parseMmaInstruction(std::string_view opcode) {
  std::vector<std::string_view> parts = split(opcode);
  // mma.sync.aligned.shape.row.col[.satfinite].d.a.b.c
  MmaShape shape;
  size_t next = 6;
  if (parts.size() < 10 || parts[0] != "mma" || parts[1] != "sync" ||
      parts[2] != "aligned" || !parseSizes(parts[3], shape) ||
      parts[4] != "row" || parts[5] != "col")
    return std::nullopt;
  if (parts[next] == "satfinite") {
    shape.saturate = true;
    ++next;
  }
  if (parts.size() != next + 4)
    return std::nullopt;
  MmaType *const types[] = {&shape.d, &shape.a, &shape.b, &shape.c};
  for (int i = 0; i < 4; ++i) {
    std::optional<MmaType> type = parseType(parts[next + i]);
    if (!type)
      return std::nullopt;
    *types[i] = *type;
  }
  if (!modelled(shape))
    return std::nullopt;
  return shape;
}

//===----------------------------------------------------------------------===//
// Fragments
//===----------------------------------------------------------------------===//

int emulator::elementsPerLane(const MmaShape &shape, MmaOperand operand) {
  switch (operand) {
  case MmaOperand::A:
    return shape.m * shape.k / 32;
  case MmaOperand::B:
    return shape.k * shape.n / 32;
  case MmaOperand::C:
  case MmaOperand::D:
    return shape.m * shape.n / 32;
  }
  return 0;
}

// All shapes are made of one core tile: 8 rows, one for each group of four
// lanes, and in a row one register for each of the four. A register holds
// `pack` neighbours along k; f64 is a register pair with one element. Registers
// then step first by 8 rows (if m is 16), then by 4 * pack along k.
MatrixPlace emulator::placeOf(const MmaShape &shape, MmaOperand operand,
                              int lane, int i) {
  int group = lane / 4, inGroup = lane % 4;
  if (operand == MmaOperand::C || operand == MmaOperand::D)
    return {group + 8 * (i / 2), inGroup * 2 + i % 2};
  int bits = bitsOf(operand == MmaOperand::A ? shape.a : shape.b);
  int pack = std::max(1, 32 / bits);
  int reg = i / pack, inRegister = i % pack;
  if (operand == MmaOperand::B)
    return {inGroup * pack + inRegister + 4 * pack * reg, group};
  int rowBlocks = shape.m / 8;
  return {group + 8 * (reg % rowBlocks),
          inGroup * pack + inRegister + 4 * pack * (reg / rowBlocks)};
}

//===----------------------------------------------------------------------===//
// Arithmetic
//===----------------------------------------------------------------------===//

namespace {

/// Where each element of each lane lies, worked out once for each shape.
struct Layout {
  // Byte offset in the lane's operands, and index in the row-major matrix.
  struct Entry {
    uint8_t lane;
    uint16_t offset, index;
  };
  std::vector<Entry> a, b, c, d;

  explicit Layout(const MmaShape &shape) {
    int offset = 0;
    offset = add(a, shape, MmaOperand::A, bitsOf(shape.a), shape.k, offset);
    offset = add(b, shape, MmaOperand::B, bitsOf(shape.b), shape.n, offset);
    add(c, shape, MmaOperand::C, bitsOf(shape.c), shape.n, offset);
    add(d, shape, MmaOperand::D, bitsOf(shape.d), shape.n, 0);
  }

private:
  static int add(std::vector<Entry> &entries, const MmaShape &shape,
                 MmaOperand operand, int bits, int columns, int offset) {
    int elements = elementsPerLane(shape, operand);
    for (int lane = 0; lane < 32; ++lane)
      for (int i = 0; i < elements; ++i) {
        MatrixPlace place = placeOf(shape, operand, lane, i);
        entries.push_back(
            {static_cast<uint8_t>(lane),
             static_cast<uint16_t>(offset + i * bits / 8),
             static_cast<uint16_t>(place.row * columns + place.column)});
      }
    return offset + elements * bits / 8;
  }
};

template <typename T> T read(const void *from, size_t offset) {
  T value;
  memcpy(&value, static_cast<const char *>(from) + offset, sizeof value);
  return value;
}

/// Gathers an operand's matrix. The type is looked at once, not for each
/// element.
template <typename T>
void gather(MmaType type, const std::vector<Layout::Entry> &entries,
            const void *const operands[32], T *matrix) {
  auto each = [&](auto element) {
    for (const Layout::Entry &e : entries)
      matrix[e.index] =
          static_cast<T>(element(operands[e.lane], size_t(e.offset)));
  };
  switch (type) {
  case MmaType::F16:
    return each([](const void *from, size_t at) {
      return halfToFloat(read<uint16_t>(from, at));
    });
  case MmaType::BF16:
    return each([](const void *from, size_t at) {
      return bfloatToFloat(read<uint16_t>(from, at));
    });
  case MmaType::TF32:
    return each([](const void *from, size_t at) {
      return std::bit_cast<float>(read<uint32_t>(from, at) & 0xffffe000u);
    });
  case MmaType::F32:
    return each(read<float>);
  case MmaType::F64:
    return each(read<double>);
  case MmaType::S8:
    return each(read<int8_t>);
  case MmaType::U8:
    return each(read<uint8_t>);
  case MmaType::S32:
    return each(read<int32_t>);
  }
}

template <typename T>
void writeAs(MmaType type, bool saturate, void *to, size_t offset, T value) {
  auto put = [&](auto bits) {
    memcpy(static_cast<char *>(to) + offset, &bits, sizeof bits);
  };
  switch (type) {
  case MmaType::F16:
    return put(floatToHalf(static_cast<float>(value)));
  case MmaType::F32:
    return put(static_cast<float>(value));
  case MmaType::F64:
    return put(static_cast<double>(value));
  case MmaType::S32: {
    auto wide = static_cast<int64_t>(value);
    if (saturate)
      wide = std::clamp<int64_t>(wide, std::numeric_limits<int32_t>::min(),
                                 std::numeric_limits<int32_t>::max());
    return put(static_cast<int32_t>(static_cast<uint64_t>(wide)));
  }
  default:
    return;
  }
}

template <typename T>
void multiplyIn(const MmaShape &shape, const Layout &layout,
                const void *const operands[32], void *const results[32]) {
  T a[16 * 32], b[32 * 8], c[16 * 8];
  gather(shape.a, layout.a, operands, a);
  gather(shape.b, layout.b, operands, b);
  gather(shape.c, layout.c, operands, c);
  for (int row = 0; row < shape.m; ++row)
    for (int k = 0; k < shape.k; ++k)
      for (int column = 0; column < 8; ++column)
        c[row * 8 + column] += a[row * shape.k + k] * b[k * 8 + column];
  for (const Layout::Entry &e : layout.d)
    writeAs<T>(shape.d, shape.saturate, results[e.lane], e.offset, c[e.index]);
}

} // namespace

static const Layout &layoutOf(const MmaShape &shape) {
  struct Known {
    MmaShape shape;
    Layout layout;
  };
  static thread_local std::vector<Known> known;
  for (const Known &entry : known)
    if (entry.shape.m == shape.m && entry.shape.k == shape.k &&
        entry.shape.a == shape.a && entry.shape.b == shape.b &&
        entry.shape.c == shape.c && entry.shape.d == shape.d)
      return entry.layout;
  known.push_back({shape, Layout(shape)});
  return known.back().layout;
}

void emulator::multiply(const MmaShape &shape, const void *const operands[32],
                        void *const results[32]) {
  const Layout &layout = layoutOf(shape);
  switch (shape.a) {
  case MmaType::F64:
    return multiplyIn<double>(shape, layout, operands, results);
  case MmaType::S8:
  case MmaType::U8:
    return multiplyIn<int64_t>(shape, layout, operands, results);
  default:
    return multiplyIn<float>(shape, layout, operands, results);
  }
}
