//===- GuardedTensor.h - a test's tensor between guard pages -*- C++ -*-===//
//
// Part of convjit, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef CONVJIT_TOOLS_GUARDEDTENSOR_H
#define CONVJIT_TOOLS_GUARDEDTENSOR_H

#include "GuardedBuffer.h"
#include "Layer.h"

#include <algorithm>
#include <cstring>

namespace convjit::cli {

/// Where a tensor lies: up against the page after it, up against the page
/// before it, or one element past a multiple of 64 bytes.
enum class Placement { End, Start, Shifted };

/// A tensor between guard pages, filled with NaNs that no kernel writes.
class GuardedTensor {
public:
  static Expected<GuardedTensor> create(size_t bytes, DataType dtype,
                                        Placement placement) {
    // The page's end is a multiple of 64; what lies between the tensor's end
    // and it is checked by `intact`.
    size_t slack = 0;
    if (placement == Placement::Shifted)
      slack = (128 - static_cast<size_t>(sizeOf(dtype)) - bytes % 64) % 64;
    Expected<GuardedBuffer> buffer =
        GuardedBuffer::create(bytes + slack, placement == Placement::Start
                                                 ? GuardedBuffer::Side::Start
                                                 : GuardedBuffer::Side::End);
    if (!buffer)
      return buffer.takeError();
    std::fill_n(buffer->data(), bytes + slack, poison);
    return GuardedTensor(std::move(*buffer), bytes, slack);
  }

  static Expected<GuardedTensor> create(const std::vector<double> &values,
                                        DataType dtype, Placement placement) {
    Expected<GuardedTensor> tensor = create(
        values.size() * static_cast<size_t>(sizeOf(dtype)), dtype, placement);
    if (tensor)
      narrow(values, dtype, tensor->data());
    return tensor;
  }

  std::byte *data() const { return buffer.data(); }
  size_t size() const { return bytes; }
  std::vector<std::byte> copy() const { return {data(), data() + bytes}; }

  /// Whether nothing was written past the tensor, and the tensor still holds
  /// `values`.
  bool intact() const {
    return std::all_of(data() + bytes, data() + bytes + slack,
                       [](std::byte b) { return b == poison; });
  }
  bool holds(const std::vector<std::byte> &values) const {
    return values.size() == bytes &&
           std::equal(values.begin(), values.end(), data());
  }

private:
  static constexpr std::byte poison{0xff};
  GuardedTensor(GuardedBuffer buffer, size_t bytes, size_t slack)
      : buffer(std::move(buffer)), bytes(bytes), slack(slack) {}
  GuardedBuffer buffer;
  size_t bytes, slack;
};

} // namespace convjit::cli

#endif // CONVJIT_TOOLS_GUARDEDTENSOR_H
